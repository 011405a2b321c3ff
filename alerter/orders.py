"""What is known of the order behind a review: only what the sentences about it need."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# How much later than usual a shipping is called late.
_LATE_BY = timedelta(days=1)


class OrderSource(StrEnum):
    """How an order was found."""

    REQUEST = "request"  # Wix's own request for the review names it
    CONTACT = "contact"  # the review's author bought the reviewed product


class Payment(StrEnum):
    """What an order says about its payment."""

    PAID = "paid"
    PARTLY_PAID = "partly_paid"
    NOT_PAID = "not_paid"
    REFUNDED = "refunded"
    PARTLY_REFUNDED = "partly_refunded"


class Shipping(StrEnum):
    """How far what was reviewed is shipped."""

    SHIPPED = "shipped"
    PARTLY_SHIPPED = "partly_shipped"
    NOT_SHIPPED = "not_shipped"


@dataclass(frozen=True, slots=True)
class Usual:
    """How long the shop usually takes to ship: the median of so many orders."""

    delay: timedelta
    orders: int
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """The order behind a review, as it was at `asked_at`; what is unknown is None or empty.

    `among`: how many orders it is the latest of that would fit. `item`: what of it is reviewed, so
    many times (`quantity`); `others`: how many other products it has. `amount`: its total as a
    decimal. `marked`: `shipped` is when somebody marked it as fulfilled, without a fulfillment.
    """

    number: str
    source: OrderSource
    asked_at: datetime
    among: int = 1
    item: str = ""
    quantity: int = 0
    others: int = 0
    amount: str = ""
    currency: str = ""
    ordered: datetime | None = None
    canceled: bool = False
    payment: Payment | None = None
    paid: datetime | None = None
    shipping: Shipping | None = None
    shipped: datetime | None = None
    marked: bool = False
    usual: Usual | None = None

    @property
    def took(self) -> timedelta | None:
        """How long it took to ship it, or has taken so far; None if unknown, or not paid yet."""
        if self.shipping is Shipping.NOT_SHIPPED and self.payment is not Payment.NOT_PAID:
            return delay(self.ordered, self.paid, self.asked_at)
        if self.shipping is Shipping.SHIPPED and self.shipped:
            return delay(self.ordered, self.paid, self.shipped)
        return None

    @property
    def is_late(self) -> bool:
        """Whether that is a day or more longer than the shop usually takes."""
        return bool(self.took and self.usual and self.took >= self.usual.delay + _LATE_BY)


def delay(ordered: datetime | None, paid: datetime | None, shipped: datetime) -> timedelta | None:
    """Return the time from an order's payment to a moment, or from the order if it is paid later.

    None if neither is known to be before it.
    """
    began = next((each for each in (paid, ordered) if each and each <= shipped), None)
    return shipped - began if began else None
