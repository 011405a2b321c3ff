"""The job queue in PostgreSQL: who does what now. Due times are columns of other tables."""

import json
from collections.abc import Collection, Mapping

from alerter.store.sql import json_values
from alerter.store.state import State

# The names of jobs that have work of their own; others do what no job was deferred for.
DELIVER, ROUNDS = "deliver", "rounds"
HOUSE = "house"  # of each config, with its number behind a colon
KINDS = (DELIVER, ROUNDS, HOUSE)


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
