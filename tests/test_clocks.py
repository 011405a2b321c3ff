"""Clocks that are set, and machines that boot into the wrong year: nothing stops, and nothing runs ahead."""

import asyncio
from datetime import UTC, datetime

import pytest

from alerter.config import Config
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.rounds import Rounds
from alerter.store import State, blocks, reviews
from alerter.wiring import open_house
from tests.conftest import SITE, SetClock

STALE = {"content": {"rating": 1, "title": "Stale"}}


@pytest.mark.parametrize("year", [1970, 2036])
async def test_a_boot_into_another_year_alerts_all_the_same_and_no_checkpoint_runs_ahead(
    config: Config, state: State, wix: EmbeddedWix, slack: EmbeddedSlack, year: int
) -> None:
    clock = SetClock(datetime(year, 1, 2, tzinfo=UTC))
    async with open_house(config, state, clock) as house:
        assert await house.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await house.poller.round(config.sites[0])
        await house.dispatcher._workers["support"].step()
        checkpoint = reviews.site_state(state, SITE).checkpoint
    assert len(slack.posts) == 1
    assert checkpoint is not None
    assert checkpoint <= datetime.now(UTC)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_an_alert_leaves_at_once_after_the_clock_was_set(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, hours: int
) -> None:
    async with open_house(config, state, clock) as house:
        assert await house.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await house.poller.round(config.sites[0])
        clock.step(hours=hours)
        await house.dispatcher._workers["support"].step()
    assert len(slack.posts) == 1


def test_a_wait_ends_when_the_clock_is_set_back_behind_its_beginning(state: State, clock: SetClock) -> None:
    blocks.hold_back(state, "service:slack", clock.now(), clock.now().replace(minute=30), "429")
    assert blocks.held_back(state, "service:slack", clock.now())
    clock.step(hours=-1)
    assert not blocks.held_back(state, "service:slack", clock.now())


@pytest.mark.slow
async def test_rounds_go_on_when_the_clock_is_set(config: Config, state: State, wix: EmbeddedWix) -> None:
    """The clock of the rounds is set back an hour; the scheduler's own stays, as if it had been set before it."""

    async def after(number: int) -> None:
        async with asyncio.timeout(10):
            while len(wix.queries()) < number:
                await asyncio.sleep(0.02)

    clock = _Drifting()
    quick = config.model_copy(
        update={"poll": config.poll.model_copy(update={"every": config.poll.every.resolution * 500_000})}
    )
    async with open_house(quick, state, clock) as house:
        rounds = Rounds(quick, clock, state, house)
        rounds.start()
        await after(2)
        for job in rounds._scheduler.get_jobs():  # what a step back of the scheduler's clock comes to
            job.modify(next_run_time=datetime.now(UTC).replace(year=2099))
        clock.hours_back = 1
        seen = len(wix.queries())
        await asyncio.sleep(0)
        await after(seen + 1)
        await rounds.stop(asyncio.create_task(asyncio.sleep(0, result=True)))


class _Drifting(SetClock):
    """Real time, until it is set back."""

    hours_back = 0

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))

    def now(self) -> datetime:
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() - 3600 * self.hours_back, UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
