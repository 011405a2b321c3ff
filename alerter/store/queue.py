"""The job queue in PostgreSQL: its tables, which procrastinate brings, and what alerter adds.

https://procrastinate.readthedocs.io/en/stable/howto/production/migrations.html
"""

import json
from collections.abc import Collection, Iterator, Mapping
from importlib.resources import files

from alerter.store.postgres_connection import PostgresConnection
from alerter.store.sql import json_values
from alerter.store.state import State

# The names of jobs that have work of their own; others do what no job was deferred for.
DELIVER, ROUNDS = "deliver", "rounds"
# Defers jobs that are not waiting in the queue yet; a job that another process defers just now is
# one of them. `jobs`: JSON, an array of [task, queueing lock, lock, arguments].
_DEFER = """
CREATE FUNCTION alerter_defer(jobs json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE job json;
BEGIN
  FOR job IN SELECT json_array_elements(jobs) LOOP
    CONTINUE WHEN EXISTS (SELECT 1 FROM procrastinate_jobs
      WHERE queueing_lock = job->>1 AND status = 'todo');
    BEGIN
      PERFORM procrastinate_defer_jobs_v1(ARRAY[ROW(
        job->>0, job->>0, 0, job->>2, job->>1, (job->3)::jsonb, NULL
      )::procrastinate_job_to_defer_v1]);
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
  END LOOP;
END
$$
"""
# Without it the search for a job's lock grows with the queue:
# https://github.com/procrastinate-org/procrastinate/issues/1242
_INDEX = "CREATE INDEX alerter_jobs_lock ON procrastinate_jobs (lock)"


def schema_versions() -> list[str]:
    """Return the names of the migrations of the queue, in order."""
    folder = files("procrastinate.sql").joinpath("migrations")
    return sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))


def bring_up_queue(conn: PostgresConnection, applied: Collection[str]) -> Iterator[str]:
    """Create the tables of the queue, or bring them up to date, within a transaction.

    Yield the name of each of its migrations that the database has now.
    """
    sql = files("procrastinate.sql")
    versions = schema_versions()
    if is_new := not set(versions) & set(applied):
        _run(conn, sql.joinpath("schema.sql").read_text(encoding="utf-8"))
        _run(conn, _DEFER)
        _run(conn, _INDEX)
    for version in versions:
        if version not in applied:
            if not is_new:
                _run(conn, sql.joinpath("migrations", version).read_text(encoding="utf-8"))
            yield version


def _run(conn: PostgresConnection, script: str) -> None:
    conn.execute(script.encode(), prepare=False)


def defer_deliveries(state: State, locks: Mapping[str, str]) -> None:
    """Have a worker send what is due for these destinations, each with the lock of its job.

    Within a transaction the jobs are part of it.
    """
    _defer(
        state,
        [
            [DELIVER, destination, lock, {"destination": destination}]
            for destination, lock in sorted(locks.items())
        ],
    )


def defer_rounds(state: State, shards: Collection[int]) -> None:
    """Have a worker make the rounds of the sites of these shards that are due."""
    _defer(
        state,
        [
            [ROUNDS, f"{ROUNDS}:{shard}", f"{ROUNDS}:{shard}", {"shard": shard}]
            for shard in sorted(shards)
        ],
    )


def _defer(state: State, jobs: list[list[object]]) -> None:
    if jobs:
        state.value("SELECT alerter_defer(CAST(? AS json))", [json.dumps(jobs)])


def queued_destinations(state: State, destinations: Collection[str]) -> set[str]:
    """Return those of these destinations that a job sends to, or will."""
    rows = state.rows(
        "SELECT queueing_lock FROM procrastinate_jobs WHERE task_name = ?"
        f" AND status IN ('todo', 'doing') AND queueing_lock IN {json_values()}",
        [DELIVER, json.dumps(sorted(destinations))],
    )
    return {row["queueing_lock"] for row in rows}


def queue_depth(state: State) -> dict[str, int]:
    """Return how many jobs wait in each queue."""
    rows = state.rows(
        "SELECT queue_name, count(*) AS number FROM procrastinate_jobs WHERE status = 'todo'"
        " GROUP BY queue_name ORDER BY queue_name"
    )
    return {row["queue_name"]: row["number"] for row in rows}


def delete_queues(state: State, queues: Collection[str], prefix: str) -> None:
    """Delete the waiting jobs of queues with a prefix, except those of these queues."""
    state.execute(
        "DELETE FROM procrastinate_jobs WHERE status = 'todo'"
        f" AND substr(queue_name, 1, ?) = ? AND queue_name NOT IN {json_values()}",
        [len(prefix), prefix, json.dumps(sorted(queues))],
    )
