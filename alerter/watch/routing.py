"""Decide which destinations get an alert, and when. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from alerter.config import Receiver
from alerter.models import Form, Medium, Review, medium_of
from alerter.watch.keywords import keywords_in
from alerter.watch.quiet import quiet_until


@dataclass(frozen=True, slots=True)
class Route:
    """A destination of an alert, and the time from which it may be sent (None: at once)."""

    destination: str
    due_at: datetime | None = None


def keywords_of(receivers: Iterable[Receiver]) -> list[str]:
    """Return the keywords of all receivers, each once."""
    return sorted({word for receiver in receivers for word in receiver.keywords or ()})


def covers(receiver: Receiver, site: str) -> bool:
    """Return whether a receiver gets alerts of a site, which is given by its name."""
    return receiver.covers(site)


def route(review: Review, site: str, receivers: Iterable[Receiver]) -> list[Route]:
    """Return the destinations of a review's `new` or `lowered` alert."""
    return [
        Route(destination)
        for receiver in receivers
        if excluded_by(receiver, review, site) is None
        for destination in receiver.destinations
    ]


def route_cluster(
    members: Sequence[Review], site: str, receivers: Iterable[Receiver]
) -> list[Route]:
    """Return the destinations of a cluster: those that get at least one of its reviews."""
    return [
        Route(destination)
        for receiver in receivers
        if any(excluded_by(receiver, each, site) is None for each in members)
        for destination in receiver.destinations
    ]


def route_alerted(
    alerted: Collection[str], site: str, receivers: Iterable[Receiver]
) -> list[Route]:
    """Return the alerted destinations that the config still has for a site."""
    return [
        Route(destination)
        for receiver in receivers
        if covers(receiver, site)
        for destination in receiver.destinations
        if destination in alerted
    ]


def route_closing(
    alerted: Mapping[str, Form], site: str, receivers: Iterable[Receiver]
) -> list[Route]:
    """Return the destinations of a `closed` alert; `alerted` has the form of the alert in each.

    On Slack a message about one review is updated instead; a digest gets a reply in its thread.
    """
    return [
        Route(destination)
        for receiver in receivers
        if covers(receiver, site)
        for destination in receiver.destinations
        if destination in alerted
        and (
            alerted[destination] is Form.DIGEST
            if medium_of(destination) == Medium.SLACK
            else takes_closings(receiver, destination)
        )
    ]


def takes_closings(receiver: Receiver, destination: str) -> bool:
    """Return whether closings are sent to a destination as messages of their own.

    Software that got a review has to know that it is closed; people have to ask for it.
    """
    return receiver.closings or medium_of(destination) == Medium.WEBHOOK


def apply_quiet_hours(
    routes: Iterable[Route],
    rating: int | None,
    receivers: Iterable[Receiver],
    now: datetime,
    timezone: tzinfo,
) -> list[Route]:
    """Return the routes, held until the end of the receiver's quiet hours that `now` lies in.

    An urgent rating is not held; without a `rating` nothing is urgent.
    """
    quiet = {name: each for each in receivers if each.quiet for name in each.destinations}
    if not quiet:
        return [*routes]
    return [
        Route(each.destination, _due_at(quiet.get(each.destination), rating, now, timezone))
        for each in routes
    ]


def _due_at(
    receiver: Receiver | None, rating: int | None, now: datetime, timezone: tzinfo
) -> datetime | None:
    if receiver is None or receiver.quiet is None:
        return None
    urgent = rating is not None and rating <= (receiver.urgent_max_rating or 0)
    return None if urgent else quiet_until(receiver.quiet, now, timezone)


def uncovered_ratings(
    site: str, up_to: int, receivers: Sequence[Receiver]
) -> tuple[list[int], list[int]]:
    """Return low ratings that no receiver gets, and those limited by more than stars.

    Those are limited to products, keywords or topics.
    """
    no_one, some = [], []
    for rating in range(1, up_to + 1):
        takers = [each for each in receivers if covers(each, site) and _takes(each, rating)]
        if not takers:
            no_one.append(rating)
        elif all(each.products or each.keywords or each.topics for each in takers):
            some.append(rating)
    return no_one, some


def excluded_by(receiver: Receiver, review: Review, site: str) -> str | None:
    """Return the config key of a receiver that excludes a review; None where it gets the review.

    The review has its topics.
    """
    if not covers(receiver, site):
        return "sites"
    if not _takes(receiver, review.rating):
        return "min_rating" if review.rating < (receiver.min_rating or 1) else "max_rating"
    if receiver.products and not _names(receiver.products, review.entity_id or ""):
        return "products"
    if receiver.keywords and not any(keywords_in(receiver.keywords, review.title, review.body)):
        return "keywords"
    if receiver.topics and not set(receiver.topics).intersection(review.topics):
        return "topics"
    return None


def may_respond(
    receiver: Receiver, review: Review, site: str, *, is_open: bool, is_last: bool
) -> bool:
    """Return whether a receiver gets a review by this config, so that it may respond to it.

    A closed review is not excluded by what a customer may change: its rating and its words.
    `is_last`: the receiver gets the last reminder of every review of its sites (`escalate_to`).
    """
    key = excluded_by(receiver, review, site)
    if key in (None, "sites"):
        return key is None
    return is_last or (not is_open and key != "products")


def _takes(receiver: Receiver, rating: int) -> bool:
    return (receiver.min_rating or 1) <= rating <= (receiver.max_rating or 5)


def _names(products: Sequence[str], entity_id: str) -> bool:
    return entity_id.casefold() in {product.strip().casefold() for product in products}
