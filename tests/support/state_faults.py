"""A database that takes no writes, on either engine: locked by another process, or full."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from alerter.config.state import PostgresUrl
from alerter.store import State
from alerter.store.postgres_schema import table_names


@contextmanager
def locked(database: Path | PostgresUrl) -> Iterator[None]:
    """Another process writes to every table."""
    if isinstance(database, Path):
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(database.url) as conn:
            conn.execute(f"LOCK TABLE {', '.join(table_names())} IN EXCLUSIVE MODE")
            yield
            conn.rollback()


def impatient(state: State) -> State:
    """Wait for no lock as long as alerter would."""
    state.value(
        "PRAGMA busy_timeout = 5"
        if isinstance(state.database, Path)
        else "SELECT set_config('lock_timeout', '5', false)"
    )
    return state


@contextmanager
def refusing(state: State, table: str, event: str = "INSERT") -> Iterator[None]:
    """The disk has no room for what one table is to hold."""
    if isinstance(state.database, Path):
        begin = "BEGIN SELECT raise(ABORT, 'disk full'); END"
        state.execute(f"CREATE TRIGGER refuse BEFORE {event} ON {table} {begin}")
        try:
            yield
        finally:
            state.execute("DROP TRIGGER refuse")
        return
    with psycopg.connect(state.database.url, autocommit=True) as conn:
        conn.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE disk_full USING MESSAGE = 'disk full'; END $$"
        )
        conn.execute(f"CREATE TRIGGER refuse BEFORE {event} ON {table} EXECUTE FUNCTION refuse()")
        try:
            yield
        finally:
            conn.execute("DROP FUNCTION refuse CASCADE")


@contextmanager
def full(state: State, table: str) -> Iterator[None]:
    """A disk with no room for one more page, which stops what is added to one table at least."""
    if not isinstance(state.database, Path):
        with refusing(state, table):
            yield
        return
    state.execute(f"PRAGMA max_page_count = {state.value('PRAGMA page_count')}")
    try:
        yield
    finally:
        state.execute("PRAGMA max_page_count = 1000000")
