"""The job queue: what is deferred once, and what becomes of jobs that nobody carries out."""

from datetime import timedelta

import psycopg
import pytest

from alerter.config.state import PostgresUrl
from alerter.store import State, queue
from alerter.store.lease import Lease, LeaseLost, under
from tests.support.queue import fetch_job, get_jobs, new_queue_worker

pytestmark = pytest.mark.postgresql

AFTER = timedelta(seconds=20)


def test_a_regular_job_is_deferred_once_for_each_moment(state: State) -> None:
    for moment in (100, 100, 102):
        queue.defer_periodic(state, "regular:1", "tick", moment)
    assert len(get_jobs(state)) == 1
    worker = new_queue_worker(state)
    assert fetch_job(state, worker, "regular:1")
    queue.defer_periodic(state, "regular:1", "tick", 100)
    assert len(get_jobs(state)) == 1
    queue.defer_periodic(state, "regular:1", "tick", 104)
    assert sorted(get_jobs(state).values()) == ["doing", "todo"]


def test_a_moment_that_a_fast_clock_has_deferred_holds_up_no_other(state: State) -> None:
    worker = new_queue_worker(state)
    for moment in (3700, 100, 3702, 102, 104):
        queue.defer_periodic(state, "regular:1", "tick", moment)
        job = fetch_job(state, worker, "regular:1")
        assert job, moment
        assert queue.delete_job(state, job)


def test_a_destination_waits_in_the_queue_once(state: State) -> None:
    for _ in range(2):
        queue.defer_deliveries(state, {"email:owner": "email:owner"})
    assert len(get_jobs(state)) == 1
    fetch_job(state, new_queue_worker(state))
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    assert sorted(get_jobs(state).values()) == ["doing", "todo"]


def test_the_jobs_of_a_living_worker_are_not_stalled(state: State) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    fetch_job(state, new_queue_worker(state, seen_ago=18))
    assert queue.stalled_jobs(state, AFTER) == set()


@pytest.mark.parametrize("is_pruned", [False, True], ids=["not seen", "not known"])
def test_the_jobs_of_a_worker_that_is_gone_are_stalled(state: State, is_pruned: bool) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    worker = new_queue_worker(state, seen_ago=21)
    job = fetch_job(state, worker)
    if is_pruned:
        state.execute("DELETE FROM procrastinate_workers WHERE id = ?", [worker])
    assert queue.stalled_jobs(state, AFTER) == {job}


def test_a_stalled_job_with_a_twin_that_waits_is_deleted(state: State) -> None:
    """https://github.com/procrastinate-org/procrastinate/issues/1543"""
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    job = fetch_job(state, new_queue_worker(state, seen_ago=60))
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    assert job
    assert queue.delete_job(state, job)
    assert list(get_jobs(state).values()) == ["todo"]
    assert fetch_job(state, new_queue_worker(state)) not in (None, job)


def test_a_job_with_an_open_transaction_is_not_waited_for(
    state: State, database: PostgresUrl
) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    job = fetch_job(state, new_queue_worker(state, seen_ago=60))
    assert job
    with psycopg.connect(database.url) as frozen:
        frozen.execute("SELECT 1 FROM procrastinate_jobs FOR SHARE")
        assert not queue.delete_job(state, job)
    assert queue.delete_job(state, job)


def test_a_job_that_waits_is_not_deleted_as_stalled(state: State) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    [job] = get_jobs(state)
    assert not queue.delete_job(state, job)


def test_waiting_jobs_of_other_configs_are_deleted(state: State) -> None:
    for name in ("regular:1", "regular:2", "regular:3"):
        queue.defer_periodic(state, name, "tick", 100)
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    queue.delete_queues(state, ["regular:2", "regular:3"], "regular:")
    assert queue.queue_depth(state) == {"deliver": 1, "regular:2": 1, "regular:3": 1}


@pytest.mark.parametrize(
    ("column", "value"),
    [("worker_id", "NULL"), ("status", "'todo'"), ("attempts", "attempts + 1")],
    ids=["its worker is pruned", "given back", "another attempt"],
)
def test_a_lease_that_is_lost_lets_nothing_be_written(
    state: State, column: str, value: str
) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    worker = new_queue_worker(state)
    job = fetch_job(state, worker)
    assert job
    with under(Lease(job, 0, worker)):
        with state.transaction():
            state.execute("UPDATE scrubs SET owed = 1")
        state.engine.execute("SELECT 1", ())
    state.execute(f"UPDATE procrastinate_jobs SET {column} = {value}")
    with under(Lease(job, 0, worker)):
        with pytest.raises(LeaseLost), state.transaction():
            raise AssertionError("within a transaction without a lease")
        with pytest.raises(LeaseLost):
            state.execute("UPDATE scrubs SET owed = 2")
    assert state.value("SELECT owed FROM scrubs") == 1


def test_a_job_ends_only_after_the_transaction_under_its_lease(
    state: State, database: PostgresUrl
) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    worker = new_queue_worker(state)
    job = fetch_job(state, worker)
    assert job
    with State.open(database, migrate=False) as another:
        with under(Lease(job, 0, worker)), state.transaction():
            assert not queue.delete_job(another, job)
        assert queue.delete_job(another, job)
