"""The order behind a review in the words of its readers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.orders import Order, OrderSource, Payment, Shipping, Usual
from alerter.render.language import get_language
from alerter.render.order_view import OrderView, view_order
from tests.support.rendered import BERLIN

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
ORDER = Order("10012", OrderSource.CONTACT, NOW, ordered=NOW - 12 * DAY)
SHIPPED = {"shipping": Shipping.SHIPPED, "shipped": NOW - 3 * DAY}
WAITS = {"shipping": Shipping.NOT_SHIPPED}
TWO_DAYS, TEN_DAYS = Usual(2 * DAY, 50, NOW), Usual(10 * DAY, 50, NOW)


def shown(code: str = "en", **fields: Any) -> OrderView:
    view = view_order(replace(ORDER, **fields), BERLIN, get_language(code))
    assert view
    return view


def lines(code: str = "en", **fields: Any) -> list[str]:
    return [line.replace("\u00a0", " ") for line in shown(code, **fields).lines]


@pytest.mark.parametrize(
    ("fields", "bought"),
    [
        ({}, "Order 10012 · 12 November 2026"),
        ({"number": ""}, "An order · 12 November 2026"),
        ({"ordered": None, "item": "Rye", "quantity": 1}, "Order 10012 · Rye"),
        ({"item": "Rye", "quantity": 2}, "Order 10012 · 12 November 2026 · 2 × Rye"),
        (
            {"item": "Rye", "quantity": 1, "others": 1},
            "Order 10012 · 12 November 2026 · Rye · and 1 other product",
        ),
        ({"others": 3}, "Order 10012 · 12 November 2026 · 3 products"),
        (
            {"amount": "1234.5", "currency": "USD"},
            "Order 10012 · 12 November 2026 · US$1,234.50",
        ),
        ({"amount": "500", "currency": "JPY"}, "Order 10012 · 12 November 2026 · JP¥500"),
        (
            {"among": 3},
            (
                "Order 10012 · 12 November 2026 · the latest of 3 orders of this product by this"
                " customer"
            ),
        ),
    ],
    ids=[
        "number",
        "no number",
        "no date",
        "quantity",
        "one more",
        "others",
        "dollars",
        "yen",
        "several",
    ],
)
def test_what_was_bought_is_one_line(fields: dict[str, Any], bought: str) -> None:
    assert lines(**fields) == [bought]


@pytest.mark.parametrize(
    ("fields", "payment"),
    [
        ({"payment": Payment.PAID, "paid": NOW - DAY}, "Paid on Mon 23 Nov, 13:00"),
        ({"payment": Payment.PAID}, "Paid"),
        ({"payment": Payment.PARTLY_PAID}, "Partly paid"),
        ({"payment": Payment.NOT_PAID}, "Not paid by Tue 24 Nov, 13:00"),
        ({"payment": Payment.REFUNDED, "paid": NOW - DAY}, "Paid on Mon 23 Nov, 13:00 · Refunded"),
        ({"payment": Payment.PARTLY_REFUNDED, "canceled": True}, "Partly refunded · Canceled"),
        ({"canceled": True}, "Canceled"),
        ({"paid": NOW - 400 * DAY}, "Paid on Mon, 20 Oct 2025, 14:00"),
    ],
)
def test_the_payment_is_one_line(fields: dict[str, Any], payment: str) -> None:
    assert lines(**fields)[1:] == [payment]


@pytest.mark.parametrize(
    ("fields", "shipping", "late"),
    [
        (SHIPPED, "Shipped on Sat 21 Nov, 13:00, after 9 days", False),
        (SHIPPED | {"ordered": None}, "Shipped on Sat 21 Nov, 13:00", False),
        (
            SHIPPED | {"usual": TWO_DAYS},
            "Shipped on Sat 21 Nov, 13:00, after 9 days: later than usual (after 2 days)",
            True,
        ),
        (
            SHIPPED | {"usual": TEN_DAYS},
            "Shipped on Sat 21 Nov, 13:00, after 9 days (usually after 10 days)",
            False,
        ),
        ({"shipping": Shipping.SHIPPED}, "Shipped", False),
        ({"shipping": Shipping.PARTLY_SHIPPED}, "Partly shipped by Tue 24 Nov, 13:00", False),
        (WAITS, "Not shipped by Tue 24 Nov, 13:00, after 12 days", False),
        (WAITS | {"ordered": None}, "Not shipped by Tue 24 Nov, 13:00", False),
        (
            WAITS | {"usual": TEN_DAYS},
            "Not shipped by Tue 24 Nov, 13:00, after 12 days: later than usual (after 10 days)",
            True,
        ),
        (
            WAITS | {"usual": Usual(20 * DAY, 50, NOW)},
            "Not shipped by Tue 24 Nov, 13:00, after 12 days (usually after 20 days)",
            False,
        ),
    ],
)
def test_the_shipping_is_one_line(fields: dict[str, Any], shipping: str, *, late: bool) -> None:
    assert lines(**fields)[-1] == shipping
    assert shown(**fields).late is late


@pytest.mark.parametrize(
    ("took", "said"),
    [
        (timedelta(days=9, hours=23), "9 days"),
        (timedelta(days=1, hours=5, minutes=9), "1 day 5 hours"),
        (timedelta(hours=3, minutes=40), "3 hours"),
        (timedelta(minutes=40), "40 minutes"),
        (timedelta(seconds=1), "less than a minute"),
    ],
)
def test_a_delay_is_as_exact_as_people_say_it(took: timedelta, said: str) -> None:
    [_, line] = lines(ordered=NOW - 3 * DAY - took, **SHIPPED)
    assert line == f"Shipped on Sat 21 Nov, 13:00, after {said}"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("de", ["Bestellung 10012", "12,50 €", "und 2 andere Produkte", "nach 9 Tagen: später"]),
        ("fr", ["Commande 10012", "12,50 €", "et 2 autres produits", "après 9 jours : plus tard"]),
        ("es", ["Pedido 10012", "12,50 €", "y 2 productos más", "después de 9 días: más tarde"]),
        ("pt", ["Pedido 10012", "€ 12,50", "e mais 2 produtos", "após 9 dias: mais tarde"]),
        ("he", ["הזמנה 10012", "ועוד שני מוצרים", "לאחר 9 ימים: מאוחר מהרגיל (לאחר יומיים)"]),
    ],
)
def test_an_order_is_in_the_language_of_its_reader(code: str, expected: list[str]) -> None:
    fields = {"item": "Rye", "quantity": 1, "others": 2, "amount": "12.5", "currency": "EUR"}
    said = "\n".join(lines(code, **fields, **SHIPPED, usual=TWO_DAYS)).replace("\u202f", " ")
    assert all(each in said for each in expected)


def test_an_order_of_which_nothing_is_known_says_nothing() -> None:
    assert lines(number="", ordered=None) == []
    assert view_order(None, BERLIN, get_language("en")) is None
