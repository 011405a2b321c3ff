"""The crash harness: the real daemon, killed at random moments while everything around it fails.

`python -m tests.torture` runs it long; a test runs it short. A seed replays what was random, but for the moments at
which the machine itself is slow.
"""

import argparse
import asyncio
import logging
import os
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix

SITE = "11111111-1111-4111-8111-111111111111"
CHANNELS = ("C0000000001", "C0000000002")
SECRETS = {"WIX_API_KEY": "k", "SLACK_BOT_TOKEN": "xoxb-t", "SMTP_PASSWORD": "p"}
_SETTLING = 120.0


@dataclass
class Outcome:
    """What a run did, and what came of it."""

    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reviews: int = 0
    deliveries: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    pending: int = 0

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not self.lost and not self.repeated and not self.pending


class World:
    """The embedded services, a config for them, and one daemon at a time."""

    def __init__(self, folder: Path) -> None:
        self.wix = EmbeddedWix(requests_per_minute=None)
        self.slack = EmbeddedSlack(pace=None)
        self.mailbox = Mailbox(username="alerts", password=SECRETS["SMTP_PASSWORD"])
        self.state = folder / "state.db"
        self.log = folder / "daemon.log"
        self.config = folder / "config.toml"
        self.titles: list[str] = []
        self.daemon: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def up(self) -> AsyncIterator["World"]:
        """Start the services and write the config."""
        async with self.wix, self.slack, self.mailbox:
            self.wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
            self.slack.add_token(SECRETS["SLACK_BOT_TOKEN"])
            for channel in CHANNELS:
                self.slack.add_channel(channel, channel.lower())
            self.config.write_text(self._toml())
            try:
                yield self
            finally:
                await self.kill()

    def _toml(self) -> str:
        slack = "".join(f'[[receivers]]\nname = "{name}"\nslack = "{name}"\n\n' for name in CHANNELS)
        return f"""
state = "{self.state.name}"
[poll]
every = "1s"
[wix]
base_url = "{self.wix.base_url}"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[smtp]
host = "{self.mailbox.host}"
port = {self.mailbox.port}
security = "none"
username = "alerts"
password = "env:SMTP_PASSWORD"
from = "Review alerts <alerts@example.com>"
[slack]
token = "env:SLACK_BOT_TOKEN"
base_url = "{self.slack.base_url}"
[[receivers]]
name = "owner"
email = ["owner@example.com"]
{slack}"""

    async def start(self, *before: str) -> None:
        """Start the daemon, after the words of `before` on its command line."""
        with self.log.open("ab") as log:
            self.daemon = await asyncio.create_subprocess_exec(
                *before,
                sys.executable,
                "-m",
                "alerter",
                "run",
                "--config",
                str(self.config),
                stdout=log,
                stderr=log,
                env=os.environ | SECRETS,
            )

    async def kill(self) -> None:
        """SIGKILL."""
        if self.daemon and self.daemon.returncode is None:
            self.daemon.kill()
        if self.daemon:
            await self.daemon.wait()

    def add_review(self) -> None:
        """One more review that everybody is to hear of."""
        self.titles.append(f"Review {len(self.titles):05}.")
        self.wix.add(SITE, {"content": {"rating": 1, "title": self.titles[-1]}})

    def times_posted(self, channel: str) -> Counter[str]:
        """How often each review stands in a channel, digests included."""
        return Counter(
            title
            for post in self.slack.posts
            if post.channel == channel
            for title in _titles_in("".join(_words(post.blocks or [])) or post.text)
        )

    def mails_of(self) -> dict[str, set[str]]:
        """The Message-IDs under which each review came by mail."""
        ids: dict[str, set[str]] = {}
        for mail in self.mailbox.mails:
            for title in _titles_in(mail.text):
                ids.setdefault(title, set()).add(mail.message_id)
        return ids

    def pending(self) -> int:
        """What is left in the outbox."""
        with sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=5) as db:
            rows = db.execute("SELECT count(*) FROM deliveries WHERE status <> 'sent'").fetchone()
        db.close()
        return int(rows[0])

    def count(self, outcome: Outcome) -> None:
        """Compare what arrived with what was to arrive."""
        outcome.reviews = len(self.titles)
        outcome.deliveries = len(self.titles) * (1 + len(CHANNELS))
        mails = self.mails_of()
        outcome.lost = [f"{title} by mail" for title in self.titles if title not in mails]
        outcome.repeated = [f"{title} by mail" for title in self.titles if len(mails.get(title, ())) > 1]
        for channel in CHANNELS:
            times = self.times_posted(channel)
            outcome.lost += [f"{title} in {channel}" for title in self.titles if not times[title]]
            outcome.repeated += [f"{title} in {channel}" for title in self.titles if times[title] > 1]
        outcome.pending = self.pending()

    async def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait for something that the daemon does; False where it does not come to that."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def everything_arrived(self) -> bool:
        """Whether each review has reached everybody."""
        mails = self.mails_of()
        return all(title in mails for title in self.titles) and all(
            self.times_posted(channel).keys() >= set(self.titles) for channel in CHANNELS
        )


def _titles_in(text: str) -> set[str]:
    return {f"Review {part[:5]}." for part in text.split("Review ")[1:] if part[5:6] == "."}


def _words(blocks: list[Any]) -> list[str]:
    found = []
    for block in blocks:
        text = block.get("text")
        found.append(text if isinstance(text, str) else (text or {}).get("text", ""))
        found += _words(block.get("elements") or [])
    return found


class Faults:
    """Everything that may go wrong around the daemon, chosen at random."""

    def __init__(self, world: World, random: Random, counted: Counter[str]) -> None:
        self._world = world
        self._random = random
        self._counted = counted
        self._kinds: dict[str, Callable[[], Any]] = {
            "slack refuses (500)": lambda: self._slack(Fault(status=500)),
            "slack takes it and says 500": lambda: self._slack(Fault(status=500, done=True)),
            "slack throttles (429)": lambda: self._slack(Fault(status=429, headers={"Retry-After": "1"})),
            "slack hangs": lambda: self._slack(Fault(delay=20)),
            "slack drops before": lambda: self._slack(Fault(drop="before")),
            "slack drops after": lambda: self._slack(Fault(drop="after")),
            "slack answers garbage": lambda: self._slack(Fault(garble="html")),
            "slack's history fails": lambda: world.slack.faults.add("conversations.history", Fault(status=503)),
            "mail refused for now (451)": lambda: world.mailbox.data_replies.append("451 4.3.0 try again later"),
            "mail drops before": lambda: world.mailbox.drop.append("before"),
            "mail drops after": lambda: world.mailbox.drop.append("after"),
            "mail refuses connections": lambda: world.mailbox.drop.append("connect"),
            "mail hangs": lambda: setattr(world.mailbox, "hang", 3.0),
            "wix throttles (429)": lambda: self._wix(Fault(status=429, headers={"Retry-After": "1"})),
            "wix refuses (500)": lambda: self._wix(Fault(status=500)),
            "wix answers garbage": lambda: self._wix(Fault(garble="truncate")),
            "wix drops": lambda: self._wix(Fault(drop="before")),
            "the disk is full": self._fill_disk,
            "the state file is locked": self._lock_state,
        }

    async def strike(self) -> None:
        """Let one or two things go wrong."""
        for name in self._random.sample(sorted(self._kinds), self._random.randint(1, 2)):
            self._counted[name] += 1
            done = self._kinds[name]()
            if done is not None:
                await done

    def clear(self) -> None:
        """Let everything be well again."""
        self._world.slack.faults.clear()
        self._world.wix.faults.clear()
        self._world.mailbox.data_replies.clear()
        self._world.mailbox.drop.clear()
        self._world.mailbox.hang = 0.0

    def _slack(self, fault: Fault) -> None:
        self._world.slack.faults.add("chat.postMessage", fault)

    def _wix(self, fault: Fault) -> None:
        self._world.wix.faults.add("/query", fault)

    async def _fill_disk(self) -> None:
        """Let no file of the daemon's grow for a moment: its writes fail as on a full disk."""
        if self._world.daemon is None or self._world.daemon.returncode is not None:
            return
        pid = self._world.daemon.pid
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        self._world.add_review()
        await asyncio.sleep(self._random.uniform(0.2, 1.5))
        # One that was just starting cannot open its state file, and has ended: it is started again as after a kill.
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)

    async def _lock_state(self) -> None:
        """Hold the write lock for longer than the daemon waits for it."""
        if not self._world.state.exists():
            return
        db = sqlite3.connect(self._world.state, timeout=5, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            self._world.add_review()
            await asyncio.sleep(2.5)
        except sqlite3.Error:
            return
        finally:
            db.close()


async def torture(folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Kill the daemon that often, then let it settle, and count."""
    random, outcome = Random(seed), Outcome()
    world = World(folder)
    async with world.up():
        faults = Faults(world, random, outcome.faults)
        await world.start()
        await world.until(lambda: len(world.wix.queries()) >= 2, 20)
        for number in range(kills):
            for _ in range(random.choice([0, 1, 1, 2, 3, 15])):
                world.add_review()
            await faults.strike()
            await asyncio.sleep(random.uniform(0.0, 2.0))
            await world.kill()
            world.mailbox.hang = 0.0
            outcome.kills += 1
            await world.start()
            await asyncio.sleep(random.uniform(0.3, 1.5))
            say(f"{number + 1}/{kills} kills, {len(world.titles)} reviews")
        faults.clear()
        await world.until(lambda: world.everything_arrived() and not world.pending(), _SETTLING)
        world.count(outcome)
    return outcome


def report(outcome: Outcome, seed: int) -> str:
    """The figures, for people."""
    lines = [f"seed {seed}: {outcome.kills} kills, {outcome.reviews} reviews, {outcome.deliveries} deliveries"]
    lines += [f"  {number:5}  {name}" for name, number in sorted(outcome.faults.items())]
    lines += [f"  LOST {what}" for what in outcome.lost] + [f"  REPEATED {what}" for what in outcome.repeated]
    lines.append(f"{len(outcome.lost)} lost, {len(outcome.repeated)} repeated, {outcome.pending} left pending")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Kill the daemon at random moments, and count what arrives.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it holds every dropped connection to be an error
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="alerter-torture-") as folder:
        outcome = asyncio.run(torture(Path(folder), asked.kills, asked.seed, say))
    print(report(outcome, asked.seed))
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
