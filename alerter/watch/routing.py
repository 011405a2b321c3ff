"""An alert → which destinations, when. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from alerter.config import Receiver
from alerter.models import Form, Medium, Review, medium_of
from alerter.watch.keywords import contains_keyword
from alerter.watch.quiet import quiet_until


@dataclass(frozen=True, slots=True)
class Route:
    """One alert bound for one destination, to leave from `due_at` on (None: at once)."""

    destination: str
    due_at: datetime | None = None


def covers(receiver: Receiver, site: str) -> bool:
    """Whether a receiver hears of a site at all (by the site's name)."""
    return receiver.sites is None or site in receiver.sites


def route(review: Review, site: str, receivers: Iterable[Receiver]) -> list[Route]:
    """Where a review's `new` or `lowered` alert goes."""
    return [
        Route(destination)
        for receiver in receivers
        if excluded_by(receiver, review, site) is None
        for destination in receiver.destinations
    ]


def route_alerted(
    alerted: Collection[str], site: str, receivers: Iterable[Receiver]
) -> list[Route]:
    """Those of these destinations that the config still has for a site: where more is sent of an alerted review."""
    return [
        Route(destination)
        for receiver in receivers
        if covers(receiver, site)
        for destination in receiver.destinations
        if destination in alerted
    ]


def route_closing(
    told: Mapping[str, Form], site: str, receivers: Iterable[Receiver]
) -> list[Route]:
    """Where a message goes when a review needs nobody any more, by the form in which its alert went there.

    On Slack an alert of one review says so itself, by an update; a digest gets a reply in its thread.
    """
    return [
        Route(destination)
        for receiver in receivers
        if covers(receiver, site)
        for destination in receiver.destinations
        if destination in told
        and (
            receiver.closings
            if medium_of(destination) == Medium.EMAIL
            else told[destination] is Form.DIGEST
        )
    ]


def apply_quiet_hours(
    routes: Iterable[Route],
    rating: int | None,
    receivers: Iterable[Receiver],
    now: datetime,
    timezone: tzinfo,
) -> list[Route]:
    """The same routes, with what falls into a receiver's quiet hours held until they end.

    A review whose rating is urgent is not held; without a `rating` nothing is urgent.
    """
    by_destination = {name: receiver for receiver in receivers for name in receiver.destinations}
    return [
        Route(each.destination, _due_at(by_destination[each.destination], rating, now, timezone))
        for each in routes
    ]


def _due_at(
    receiver: Receiver, rating: int | None, now: datetime, timezone: tzinfo
) -> datetime | None:
    urgent = rating is not None and rating <= (receiver.urgent_max_rating or 0)
    return quiet_until(receiver.quiet, now, timezone) if receiver.quiet and not urgent else None


def uncovered_ratings(
    site: str, threshold: int, receivers: Sequence[Receiver]
) -> tuple[list[int], list[int]]:
    """The ratings of a site's low-rated reviews that nobody hears of, and those heard of only by product or keyword."""
    nobody, choosy = [], []
    for rating in range(1, threshold + 1):
        hears = [each for each in receivers if covers(each, site) and _takes(each, rating)]
        if not hears:
            nobody.append(rating)
        elif all(each.products or each.keywords for each in hears):
            choosy.append(rating)
    return nobody, choosy


def excluded_by(receiver: Receiver, review: Review, site: str) -> str | None:
    """The key of a receiver that keeps a review from it; None where it hears of it."""
    if not covers(receiver, site):
        return "sites"
    if not _takes(receiver, review.rating):
        return "min_rating" if review.rating < (receiver.min_rating or 1) else "max_rating"
    if receiver.products and not _names(receiver.products, review.entity_id or ""):
        return "products"
    if receiver.keywords and not any(
        contains_keyword(word, review.title, review.body) for word in receiver.keywords
    ):
        return "keywords"
    return None


def _takes(receiver: Receiver, rating: int) -> bool:
    return (receiver.min_rating or 1) <= rating <= (receiver.max_rating or 5)


def _names(products: Sequence[str], entity_id: str) -> bool:
    return entity_id.casefold() in {product.strip().casefold() for product in products}
