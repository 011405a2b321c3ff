"""Which order is behind a review, and what is said about it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median

from alerter.models import Review
from alerter.orders import Order, OrderSource, Payment, Shipping, Usual, delay
from alerter.wix.orders import Fulfillment, LineItem, WixOrder

# With fewer orders, nothing is said about what is usual.
FEWEST_USUAL = 10
_NEVER_BOUGHT = ("INITIALIZED", "PENDING", "REJECTED")
_CANCELED = ("CANCELED", "CANCELLED")
_PAYMENTS = {
    "PAID": Payment.PAID,
    "PARTIALLY_PAID": Payment.PARTLY_PAID,
    "NOT_PAID": Payment.NOT_PAID,
    "FULLY_REFUNDED": Payment.REFUNDED,
    "PARTIALLY_REFUNDED": Payment.PARTLY_REFUNDED,
}

Shipment = tuple[Shipping | None, datetime | None, bool]
_UNKNOWN: Shipment = (None, None, False)


def choose_order(
    review: Review, orders: Iterable[WixOrder], now: datetime
) -> tuple[WixOrder | None, int]:
    """Return the latest order of a review's author with its product, and how many there are.

    Only orders before the review count, and canceled ones only without others.
    """
    until = review.created or now
    fitting = [
        (each.ordered, each.id, each)
        for each in orders
        if each.ordered is not None
        and each.ordered <= until
        and each.contact_id == review.contact_id
        and each.status not in _NEVER_BOUGHT
        and any(line.product_id == review.entity_id for line in each.lines)
    ]
    kept = [each for each in fitting if each[2].status not in _CANCELED] or fitting
    # One that shifts between pages is found twice.
    distinct = {order.id: order for _, _, order in sorted(kept, key=lambda each: each[:2])}
    return next(reversed(distinct.values()), None), len(distinct)


def describe_order(
    order: WixOrder,
    review: Review,
    fulfillments: Sequence[Fulfillment],
    source: OrderSource,
    now: datetime,
    among: int = 1,
) -> Order:
    """Return what is said about the order behind a review; `usual` is added later."""
    lines = _reviewed(order, review.entity_id)
    shipping, shipped, marked = ship_state(order, fulfillments, review.entity_id)
    others = {line.product_id or line.id for line in order.lines if line not in lines}
    payment = _PAYMENTS.get(order.payment)
    return Order(
        number=order.number,
        source=source,
        asked_at=now,
        among=among,
        item=next((line.name for line in lines if line.name), ""),
        quantity=sum(line.quantity for line in lines),
        others=len(others),
        amount=order.amount if order.currency else "",
        currency=order.currency if order.amount else "",
        ordered=order.ordered,
        canceled=order.status in _CANCELED,
        payment=payment,
        paid=order.paid if payment not in (Payment.NOT_PAID, Payment.PARTLY_PAID) else None,
        shipping=shipping,
        shipped=shipped,
        marked=marked,
    )


def ship_state(
    order: WixOrder, fulfillments: Sequence[Fulfillment], product_id: str | None
) -> Shipment:
    """Return how far a product of an order is shipped, since when, and whether it was only marked.

    Without that product in the order, all of it counts. Of what is picked up, downloaded or a
    service, nothing is said.
    """
    of_product = _reviewed(order, product_id)
    wanted = {line.id: line.quantity for line in of_product or order.lines if line.ships}
    if not order.is_sent or not wanted:
        return _UNKNOWN
    about = [
        each for each in fulfillments if not each.quantities or each.quantities.keys() & wanted
    ]
    dates = [each.created for each in about]
    last = max((each for each in dates if each), default=None) if None not in dates else None
    if order.fulfillment == "FULFILLED":
        if about:
            return Shipping.SHIPPED, last, False
        return Shipping.SHIPPED, order.fulfilled, order.fulfilled is not None
    if order.fulfillment == "PARTIALLY_FULFILLED":
        if _is_covered(wanted, about):
            return Shipping.SHIPPED, last, False
        if of_product and fulfillments and not about:
            return _not_shipped(order)
        return Shipping.PARTLY_SHIPPED, None, False
    if order.fulfillment == "NOT_FULFILLED" and not fulfillments:
        return _not_shipped(order)
    return _UNKNOWN


def usual_delay(
    orders: Iterable[WixOrder], fulfillments: Mapping[str, Sequence[Fulfillment]], now: datetime
) -> Usual | None:
    """Return the median time that these orders took; None for too few of them."""
    found = []
    for order in {each.id: each for each in orders}.values():
        shipping, shipped, _ = ship_state(order, fulfillments.get(order.id, ()), None)
        took = delay(order.ordered, order.paid, shipped) if shipped else None
        if shipping is Shipping.SHIPPED and took is not None:
            found.append(took.total_seconds())
    if len(found) < FEWEST_USUAL:
        return None
    return Usual(timedelta(seconds=median(found)), len(found), now)


def _not_shipped(order: WixOrder) -> Shipment:
    """Return that nothing is shipped, where somebody still waits for it."""
    waits = order.status == "APPROVED" and order.payment != "FULLY_REFUNDED"
    return (Shipping.NOT_SHIPPED, None, False) if waits else _UNKNOWN


def _reviewed(order: WixOrder, product_id: str | None) -> list[LineItem]:
    return [line for line in order.lines if product_id and line.product_id == product_id]


def _is_covered(wanted: Mapping[str, int], about: Sequence[Fulfillment]) -> bool:
    """Whether these fulfillments hold all of the wanted items."""
    sent: Counter[str] = Counter()
    for each in about:
        for line, quantity in each.quantities.items():
            sent[line] += wanted.get(line, 0) if quantity is None else quantity
    return bool(about) and all(sent[line] >= quantity for line, quantity in wanted.items())
