"""The changes that a read or a webhook causes, before they are written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from alerter.config import Site
from alerter.models import Alert, AlertKind, Review, Status, StoredReview
from alerter.store.known_sites import SiteState
from alerter.store.raised_alerts import NewAlert
from alerter.watch.triage import Verdict


@dataclass(slots=True)
class Changes:
    """Changes of one site, to be written in one transaction; then `woken` is woken.

    `before` is how far the site had been read, `as_of` the time for which the read holds. `about`
    are the reviews whose products need names, `ratings` those of alerted reviews by id, `woken` the
    destinations with new deliveries.
    """

    site: Site
    now: datetime
    before: SiteState
    as_of: datetime
    silent: bool = False
    records: list[StoredReview] = field(default_factory=list)
    new_alerts: list[NewAlert] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    reopened: dict[str, list[str]] = field(default_factory=dict)
    authorless: list[str] = field(default_factory=list)
    authored: list[str] = field(default_factory=list)
    about: list[Review] = field(default_factory=list)
    ratings: dict[str, int] = field(default_factory=dict)
    woken: set[str] = field(default_factory=set)


def newest(page: Sequence[Review]) -> Iterable[Review]:
    """Return each review of a page once, the newest: a page that shifts may hold one twice."""
    found: dict[str, Review] = {}
    for review in page:
        if review.id not in found or review.revision >= found[review.id].revision:
            found[review.id] = review
    return found.values()


def alert_of(
    kind: AlertKind, site: Site, review: Review, detail: Mapping[str, Any], number: int = 0
) -> Alert:
    """Return an alert about a review; `number` tells later ones of a kind apart."""
    key = f"{kind}:{site.site_id}:{review.id}" + (f":{number}" if number else "")
    return Alert(key, kind, site.site_id, review.id, detail)


def record_of(
    review: Review, verdict: Verdict, known: StoredReview | None, *, anonymized: bool
) -> StoredReview:
    """Return a review as it is recorded, without its alert time."""
    if known:  # Wix may leave the revision out
        review = replace(review, revision=max(review.revision, known.review.revision))
    return StoredReview(
        review, verdict.status or Status.BASELINE, closing=verdict.closing, anonymized=anonymized
    )


def alerted_at(
    verdict: Verdict, known: StoredReview | None, now: datetime, *, was_notified: bool
) -> datetime | None:
    """Return when a review was first alerted, or alerted again after it was closed."""
    still_open = known and known.alerted_at and known.status is Status.OPEN
    if verdict.alert in (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER) and not still_open:
        return now
    return known.alerted_at if known and was_notified else None
