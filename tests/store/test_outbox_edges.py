"""The outbox at its edges: threads, drafts, holds, and what `alerter retry` does to each state."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from alerter.models import (
    Alert,
    AlertKind,
    Form,
    Grouping,
    Message,
    Receipt,
    Status,
    StoredReview,
    Thread,
)
from alerter.store import State, messages, outbox, raised_alerts, reviews
from alerter.store.outbox import DueDelivery
from tests.support.outbox import HOUR, MINUTE, OK, T0, claim, due, message_row, queue, status
from tests.support.reviews import review
from tests.support.values import SITE

EMAIL, SLACK = "email:owner", "slack:support"
POSTED = Receipt("ok", "C0123456789", "1764000000.000100")


def say(state: State, kind: AlertKind, *destinations: str, review_id: str = "r1") -> int:
    """Raise one more alert about a review, due at once, and return its id."""
    number = int(state.value("SELECT max(id) + 1 FROM alerts"))
    raised = Alert(f"{kind}:{SITE}:{review_id}:{number}", kind, SITE, review_id)
    with state.transaction():
        routes = [(each, None) for each in destinations]
        raised_alerts.raise_alerts(state, [raised_alerts.NewAlert(raised, routes)], T0)
    return number


def record(state: State, status: Status, **fields: Any) -> None:
    with state.transaction():
        about = review("r1", entity_id="p1", created=T0, **fields)
        reviews.put_reviews(state, SITE, [StoredReview(about, status, T0)], T0)


def delivery(state: State, alert: int = 1, destination: str = EMAIL) -> Mapping[str, Any]:
    row = state.row(
        "SELECT * FROM deliveries WHERE alert = ? AND destination = ?", [alert, destination]
    )
    assert row is not None
    return row


# --- threads


@pytest.mark.parametrize(
    ("destination", "receipt", "thread"),
    [(SLACK, POSTED, 1), (EMAIL, OK, None)],
    ids=["on Slack", "by mail, which has no threads of ours"],
)
def test_a_closing_is_due_as_a_reply_to_the_message_on_slack(
    state: State, destination: str, receipt: Receipt, thread: int | None
) -> None:
    queue(state, 1, receivers=[destination])
    messages.mark_sent(state, claim(state, 1, receiver=destination), receipt)

    say(state, AlertKind.CLOSED, destination)

    assert outbox.due_deliveries(state, destination, T0, 10) == [
        DueDelivery(2, Grouping.BURST, AlertKind.CLOSED, thread)
    ]


def test_only_a_closing_is_due_as_a_reply(state: State) -> None:
    queue(state, 1, receivers=[SLACK])
    messages.mark_sent(state, claim(state, 1, receiver=SLACK), POSTED)

    say(state, AlertKind.LOWERED, SLACK)

    assert outbox.due_deliveries(state, SLACK, T0, 10) == [
        DueDelivery(2, Grouping.BURST, AlertKind.LOWERED, None)
    ]


def test_one_alert_becomes_a_reply_to_the_first_message_about_its_review(state: State) -> None:
    queue(state, 1, 2, receivers=[SLACK])
    first = claim(state, 1, receiver=SLACK)
    messages.mark_sent(state, first, POSTED)
    say(state, AlertKind.LOWERED, SLACK)

    second = claim(state, 3, receiver=SLACK)
    other = claim(state, 2, receiver=SLACK)

    assert second.thread == Thread(first.id, first.uid, "", POSTED.slack_ts)
    assert message_row(state, second)["parent"] == first.id
    assert other.thread is None


def test_a_digest_is_no_reply_unless_it_is_asked_to_be(state: State) -> None:
    queue(state, 1, 2, 3, receivers=[SLACK])
    first = claim(state, 2, receiver=SLACK)
    messages.mark_sent(state, first, POSTED)
    for _ in range(2):
        say(state, AlertKind.LOWERED, SLACK, review_id="r2")

    digest = outbox.claim(state, SLACK, Form.DIGEST, [1, 4], "a@alerter", T0)
    asked = outbox.claim(state, SLACK, Form.DIGEST, [5], "b@alerter", T0, thread=digest.id)

    assert digest.thread is None
    assert asked.thread == Thread(digest.id, "a@alerter")
    assert message_row(state, asked)["parent"] == digest.id


@pytest.mark.parametrize("service_time", [T0 + MINUTE, None], ids=["known", "unknown"])
def test_a_claim_keeps_the_time_of_the_service(state: State, service_time: datetime | None) -> None:
    queue(state, 1)

    message = outbox.claim(
        state, EMAIL, Form.ALERT, [1], "a@alerter", T0, service_time=service_time
    )

    assert message.service_time == service_time
    unsettled = messages.get_unsettled(state, EMAIL, T0)
    assert unsettled is not None
    assert unsettled.service_time == service_time


# --- due


def test_only_the_review_of_a_message_in_doubt_waits_for_it(state: State) -> None:
    queue(state, 1, 2, receivers=[EMAIL, SLACK])
    messages.mark_in_doubt(state, claim(state, 1), "lost", T0 + MINUTE, lost=True)

    say(state, AlertKind.LOWERED, EMAIL, SLACK)

    assert due(state) == [2]
    assert due(state, SLACK) == [1, 2, 3]


def test_what_a_backfill_sends_one_by_one_comes_last(state: State) -> None:
    queue(state, 1)
    past = Alert(f"new:{SITE}:r2", AlertKind.NEW, SITE, "r2", {"backfill": True})
    with state.transaction():
        new = raised_alerts.NewAlert(past, [(EMAIL, None)], Grouping.EACH)
        raised_alerts.raise_alerts(state, [new], T0)
    queue(state, 3, due_at=T0)

    assert due(state) == [1, 3, 2]


def test_the_next_moment_is_that_of_what_is_held_for_this_destination(state: State) -> None:
    queue(state, 1, due_at=T0)
    queue(state, 2, receivers=[SLACK], due_at=T0 + MINUTE)
    queue(state, 3, due_at=T0 + HOUR)
    assert claim(state, 3, now=T0 + HOUR).entries

    assert outbox.get_upcoming(state, EMAIL, T0).due_at is None
    assert outbox.get_upcoming(state, SLACK, T0).due_at == T0 + MINUTE


def test_failures_count_what_has_failed_for_good(state: State) -> None:
    queue(state, 1, 2, 3)
    messages.mark_failed(state, claim(state, 1), "554")
    messages.mark_sent(state, claim(state, 2), OK)

    assert outbox.failed_count(state) == 1


# --- draft


def test_a_draft_is_the_message_that_a_claim_would_make(state: State) -> None:
    record(state, Status.OPEN, body="text")
    record_site(state)
    queue(state, 1)

    draft = outbox.draft(state, EMAIL, Form.ALERT, [1], T0)

    assert draft == Message(0, "", EMAIL, Form.ALERT, draft.entries, T0)
    assert draft.entries[0].context is not None
    assert draft.entries[0].context.product_low == 1
    assert due(state) == [1]
    assert claim(state, 1).entries == draft.entries


def record_site(state: State) -> None:
    """Let the site's coverage hold low-rated reviews, so that they count in the history."""
    state.execute("INSERT INTO sites (site_id, covered_rating) VALUES (?, 2)", [SITE])


# --- holds


def test_longer_holds_are_shortened_for_one_destination(
    state: State,
) -> None:
    latest = T0 + HOUR
    queue(state, 1, due_at=T0 + MINUTE)
    queue(state, 2, due_at=latest)
    queue(state, 3, due_at=latest + MINUTE)
    queue(state, 4, receivers=[SLACK], due_at=latest + MINUTE)
    queue(state, 5, 6, due_at=latest + MINUTE)
    claim(state, 5)
    messages.mark_failed(state, claim(state, 6), "554")
    state.execute("UPDATE deliveries SET message = NULL WHERE alert = 6")

    assert outbox.shorten_holds(state, EMAIL, latest) == 1

    assert due(state, now=T0 + MINUTE) == [1]
    assert due(state, now=latest) == [1, 2, 3]
    assert due(state, SLACK, latest) == []
    assert delivery(state, 5)["due_at"] > delivery(state, 3)["due_at"]
    assert delivery(state, 6)["due_at"] > delivery(state, 3)["due_at"]


def test_rows_that_name_no_medium_get_it(state: State) -> None:
    queue(state, 1, receivers=[":owner", ":support", "slack:other"])
    for status_ in ("sent", "failed"):
        state.execute(
            "INSERT INTO pruned_deliveries (destination, status, number) VALUES (?, ?, 7)",
            [":owner", status_],
        )
    for scope in ("destination::owner", "service:smtp"):
        state.execute(
            "INSERT INTO blocks (scope, since, set_at, reason) VALUES (?, 1, 1, 'x')", [scope]
        )

    with state.transaction():
        outbox.name_media(state, {"owner": "email", "support": "slack", "other": "slack"})

    assert due(state, EMAIL) == [1]
    assert due(state, SLACK) == [1]
    assert state.value("SELECT count(*) FROM deliveries") == 3
    pruned = state.rows("SELECT DISTINCT destination FROM pruned_deliveries")
    assert [row["destination"] for row in pruned] == [EMAIL]
    scopes = state.rows("SELECT scope FROM blocks ORDER BY scope")
    assert [row["scope"] for row in scopes] == ["destination:email:owner", "service:smtp"]


# --- retry


def test_a_retry_forgets_a_message_that_was_refused_for_certain(state: State) -> None:
    queue(state, 1)
    refused = claim(state, 1)
    messages.mark_failed(state, refused, "554")

    assert outbox.requeue(state) == (1, 0)

    assert (delivery(state)["status"], delivery(state)["message"]) == ("pending", None)
    assert not state.row("SELECT * FROM messages WHERE id = ?", [refused.id])


def test_a_retry_looks_from_the_start_for_a_message_that_may_have_arrived(state: State) -> None:
    queue(state, 1)
    lost = claim(state, 1)
    messages.mark_failed(state, lost, "no answer")
    state.execute(
        "UPDATE messages SET lost = 1, plain = TRUE, due_at = 5, looked_since = 6, look = 'x'"
    )

    assert outbox.requeue(state) == (1, 0)

    assert (delivery(state)["status"], delivery(state)["message"]) == ("pending", lost.id)
    row = message_row(state, lost)
    assert (row["status"], row["lost"], row["plain"]) == ("in_doubt", 1, 0)
    assert (row["due_at"], row["looked_since"], row["look"]) == (None, None, "")
    assert row["message_id"] == lost.uid


def test_a_retry_counts_one_lost_answer_however_many_there_were(state: State) -> None:
    queue(state, 1)
    lost = claim(state, 1)
    messages.mark_failed(state, lost, "no answer")
    state.execute("UPDATE messages SET lost = 3")

    outbox.requeue(state)

    assert message_row(state, lost)["lost"] == 1


@pytest.mark.parametrize("lost", [0, 1], ids=["refused", "in doubt"])
def test_a_retry_cancels_what_asks_for_a_review_that_is_closed(state: State, lost: int) -> None:
    queue(state, 1, 2)
    messages.mark_failed(state, claim(state, 1), "554")
    state.execute("UPDATE messages SET lost = ?", [lost])
    other = claim(state, 2)
    messages.mark_failed(state, other, "no answer")
    state.execute("UPDATE messages SET lost = 1 WHERE id = ?", [other.id])
    record(state, Status.CLOSED)

    assert outbox.requeue(state) == (1, 0)

    assert status(state) == {1: "cancelled", 2: "pending"}
    assert state.value("SELECT status FROM messages WHERE id = 1") == "failed"
    assert message_row(state, other)["status"] == "in_doubt"


def test_a_retry_leaves_alone_what_has_not_failed(state: State) -> None:
    queue(state, 1, 2, 3, 4)
    sent, sending, doubted = claim(state, 1), claim(state, 2), claim(state, 3)
    messages.mark_sent(state, sent, OK)
    messages.mark_in_doubt(state, doubted, "no answer", T0 + MINUTE, lost=True)
    state.execute("UPDATE messages SET lost = 2, plain = TRUE")
    record(state, Status.CLOSED)

    assert outbox.requeue(state) == (0, 0)

    assert status(state) == {1: "sent", 2: "pending", 3: "pending", 4: "pending"}
    assert [message_row(state, each)["status"] for each in (sent, sending, doubted)] == [
        "sent",
        "sending",
        "in_doubt",
    ]
    assert {message_row(state, each)["lost"] for each in (sent, sending, doubted)} == {2}
    assert delivery(state, 2)["message"] == sending.id


def test_a_retry_keeps_no_failed_message_that_carries_nothing(state: State) -> None:
    queue(state, 1, 2)
    kept, emptied = claim(state, 1), claim(state, 2)
    for each in (kept, emptied):
        messages.mark_failed(state, each, "no answer")
    state.execute("UPDATE messages SET lost = 1")
    state.execute("UPDATE deliveries SET message = NULL WHERE alert = 2")

    outbox.requeue(state)

    assert message_row(state, kept)["status"] == "in_doubt"
    assert not state.row("SELECT * FROM messages WHERE id = ?", [emptied.id])
