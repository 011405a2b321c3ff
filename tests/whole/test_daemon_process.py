"""The real process, with real signals, against the embedded services."""

import asyncio
import signal
import socket
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks, free_port
from alerter.store import Holder, State, known_sites, lock_of
from tests.support.process import (
    STALE,
    Spawn,
    ended,
    listening,
    path,
    read_to_the_end,
    spawn,
    watching,
)
from tests.support.reviews import closed_reviews
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until

__all__ = ["path", "spawn"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
async def test_the_daemon_alerts_and_ends_cleanly(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox, number: int
) -> None:
    async with watching(spawn, wix) as process:
        wix.add(SITE, STALE)
        await until(lambda: len(slack.posts) == len(mailbox.mails) == 1)
        process.send_signal(number)
        code, out = await ended(process)
    assert code == 0
    assert "Traceback" not in out
    assert not any(secret in out for secret in SECRETS.values())


async def test_an_idle_round_is_exactly_one_request(spawn: Spawn, wix: EmbeddedWix) -> None:
    wix.add(SITE, STALE)
    async with watching(spawn, wix):
        before = len(wix.requests)
        await until(lambda: len(wix.queries()) >= before + 3)
        assert [request.path for request in wix.requests[before:]] == [
            "/reviews/v1/reviews/query"
        ] * (len(wix.requests) - before)


async def test_sigterm_while_slack_hangs_ends_it_and_nothing_is_lost_or_repeated(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    async with watching(spawn, wix) as process:
        slack.faults.add("chat.postMessage", Fault(delay=10 * HANG))
        wix.add(SITE, STALE)
        await until(lambda: len(slack.requests) == 1)
        process.terminate()
        code, _ = await ended(process)
    assert code == 0
    slack.faults.clear()
    async with watching(spawn, wix):
        await until(lambda: len(slack.posts) == 1)


async def test_a_single_round_that_hangs_ends_too_when_it_is_asked_to(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    assert (await ended(await spawn("run", "--once")))[0] == 0
    slack.faults.add("chat.postMessage", Fault(delay=10 * HANG))
    wix.add(SITE, STALE)
    process = await spawn("run", "--once")
    await until(lambda: len(slack.requests) == 1)
    process.terminate()
    assert (await ended(process))[0] == 0
    slack.faults.clear()
    assert (await ended(await spawn("run", "--once")))[0] == 0
    assert len(slack.posts) == 1


async def test_a_second_run_is_refused_and_an_overlapping_run_once_ends_well(
    spawn: Spawn, wix: EmbeddedWix
) -> None:
    async with watching(spawn, wix):
        code, out = await ended(await spawn("run"))
        assert code == 1
        assert "another `alerter run`" in out
        code, out = await ended(await spawn("run", "--once"))
        assert code == 0
        assert "another alerter" in out


@contextmanager
def notified(address: Path) -> Iterator[Callable[[], Awaitable[str]]]:
    """Listen as systemd does; what a process says next."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.setblocking(False)

        async def said() -> str:
            async with asyncio.timeout(HANG):
                return (await asyncio.get_running_loop().sock_recv(systemd, 4096)).decode()

        yield said


async def test_a_run_waits_for_a_backfill_to_hand_over(
    spawn: Spawn, wix: EmbeddedWix, path: Path, tmp_path: Path
) -> None:
    """The log and systemd say so."""
    told: list[str] = []
    with notified(tmp_path / "notify") as said, lock_of(path.parent / "state.db") as lock:
        lock.acquire(Holder.BACKFILL)
        process = await spawn("run", NOTIFY_SOCKET=str(tmp_path / "notify"))
        told.append(await said())
        assert not wix.requests
        lock.release()
        await until(lambda: len(wix.queries()) >= 1)
        told.append(await said())
        process.terminate()
        _, out = await ended(process)
    assert "STATUS=waiting: a backfill hands over" in told[0]
    assert "READY=1" in told[1]
    assert "waiting for a backfill" in out


async def test_a_run_beside_a_backfill_polls_though_the_mail_server_is_dead(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert (await ended(await spawn("run", "--once")))[0] == 0
    wix.add(SITE, {"content": {"rating": 1, "title": "Past"}})
    await mailbox.stop()
    backfill = await spawn("backfill", "--since", "2020-01-01")
    await until(lambda: len(slack.posts) == 1)
    async with watching(spawn, wix):
        wix.add(SITE, STALE)
        await until(lambda: len(slack.posts) == 2)
        assert backfill.returncode is None
    assert "Stale" in slack.posts[1].text


async def test_a_backfill_goes_on_sending_when_the_run_it_handed_over_to_ends(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    assert (await ended(await spawn("run", "--once")))[0] == 0
    wix.add(SITE, STALE)
    slack.faults.always("chat.postMessage", Fault(status=503))
    backfill = await spawn("backfill", "--since", "2020-01-01")
    await until(lambda: slack.requests)
    async with watching(spawn, wix) as process:
        process.kill()
        await ended(process)
    slack.faults.clear()
    code, out = await ended(backfill)
    assert code == 0
    assert "everything is delivered" in out
    assert len(slack.posts) == 1


async def test_a_single_round_beside_a_backfill_is_made_and_the_backfill_goes_on(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    assert (await ended(await spawn("run", "--once")))[0] == 0
    slack.faults.always("chat.postMessage", Fault(status=503))
    wix.add(SITE, STALE)
    backfill = await spawn("backfill", "--since", "2020-01-01")
    await until(lambda: slack.requests)
    read = len(wix.queries())
    _, out = await ended(await spawn("run", "--once"))
    assert "nothing to do" not in out
    assert len(wix.queries()) > read
    slack.faults.clear()
    assert (await ended(backfill))[0] == 0
    assert len(slack.posts) == 1


async def test_a_daemon_whose_lock_another_process_took_ends(
    spawn: Spawn, wix: EmbeddedWix, path: Path
) -> None:
    async with watching(spawn, wix) as process:
        (path.parent / "state.db.lock").unlink()
        with lock_of(path.parent / "state.db") as lock:
            assert lock.acquire(Holder.BACKFILL) is None
            code, out = await ended(process)
    assert code == 1
    assert "another alerter has taken it; this one ends" in out


async def test_a_kill_between_the_services_yes_and_the_mark_repeats_nothing(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    async with watching(spawn, wix) as process:
        # Taken, and the answer lost: then the process dies before it can look.
        slack.faults.add("chat.postMessage", Fault(drop="after"))
        wix.add(SITE, STALE)
        await until(lambda: len(slack.posts) == len(mailbox.mails) == 1)
        process.kill()
        await ended(process)
    async with watching(spawn, wix):
        await until(lambda: any(call.method == "conversations.history" for call in slack.requests))
        wix.add(SITE, STALE)
        await until(
            lambda: len(slack.posts) == 2 and len({mail.message_id for mail in mailbox.mails}) == 2
        )
    assert len({str(post.metadata) for post in slack.posts}) == 2


async def test_a_backfill_beside_the_daemon_waits_until_it_has_sent(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    for number in range(30):
        wix.add(SITE, {"content": {"rating": 1, "title": f"Review {number}"}})
    async with watching(spawn, wix):
        assert not slack.posts
        code, out = await ended(await spawn("backfill", "--since", "2020-01-01"))
    assert code == 0
    assert "30 low-rated, unanswered reviews to alert" in out
    assert "everything is delivered" in out
    assert len(slack.posts) == len(mailbox.mails) == 1


async def test_a_state_file_of_a_newer_version_is_refused_and_left_as_it_is(
    spawn: Spawn, path: Path
) -> None:
    file = path.parent / "state.db"
    with State.open(file, migrate=True) as state:
        state.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES "
            "('alerter', 'of_tomorrow', '')"
        )
    before = file.read_bytes()
    code, out = await ended(await spawn("run"))
    assert code == 1
    assert "newer alerter" in out
    assert "Traceback" not in out
    assert file.read_bytes() == before


async def test_an_unreadable_state_file_is_notified_once_over_many_starts(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox, path: Path
) -> None:
    file = path.parent / "state.db"
    file.write_bytes(b"no state file" * 100)
    for arguments in (["run"], ["run"], ["run", "--once"]):
        code, out = await ended(await spawn(*arguments))
        assert code == 1
        assert "is not a state file" in out
        assert "Traceback" not in out
    assert [mail.subject for mail in mailbox.mails] == ["⚠️ alerter does not start"]
    assert "is not a state file" in mailbox.mails[0].text
    assert len(slack.posts) == 1

    file.unlink()
    async with watching(spawn, wix) as process:
        await until(lambda: len(mailbox.mails) == len(slack.posts) == 2)
        process.terminate()
        await ended(process)
    assert mailbox.mails[1].subject == "🟢 alerter has started, after less than a minute"
    file.write_bytes(b"broken once more" * 100)
    assert (await ended(await spawn("run")))[0] == 1
    assert len(mailbox.mails) == len(slack.posts) == 3


@pytest.mark.parametrize("there", [False, True], ids=["no state file yet", "a state file"])
async def test_a_full_disk_at_the_start_is_notified_without_a_traceback(
    spawn: Spawn, slack: EmbeddedSlack, mailbox: Mailbox, path: Path, there: bool
) -> None:
    no_coverage = {
        "COVERAGE_PROCESS_START": "",
        "COVERAGE_PROCESS_CONFIG": "",
    }  # it writes files too
    if there:
        assert (await ended(await spawn("run", "--once")))[0] == 0
    for _ in range(2):
        process = await spawn(
            "run", before=("sh", "-c", 'ulimit -f 0 && exec "$@"', "sh"), **no_coverage
        )
        code, out = await ended(process)
        assert code == 1
        assert "Traceback" not in out
        assert "state.db" in out
    assert len(slack.posts) == len(mailbox.mails) == 1


async def test_a_start_that_reaches_nobody_is_reported_by_the_next(
    spawn: Spawn, slack: EmbeddedSlack, mailbox: Mailbox, path: Path
) -> None:
    (path.parent / "state.db").write_bytes(b"no state file" * 100)
    await mailbox.pause()
    await slack.stop()
    assert (await ended(await spawn("run")))[0] == 1
    await mailbox.resume()
    await slack.start()
    assert (await ended(await spawn("run")))[0] == 1
    assert len(mailbox.mails) == len(slack.posts) == 1


async def test_a_start_that_cannot_note_its_notice_sends_none_and_says_so(
    spawn: Spawn, mailbox: Mailbox, path: Path, tmp_path: Path
) -> None:
    """Each start would tell again, and systemd starts a service every few seconds."""
    path.write_text(path.read_text().replace('"state.db"', '"no-folder/state.db"'))
    code, out = await ended(await spawn("run"))
    assert code == 1
    assert "notifies no one" in out
    assert not mailbox.mails
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for _ in range(2):
        assert (await ended(await spawn("run", RUNTIME_DIRECTORY=str(runtime))))[0] == 1
    assert len(mailbox.mails) == 1


async def test_a_start_waits_for_a_process_that_writes_to_the_state_file(
    spawn: Spawn, wix: EmbeddedWix, mailbox: Mailbox, path: Path, tmp_path: Path
) -> None:
    """SIGTERM ends the wait."""
    file = path.parent / "state.db"
    State.open(file, migrate=True).close()
    with (
        notified(tmp_path / "notify") as said,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert (await ended(await spawn("run", "--once")))[0] == 1
        for end in (lambda process: process.terminate(), lambda _: other.execute("ROLLBACK")):
            process = await spawn("run", NOTIFY_SOCKET=str(tmp_path / "notify"))
            assert "waiting: another process" in await said()
            assert not wix.requests
            end(process)
            if other.in_transaction:
                assert (await ended(process))[0] == 0
        await until(lambda: len(wix.queries()) >= 1)
    assert not mailbox.mails


async def test_everything_it_writes_is_for_its_user_only(
    spawn: Spawn, wix: EmbeddedWix, path: Path
) -> None:
    async with watching(spawn, wix):
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob("state.db*")}
    assert set(modes) == {
        "state.db",
        "state.db-wal",
        "state.db-shm",
        "state.db.lock",
    }
    assert set(modes.values()) == {0o600}


async def test_webhooks_come_in_beside_rounds_and_a_slow_client_delays_no_stop(
    path: Path, spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    port = free_port()
    async with Webhooks(f"http://127.0.0.1:{port}/webhooks/wix") as webhooks:
        path.write_text(
            path.read_text().replace('every = "1s"', 'every = "1h"') + listening(port, webhooks)
        )
        async with watching(spawn, wix, rounds=1) as process:
            webhooks.watch(wix.sites[SITE], "an-instance")
            await until(lambda: read_to_the_end(path))
            wix.add(SITE, STALE)
            await until(lambda: len(slack.posts) == len(mailbox.mails) == 1)
            assert len(wix.queries()) == 1
            await until(lambda: all(each.taken for each in webhooks.sent))
            # Somebody who never says what he wants holds nobody up.
            _, slow = await asyncio.open_connection("127.0.0.1", port)
            slow.write(b"POST /webhooks/wix HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")
            await slow.drain()
            process.terminate()
            code, out = await ended(process)
            slow.close()
    assert code == 0
    assert "Traceback" not in out


async def test_a_webhook_that_was_answered_outlives_a_kill(
    path: Path, spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    port = free_port()
    async with Webhooks(f"http://127.0.0.1:{port}/webhooks/wix") as webhooks:
        path.write_text(path.read_text() + listening(port, webhooks))
        # Nobody can be told before the kill.
        await slack.stop()
        await mailbox.pause()
        async with watching(spawn, wix) as process:
            webhooks.watch(wix.sites[SITE], "an-instance")
            wix.sites[SITE].add(STALE, visible_after=3600)
            await until(lambda: webhooks.sent[0].taken)
            process.kill()
            await ended(process)
        await slack.start()
        await mailbox.resume()
        assert not slack.posts
        async with watching(spawn, wix):
            await until(lambda: len(slack.posts) == len(mailbox.mails) == 1)


async def test_a_port_in_use_is_reported_and_ends_the_run(path: Path, spawn: Spawn) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(f'{path.read_text()}\n[web]\nlisten = "{listen}"\n')
        code, out = await ended(await spawn("run"))
    assert code == 1
    assert out == (
        f"alerter: cannot listen on {listen}: Address already in use; name another place "
        "in [web] listen\n"
    )


async def test_a_summary_missed_while_down_leaves_once_at_the_next_start(
    spawn: Spawn, wix: EmbeddedWix, path: Path, mailbox: Mailbox
) -> None:
    path.write_text(
        f'{path.read_text()}\n[[summaries]]\nname = "Daily"\nat = "09:00"\nreceivers = ["owner"]\n'
    )
    async with watching(spawn, wix) as process:
        process.terminate()
        await ended(process)
    with State.open(path.parent / "state.db", migrate=False) as state:
        state.execute("UPDATE summaries SET sent_until = 0")
    for _ in range(2):
        async with watching(spawn, wix) as process:
            await until(lambda: len(mailbox.mails) == 1)
            process.terminate()
            await ended(process)
    assert (
        mailbox.mails[0].subject
        == "📊 Daily: No low-rated reviews · No review is open (Corner Bakery)"
    )


async def test_a_backup_is_made_beside_the_daemon_and_none_is_put_in_place(
    spawn: Spawn, wix: EmbeddedWix, slack: EmbeddedSlack, path: Path, tmp_path: Path
) -> None:
    async with watching(spawn, wix):
        for number in range(20):
            wix.add(SITE, {"content": {"rating": 1, "title": f"Review {number}"}})
        code, _ = await ended(await spawn("backup", str(tmp_path / "copy.db")))
        assert code == 0
        code, out = await ended(await spawn("restore", str(tmp_path / "copy.db")))
        assert code == 1
        assert "stop it first" in out
        await until(lambda: len(slack.posts) >= 1)


async def test_the_daemon_forgets_what_was_closed_long_ago(spawn: Spawn, path: Path) -> None:
    with State.open(path.parent / "state.db", migrate=True) as state:
        closed_reviews(state, Clock().now() - timedelta(days=401), 120)
        known_sites.mark_poll_success(state, SITE, Clock().now(), sees_private=True)
        process = await spawn("run")
        await until(lambda: not state.value("SELECT count(*) FROM reviews WHERE content <> '{}'"))
        process.terminate()
        code, out = await ended(process)
    assert code == 0
    assert "reviews pruned: reviews=120" in out
