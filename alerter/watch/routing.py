"""An alert → which receivers, when. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from alerter.config import Receiver
from alerter.models import Form, Review


@dataclass(frozen=True, slots=True)
class Route:
    """One alert bound for one receiver, to leave from `due_at` on (None: at once)."""

    receiver: str
    due_at: datetime | None = None


def hears_of(receiver: Receiver, site: str) -> bool:
    """Whether a receiver hears of a site at all (by the site's name)."""
    return receiver.sites is None or site in receiver.sites


def route(review: Review, site: str, receivers: Iterable[Receiver]) -> list[Route]:
    """Who hears of a review's `new` or `lowered` alert."""
    return [Route(receiver.name) for receiver in receivers if _wants(receiver, review, site)]


def route_reminder(
    told: Collection[str], site: str, receivers: Iterable[Receiver], *, escalate_to: str | None
) -> list[Route]:
    """Who hears that a review is still open: whoever was told of it, and for the last reminder one more."""
    names = {*told, escalate_to}
    return [Route(receiver.name) for receiver in receivers if receiver.name in names and hears_of(receiver, site)]


def route_closing(told: Mapping[str, Form], receivers: Iterable[Receiver]) -> list[Route]:
    """Who gets a message when a review needs nobody any more, by the form in which each was told of it.

    On Slack an alert of one review says so itself, by an update; a digest gets a reply in its thread.
    """
    return [
        Route(receiver.name)
        for receiver in receivers
        if receiver.name in told and (receiver.closings if receiver.email else told[receiver.name] is Form.DIGEST)
    ]


def _wants(receiver: Receiver, review: Review, site: str) -> bool:
    return hears_of(receiver, site) and review.rating <= (receiver.max_rating or 5)
