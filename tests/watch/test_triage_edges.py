"""Triage at its edges: what closes a review, which events and reads are old, and what is silent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerter.models import AlertKind, CloseReason, Event, Reply, Review, Status, StoredReview
from alerter.watch.triage import (
    Reason,
    Verdict,
    is_anonymized,
    is_behind,
    is_fresh,
    is_older,
    is_stale_event,
    lacks_author,
    redact,
    triage,
    triage_gone,
    with_revision,
    without_alert,
)
from tests.support.reviews import review

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
REPLY = Reply("Sorry!", NOW)


def stored(status: Status = Status.CLOSED, **fields: object) -> StoredReview:
    """A review of two stars, at revision 2, as of NOW; `fields` go to either."""
    of_record = {"closing", "alerted_at", "pruned", "as_of", "event_sequence", "authorless_since"}
    record = {"as_of": NOW} | {name: fields.pop(name) for name in of_record & fields.keys()}
    return StoredReview(review(**{"rating": 2, "revision": 2} | fields), status, **record)


# Open again after an answer, and lowered after that.
ANSWERED_BEFORE = stored(Status.OPEN, title="T", body="B", reply=REPLY)
LOWERED = review(rating=1, revision=3, reply=REPLY)


def judge(known: StoredReview | None, read: Review) -> Verdict:
    return triage(known, read, threshold=2, covered=True, checkpoint=NOW)


@pytest.mark.parametrize(
    ("known", "read", "closing"),
    [
        (None, review(reply=REPLY), CloseReason.ANSWERED),
        (None, review(moderation="REJECTED"), CloseReason.REJECTED),
        (stored(), review(rating=2, helpful=1), None),
        (stored(), review(rating=2, reply=REPLY), CloseReason.ANSWERED),
        (stored(), review(rating=2, moderation="REJECTED"), CloseReason.REJECTED),
        (
            stored(closing=CloseReason.RAISED),
            review(rating=2, helpful=1),
            CloseReason.RAISED,
        ),
    ],
    ids=[
        "answered when first seen",
        "rejected when first seen",
        "closed by the threshold only",
        "answered since",
        "rejected since",
        "still closed for its old reason",
    ],
)
def test_a_review_that_is_closed_records_why(
    known: StoredReview | None, read: Review, closing: CloseReason | None
) -> None:
    verdict = judge(known, read)

    assert (verdict.status, verdict.alert, verdict.closing) == (Status.CLOSED, None, closing)


@pytest.mark.parametrize(
    ("known", "changes", "reason"),
    [
        (stored(pruned=True, reply=REPLY), {"title": "Words"}, Reason.UNCHANGED),
        (stored(pruned=True, reply=REPLY), {"rating": 1}, Reason.LOWERED),
        (stored(pruned=True, reply=REPLY), {"reply": None}, Reason.REOPENED),
        (stored(pruned=True, moderation="REJECTED"), {"moderation": ""}, Reason.REOPENED),
        (stored(pruned=True, closing=CloseReason.GONE), {"title": "Words"}, Reason.REOPENED),
        (stored(reply=REPLY), {"title": "Words"}, Reason.RECORDED),
    ],
    ids=["as it was", "lowered", "answer removed", "approved", "gone", "not pruned"],
)
def test_a_pruned_review_is_compared_by_rating_answer_and_rejection_only(
    known: StoredReview, changes: dict[str, object], reason: Reason
) -> None:
    assert judge(known, replace(known.review, **changes)).reason is reason


@pytest.mark.parametrize(
    ("known", "read", "reason"),
    [
        (ANSWERED_BEFORE, redact(ANSWERED_BEFORE.review), Reason.EDITED),
        (replace(ANSWERED_BEFORE, review=redact(ANSWERED_BEFORE.review)), LOWERED, Reason.LOWERED),
        (stored(Status.OPEN, reply=Reply(""), pruned=True), LOWERED, Reason.LOWERED),
        (
            replace(ANSWERED_BEFORE, review=redact(ANSWERED_BEFORE.review)),
            redact(replace(ANSWERED_BEFORE.review, reply=Reply("Sorry again!", NOW + HOUR))),
            Reason.ANSWERED,
        ),
    ],
    ids=["is anonymized", "was anonymized", "was pruned", "is answered again"],
)
def test_an_old_answer_whose_words_are_erased_closes_no_open_review(
    known: StoredReview, read: Review, reason: Reason
) -> None:
    assert judge(known, read).reason is reason


@pytest.mark.parametrize("status", Status)
def test_a_review_that_is_gone_says_so(status: Status) -> None:
    assert triage_gone(stored(status)).reason is Reason.GONE


# --- anonymized


def test_a_review_that_is_not_on_record_is_not_anonymized() -> None:
    assert not lacks_author(None, review())
    assert not lacks_author(None, review(author="Robin"))
    assert is_anonymized(None, review(), NOW, HOUR) is False


@pytest.mark.parametrize(
    ("apart", "anonymized"),
    [(HOUR - timedelta(seconds=60) - SECOND, False), (HOUR - timedelta(seconds=60), True)],
    ids=["too early", "as early as rounds may be"],
)
def test_a_missing_author_is_confirmed_by_a_second_answer_much_later(
    apart: timedelta, *, anonymized: bool
) -> None:
    known = stored(author="Robin", authorless_since=NOW - apart)

    assert is_anonymized(known, review(), NOW, HOUR) is anonymized


def test_an_author_that_is_missing_for_the_first_time_is_not_confirmed() -> None:
    assert is_anonymized(stored(author="Robin"), review(), NOW, HOUR) is False


# --- old events and reads


def event(revision: int = 2, at: datetime | None = NOW + SECOND, sequence: int = 0) -> Event:
    return Event("r1", review(revision=revision), at, sequence)


@pytest.mark.parametrize(
    ("known", "seen", "stale"),
    [
        (stored(closing=CloseReason.GONE), Event("r1", None, NOW), False),
        (stored(closing=CloseReason.GONE), event(3), True),
        (stored(event_sequence=5), event(3, NOW - HOUR, 4), False),
        (stored(event_sequence=5), event(2, NOW - HOUR, 6), False),
        (stored(event_sequence=5), event(sequence=5), True),
        (stored(event_sequence=5), event(sequence=4), True),
        (stored(event_sequence=5), event(1, sequence=4), True),
        (stored(), event(2, NOW - SECOND, 6), True),
        (stored(event_sequence=5), event(2, NOW - SECOND), True),
        (stored(event_sequence=5), event(), False),
        (stored(), event(2, NOW), True),
        (stored(), event(1), False),
        (stored(), event(2, None), False),
        (stored(as_of=None), event(2, NOW - HOUR), False),
    ],
    ids=[
        "a deletion",
        "of a review that is gone",
        "a newer revision",
        "a later number",
        "the same number",
        "an earlier number",
        "an earlier number and revision",
        "earlier than a read",
        "without a number, earlier",
        "without a number, later",
        "at the same moment",
        "later than a read",
        "without a time",
        "nothing to compare its time with",
    ],
)
def test_an_event_is_stale_by_revision_then_by_number_then_by_time(
    known: StoredReview, seen: Event, *, stale: bool
) -> None:
    assert is_stale_event(known, seen) is stale


LATER = NOW + timedelta(days=1)


@pytest.mark.parametrize(
    ("known", "revision", "asked_at", "now", "behind"),
    [
        (stored(Status.OPEN), 1, LATER, LATER, True),
        (stored(Status.OPEN), 0, LATER, LATER, False),
        (stored(Status.OPEN), 2, LATER, LATER, False),
        (stored(Status.OPEN), 3, NOW - SECOND, LATER, False),
        (stored(Status.OPEN), 2, NOW - SECOND, LATER, True),
        (stored(Status.OPEN), 2, NOW + SECOND, NOW + MINUTE, False),
        (stored(Status.CLOSED), 2, NOW + SECOND, NOW + MINUTE, True),
        (stored(Status.CLOSED), 3, NOW + SECOND, NOW + MINUTE, False),
        (stored(Status.CLOSED), 2, LATER, LATER, False),
        (stored(Status.BASELINE, closing=CloseReason.GONE), 2, NOW + SECOND, NOW + MINUTE, True),
        (stored(closing=CloseReason.GONE), 3, NOW + SECOND, NOW + MINUTE, True),
        (stored(closing=CloseReason.GONE), 3, LATER, LATER, False),
    ],
    ids=[
        "a lower revision",
        "no revision",
        "the same revision, long after",
        "a higher revision, whenever it was asked for",
        "asked for before what is on record",
        "open, asked for just after",
        "closed, asked for just after",
        "closed, and a higher revision",
        "closed, asked for long after",
        "baseline that is gone, just after",
        "gone, just after, whatever the revision",
        "gone, long after",
    ],
)
def test_a_read_is_behind_where_it_may_undo_what_is_newer(
    known: StoredReview, revision: int, asked_at: datetime, now: datetime, *, behind: bool
) -> None:
    assert is_behind(known, review(revision=revision), asked_at, now) is behind


@pytest.mark.parametrize(
    ("as_of", "asked_at", "now", "older"),
    [
        (NOW, NOW - SECOND, NOW, True),
        (NOW, NOW, LATER, False),
        (NOW, NOW + SECOND, LATER, False),
        (NOW, NOW - HOUR, NOW - SECOND, False),
        (None, NOW, LATER, False),
    ],
    ids=["before", "at the same moment", "after", "the clock was set back", "no moment"],
)
def test_a_read_is_older_where_it_was_asked_for_before_the_record(
    as_of: datetime | None, asked_at: datetime, now: datetime, *, older: bool
) -> None:
    assert is_older(stored(as_of=as_of), asked_at, now) is older


@pytest.mark.parametrize(
    ("as_of", "fresh"),
    [
        (NOW - 5 * MINUTE, False),
        (NOW - 5 * MINUTE + SECOND, True),
        (NOW + 5 * MINUTE - SECOND, True),
        (NOW + 5 * MINUTE, False),
        (None, False),
    ],
    ids=["five minutes", "just under", "just under ahead", "five minutes ahead", "no moment"],
)
def test_a_record_is_fresh_for_less_than_five_minutes(
    as_of: datetime | None, *, fresh: bool
) -> None:
    assert is_fresh(stored(as_of=as_of), NOW) is fresh


# --- without an alert

NEW = Verdict(Reason.NEW, Status.OPEN, AlertKind.NEW, {"late": True})
LOWERED = Verdict(Reason.LOWERED, Status.OPEN, AlertKind.LOWERED, {"after": 1})
CLOSED = Verdict(
    Reason.ANSWERED, Status.CLOSED, AlertKind.CLOSED, {"reason": "x"}, CloseReason.ANSWERED
)


@pytest.mark.parametrize(
    ("verdict", "known", "silent"),
    [
        (NEW, None, replace(NEW, alert=None)),
        (CLOSED, stored(Status.OPEN), replace(CLOSED, alert=None)),
        (LOWERED, stored(Status.OPEN), replace(LOWERED, alert=None)),
        (LOWERED, stored(Status.BASELINE), replace(LOWERED, alert=None, status=Status.BASELINE)),
        (
            LOWERED,
            stored(closing=CloseReason.ANSWERED),
            replace(LOWERED, alert=None, status=Status.CLOSED, closing=CloseReason.ANSWERED),
        ),
    ],
    ids=["new", "closed", "open", "baseline", "closed before"],
)
def test_without_an_alert_only_what_was_open_stays_open(
    verdict: Verdict, known: StoredReview | None, silent: Verdict
) -> None:
    assert without_alert(verdict, known) == silent


@pytest.mark.parametrize(("read", "recorded"), [(0, 2), (2, 2), (3, 3)])
def test_a_review_without_a_revision_keeps_the_one_on_record(read: int, recorded: int) -> None:
    found = review(rating=1, revision=read)
    assert with_revision(found, stored()) == replace(found, revision=recorded)
    assert with_revision(found, None) is found
