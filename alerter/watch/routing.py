"""An alert → which receivers, when. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from alerter.config import Receiver
from alerter.models import AlertKind, Review


@dataclass(frozen=True, slots=True)
class Route:
    """One alert bound for one receiver, to leave from `due_at` on (None: at once)."""

    receiver: str
    due_at: datetime | None = None


def hears_of(receiver: Receiver, site: str) -> bool:
    """Whether a receiver hears of a site at all (by the site's name)."""
    return receiver.sites is None or site in receiver.sites


def route(kind: AlertKind, review: Review, site: str, receivers: Iterable[Receiver]) -> list[Route]:
    """Who hears of a review's alert. The end of a review is no news to anybody yet: it is on record only."""
    if kind is AlertKind.CLOSED:
        return []
    return [Route(receiver.name) for receiver in receivers if _wants(receiver, review, site)]


def _wants(receiver: Receiver, review: Review, site: str) -> bool:
    return hears_of(receiver, site) and review.rating <= (receiver.max_rating or 5)
