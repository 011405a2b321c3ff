"""DESIGN's triage table, row by row, and the rules around it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerter.models import AlertKind, CloseReason, Media, Reply, Review, Status, StoredReview
from alerter.watch.triage import (
    Reason,
    Verdict,
    due_reminder,
    is_alertable_past,
    is_anonymized,
    lacks_author,
    looks_the_same,
    redact,
    triage,
    triage_gone,
)
from tests.support.reviews import review

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
REPLY = Reply("Sorry!", NOW)
THRESHOLD = 2


def open_(**fields: object) -> StoredReview:
    return StoredReview(review(rating=2, revision=1, **fields), Status.OPEN, NOW)


def closed(*, told: bool = True, rating: int = 2, **fields: object) -> StoredReview:
    return StoredReview(
        review(rating=rating, revision=1, **fields), Status.CLOSED, NOW if told else None
    )


def baseline(rating: int = 2, **fields: object) -> StoredReview:
    return StoredReview(review(rating=rating, revision=1, **fields), Status.BASELINE)


def now(known: StoredReview | None = None, **changes: object) -> Review:
    """The review that is known, one revision later; or one that nobody knows."""
    return replace(known.review, revision=2, **changes) if known else review(**changes)


def judge(
    known: StoredReview | None,
    read: Review,
    *,
    covered: bool = True,
    checkpoint: datetime | None = NOW,
    threshold: int = 2,
) -> Verdict:
    return triage(known, read, threshold=threshold, covered=covered, checkpoint=checkpoint)


ANSWERED = closed(reply=REPLY)
ANSWERED_UNTOLD = closed(told=False, reply=REPLY)
REJECTED = closed(moderation="REJECTED")
REJECTED_UNTOLD = closed(told=False, moderation="REJECTED")
RAISED = closed(rating=4)
GONE = replace(closed(), closing=CloseReason.GONE)

NEW, LOWERED, CLOSED, REMINDER = (
    AlertKind.NEW,
    AlertKind.LOWERED,
    AlertKind.CLOSED,
    AlertKind.REMINDER,
)

# What is known, what it is now, and the status, alert and reason that follow.
TABLE = {
    "nothing, low-rated": (None, now(), Status.OPEN, NEW, Reason.NEW),
    "nothing, rated at the threshold": (None, now(rating=2), Status.OPEN, NEW, Reason.NEW),
    "nothing, rated above the threshold": (None, now(rating=3), None, None, Reason.IGNORED),
    "nothing, answered": (None, now(reply=REPLY), Status.CLOSED, None, Reason.ANSWERED_BEFORE),
    "nothing, rejected": (
        None, now(moderation="REJECTED"), Status.CLOSED, None, Reason.REJECTED_BEFORE,
    ),
    "nothing, in moderation": (None, now(moderation="IN_MODERATION"), Status.OPEN, NEW, Reason.NEW),
    "nothing, in a moderation that nobody knows": (
        None, now(moderation="PONDERED"), Status.OPEN, NEW, Reason.NEW,
    ),
    "nothing, created well before the checkpoint": (
        None, now(created=NOW - timedelta(days=3)), Status.OPEN, NEW, Reason.LATE,
    ),
    "open, rating falls": (open_(), now(open_(), rating=1), Status.OPEN, LOWERED, Reason.LOWERED),
    "open, only the title changes": (
        open_(), now(open_(), title="Worse"), Status.OPEN, None, Reason.EDITED,
    ),
    "open, only the text changes": (
        open_(), now(open_(), body="Worse"), Status.OPEN, None, Reason.EDITED,
    ),
    "open, only a vote comes in": (
        open_(), now(open_(), helpful=1), Status.OPEN, None, Reason.RECORDED,
    ),
    "open, only published": (
        open_(), now(open_(), moderation="APPROVED"), Status.OPEN, None, Reason.RECORDED,
    ),
    "open, in a moderation that nobody knows": (
        open_(), now(open_(), moderation="PONDERED"), Status.OPEN, None, Reason.RECORDED,
    ),
    "open, answered": (open_(), now(open_(), reply=REPLY), Status.CLOSED, CLOSED, Reason.ANSWERED),
    "open, answered while the rating fell": (
        open_(), now(open_(), rating=1, reply=REPLY), Status.CLOSED, CLOSED, Reason.ANSWERED,
    ),
    "open, raised": (open_(), now(open_(), rating=3), Status.CLOSED, CLOSED, Reason.RAISED),
    "open, rejected": (
        open_(), now(open_(), moderation="REJECTED"), Status.CLOSED, CLOSED, Reason.REJECTED,
    ),
    "closed, edited for the worse after the answer": (
        ANSWERED, now(ANSWERED, rating=1), Status.OPEN, LOWERED, Reason.LOWERED,
    ),
    "closed, edited in words only after the answer": (
        ANSWERED, now(ANSWERED, body="Hm"), Status.CLOSED, None, Reason.RECORDED,
    ),
    "closed, answer removed, ever told": (
        ANSWERED, now(ANSWERED, reply=None), Status.OPEN, REMINDER, Reason.REOPENED,
    ),
    "closed, answer removed, never told": (
        ANSWERED_UNTOLD, now(ANSWERED_UNTOLD, reply=None), Status.OPEN, NEW, Reason.REOPENED,
    ),
    "closed, approved again, ever told": (
        REJECTED, now(REJECTED, moderation="APPROVED"), Status.OPEN, REMINDER, Reason.REOPENED,
    ),
    "closed, approved again, never told": (
        REJECTED_UNTOLD, now(REJECTED_UNTOLD, moderation="APPROVED"), Status.OPEN, NEW,
        Reason.REOPENED,
    ),
    "closed, back in a moderation that nobody knows": (
        REJECTED, now(REJECTED, moderation="PONDERED"), Status.OPEN, REMINDER, Reason.REOPENED,
    ),
    "closed, answer removed but rejected": (
        ANSWERED, now(ANSWERED, reply=None, moderation="REJECTED"), Status.CLOSED, None,
        Reason.RECORDED,
    ),
    "closed, approved again and answered": (
        REJECTED, now(REJECTED, moderation="APPROVED", reply=REPLY), Status.CLOSED, None,
        Reason.RECORDED,
    ),
    "closed, falls while rejected": (
        REJECTED, now(REJECTED, rating=1), Status.CLOSED, None, Reason.RECORDED,
    ),
    "raised, falls to what is not low": (
        RAISED, now(RAISED, rating=3), Status.CLOSED, None, Reason.RECORDED,
    ),
    "raised, falls again": (RAISED, now(RAISED, rating=2), Status.OPEN, LOWERED, Reason.LOWERED),
    "raised, falls again and is answered": (
        RAISED, now(RAISED, rating=2, reply=REPLY), Status.CLOSED, None, Reason.RECORDED,
    ),
    "raised, rises more": (RAISED, now(RAISED, rating=5), Status.CLOSED, None, Reason.RECORDED),
    "gone, there again as it was": (GONE, now(GONE), Status.OPEN, REMINDER, Reason.REOPENED),
    "gone, there again and answered": (
        GONE, now(GONE, reply=REPLY), Status.CLOSED, None, Reason.RECORDED,
    ),
    "baseline, rating falls": (
        baseline(), now(baseline(), rating=1), Status.OPEN, LOWERED, Reason.LOWERED,
    ),
    "baseline, falls to the threshold": (
        baseline(4), now(baseline(4), rating=2), Status.OPEN, LOWERED, Reason.LOWERED,
    ),
    "baseline, falls to above the threshold": (
        baseline(4), now(baseline(4), rating=3), Status.BASELINE, None, Reason.RECORDED,
    ),
    "baseline, falls while rejected": (
        baseline(), now(baseline(), rating=1, moderation="REJECTED"), Status.BASELINE, None,
        Reason.RECORDED,
    ),
    "baseline, falls and is answered": (
        baseline(), now(baseline(), rating=1, reply=REPLY), Status.BASELINE, None, Reason.RECORDED,
    ),
    "baseline, falls after its answer": (
        baseline(reply=REPLY), now(baseline(reply=REPLY), rating=1), Status.OPEN, LOWERED,
        Reason.LOWERED,
    ),
    "baseline, edited": (
        baseline(), now(baseline(), body="Hm"), Status.BASELINE, None, Reason.RECORDED,
    ),
    "baseline, answered": (
        baseline(), now(baseline(), reply=REPLY), Status.BASELINE, None, Reason.RECORDED,
    ),
    "baseline, answer removed": (
        baseline(reply=REPLY), now(baseline(reply=REPLY), reply=None), Status.BASELINE, None,
        Reason.RECORDED,
    ),
    "baseline, approved": (
        baseline(moderation="REJECTED"), now(baseline(moderation="REJECTED"),
        moderation="APPROVED"),
        Status.BASELINE, None, Reason.RECORDED,
    ),
    "baseline, raised": (
        baseline(), now(baseline(), rating=5), Status.BASELINE, None, Reason.RECORDED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("known", "read", "status", "alert", "reason"), TABLE.values(), ids=TABLE)
def test_the_triage_table_holds(
    known: StoredReview | None,
    read: Review,
    status: Status | None,
    alert: AlertKind | None,
    reason: Reason,
) -> None:
    verdict = judge(known, read)

    assert (verdict.status, verdict.alert, verdict.reason) == (status, alert, reason)


def test_an_alert_of_a_lowered_rating_says_what_the_review_was_before() -> None:
    known = open_(title="Fine", body="It was fine")

    detail = judge(known, now(known, rating=1, title="No", body="It broke")).detail

    assert detail == {"before": {"rating": 2, "title": "Fine", "body": "It was fine"}, "after": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reply": REPLY}, "answered"),
        ({"rating": 5}, "raised"),
        ({"moderation": "REJECTED"}, "rejected"),
    ],
    ids=["answered", "raised", "rejected"],
)
def test_a_closed_alert_carries_its_reason(changes: dict[str, object], reason: str) -> None:
    verdict = judge(open_(), now(open_(), **changes))

    assert (verdict.closing, verdict.detail) == (reason, {"reason": reason})


@pytest.mark.parametrize(
    ("known", "changes", "reason"),
    [
        (ANSWERED, {"reply": None}, "answered"),
        (REJECTED, {"moderation": "APPROVED"}, "rejected"),
        (GONE, {}, "gone"),
    ],
    ids=["answered", "rejected", "gone"],
)
def test_a_reminder_of_a_reopening_says_what_had_closed_it(
    known: StoredReview, changes: dict[str, object], reason: str
) -> None:
    assert judge(known, now(known, **changes)).detail == {"reopened": reason}


@pytest.mark.parametrize(
    ("created", "late"),
    [
        (NOW - timedelta(minutes=5, milliseconds=1), True),
        (NOW - timedelta(minutes=5), False),
        (NOW, False),
        (NOW + timedelta(days=1), False),
        (None, False),
    ],
    ids=[
        "just over five minutes before",
        "five minutes before",
        "at the checkpoint",
        "after it",
        "no date",
    ],
)
def test_only_what_was_created_well_before_the_checkpoint_is_called_late(
    created: datetime | None, late: bool
) -> None:
    verdict = judge(None, now(created=created))

    assert (verdict.alert, verdict.detail.get("late", False)) == (AlertKind.NEW, late)


def test_nothing_is_late_where_there_is_no_checkpoint() -> None:
    assert judge(None, now(created=NOW - timedelta(days=900)), checkpoint=None).reason is Reason.NEW


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(days=30), Status.OPEN),
        (timedelta(days=30, milliseconds=1), Status.BASELINE),
        (timedelta(days=-400), Status.OPEN),
    ],
    ids=["30 days before", "more than 30 days before", "written after it was created"],
)
def test_a_review_written_30_days_before_it_was_created_is_an_import(
    age: timedelta, status: Status
) -> None:
    verdict = judge(None, now(created=NOW, written=NOW - age))

    assert verdict.status is status
    assert verdict.alert is (None if status is Status.BASELINE else AlertKind.NEW)
    assert (verdict.reason is Reason.IMPORTED) == (status is Status.BASELINE)


@pytest.mark.parametrize("missing", ["created", "written"])
def test_a_review_without_one_of_its_dates_is_no_import(missing: str) -> None:
    dates = {"created": NOW, "written": NOW - timedelta(days=900)} | {missing: None}

    assert judge(None, now(**dates)).alert is AlertKind.NEW


@pytest.mark.parametrize(
    "read",
    [
        now(),
        now(reply=REPLY),
        now(moderation="REJECTED"),
        now(created=NOW - timedelta(days=3)),
        now(created=NOW, written=NOW - timedelta(days=900)),
    ],
    ids=["plain", "answered", "rejected", "late", "imported"],
)
def test_what_coverage_does_not_hold_yet_is_baseline_and_silent(read: Review) -> None:
    verdict = judge(None, read, covered=False)

    assert (verdict.status, verdict.alert, verdict.reason) == (
        Status.BASELINE,
        None,
        Reason.BASELINE,
    )


@pytest.mark.parametrize(
    "known", [open_(), ANSWERED, baseline()], ids=["open", "closed", "baseline"]
)
def test_a_known_review_is_judged_the_same_outside_the_coverage(known: StoredReview) -> None:
    read = now(known, rating=1)

    assert judge(known, read, covered=False) == judge(known, read, covered=True)


@pytest.mark.parametrize(
    "known", [open_(), ANSWERED, baseline()], ids=["open", "closed", "baseline"]
)
def test_a_lower_revision_changes_nothing(known: StoredReview) -> None:
    stored = replace(known, review=replace(known.review, revision=2))
    read = replace(known.review, revision=1, rating=1, body="Other", reply=Reply("Other"))

    assert judge(stored, read) == Verdict(Reason.STALE)


@pytest.mark.parametrize(
    "known", [open_(), ANSWERED, baseline()], ids=["open", "closed", "baseline"]
)
def test_the_same_content_again_changes_nothing(known: StoredReview) -> None:
    assert judge(known, known.review) == Verdict(Reason.UNCHANGED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reply": REPLY}, Reason.ANSWERED),
        ({"rating": 1}, Reason.LOWERED),
        ({"moderation": "REJECTED"}, Reason.REJECTED),
    ],
    ids=["a reply", "a rating", "a moderation decision"],
)
def test_other_content_under_the_same_revision_counts(
    changes: dict[str, object], reason: Reason
) -> None:
    known = open_()

    assert judge(known, replace(known.review, **changes)).reason is reason


def test_a_reopened_review_is_closed_by_a_new_answer_only() -> None:
    lowered = now(ANSWERED, rating=1)
    reopened = StoredReview(lowered, Status.OPEN, NOW)
    edited = replace(lowered, revision=3, body="Still waiting")
    answered = replace(edited, revision=4, reply=Reply("Now it is mended", NOW + timedelta(days=1)))

    assert judge(ANSWERED, lowered).alert is AlertKind.LOWERED
    assert judge(reopened, edited).reason is Reason.EDITED
    assert judge(StoredReview(edited, Status.OPEN, NOW), answered).reason is Reason.ANSWERED


def test_a_reopened_review_is_closed_by_its_old_answer_when_rewritten() -> None:
    reopened = StoredReview(review(rating=1, reply=REPLY), Status.OPEN, NOW)

    rewritten = now(reopened, reply=Reply("Sorry! Write to us.", NOW + timedelta(days=1)))

    assert judge(reopened, rewritten).reason is Reason.ANSWERED


@pytest.mark.parametrize("threshold", [1, 2, 3, 4, 5])
def test_low_rated_is_up_to_the_threshold_inclusive(threshold: int) -> None:
    told = {
        rating
        for rating in range(1, 6)
        if judge(None, now(rating=rating), threshold=threshold).alert
    }

    assert told == set(range(1, threshold + 1))


@pytest.mark.parametrize(
    "read", [open_().review, now(open_(), helpful=1)], ids=["as it was", "with a vote"]
)
def test_an_open_review_above_a_lowered_threshold_is_closed_silently(read: Review) -> None:
    assert judge(open_(), read, threshold=1) == Verdict(Reason.ABOVE, Status.CLOSED)


def test_a_review_that_its_customer_raised_is_closed_as_raised() -> None:
    """Whatever the threshold has become."""
    assert judge(open_(), now(open_(), rating=4), threshold=1).closing is CloseReason.RAISED


@pytest.mark.parametrize(
    ("known", "changes", "closing"),
    [
        (replace(ANSWERED, closing=CloseReason.ANSWERED), {"helpful": 1}, CloseReason.ANSWERED),
        (replace(ANSWERED, closing=CloseReason.ANSWERED), {"reply": None}, None),
        (replace(ANSWERED, closing=CloseReason.ANSWERED), {"rating": 4}, CloseReason.RAISED),
        (replace(REJECTED, closing=CloseReason.REJECTED), {"moderation": "APPROVED"}, None),
        (replace(RAISED, closing=CloseReason.RAISED), {"rating": 3}, CloseReason.RAISED),
    ],
    ids=["answered", "answer removed", "answered, then raised", "approved again", "raised"],
)
def test_only_a_review_that_its_customer_raised_is_called_raised(
    known: StoredReview, changes: dict[str, object], closing: CloseReason | None
) -> None:
    assert judge(known, now(known, **changes), threshold=1).closing is closing


def test_a_review_without_a_revision_is_not_taken_for_an_older_one() -> None:
    known = StoredReview(review(rating=2, revision=7), Status.OPEN, NOW)

    assert judge(known, review(rating=2, reply=REPLY)).reason is Reason.ANSWERED


@pytest.mark.parametrize(
    ("read", "worth"),
    [
        (now(), True),
        (now(rating=2), True),
        (now(rating=3), False),
        (now(reply=REPLY), False),
        (now(moderation="REJECTED"), False),
        (now(moderation="PONDERED"), True),
        (now(created=NOW, written=NOW - timedelta(days=900)), True),
    ],
    ids=[
        "low-rated",
        "at the threshold",
        "above it",
        "answered",
        "rejected",
        "moderation nobody knows",
        "imported",
    ],
)
def test_a_backfill_alerts_what_is_low_rated_and_unanswered(read: Review, worth: bool) -> None:
    assert is_alertable_past(read, THRESHOLD) is worth


@pytest.mark.parametrize(
    ("known", "status", "alert"),
    [
        (open_(), Status.CLOSED, CLOSED),
        (ANSWERED, Status.CLOSED, None),
        (baseline(), Status.BASELINE, None),
    ],
    ids=["open", "closed", "baseline"],
)
def test_what_is_gone_is_alerted_only_where_it_was_open(
    known: StoredReview, status: Status, alert: AlertKind | None
) -> None:
    verdict = triage_gone(known)

    assert (verdict.status, verdict.alert, verdict.closing) == (status, alert, CloseReason.GONE)


@pytest.mark.parametrize(
    ("before", "after", "anonymized"),
    [
        ({"author": "Robin", "contact_id": "c1"}, {}, True),
        ({"author": "Robin"}, {}, True),
        ({"contact_id": "c1"}, {}, True),
        ({"author": "Robin", "contact_id": "c1"}, {"contact_id": "c1"}, False),
        ({"author": "Robin"}, {"author": "R."}, False),
        ({}, {}, False),
    ],
    ids=[
        "both gone",
        "the name gone",
        "the contact gone",
        "still a contact",
        "renamed",
        "never had one",
    ],
)
def test_a_review_that_came_twice_without_its_author_is_anonymized(
    before: dict[str, object], after: dict[str, object], *, anonymized: bool
) -> None:
    known = StoredReview(review(**before), Status.OPEN)
    again = replace(known, authorless_since=NOW)

    assert lacks_author(known, review(**after)) is anonymized
    assert is_anonymized(known, review(**after), NOW, HOUR) is False
    assert is_anonymized(again, review(**after), NOW + timedelta(minutes=1), HOUR) is False
    assert is_anonymized(again, review(**after), NOW + timedelta(minutes=50), HOUR) is False
    assert is_anonymized(again, review(**after), NOW + HOUR, HOUR) is anonymized


def test_what_was_anonymized_stays_so() -> None:
    assert is_anonymized(
        StoredReview(review(), Status.OPEN, anonymized=True), review(author="Robin"), NOW, HOUR
    )


def test_without_words_nothing_is_left_that_anybody_wrote() -> None:
    whole = review(
        title="T",
        body="B",
        author="Robin",
        contact_id="c",
        media=(Media("image", "https://x/y"),),
        reply=REPLY,
    )

    assert redact(whole) == review(reply=Reply("", NOW))
    assert redact(review(title="T")) == review()


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"helpful": 3}, True),
        ({"updated": NOW}, True),
        ({"body": "B"}, False),
        ({"rating": 2}, False),
        ({"moderation": "APPROVED"}, False),
    ],
    ids=["a vote", "a date", "the text", "the rating", "the moderation"],
)
def test_a_message_is_out_of_date_when_what_it_says_has_changed(
    change: dict[str, object], *, same: bool
) -> None:
    assert looks_the_same(review(), replace(review(), **change)) is same


DAY = timedelta(days=1)
NEVER = timedelta()


@pytest.mark.parametrize(
    ("waiting", "reminded", "span"),
    [
        (DAY - timedelta(seconds=1), NEVER, None),
        (DAY, NEVER, DAY),
        (DAY, DAY, None),
        (3 * DAY, NEVER, 3 * DAY),
        (3 * DAY, DAY, 3 * DAY),
        (3 * DAY, 3 * DAY, None),
        (30 * DAY, NEVER, 3 * DAY),
        (30 * DAY + timedelta(hours=1), NEVER, 3 * DAY),
        (30 * DAY + timedelta(hours=2), NEVER, None),
        (-DAY, NEVER, None),
        (DAY, timedelta(hours=1), DAY),
        (3 * DAY, 2 * DAY, 3 * DAY),
        (2 * DAY, 2 * DAY, None),
    ],
    ids=[
        "too early", "the first", "once only", "only the latest", "the second", "no third",
        "within the window", "a round after its end", "at rest", "a clock that was set back",
        "after one that the config had before", "the last after such a one",
        "none of a shorter span after it",
    ],
)  # fmt: skip
def test_a_reminder_is_due_once_and_within_the_window(
    waiting: timedelta, reminded: timedelta, span: timedelta | None
) -> None:
    assert due_reminder(waiting, reminded, (DAY, 3 * DAY), 30 * DAY) == span
