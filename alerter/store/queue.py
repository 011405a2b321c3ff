"""The job queue in PostgreSQL: who does what now. Due times are columns of other tables."""

import json
from collections.abc import Collection, Mapping
from datetime import timedelta

from alerter.store.sql import json_numbers, json_values
from alerter.store.state import State

# The names of jobs that have work of their own; others do what no job was deferred for.
DELIVER, ROUNDS = "deliver", "rounds"
REGULAR = "regular"  # of each config, with its number behind a colon
QUEUE_KINDS = (DELIVER, ROUNDS, REGULAR)
_URGENT = 10  # regular jobs go before rounds and deliveries


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


def defer_periodic(state: State, queue: str, task: str, moment: int) -> None:
    """Have a worker with this queue do a regular job, once for each moment (in seconds).

    Nothing is deferred while the last one waits.
    """
    lock = f"{queue}:{task}"
    state.value(
        "SELECT procrastinate_defer_periodic_job_v2"
        f"(:queue, :lock, :lock, :task, {_URGENT}, :queue, :moment, '{{}}') WHERE NOT EXISTS"
        " (SELECT 1 FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo')",
        {"queue": queue, "lock": lock, "task": task, "moment": moment},
    )


def stalled_jobs(state: State, after: timedelta) -> set[int]:
    """Return the jobs of workers that are gone, or that have not reported themselves for so long.

    By the server's clock.
    """
    rows = state.rows(
        "SELECT job.id FROM procrastinate_jobs AS job"
        " LEFT JOIN procrastinate_workers AS its ON its.id = job.worker_id"
        " WHERE job.status = 'doing' AND (its.id IS NULL"
        "  OR extract(epoch FROM clock_timestamp() - its.last_heartbeat) > ?)",
        [after.total_seconds()],
    )
    return {row["id"] for row in rows}


def jobs_of(state: State, workers: Collection[int]) -> set[int]:
    """Return the jobs that these workers of the queue carry out."""
    rows = state.rows(
        "SELECT id FROM procrastinate_jobs WHERE status = 'doing'"
        f" AND worker_id IN {json_numbers()}",
        [json.dumps(sorted(workers))],
    )
    return {row["id"] for row in rows}


def delete_job(state: State, job: int) -> bool:
    """Delete a job that nobody carries out; its lease is lost.

    Return False where it has ended, or a transaction under its lease is open.
    """
    return bool(
        state.execute(
            "DELETE FROM procrastinate_jobs WHERE id = (SELECT id FROM procrastinate_jobs"
            " WHERE id = ? AND status = 'doing' FOR UPDATE SKIP LOCKED)",
            [job],
        )
    )


def is_sent_to_by_another(state: State, destination: str, job: int) -> bool:
    """Whether a job other than this one sends to a destination now.

    It has another lock, of a config with another channel for this destination.
    """
    return bool(
        state.value(
            "SELECT 1 FROM procrastinate_jobs WHERE task_name = ? AND queueing_lock = ?"
            " AND status = 'doing' AND id <> ?",
            [DELIVER, destination, job],
        )
    )


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
        f" AND queue_name LIKE ? AND queue_name NOT IN {json_values()}",
        [f"{prefix}%", json.dumps(sorted(queues))],
    )
