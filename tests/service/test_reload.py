"""Reloads: `alerter reload` says what the daemon made of it, and one that the database keeps from
being made stays wanted.
"""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.commands import reload as reload_command
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.errors import AlerterError, StateBusy
from alerter.service.daemon import serve
from alerter.service.reload import Reload
from alerter.store import Holder, State, lock_of, troubles
from alerter.store.file_lock import lock_path
from alerter.store.reload_request import get_requested_reload, is_daemons, request_reload
from alerter.trouble.tracker import Troubles
from tests.support.clock import SetClock
from tests.support.config import LEAST
from tests.support.values import SECRETS
from tests.support.waiting import HANG, until


def test_a_reload_that_is_put_off_is_made_later_and_trouble_if_it_lasts(
    config: Config, state: State, clock: SetClock
) -> None:
    reload = Reload(asyncio.Event(), None)
    about = Troubles(state, config, clock, wake=lambda _: None)
    locked = StateBusy("state.db: is locked by another process")
    for span in (timedelta(), config.poll.trouble_after - timedelta(seconds=1)):
        clock.advance(seconds=span.total_seconds())
        reload.asked.clear()
        reload.put_off(locked, config, clock, about)
        assert reload.asked.is_set()
        assert troubles.get_open_troubles(state) == []
    clock.advance(seconds=1)
    reload.put_off(locked, config, clock, about)
    assert [(each.scope, each.reason) for each in troubles.get_open_troubles(state)] == [
        ("config", str(locked))
    ]


# What wakes the daemon


class _SlowClock(Clock):
    """A clock of which the next time to look for a request is far away."""

    def until_next(self, seconds: float) -> float:
        return seconds + HANG * 100


@asynccontextmanager
async def watching(path: Path, clock: Clock) -> AsyncIterator[Reload]:
    """Watch for requests as a daemon does, which has looked for one once."""
    reload = Reload(asyncio.Event(), None)
    with lock_of(path) as lock:
        assert lock.acquire(Holder.RUN) is None
        task = asyncio.create_task(reload.watch_requests(lock, clock))
        await asyncio.sleep(0)
        yield reload
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_request_wakes_the_daemon_each_time(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with watching(path, _SlowClock()) as reload:
        for _ in range(2):
            with lock_of(path) as lock:
                request = request_reload(lock)
            await asyncio.wait_for(reload.asked.wait(), HANG)
            assert reload.request == request
            reload.asked.clear()


async def test_a_request_that_cannot_wake_the_daemon_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    lock_path(path).touch()
    with lock_of(path) as other:
        wake = other.open_wake()  # another process has the address
        assert wake is not None
        async with watching(path, Clock()) as reload:
            with lock_of(path) as lock:
                request = request_reload(lock)
            await asyncio.wait_for(reload.asked.wait(), HANG)
        wake.close()
    assert reload.request == request


def test_a_request_to_a_daemon_that_has_crashed_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    lock_path(path).write_bytes(Holder.RUN.encode())
    with lock_of(path) as lock:
        assert request_reload(lock) == get_requested_reload(lock)


# alerter reload

Ask = Callable[[], Awaitable[Result]]


def invoke(path: Path) -> Result:
    umask = os.umask(0o022)
    result = CliRunner(catch_exceptions=False).invoke(main, ["reload", "--config", str(path)])
    os.umask(umask)
    return result


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    return write_config(wix, slack, mailbox)


@pytest.fixture
async def ask(path: Path) -> AsyncIterator[Ask]:
    """Have a daemon that runs in this process reload."""
    load = partial(load_config, path, SECRETS, secrets=True)
    config = load()
    daemon = asyncio.create_task(serve(config, Clock(), {}, once=False, load=load))
    await until(lambda: is_daemons(lock_of(config.database)))
    yield partial(asyncio.to_thread, invoke, path)
    if not daemon.done():
        signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(HANG):
        assert await daemon


@pytest.mark.slow
async def test_a_reload_says_what_the_daemon_made_of_it(ask: Ask, path: Path) -> None:
    good = path.read_text()
    path.write_text(good.replace("env:SMTP_PASSWORD", "env:OTHER"))
    refused = await ask()
    assert (refused.exit_code, refused.stdout) == (1, "")
    first, fault = refused.stderr.splitlines()
    assert first == "alerter: the running alerter goes on with the old config:"
    assert fault.startswith("  smtp.password: the environment variable OTHER is not set")

    path.write_text(good.replace('name = "owner"', 'name = "the owner"'))
    taken = await ask()
    assert (taken.exit_code, taken.stdout) == (0, "the running alerter has taken the config\n")

    path.write_text(good + '\n[web]\nlisten = "127.0.0.1:8080"\n')
    kept = await ask()
    assert kept.exit_code == 0
    assert "but web has changed in the config: it needs a restart" in kept.stdout


@pytest.mark.slow
async def test_a_reload_that_the_database_delays_says_so(ask: Ask, path: Path) -> None:
    assert (await ask()).exit_code == 0  # the daemon has begun
    with closing(sqlite3.connect(path.parent / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        later = await ask()
        assert later.exit_code == 1
        assert "comes into force later, as the database cannot be written" in later.stderr
        other.execute("ROLLBACK")
    assert (await ask()).exit_code == 0


@pytest.mark.slow
async def test_a_daemon_that_stops_leaves_nobody_waiting(ask: Ask, path: Path) -> None:
    signal.raise_signal(signal.SIGTERM)
    await until(lambda: not is_daemons(lock_of(path.parent / "state.db")))
    result = await ask()
    assert result.exit_code == 1
    assert f"no `alerter run` works on {path.parent / 'state.db'}: start it" in result.stderr


async def test_a_lock_file_that_a_crash_left_is_no_daemon(tmp_path: Path, clock: SetClock) -> None:
    lock_path(tmp_path / "state.db").write_bytes(b"run")
    with pytest.raises(AlerterError, match="no `alerter run` works on"):
        await reload_command.run(tmp_path / "state.db", clock)
    assert clock.monotonic() < 10


async def test_a_daemon_that_does_not_answer_is_not_waited_for_ever(
    tmp_path: Path, clock: SetClock
) -> None:
    with lock_of(tmp_path / "state.db") as lock:
        assert lock.acquire(Holder.RUN) is None
        with pytest.raises(AlerterError, match="has not answered for 60 s"):
            await reload_command.run(tmp_path / "state.db", clock)
        assert not lock.is_asked_for()


async def test_a_backfill_is_no_daemon(tmp_path: Path, clock: SetClock) -> None:
    with lock_of(tmp_path / "state.db") as lock:
        assert lock.acquire(Holder.BACKFILL) is None
        with pytest.raises(AlerterError, match="no `alerter run` works on"):
            await reload_command.run(tmp_path / "state.db", clock)
    assert clock.monotonic() == 0


@pytest.mark.parametrize(
    ("config", "code", "phrase"),
    [
        (LEAST, 1, "alerter: no `alerter run` works on"),
        (LEAST.replace("name", "nam", 1), 2, "is not a known key; did you mean name?"),
    ],
    ids=["no daemon", "a fault"],
)
def test_without_a_daemon_or_with_a_fault_the_command_says_so(
    tmp_path: Path, config: str, code: int, phrase: str
) -> None:
    (tmp_path / "config.toml").write_text(config)
    result = invoke(tmp_path / "config.toml")
    assert (result.exit_code, phrase in result.stderr) == (code, True)
    assert not list(tmp_path.glob("state.db*"))
