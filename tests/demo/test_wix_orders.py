"""The embedded Wix refuses what Wix refuses of calls about orders, and answers as it does."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_shop import line_item
from tests.support.values import SECRETS, SITE

KEY = SECRETS["WIX_API_KEY"]
SEARCH = "/ecom/v1/orders/search"
FULFILLMENTS = "/ecom/v1/fulfillments/list-by-ids"
REQUESTS = "/reviews/v2/review-requests/query"
T0 = datetime(2026, 11, 1, tzinfo=UTC)
HEADERS = {"Authorization": KEY, "wix-site-id": SITE}


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(requests_per_minute=None) as wix:
        shop = wix.add_site(SITE, api_key=KEY).shop
        for number in range(5):
            buyer = {"contactId": "ada" if number % 2 else "bo"}
            lines = [line_item("rye" if number else "wheat", "Bread")]
            ordered = T0 + timedelta(days=number)
            shipped = [ordered + timedelta(days=1)] if number < 2 else []
            shop.add_order({"buyerInfo": buyer, "lineItems": lines}, ordered, *shipped)
        shop.add_order({"status": "INITIALIZED"}, T0)
        shop.add_request(shop.orders[0]["id"], "r1", T0)
        yield wix


@pytest.fixture
async def call(wix: EmbeddedWix) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(base_url=wix.base_url, headers=HEADERS) as client:

        async def call(path: str, body: Any, status: int = 200) -> Any:
            answer = await client.post(path, json=body)
            assert answer.status_code == status, answer.text
            return answer.json()

        yield call


def numbers(answer: Any) -> list[str]:
    return [order["number"] for order in answer["orders"]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"buyerInfo.contactId": "ada"}, ["10004", "10002"]),
        ({"buyerInfo.contactId": {"$in": ["bo"]}}, ["10005", "10003", "10001"]),
        ({"lineItems.catalogReference.catalogItemId": {"$hasSome": ["wheat"]}}, ["10001"]),
        ({"fulfillmentStatus": {"$ne": "FULFILLED"}}, ["10005", "10004", "10003"]),
        ({"$or": [{"number": "10001"}, {"number": {"$gte": "10005"}}]}, ["10005", "10001"]),
        (
            {
                "$and": [
                    {"createdDate": {"$gte": "2026-11-02T00:00:00.000Z"}},
                    {"createdDate": {"$lt": "2026-11-04T00:00:00.000Z"}},
                ]
            },
            ["10003", "10002"],
        ),
        (None, ["10005", "10004", "10003", "10002", "10001"]),
    ],
    ids=["equal", "in", "product", "not", "or", "dates", "all but those that are begun"],
)
async def test_orders_are_found_by_what_wix_can_filter(
    call: Any, wanted: Any, found: list[str]
) -> None:
    assert numbers(await call(SEARCH, {"search": {"filter": wanted}})) == found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SEARCH, {"query": {}}),
        (SEARCH, {"search": {"filter": {"note": "x"}}}),
        (SEARCH, {"search": {"filter": {"createdDate": {"$gt": T0.isoformat(), "$lt": "x"}}}}),
        (SEARCH, {"search": {"filter": {"createdDate": {"$gt": "yesterday"}}}}),
        (SEARCH, {"search": {"filter": {"buyerInfo.contactId": {"$hasSome": ["ada"]}}}}),
        (SEARCH, {"search": {"filter": {"buyerInfo.contactId": {"$in": "ada"}}}}),
        (SEARCH, {"search": {"filter": {"lineItems.catalogReference.catalogItemId": "rye"}}}),
        (SEARCH, {"search": {"filter": {"$and": []}}}),
        (SEARCH, {"search": {"sort": [{"fieldName": "buyerInfo.contactId"}]}}),
        (SEARCH, {"search": {"cursorPaging": {"limit": 101}}}),
        (SEARCH, {"search": {"cursorPaging": {"cursor": "x"}}}),
        (SEARCH, {"search": {"paging": {"limit": 5}}}),
        (FULFILLMENTS, {"orderIds": []}),
        (FULFILLMENTS, {"orderIds": ["x"] * 101}),
        (FULFILLMENTS, {"ids": ["x"]}),
        (REQUESTS, {"search": {}}),
        (REQUESTS, {"query": {"filter": {"items.name": "x"}}}),
        (REQUESTS, {"query": {"cursorPaging": {"limit": 0}}}),
    ],
)
async def test_a_request_that_wix_does_not_know_is_refused(call: Any, path: str, body: Any) -> None:
    answer = await call(path, body, 400)
    assert answer["details"]["validationError"]["fieldViolations"]


async def test_a_cursor_leads_through_all_orders(call: Any) -> None:
    asked: Any = {"filter": {"status": "APPROVED"}, "cursorPaging": {"limit": 2}}
    found = []
    while asked:
        answer = await call(SEARCH, {"search": asked})
        found += numbers(answer)
        cursor = answer["metadata"]["cursors"].get("next")
        assert answer["metadata"]["hasNext"] is bool(cursor)
        asked = {"cursorPaging": {"limit": 2, "cursor": cursor}} if cursor else None
    assert found == ["10005", "10004", "10003", "10002", "10001"]
    mixed = {"filter": {"number": "1"}, "cursorPaging": {"cursor": "x"}}
    await call(SEARCH, {"search": mixed}, 400)


async def test_fulfillments_are_those_of_the_orders_that_exist(call: Any, wix: EmbeddedWix) -> None:
    first, *_, last = [order["id"] for order in wix.sites[SITE].shop.orders[:5]]
    answer = await call(FULFILLMENTS, {"orderIds": [first, last, "unknown"]})
    [one, none] = answer["ordersWithFulfillments"]
    assert (one["orderId"], none) == (first, {"orderId": last, "fulfillments": []})
    assert one["fulfillments"][0]["createdDate"] == "2026-11-02T00:00:00.000Z"


async def test_a_review_request_names_its_order(call: Any, wix: EmbeddedWix) -> None:
    wanted = {"items.reviewId": {"$hasSome": ["r1", "r2"]}}
    answer = await call(REQUESTS, {"query": {"filter": wanted}})
    [request] = answer["reviewRequests"]
    assert request["order"]["id"] == wix.sites[SITE].shop.orders[0]["id"]
    assert answer["pagingMetadata"]["hasNext"] is False


@pytest.mark.parametrize(
    ("path", "permission", "body"),
    [
        (SEARCH, "READ_ORDERS", {"search": {}}),
        (FULFILLMENTS, "READ_ORDERS", {"orderIds": ["x"]}),
        (REQUESTS, "READ_REVIEW_REQUESTS", {"query": {}}),
    ],
)
async def test_each_call_needs_its_permission(
    call: Any, wix: EmbeddedWix, path: str, permission: str, body: Any
) -> None:
    await call(path, body)
    wix.forbid(KEY, permission)
    await call(path, body, 403)


async def test_a_site_without_ecommerce_has_no_orders(call: Any, wix: EmbeddedWix) -> None:
    wix.sites[SITE].shop.is_there = False
    await call(SEARCH, {"search": {}}, 428)
    await call(FULFILLMENTS, {"orderIds": ["x"]}, 428)
    await call(REQUESTS, {"query": {}})


async def test_an_order_can_be_added_by_hand(call: Any, wix: EmbeddedWix) -> None:
    made = {
        "lineItems": [line_item("rye", "Rye bread")],
        "createdDate": "2026-11-10T00:00:00.000Z",
        "shippedDates": ["2026-11-12T00:00:00.000Z"],
        "reviewId": "r7",
    }
    order = await call(f"/demo/orders?site={SITE}", made, 201)
    assert (order["fulfillmentStatus"], "reviewId" in order) == ("FULFILLED", False)
    wanted = {"items.reviewId": {"$hasSome": ["r7"]}}
    [request] = (await call(REQUESTS, {"query": {"filter": wanted}}))["reviewRequests"]
    assert request["order"]["id"] == order["id"]
    for bad in ({"createdDate": "soon"}, {"shippedDates": 5}, made | {"lineItems": [1]}):
        await call(f"/demo/orders?site={SITE}", bad, 400)
    found = await call(SEARCH, {"search": {}})
    assert numbers(found) == [order["number"], "10005", "10004", "10003", "10002", "10001"]
