"""A database that its server's own means put back to an earlier state."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from alerter.clock import Clock, ServerClock
from alerter.commands.backfill import BackfillRequest
from alerter.commands.backfill import run as run_backfill
from alerter.commands.server_checks import check_cluster
from alerter.config import Config, load_config
from alerter.config.state import PostgresUrl
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.errors import StateError
from alerter.models import Grouping
from alerter.service.daemon import serve
from alerter.service.membership import Membership, guard_state
from alerter.service.runtime import open_runtime
from alerter.store import State, backup
from alerter.store.marker import Marker
from alerter.store.progress import Progress
from tests.support.postgres import Emptied, new_database
from tests.support.values import OWNER, SECRETS, SITE
from tests.support.waiting import until

pytestmark = pytest.mark.postgresql

MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
PUT_BACK = "was put back to an earlier state"


class Server:
    """A server whose database can be put back to what it was."""

    def __init__(self, admin: str, url: PostgresUrl) -> None:
        self.url = url
        self._admin = admin
        self._name = urlsplit(url.url).path[1:]

    def remember(self) -> None:
        self._copy(self._name, f"{self._name}_before")

    def put_back(self) -> None:
        self._copy(f"{self._name}_before", self._name)

    def restart(self) -> None:
        """End every connection."""
        self._end_connections(self._name)

    def _copy(self, source: str, target: str) -> None:
        self._end_connections(source)
        with psycopg.connect(self._admin, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
            conn.execute(f"CREATE DATABASE {target} TEMPLATE {source}")

    def _end_connections(self, name: str) -> None:
        with psycopg.connect(self._admin, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE datname = %s",
                [name],
            )


@pytest.fixture
def server(postgres: Emptied) -> Iterator[Server]:
    url = new_database(postgres.url.url, f"{postgres.name}_bare")
    server = Server(postgres.url.url, url)
    yield server
    new_database(postgres.url.url, f"{postgres.name}_bare_before")


@pytest.fixture
def path(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    server: Server,
    tmp_path: Path,
) -> Path:
    path = write_config(wix, slack, mailbox, receivers=MAIL_ONLY)
    (tmp_path / "database.url").write_text(server.url.url)
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return load_config(path, SECRETS, secrets=True)


def progress(folder: Path) -> Progress:
    return Progress(Marker(folder / "state.db", {}, "seen"))


def test_a_database_that_went_back_is_not_used_again(server: Server, tmp_path: Path) -> None:
    with State.open(server.url, migrate=True) as state:
        seen = progress(tmp_path)
        state.engine.guard(seen)
        seen.advance(state)
        server.remember()
        for _ in range(3):
            with pytest.raises(StateError, match="terminat"):
                state.value("SELECT 1")
            seen.advance(state)
            server.restart()
        server.put_back()
        with pytest.raises(StateError, match="terminat"):
            state.value("SELECT 1")
        for _ in range(2):  # the second is not tried at the server
            with pytest.raises(StateError, match=f"{PUT_BACK}.*alerter restore FILE"):
                state.value("SELECT 1")


def test_tables_that_went_back_under_a_connection_are_noticed(
    server: Server, tmp_path: Path
) -> None:
    with State.open(server.url, migrate=True) as state:
        seen = progress(tmp_path)
        state.engine.guard(seen)
        for _ in range(4):
            seen.advance(state)
        state.execute("UPDATE notes SET value = split_part(value, ' ', 1) || ' 1'")
        with pytest.raises(StateError, match=PUT_BACK):
            seen.advance(state)
        with pytest.raises(StateError, match=PUT_BACK):
            state.value("SELECT 1")


def test_the_last_moment_may_be_lost_in_a_failover(server: Server, tmp_path: Path) -> None:
    with State.open(server.url, migrate=True) as state:
        seen = progress(tmp_path)
        for _ in range(3):
            seen.advance(state)
        state.execute("UPDATE notes SET value = split_part(value, ' ', 1) || ' 2'")
        seen.advance(state)


def test_another_process_finds_in_the_file_what_was_seen(server: Server, tmp_path: Path) -> None:
    with State.open(server.url, migrate=True) as state:
        progress(tmp_path).advance(state)
        progress(tmp_path).advance(state)
        state.execute("UPDATE notes SET value = split_part(value, ' ', 1) || ' 1'")
        with pytest.raises(StateError, match=PUT_BACK):
            state.engine.guard(progress(tmp_path))


def test_what_was_seen_is_kept_where_systemd_allows_it(server: Server, tmp_path: Path) -> None:
    file = Marker(tmp_path / "not there" / "state.db", {"STATE_DIRECTORY": str(tmp_path)}, "seen")
    with State.open(server.url, migrate=True) as state:
        Progress(file).advance(state)
    assert (tmp_path / "state.db.seen").read_text() == file.text() != ""


def test_a_process_that_noticed_it_is_not_forgotten_by_the_next(
    server: Server, tmp_path: Path
) -> None:
    with State.open(server.url, migrate=True) as state:
        seen = progress(tmp_path)
        for _ in range(6):
            seen.advance(state)
        state.execute("UPDATE notes SET value = split_part(value, ' ', 1) || ' 4'")
        with pytest.raises(StateError, match=PUT_BACK):
            seen.advance(state)
        with pytest.raises(StateError, match=PUT_BACK):
            state.engine.guard(progress(tmp_path))


def test_a_worker_that_saw_nothing_heeds_one_that_noticed(server: Server, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    with State.open(server.url, migrate=True) as state:
        seen = progress(tmp_path)
        for _ in range(6):
            seen.advance(state)
        state.execute("UPDATE notes SET value = split_part(value, ' ', 1) || ' 4'")
        state.engine.guard(progress(new))
        with pytest.raises(StateError, match=PUT_BACK):
            seen.advance(state)
        with pytest.raises(StateError, match=PUT_BACK):
            state.engine.guard(progress(new))
        with pytest.raises(StateError, match=PUT_BACK):
            progress(new).advance(state)


def test_a_worker_that_was_stopped_knows_at_its_next_start_what_it_saw(
    server: Server, config: Config
) -> None:
    clock = ServerClock()
    with State.open(server.url, migrate=True) as state:
        member = Membership(state, clock, guard_state(state, config, {}))
        for _ in range(6):
            member.report()
        member.leave()
        state.execute("UPDATE notes SET value = split_part(value, ' ', 1) || ' 4'")
        with pytest.raises(StateError, match=PUT_BACK):
            guard_state(state, config, {})


@pytest.mark.slow(4)
def test_a_restore_of_alerter_makes_it_another_database(server: Server, tmp_path: Path) -> None:
    with State.open(server.url, migrate=True) as state:
        for _ in range(3):
            progress(tmp_path).advance(state)
    backup.back_up(server.url, tmp_path / "copy.db")
    new_database(server._admin, server._name)
    backup.restore(tmp_path / "copy.db", server.url, Clock().now())
    with State.open(server.url, migrate=True) as state:
        seen = progress(tmp_path)
        state.engine.guard(seen)
        seen.advance(state)


async def test_a_worker_notifies_people_once_and_sends_nothing(
    server: Server, config: Config, mailbox: Mailbox
) -> None:
    clock = ServerClock()
    with State.open(server.url, migrate=True) as state:
        member = Membership(state, clock, guard_state(state, config, {}))
        async with open_runtime(config, state, clock, worker=member.name) as runtime:
            server.remember()
            with pytest.raises(StateError):
                member.report()
            for _ in range(2):
                member.report()
            server.put_back()
            with pytest.raises(StateError, match="terminat"):
                member.report()
            notify = runtime.dispatcher.state_failure.notify
            reporting = asyncio.create_task(
                member.keep_reporting(config, runtime.accounts.changed, notify)
            )
            await until(lambda: len(mailbox.mails) == 1)
            reporting.cancel()
            with pytest.raises(StateError, match=PUT_BACK) as again:
                member.report()
            await notify(again.value)
    assert len(mailbox.mails) == 1
    assert PUT_BACK in str(mailbox.mails[0].message)


@pytest.mark.slow
async def test_a_start_on_such_a_database_sends_nothing(
    server: Server, config: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    assert await serve(config, Clock(), {}, once=True)
    server.remember()
    wix.add(SITE, {"id": "first", "content": {"rating": 1, "title": "first"}})
    assert await serve(config, Clock(), {}, once=True)
    server.put_back()
    for _ in range(2):
        with pytest.raises(StateError, match=PUT_BACK):
            await serve(config, Clock(), {}, once=True)
    request = BackfillRequest(list(config.sites), datetime(2026, 1, 1, tzinfo=UTC), None)
    with pytest.raises(StateError, match=PUT_BACK):
        await run_backfill(config, Clock(), request, Grouping.EACH)
    [found] = check_cluster(config, {})
    assert not found.ok
    assert PUT_BACK in found.text
    sent = [str(mail.message["Subject"]) for mail in mailbox.mails]
    assert len(sent) == 2
    assert "first" in sent[0]
