"""Jobs of the queue as tests take and lose them, without a worker of procrastinate."""

from collections.abc import Iterator
from contextlib import contextmanager

from alerter.store import State, queue
from alerter.store.lease import Lease, under


def new_queue_worker(state: State, *, seen_ago: int = 0) -> int:
    """Register a worker of the queue that reported itself so many seconds ago."""
    return int(
        state.value(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (clock_timestamp() - CAST(? AS BIGINT) * interval '1 second') RETURNING id",
            [seen_ago],
        )
    )


def fetch_job(state: State, worker: int, name: str = queue.DELIVER) -> int | None:
    """The job that a worker of the queue gets."""
    found = state.value(
        "SELECT id FROM procrastinate_fetch_job_v2(CAST(? AS TEXT[]), ?)",
        ["{" + name + "}", worker],
    )
    return None if found is None else int(found)


def get_jobs(state: State) -> dict[int, str]:
    """The jobs in the queue, and where they stand."""
    return {
        row["id"]: row["status"]
        for row in state.rows("SELECT id, CAST(status AS TEXT) AS status FROM procrastinate_jobs")
    }


def lose_lease(state: State, lease: Lease) -> None:
    """Let another worker take a job over from one that was frozen for longer than its lease."""
    state.execute("DELETE FROM procrastinate_jobs WHERE id = ?", [lease.job])
    lease._confirmed_at -= 20_000_000_000


@contextmanager
def leased(state: State, destination: str) -> Iterator[Lease]:
    """What a worker does runs under the lease of a job for a destination; the job ends with it."""
    queue.defer_deliveries(state, {destination: destination})
    worker = new_queue_worker(state)
    job = fetch_job(state, worker)
    assert job
    lease = Lease(job, 0, worker)
    try:
        with under(lease):
            yield lease
    finally:
        state.execute("DELETE FROM procrastinate_jobs WHERE id = ?", [job])
