"""State files for tests, and what is read of one from outside."""

import tempfile
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path

import psycopg
import pytest

from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy
from alerter.store import State, backup
from alerter.store.channels import ChannelIds
from alerter.store.postgres_schema import table_names

TROUBLE = "INSERT INTO troubles (scope, since, reason) VALUES (?, 0, ?)"


@cache
def _empty_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="alerter-test-") as folder:
        path = Path(folder) / "state.db"
        State.open(path, migrate=True).close()
        return path.read_bytes()


def open_state(path: Path | PostgresUrl) -> State:
    """Open a database; a new file is a copy of one whose migrations ran in this process before.

    The tables of PostgreSQL are there.
    """
    if isinstance(path, Path) and not path.exists():
        path.touch(0o600)
        path.write_bytes(_empty_file())
    return open_patiently(path, migrate=isinstance(path, Path))


def open_patiently(database: Path | PostgresUrl, *, migrate: bool) -> State:
    """Open a database; the server of all tests may be busy for longer than alerter waits."""
    for _ in range(20):
        with suppress(StateBusy):
            return State.open(database, migrate=migrate)
    return State.open(database, migrate=migrate)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file of the present version that nobody has open."""
    path = tmp_path / "state.db"
    open_state(path).close()
    return path


def kept_bytes(database: Path | PostgresUrl) -> bytes:
    """All that a database holds: the file and its log, or the rows of all tables."""
    if isinstance(database, Path):
        paths = (database, database.with_name(f"{database.name}-wal"))
        return b"".join(path.read_bytes() for path in paths if path.exists())
    with psycopg.connect(database.url) as conn:
        rows = [
            row
            for name in table_names()
            for row in conn.execute(f"SELECT {name}::text FROM {name}")
        ]
    return "\n".join(text for (text,) in rows).encode()


def put_in_place(
    copy: Path, database: Path | PostgresUrl, now: datetime, *, move: bool = False
) -> None:
    """Restore a backup in the place of a state, which PostgreSQL must not hold any more."""
    if isinstance(database, PostgresUrl):
        with psycopg.connect(database.url) as conn:
            for table in reversed(table_names()):
                conn.execute(f"DELETE FROM {table}")
    backup.restore(copy, database, now, move=move)


def scopes(state: State) -> list[str]:
    return [row["scope"] for row in state.rows("SELECT scope FROM troubles ORDER BY scope")]


def reading(database: Path | PostgresUrl) -> State:
    return State.read(database)


@cache
def no_channels() -> ChannelIds:
    """Without any channel, and with no room for one."""
    return ChannelIds(State.empty(), "slack")
