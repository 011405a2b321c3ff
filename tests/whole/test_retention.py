"""What was deleted at Wix, or has been at rest for long, loses its words: in the file, its log, and
after a restore.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlite_utils import Database

from alerter.cli import main
from alerter.commands import explain, preview, status
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.errors import AlerterError
from alerter.models import Product
from alerter.notify.worker import IdleReason
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import Holder, State, backup, lock_of, outbox, products, stale_messages
from alerter.store.migrations import migrations
from tests.support.clock import SetClock
from tests.support.messages import words_of
from tests.support.state import kept_bytes, open_state, put_in_place
from tests.support.values import CHANNEL, SCOPES, SECRETS, SITE

QUERY = "/reviews/v1/reviews/query"
OTHER = "22222222-2222-4222-8222-222222222222"
OTHER_SITE = f"""
[[sites]]
name = "Tea House"
site_id = "{OTHER}"
api_key = "env:WIX_API_KEY"
"""


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        for site in (SITE, OTHER):
            wix.add_site(site, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel(CHANNEL, "reviews")
        yield slack


@dataclass
class Daemon:
    """One that is started with a config, makes rounds, and sends what is due."""

    load: Callable[..., Config]
    clock: SetClock
    wix: EmbeddedWix
    slack: EmbeddedSlack
    mailbox: Mailbox
    stack: AsyncExitStack
    config: Config = field(init=False)
    runtime: Runtime = field(init=False)
    state: State = field(init=False)

    async def start(self, extra: str = "", **more: Any) -> None:
        await self.stop()
        self.config = self.load(extra=extra, **more)
        self.state = self.stack.enter_context(open_state(self.config.database))
        reconcile(self.state, self.config, self.clock)
        self.runtime = await self.stack.enter_async_context(
            open_runtime(self.config, self.state, self.clock)
        )

    async def stop(self) -> None:
        await self.stack.aclose()

    async def round(self, **later: float) -> None:
        self.clock.advance(**later)
        assert all([await self.runtime.poller.round(site) for site in self.config.sites])
        await self.send()

    async def send(self) -> None:
        for worker in self.runtime.dispatcher._workers.values():
            for _ in range(100):
                pause = await worker.step()
                if pause and (
                    pause.reason in (IdleReason.NOTHING_DUE, IdleReason.PARKED)
                    or pause.seconds is None
                ):
                    break
                if pause:
                    self.clock.advance(seconds=pause.seconds + 0.001)
            await worker._destination.notifier.close()

    async def forget(self, **later: float) -> None:
        self.clock.advance(**later)
        await self.runtime.housekeeping.prune()

    def put(self, name: str, rating: int = 1, site: str = SITE, **more: Any) -> None:
        """A customer writes a review whose words are easy to find."""
        content = {"rating": rating, "title": f"Title of {name}", "body": f"Secret words of {name}"}
        told = {"id": name, "content": content, "author": {"authorName": f"Zacharias of {name}"}}
        self.wix.add(site, told | more)

    def on_disk(self, name: str) -> bool:
        """Whether the database or its log holds a review's words."""
        return f"Secret words of {name}".encode() in self.kept()

    def kept(self) -> bytes:
        """All that the database holds, and what a restore has replaced."""
        if not isinstance(self.config.database, Path):
            return kept_bytes(self.config.database)
        files = self.config.database.parent.glob("state.db*")
        return b"".join(file.read_bytes() for file in files)

    def alerts(self) -> list[str]:
        rows = self.state.rows("SELECT key FROM alerts ORDER BY id")
        return [row["key"].replace(f":{SITE}", "") for row in rows]


@pytest.fixture
async def daemon(
    write_config: Callable[..., Path],
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> AsyncIterator[Daemon]:
    """One that has read its site, which was empty."""

    def load(**more: Any) -> Config:
        return load_config(write_config(wix, slack, mailbox, **more), SECRETS, secrets=True)

    async with AsyncExitStack() as stack:
        daemon = Daemon(load, clock, wix, slack, mailbox, stack)
        await daemon.start()
        await daemon.round()
        clock.advance(minutes=1)
        yield daemon


@contextmanager
def read_by_another(path: Path) -> Iterator[None]:
    """Another process, such as a backup or a shell, reads the state file."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM reviews").fetchone()
        yield


# The write-ahead log


@pytest.mark.sqlite  # looks into its log
async def test_deleted_words_leave_the_log_once_nobody_reads_it(daemon: Daemon) -> None:
    daemon.put("r1")
    await daemon.round()
    daemon.wix.delete(SITE, "r1")
    with read_by_another(daemon.state.database):
        await daemon.round(hours=1)
        assert daemon.on_disk("r1")
    await daemon.runtime.housekeeping.round()
    assert not daemon.on_disk("r1")


@pytest.mark.sqlite  # looks into its log
async def test_deleted_words_leave_the_log_after_a_kill(daemon: Daemon, tmp_path: Path) -> None:
    daemon.put("r1")
    await daemon.round()
    daemon.wix.delete(SITE, "r1")
    with daemon.state.transaction():
        daemon.state.execute("UPDATE reviews SET content = '{}'")
        stale_messages.erase_earlier_text(daemon.state, SITE, ["r1"])
    (tmp_path / "disk").mkdir()  # as a process leaves it that dies now
    for file in tmp_path.glob("state.db*"):
        shutil.copy(file, tmp_path / "disk")
    await daemon.stop()
    for file in (tmp_path / "disk").iterdir():
        shutil.copy(file, tmp_path)
    assert daemon.on_disk("r1")
    await daemon.start()
    await daemon.runtime.housekeeping.round()
    assert not daemon.on_disk("r1")


# Reviews that rest


async def test_what_an_older_version_pruned_is_known_still(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        migrations.apply(Database(conn), stop_before="retention")
        row = (SITE, "r1", 7, 2, 1, 0, 1_790_000_000_000, "answered", 3)
        again = (SITE, "r2", 7, 2, 1, 0, 1_790_000_000_000, "answered", 4)
        for each in (row, again):
            conn.execute("INSERT INTO pruned_reviews VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", each)
        conn.execute(
            "INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, "
            "answered, rejected, as_of,"
            " content) VALUES (?, 'r2', 9, 1, 'open', 5, 0, 0, 6, '{\"title\": \"Stale\"}')",
            [SITE],
        )
    with State.open(path, migrate=True) as state:
        rows = state.rows("SELECT review_id, revision, status, content, pruned_alerts FROM reviews")
    assert rows == [
        {"review_id": "r1", "revision": 7, "status": "closed", "content": "{}", "pruned_alerts": 3},
        {
            "review_id": "r2",
            "revision": 9,
            "status": "open",
            "content": '{"title": "Stale"}',
            "pruned_alerts": 4,
        },
    ]


async def test_old_reviews_are_asked_for_a_share_a_day(daemon: Daemon) -> None:
    for number in range(60):
        daemon.put(f"r{number}")
    await daemon.round()
    for number in range(60):
        daemon.wix.reply(SITE, f"r{number}", "Sorry!")
    await daemon.round(hours=2)
    await daemon.round(days=40)
    daemon.wix.delete(SITE, "r7")
    seen = len(daemon.wix.queries())
    await daemon.round(hours=25)
    assert len(daemon.wix.queries()) - seen == 3  # what is new, the rescan, and two of the sixty
    assert daemon.on_disk("r7")
    for _ in range(31):
        await daemon.round(hours=25)
    assert not daemon.on_disk("r7")
    assert daemon.on_disk("r8")
    assert daemon.state.row("SELECT status, closing FROM reviews WHERE review_id = 'r7'") == {
        "status": "closed",
        "closing": "gone",
    }


async def test_an_old_open_review_that_is_deleted_is_closed(daemon: Daemon) -> None:
    daemon.put("r1")
    await daemon.round()
    daemon.wix.delete(SITE, "r1")
    daemon.clock.advance(days=60)
    for _ in range(3):
        await daemon.round(hours=25)
    assert not daemon.on_disk("r1")
    assert "closed:r1:1" in daemon.alerts()
    [post] = daemon.slack.posts
    assert "Secret words" not in words_of(post.blocks)


# A restored backup


@pytest.fixture
async def copy(daemon: Daemon, tmp_path: Path) -> Path:
    """A backup that holds the words of an open review and of one that was answered long ago; both
    are deleted since.
    """
    for name in ("old", "open", "standing"):
        daemon.put(name)
    await daemon.round()
    daemon.wix.reply(SITE, "old", "Sorry!")
    await daemon.round(hours=2)
    daemon.clock.advance(days=60)
    daemon.put("new")
    await daemon.round()
    backup.back_up(daemon.state.database, tmp_path / "copy.db")
    for name in ("old", "open"):
        daemon.wix.delete(SITE, name)
    await daemon.stop()
    return tmp_path / "copy.db"


@pytest.mark.parametrize("move", [False, True], ids=["restored", "moved"])
async def test_a_restore_brings_no_deleted_words_back(
    daemon: Daemon, copy: Path, *, move: bool
) -> None:
    put_in_place(copy, daemon.config.database, daemon.clock.now(), move=move)
    copy.unlink()
    for replaced in copy.parent.glob("state.db.replaced-*"):
        replaced.unlink()
    await daemon.start()
    assert daemon.on_disk("old")
    await daemon.round()
    assert not daemon.on_disk("old")
    assert not daemon.on_disk("open")
    assert daemon.on_disk("standing")
    assert len(daemon.slack.posts) == 4


async def test_restored_words_are_not_shown_before_wix_was_asked(
    daemon: Daemon, copy: Path
) -> None:
    put_in_place(copy, daemon.config.database, daemon.clock.now())
    await daemon.start()

    def shown() -> str:
        standing = status.get_status(daemon.config, daemon.state, daemon.clock.now())
        config, now = daemon.config, daemon.clock.now()
        told = explain.get_explanations(config, daemon.state, config.sites, "new", now)
        return (
            status.as_json(standing)
            + status.as_text(standing, daemon.clock.now())
            + explain.phrase_explanations(config, told, now)
        )

    assert "Title of" not in shown()
    with pytest.raises(AlerterError, match="shown once Wix was asked"):
        preview._stored_review(daemon.config, "new")
    daemon.wix.faults.add(QUERY, Fault(status=503))
    assert not await daemon.runtime.poller.round(daemon.config.sites[0])
    assert "Title of" not in shown()
    await daemon.round()
    assert "Title of new" in shown()
    assert preview._stored_review(daemon.config, "new").review


async def test_a_moved_state_sends_what_waited_once_wix_was_asked(
    daemon: Daemon, tmp_path: Path
) -> None:
    await daemon.mailbox.pause()
    daemon.slack.channels[CHANNEL].archived = True
    for name in ("deleted", "waiting"):
        daemon.put(name)
    await daemon.round()
    backup.back_up(daemon.config.database, tmp_path / "copy.db")
    await daemon.stop()
    daemon.wix.delete(SITE, "deleted")
    daemon.slack.channels[CHANNEL].archived = False
    await daemon.mailbox.resume()
    put_in_place(tmp_path / "copy.db", daemon.config.database, daemon.clock.now(), move=True)
    await daemon.start()
    outbox.requeue(daemon.state)
    daemon.clock.advance(minutes=5)
    await daemon.send()
    assert not [mail.subject for mail in daemon.mailbox.mails if "Title" in mail.subject]
    assert not daemon.slack.posts
    await daemon.round()
    assert [
        "waiting" in mail.subject for mail in daemon.mailbox.mails if "Title" in mail.subject
    ] == [True]
    assert [post.text.count("waiting") > 0 for post in daemon.slack.posts] == [True]


async def test_a_moved_state_changes_no_message_before_wix_was_asked(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.put("r1")
    await daemon.round()
    daemon.wix.change(
        SITE, "r1", content={"rating": 1, "title": "Edited", "body": "Secret words of the edit"}
    )
    daemon.clock.advance(hours=2)
    assert await daemon.runtime.poller.round(daemon.config.sites[0])
    backup.back_up(daemon.config.database, tmp_path / "copy.db")
    await daemon.stop()
    daemon.wix.delete(SITE, "r1")
    put_in_place(tmp_path / "copy.db", daemon.config.database, daemon.clock.now(), move=True)
    await daemon.start()
    [post] = daemon.slack.posts
    await daemon.send()
    assert post.edits == []
    await daemon.round(minutes=5)
    assert "Secret words" not in words_of(post.blocks)
    assert len(post.edits) == 1


async def test_a_mail_in_doubt_is_not_sent_again_before_wix_was_asked(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.mailbox.drop.append("after")
    daemon.put("r1")
    daemon.clock.advance(minutes=5)
    assert await daemon.runtime.poller.round(daemon.config.sites[0])
    worker = daemon.runtime.dispatcher._workers["email:owner"]
    assert await worker.step() is None
    assert len(daemon.mailbox.mails) == 1
    backup.back_up(daemon.config.database, tmp_path / "copy.db")
    await daemon.stop()
    put_in_place(tmp_path / "copy.db", daemon.config.database, daemon.clock.now(), move=True)
    await daemon.start()
    daemon.clock.advance(minutes=5)
    await daemon.send()
    assert len(daemon.mailbox.mails) == 1
    await daemon.round(minutes=5)
    assert len(daemon.mailbox.mails) == 2
    assert len({mail.message_id for mail in daemon.mailbox.mails}) == 1


async def test_what_failed_before_a_restore_is_not_sent_by_a_retry(
    daemon: Daemon, tmp_path: Path
) -> None:
    daemon.mailbox.data_replies.extend(["554 5.7.1 no", "554 5.7.1 no"])
    daemon.put("r1")
    await daemon.round()
    backup.back_up(daemon.config.database, tmp_path / "copy.db")
    await daemon.stop()
    put_in_place(tmp_path / "copy.db", daemon.config.database, daemon.clock.now())
    await daemon.start()
    await daemon.round()
    assert outbox.requeue(daemon.state) == (0, 0)


async def test_a_restore_under_another_threshold_repeats_nothing(
    daemon: Daemon, tmp_path: Path
) -> None:
    for name in ("lowered", "answered"):
        daemon.put(name, rating=2)
    approved_late = (daemon.clock.now() - timedelta(minutes=30)).isoformat()
    await daemon.round()
    backup.back_up(daemon.config.database, tmp_path / "copy.db")
    daemon.wix.change(SITE, "lowered", content={"rating": 1, "title": "Worse"})
    daemon.wix.reply(SITE, "answered", "Sorry!")
    await daemon.round(hours=2)
    daemon.put("late", createdDate=approved_late)
    await daemon.round(hours=2)
    assert "new:late" in daemon.alerts()
    sent = len(daemon.mailbox.mails)
    await daemon.stop()
    put_in_place(tmp_path / "copy.db", daemon.config.database, daemon.clock.now())
    await daemon.start("[alerts]\nthreshold = 3\n")
    await daemon.round(minutes=1)
    await daemon.round(hours=2)
    assert len(daemon.mailbox.mails) == sent


# alerter forget


@pytest.fixture
async def former(daemon: Daemon) -> Daemon:
    """A daemon that has let go of the Tea House, of which it has reviews, trouble and a summary."""
    summary = '[[summaries]]\nname = "daily"\nat = "08:00"\nreceivers = ["owner"]\n'
    await daemon.start(OTHER_SITE + summary)
    await daemon.round()
    daemon.clock.advance(minutes=1)
    for name, site in (("tea", OTHER), ("cake", SITE)):
        daemon.put(name, rating=2, site=site)
    await daemon.round()
    daemon.wix.change(OTHER, "tea", content={"rating": 1, "title": "Secret words of tea"})
    await daemon.round(hours=2)
    products.put_products(daemon.state, OTHER, {"p1": Product("Jasmine")}, daemon.clock.now())
    daemon.runtime.dispatcher.troubles.begin(f"site:{OTHER}", "Wix refuses us")
    await daemon.round(days=1)
    await daemon.runtime.summaries.round()
    await daemon.send()
    await daemon.start()
    return daemon


async def forget_site(daemon: Daemon, name: str) -> Result:
    at = str(daemon.config.state_file.file.with_name("config.toml"))
    return await asyncio.to_thread(
        CliRunner().invoke,
        main,
        ["forget", "--site", name, "--config", at],
        catch_exceptions=False,
    )


@pytest.mark.parametrize("name", ["Tea House", OTHER], ids=["by name", "by id"])
async def test_all_words_of_a_former_customer_are_erased(former: Daemon, name: str) -> None:
    kept = former.kept()
    assert b"Tea House" in kept
    assert b"Secret words of tea" in kept
    with lock_of(former.config.database) as running:
        assert running.acquire(Holder.RUN) is None
        result = await forget_site(former, name)
    assert result.exit_code == 0
    assert f"{name}: the text of 1 review is erased" in result.stdout
    kept = former.kept()
    assert b"Tea House" not in kept
    assert b"Jasmine" not in kept
    assert b"of tea" not in kept
    assert former.on_disk("cake")
    assert former.state.value("SELECT count(*) FROM alerts WHERE site_id = ?", [OTHER]) == 0
    await former.round(hours=1)


async def test_a_customer_that_comes_back_is_not_alerted_again(former: Daemon) -> None:
    assert (await forget_site(former, "Tea House")).exit_code == 0
    sent = len(former.mailbox.mails)
    await former.start(OTHER_SITE)
    for _ in range(3):
        await former.round(hours=2)
    assert len(former.mailbox.mails) == sent


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("Corner Bakery", "the config still has the site"),
        (SITE, "the config still has the site"),
        ("Tea Hose", 'did you mean "Tea House"?'),
    ],
)
async def test_only_a_former_customer_is_forgotten(former: Daemon, name: str, phrase: str) -> None:
    result = await forget_site(former, name)
    assert result.exit_code == 2
    assert phrase in result.stderr
    assert former.on_disk("cake")
    assert former.on_disk("tea")


async def test_a_site_that_the_running_daemon_still_watches_is_not_forgotten(
    daemon: Daemon,
) -> None:
    await daemon.start(OTHER_SITE)
    await daemon.round()
    daemon.load()
    with lock_of(daemon.config.database) as running:
        assert running.acquire(Holder.RUN) is None
        result = await forget_site(daemon, "Tea House")
    assert result.exit_code == 1
    assert "still watches Tea House: reload it first" in result.stderr
