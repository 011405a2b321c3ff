"""Rounds of a site against the embedded Wix: what is recorded, what is alerted, and how trouble is met."""

import logging
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
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
from alerter.watch.poll import Poller
from alerter.watch.reader import Reader
from alerter.wix.client import Page, ReviewFilter, ReviewIds, WixClient
from tests.support.clock import SetClock
from tests.support.values import SECRETS, SITE

QUERY = "/reviews/v1/reviews/query"
OTHER = "22222222-2222-4222-8222-222222222222"
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
BOTH = ("email:owner", "slack:support")

OpenHouse = Callable[[], AbstractAsyncContextManager[Runtime]]


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
def site(config: Config) -> Site:
    return config.sites[0]


@pytest.fixture
async def runtime(config: Config, state: State, clock: SetClock) -> AsyncIterator[Runtime]:
    async with open_runtime(config, state, clock) as runtime:
        yield runtime


@pytest.fixture
async def watching(runtime: Runtime, site: Site, wix: EmbeddedWix) -> Runtime:
    """A house whose site has had its first read, of a single old review."""
    put(wix, "old", days=-10)
    assert await runtime.poller.round(site)
    wix.requests.clear()
    return runtime


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="alerter")
    return caplog


def put(
    wix: EmbeddedWix,
    name: str,
    *,
    site_id: str = SITE,
    rating: int = 1,
    visible_after: float = 0,
    **more: Any,
) -> None:
    """Add a review; what datetime calls a span says how long after noon it was created."""
    span = {
        unit: more.pop(unit) for unit in ("days", "hours", "minutes", "seconds") if unit in more
    }
    created = stamp(NOON + timedelta(**span))
    review = {"id": name, "entityId": None, "createdDate": created, "content": {"rating": rating}}
    wix.add(site_id, review | more, visible_after=visible_after)


def keys(state: State) -> list[str]:
    """The alerts of reviews on record, without the site that they share."""
    rows = state.rows("SELECT key FROM alerts WHERE review_id IS NOT NULL ORDER BY id")
    return [row["key"].replace(f":{SITE}", "") for row in rows]


def deliveries(state: State) -> list[tuple[str, str, str]]:
    rows = state.rows(
        "SELECT review_id, destination, status FROM deliveries JOIN alerts ON id = alert ORDER BY alert, destination"
    )
    return [(row["review_id"], row["destination"], row["status"]) for row in rows]


def checkpoint(state: State) -> datetime | None:
    ms = state.value("SELECT checkpoint FROM sites")
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None


def troubles(state: State) -> list[tuple[str, str]]:
    return [
        (row["scope"], row["reason"]) for row in state.rows("SELECT scope, reason FROM troubles")
    ]


def statuses(state: State) -> Counter[str]:
    return Counter(row["status"] for row in state.rows("SELECT status FROM reviews"))


def said(log: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        r.getMessage() for r in log.records if r.name.startswith("alerter") and r.levelno >= level
    ]


def conditions(request: Request) -> list[dict[str, Any]]:
    """What a query asks for, one condition each."""
    asked: dict[str, Any] = request.body["query"]["filter"]
    return asked.get("$and") or [asked]


def asked_for_private(wix: EmbeddedWix) -> list[bool]:
    return [request.body.get("returnPrivateReviews", False) for request in wix.queries()]


@contextmanager
def locked(state: State) -> Iterator[None]:
    """Another process is writing to the state file; nobody here waits long for it."""
    state.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(state.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


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


async def test_reviews_of_one_moment_on_both_sides_of_a_page_are_each_alerted_once(
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


async def test_a_created_date_in_the_future_is_harmless_without_a_date_header_too(
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


async def test_a_review_that_cannot_be_read_is_logged_once_and_takes_no_other_with_it(
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


async def test_a_failure_between_pages_keeps_what_was_read_and_reads_the_rest_later(
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


async def test_a_state_file_that_cannot_be_written_loses_nothing(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, log: pytest.LogCaptureFixture
) -> None:
    before = checkpoint(state)
    put(wix, "new")
    with locked(state):
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
async def test_wix_and_the_state_file_may_fail_together(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State, fault: Fault
) -> None:
    wix.faults.add(QUERY, fault)
    with locked(state):
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


async def test_what_befalls_one_site_is_nothing_to_another(
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


async def test_without_the_permission_for_private_reviews_the_published_ones_are_read(
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
    for _ in range(3 * 24 * 60):
        wix.requests.clear()
        assert await runtime.poller.round(site)
        asked.append(True in asked_for_private(wix))
        clock.advance(minutes=1)
    first_day, second_day, third_day = (
        sum(asked[day * 1440 : (day + 1) * 1440]) for day in range(3)
    )
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


async def test_unpublished_reviews_that_stay_hidden_are_trouble_until_they_are_seen(
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
        poller = Poller(
            state,
            config,
            clock,
            _Unreadable(),
            runtime.intake,
            runtime.dispatcher.troubles,
            runtime.dispatcher.state_failure.notify,
        )
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


async def test_a_permission_lost_between_pages_fails_the_round_and_repeats_nothing(
    watching: Runtime, site: Site, wix: EmbeddedWix, state: State
) -> None:
    for index in range(150):
        put(wix, f"r{index}", minutes=index)
    wix.faults.add(QUERY, Fault(), Fault(status=403))
    assert not await watching.poller.round(site)
    assert await watching.poller.round(site)
    assert keys(state) == [f"new:r{index}" for index in range(150)]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_site_that_refuses_us_altogether_is_trouble_on_record_until_it_is_read_again(
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


async def test_a_threshold_raised_records_the_difference_silently_and_then_watches_it(
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


async def test_a_threshold_lowered_watches_less_and_one_raised_again_is_silent_of_the_time_between(
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
