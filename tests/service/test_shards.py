"""The rounds of a shard are recorded together, and a slow or failing site holds up no other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.clock import ServerClock
from alerter.config import Config, load_config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.service.membership import Membership
from alerter.service.reconcile import reconcile
from alerter.service.rounds import SHARDS, shard_of
from alerter.service.runtime import Runtime, open_runtime
from alerter.service.shards import Shards
from alerter.store import State, blocks, known_sites, rounds
from tests.support.held_wix import HeldWix
from tests.support.state_faults import impatient, locked
from tests.support.values import SECRETS, SITE
from tests.support.waiting import until

pytestmark = pytest.mark.slow(3)

QUERY = "/reviews/v1/reviews/query"
MINUTE = timedelta(minutes=1)
SHARD = shard_of(SITE)


def neighbours(number: int) -> list[str]:
    """Other sites of the shard of SITE."""
    ids = (f"22222222-2222-4222-8222-{each:012}" for each in range(10_000))
    return [each for each in ids if shard_of(each) == SHARD][:number]


SECOND, THIRD = neighbours(2)


class SlowWix(HeldWix):
    """Wix, which answers calls about `slow` sites while `answers` is set."""

    def __init__(self) -> None:
        super().__init__(requests_per_minute=None)
        self.slow = {SITE}

    @web.middleware
    async def _hold(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        while request.headers.get("wix-site-id") in self.slow and not self.answers.is_set():
            await asyncio.sleep(0.01)
        return await handler(request)


@pytest.fixture
async def wix() -> AsyncIterator[SlowWix]:
    async with SlowWix() as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix
        wix.answers.set()


class Ahead(ServerClock):
    """The real time, which a test sets ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@dataclass
class Shard:
    """Three sites of a shard, each read before, whose rounds are due."""

    state: State
    runtime: Runtime
    shards: Shards
    stopping: asyncio.Event
    membership: Membership
    clock: Ahead
    begun: dict[str, object]

    def read(self) -> set[str]:
        """The sites that were read since the rounds began."""
        known = {each: known_sites.get_site_state(self.state, each) for each in self.begun}
        return {each for each, state in known.items() if state.last_success != self.begun[each]}

    def due(self) -> set[str]:
        return set(self.runtime.poller.due_rounds(SHARD, 10))


@pytest.fixture
def every() -> str:
    return "1m"


@pytest.fixture
def three(
    write_config: Callable[..., Path],
    wix: SlowWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    every: str,
) -> Config:
    extra = f'[poll]\nevery = "{every}"\n'
    for name, site_id in (("Book shop", SECOND), ("Florist", THIRD)):
        wix.add_site(site_id, api_key=SECRETS["WIX_API_KEY"])
        extra += f'[[sites]]\nname = "{name}"\nsite_id = "{site_id}"\napi_key = "env:WIX_API_KEY"\n'
    return load_config(write_config(wix, slack, mailbox, extra=extra), SECRETS, secrets=True)


@pytest.fixture
async def shard(state: State, three: Config, wix: SlowWix) -> AsyncIterator[Shard]:
    clock, stopping = Ahead(), asyncio.Event()
    reconcile(state, three, clock, alone=False)
    async with open_runtime(three, state, clock, worker="one") as runtime:
        for site in three.sites:
            assert await runtime.poller.round(site)
        state.execute("UPDATE sites SET next_round = 1")
        begun = {
            site.site_id: known_sites.get_site_state(state, site.site_id).last_success
            for site in three.sites
        }
        wix.requests.clear()
        counts.clear()
        await asyncio.sleep(0.002)  # a round is later than the one before
        membership = Membership(state, clock)
        shards = Shards(runtime, membership, stopping)
        yield Shard(state, runtime, shards, stopping, membership, clock, begun)


async def test_all_due_sites_are_read_once_and_planned_again(shard: Shard, wix: SlowWix) -> None:
    before = shard.runtime.clock.now()
    await shard.shards.make_rounds(SHARD)
    assert sorted(each.site_id for each in wix.queries()) == sorted([SITE, SECOND, THIRD])
    assert shard.read() == {SITE, SECOND, THIRD}
    assert counts["rounds"] == 3
    found = rounds.next_round(shard.state, SHARD)
    assert found
    assert before + MINUTE <= found <= shard.runtime.clock.now() + MINUTE


async def test_a_slow_site_holds_up_no_other(shard: Shard, wix: SlowWix) -> None:
    wix.answers.clear()
    making = asyncio.create_task(shard.shards.make_rounds(SHARD))
    await until(lambda: shard.read() == {SECOND, THIRD})
    shard.state.execute("UPDATE sites SET next_round = 1 WHERE site_id = ?", [SECOND])
    await until(lambda: [each.site_id for each in wix.queries()].count(SECOND) == 2)
    assert shard.due() >= {SITE}
    wix.answers.set()
    await making
    assert shard.read() == {SITE, SECOND, THIRD}
    assert [each.site_id for each in wix.queries()].count(SITE) == 1
    assert shard.due() == set()


async def test_a_site_that_fails_is_planned_again_and_the_others_are_recorded(
    shard: Shard, wix: SlowWix, state: State
) -> None:
    wix.faults.add(QUERY, Fault(status=500, only=SITE))
    await shard.shards.make_rounds(SHARD)
    assert shard.read() == {SECOND, THIRD}
    assert known_sites.site_failing_since(state, SITE)
    assert shard.due() == set()
    assert (counts["rounds"], counts["rounds_failed"]) == (2, 1)
    state.execute("UPDATE sites SET next_round = 1")
    await shard.shards.make_rounds(SHARD)
    assert shard.read() == {SITE, SECOND, THIRD}
    assert known_sites.site_failing_since(state, SITE) is None


async def test_a_site_that_hides_unpublished_reviews_is_recorded_with_the_others(
    shard: Shard, wix: SlowWix, state: State
) -> None:
    wix.sites[SECOND].private = False
    await shard.shards.make_rounds(SHARD)
    assert shard.read() == {SITE, SECOND, THIRD}
    rows = state.rows("SELECT site_id, sees_private, private_lost_at FROM sites")
    assert {row["site_id"]: bool(row["sees_private"]) for row in rows} == {
        SITE: True,
        SECOND: False,
        THIRD: True,
    }
    assert [row["site_id"] for row in rows if row["private_lost_at"]] == [SECOND]


async def test_a_site_that_wix_wants_no_calls_about_is_not_asked_for(
    shard: Shard, wix: SlowWix, state: State
) -> None:
    now = shard.runtime.clock.now()
    blocks.set_block(state, f"site:{SITE}", now, now + MINUTE, "wait")
    await shard.shards.make_rounds(SHARD)
    assert {each.site_id for each in wix.queries()} == {SECOND, THIRD}
    assert shard.read() == {SECOND, THIRD}
    assert shard.due() == set()
    # What is over is lifted by the next round.
    state.execute("UPDATE blocks SET until = set_at")
    state.execute("UPDATE sites SET next_round = 1")
    await shard.shards.make_rounds(SHARD)
    assert shard.read() == {SITE, SECOND, THIRD}
    assert blocks.get_blocks(state) == []


async def test_rounds_that_cannot_be_recorded_are_made_again(
    shard: Shard, wix: SlowWix, state: State
) -> None:
    with locked(impatient(state).database):
        making = asyncio.create_task(shard.shards.make_rounds(SHARD))
        await until(lambda: counts["rounds_failed"] >= 3)
        shard.stopping.set()
        await making
    assert shard.read() == set()
    assert shard.due() == {SITE, SECOND, THIRD}
    shard.stopping.clear()
    await shard.shards.make_rounds(SHARD)
    assert shard.read() == {SITE, SECOND, THIRD}
    assert shard.due() == set()


async def test_what_is_under_way_at_the_stop_ends_and_is_recorded(
    shard: Shard, wix: SlowWix
) -> None:
    wix.answers.clear()
    making = asyncio.create_task(shard.shards.make_rounds(SHARD))
    await until(lambda: shard.read() == {SECOND, THIRD})
    shard.stopping.set()
    wix.answers.set()
    await making
    assert shard.read() == {SITE, SECOND, THIRD}
    assert shard.shards.under_way == set()


async def test_a_round_that_is_cancelled_at_the_stop_stays_due(shard: Shard, wix: SlowWix) -> None:
    wix.answers.clear()
    making = asyncio.create_task(shard.shards.make_rounds(SHARD))
    await until(lambda: shard.read() == {SECOND, THIRD})
    [slow] = shard.shards.under_way
    shard.stopping.set()
    slow.cancel()
    await making
    assert shard.due() == {SITE}


async def test_what_ends_during_the_stop_is_recorded_beside_a_round_that_hangs(
    shard: Shard, wix: SlowWix
) -> None:
    wix.slow = {SITE, SECOND}
    wix.answers.clear()
    making = asyncio.create_task(shard.shards.make_rounds(SHARD))
    await until(lambda: shard.read() == {THIRD})
    shard.stopping.set()
    await asyncio.sleep(1.2)
    wix.slow = {SITE}
    await until(lambda: len(shard.shards.under_way) == 1)
    for task in (making, *shard.shards.under_way):
        task.cancel()
    await asyncio.gather(making, return_exceptions=True)
    assert shard.read() == {SECOND, THIRD}
    assert shard.due() == {SITE}


@pytest.mark.parametrize("every", ["1s"])
async def test_a_turn_ends_although_more_falls_due(shard: Shard, wix: SlowWix) -> None:
    making = asyncio.create_task(shard.shards.make_rounds(SHARD))
    await until(lambda: len(wix.queries()) > 3)
    assert not making.done()
    shard.clock.ahead += 31
    await making


@pytest.mark.parametrize("every", ["1s"])
async def test_a_turn_that_waits_for_a_slow_site_goes_on_with_the_others(
    shard: Shard, wix: SlowWix
) -> None:
    wix.answers.clear()
    making = asyncio.create_task(shard.shards.make_rounds(SHARD))
    await until(lambda: shard.read() == {SECOND, THIRD})
    shard.clock.ahead += 41
    before = len(wix.queries())
    await until(lambda: len(wix.queries()) > before)
    assert not making.done()
    wix.answers.set()
    await making
    assert shard.read() == {SITE, SECOND, THIRD}


@pytest.mark.parametrize("every", ["1s"])
async def test_a_worker_gives_up_what_is_beyond_its_share(shard: Shard) -> None:
    """Of two shards one is its share, once there are as many workers as shards."""
    another = (SHARD + 1) % SHARDS
    shard.state.execute("UPDATE sites SET shard = ? WHERE site_id = ?", [another, THIRD])
    making = [asyncio.create_task(shard.shards.make_rounds(each)) for each in (SHARD, another)]
    await until(lambda: shard.read() == {SITE, SECOND, THIRD})
    shard.clock.ahead += 6
    await asyncio.sleep(1.5)
    assert not any(each.done() for each in making)
    shard.membership.living = SHARDS
    await asyncio.wait(making, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(1.5)
    assert [each.done() for each in making].count(True) == 1
    shard.stopping.set()
    await asyncio.gather(*making)


@pytest.mark.parametrize("every", ["1s"])
async def test_what_is_given_up_late_in_a_turn_waits_for_slow_sites_alone(
    shard: Shard, wix: SlowWix
) -> None:
    """A busy shard always has rounds under way: it ends only if it begins no others meanwhile."""
    another = (SHARD + 1) % SHARDS
    shard.state.execute("UPDATE sites SET shard = ? WHERE site_id = ?", [another, THIRD])
    wix.slow = {SITE, THIRD}
    wix.answers.clear()
    making = [asyncio.create_task(shard.shards.make_rounds(each)) for each in (SHARD, another)]
    await until(lambda: shard.read() == {SECOND})
    shard.clock.ahead += 20
    shard.membership.living = SHARDS
    await asyncio.sleep(1.2)
    before = len(wix.queries())
    await asyncio.sleep(2.2)
    assert len(wix.queries()) == before
    # After a while they hold up no other.
    shard.clock.ahead += 10
    await until(lambda: len(wix.queries()) > before)
    shard.stopping.set()
    wix.answers.set()
    await asyncio.gather(*making)
