"""When rounds begin: many sites share a part of the period, and none waits for another."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from alerter.clock import Clock
from alerter.config import Config
from alerter.config.given import site
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.service import embedded
from alerter.service.embedded import Scheduler
from alerter.service.rounds import share_of
from alerter.service.runtime import open_runtime
from alerter.store import State
from tests.support.clock import SetClock
from tests.support.values import SECRETS
from tests.support.waiting import HANG, until

KEY = SECRETS["WIX_API_KEY"]


def together() -> tuple[str, str]:
    """The ids of two sites in one part of the period."""
    found: dict[int, str] = {}
    for number in range(10_000):
        site_id = f"11111111-1111-4111-8111-{number:012}"
        part = int(share_of(site_id) * embedded._SLOTS)
        if part in found:
            return found[part], site_id
        found[part] = site_id
    raise AssertionError


@pytest.mark.slow
async def test_a_slow_site_holds_up_no_other_and_is_not_polled_twice_at_once(
    config: Config, state: State, wix: EmbeddedWix
) -> None:
    slow, other = together()
    for site_id in (slow, other):
        wix.add_site(site_id, api_key=KEY)
    wix.faults.add("/reviews/v1/reviews/query", Fault(delay=HANG, only=slow))
    poll = config.poll.model_copy(update={"every": timedelta(milliseconds=200)})
    sites = (site("Slow", slow, KEY), site("Other", other, KEY))
    async with open_runtime(
        config.model_copy(update={"poll": poll, "sites": sites}), state, Clock()
    ) as runtime:
        rounds = Scheduler(runtime)
        rounds.start()
        await until(lambda: len(wix.queries(other)) >= 5)
        assert len(wix.queries(slow)) == 1
        for task in rounds._under_way:
            task.cancel()
        await rounds.stop(asyncio.create_task(asyncio.sleep(0, result=True)))


async def test_without_a_site_yet_nothing_is_late(
    config: Config, state: State, clock: SetClock
) -> None:
    async with open_runtime(config.model_copy(update={"sites": ()}), state, clock) as runtime:
        rounds = Scheduler(runtime)
        rounds.start()
        clock.advance(hours=1)
        assert rounds.idle_for() == 0
        await rounds.stop(asyncio.create_task(asyncio.sleep(0, result=True)))


async def test_no_moment_is_listed_that_the_clock_leapt_over(
    config: Config, state: State, clock: SetClock
) -> None:
    """A machine without a clock of its own may begin in 1970."""
    begun, now = datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 3, 2, 6, 0, 3, tzinfo=UTC)
    async with open_runtime(config, state, clock) as runtime:
        rounds = Scheduler(runtime)
        rounds.start()
        for job in rounds._scheduler.get_jobs():
            job.modify(next_run_time=begun)
            assert job._get_run_times(now) == [begun]
            following = job.trigger.get_next_fire_time(begun, now)
            assert now < following <= now + job.trigger.interval
            assert (following - begun) % job.trigger.interval == timedelta()
            assert job.trigger.get_next_fire_time(now, now) == now + job.trigger.interval
        await rounds.stop(asyncio.create_task(asyncio.sleep(0, result=True)))
