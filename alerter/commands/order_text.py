"""What `alerter explain` says about the order behind a review: each sentence with its source."""

from collections.abc import Callable, Iterator
from datetime import datetime

from alerter.commands.terminal import plain, words_for
from alerter.orders import Order, OrderSource, Payment, Shipping
from alerter.text import counted
from alerter.wix.orders import FULFILLMENTS, REQUESTS, SEARCH

_LONGEST = 100


def order_lines(
    order: Order | None, refused_until: datetime | None, at: Callable[[datetime], str]
) -> Iterator[str]:
    """Yield lines about an order, or why there is none; `at` writes a moment."""
    if order or refused_until:
        yield ""
    if order:
        yield from _known(order, at)
    elif refused_until:
        yield f"no order behind it is known: Wix refused, and is asked again at {at(refused_until)}"


def _known(order: Order, at: Callable[[datetime], str]) -> Iterator[str]:
    yield f"the order behind it, as Wix said at {at(order.asked_at)}"
    yield f"- {_phrase_source(order)}"
    yield f"- {_phrase_items(order)} (lineItems and priceSummary, POST {SEARCH})"
    if order.ordered:
        yield f"- ordered on {at(order.ordered)} (purchasedDate, else createdDate)"
    if order.payment or order.canceled or order.paid:
        yield f"- {_phrase_payment(order, at)} (paymentStatus, status, and activity ORDER_PAID)"
    if order.shipping:
        yield f"- {_phrase_shipping(order, at)}"
    if order.took:
        since = (
            "payment" if order.paid and order.paid <= (order.shipped or order.asked_at) else "order"
        )
        yield f"- that is {words_for(order.took)} after the {since}"
    if order.usual:
        yield (
            f"- usual are {words_for(order.usual.delay)}: the median of {order.usual.orders} orders"
            f" that are older than two weeks, measured at {at(order.usual.measured_at)}"
        )


def _phrase_source(order: Order) -> str:
    name = f"order {plain(order.number, _LONGEST)}" if order.number else "an order without a number"
    if order.source is OrderSource.REQUEST:
        return f"{name}: Wix asked for the review of it (POST {REQUESTS}, by items.reviewId)"
    found = "the only order" if order.among == 1 else f"the latest of {order.among} orders"
    return (
        f"{name}: {found} of this product by this customer before the review"
        f" (POST {SEARCH}, by buyerInfo.contactId and catalogItemId)"
    )


def _phrase_items(order: Order) -> str:
    found = []
    if order.item:
        found.append(f"{order.quantity} × {plain(order.item, _LONGEST)}")
    if order.others or not order.item:
        found.append(counted(order.others, "other product" if order.item else "product"))
    total = f", {order.amount} {order.currency}" if order.amount else ""
    return f"bought: {' and '.join(found)}{total}"


def _phrase_payment(order: Order, at: Callable[[datetime], str]) -> str:
    found = [f"paid on {at(order.paid)}"] if order.paid else []
    if order.payment and not (order.payment is Payment.PAID and order.paid):
        found.append(order.payment.replace("_", " "))
    return ", ".join([*found, *(["canceled"] if order.canceled else [])])


def _phrase_shipping(order: Order, at: Callable[[datetime], str]) -> str:
    if order.shipping is Shipping.SHIPPED and order.marked and order.shipped:
        return (
            f"shipped on {at(order.shipped)} (activity ORDER_FULFILLED, as Wix sent no fulfillment)"
        )
    if order.shipping is Shipping.SHIPPED and order.shipped:
        return f"shipped on {at(order.shipped)} (createdDate, POST {FULFILLMENTS})"
    said = str(order.shipping).replace("_", " ")
    return f"{said} (fulfillmentStatus, and POST {FULFILLMENTS})"
