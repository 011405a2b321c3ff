"""The orders behind reviews: found after the commit, kept, and never in the way of an alert."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from alerter.config import Site
from alerter.demo.faults import Fault
from alerter.demo.wix_shop import line_item
from alerter.models import Review
from alerter.orders import Order, OrderSource, Payment, Shipping, Usual
from alerter.scopes import Scope
from alerter.store import State, blocks, orders
from alerter.store.lease import Lease, under
from alerter.watch.orders import Orders
from alerter.wix.client import WixClient
from tests.support.clock import SetClock
from tests.support.held_wix import HeldWix
from tests.support.intake import Asked
from tests.support.reviews import review
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until
from tests.support.wix import site_of

REQUESTS = "/reviews/v2/review-requests/query"
SEARCH = "/ecom/v1/orders/search"
FULFILLMENTS = "/ecom/v1/fulfillments/list-by-ids"
DAY = timedelta(days=1)
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BOUGHT = T0 - 20 * DAY
RYE = line_item("rye", "Rye bread", 2)
ADA = {"contactId": "ada", "email": "ada@example.com"}


def of(review_id: str = "r1", **fields: Any) -> Review:
    known = {"namespace": "stores", "entity_id": "rye", "contact_id": "ada", "created": T0}
    return review(review_id, **known | fields)


@dataclass
class Shop:
    """A site with orders, and what alerter knows of them."""

    state: State
    clock: SetClock
    wix: HeldWix
    orders: Orders
    woken: list[str]
    site: Site = field(default_factory=lambda: site_of(api_key="env:KEY"))

    def sell(self, *shipped: datetime, ordered: datetime = BOUGHT, **fields: Any) -> Any:
        usual = {"lineItems": [RYE], "buyerInfo": ADA}
        return self.wix.sites[SITE].shop.add_order(usual | fields, ordered, *shipped)

    def sell_many(self, number: int, after: timedelta = 2 * DAY) -> None:
        """Orders of others, each shipped after so long."""
        for place in range(number):
            at = T0 - timedelta(days=60, hours=place)
            self.sell(at + after, ordered=at, buyerInfo={"contactId": "bo"})

    def record(self, *reviews: Review) -> None:
        self.state.execute_many(
            "INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at,"
            " answered, rejected, content, as_of)"
            " VALUES (:site, :review, 1, 1, 'open', 0, FALSE, FALSE, '{}', 0)"
            " ON CONFLICT (site_id, review_id) DO NOTHING",
            [{"site": SITE, "review": each.id} for each in reviews],
        )

    async def fetch(self, *reviews: Review) -> dict[str, Order]:
        with self.state.transaction():
            self.record(*reviews)
        await self.orders.fetch_orders(self.site, reviews)
        return self.known(each.id for each in reviews)

    def known(self, ids: Iterable[str] = ("r1",)) -> dict[str, Order]:
        return orders.get_orders(self.state, SITE, list(ids))

    def paths(self) -> list[str]:
        return [each.path for each in self.wix.requests]


@pytest.fixture
async def shop(state: State, clock: SetClock) -> AsyncIterator[Shop]:
    async with HeldWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        client, woken = WixClient(wix.base_url, clock), list[str]()
        made = Shop(state, clock, wix, Orders(state, clock, client, woken.extend, Asked()), woken)
        yield made
        await made.orders.close()
        await client.close()


async def test_the_order_that_a_review_request_names_is_found(shop: Shop) -> None:
    shop.sell(BOUGHT + DAY)
    named = shop.sell(BOUGHT + 9 * DAY)
    shop.wix.sites[SITE].shop.add_request(named["id"], "r1", T0 - DAY)
    found = await shop.fetch(of(contact_id=None))
    assert found["r1"] == Order(
        number="10002",
        source=OrderSource.REQUEST,
        asked_at=shop.clock.now(),
        item="Rye bread",
        quantity=2,
        amount="12.5",
        currency="EUR",
        ordered=BOUGHT,
        payment=Payment.PAID,
        paid=BOUGHT,
        shipping=Shipping.SHIPPED,
        shipped=BOUGHT + 9 * DAY,
    )
    assert found["r1"].took == 9 * DAY


async def test_without_a_request_the_latest_order_before_the_review_is_found(shop: Shop) -> None:
    shop.sell(ordered=BOUGHT)
    shop.sell(ordered=BOUGHT + DAY)
    shop.sell(ordered=T0 + DAY)  # bought again, after the review
    shop.sell(ordered=BOUGHT + 2 * DAY, buyerInfo={"contactId": "bo"})
    shop.sell(ordered=BOUGHT + 3 * DAY, lineItems=[line_item("wheat", "Wheat")])
    found = (await shop.fetch(of()))["r1"]
    assert (found.number, found.source, found.among) == ("10002", OrderSource.CONTACT, 2)


async def test_a_page_of_reviews_takes_one_call_of_each_kind(shop: Shop) -> None:
    people = [f"buyer {number}" for number in range(15)]
    for each in people:
        shop.sell(buyerInfo={"contactId": each})
    page = [of(f"r{number}", contact_id=each) for number, each in enumerate(people)]
    assert len(await shop.fetch(*page)) == 15
    assert shop.paths() == [REQUESTS, SEARCH, FULFILLMENTS, SEARCH]
    await shop.fetch(*page)  # known for an hour
    assert len(shop.paths()) == 4


async def test_orders_of_many_pages_are_read_with_their_cursor(shop: Shop) -> None:
    shop.sell(ordered=BOUGHT - DAY)
    for _ in range(120):
        shop.sell(ordered=BOUGHT, buyerInfo={"contactId": "bo"})
    found = await shop.fetch(of(), of("r2", contact_id="bo"))
    assert {name: each.among for name, each in found.items()} == {"r1": 1, "r2": 120}


@pytest.mark.parametrize(
    ("permissions", "asked", "is_found"),
    [
        (["READ_ORDERS", "READ_REVIEW_REQUESTS"], [REQUESTS, SEARCH], False),
        (["READ_REVIEW_REQUESTS"], [REQUESTS, SEARCH, FULFILLMENTS, SEARCH], True),
    ],
    ids=["neither", "no requests"],
)
async def test_a_refusal_is_remembered_for_a_day(
    shop: Shop, permissions: list[str], asked: list[str], *, is_found: bool
) -> None:
    shop.sell()
    shop.wix.forbid(SECRETS["WIX_API_KEY"], *permissions)
    assert bool(await shop.fetch(of())) is is_found
    assert shop.paths() == asked
    shop.clock.advance(hours=23)
    await shop.fetch(of("r2"))
    assert shop.paths().count(REQUESTS) == 1
    assert shop.paths()[len(asked) :] == ([SEARCH, FULFILLMENTS] if is_found else [])
    shop.wix.permit(SECRETS["WIX_API_KEY"])
    shop.clock.advance(hours=2)
    assert await shop.fetch(of("r3"))


async def test_a_site_without_ecommerce_is_asked_once_a_day(shop: Shop) -> None:
    shop.wix.sites[SITE].shop.is_there = False
    assert await shop.fetch(of()) == {}
    await shop.fetch(of("r2"))
    assert [(each.path, each.status) for each in shop.wix.requests] == [
        (REQUESTS, 200),
        (SEARCH, 428),
    ]


@pytest.mark.parametrize("path", [REQUESTS, SEARCH, FULFILLMENTS])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_site_that_throttles_is_not_asked_before_its_time(
    shop: Shop, path: str, status: int
) -> None:
    shop.sell(BOUGHT + DAY)
    shop.wix.faults.add(path, Fault(status=status, headers={"Retry-After": "600"}))
    assert bool(await shop.fetch(of())) is (path == FULFILLMENTS)
    assert shop.paths()[-1] == path  # nothing follows
    number = len(shop.paths())
    # Wix limits the calls about a site, whatever they ask for. A shop that is down is only that.
    is_blocked = blocks.is_blocked(shop.state, Scope.SITE.of(SITE), shop.clock.now())
    assert is_blocked is (status == 429)
    shop.clock.advance(seconds=590)
    assert await shop.fetch(of("r2")) == {}
    assert len(shop.paths()) == number
    shop.clock.advance(seconds=20)
    assert await shop.fetch(of("r3"))


async def test_reviews_that_cannot_be_looked_up_cost_one_call(shop: Shop) -> None:
    shop.sell()
    found = await shop.fetch(of(contact_id=None), of("r2", namespace="other"))
    assert (found, shop.paths()) == ({}, [REQUESTS])


@pytest.mark.parametrize("path", [REQUESTS, SEARCH, FULFILLMENTS])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=404),
        Fault(drop="before"),
        Fault(garble="truncate"),
        Fault(garble="html"),
        Fault(body='{"orders": {"a": 1}, "reviewRequests": 7, "ordersWithFulfillments": [[]]}'),
        Fault(body='{"orders": [null, {}], "metadata": {"cursors": {"next": 5}}}'),
    ],
    ids=["500", "404", "dropped", "cut", "html", "odd", "empty"],
)
async def test_what_wix_answers_wrongly_is_no_trouble(
    shop: Shop, path: str, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "alerter")
    shop.sell(BOUGHT + DAY)
    shop.wix.faults.always(path, fault)
    found = await shop.fetch(of())
    assert [each.number for each in found.values()] == ([] if path == SEARCH else ["10001"])
    assert [each.message for each in caplog.records if each.name.startswith("alerter")] == []
    assert shop.state.value("SELECT count(*) FROM troubles") == 0


async def test_without_fulfillments_the_order_says_whether_it_is_shipped(shop: Shop) -> None:
    marked = {"activityType": "ORDER_FULFILLED", "createdDate": "2026-11-07T12:00:00.000Z"}
    paid = {"type": "ORDER_PAID", "createdDate": "2026-11-05T12:00:00.000Z"}
    shop.sell(fulfillmentStatus="FULFILLED", activities=[paid, marked])
    found = (await shop.fetch(of()))["r1"]
    assert (found.shipping, found.took, found.marked) == (Shipping.SHIPPED, 2 * DAY, True)


async def test_the_usual_is_the_median_of_settled_orders(shop: Shop) -> None:
    shop.sell_many(10)
    for _ in range(30):  # of the last days: those that are shipped already say too little
        shop.sell(T0, ordered=T0 - DAY, buyerInfo={"contactId": "bo"})
    shop.sell(BOUGHT + 9 * DAY)
    found = (await shop.fetch(of()))["r1"]
    # Ten of them, and the one that is looked at.
    assert found.usual == Usual(2 * DAY, 11, shop.clock.now())
    assert found.is_late


async def test_with_too_few_orders_nothing_is_usual(shop: Shop) -> None:
    shop.sell_many(8)
    shop.sell(BOUGHT + 9 * DAY)
    found = (await shop.fetch(of()))["r1"]
    assert found.usual is None
    assert not found.is_late


async def test_the_usual_is_measured_once_a_day(shop: Shop) -> None:
    shop.sell_many(12)
    shop.sell(BOUGHT + DAY)
    await shop.fetch(of())
    assert shop.paths() == [REQUESTS, SEARCH, FULFILLMENTS, SEARCH, FULFILLMENTS]
    shop.clock.advance(hours=20)
    assert (await shop.fetch(of("r2")))["r2"].usual
    assert len(shop.paths()) == 8
    shop.clock.advance(hours=5)
    await shop.fetch(of("r3"))
    assert len(shop.paths()) == 13


async def test_look_ups_leave_wix_to_the_reviews(shop: Shop) -> None:
    shop.sell()
    for number in range(20):
        await shop.fetch(of(f"r{number}"))
    ids = [f"r{number}" for number in range(20)]
    assert len(shop.known(ids)) == 15
    shop.clock.advance(seconds=61)
    assert await shop.fetch(of("r19"))


async def test_what_is_late_arrives_later(shop: Shop) -> None:
    shop.sell(BOUGHT + DAY)
    shop.record(of())
    shop.wix.answers.clear()
    fetching = asyncio.create_task(shop.orders.fetch_orders(shop.site, [of()]))
    await until(lambda: REQUESTS in shop.paths())
    shop.clock.advance(seconds=2)
    await asyncio.wait_for(fetching, HANG)
    assert shop.known() == {}
    shop.wix.answers.set()
    await until(shop.known)
    assert shop.known()["r1"].number == "10001"


def _has_asked(shop: Shop, number: int) -> bool:
    return len(shop.paths()) > number


async def test_few_look_ups_go_on_at_a_time(shop: Shop) -> None:
    shop.sell(BOUGHT + DAY)
    shop.wix.answers.clear()
    ids = [f"r{number}" for number in range(15)]
    shop.record(*(of(each) for each in ids))
    for number, each in enumerate(ids):
        fetching = asyncio.create_task(shop.orders.fetch_orders(shop.site, [of(each)]))
        await until(partial(_has_asked, shop, number))
        shop.clock.advance(seconds=2)
        await asyncio.wait_for(fetching, HANG)
    shop.wix.answers.set()
    await until(lambda: len(shop.known(ids)) >= 10)
    await shop.orders.close()
    assert len(shop.known(ids)) == 10


async def test_a_look_up_needs_no_lease_of_the_job_that_began_it(shop: Shop) -> None:
    shop.sell()
    shop.record(of())
    with under(Lease(1, 0, 1)):  # of a job that has ended
        await shop.orders.fetch_orders(shop.site, [of()])
    assert shop.known()


async def test_a_look_up_ends_with_its_config(shop: Shop) -> None:
    shop.sell()
    shop.record(of())
    shop.wix.answers.clear()
    fetching = asyncio.create_task(shop.orders.fetch_orders(shop.site, [of()]))
    await until(lambda: REQUESTS in shop.paths())
    shop.clock.advance(seconds=2)
    await asyncio.wait_for(fetching, HANG)
    await asyncio.wait_for(shop.orders.close(), HANG)
    assert shop.known() == {}


async def test_a_review_that_was_erased_meanwhile_gets_no_order(shop: Shop) -> None:
    shop.sell()
    shop.record(of(), of("r2"))
    shop.state.execute("UPDATE reviews SET closing = 'gone', status = 'closed'")
    shop.state.execute("UPDATE reviews SET pruned_at = 5 WHERE review_id = 'r2'")
    assert await shop.fetch(of(), of("r2"), of("unknown")) == {
        "unknown": shop.known(["unknown"])["unknown"]
    }
