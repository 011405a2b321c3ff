"""The eCommerce orders of a site, their fulfillments, and the order that a review belongs to.

Review requests (developer preview; scope Read Review Requests):
https://dev.wix.com/docs/rest/crm/community/reviews/review-requests/query-review-requests
Orders and fulfillments (scope Read Orders):
https://dev.wix.com/docs/rest/api-reference/wix-e-commerce/orders/search-orders
https://dev.wix.com/docs/api-reference/business-solutions/e-commerce/orders/order-fulfillments/introduction

No page says what a site without eCommerce answers: any refusal counts as "no orders here".
"""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from alerter.config import Site
from alerter.text import table_in
from alerter.wix.client import WixClient, iso, next_cursor
from alerter.wix.review import clean, parse_moment, parse_number

REQUESTS_SCOPE = "SCOPE.DC_REVIEWS.READ-REVIEW_REQUESTS"
ORDERS_SCOPE = "SCOPE.DC-STORES.READ-ORDERS"
REQUESTS = "/reviews/v2/review-requests/query"
SEARCH = "/ecom/v1/orders/search"
FULFILLMENTS = "/ecom/v1/fulfillments/list-by-ids"
# The limit of a page of each of them: orders and requests by `cursorPaging.limit`, fulfillments by
# `orderIds` (`@maxSize 100` in @wix/auto_sdk_ecom_order-fulfillments).
PAGE = 100
_MOST_PAGES = 3
_LONGEST = 200  # `productName.original`
_LONGEST_NUMBER = 40
_MOST_LINES = 300  # `lineItems`
_MOST_ACTIVITIES = 1000
_LARGEST = Decimal(10) ** 15


@dataclass(frozen=True, slots=True)
class LineItem:
    """What an order holds of one product; `ships`: it is not digital and no service."""

    id: str
    product_id: str
    name: str
    quantity: int
    ships: bool


@dataclass(frozen=True, slots=True)
class Fulfillment:
    """A shipment; `quantities` by line item, None for all of it. Empty where Wix names no items."""

    created: datetime | None
    quantities: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WixOrder:
    """An order; a text that Wix does not send is empty.

    `is_sent`: it goes to an address, and is not picked up. `fulfilled`: when it was last marked so.
    """

    id: str
    number: str
    contact_id: str
    status: str
    payment: str
    fulfillment: str
    ordered: datetime | None
    paid: datetime | None
    fulfilled: datetime | None
    is_sent: bool
    lines: tuple[LineItem, ...]
    amount: str
    currency: str


class _Call(NamedTuple):
    """A paged call: its path, and the keys of its query and of its answer's metadata."""

    path: str
    key: str
    metadata: str


async def requested_orders(
    wix: WixClient, site: Site, review_ids: Collection[str]
) -> dict[str, str]:
    """Return the ids of the orders for which Wix asked for these reviews. Raises WixError."""
    wanted = {"items.reviewId": {"$hasSome": sorted(review_ids)}}
    found = {}
    async for answer in _pages(wix, site, _Call(REQUESTS, "query", "pagingMetadata"), wanted):
        for raw in _tables(answer.get("reviewRequests"), PAGE):
            order_id = table_in(raw, "order").get("id")
            for item in _tables(raw.get("items"), PAGE):
                if isinstance(order_id, str) and order_id and item.get("reviewId") in review_ids:
                    found[str(item["reviewId"])] = order_id
    return found


async def orders_by_id(wix: WixClient, site: Site, ids: Collection[str]) -> list[WixOrder]:
    """Return those of these orders that exist. Raises WixError."""
    return await _search(wix, site, {"id": {"$in": sorted(ids)}})


async def orders_by_contacts(
    wix: WixClient, site: Site, contacts: Collection[str], products: Collection[str]
) -> list[WixOrder]:
    """Return the newest orders of these contacts with one of these products. Raises WixError."""
    by_contact = {"buyerInfo.contactId": {"$in": sorted(contacts)}}
    of_product = {"lineItems.catalogReference.catalogItemId": {"$hasSome": sorted(products)}}
    return await _search(wix, site, {"$and": [by_contact, of_product]})


async def fulfilled_orders(
    wix: WixClient, site: Site, since: datetime, until: datetime
) -> list[WixOrder]:
    """Return the newest 100 fulfilled orders that were created between two moments.

    Raises WixError.
    """
    # "one object holding both operators is rejected with 400":
    # https://dev.wix.com/docs/api-reference/business-solutions/e-commerce/skills/find-and-report-on-orders
    wanted = [
        {"fulfillmentStatus": "FULFILLED"},
        {"createdDate": {"$gte": iso(since)}},
        {"createdDate": {"$lt": iso(until)}},
    ]
    return await _search(wix, site, {"$and": wanted}, most_pages=1)


async def fulfillments_of(
    wix: WixClient, site: Site, order_ids: Sequence[str]
) -> dict[str, list[Fulfillment]]:
    """Return the fulfillments of these orders, at most 100, by order id. Raises WixError."""
    answer = await wix.post(site, FULFILLMENTS, {"orderIds": list(order_ids)})
    found = {}
    for raw in _tables(answer.get("ordersWithFulfillments"), PAGE):
        shipments = _tables(raw.get("fulfillments"), _MOST_LINES)
        found[str(raw.get("orderId"))] = [_fulfillment(each) for each in shipments]
    return found


async def probe_orders(wix: WixClient, site: Site) -> None:
    """Ask for one order. Raises WixError."""
    await wix.post(site, SEARCH, {"search": {"cursorPaging": {"limit": 1}}})


async def probe_requests(wix: WixClient, site: Site) -> None:
    """Ask for one review request. Raises WixError."""
    await wix.post(site, REQUESTS, {"query": {"cursorPaging": {"limit": 1}}})


async def _search(
    wix: WixClient, site: Site, wanted: Mapping[str, Any], most_pages: int = _MOST_PAGES
) -> list[WixOrder]:
    found: list[WixOrder] = []
    async for answer in _pages(wix, site, _Call(SEARCH, "search", "metadata"), wanted, most_pages):
        found += [parse_order(raw) for raw in _tables(answer.get("orders"), PAGE)]
    return [order for order in found if order.id]


async def _pages(
    wix: WixClient,
    site: Site,
    call: _Call,
    wanted: Mapping[str, Any],
    most: int = _MOST_PAGES,
) -> AsyncIterator[dict[str, Any]]:
    """Yield the answers of a paged call, the newest first, a few at most. Raises WixError."""
    paging = {"limit": PAGE}
    sort = [{"fieldName": "createdDate", "order": "DESC"}]
    asked: dict[str, Any] = {"filter": wanted, "sort": sort, "cursorPaging": paging}
    for _ in range(most):
        answer = await wix.post(site, call.path, {call.key: asked})
        yield answer
        cursor = next_cursor({"metadata": answer.get(call.metadata)})
        if not cursor:
            return
        # The cursor carries filter and sort.
        asked = {"cursorPaging": paging | {"cursor": cursor}}


def parse_order(raw: Mapping[str, Any]) -> WixOrder:
    """Parse one order, of which any field may be missing."""
    shipping = table_in(raw, "shippingInfo")
    total = table_in(table_in(raw, "priceSummary"), "total")
    return WixOrder(
        id=_line(raw.get("id"), _LONGEST),
        number=_line(raw.get("number"), _LONGEST_NUMBER),
        contact_id=_line(table_in(raw, "buyerInfo").get("contactId"), _LONGEST),
        status=_line(raw.get("status"), _LONGEST),
        payment=_line(raw.get("paymentStatus"), _LONGEST),
        fulfillment=_line(raw.get("fulfillmentStatus"), _LONGEST),
        # purchasedDate is for orders of another system, whose createdDate is that of the import.
        ordered=parse_moment(raw.get("purchasedDate")) or parse_moment(raw.get("createdDate")),
        paid=min(_moments(raw, "ORDER_PAID"), default=None),
        fulfilled=max(_moments(raw, "ORDER_FULFILLED"), default=None),
        # "Orders without shipping info are fulfilled automatically" (FulfillmentStatus).
        is_sent=bool(shipping) and not table_in(shipping, "logistics").get("pickupDetails"),
        lines=tuple(_line_item(each) for each in _tables(raw.get("lineItems"), _MOST_LINES)),
        amount=_amount(total.get("amount")),
        currency=_currency(raw.get("currency")),
    )


def _moments(raw: Mapping[str, Any], kind: str) -> Iterator[datetime]:
    """Yield when an activity of this kind happened; `type` is the older name of `activityType`."""
    for activity in _tables(raw.get("activities"), _MOST_ACTIVITIES):
        if kind in (activity.get("activityType"), activity.get("type")):
            moment = parse_moment(activity.get("createdDate"))
            if moment:
                yield moment


def _line_item(raw: Mapping[str, Any]) -> LineItem:
    name = table_in(raw, "productName")
    preset = table_in(raw, "itemType").get("preset")
    return LineItem(
        id=_line(raw.get("id"), _LONGEST),
        product_id=_line(table_in(raw, "catalogReference").get("catalogItemId"), _LONGEST),
        name=_line(name.get("original"), _LONGEST) or _line(name.get("translated"), _LONGEST),
        quantity=parse_number(raw.get("quantity")),
        ships=preset in (None, "PHYSICAL", "UNRECOGNISED"),
    )


def _fulfillment(raw: Mapping[str, Any]) -> Fulfillment:
    items = list(_tables(raw.get("lineItems"), _MOST_LINES))
    quantities = {
        _line(item.get("id"), _LONGEST): parse_number(item.get("quantity")) or None
        for item in items
    }
    return Fulfillment(parse_moment(raw.get("createdDate")), quantities)


def _tables(found: object, most: int) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list, a limited number."""
    if isinstance(found, list):
        yield from (each for each in found[:most] if isinstance(each, dict))


def _line(value: object, most: int) -> str:
    """Return a text, or a number where Wix may send one, as one line; empty for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53:
        value = str(value)
    return " ".join(clean(value[: 2 * most]).split())[:most] if isinstance(value, str) else ""


def _amount(value: object) -> str:
    """Return an amount of money as a decimal text; Wix sends a text, and older answers a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    text = str(value) if not isinstance(value, int) or abs(value) < 1 << 53 else ""
    try:
        amount = Decimal(text) if len(text) <= _LONGEST_NUMBER else Decimal("NaN")
    except InvalidOperation:
        return ""
    if not amount.is_finite() or not 0 <= amount < _LARGEST or amount.adjusted() < -_LONGEST_NUMBER:
        return ""
    return f"{amount:.4f}".rstrip("0").rstrip(".")


def _currency(value: object) -> str:
    """Return a code of ISO 4217; empty for anything else."""
    is_code = isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha()
    return str(value).upper() if is_code else ""
