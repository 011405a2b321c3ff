"""What follows from what is seen of a site, before it is written: records, alerts, and what else is to change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from alerter.config import Site
from alerter.models import Alert, AlertKind, Review, Status, StoredReview
from alerter.store.reviews import NewAlert, SiteState
from alerter.watch.triage import Verdict


@dataclass(slots=True)
class Changes:
    """What follows from what is seen of a site now, to be written in one transaction; then people are to be told.

    `before` is how far the site had been read until then, `as_of` the moment for which what is seen holds.
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
    woken: set[str] = field(default_factory=set)


def newest(page: Sequence[Review]) -> Iterable[Review]:
    """A page that shifted while it was read may hold a review twice; the newer one counts."""
    found: dict[str, Review] = {}
    for review in page:
        if review.id not in found or review.revision >= found[review.id].revision:
            found[review.id] = review
    return found.values()


def alert_of(
    kind: AlertKind, site: Site, review: Review, detail: Mapping[str, Any], number: int = 0
) -> Alert:
    """An alert about a review; all but the first of its kind are numbered."""
    key = f"{kind}:{site.site_id}:{review.id}" + (f":{number}" if number else "")
    return Alert(key, kind, site.site_id, review.id, detail)


def record_of(
    review: Review, verdict: Verdict, known: StoredReview | None, *, anonymized: bool
) -> StoredReview:
    """A review as it is put on record, but for when it was alerted."""
    if known:  # one that came without its revision has not gone back to none
        review = replace(review, revision=max(review.revision, known.review.revision))
    return StoredReview(
        review, verdict.status or Status.BASELINE, closing=verdict.closing, anonymized=anonymized
    )


def alerted_at(
    verdict: Verdict, known: StoredReview | None, now: datetime, *, told: bool
) -> datetime | None:
    """When people were to hear of a review: first, or anew, where it was closed in between."""
    still_open = known and known.alerted_at and known.status is Status.OPEN
    if verdict.alert in (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER) and not still_open:
        return now
    return known.alerted_at if known and told else None
