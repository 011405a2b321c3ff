"""Rounds of a site against the embedded Wix: what is recorded, what is alerted, and how trouble is
met.
"""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, Site, load_config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix, Request
from alerter.demo.wix_reviews import stamp
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State
from alerter.wix.client import ReviewFilter, WixClient
from tests.support.clock import SetClock
from tests.support.poll import (
    BOTH,
    NOON,
    QUERY,
    checkpoint,
    deliveries,
    keys,
    log,
    put,
    runtime,
    said,
    statuses,
    watching,
    wix,
)
from tests.support.values import SECRETS, SITE

__all__ = ["log", "runtime", "watching", "wix"]


def conditions(request: Request) -> list[dict[str, Any]]:
    """What a query asks for, one condition each."""
    asked: dict[str, Any] = request.body["query"]["filter"]
    return asked.get("$and") or [asked]


# The first read


async def test_the_first_read_is_a_silent_baseline_and_says_so_once(
    runtime: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    put(wix, "a")
    put(wix, "b", rating=2, minutes=1)
    put(wix, "answered", minutes=2, reply={"message": "Sorry"})
    put(wix, "fine", rating=3, minutes=3)
    assert await runtime.poller.round(site)
    assert await runtime.poller.round(site)
    assert keys(state) == []
    assert statuses(state) == {"baseline": 3}
    assert checkpoint(state) == NOON + timedelta(minutes=2)
    [line] = said(log)
    assert 'site "Corner Bakery": watching; low-rated=3 unanswered=2' in line


async def test_a_first_read_of_many_pages_is_as_silent(
    runtime: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    for index in range(257):
        put(wix, f"r{index}", rating=1 + index % 2, hours=index)
    assert await runtime.poller.round(site)
    assert len(wix.queries()) == 3
    assert keys(state) == []
    assert statuses(state) == {"baseline": 257}
    assert "watching; low-rated=257 unanswered=257" in said(log)[0]
    assert await runtime.poller.round(site)
    assert len(wix.queries()) == 4


async def test_a_first_read_that_breaks_off_is_a_baseline_still(
    runtime: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    for index in range(150):
        put(wix, f"r{index}", hours=index)
    wix.faults.add(QUERY, Fault(), Fault(status=500))
    assert not await runtime.poller.round(site)
    assert statuses(state) == {"baseline": 100}
    assert await runtime.poller.round(site)
    assert statuses(state) == {"baseline": 150}
    put(wix, "new", hours=150)
    assert await runtime.poller.round(site)
    assert keys(state) == ["new:new"]


async def test_a_site_without_a_low_rated_review_alerts_of_its_first(
    runtime: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    put(wix, "fine", rating=5)
    assert await runtime.poller.round(site)
    assert await runtime.poller.round(site)
    assert "watching; low-rated=0 unanswered=0" in said(log)[0]
    put(wix, "first", days=-3)
    assert await runtime.poller.round(site)
    assert await runtime.poller.round(site)
    assert keys(state) == ["new:first"]
    assert checkpoint(state) == NOON - timedelta(days=3)


# What is new


async def test_a_review_added_afterwards_is_alerted_once_to_every_receiver(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    put(wix, "new", rating=2)
    for _ in range(3):
        assert await watching.poller.round(site)
    assert keys(state) == ["new:new"]
    assert deliveries(state) == [("new", destination, "pending") for destination in BOTH]
    assert statuses(state) == {"baseline": 1, "open": 1}


async def test_an_idle_round_is_one_request(
    watching: Runtime, site: Site, wix: EmbeddedWix, clock: SetClock
) -> None:
    for number in range(1, 6):
        assert await watching.poller.round(site)
        assert len(wix.requests) == number
        clock.advance(minutes=10)
    assert counts["rounds"] == 6


async def test_positive_reviews_never_cross_the_wire(
    watching: Runtime, site: Site, wix: EmbeddedWix, config: Config, clock: SetClock
) -> None:
    for rating in range(1, 6):
        for number in range(40):
            put(wix, f"r{rating}-{number}", rating=rating, seconds=number)
    assert await watching.poller.round(site)
    asked = [conditions(request) for request in wix.queries()]
    assert [each for each in asked if {"content.rating": {"$lte": 2}} not in each] == []
    client = WixClient(config.wix.base_url, clock)
    since = datetime.fromisoformat(asked[-1][-1]["createdDate"]["$gte"])
    answered = [
        page async for page in client.pages(site, ReviewFilter(2, since=since), private=True)
    ]
    await client.close()
    assert {review.rating for page in answered for review in page.reviews} == {1, 2}
    assert sum(len(page.reviews) for page in answered) == 81


async def test_a_review_that_shows_up_late_is_alerted_all_the_same(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    put(wix, "slow", visible_after=90)
    put(wix, "quick", minutes=4, seconds=59)
    assert await watching.poller.round(site)
    assert keys(state) == ["new:quick"]
    clock.advance(seconds=120)
    assert await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert keys(state) == ["new:quick", "new:slow"]


async def test_reviews_of_one_moment_on_both_sides_of_a_page_are_alerted_once(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    for index in range(150):
        put(wix, f"r{index}")
    assert await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert sorted(keys(state)) == sorted(f"new:r{index}" for index in range(150))
    assert Counter(receiver for _, receiver, _ in deliveries(state)) == {
        "email:owner": 150,
        "slack:support": 150,
    }


async def test_a_review_of_the_same_moment_as_the_newest_is_not_overlooked(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    put(wix, "first")
    assert await watching.poller.round(site)
    put(wix, "twin")
    assert await watching.poller.round(site)
    assert keys(state) == ["new:first", "new:twin"]


async def test_a_created_date_in_the_future_does_not_run_the_checkpoint_ahead(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.faults.always(QUERY, Fault(headers={"Date": "Mon, 01 Jul 2024 12:00:30 GMT"}))
    put(wix, "new")
    put(wix, "future", days=27000)
    assert await watching.poller.round(site)
    assert checkpoint(state) == NOON + timedelta(seconds=30)
    put(wix, "after", minutes=10)
    assert await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert sorted(keys(state)) == ["new:after", "new:future", "new:new"]


async def test_a_created_date_in_the_future_is_harmless_without_a_date_header(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.faults.always(QUERY, Fault(headers={"Date": ""}))
    put(wix, "new")
    put(wix, "future", days=27000)
    assert await watching.poller.round(site)
    put(wix, "after", minutes=10)
    assert await watching.poller.round(site)
    assert "new:after" in keys(state)


async def test_a_review_without_a_created_date_is_alerted_and_moves_nothing(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    before = checkpoint(state)
    wix.faults.add(QUERY, Fault(body='{"reviews": [{"id": "undated", "content": {"rating": 1}}]}'))
    assert await watching.poller.round(site)
    assert keys(state) == ["new:undated"]
    assert checkpoint(state) == before


async def test_our_own_clock_has_no_part_in_what_is_read(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    clock.step(days=-3000)
    put(wix, "new")
    assert await watching.poller.round(site)
    clock.step(days=6000)
    put(wix, "newer", minutes=1)
    assert await watching.poller.round(site)
    assert keys(state) == ["new:new", "new:newer"]
    assert checkpoint(state) == NOON + timedelta(minutes=1)


@pytest.mark.parametrize("namespace", ["bookings", "", None], ids=["another", "empty", "null"])
async def test_a_review_of_something_else_than_a_product_is_alerted(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, namespace: str | None
) -> None:
    put(wix, "new", namespace=namespace, entityId="e-1")
    assert await watching.poller.round(site)
    assert keys(state) == ["new:new"]
    assert [request.path for request in wix.requests] == [QUERY]


async def test_imports_are_counted_in_the_log_and_not_alerted(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    for index in range(3):
        put(wix, f"import{index}", reviewDate=stamp(NOON - timedelta(days=31)))
    put(wix, "written-last-month", reviewDate=stamp(NOON - timedelta(days=30)))
    for _ in range(3):
        assert await watching.poller.round(site)
    assert keys(state) == ["new:written-last-month"]
    assert [line for line in said(log) if "import" in line] == [
        'site "Corner Bakery": 3 imported reviews recorded, not alerted'
    ]


@pytest.mark.parametrize(
    ("status", "alerts"),
    [
        ("SUBMITTED", ["new:new"]),
        ("IN_MODERATION", ["new:new"]),
        ("APPROVED", ["new:new"]),
        ("UNKNOWN", ["new:new"]),
        ("ON_HOLD", ["new:new"]),
        ("REJECTED", []),
    ],
    ids=str,
)
async def test_a_review_is_alerted_whatever_its_moderation_but_a_rejection(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, status: str, alerts: list[str]
) -> None:
    put(wix, "new", moderation={"moderationStatus": status})
    assert await watching.poller.round(site)
    assert keys(state) == alerts


async def test_an_unreadable_review_is_logged_once_and_affects_no_other(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    bad = '{"id": "bad", "content": {"rating": 0}}, null, {"content": {}}'
    good = '{"id": "good", "createdDate": "2024-07-01T12:00:00Z", "content": {"rating": 1}}'
    wix.faults.always(QUERY, Fault(body=f'{{"reviews": [{bad}, {good}]}}'))
    for _ in range(4):
        assert await watching.poller.round(site)
    assert keys(state) == ["new:good"]
    assert (
        len([line for line in said(log, logging.ERROR) if "review bad has no rating" in line]) == 1
    )
    assert len([line for line in said(log, logging.ERROR) if "(no id)" in line]) == 1
    assert counts["reviews_unreadable"] == 2


# Another threshold


@pytest.fixture
def configured(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Callable[[int], Config]:
    """The same config with another threshold."""

    def load(threshold: int) -> Config:
        path = write_config(wix, slack, mailbox, extra=f"[alerts]\nthreshold = {threshold}")
        return load_config(path, SECRETS, secrets=True)

    return load


async def test_a_raised_threshold_records_the_difference_silently_and_watches_it(
    configured: Callable[[int], Config],
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    log: pytest.LogCaptureFixture,
) -> None:
    put(wix, "two", rating=2)
    put(wix, "three", rating=3)
    async with open_runtime(configured(2), state, clock) as runtime:
        assert await runtime.poller.round(configured(2).sites[0])
    put(wix, "another-three", rating=3, minutes=1)
    put(wix, "another-two", rating=2, minutes=1)
    log.clear()
    wix.requests.clear()
    config = configured(3)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        assert keys(state) == ["new:another-two"]
        difference, new = map(conditions, wix.queries())
        assert difference == [{"content.rating": {"$gt": 2}}, {"content.rating": {"$lte": 3}}]
        assert new[0] == {"content.rating": {"$lte": 3}}
        assert new[1].keys() == {"createdDate"}
        put(wix, "a-third-three", rating=3, minutes=2)
        assert await runtime.poller.round(config.sites[0])
        assert await runtime.poller.round(config.sites[0])
    assert keys(state) == ["new:another-two", "new:a-third-three"]
    assert len([line for line in said(log) if "watching" in line]) == 1
    assert len(wix.queries()) == 4


async def test_a_raise_that_fails_halfway_stays_silent_when_it_is_done_again(
    configured: Callable[[int], Config], wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    put(wix, "one")
    async with open_runtime(configured(2), state, clock) as runtime:
        assert await runtime.poller.round(configured(2).sites[0])
    for index in range(150):
        put(wix, f"r{index}", rating=3, hours=index - 200)
    config = configured(3)
    async with open_runtime(config, state, clock) as runtime:
        before = checkpoint(state)
        wix.faults.add(QUERY, Fault(), Fault(status=500))
        assert not await runtime.poller.round(config.sites[0])
        assert checkpoint(state) == before
        assert await runtime.poller.round(config.sites[0])
    assert keys(state) == []
    assert statuses(state) == {"baseline": 151}


async def test_a_threshold_raised_again_is_silent_of_the_time_between(
    configured: Callable[[int], Config],
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    log: pytest.LogCaptureFixture,
) -> None:
    config = configured(3)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        put(wix, "three", rating=3)
        assert await runtime.poller.round(config.sites[0])
    config = configured(2)
    async with open_runtime(config, state, clock) as runtime:
        put(wix, "unwatched-three", rating=3, minutes=1)
        put(wix, "two", rating=2, minutes=1)
        assert await runtime.poller.round(config.sites[0])
    assert keys(state) == ["new:three", "new:two"]
    config = configured(3)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        put(wix, "watched-three", rating=3, minutes=2)
        assert await runtime.poller.round(config.sites[0])
    assert keys(state) == ["new:three", "new:two", "new:watched-three"]
    assert said(log, logging.WARNING) == []


async def test_a_threshold_lowered_closes_what_is_above_it_without_a_word(
    configured: Callable[[int], Config], wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    config = configured(3)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        put(wix, "three", rating=3)
        put(wix, "two", rating=2)
        assert await runtime.poller.round(config.sites[0])
    config = configured(2)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        assert statuses(state) == {"closed": 1, "open": 1}
        wix.change(SITE, "three", foundHelpful=1)
        clock.advance(hours=2)
        assert await runtime.poller.round(config.sites[0])
    assert keys(state) == ["new:three", "new:two"]
    assert state.value("SELECT closing FROM reviews WHERE review_id = 'three'") is None


async def test_what_the_log_counts_as_low_rated_is_low_rated(
    configured: Callable[[int], Config],
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    log: pytest.LogCaptureFixture,
) -> None:
    config = configured(2)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        put(wix, "one")
        assert await runtime.poller.round(config.sites[0])
        wix.change(SITE, "one", content={"rating": 5})
        await runtime.intake.record_page(config.sites[0], [(await _only(runtime, config))])
    log.clear()
    config = configured(3)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
    assert "low-rated=0" in said(log)[0]


async def _only(runtime: Runtime, config: Config) -> Any:
    [review] = [
        review
        async for page in runtime.reader.pages(config.sites[0], ReviewFilter(5))
        for review in page.reviews
    ]
    return review
