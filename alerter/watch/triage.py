"""Decide what a change of a review means: its new status, and the alert that it raises. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from alerter.models import AlertKind, CloseReason, Event, Reply, Review, Status, StoredReview
from alerter.store.holds import Hold

# A poll starts this long before the checkpoint, so an older review became visible late.
OVERLAP = timedelta(minutes=5)
# Two rescans may follow each other a little sooner than configured.
_TOLERANCE = timedelta(minutes=1)
_IMPORT_AGE = timedelta(days=30)
# The round after the end of `rescan_window` still raises reminders that fell due at its end.
LAST_ROUND = timedelta(hours=1)


class Reason(StrEnum):
    """Why a review was treated as it was, as `explain` shows it."""

    IGNORED = "not low-rated, and not on record"
    STALE = "older than what is on record"
    UNCHANGED = "as on record"
    BASELINE = "on record from before alerter watched this"
    IMPORTED = "written long before it was created: an import"
    ANSWERED_BEFORE = "already answered when first seen"
    REJECTED_BEFORE = "already rejected when first seen"
    NEW = "low-rated and not seen before"
    LATE = "low-rated, and not visible or not low-rated when its time was read"
    LOWERED = "its rating fell"
    EDITED = "its text changed"
    RECORDED = "changed, in nothing that is alerted"
    ANSWERED = "answered"
    RAISED = "its rating is no longer low"
    ABOVE = "above the threshold of today, which was lowered"
    REJECTED = "rejected by moderation"
    GONE = "no longer there"
    REOPENED = "no longer answered or rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about a review: its new status (None: the record stays) and its alert."""

    reason: Reason
    status: Status | None = None
    alert: AlertKind | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    closing: CloseReason | None = None


def triage(
    known: StoredReview | None,
    review: Review,
    *,
    threshold: int,
    covered: bool,
    checkpoint: datetime | None,
) -> Verdict:
    """Decide about one review.

    `covered` is whether the site's earlier reads included reviews of this rating: what they did not
    cover is the past, and raises no alert.
    """
    if known is None:
        return _first_seen(review, threshold=threshold, covered=covered, checkpoint=checkpoint)
    if 0 < review.revision < known.review.revision:  # 0: Wix sent none
        return Verdict(Reason.STALE)
    above = known.status is Status.OPEN and review.rating > threshold
    if review == known.review and known.closing is not CloseReason.GONE and not above:
        return Verdict(Reason.UNCHANGED)
    if (
        known.pruned
        and known.closing is not CloseReason.GONE
        and _standing(review) == _standing(known.review)
    ):
        return Verdict(Reason.UNCHANGED)
    if known.status is Status.OPEN:
        return _open(known, review, threshold)
    if known.status is Status.CLOSED:
        return _closed(known, review, threshold)
    return _baseline(known, review, threshold)


def _first_seen(
    review: Review, *, threshold: int, covered: bool, checkpoint: datetime | None
) -> Verdict:
    if review.rating > threshold:
        return Verdict(Reason.IGNORED)
    if not covered:
        return Verdict(Reason.BASELINE, Status.BASELINE)
    if review.answered:
        return Verdict(Reason.ANSWERED_BEFORE, Status.CLOSED, closing=CloseReason.ANSWERED)
    if review.rejected:
        return Verdict(Reason.REJECTED_BEFORE, Status.CLOSED, closing=CloseReason.REJECTED)
    if is_import(review):
        return Verdict(Reason.IMPORTED, Status.BASELINE)
    if checkpoint and review.created and review.created < checkpoint - OVERLAP:
        return Verdict(Reason.LATE, Status.OPEN, AlertKind.NEW, {"late": True})
    return Verdict(Reason.NEW, Status.OPEN, AlertKind.NEW)


def _open(known: StoredReview, review: Review, threshold: int) -> Verdict:
    # A reply that was there when the review was opened again answers its old text.
    if review.answered and is_other_reply(known.review.reply, review.reply):
        return _close(Reason.ANSWERED, CloseReason.ANSWERED)
    if review.rejected:
        return _close(Reason.REJECTED, CloseReason.REJECTED)
    if review.rating > threshold:
        if review.rating > known.review.rating:
            return _close(Reason.RAISED, CloseReason.RAISED)
        return Verdict(Reason.ABOVE, Status.CLOSED)
    if review.rating < known.review.rating:
        return _lowered(known, review)
    if _text(review) != _text(known.review):
        return Verdict(Reason.EDITED, Status.OPEN)
    return Verdict(Reason.RECORDED, Status.OPEN)


def _closed(known: StoredReview, review: Review, threshold: int) -> Verdict:
    if review.rejected:
        return Verdict(Reason.RECORDED, Status.CLOSED, closing=CloseReason.REJECTED)
    if review.rating > threshold:
        return Verdict(Reason.RECORDED, Status.CLOSED, closing=_closing_above(known, review))
    if review.rating < known.review.rating and not _is_answered_now(known, review):
        return _lowered(known, review)
    settled = _settled_by(known)
    if review.answered or not settled:
        closing = CloseReason.ANSWERED if review.answered else known.closing
        return Verdict(Reason.RECORDED, Status.CLOSED, closing=closing)
    if known.alerted_at is None:
        return Verdict(Reason.REOPENED, Status.OPEN, AlertKind.NEW)
    return Verdict(Reason.REOPENED, Status.OPEN, AlertKind.REMINDER, {"reopened": settled})


def _settled_by(known: StoredReview) -> CloseReason | None:
    """Return what must be undone, besides the rating, before a closed review is open again."""
    if known.closing is CloseReason.GONE:
        return CloseReason.GONE
    if known.review.rejected:
        return CloseReason.REJECTED
    return CloseReason.ANSWERED if known.review.answered else None


def _closing_above(known: StoredReview, review: Review) -> CloseReason | None:
    """Return why a review above the threshold is closed; None where the threshold changed."""
    if review.rating > known.review.rating or known.closing is CloseReason.RAISED:
        return CloseReason.RAISED
    return CloseReason.ANSWERED if review.answered else None


def _baseline(known: StoredReview, review: Review, threshold: int) -> Verdict:
    settled = review.rating > threshold or review.rejected or _is_answered_now(known, review)
    if review.rating < known.review.rating and not settled:
        return _lowered(known, review)
    return Verdict(Reason.RECORDED, Status.BASELINE)


def _is_answered_now(known: StoredReview, review: Review) -> bool:
    """Return whether the review was answered since; an older reply answers its old text."""
    return review.answered and not known.review.answered


def triage_gone(known: StoredReview) -> Verdict:
    """Decide about a review that Wix does not have any more."""
    if known.status is Status.OPEN:
        return _close(Reason.GONE, CloseReason.GONE)
    return Verdict(Reason.GONE, known.status, closing=CloseReason.GONE)


def is_stale_event(known: StoredReview, event: Event) -> bool:
    """Return whether a webhook is older than the record: they come late, twice, in any order.

    A higher revision is always newer. Within one revision, webhooks compare by their sequence, and
    a webhook and a read by their times.
    """
    if event.review is None:
        return False
    if known.closing is CloseReason.GONE:
        return True
    if event.review.revision > known.review.revision:
        return False
    if event.sequence and known.event_sequence:
        return event.sequence <= known.event_sequence
    return bool(event.at and known.as_of and event.at <= known.as_of)


def is_behind(known: StoredReview, review: Review, asked_at: datetime, now: datetime) -> bool:
    """Return whether a read may be older than the record.

    It was requested earlier, or it undoes a closing of the last minutes without a higher revision,
    as Wix's query lags behind.
    """
    if 0 < review.revision < known.review.revision:
        return True
    closed = known.status is Status.CLOSED or known.closing is CloseReason.GONE
    if review.revision > known.review.revision and known.closing is not CloseReason.GONE:
        return False
    return is_older(known, asked_at, now) or (closed and is_fresh(known, now))


def is_older(known: StoredReview, asked_at: datetime, now: datetime) -> bool:
    """Return whether a read was requested before the time of the record."""
    return bool(known.as_of and asked_at < known.as_of <= now)


def is_fresh(known: StoredReview, now: datetime) -> bool:
    """Return whether the record is so new that Wix's query may not show it yet."""
    return bool(known.as_of and abs(now - known.as_of) < OVERLAP)


def rests_since(
    verdict: Verdict, known: StoredReview | None, review: Review, now: datetime, window: timedelta
) -> datetime | None:
    """Return since when a review rests that only a lowered threshold closes; None for others.

    It was followed until now, or for `window` after its alert: it does not start to rest again.
    """
    if verdict.reason is not Reason.ABOVE or known is None or known.review != review:
        return None
    followed = known.alerted_at + window if known.alerted_at else now
    return min(max(known.as_of or now, followed), now)


def without_alert(verdict: Verdict, known: StoredReview | None) -> Verdict:
    """Return the verdict without its alert, for a restored site or a read of the past.

    An open review stays open until it is closed; no other review becomes open.
    """
    if known is None or verdict.status is not Status.OPEN:
        return replace(verdict, alert=None)
    return replace(verdict, alert=None, status=known.status, closing=known.closing)


def _close(reason: Reason, closing: CloseReason) -> Verdict:
    return Verdict(reason, Status.CLOSED, AlertKind.CLOSED, {"reason": closing}, closing)


def is_other_reply(before: Reply | None, reply: Reply | None) -> bool:
    """Return whether a review has another reply than before.

    Where the words of either are erased, only the times are compared.
    """
    if before and reply and not (before.message and reply.message):
        return bool(before.at and reply.at and before.at != reply.at)
    return before != reply


def _lowered(known: StoredReview, review: Review) -> Verdict:
    before = {"rating": known.review.rating, "title": known.review.title, "body": known.review.body}
    return Verdict(
        Reason.LOWERED, Status.OPEN, AlertKind.LOWERED, {"before": before, "after": review.rating}
    )


def _standing(review: Review) -> tuple[int, bool, bool]:
    return review.rating, review.answered, review.rejected


def _text(review: Review) -> tuple[str, str]:
    return review.title, review.body


def looks_the_same(known: Review, review: Review) -> bool:
    """Return whether a message about a review would still show its current state."""
    return _shown(known) == _shown(review)


def _shown(review: Review) -> tuple[object, ...]:
    return review.rating, review.title, review.body, review.author, review.media, review.moderation


def is_tagged_anew(verdict: Verdict, known: StoredReview, review: Review) -> bool:
    """Return whether only the topics of a review differ, by other lists of words."""
    return (
        verdict.reason is Reason.UNCHANGED
        and review.topics != known.review.topics
        and not (known.pruned or known.redacted)
    )


def newest_of(page: Sequence[Review]) -> Iterable[Review]:
    """Return each review of a page once, the newest: a page that shifts may hold one twice."""
    found: dict[str, Review] = {}
    for review in page:
        if review.id not in found or review.revision >= found[review.id].revision:
            found[review.id] = review
    return found.values()


def with_text_again(known: StoredReview) -> StoredReview:
    """Return a pruned baseline as one whose text is stored again."""
    return replace(known, pruned=known.pruned and known.status is not Status.BASELINE)


def lacks_author(known: StoredReview | None, review: Review) -> bool:
    """Return whether a review lacks the author that is on record."""
    before = known.review if known else review
    return bool(before.author or before.contact_id) and not (review.author or review.contact_id)


def is_anonymized(
    known: StoredReview | None, review: Review, as_of: datetime, apart: timedelta
) -> bool:
    """Return whether a review is anonymized: it lacked its author in two reads at least `apart`.

    One answer of Wix may lack a field by mistake, and erased text cannot be restored.
    """
    if known is None or known.anonymized or not lacks_author(known, review):
        return bool(known and known.anonymized)
    return bool(known.authorless_since and as_of - known.authorless_since >= apart - _TOLERANCE)


def redact(review: Review) -> Review:
    """Return a deleted or anonymized review without its text, author, media and reply."""
    reply = replace(review.reply, message="") if review.reply else None
    return replace(review, title="", body="", author="", contact_id=None, media=(), reply=reply)


def due_reminder(
    waiting: timedelta, reminded: timedelta, after: Sequence[timedelta], window: timedelta
) -> timedelta | None:
    """Return the span of `after` whose reminder is due, or None.

    `waiting` is the time since the destination was sent the alert, `reminded` the longest span that
    it was reminded of. Of several that fell due, only the longest is. After `window` none is.
    """
    passed = max((span for span in after if span <= waiting), default=timedelta())
    return passed if passed > reminded and waiting <= window + LAST_ROUND else None


def ended_snoozes(held: Sequence[Hold], now: datetime) -> list[str]:
    """Return the reviews whose snooze is over and that no claim holds."""
    claimed = {each.review_id for each in held if each.is_claim and each.until > now}
    over = [each.review_id for each in held if not each.is_claim and each.until <= now]
    return [review_id for review_id in over if review_id not in claimed]


def is_first_low(verdict: Verdict) -> bool:
    """Return whether a review counts as low-rated from now on, so that it may be of a cluster."""
    return verdict.alert is AlertKind.NEW or verdict.reason is Reason.ANSWERED_BEFORE


def is_import(review: Review) -> bool:
    """Return whether a review was written more than 30 days before it was created here."""
    return review.created is not None and is_long_before(review.written, review.created)


def is_long_before(written: datetime | None, created: datetime) -> bool:
    """Return whether a review of these dates is an import."""
    return written is not None and created - written > _IMPORT_AGE


def is_alertable_past(review: Review, threshold: int) -> bool:
    """Return whether a backfill alerts a review that has no alert yet."""
    return review.rating <= threshold and not review.answered and not review.rejected


def with_revision(review: Review, known: StoredReview | None) -> Review:
    """Return a review as it is recorded: Wix may leave the revision out."""
    if known is None or review.revision >= known.review.revision:
        return review
    return replace(review, revision=known.review.revision)


def alerted_at(
    verdict: Verdict, known: StoredReview | None, now: datetime, *, was_notified: bool
) -> datetime | None:
    """Return when a review was first alerted, or alerted again after it was closed."""
    still_open = known and known.alerted_at and known.status is Status.OPEN
    if verdict.alert in (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER) and not still_open:
        return now
    return known.alerted_at if known and was_notified else None
