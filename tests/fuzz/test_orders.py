"""Whatever an order holds, what is said about it can be stored, shown and sent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from alerter.orders import Order, OrderSource, Shipping, Usual
from alerter.render.language import get_language
from alerter.render.order_view import view_order
from alerter.watch.order_facts import choose_order, describe_order, usual_delay
from alerter.wix.orders import Fulfillment, parse_order
from tests.support.answers import table
from tests.support.rendered import BERLIN
from tests.support.reviews import review

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DATES = st.sampled_from(
    ["2026-11-01T12:00:00.000Z", "2026-11-20T12:00:00Z", "0001-01-01T00:00:00+23:59",
     "9999-12-31T23:59:59-23:59", "soon", "", 0]
)  # fmt: skip
STATUSES = st.sampled_from(
    ["PAID", "NOT_PAID", "FULFILLED", "PARTIALLY_FULFILLED", "NOT_FULFILLED", "CANCELED",
     "APPROVED", "SOMETHING_NEW", "", None, 5]
)  # fmt: skip
LINES = st.lists(
    table(
        id=st.sampled_from(["1", "2", ""]),
        productName=table(original=st.text()),
        catalogReference=table(catalogItemId=st.sampled_from(["rye", "wheat"])),
        quantity=st.one_of(st.integers(), st.text(), st.floats()),
        itemType=table(preset=st.sampled_from(["PHYSICAL", "DIGITAL"])),
    ),
    max_size=3,
)
ORDERS = table(
    id=st.sampled_from(["a", "b"]),
    number=st.one_of(st.text(), st.integers()),
    createdDate=DATES,
    purchasedDate=DATES,
    lineItems=LINES,
    buyerInfo=table(contactId=st.sampled_from(["ada", "bo"])),
    status=STATUSES,
    paymentStatus=STATUSES,
    fulfillmentStatus=STATUSES,
    currency=st.sampled_from(["EUR", "jpy", "XXX", "€", "EURO", ""]),
    priceSummary=table(
        total=table(amount=st.one_of(st.decimals().map(str), st.text(), st.floats(), st.integers()))
    ),
    shippingInfo=table(title=st.text(), logistics=table(pickupDetails=st.none())),
    activities=st.lists(
        table(type=st.sampled_from(["ORDER_PAID", "ORDER_FULFILLED"]), createdDate=DATES)
    ),
)
FULFILLMENTS = st.lists(
    st.builds(
        Fulfillment,
        st.sampled_from([None, NOW - timedelta(days=3)]),
        st.dictionaries(st.sampled_from(["1", "2", ""]), st.sampled_from([None, 0, 1, 5])),
    ),
    max_size=3,
)
LANGUAGES = st.sampled_from(["en", "de", "fr", "es", "pt", "he"])


@given(st.lists(ORDERS, max_size=4), FULFILLMENTS, LANGUAGES)
def test_any_order_can_be_stored_and_shown(
    raw: list[Any], fulfillments: list[Fulfillment], code: str
) -> None:
    orders = [parse_order(each) for each in raw if isinstance(each, dict)]
    about = review(namespace="stores", entity_id="rye", contact_id="ada", created=NOW)
    chosen, among = choose_order(about, orders, NOW)
    assert (chosen is None) is (among == 0)
    usual_delay(orders, {"a": fulfillments}, NOW)
    adapter, language = TypeAdapter(Order), get_language(code)
    for order in orders:
        known = describe_order(order, about, fulfillments, OrderSource.CONTACT, NOW, among or 1)
        assert adapter.validate_json(adapter.dump_json(known, exclude_defaults=True)) == known
        view = view_order(known, BERLIN, language)
        assert view
        assert all(line == " ".join(line.split(" ")) for line in view.lines)
        assert not any("\n" in line or "%(" in line for line in view.lines)
        json.dumps(view.lines, ensure_ascii=False).encode()


@given(
    st.timedeltas(timedelta(), timedelta(days=4000)),
    st.timedeltas(timedelta(), timedelta(days=4000)),
    st.sampled_from([Shipping.SHIPPED, Shipping.NOT_SHIPPED]),
    LANGUAGES,
)
def test_any_delay_can_be_said(
    took: timedelta, usual: timedelta, shipping: Shipping, code: str
) -> None:
    known = Order(
        "1",
        OrderSource.CONTACT,
        NOW,
        ordered=NOW - took,
        shipping=shipping,
        shipped=NOW if shipping is Shipping.SHIPPED else None,
        usual=Usual(usual, 10, NOW),
    )
    view = view_order(known, BERLIN, get_language(code))
    assert view
    assert known.took == took
    assert known.is_late is (took - usual >= timedelta(days=1))
    assert view.shipping
