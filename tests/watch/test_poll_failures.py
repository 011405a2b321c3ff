"""Rounds that fail, and permissions that are missing, lost and back."""

import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from alerter.config import Config, Site, load_config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State, blocks
from alerter.watch.poll import Poller
from alerter.watch.reader import Reader
from alerter.wix.client import Page, ReviewFilter, ReviewIds
from tests.support.clock import SetClock
from tests.support.demo_wix import COUNT
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
from tests.support.state_faults import impatient, locked
from tests.support.values import SECRETS, SITE

__all__ = ["log", "runtime", "watching", "wix"]


OTHER = "22222222-2222-4222-8222-222222222222"
VERSION = "/stores/v3/provision/version"


def troubles(state: State) -> list[tuple[str, str]]:
    return [
        (row["scope"], row["reason"]) for row in state.rows("SELECT scope, reason FROM troubles")
    ]


def asked_for_private(wix: EmbeddedWix) -> list[bool]:
    return [request.body.get("returnPrivateReviews", False) for request in wix.queries()]


# Failures


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, body="<html></html>"),
        Fault(status=429),
        Fault(drop="before"),
        Fault(drop="after"),
        Fault(garble="truncate"),
        Fault(garble="html"),
        Fault(body='{"reviews": null}'),
        Fault(body='{"error": "x"}'),
        Fault(status=401),
        Fault(status=400),
    ],
    ids=[
        "500",
        "503",
        "429",
        "dropped",
        "answer lost",
        "truncated",
        "HTML",
        "null reviews",
        "error",
        "401",
        "400",
    ],
)
async def test_a_failure_moves_no_checkpoint_and_the_page_is_read_again(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, fault: Fault
) -> None:
    before = checkpoint(state)
    put(wix, "new")
    wix.faults.add(QUERY, fault)
    assert not await watching.poller.round(site)
    assert checkpoint(state) == before
    assert keys(state) == []
    assert await watching.poller.round(site)
    assert keys(state) == ["new:new"]
    assert counts["rounds_failed"] == 1


async def test_a_failure_between_pages_keeps_the_read_ones_and_reads_the_rest(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    for index in range(150):
        put(wix, f"r{index}", minutes=index)
    wix.faults.add(QUERY, Fault(), Fault(status=500))
    assert not await watching.poller.round(site)
    # The first page also held the review of the first read.
    assert keys(state) == [f"new:r{index}" for index in range(99)]
    assert checkpoint(state) == NOON + timedelta(minutes=98)
    assert await watching.poller.round(site)
    assert keys(state) == [f"new:r{index}" for index in range(150)]
    assert len(deliveries(state)) == 300


async def test_a_database_that_cannot_be_written_loses_nothing(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    before = checkpoint(state)
    put(wix, "new")
    with locked(impatient(state).database):
        assert not await watching.poller.round(site)
    assert len(wix.queries()) == 1
    assert checkpoint(state) == before
    assert keys(state) == []
    assert "locked by another process" in said(log, logging.ERROR)[0]
    assert await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert deliveries(state) == [("new", destination, "pending") for destination in BOTH]


@pytest.mark.parametrize(
    "fault",
    [Fault(status=429, headers={"Retry-After": "60"}), Fault(status=401)],
    ids=["429", "401"],
)
async def test_wix_and_the_database_may_fail_together(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, fault: Fault
) -> None:
    wix.faults.add(QUERY, fault)
    with locked(impatient(state).database):
        assert not await watching.poller.round(site)
    assert await watching.poller.round(site)


async def test_a_failure_is_logged_once_until_it_changes_and_so_is_its_end(
    watching: Runtime, site: Site, wix: EmbeddedWix, log: pytest.LogCaptureFixture
) -> None:
    log.clear()
    for fault in (Fault(drop="before"), Fault(status=429)):
        wix.faults.always(QUERY, fault)
        for _ in range(3):
            assert not await watching.poller.round(site)
    wix.faults.clear()
    for _ in range(3):
        assert await watching.poller.round(site)
    first, second, over = said(log)
    assert "poll failed: Wix cannot be reached" in first
    assert "poll failed: Wix asks us to slow down" in second
    assert over == 'site "Corner Bakery": polls succeed again'
    assert counts["rounds_failed"] == 6


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=401, body='{"message": "no"}'),
        Fault(status=400),
        Fault(body="null"),
    ],
    ids=["500", "401", "400", "null"],
)
async def test_a_failure_whose_request_id_alone_changes_is_logged_once(
    watching: Runtime, site: Site, wix: EmbeddedWix, log: pytest.LogCaptureFixture, fault: Fault
) -> None:
    wix.faults.always(QUERY, fault)
    log.clear()
    for _ in range(3):
        assert not await watching.poller.round(site)
    assert len(said(log)) == 1


@pytest.mark.parametrize(
    "header", ["120", "Tue, 24 Nov 2026 12:02:00 GMT"], ids=["seconds", "a date"]
)
@pytest.mark.parametrize("status", [429, 503])
async def test_a_site_is_left_alone_for_as_long_as_wix_asks_even_over_a_restart(
    watching: Runtime,
    config: Config,
    site: Site,
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    status: int,
    header: str,
) -> None:
    put(wix, "new")
    wix.faults.add(QUERY, Fault(status=status, headers={"Retry-After": header}))
    assert not await watching.poller.round(site)
    clock.advance(seconds=119)
    assert not await watching.poller.round(site)
    async with open_runtime(config, state, clock) as restarted:
        assert not await restarted.poller.round(site)
        assert len(wix.requests) == 1
        clock.advance(seconds=2)
        assert await restarted.poller.round(site)
    assert keys(state) == ["new:new"]


async def test_products_that_wix_throttles_hold_up_no_review(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    wix.faults.always(VERSION, Fault(status=429, headers={"Retry-After": "86400"}))
    for name in ("one", "two"):
        put(wix, name, namespace="stores", entityId="rye")
        assert await watching.poller.round(site)
        clock.advance(hours=7)
        watching.dispatcher.troubles.refresh()
    assert keys(state) == ["new:one", "new:two"]
    assert [request.path for request in wix.requests].count(VERSION) == 1
    assert not {scope for scope, _ in troubles(state)} - {
        "destination:email:owner",
        "destination:slack:support",
    }


async def test_a_site_that_wix_throttles_is_not_asked_for_a_count(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    week = NOON - timedelta(days=7), NOON
    throttled = Fault(status=429, headers={"Retry-After": "120"})
    for path in (QUERY, COUNT):
        wix.faults.add(path, throttled)
        if path == QUERY:
            assert not await watching.poller.round(site)
        else:
            assert await watching.poller.count(site, *week) is None
        before = len(wix.requests)
        clock.advance(seconds=119)
        assert await watching.poller.count(site, *week) is None
        assert not await watching.poller.round(site)
        assert len(wix.requests) == before
        clock.advance(seconds=2)
    assert await watching.poller.count(site, *week) == 0
    assert await watching.poller.round(site)
    assert blocks.get_blocks(state) == []


async def test_what_happens_to_one_site_does_not_affect_another(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
    clock: SetClock,
) -> None:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    extra = f'[[sites]]\nname = "Book shop"\nsite_id = "{OTHER}"\napi_key = "env:WIX_API_KEY"\n'
    config = load_config(write_config(wix, slack, mailbox, extra=extra), SECRETS, secrets=True)
    bakery, books = config.sites
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(books)
        wix.faults.add(QUERY, Fault(status=429, headers={"Retry-After": "600"}))
        assert not await runtime.poller.round(bakery)
        put(wix, "new", site_id=OTHER)
        assert await runtime.poller.round(books)
        assert not await runtime.poller.round(bakery)
    assert [review for review, _, _ in deliveries(state)] == ["new", "new"]
    assert [request.site_id for request in wix.queries()] == [OTHER, SITE, OTHER]


async def test_a_clock_set_back_keeps_no_site_waiting(
    watching: Runtime, site: Site, wix: EmbeddedWix, clock: SetClock
) -> None:
    wix.faults.add(QUERY, Fault(status=429, headers={"Retry-After": "120"}))
    assert not await watching.poller.round(site)
    clock.step(days=-300)
    assert await watching.poller.round(site)


# Permissions


async def test_without_the_private_permission_the_published_ones_are_read(
    runtime: Runtime,
    site: Site,
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    log: pytest.LogCaptureFixture,
) -> None:
    wix.sites[SITE].private = False
    assert await runtime.poller.round(site)
    put(wix, "published")
    put(wix, "pending", moderation={"moderationStatus": "IN_MODERATION"})
    assert await runtime.poller.round(site)
    assert keys(state) == ["new:published"]
    assert state.value("SELECT sees_private FROM sites") == 0
    [warning] = said(log, logging.WARNING)
    assert "REVIEWS.READ_PRIVATE_REVIEWS" in warning
    assert troubles(state) == []
    assert not runtime.reader.sees_private(site)


async def test_a_permission_that_is_missing_is_asked_for_less_and_less_often(
    runtime: Runtime, site: Site, wix: EmbeddedWix, clock: SetClock, log: pytest.LogCaptureFixture
) -> None:
    """Up to once a day."""
    wix.sites[SITE].private = False
    asked = []
    for _ in range(3 * 24 * 6):
        wix.requests.clear()
        assert await runtime.poller.round(site)
        asked.append(True in asked_for_private(wix))
        clock.advance(minutes=10)
    first_day, second_day, third_day = (sum(asked[day * 144 : (day + 1) * 144]) for day in range(3))
    assert asked[:2] == [True, True]
    assert first_day <= 8
    assert (second_day, third_day) == (1, 1)
    assert len(said(log, logging.WARNING)) == 1


async def test_a_single_refusal_hides_unpublished_reviews_until_the_next_round(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    wix.faults.add(QUERY, Fault(status=403, body='{"message": "forbidden"}'))
    assert await watching.poller.round(site)
    put(wix, "pending", moderation={"moderationStatus": "IN_MODERATION"})
    clock.advance(minutes=1)
    assert await watching.poller.round(site)
    assert keys(state) == ["new:pending"]
    assert troubles(state) == []


async def test_unpublished_reviews_that_stay_hidden_are_trouble_until_seen(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    wix.sites[SITE].private = False
    assert await watching.poller.round(site)
    clock.advance(minutes=14)
    assert await watching.poller.round(site)
    assert troubles(state) == []
    clock.advance(minutes=1)
    assert await watching.poller.round(site)
    [(scope, reason)] = troubles(state)
    assert scope == f"private:{SITE}"
    assert "published reviews only" in reason
    wix.sites[SITE].private = True
    clock.advance(days=1)
    assert await watching.poller.round(site)
    assert troubles(state) == []


async def test_a_fault_that_nobody_foresaw_is_a_failure_of_that_site_alone(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix, log: pytest.LogCaptureFixture
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        outcomes = runtime.poller.outcomes
        poller = Poller(state, config, clock, _Unreadable(), runtime.intake, outcomes)
        for _ in range(16):
            assert not await poller.round(config.sites[0])
            clock.advance(minutes=1)
    [(scope, reason)] = troubles(state)
    assert scope == f"site:{SITE}"
    assert "ZeroDivisionError" in reason
    [failure] = [record for record in log.records if record.levelno >= logging.ERROR]
    assert failure.exc_info


class _Unreadable(Reader):
    """A reader with a fault of its own."""

    def __init__(self) -> None:
        pass

    async def pages(self, site: Site, wanted: ReviewFilter | ReviewIds) -> AsyncIterator[Page]:
        if 1 // len(()):
            yield Page(())


async def test_a_permission_that_was_lost_and_came_back_is_used_again(
    watching: Runtime,
    site: Site,
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    log: pytest.LogCaptureFixture,
) -> None:
    put(wix, "pending", moderation={"moderationStatus": "IN_MODERATION"})
    assert await watching.poller.round(site)
    assert keys(state) == ["new:pending"]
    wix.sites[SITE].private = False
    assert await watching.poller.round(site)
    assert statuses(state) == {"baseline": 1, "open": 1}
    assert len(said(log, logging.WARNING)) == 1
    put(wix, "while-blind", seconds=1, moderation={"moderationStatus": "IN_MODERATION"})
    wix.sites[SITE].private = True
    clock.advance(days=1)
    wix.requests.clear()
    assert await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert set(asked_for_private(wix)) == {True}
    assert state.value("SELECT sees_private FROM sites") == 1
    assert keys(state) == ["new:pending", "new:while-blind"]


async def test_a_permission_lost_between_pages_fails_the_round(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    for index in range(150):
        put(wix, f"r{index}", minutes=index)
    wix.faults.add(QUERY, Fault(), Fault(status=403))
    assert not await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert keys(state) == [f"new:r{index}" for index in range(150)]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_site_that_refuses_us_is_trouble_until_it_is_read_again(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, clock: SetClock, status: int
) -> None:
    since = clock.now()
    wix.sites[SITE].refuse = status
    for _ in range(3):
        assert not await watching.poller.round(site)
        clock.advance(minutes=1)
    [(scope, reason)] = troubles(state)
    assert scope == f"site:{SITE}"
    assert f"{status}" in reason
    assert SECRETS["WIX_API_KEY"] not in reason
    assert state.value("SELECT since FROM troubles") == since.timestamp() * 1000
    wix.sites[SITE].refuse = None
    put(wix, "new")
    assert await watching.poller.round(site)
    assert troubles(state) == []
    assert keys(state) == ["new:new"]


async def test_a_site_that_was_never_read_can_be_in_trouble_too(
    runtime: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.sites[SITE].refuse = 401
    assert not await runtime.poller.round(site)
    assert [scope for scope, _ in troubles(state)] == [f"site:{SITE}"]
    put(wix, "before-the-first-read")
    wix.sites[SITE].refuse = None
    assert await runtime.poller.round(site)
    assert keys(state) == []
