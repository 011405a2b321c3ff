"""A daemon and commands beside it, on either engine."""

import asyncio
import json
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.config import load_config
from alerter.config.state import PostgresUrl
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from alerter.store import Holder, State, known_sites, lock_of
from alerter.store.reload_request import is_daemons
from tests.support.values import OWNER, SECRETS, SITE
from tests.support.waiting import HANG, until

MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    return write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra='[poll]\nevery = "1s"')


@pytest.fixture
async def daemon(path: Path) -> AsyncIterator[asyncio.Task[bool]]:
    """A daemon in this process."""
    load = partial(load_config, path, SECRETS, secrets=True)
    daemon = asyncio.create_task(serve(load(), Clock(), {}, once=False, load=load))
    with lock_of(load().database) as lock:
        await until(lambda: is_daemons(lock))
    yield daemon
    if not daemon.done():
        signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(HANG):
        assert await daemon


@pytest.fixture
def run(path: Path) -> Run:
    async def run(*args: str | Path) -> Result:
        command = [*map(str, args), "--config", str(path)]
        return await asyncio.to_thread(CliRunner().invoke, main, command, env=SECRETS)

    return run


def put(wix: EmbeddedWix, name: str) -> None:
    wix.add(SITE, {"id": name, "content": {"rating": 1, "title": name}})


def has_baseline(database: Path | PostgresUrl) -> bool:
    """Whether the site was read to the end, so that what comes next is alerted."""
    with State.read(database) as state:
        return known_sites.get_site_state(state, SITE).last_success is not None


def sent_count(database: Path | PostgresUrl) -> int:
    """How many deliveries are recorded as sent, which is after their mail was taken."""
    with State.read(database) as state:
        return int(state.value("SELECT count(*) FROM deliveries WHERE status = 'sent'"))


async def read_once(path: Path) -> None:
    """Make one round; the first records the baseline, so that what comes next is alerted."""
    assert await serve(load_config(path, SECRETS, secrets=True), Clock(), {}, once=True)


@pytest.mark.slow
async def test_a_daemon_sends_and_answers_commands(
    daemon: asyncio.Task[bool],
    database: Path | PostgresUrl,
    run: Run,
    wix: EmbeddedWix,
    mailbox: Mailbox,
    tmp_path: Path,
) -> None:
    await until(lambda: has_baseline(database))
    put(wix, "first")
    await until(lambda: sent_count(database) == 1)
    assert len(mailbox.mails) == 1
    status = json.loads((await run("status", "--json")).stdout)
    assert status["deliveries"]["sent"] == 1
    assert (await run("reload")).exit_code == 0
    put(wix, "second")
    await until(lambda: len(mailbox.mails) == 2)
    assert (await run("backup", tmp_path / "copy.db")).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM workers").fetchone() == (0,)
    refused = await run("restore", tmp_path / "copy.db")
    assert re.search("(another alerter|1 worker) uses .*; stop", refused.output)
    assert not daemon.done()


@pytest.mark.slow
async def test_a_daemon_outlives_the_connections_of_its_server(
    daemon: asyncio.Task[bool],
    database: Path | PostgresUrl,
    wix: EmbeddedWix,
    mailbox: Mailbox,
) -> None:
    await until(lambda: has_baseline(database))
    for name in ("first", "second"):
        if isinstance(database, PostgresUrl):
            with psycopg.connect(database.url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'alerter'"
                )
        put(wix, name)
    await until(lambda: len(mailbox.mails) == 2)
    assert not daemon.done()


async def test_a_run_once_leaves_the_database_to_the_next(
    path: Path, database: Path | PostgresUrl, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    await read_once(path)
    put(wix, "first")
    await read_once(path)
    assert len(mailbox.mails) == 1
    with lock_of(database) as lock:
        assert lock.acquire(Holder.RUN) is None
        await read_once(path)


async def test_a_check_reports_the_database(
    path: Path, run: Run, database: Path | PostgresUrl
) -> None:
    await read_once(path)
    result = await run("check")
    assert result.exit_code == 0, result.output
    [line] = [line for line in result.output.splitlines() if " state" in line]
    assert str(database) in line
    assert "can be written" in line
