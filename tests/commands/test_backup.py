"""`alerter backup` beside a running daemon, and `alerter restore`, which repeats no alert."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.config import Config, Limits, Site
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Reply
from alerter.scopes import Scope
from alerter.service.daemon import serve
from alerter.service.runtime import open_runtime
from alerter.store import Holder, State, backup, known_sites, lock_of, messages, outbox, reviews
from alerter.store.reminders import get_reminders_of, start_reminders
from alerter.trouble.tracker import Troubles
from alerter.watch.intake import Intake
from alerter.watch.triage import Reason
from tests.support.clock import SetClock
from tests.support.reviews import review
from tests.support.values import CHANNEL, SITE

Run = Callable[..., Result]


@pytest.fixture
def run(config: Config) -> Run:
    """A command with the config of the embedded services, which needs none of their secrets."""

    def command(*args: str | Path) -> Result:
        at = str(config.database.with_name("config.toml"))
        return CliRunner().invoke(main, [*map(str, args), "--config", at], catch_exceptions=False)

    return command


def all_good(path: Path) -> bool:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchone() == ("ok",))


# Making one


def test_a_backup_is_whole_and_for_its_user_only(run: Run, state: State, tmp_path: Path) -> None:
    known_sites.record_coverage(state, SITE, 2)
    result = run("backup", tmp_path / "copy.db")
    assert result.exit_code == 0
    assert f"is saved in {tmp_path / 'copy.db'}" in result.stdout
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert all_good(tmp_path / "copy.db")
    assert not list(tmp_path.glob(".copy*"))


def test_a_backup_sees_what_is_committed_during_a_write(
    run: Run, state: State, tmp_path: Path
) -> None:
    known_sites.record_coverage(state, SITE, 2)
    with state.transaction(Scope.SITE.of(SITE)):
        known_sites.record_coverage(state, SITE, 5)
        assert run("backup", tmp_path / "copy.db").exit_code == 0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("SELECT covered_rating FROM sites").fetchall() == [(2,)]


def test_a_backup_overwrites_nothing(run: Run, state: State, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere")
    for name in ("copy.db", "link.db", "state.db"):
        result = run("backup", tmp_path / name)
        assert result.exit_code == 1
        assert "a backup overwrites nothing" in result.stderr
    assert (tmp_path / "copy.db").read_text() == "precious"


@pytest.mark.usefixtures("state")
def test_a_backup_that_cannot_be_written_leaves_nothing(run: Run, tmp_path: Path) -> None:
    result = run("backup", tmp_path / "nowhere" / "copy.db")
    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_there_is_nothing_to_back_up_before_the_first_run(run: Run, tmp_path: Path) -> None:
    result = run("backup", tmp_path / "copy.db")
    assert result.exit_code == 1
    assert "there is no state file yet" in result.stderr
    assert not (tmp_path / "copy.db").exists()


def test_what_was_erased_is_not_in_a_backup(run: Run, state: State, tmp_path: Path) -> None:
    with state.transaction():
        state.execute("INSERT INTO products VALUES (?, 'p', 'Croissant box', NULL, 0)", [SITE])
    state.execute("DELETE FROM products")
    assert run("backup", tmp_path / "copy.db").exit_code == 0
    assert b"Croissant" not in (tmp_path / "copy.db").read_bytes()


# Putting one in place


def test_a_backup_that_was_only_copied_into_place_is_refused(
    run: Run, state: State, tmp_path: Path
) -> None:
    state.close()
    run("backup", tmp_path / "copy.db")
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    (tmp_path / "copy.db").rename(tmp_path / "state.db")
    result = run("status")
    assert result.exit_code == 1
    assert "is a backup; put it in place with `alerter restore`" in result.stderr


def test_a_restored_state_is_the_backup_and_what_was_there_is_kept(
    run: Run, state: State, tmp_path: Path
) -> None:
    known_sites.record_coverage(state, SITE, 2)
    run("backup", tmp_path / "copy.db")
    known_sites.record_coverage(state, SITE, 4)
    result = run(
        "restore", tmp_path / "copy.db"
    )  # the other connection keeps the old log where it is
    assert result.exit_code == 0
    with State.open(tmp_path / "state.db", migrate=False) as restored:
        assert restored.value("SELECT covered_rating FROM sites") == 2
    [old] = [
        file
        for file in tmp_path.glob("state.db.replaced-*")
        if not file.name.endswith(("-wal", "-shm"))
    ]
    assert str(old) in result.stdout
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT covered_rating FROM sites").fetchall() == [(4,)]
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".state*"))


def test_a_copy_that_another_tool_made_is_put_in_place_as_well(
    run: Run, state: State, tmp_path: Path
) -> None:
    known_sites.record_coverage(state, SITE, 2)
    state.close()
    (tmp_path / "copy.db").write_bytes((tmp_path / "state.db").read_bytes())
    (tmp_path / "state.db").unlink()
    result = run("restore", tmp_path / "copy.db")
    assert result.exit_code == 0
    assert "the replaced file" not in result.stdout
    with State.open(tmp_path / "state.db", migrate=False) as restored:
        assert restored.row("SELECT covered_rating, restored > 0 AS restored FROM sites") == {
            "covered_rating": 2,
            "restored": 1,
        }


def test_nothing_is_restored_while_alerter_is_at_work(
    run: Run, state: State, tmp_path: Path
) -> None:
    run("backup", tmp_path / "copy.db")
    with lock_of(state.database) as lock:
        lock.acquire(Holder.RUN)
        result = run("restore", tmp_path / "copy.db")
    assert result.exit_code == 1
    assert "stop it first" in result.stderr
    assert not list(tmp_path.glob("*.replaced*"))


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (None, "there is no such backup"),
        (b"", "there is no such backup"),
        (b"Dear diary, " * 999, "is not a state"),
    ],
    ids=["missing", "empty", "a text"],
)
def test_a_file_that_is_no_backup_is_refused_and_changes_nothing(
    run: Run, state: State, tmp_path: Path, content: bytes | None, phrase: str
) -> None:
    if content is not None:
        (tmp_path / "copy.db").write_bytes(content)
    result = run("restore", tmp_path / "copy.db")
    assert result.exit_code == 1
    assert phrase in result.stderr
    assert state.value("SELECT count(*) FROM sites") == 0
    assert not list(tmp_path.glob("*.replaced*"))


# Nothing is repeated


async def once(config: Config) -> bool:
    return await serve(config, Clock(), {}, once=True)


def bad(title: str, rating: int = 1) -> dict[str, object]:
    return {"content": {"rating": rating, "title": title}, "author": {"authorName": "Robin"}}


async def test_nothing_that_was_sent_after_the_backup_is_repeated(
    config: Config,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    assert await once(config)
    known = wix.add(SITE, bad("Known", rating=2))
    assert await once(config)
    # Waits for both when the backup is made.
    slack.channels[CHANNEL].archived = True
    await mailbox.pause()
    wix.add(SITE, bad("Waiting"))
    assert not await once(config)
    backup.back_up(config.database, tmp_path / "copy.db")
    # Sent since: what waited, what is new, what was lowered.
    slack.channels[CHANNEL].archived = False
    await mailbox.resume()
    with State.open(config.database, migrate=False) as state:
        outbox.requeue(state)
        state.execute("DELETE FROM blocks")
    wix.add(SITE, bad("New"))
    wix.change(SITE, known["id"], content={"rating": 1, "title": "Known"})
    with State.open(config.database, migrate=False) as state:
        state.execute("UPDATE sites SET checkpoint = checkpoint - 864e5")
    assert await once(config)
    sent = (len(slack.posts), len({mail.message_id for mail in mailbox.mails}))
    subjects = "; ".join(mail.subject for mail in mailbox.mails)
    assert all(
        words in subjects for words in ("‘Known’", "‘Waiting’", "‘New’", "lowered from 2 to 1")
    )

    now = Clock().now()
    restored = backup.restore(tmp_path / "copy.db", config.database, now)
    assert (
        restored.cancelled == 3
    )  # the review for both, and the trouble with the channel for the owner
    assert await once(config)
    assert await once(config)
    assert (len(slack.posts), len({mail.message_id for mail in mailbox.mails})) == sent
    assert caplog.text.count("reviews since the backup are recorded, not alerted") == 1
    wix.add(SITE, bad("After"))
    assert await once(config)
    assert (len(slack.posts), len({mail.message_id for mail in mailbox.mails})) == (
        sent[0] + 1,
        sent[1] + 1,
    )


@pytest.fixture
async def intake(config: Config, state: State, clock: SetClock) -> AsyncIterator[Intake]:
    """Return an intake whose state has an open review that both receivers were alerted of."""
    known_sites.record_coverage(state, SITE, 2)
    async with open_runtime(config, state, clock) as runtime:
        await runtime.intake.record_page(config.sites[0], [review("open", rating=2, revision=1)])
        state.execute("UPDATE deliveries SET status = 'sent'")
        start_reminders(state, SITE, "open", ["email:owner"], clock.now())
        yield runtime.intake


def count_as_sent(state: State, clock: SetClock) -> int:
    return backup._count_as_sent(state, clock.now())


def alerts(state: State) -> list[str]:
    rows = state.rows(
        "SELECT DISTINCT key FROM alerts JOIN deliveries ON alert = id WHERE status = 'pending'"
    )
    return [row["key"] for row in rows]


async def test_until_the_site_has_been_read_reviews_are_recorded_and_not_alerted(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    count_as_sent(state, clock)
    assert await intake.record_page(site, [review("new")]) == {Reason.BASELINE: 1}
    assert await intake.record_page(site, [review("open", rating=1, revision=2)]) == {
        Reason.LOWERED: 1
    }
    assert await intake.record_page(
        site, [review("open", rating=1, revision=3, reply=Reply("Sorry!"))]
    ) == {Reason.ANSWERED: 1}
    assert await intake.record_page(site, [review("open", rating=1, revision=4)]) == {
        Reason.REOPENED: 1
    }
    assert not alerts(state)
    standing = {
        row["review_id"]: row["status"]
        for row in state.rows("SELECT review_id, status FROM reviews")
    }
    assert standing == {"new": "baseline", "open": "closed"}


async def test_a_review_that_is_gone_meanwhile_is_closed_silently(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    count_as_sent(state, clock)
    clock.advance(minutes=5)
    await intake.record_gone(site, ["open"])
    assert state.value("SELECT closing FROM reviews") == "gone"
    assert state.value("SELECT count(*) FROM alerts WHERE kind = 'closed'") == 0


async def test_a_review_written_after_the_restore_is_alerted(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    count_as_sent(state, clock)
    clock.advance(hours=20)
    later = clock.now() - timedelta(hours=1)
    assert await intake.record_page(site, [review("later", created=later), review("before")]) == {
        Reason.NEW: 1,
        Reason.BASELINE: 1,
    }
    assert alerts(state) == [f"new:{SITE}:later"]


async def test_once_the_site_has_been_read_alerts_are_raised_again(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    count_as_sent(state, clock)
    await intake.record_page(site, [review("open", rating=2, revision=2, title="Edited")])
    known_sites.mark_poll_success(state, SITE, clock.now(), sees_private=True)
    await intake.record_page(site, [review("open", rating=1, revision=3), review("new")])
    assert alerts(state) == [f"lowered:{SITE}:open:1", f"new:{SITE}:new"]


async def test_reminders_due_before_the_restore_are_not_sent_again(
    state: State, intake: Intake, clock: SetClock
) -> None:
    clock.advance(hours=50)
    count_as_sent(state, clock)
    assert [each.reminded for each in get_reminders_of(state, SITE, "open")] == [
        timedelta(hours=50)
    ]


async def test_an_unsent_review_joins_the_baseline(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    """A backfill may alert about it."""
    await intake.record_page(site, [review("waiting")])
    assert count_as_sent(state, clock) == 2
    assert not alerts(state)
    assert reviews.get_reviews(state, SITE, ["waiting"])["waiting"].status == "baseline"
    assert [
        each.id
        for each in reviews.unalerted_reviews(state, SITE, ["waiting", "open"], Limits(2, 2))
    ] == ["waiting"]


async def test_a_review_that_waited_for_one_of_two_is_still_followed(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review("half")])
    state.execute(
        "UPDATE deliveries SET status = 'sent'"
        " WHERE status = 'pending' AND destination = 'email:owner'"
    )
    assert count_as_sent(state, clock) == 1
    assert reviews.get_reviews(state, SITE, ["half"])["half"].status == "open"
    assert not alerts(state)


async def test_a_message_that_was_on_its_way_is_given_up(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review("under way")])
    [due] = outbox.due_deliveries(state, "slack:support", clock.now(), 9)
    outbox.claim(state, "slack:support", outbox.Form.ALERT, [due.alert], "uid", clock.now())
    count_as_sent(state, clock)
    assert messages.get_unsettled(state, "slack:support", clock.now()) is None
    assert outbox.requeue(state) == (0, 0)


async def test_trouble_from_before_the_backup_is_not_notified_again(
    state: State, config: Config, clock: SetClock
) -> None:
    """Neither when it begins nor when it is over."""
    troubles = Troubles(state, config, clock, lambda _: None)
    troubles.begin(f"site:{SITE}", "Wix refuses us")
    state.execute("UPDATE deliveries SET status = 'sent'")
    count_as_sent(state, clock)
    troubles.begin(f"site:{SITE}", "Wix refuses us")
    troubles.end([f"site:{SITE}"])
    assert not alerts(state)


async def test_a_restore_says_what_it_cancelled(
    run: Run, state: State, intake: Intake, site: Site, tmp_path: Path
) -> None:
    await intake.record_page(site, [review("waiting")])
    state.execute("UPDATE sites SET last_success = 1790000000000")
    run("backup", tmp_path / "copy.db")
    result = run("restore", tmp_path / "copy.db")
    assert (
        "2 deliveries were not sent then and may have been sent since: cancelled" in result.stdout
    )
    assert "`alerter backfill --since 2026-09-21 --dry-run`" in result.stdout
