"""The world of a cluster: PostgreSQL, three real workers on it, the embedded services, and what the
services saw.
"""

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from alerter.demo.slack import Post
from tests.support.forked import Process, start_alerter
from tests.support.postgres import Server, new_database, server
from tests.support.world import (
    CHANNELS,
    SECRETS,
    SITE,
    Outcome,
    World,
    find_titles,
    is_closing,
)

WORKERS = 3
# A worker that is gone has been so for 15 s before another looks, every 3 s.
TAKEN_OVER_WITHIN = 35.0
# Slack takes one message a second in a channel; what arrives is as late as the machine is busy.
_PACE, _TOLERANCE = 1.0, 0.05
# A call that was in flight when its process was frozen arrives so soon after the process goes on.
_AT_ONCE = 3.0
_NAMES = ("owner", "boss")
_RANKS = {"new": 0, "lowered": 1, "closed": 2}


@dataclass(frozen=True)
class Freeze:
    """A process that stood still, from a moment to another (monotonic)."""

    began: float
    ended: float


def too_fast(
    posts: Iterable[tuple[str, float]], freezes: Sequence[Freeze]
) -> tuple[list[str], list[str]]:
    """Return what came less than a second after another message of its channel.

    The second list has what a call did that was in flight when its process was frozen: another
    worker has taken over meanwhile and posts; then the process goes on, and the rest of its call
    arrives. `posts`: the channel and the time of each, in their order.
    """
    found: tuple[list[str], list[str]] = [], []
    last: dict[str, float] = {}
    for channel, at in posts:
        before, last[channel] = last.get(channel, 0.0), at
        if at - before < _PACE - _TOLERANCE:
            is_excused = any(
                each.ended <= one < each.ended + _AT_ONCE
                for each in freezes
                for one in (before, at)
            )
            found[is_excused].append(f"{at - before:.3f} s between two messages in {channel}")
    return found


@dataclass
class ClusterOutcome(Outcome):
    """What a run with a cluster did, and what came of it."""

    in_flight: list[str] = field(default_factory=list)
    too_fast: list[str] = field(default_factory=list)
    fast_in_flight: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    ended_badly: list[str] = field(default_factory=list)
    taken_over_after: float = 0.0
    stories: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return super().good and not (
            self.too_fast
            or self.out_of_order
            or self.ended_badly
            or self.taken_over_after > TAKEN_OVER_WITHIN
        )


class ClusterWorld(World):
    """The embedded services, a database, and workers with a config file each."""

    def __init__(self, folder: Path, its: Server | None = None) -> None:
        super().__init__(folder)
        self.folder = folder
        self._its = its
        self.workers: dict[int, Process] = {}
        self.frozen: dict[int, float] = {}
        self.freezes: list[Freeze] = []
        self.ended_badly: list[str] = []
        self.closed: set[str] = set()
        self.taken_over_after = 0.0
        self.server: Server
        self._named = _NAMES[0]

    @asynccontextmanager
    async def up(self) -> AsyncIterator["ClusterWorld"]:
        """Start the services and the database, and write the configs."""
        with self._database():
            async with super().up():
                for number in range(WORKERS):
                    self.write_config(number)
                watching = asyncio.create_task(self._watch_jobs())
                try:
                    yield self
                finally:
                    watching.cancel()
                    for number in list(self.workers):
                        await self.kill_worker(number)

    @contextmanager
    def _database(self) -> Iterator[None]:
        folder = self.folder.parent / f"{self.folder.name}-postgres"
        with nullcontext(self._its) if self._its else server(folder) as self.server:
            self.state = new_database(self.server.url, f"alerter_{os.getpid()}_cluster")
            yield
            with suppress(psycopg.Error), psycopg.connect(self.server.url, autocommit=True) as conn:
                conn.execute(f"DROP DATABASE alerter_{os.getpid()}_cluster WITH (FORCE)")

    def write_config(self, number: int) -> None:
        """Write the config of a worker as it is to be now."""
        text = self._toml().replace('name = "owner"', f'name = "{self._named}"')
        self._config_of(number).write_text(text)

    def rename(self) -> None:
        """Give the receiver of mails its other name, in configs that are written from now on."""
        self._named = _NAMES[self._named == _NAMES[0]]

    def _state_line(self) -> str:
        return '[state]\nurl = "env:DATABASE_URL"'

    def _config_of(self, number: int) -> Path:
        return self.folder / f"worker-{number}.toml"

    async def start_worker(self, number: int) -> None:
        """Start one of the workers."""
        with self._log_of(number).open("ab") as log:
            process = await start_alerter(
                *("run", "--config", str(self._config_of(number))),
                environ=self._environ(),
                out=log,
            )
        assert isinstance(process, Process)
        self.workers[number] = process

    def _log_of(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"

    def _environ(self) -> dict[str, str]:
        assert not isinstance(self.state, Path)
        return os.environ | SECRETS | {"DATABASE_URL": self.state.url}

    async def command(self, *words: str) -> int:
        """Run a command of alerter, and return its exit code."""
        with (self.folder / "commands.log").open("ab") as log:
            process = await start_alerter(
                *(*words, "--config", str(self._config_of(0))), environ=self._environ(), out=log
            )
        return await process.wait() or 0

    async def kill_worker(self, number: int) -> None:
        """SIGKILL; a frozen process dies as well."""
        self.workers[number].kill()
        await self.workers[number].wait()
        self.thaw(number)

    async def end_worker(self, number: int) -> None:
        """SIGTERM, which a worker follows within ten seconds, and not long after on a busy machine.

        A start or an end while the database is away may fail: systemd starts it again.
        """
        process = self.workers[number]
        process.terminate()
        try:
            async with asyncio.timeout(60):
                await process.wait()
        except TimeoutError:
            self.ended_badly.append(f"worker {number} did not end")
            await self.kill_worker(number)

    def freeze(self, number: int) -> None:
        """SIGSTOP."""
        self.workers[number].send_signal(signal.SIGSTOP)
        self.frozen[number] = time.monotonic()

    def thaw(self, number: int) -> None:
        """SIGCONT."""
        if (began := self.frozen.pop(number, None)) is not None:
            self.freezes.append(Freeze(began, time.monotonic()))
            self.workers[number].send_signal(signal.SIGCONT)

    async def restart_server(self, mode: str, away: float) -> None:
        """Stop the server, and start it again after so many seconds."""
        await asyncio.to_thread(self.server.stop, mode)
        await asyncio.sleep(away)
        await asyncio.to_thread(self.server.start)

    def working(self) -> int:
        """How many workers have said that they are alive, and are asked to do something."""
        with suppress(psycopg.Error):
            return int(
                self._query(
                    "SELECT count(*) FROM workers WHERE seen_at >"
                    " 1000 * extract(epoch FROM clock_timestamp()) - 7000"
                )[0][0]
            )
        return 0

    async def _watch_jobs(self) -> None:
        """Note for how long a job stayed with a worker that did not report itself any more.

        After the server itself was away, nobody has.
        """
        while True:
            await asyncio.sleep(0.5)
            try:
                rows = self._query(
                    "SELECT extract(epoch FROM max(clock_timestamp() - last_heartbeat))"
                    " FROM procrastinate_jobs JOIN procrastinate_workers AS its"
                    " ON its.id = worker_id WHERE status = 'doing' AND last_heartbeat >"
                    "  pg_postmaster_start_time()"
                )
            except psycopg.Error:
                continue
            self.taken_over_after = max(self.taken_over_after, float(rows[0][0] or 0))

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        assert not isinstance(self.state, Path)
        sql = sql.replace("json_extract(content, '$.title')", "CAST(content AS json)->>'title'")
        with psycopg.connect(self.state.url, autocommit=True, connect_timeout=2) as conn:
            conn.execute("SET statement_timeout = 2000")
            return conn.execute(sql.encode()).fetchall()

    def arrived_everywhere(self) -> set[str]:
        """The reviews that have reached everybody; none where the server answers too late."""
        with suppress(psycopg.Error):
            return super().arrived_everywhere()
        return set()

    def titles_of(self, post: Post) -> set[str]:
        """The reviews that a message on Slack showed when it was posted."""
        return find_titles(f"{post.args.get('blocks') or post.args.get('text')}")

    def pending(self) -> list[str]:
        """What has not left: of closings, only what waits; the others may be needless now."""
        return self._left(
            "(deliveries.status = 'pending' OR deliveries.status <> 'sent'"
            " AND kind IN ('new', 'lowered'))"
        )

    def is_doubtful(self) -> bool:
        """Whether a mail is in doubt: lost three times, it would be given up."""
        with suppress(psycopg.Error):
            return bool(
                self._query(
                    "SELECT 1 FROM messages WHERE destination LIKE 'email:%'"
                    " AND status IN ('sending', 'in_doubt')"
                )
            )
        return True

    def everything_arrived(self) -> bool:
        """Whether each review has reached everybody, as often as it is to."""
        wanted, given_up = Counter(self.titles), self.given_up()
        mails = Counter({title: len(ids) for title, ids in self.mails_of().items()})
        return not any(title not in given_up for title in wanted - mails) and not any(
            wanted - self.times_posted(channel) for channel in CHANNELS
        )

    def has_arrived(self, title: str) -> bool:
        """Whether a review has reached everybody, as often as it was to until now."""
        times = self.titles.count(title)
        return len(self.mails_of().get(title, ())) >= times and all(
            self.times_posted(channel)[title] >= times for channel in CHANNELS
        )

    def lower_rating(self, review_id: str, title: str) -> None:
        """Let the rating of a review fall, of which everybody is to hear once more."""
        self.titles.append(title)
        self.wix.change(SITE, review_id, content={"rating": 1})

    def is_calm(self) -> bool:
        """Whether everything arrived, and nothing is left to do; False while nobody can say."""
        with suppress(psycopg.Error):
            return self.everything_arrived() and not self.pending()
        return False

    def count(self, outcome: Outcome) -> None:
        """Compare what arrived with what was to arrive, and when, and in which order."""
        super().count(outcome)
        assert isinstance(outcome, ClusterOutcome)
        outcome.ended_badly = self.ended_badly
        outcome.taken_over_after = self.taken_over_after
        posts = [
            (str(call.args.get("channel")), call.at)
            for call in self.slack.requests
            if call.method == "chat.postMessage"
        ]
        outcome.too_fast, outcome.fast_in_flight = too_fast(posts, self.freezes)
        outcome.out_of_order = list(self._out_of_order())
        closings = Counter(f"{title} in {channel}" for title in self.closed for channel in CHANNELS)
        closings.update(f"{title} by mail" for title in self.closed)
        outcome.repeated = sorted((Counter(outcome.repeated) - closings).elements())
        outcome.repeated += self._posted_twice()
        excused = self._in_flight()
        outcome.in_flight = [each for each in outcome.repeated if each in excused]
        outcome.repeated = [each for each in outcome.repeated if each not in excused]
        titles = {each.partition(".")[0] + "." for each in [*outcome.lost, *outcome.repeated]}
        outcome.stories = [line for title in sorted(titles) for line in self.story_of(title)]

    def _posted_twice(self) -> list[str]:
        """Messages that stand twice on Slack, or that alerter does not know of."""
        known = {ts for (ts,) in self._query("SELECT slack_ts FROM messages")}
        return [
            f"{title} in {post.channel}"
            for post in self.slack.posts
            if post.ts not in known and not is_closing(post)
            for title in self.titles_of(post)
        ]

    def story_of(self, title: str) -> list[str]:
        """What the database and the channels have of a review, for a person who looks into it."""
        rows = self._query(
            "SELECT kind, deliveries.destination, deliveries.status, slack_ts, message_id, form"
            " FROM deliveries JOIN alerts ON alerts.id = alert"
            " LEFT JOIN messages ON messages.id = message JOIN reviews USING (site_id, review_id)"
            f" WHERE content LIKE '%{title}%' ORDER BY deliveries.alert, deliveries.destination"
        )
        found = [" ".join(map(str, row)) for row in rows]
        return found + [
            f"{post.ts} in {post.channel}: {post.text[:60]!r}"
            for post in self.slack.posts
            if title in str(post.args) or title in str(post.blocks)
        ]

    def _in_flight(self) -> set[str]:
        """What was repeated by a call that was in flight when its process was frozen.

        Another worker has taken over meanwhile and posted it; then the process goes on, and the
        rest of its call arrives.
        """
        found = set()
        for channel in CHANNELS:
            posts: defaultdict[str, list[Post]] = defaultdict(list)
            for post in self.slack.posts:
                if post.channel == channel:
                    for title in self.titles_of(post):
                        posts[title].append(post)
            for title, every in posts.items():
                if len(every) == 2 and any(
                    each.began < every[0].at < each.ended < every[1].at < each.ended + _AT_ONCE
                    for each in self.freezes
                ):
                    found.add(f"{title} in {channel}")
        return found

    def _out_of_order(self) -> Iterator[str]:
        """Reviews of which a destination got a `lowered` before the `new`, or `closed` before."""
        places = {post.ts: number for number, post in enumerate(self.slack.posts)}
        for number, mail in enumerate(self.mailbox.mails):
            places.setdefault(mail.message_id.strip("<>"), number)
        came: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for destination, review_id, kind, ts, message_id in self._query(
            "SELECT deliveries.destination, review_id, kind, slack_ts, message_id FROM deliveries"
            " JOIN messages ON messages.id = message JOIN alerts ON alerts.id = alert"
            " WHERE deliveries.status = 'sent' AND kind IN ('new', 'lowered', 'closed')"
        ):
            place = places.get(ts or message_id)
            if place is not None:
                came[destination, review_id].append((place, _RANKS[kind]))
        for (destination, review_id), every in came.items():
            ranks = [rank for _, rank in sorted(every)]
            if ranks != sorted(ranks):
                yield f"{review_id} at {destination}: {ranks}"
