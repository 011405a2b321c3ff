"""Copies of a PostgreSQL state: into a state file, and back from one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alerter.config.state import PostgresUrl
from alerter.errors import StateError
from alerter.store.migrations import BOOLEANS
from alerter.store.postgres_connection import PostgresConnection, connect, postgres_errors
from alerter.store.postgres_schema import (
    applied_migrations,
    bring_up,
    column_names,
    identity_tables,
    lock_schema,
    table_names,
)
from alerter.store.sqlite import check_version
from alerter.store.state import State

_AT_ONCE = 1000


def copy_out(url: PostgresUrl, file: State) -> None:
    """Copy a whole state, as it is at one moment, into a new state file. Raise StateError."""
    with _patient(url) as conn, file.transaction():
        applied = applied_migrations(conn)
        if not applied:
            raise StateError(f"{url}: there is no state yet")
        check_version(str(url), applied, migrate=False)
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        file.execute("PRAGMA defer_foreign_keys = ON")
        for table in _copied_tables():
            names = column_names(table)
            columns = ", ".join(names)
            values = ", ".join(f":{name}" for name in names)
            file.execute(f"DELETE FROM {table}")
            with conn.cursor(name="copy") as found:
                found.execute(f"SELECT {columns} FROM {table}")
                while rows := found.fetchmany(_AT_ONCE):
                    file.execute_many(
                        f"INSERT INTO {table} ({columns}) VALUES ({values})",
                        [dict(zip(names, row, strict=True)) for row in rows],
                    )


def _copied_tables() -> list[str]:
    """Return the tables without those about processes, which are others after a restore."""
    return [name for name in table_names() if name != "workers"]


def copy_in(file: State, url: PostgresUrl) -> None:
    """Copy a state file into a database that holds no state, as a whole. Raise StateError."""
    bring_up(url)
    with _patient(url) as conn:
        lock_schema(conn)
        with conn.transaction():
            _fill(file, conn, url)


def _fill(file: State, conn: PostgresConnection, url: PostgresUrl) -> None:
    require_empty(conn, url)
    conn.execute("DELETE FROM scrubs")
    for table in _copied_tables():
        _copy_table(file, conn, table)
    for table in identity_tables(conn):
        conn.execute(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'),"
            f" coalesce(max(id), 1), max(id) IS NOT NULL) FROM {table}"
        )


def require_empty(conn: PostgresConnection, url: PostgresUrl) -> None:
    """Raise StateError where a database holds a state already."""
    for table in table_names():
        if table != "scrubs" and conn.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            raise StateError(
                f"{url}: holds a state already, which a restore does not replace;"
                " name an empty database"
            )


def _copy_table(file: State, conn: PostgresConnection, table: str) -> None:
    names = column_names(table)
    columns = ", ".join(names)
    with conn.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as target:
        for row in file.rows(f"SELECT {columns} FROM {table}"):
            target.write_row([_value(name, row[name]) for name in names])


def _value(name: str, value: Any) -> Any:
    return bool(value) if name in BOOLEANS and value is not None else value


@contextmanager
def _patient(url: PostgresUrl) -> Iterator[PostgresConnection]:
    """Yield a connection whose statements take their time."""
    with connect(url) as conn, postgres_errors(str(url)):
        yield conn.make_patient()
