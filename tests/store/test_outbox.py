"""Deliveries, the messages that carry them, and who must not be called."""

from datetime import timedelta

import pytest

from alerter.models import (
    Alert,
    AlertKind,
    Form,
    Grouping,
    MessageItem,
    Product,
    Status,
    StoredReview,
)
from alerter.store import (
    State,
    blocks,
    messages,
    outbox,
    products,
    raised_alerts,
    reminders,
    report,
    rerouting,
    reviews,
    stale_messages,
)
from alerter.store.outbox import DueDelivery
from tests.support.outbox import HOUR, MINUTE, OK, T0, alert, claim, due, message_row, queue, status
from tests.support.reviews import review
from tests.support.values import SITE

# --- what is due


def test_what_is_due_comes_oldest_first_and_no_more_than_asked(state: State) -> None:
    queue(state, 1, due_at=T0 - MINUTE)
    queue(state, 2, due_at=T0 - HOUR)
    queue(state, 3, due_at=T0 - MINUTE)
    queue(state, 4)

    assert due(state) == [4, 2, 1, 3]
    assert due(state, most=2) == [4, 2]


def test_a_delivery_is_due_from_its_moment_on_and_not_before(state: State) -> None:
    queue(state, 1, due_at=T0)

    assert due(state, now=T0 - timedelta(milliseconds=1)) == []
    assert due(state, now=T0) == [1]


def test_what_is_due_for_one_receiver_is_not_due_for_another(state: State) -> None:
    queue(state, 1, receivers=["email:owner", "slack:support"])
    queue(state, 2, receivers=["slack:support"])

    assert due(state) == [1]
    assert due(state, "slack:support") == [1, 2]
    assert due(state, "nobody") == []


def test_a_due_delivery_says_how_it_may_leave(state: State) -> None:
    for number, grouping in enumerate(Grouping, 1):
        queue(state, number, grouping=grouping)

    assert outbox.due_deliveries(state, "email:owner", T0, 10) == [
        DueDelivery(number, each) for number, each in enumerate(Grouping, 1)
    ]


def test_the_next_due_moment_is_the_earliest_of_what_waits(state: State) -> None:
    assert outbox.get_upcoming(state, "email:owner", T0).due_at is None
    queue(state, 1, due_at=T0 + HOUR)
    queue(state, 2, due_at=T0 + MINUTE)
    queue(state, 3, receivers=["slack:support"], due_at=T0)

    assert outbox.get_upcoming(state, "email:owner", T0).due_at == T0 + MINUTE


def test_nothing_is_next_when_all_is_sent_failed_or_cancelled(state: State) -> None:
    queue(state, 1, 2)
    messages.mark_sent(state, claim(state, 1), OK)
    messages.mark_failed(state, claim(state, 2), "554")

    assert outbox.get_upcoming(state, "email:owner", T0).due_at is None


# --- claim


def test_a_claim_counts_the_first_attempt_before_the_call(state: State) -> None:
    queue(state, 1, 2, 3)

    message = claim(state, 1, 3)

    assert (message.receiver, message.form, message.attempts, message.attempted_at) == (
        "owner",
        Form.DIGEST,
        1,
        T0,
    )
    assert not message.in_doubt
    assert due(state) == [2]
    row = message_row(state, message)
    assert (row["status"], row["attempts"], row["message_id"]) == ("sending", 1, message.uid)


def test_a_claimed_message_carries_the_reviews_as_they_are_known_now(state: State) -> None:
    queue(state, 1, 2)
    about = review("r1", 2, body="text", entity_id="p1", namespace="stores", created=T0)
    with state.transaction():
        reviews.put_reviews(state, SITE, [StoredReview(about, Status.OPEN, T0)], T0)
    products.put_products(state, SITE, {"p1": Product("Rye bread", "https://example.com/rye")}, T0)

    message = claim(state, 2, 1)

    assert message.entries == (
        MessageItem(alert(1), about, Product("Rye bread", "https://example.com/rye"), raised_at=T0),
        MessageItem(alert(2), None, Product(), raised_at=T0),
    )


def test_a_claim_takes_only_its_own_receivers_deliveries(state: State) -> None:
    queue(state, 1, receivers=["email:owner", "slack:support"])

    claim(state, 1)

    assert due(state) == []
    assert due(state, "slack:support") == [1]


def test_what_one_message_carries_no_other_can_claim(state: State) -> None:
    queue(state, 1, 2)
    first = claim(state, 1)

    second = claim(state, 1, 2)

    assert [each.alert.review_id for each in first.entries] == ["r1"]
    assert [each.alert.review_id for each in second.entries] == ["r2"]


def test_a_claim_of_cancelled_deliveries_leaves_no_empty_message(
    state: State,
) -> None:
    queue(state, 1, 2)
    assert due(state) == [1, 2]
    with state.transaction():
        raised_alerts.cancel_unsent(state, SITE, "r1")

    claim(state, 1)

    left = messages.get_unsettled(state, "email:owner", T0)
    assert left is None or left.entries


# --- retried, cancelled


def test_a_retry_queues_what_failed_and_tries_what_is_parked(state: State) -> None:
    queue(state, 1, 2, 3)
    messages.mark_failed(state, claim(state, 1), "554")
    messages.mark_sent(state, claim(state, 2), OK)
    blocks.set_block(state, "destination:email:owner", T0, None, "550")

    assert outbox.requeue(state) == (1, 1)

    assert due(state) == [1, 3]
    assert outbox.failed_count(state) == 0
    assert not blocks.is_blocked(state, "receiver:owner", T0)
    assert claim(state, 1, now=T0 + HOUR).attempts == 1


def test_a_retry_does_not_call_a_service_before_the_time_that_it_named(state: State) -> None:
    blocks.set_block(state, "service:slack", T0, T0 + HOUR, "429")

    assert outbox.requeue(state) == (0, 0)

    assert blocks.is_blocked(state, "service:slack", T0 + MINUTE)


def test_deliveries_and_doubts_of_a_removed_destination_are_cancelled(
    state: State,
) -> None:
    there = ["email:owner", "slack:support"]
    queue(state, 1, 2, 3, receivers=["email:owner", "renamed"])
    kept = claim(state, 1)
    messages.mark_sent(state, claim(state, 1, receiver="renamed"), OK)
    doubted = claim(state, 2, receiver="renamed")

    rerouting.cancel_deliveries(state, rerouting.queued_for_others(state, there))

    assert status(state, "renamed") == {1: "sent", 2: "cancelled", 3: "cancelled"}
    assert status(state) == dict.fromkeys((1, 2, 3), "pending")
    assert messages.get_unsettled(state, "renamed", T0) is None
    assert not state.row("SELECT * FROM messages WHERE id = ?", [doubted.id])
    assert message_row(state, kept)["status"] == "sending"
    assert rerouting.queued_for_others(state, there) == []


def test_what_was_cancelled_or_sent_is_not_touched_by_a_late_answer(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)
    rerouting.cancel_deliveries(state, rerouting.queued_for_others(state, ["slack:support"]))

    messages.mark_sent(state, message, OK)

    assert status(state) == {1: "cancelled"}


def test_pending_counts_what_these_receivers_have_not_got_yet(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    queue(state, 3, receivers=["slack:other"])
    claim(state, 1)
    messages.mark_sent(state, claim(state, 2), OK)

    assert outbox.pending_count(state, ["email:owner"], T0) == 1
    assert outbox.pending_count(state, ["email:owner", "slack:support"], T0) == 3
    assert outbox.pending_count(state, [], T0) == 0


def test_what_is_held_until_later_is_not_counted_as_pending_before(state: State) -> None:
    queue(state, 1, due_at=T0 + HOUR)

    assert outbox.pending_count(state, ["email:owner"], T0) == 0
    assert outbox.pending_count(state, ["email:owner"], T0 + HOUR) == 1


def test_what_is_held_of_a_review_leaves_with_what_is_said_of_it_before(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"], due_at=T0 + HOUR)
    urgent = Alert(f"lowered:{SITE}:r1:1", AlertKind.LOWERED, SITE, "r1")
    with state.transaction():
        raised_alerts.raise_alerts(
            state, [raised_alerts.NewAlert(urgent, [("email:owner", None)])], T0
        )

    assert due(state) == [1, 3]
    assert due(state, "slack:support") == []


# --- what it costs


@pytest.mark.sqlite  # reads its query plans
def test_no_query_looks_through_a_whole_table(state: State) -> None:
    asked: set[str] = set()
    state.engine.conn.set_trace_callback(asked.add)
    queue(state, 1, 2, 3)
    messages.mark_sent(state, claim(state, 1), OK)
    messages.dissolve(state, claim(state, 2))
    messages.mark_failed(state, claim(state, 3), "refused")
    messages.get_unsettled(state, "email:owner", T0)
    stale_messages.get_outdated(state, "email:owner", T0)
    messages.is_in_doubt(state, "email:owner")
    outbox.get_upcoming(state, "email:owner", T0)
    stale_messages.unerased_count(state, "email:owner")
    outbox.pending_count(state, ["email:owner"], T0)
    outbox.failed_count(state)
    stale_messages.alerted_forms(state, SITE, "r1")
    reminders.get_reminders(state, SITE, T0, [timedelta(hours=1)], timedelta(days=30))
    reminders.correct_reminders(state, SITE, T0)
    raised_alerts.alerted_destinations(state, SITE, "r1")
    raised_alerts.first_alert(state, SITE, "r1")
    reviews.followed_reviews(state, SITE, T0, 2)
    raised_alerts.cancel_unsent(state, SITE, "r1")
    raised_alerts.cancel_closing(state, SITE, "r1")
    report.site_reports(state)
    report.oldest_pending(state)
    state.engine.conn.set_trace_callback(None)
    plans = [
        (row["detail"], sql)
        for sql in asked
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
        for row in state.rows(f"EXPLAIN QUERY PLAN {sql}")
    ]
    assert len(plans) > 50
    tables = ("reviews", "alerts", "messages", "deliveries", "reminders")
    scans = {
        plan for plan in plans if plan[0].startswith(tuple(f"SCAN {table}" for table in tables))
    }
    # The open reviews of all sites are counted in an index that has open reviews only.
    assert scans == {("SCAN reviews USING INDEX reviews_open", report.SITES)}
