"""The order behind a review, as templates get it. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from alerter.orders import Order, Payment, Shipping
from alerter.render.formatting import clean_line, cut, isolate
from alerter.render.language import Language
from alerter.timezones import local_time
from alerter.translation import mark

_LONGEST_NAME = 80
_OLD = timedelta(days=300)
_DAYS, _HOURS = timedelta(days=2), timedelta(hours=1)
# By whether it is shipped.
_ON = {True: mark("Shipped on %(date)s"), False: mark("Not shipped by %(date)s")}
_TOOK = {
    True: mark("Shipped on %(date)s, after %(took)s"),
    False: mark("Not shipped by %(date)s, after %(took)s"),
}
_USUAL = {
    True: mark("Shipped on %(date)s, after %(took)s (usually after %(usual)s)"),
    False: mark("Not shipped by %(date)s, after %(took)s (usually after %(usual)s)"),
}
_LATE = {
    True: mark("Shipped on %(date)s, after %(took)s: later than usual (after %(usual)s)"),
    False: mark("Not shipped by %(date)s, after %(took)s: later than usual (after %(usual)s)"),
}


@dataclass(frozen=True, slots=True)
class OrderView:
    """The order behind a review."""

    number: str
    """Its number in the dashboard; may be empty."""
    total: str
    """What it cost, with its currency; empty if unknown."""
    bought: str
    """What was bought, such as "Order 10012 · 5 November 2026 · €12.50 · 2 × Croissant box"."""
    payment: str
    """When it was paid, such as "Paid on Thu 5 Nov, 14:05"; empty if unknown."""
    shipping: str
    """When it was shipped, such as "Shipped on Sat 14 Nov, 15:10, after 9 days"; may be empty."""
    late: bool
    """Whether it took a day or more longer than the shop usually takes."""

    @property
    def lines(self) -> list[str]:
        """`bought`, `payment` and `shipping`, without empty ones."""
        return [each for each in (self.bought, self.payment, self.shipping) if each]


def view_order(order: Order | None, timezone: tzinfo, language: Language) -> OrderView | None:
    """Return the view of an order; None without one."""
    if order is None:
        return None
    number, total = clean_line(order.number), _total(order, language)

    def date(moment: datetime) -> str:
        old = order.asked_at - moment > _OLD
        return language.short_date(local_time(moment, timezone), year=old)

    return OrderView(
        number=number,
        total=total,
        bought=_bought(order, number, total, timezone, language),
        payment=" · ".join(
            _payment(
                order,
                date(order.paid) if order.paid else "",
                date(order.asked_at),
                language,
            )
        ),
        shipping=_shipping(
            order,
            date(order.shipped) if order.shipped else "",
            date(order.asked_at),
            language,
        ),
        late=order.is_late,
    )


def _bought(order: Order, number: str, total: str, timezone: tzinfo, language: Language) -> str:
    found = _items(order, language)
    if total:
        found.insert(0, total)
    if order.ordered:
        found.insert(0, language.day(local_time(order.ordered, timezone)))
    if number:
        found.insert(0, language.gettext("Order %(number)s") % {"number": number})
    elif found:
        found.insert(0, language.gettext("An order"))
    return " · ".join(found)


def _total(order: Order, language: Language) -> str:
    return language.money(Decimal(order.amount), order.currency) if order.amount else ""


def _items(order: Order, language: Language) -> list[str]:
    """Return what was bought: the reviewed product, and how many others."""
    found, others = [], {"num": language.number(order.others)}
    if order.item:
        name = isolate(cut(clean_line(order.item), _LONGEST_NAME), language.direction)
        found.append(f"{language.number(order.quantity)} × {name}" if order.quantity > 1 else name)
        text = language.ngettext(
            "and %(num)s other product", "and %(num)s other products", order.others
        )
    else:
        text = language.ngettext("%(num)s product", "%(num)s products", order.others)
    if order.others:
        found.append(text % others)
    if order.among > 1:
        text = language.gettext("the latest of %(num)s orders of this product by this customer")
        found.append(text % {"num": language.number(order.among)})
    return found


def _payment(order: Order, paid: str, asked: str, language: Language) -> list[str]:
    found = []
    if paid:
        found.append(language.gettext("Paid on %(date)s") % {"date": paid})
    elif order.payment is Payment.PAID:
        found.append(language.gettext("Paid"))
    if order.payment is Payment.NOT_PAID:
        found.append(language.gettext("Not paid by %(date)s") % {"date": asked})
    if order.payment is Payment.PARTLY_PAID:
        found.append(language.gettext("Partly paid"))
    if order.payment is Payment.REFUNDED:
        found.append(language.gettext("Refunded"))
    if order.payment is Payment.PARTLY_REFUNDED:
        found.append(language.gettext("Partly refunded"))
    if order.canceled:
        found.append(language.gettext("Canceled"))
    return found


def _shipping(order: Order, shipped: str, asked: str, language: Language) -> str:
    if order.shipping is Shipping.PARTLY_SHIPPED:
        return language.gettext("Partly shipped by %(date)s") % {"date": asked}
    if order.shipping is Shipping.SHIPPED and not shipped:
        return language.gettext("Shipped")
    if order.shipping is None:
        return ""
    is_shipped = order.shipping is Shipping.SHIPPED
    date = {"date": shipped if is_shipped else asked}
    if order.took is None:
        return language.gettext(_ON[is_shipped]) % date
    values = date | {"took": _length(order.took, language)}
    if order.usual is None:
        text = _TOOK[is_shipped]
    else:
        text = (_LATE if order.is_late else _USUAL)[is_shipped]
        values["usual"] = _length(order.usual.delay, language)
    return language.gettext(text) % values


def _length(length: timedelta, language: Language) -> str:
    """Return a length of time in whole days, or if it is short, in hours."""
    unit = timedelta(days=1) if length >= _DAYS else _HOURS
    return language.duration(length // unit * unit if length >= _HOURS else length)
