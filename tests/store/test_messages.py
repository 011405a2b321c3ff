"""Messages: in doubt, taken in part, sent, failed, or to be changed."""

from dataclasses import replace
from datetime import datetime

from alerter.models import Alert, AlertKind, Form, Grouping, Message, Receipt, Status, StoredReview
from alerter.store import State, messages, outbox, raised_alerts, reviews, stale_messages
from tests.support.outbox import (
    HOUR,
    MINUTE,
    OK,
    SECOND,
    T0,
    claim,
    due,
    message_row,
    queue,
    status,
)
from tests.support.reviews import review
from tests.support.values import SITE

ON_SLACK = Receipt("ok", slack_channel="C1", slack_ts="17.1")


def in_doubt(
    state: State, number: int, due_at: datetime = T0, receiver: str = "slack:support"
) -> int:
    """Put a message in doubt; returns its id."""
    message = claim(state, number, receiver=receiver)
    messages.mark_in_doubt(state, message, "lost", due_at, lost=True)
    return message.id


def next_change(state: State) -> tuple[Message, int]:
    found = stale_messages.get_outdated(state, "slack:support", T0)
    assert found is not None
    return found


def make_stale(state: State, message_id: int, *, erase: bool = False) -> None:
    with state.transaction():
        state.execute(
            "UPDATE messages SET stale = stale + 1, erase = ? WHERE id = ?", [erase, message_id]
        )


# --- under way, in doubt


def test_a_message_without_an_answer_is_in_doubt_with_the_same_members(
    state: State,
) -> None:
    """And under the same Message-ID."""
    queue(state, 1, 2, 3)
    message = claim(state, 1, 2)

    found = messages.get_unsettled(state, "email:owner", T0 + MINUTE)

    assert found is not None
    assert found.in_doubt
    assert (found.id, found.uid, found.entries, found.form) == (
        message.id,
        message.uid,
        message.entries,
        Form.DIGEST,
    )
    assert found.attempted_at == T0


def test_messages_under_way_come_oldest_first_and_for_their_receiver_only(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    first, second = claim(state, 1), claim(state, 2)

    assert (found := messages.get_unsettled(state, "email:owner", T0))
    assert found.id == first.id
    assert messages.get_unsettled(state, "slack:support", T0) is None
    messages.mark_sent(state, first, OK)
    assert (found := messages.get_unsettled(state, "email:owner", T0))
    assert found.id == second.id


def test_a_doubt_keeps_the_members_and_says_why(state: State) -> None:
    queue(state, 1, 2)
    message = claim(state, 1)

    messages.mark_in_doubt(state, message, "the connection was lost", T0 + MINUTE, lost=True)

    assert message_row(state, message)["status"] == "in_doubt"
    assert message_row(state, message)["error"] == "the connection was lost"
    assert due(state) == [2]
    assert status(state) == {1: "pending", 2: "pending"}


def test_another_attempt_is_counted_before_the_call(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)

    messages.count_attempt(
        state, replace(message, plain=True, builtin=True, service_time=T0), T0 + MINUTE
    )

    found = messages.get_unsettled(state, "email:owner", T0 + MINUTE)
    assert found is not None
    assert (found.attempts, found.attempted_at, found.service_time) == (2, T0 + MINUTE, T0)
    assert (found.plain, found.builtin) == (True, True)


def test_what_a_dead_process_left_is_to_be_settled_at_once(state: State) -> None:
    queue(state, 1)
    claim(state, 1)
    messages.recover(state)

    assert outbox.get_upcoming(state, "email:owner", T0).settle_at == T0
    assert messages.get_unsettled(state, "email:owner", T0) is not None


def test_what_a_dead_process_left_is_in_doubt(state: State) -> None:
    queue(state, 1, 2, 3, receivers=["email:owner", "slack:support"])
    sending, doubted, done = claim(state, 1), claim(state, 2), claim(state, 3)
    messages.mark_in_doubt(state, doubted, "lost", T0, lost=True)
    messages.mark_sent(state, done, OK)
    other = claim(state, 1, receiver="slack:support")

    assert messages.recover(state) == 2

    assert [message_row(state, each)["status"] for each in (sending, doubted, done, other)] == [
        "in_doubt",
        "in_doubt",
        "sent",
        "in_doubt",
    ]
    assert message_row(state, doubted)["error"] == "lost"
    assert messages.recover(state) == 0
    assert due(state) == []


# --- answers


def test_a_yes_takes_the_deliveries_out_of_the_outbox(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    message = claim(state, 1)

    messages.mark_sent(state, message, Receipt("ok", slack_channel="C1", slack_ts="17.1"))

    assert status(state) == {1: "sent", 2: "pending"}
    assert status(state, "slack:support") == {1: "pending", 2: "pending"}
    row = message_row(state, message)
    assert (row["status"], row["slack_channel"], row["slack_ts"], row["error"]) == (
        "sent",
        "C1",
        "17.1",
        None,
    )
    assert messages.get_unsettled(state, "email:owner", T0) is None


def test_addresses_that_refused_for_good_stay_on_record(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)

    messages.mark_sent(state, message, Receipt("ok", refused=2))

    assert message_row(state, message)["error"].startswith("2 of its addresses refused")


def test_a_refused_message_sets_its_deliveries_free(state: State) -> None:
    queue(state, 1, 2, 3)
    message = claim(state, 1, 2)

    messages.dissolve(state, message)

    assert due(state) == [1, 2, 3]
    assert state.value("SELECT count(*) FROM messages") == 0
    assert [each.grouping for each in outbox.due_deliveries(state, "email:owner", T0, 9)] == [
        Grouping.BURST
    ] * 3


def test_partly_taken_messages_wait_and_others_do_not(state: State) -> None:
    queue(state, 1, 2, 3)
    partial, doubted = claim(state, 1), claim(state, 2)
    messages.mark_in_doubt(state, doubted, "lost", T0, lost=True)

    messages.mark_partly_accepted(
        state, partial, {"b@example.com", "a@example.com"}, T0 + MINUTE, ""
    )

    assert (found := messages.get_unsettled(state, "email:owner", T0))
    assert found.id == doubted.id
    messages.mark_sent(state, doubted, OK)
    assert messages.get_unsettled(state, "email:owner", T0 + MINUTE - SECOND) is None
    assert due(state) == [3]
    assert (found := messages.get_unsettled(state, "email:owner", T0 + MINUTE))
    assert (found.id, found.to_left) == (partial.id, ("a@example.com", "b@example.com"))


def test_whatever_waits_for_some_addresses_waits_together(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    first, second, elsewhere = (
        claim(state, 1),
        claim(state, 2),
        claim(state, 1, receiver="slack:support"),
    )
    messages.mark_partly_accepted(state, first, ["b@example.com"], T0 + SECOND, "")
    messages.mark_partly_accepted(state, elsewhere, ["c@example.com"], T0 + SECOND, "")

    messages.mark_partly_accepted(state, second, ["b@example.com"], T0 + HOUR, "")

    assert message_row(state, first)["due_at"] == message_row(state, second)["due_at"]
    assert messages.get_unsettled(state, "email:owner", T0 + MINUTE) is None
    assert messages.get_unsettled(state, "slack:support", T0 + MINUTE) is not None


def test_a_partly_taken_message_that_is_sent_waits_no_more(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)
    messages.mark_partly_accepted(state, message, ["b@example.com"], T0 + MINUTE, "")

    messages.mark_sent(state, message, OK)

    row = message_row(state, message)
    assert (row["status"], row["to_left"], row["due_at"]) == ("sent", None, None)
    assert outbox.get_upcoming(state, "email:owner", T0).due_at is None


def test_a_message_that_is_given_up_stays_on_record_and_others_go_on(state: State) -> None:
    queue(state, 1, 2, 3)
    message = claim(state, 1, 2)

    messages.mark_failed(state, message, "554 no")

    assert status(state) == {1: "failed", 2: "failed", 3: "pending"}
    assert (message_row(state, message)["status"], message_row(state, message)["error"]) == (
        "failed",
        "554 no",
    )
    assert outbox.failed_count(state) == 2
    assert messages.get_unsettled(state, "email:owner", T0) is None
    assert due(state) == [3]


# --- when to settle


def test_a_message_in_doubt_waits_until_its_moment_and_lets_others_pass(state: State) -> None:
    queue(state, 1, 2, receivers=["slack:support"])
    first = in_doubt(state, 1, T0 + HOUR)
    second = in_doubt(state, 2, T0 + MINUTE)

    assert messages.is_in_doubt(state, "slack:support")
    assert messages.get_unsettled(state, "slack:support", T0) is None
    assert outbox.get_upcoming(state, "slack:support", T0).settle_at == T0 + MINUTE
    assert (found := messages.get_unsettled(state, "slack:support", T0 + MINUTE))
    assert found.id == second
    assert (found := messages.get_unsettled(state, "slack:support", T0 + HOUR))
    assert found.id == first


def test_what_is_about_the_review_of_a_message_in_doubt_waits_and_no_other(state: State) -> None:
    queue(state, 1, 2, receivers=["slack:support"])
    in_doubt(state, 1, T0 + MINUTE)
    worse = Alert(f"lowered:{SITE}:r1:1", AlertKind.LOWERED, SITE, "r1")
    with state.transaction():
        raised_alerts.raise_alerts(
            state,
            [raised_alerts.NewAlert(worse, [("slack:support", None), ("email:owner", None)])],
            T0,
        )

    assert due(state, "slack:support") == [2]
    assert due(state) == [3]


def test_a_clock_that_was_set_back_makes_no_message_in_doubt_wait_longer(state: State) -> None:
    queue(state, 1, receivers=["slack:support"])
    in_doubt(state, 1, T0 + MINUTE)

    assert messages.get_unsettled(state, "slack:support", T0 - HOUR) is not None
    assert outbox.get_upcoming(state, "slack:support", T0 - HOUR).settle_at == T0 - HOUR


def test_each_lost_answer_is_counted_and_begins_the_look_from_the_start(state: State) -> None:
    queue(state, 1, receivers=["slack:support"])
    in_doubt(state, 1)
    found = messages.get_unsettled(state, "slack:support", T0)
    assert found is not None
    messages.postpone(state, replace(found, looked_since=T0, look="around abc"), T0)

    searched = messages.get_unsettled(state, "slack:support", T0)
    assert searched is not None
    assert (searched.lost, searched.looked_since, searched.look) == (1, T0, "around abc")

    messages.mark_in_doubt(state, searched, "refused", T0, lost=False)
    kept = messages.get_unsettled(state, "slack:support", T0)
    assert kept is not None
    assert (kept.lost, kept.look) == (1, "around abc")

    messages.mark_in_doubt(state, kept, "lost", T0, lost=True)
    again = messages.get_unsettled(state, "slack:support", T0)
    assert again is not None
    assert (again.lost, again.looked_since, again.look) == (2, None, "")


def test_a_message_that_is_looked_for_is_still_so_after_the_process_died(state: State) -> None:
    queue(state, 1, receivers=["slack:support"])
    in_doubt(state, 1)
    found = messages.get_unsettled(state, "slack:support", T0)
    assert found is not None
    messages.postpone(state, replace(found, looked_since=T0, look="around abc"), T0)

    messages.recover(state)

    assert outbox.get_upcoming(state, "slack:support", T0).settle_at == T0
    kept = messages.get_unsettled(state, "slack:support", T0)
    assert kept is not None
    assert (kept.lost, kept.look) == (1, "around abc")


def test_a_retry_keeps_what_may_have_arrived_under_its_id(state: State) -> None:
    queue(state, 1, 2)
    doubted, refused = claim(state, 1), claim(state, 2)
    messages.mark_in_doubt(state, doubted, "lost", T0, lost=True)
    messages.mark_in_doubt(state, doubted, "lost", T0, lost=True)
    messages.mark_failed(state, doubted, "lost each time")
    messages.mark_failed(state, refused, "554")

    assert outbox.requeue(state)[0] == 2

    assert due(state) == [2]
    assert (found := messages.get_unsettled(state, "email:owner", T0))
    assert (found.id, found.uid, found.lost) == (doubted.id, doubted.uid, 1)


# --- taken in part


def test_a_mail_that_some_addresses_took_counts_as_sent_at_once(state: State) -> None:
    queue(state, 1)
    with state.transaction():
        reviews.put_reviews(
            state, SITE, [StoredReview(review("r1", 1, created=T0), Status.OPEN, T0)], T0
        )
    message = claim(state, 1)

    messages.mark_partly_accepted(state, message, ["b@example.com"], T0 + MINUTE, "Subject")

    assert status(state) == {1: "sent"}
    assert outbox.pending_count(state, ["email:owner"], T0) == 0
    assert outbox.get_upcoming(state, "email:owner", T0).settle_at == T0 + MINUTE
    assert not messages.is_in_doubt(state, "email:owner")
    assert state.value("SELECT count(*) FROM reminders WHERE destination = 'email:owner'") == 1
    row = message_row(state, message)
    assert (row["status"], row["subject"], row["to_left"]) == (
        "sent",
        "Subject",
        '["b@example.com"]',
    )


# --- to be changed


def test_words_to_erase_come_before_other_changes(state: State) -> None:
    queue(state, 1, 2, receivers=["slack:support"])
    first, second = (claim(state, number, receiver="slack:support") for number in (1, 2))
    messages.mark_sent(state, first, ON_SLACK)
    messages.mark_sent(state, second, ON_SLACK)
    make_stale(state, first.id)
    make_stale(state, second.id, erase=True)

    found = next_change(state)
    assert (found[0].id, found[0].erase, found[1]) == (second.id, True, 1)
    messages.postpone(state, replace(found[0], failing_since=T0), T0 + HOUR)
    assert stale_messages.unerased_count(state, "slack:support") == 1
    found = next_change(state)
    assert found[0].id == first.id
    stale_messages.mark_updated(state, *found)
    assert stale_messages.get_outdated(state, "slack:support", T0) is None
    assert outbox.get_upcoming(state, "slack:support", T0).update_at == T0 + HOUR


def test_a_change_that_came_during_the_call_is_made_next(state: State) -> None:
    queue(state, 1, receivers=["slack:support"])
    message = claim(state, 1, receiver="slack:support")
    messages.mark_sent(state, message, ON_SLACK)
    make_stale(state, message.id)
    found = next_change(state)
    make_stale(state, message.id)

    stale_messages.mark_updated(state, *found)

    found = next_change(state)
    assert found[1] == 2


def test_a_message_that_was_deleted_is_never_changed_again(state: State) -> None:
    queue(state, 1, receivers=["slack:support"])
    message = claim(state, 1, receiver="slack:support")
    messages.mark_sent(state, message, ON_SLACK)
    make_stale(state, message.id, erase=True)

    stale_messages.mark_deleted(state, message)
    make_stale(state, message.id)

    assert stale_messages.get_outdated(state, "slack:support", T0) is None
    assert stale_messages.unerased_count(state, "slack:support") == 0
