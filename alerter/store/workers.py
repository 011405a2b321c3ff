"""The processes of a cluster, as each of them reports every few seconds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.store.state import State

# A worker that was not seen for so long is dead, frozen, or cannot reach the database.
ALIVE_FOR = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process of a cluster; `config` is the number of its config, see `configs`."""

    name: str
    host: str
    pid: int
    version: str
    config: int
    started_at: datetime
    seen_at: datetime

    @property
    def place(self) -> str:
        """Return the host and the process, by which people know it."""
        return f"{self.host}:{self.pid}"


def put_worker(state: State, worker: WorkerProcess) -> None:
    """Record that a worker is alive."""
    state.write_relaxed(
        "INSERT INTO workers (name, host, pid, version, config, started_at, seen_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " config = excluded.config, seen_at = excluded.seen_at",
        [
            worker.name,
            worker.host,
            worker.pid,
            worker.version,
            worker.config,
            to_ms(worker.started_at),
            to_ms(worker.seen_at),
        ],
    )


def delete_worker(state: State, name: str) -> None:
    """Delete a worker: it has ended."""
    state.execute("DELETE FROM workers WHERE name = ?", [name])


def get_workers(state: State, now: datetime) -> list[WorkerProcess]:
    """Return the workers that are alive, the oldest first."""
    rows = state.rows(
        "SELECT * FROM workers WHERE seen_at > ? ORDER BY started_at, name",
        [to_ms(now - ALIVE_FOR)],
    )
    return [_worker(row) for row in rows]


def delete_dead_workers(state: State, now: datetime) -> list[WorkerProcess]:
    """Delete the workers that are not alive, and return them."""
    rows = state.rows(
        "DELETE FROM workers WHERE seen_at <= ? RETURNING *", [to_ms(now - ALIVE_FOR)]
    )
    return [_worker(row) for row in rows]


def newest_config_of_workers(state: State, now: datetime) -> int:
    """Return the highest number of a config that a living worker has; 0 without any."""
    found = state.value(
        "SELECT max(config) FROM workers WHERE seen_at > ?", [to_ms(now - ALIVE_FOR)]
    )
    return int(found or 0)


def server_time(state: State) -> datetime:
    """Return the time of the server, in UTC."""
    return from_ms(
        state.value("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)")
    )


def _worker(row: dict[str, Any]) -> WorkerProcess:
    moments = {name: from_ms(row[name]) for name in ("started_at", "seen_at")}
    return WorkerProcess(**row | moments)
