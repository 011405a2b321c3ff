"""What each worker of a cluster does beside its jobs, and what it takes over."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from alerter.clock import ServerClock
from alerter.config import Config
from alerter.config.state import PostgresUrl
from alerter.service.upkeep import Upkeep
from alerter.store import State, queue
from alerter.store.waits import StoredWaits
from alerter.store.workers import WorkerProcess, put_worker, server_time
from alerter.trouble.tracker import Troubles
from tests.support import outbox
from tests.support.clock import SetClock
from tests.support.queue import fetch_job, get_jobs, new_queue_worker
from tests.support.waiting import until

pytestmark = pytest.mark.postgresql

TICK = "regular:3:tick"


def upkeep(
    state: State,
    clock: SetClock,
    running: Iterable[int] = (),
    took_over: list[int] | None = None,
) -> Upkeep:
    return Upkeep(
        state,
        clock,
        "regular:3",
        {"tick": 2, "prune": 3600},
        list(running),
        lambda: (took_over if took_over is not None else []).append(1),
    )


def worker(name: str, seen_at: datetime, config: int = 3) -> WorkerProcess:
    return WorkerProcess(name, "host", 1, "1", config, seen_at, seen_at)


def ticks(state: State) -> int:
    """How many ticks were deferred; those that wait are done now."""
    done = state.rows("DELETE FROM procrastinate_jobs WHERE queueing_lock = ? RETURNING id", [TICK])
    return len(done)


def deferred_in(state: State, clock: SetClock, keeper: Upkeep, seconds: int) -> int:
    found = 0
    for _ in range(seconds):
        keeper._defer()
        found += ticks(state)
        clock.advance(seconds=1)
    return found


def test_regular_jobs_are_deferred_once_in_each_period(state: State, clock: SetClock) -> None:
    assert deferred_in(state, clock, upkeep(state, clock), 20) == 10
    assert queue.queue_depth(state) == {"regular:3": 1}


def test_several_workers_defer_a_regular_job_once(state: State, clock: SetClock) -> None:
    keepers = [upkeep(state, clock) for _ in range(3)]
    found = 0
    for _ in range(20):
        for keeper in keepers:
            keeper._defer()
            found += ticks(state)
        clock.advance(seconds=1)
    assert found == 10


@pytest.mark.parametrize("hours", [1, -1, 24 * 365])
def test_a_clock_that_is_set_stops_no_regular_job(
    state: State, clock: SetClock, hours: int
) -> None:
    keeper = upkeep(state, clock)
    assert deferred_in(state, clock, keeper, 4) == 2
    clock.step(hours=hours)
    assert deferred_in(state, clock, keeper, 20) == 10


def test_a_worker_whose_clock_was_ahead_leaves_no_gap(state: State, clock: SetClock) -> None:
    ahead = SetClock(clock.now() + timedelta(hours=1))
    fast, keeper = upkeep(state, ahead), upkeep(state, clock)
    deferred_in(state, ahead, fast, 20)
    clock.advance(seconds=3590)
    assert deferred_in(state, clock, keeper, 40) >= 18


def test_the_jobs_of_a_worker_that_is_gone_are_deleted(state: State, clock: SetClock) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner", "email:other": "email:other"})
    fetch_job(state, new_queue_worker(state, seen_ago=21))
    alive = fetch_job(state, new_queue_worker(state))
    took_over: list[int] = []
    upkeep(state, clock, took_over=took_over).sweep()
    assert list(get_jobs(state)) == [alive]
    assert took_over == [1]


async def test_after_an_outage_living_workers_have_time_to_report_themselves(
    state: State, clock: SetClock
) -> None:
    queue.defer_deliveries(state, {"email:owner": "email:owner"})
    job = fetch_job(state, new_queue_worker(state, seen_ago=60))
    keeper = asyncio.create_task(upkeep(state, clock).run(new_queue_worker(state)))
    await until(lambda: len(get_jobs(state)) > 1)
    assert job in get_jobs(state)
    clock.advance(seconds=9)
    await asyncio.sleep(0)
    assert job in get_jobs(state)
    clock.advance(seconds=1)
    await until(lambda: job not in get_jobs(state))
    keeper.cancel()


def test_a_job_that_cannot_be_deleted_holds_up_no_other(state: State, clock: SetClock) -> None:
    """https://github.com/procrastinate-org/procrastinate/issues/1543"""
    queue.defer_deliveries(state, {"email:owner": "email:owner", "email:other": "email:other"})
    gone = new_queue_worker(state, seen_ago=60)
    first, second = fetch_job(state, gone), fetch_job(state, gone)
    queue.defer_deliveries(state, {"email:owner": "email:owner", "email:other": "email:other"})
    assert isinstance(state.database, PostgresUrl)
    with psycopg.connect(state.database.url) as frozen:
        frozen.execute("SELECT 1 FROM procrastinate_jobs WHERE id = %s FOR SHARE", [first])
        upkeep(state, clock).sweep()
        assert get_jobs(state)[first or 0] == "doing"
        assert second not in get_jobs(state)
    upkeep(state, clock).sweep()
    assert set(get_jobs(state).values()) == {"todo"}
    assert len(get_jobs(state)) == 2


async def test_a_job_that_this_process_does_not_carry_out_is_deleted(
    state: State, clock: SetClock
) -> None:
    """As where the answer of the database to the question for a job was lost."""
    queue.defer_deliveries(state, {"email:owner": "email:owner", "email:other": "email:other"})
    own = new_queue_worker(state)
    lost, kept = fetch_job(state, own), fetch_job(state, own)
    assert kept
    keeper = upkeep(state, clock, [kept])
    running = asyncio.create_task(keeper.run(own))
    await asyncio.sleep(0)
    running.cancel()
    keeper.sweep()
    assert {lost, kept} <= set(get_jobs(state))
    keeper.sweep()
    assert [each for each, status in get_jobs(state).items() if status == "doing"] == [kept]


def test_the_regular_jobs_of_living_configs_stay(state: State, clock: SetClock) -> None:
    now = server_time(state)
    put_worker(state, worker("old", now, config=2))
    put_worker(state, worker("dead", now - timedelta(minutes=1), config=1))
    for number in (1, 2, 3):
        queue.defer_periodic(state, f"regular:{number}", "tick", 100)
    upkeep(state, ServerClock(), []).sweep()
    assert queue.queue_depth(state) == {"regular:2": 1, "regular:3": 1}


def test_trouble_of_what_waits_is_not_ended_by_another_worker(
    state: State, config: Config, clock: SetClock
) -> None:
    """One that has started later has seen it wait for a shorter time."""
    outbox.queue(state, 1, receivers=["email:owner"], due_at=clock.now())
    first = Troubles(state, config, clock, lambda _: None, StoredWaits(state, clock))
    first.refresh()
    clock.advance(minutes=8)
    second = Troubles(state, config, clock, lambda _: None, StoredWaits(state, clock))
    second.refresh()
    clock.advance(minutes=8)
    first.refresh()
    begun = state.rows("SELECT scope, over_at FROM troubles")
    assert begun == [{"scope": "destination:email:owner", "over_at": None}]
    third = Troubles(state, config, clock, lambda _: None, StoredWaits(state, clock))
    third.refresh()
    assert state.rows("SELECT scope, over_at FROM troubles") == begun


def test_what_has_left_begins_to_wait_again(state: State, config: Config, clock: SetClock) -> None:
    outbox.queue(state, 1, receivers=["email:owner"], due_at=clock.now())
    troubles = Troubles(state, config, clock, lambda _: None, StoredWaits(state, clock))
    troubles.refresh()
    clock.advance(minutes=14)
    troubles.end(["destination:email:owner"])
    clock.advance(minutes=2)
    troubles.refresh()
    assert state.rows("SELECT scope FROM troubles") == []


class SteppedClock(ServerClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_an_answer_that_took_long_does_not_set_the_clock() -> None:
    clock, true = SteppedClock(), datetime(2026, 11, 26, tzinfo=UTC)
    clock.synchronize(lambda: true)

    def frozen() -> datetime:
        clock.seconds += 27
        return true

    clock.synchronize(frozen)
    assert clock.now() == true + timedelta(seconds=27)
