"""What is said about an order: never more than its data holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.demo.wix_shop import Shop, line_item
from alerter.models import Review
from alerter.orders import Order, OrderSource, Payment, Shipping, Usual
from alerter.watch.order_facts import choose_order, describe_order, ship_state, usual_delay
from alerter.wix.orders import Fulfillment, WixOrder, parse_order
from tests.support.reviews import review

DAY = timedelta(days=1)
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BOUGHT = T0 - 20 * DAY
RYE, WHEAT, BOOK = (
    line_item("rye", "Rye bread", 2),
    line_item("wheat", "Wheat bread"),
    line_item("book", "Recipes", itemType={"preset": "DIGITAL"}),
)
NOW = T0 + DAY


def order(*shipped: datetime, **fields: Any) -> WixOrder:
    usual = {"lineItems": [RYE, WHEAT, BOOK], "buyerInfo": {"contactId": "ada"}}
    return parse_order(Shop().add_order(usual | fields, BOUGHT, *shipped))


def fulfillment(days: int | None, **quantities: int | None) -> Fulfillment:
    ids = {"rye": RYE["id"], "wheat": WHEAT["id"]}
    created = None if days is None else BOUGHT + days * DAY
    return Fulfillment(created, {ids[name]: number for name, number in quantities.items()})


def of(**fields: Any) -> Review:
    known = {"namespace": "stores", "entity_id": "rye", "contact_id": "ada", "created": T0}
    return review(**known | fields)


WHOLE = {"fulfillmentStatus": "FULFILLED"}
PART = {"fulfillmentStatus": "PARTIALLY_FULFILLED"}
MARKED = WHOLE | {
    "activities": [
        {"type": "ORDER_FULFILLED", "createdDate": "2026-11-05T12:00:00.000Z"},
        {"activityType": "ORDER_FULFILLED", "createdDate": "2026-11-06T12:00:00.000Z"},
    ]
}
SHIPPED, PARTLY, WAITS = Shipping.SHIPPED, Shipping.PARTLY_SHIPPED, Shipping.NOT_SHIPPED

PARCELS = [fulfillment(3, rye=1), fulfillment(5, rye=1), fulfillment(9, wheat=1)]


@pytest.mark.parametrize(
    ("fields", "fulfillments", "shipping", "days"),
    [
        (WHOLE, [fulfillment(3, rye=2, wheat=1)], SHIPPED, 3),
        (WHOLE, PARCELS, SHIPPED, 5),
        (WHOLE, [fulfillment(3)], SHIPPED, 3),
        (WHOLE, [fulfillment(None, rye=2)], SHIPPED, None),
        (WHOLE, [], SHIPPED, None),
        (MARKED, [], SHIPPED, 2),
        (PART, [fulfillment(3, rye=2)], SHIPPED, 3),
        (PART, [fulfillment(3, rye=None)], SHIPPED, 3),
        (PART, [fulfillment(3, rye=1)], PARTLY, None),
        (PART, [fulfillment(3, wheat=1)], WAITS, None),
        (PART, [fulfillment(3)], PARTLY, None),
        (PART, [], PARTLY, None),
        ({}, [], WAITS, None),
        ({}, [fulfillment(3, rye=2)], None, None),
        ({"status": "CANCELED"}, [], None, None),
        ({"status": "SOMETHING_NEW"}, [], None, None),
        ({"paymentStatus": "FULLY_REFUNDED"}, [], None, None),
        ({"fulfillmentStatus": "SOMETHING_NEW"}, [], None, None),
        ({"fulfillmentStatus": None}, [], None, None),
        (WHOLE | {"shippingInfo": None}, [], None, None),
        (WHOLE | {"shippingInfo": {"logistics": {"pickupDetails": {"a": 1}}}}, [], None, None),
        (WHOLE | {"lineItems": [BOOK]}, [], None, None),
        (WHOLE | {"lineItems": []}, [], None, None),
    ],
    ids=[
        "at once", "in two parcels", "items unnamed", "no date", "only the status", "marked",
        "ours is shipped", "all of ours", "half of ours", "only the other", "some", "partly",
        "not yet", "a contradiction", "canceled", "unknown status", "refunded", "unknown state",
        "no state", "nothing to ship", "picked up", "digital", "empty",
    ],
)  # fmt: skip
def test_a_shipping_is_what_the_order_and_its_fulfillments_say(
    fields: dict[str, Any],
    fulfillments: list[Fulfillment],
    shipping: Shipping | None,
    days: int | None,
) -> None:
    found, at, marked = ship_state(order(**fields), fulfillments, "rye")
    assert found is shipping
    assert at == (None if days is None else BOUGHT + days * DAY)
    assert marked is (fields is MARKED)


def test_without_the_product_the_whole_order_counts() -> None:
    part = order(**PART)
    assert ship_state(part, [fulfillment(3, rye=2)], "cake")[0] is PARTLY
    assert ship_state(part, [fulfillment(3, rye=2, wheat=1)], "cake")[0] is SHIPPED


@pytest.mark.parametrize(
    ("statuses", "chosen", "among"),
    [
        (["APPROVED", "APPROVED"], 1, 2),
        (["APPROVED", "CANCELED"], 0, 1),
        (["CANCELED", "CANCELED"], 1, 2),
        (["REJECTED", "PENDING"], None, 0),
    ],
)
def test_a_canceled_order_counts_only_without_others(
    statuses: list[str], chosen: int | None, among: int
) -> None:
    orders = [
        replace(order(), id=str(number), status=status, ordered=BOUGHT + number * DAY)
        for number, status in enumerate(statuses)
    ]
    found, number = choose_order(of(), [*orders, *orders], NOW)
    assert found is (None if chosen is None else orders[chosen])
    assert number == among


@pytest.mark.parametrize(
    "other",
    [
        {"contact_id": "bo"},
        {"contact_id": ""},
        {"ordered": None},
        {"ordered": T0 + timedelta(seconds=1)},
        {"lines": ()},
    ],
    ids=["another buyer", "no buyer", "no date", "after the review", "another product"],
)
def test_an_order_that_does_not_fit_is_not_guessed(other: dict[str, Any]) -> None:
    assert choose_order(of(), [replace(order(), **other)], NOW) == (None, 0)


@pytest.mark.parametrize(
    ("status", "payment", "paid"),
    [
        ("PAID", Payment.PAID, BOUGHT),
        ("PARTIALLY_PAID", Payment.PARTLY_PAID, None),
        ("NOT_PAID", Payment.NOT_PAID, None),
        ("FULLY_REFUNDED", Payment.REFUNDED, BOUGHT),
        ("PARTIALLY_REFUNDED", Payment.PARTLY_REFUNDED, BOUGHT),
        ("PENDING", None, BOUGHT),
        ("SOMETHING_NEW", None, BOUGHT),
    ],
)
def test_a_payment_is_what_the_order_says(
    status: str, payment: Payment | None, paid: datetime | None
) -> None:
    found = describe_order(order(paymentStatus=status), of(), [], OrderSource.CONTACT, NOW)
    assert (found.payment, found.paid) == (payment, paid)


def test_an_order_says_what_was_bought() -> None:
    found = describe_order(order(), of(), [], OrderSource.CONTACT, NOW)
    assert (found.item, found.quantity, found.others) == ("Rye bread", 2, 2)
    found = describe_order(order(), of(entity_id="cake"), [], OrderSource.REQUEST, NOW)
    assert (found.item, found.quantity, found.others) == ("", 0, 3)


@pytest.mark.parametrize(
    ("total", "amount"),
    [
        ("12.50", "12.5"), ("0", "0"), ("100", "100"), (12.5, "12.5"), (7, "7"), ("1e3", "1000"),
        ("1e999999999", ""), ("1e-999999999", ""), ("NaN", ""), ("Infinity", ""), ("-1", ""),
        (True, ""), (None, ""), ("9" * 5000, ""), (10**400, ""), ([], ""), ("twelve", ""),
        (float("inf"), ""),
    ],
)  # fmt: skip
def test_an_amount_is_a_decimal_or_nothing(total: object, amount: str) -> None:
    assert parse_order({"id": "1", "priceSummary": {"total": {"amount": total}}}).amount == amount


@pytest.mark.parametrize(
    ("code", "currency"),
    [("EUR", "EUR"), ("jpy", "JPY"), ("€", ""), ("EURO", ""), (5, ""), ("ÄÖÜ", ""), (None, "")],
)
def test_a_currency_is_a_code_or_nothing(code: object, currency: str) -> None:
    assert parse_order({"id": "1", "currency": code}).currency == currency


def test_an_amount_without_a_currency_is_not_said() -> None:
    found = describe_order(order(currency=None), of(), [], OrderSource.CONTACT, NOW)
    assert (found.amount, found.currency) == ("", "")


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"id": 5, "lineItems": {"a": 1}, "activities": "x", "shippingInfo": 3},
        {"lineItems": [None, {"quantity": "x", "productName": 4}], "activities": [None, 3, {}]},
        {"createdDate": "soon", "purchasedDate": 12, "activities": [{"type": "ORDER_PAID"}]},
        {"number": ["x"], "priceSummary": [], "buyerInfo": "x", "status": {}},
    ],
)
def test_an_odd_order_says_nothing(raw: dict[str, Any]) -> None:
    found = parse_order(raw)
    assert (found.number, found.ordered, found.paid, found.is_sent) == ("", None, None, False)


def test_the_purchase_counts_where_an_order_was_imported() -> None:
    raw = {"createdDate": "2026-11-20T00:00:00Z", "purchasedDate": "2025-01-02T00:00:00Z"}
    assert parse_order(raw).ordered == datetime(2025, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ordered", "paid", "took"),
    [
        (0, 1, 8 * DAY),
        (0, None, 9 * DAY),
        (0, 20, 9 * DAY),  # paid on delivery
        (None, None, None),
        (10, None, None),
    ],
)
def test_a_delay_begins_with_the_payment(
    ordered: int | None, paid: int | None, took: timedelta | None
) -> None:
    def at(days: int | None) -> datetime | None:
        return None if days is None else BOUGHT + days * DAY

    found = Order("1", OrderSource.CONTACT, NOW, ordered=at(ordered), paid=at(paid),
                  shipping=Shipping.SHIPPED, shipped=at(9))  # fmt: skip
    assert found.took == took


@pytest.mark.parametrize(
    ("hours", "is_late"), [(9 * 24, True), (72, True), (71, False), (1, False)]
)
def test_late_is_a_day_or_more_beyond_the_usual(hours: int, *, is_late: bool) -> None:
    usual = Usual(2 * DAY, 10, NOW)
    shipped = BOUGHT + timedelta(hours=hours)
    found = Order("1", OrderSource.CONTACT, NOW, ordered=BOUGHT, shipping=Shipping.SHIPPED,
                  shipped=shipped, usual=usual)  # fmt: skip
    assert found.is_late is is_late
    waiting = replace(found, shipping=Shipping.NOT_SHIPPED, shipped=None, asked_at=shipped)
    assert waiting.is_late is is_late
    assert not replace(waiting, payment=Payment.NOT_PAID).is_late


def test_the_usual_is_the_median_of_ten_orders_or_more() -> None:
    def sold(number: int) -> list[WixOrder]:
        return [replace(order(), id=str(each), fulfillment="FULFILLED") for each in range(number)]

    days = {str(each): [fulfillment(each + 1)] for each in range(10)}
    picked_up = replace(order(), id="x", fulfillment="FULFILLED", is_sent=False)
    assert usual_delay(sold(9), days, NOW) is None
    assert usual_delay([*sold(9), picked_up, *sold(3)], days, NOW) is None
    assert usual_delay(sold(10), days, NOW) == Usual(timedelta(days=5.5), 10, NOW)
