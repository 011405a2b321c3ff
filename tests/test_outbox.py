"""Deliveries, the messages that carry them, and who must not be called."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.models import Alert, AlertKind, Entry, Form, Grouping, Known, Message, Product, Receipt, Status
from alerter.store import State, blocks, lifetime, outbox, products, reminders, report, reviews
from alerter.store.blocks import Block
from alerter.store.outbox import Due
from tests.conftest import SITE, review

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SCOPES = ["destination:email:owner", "service:smtp"]
OK = Receipt("250 ok")


def alert(number: int, **detail: Any) -> Alert:
    return Alert(f"new:{SITE}:r{number}", AlertKind.NEW, SITE, f"r{number}", detail)


def queue(
    state: State,
    *numbers: int,
    receivers: Sequence[str] = ("email:owner",),
    due_at: datetime | None = None,
    grouping: Grouping = Grouping.BURST,
) -> None:
    """Raise an alert for each number, bound for these receivers. In a fresh state file its id is that number."""
    with state.transaction():
        raised = [reviews.Raised(alert(number), [(name, due_at) for name in receivers], grouping) for number in numbers]
        assert reviews.raise_alerts(state, raised, T0) == len(numbers)


def claim(state: State, *alerts: int, receiver: str = "email:owner", now: datetime = T0) -> Message:
    form = Form.DIGEST if len(alerts) > 1 else Form.ALERT
    return outbox.claim(state, receiver, form, alerts, f"{receiver}-{alerts}-{now:%H%M}@alerter", now)


def due(state: State, receiver: str = "email:owner", now: datetime = T0, most: int = 100) -> list[int]:
    return [each.alert for each in outbox.due(state, receiver, now, most)]


def status(state: State, receiver: str = "email:owner") -> dict[int, str]:
    """Where a receiver's deliveries stand."""
    rows = state.rows("SELECT alert, status FROM deliveries WHERE destination = ? ORDER BY alert", [receiver])
    return {row["alert"]: row["status"] for row in rows}


def message_row(state: State, message: Message) -> Mapping[str, Any]:
    row = state.row("SELECT * FROM messages WHERE id = ?", [message.id])
    assert row is not None
    return row


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

    assert outbox.due(state, "email:owner", T0, 10) == [Due(number, each) for number, each in enumerate(Grouping, 1)]


def test_the_next_due_moment_is_the_earliest_of_what_waits(state: State) -> None:
    assert outbox.next_due(state, "email:owner") is None
    queue(state, 1, due_at=T0 + HOUR)
    queue(state, 2, due_at=T0 + MINUTE)
    queue(state, 3, receivers=["slack:support"], due_at=T0)

    assert outbox.next_due(state, "email:owner") == T0 + MINUTE


def test_a_partly_taken_message_counts_for_the_next_due_moment(state: State) -> None:
    queue(state, 1, 2, due_at=T0)
    outbox.partly_taken(state, claim(state, 1), ["b@example.com"], T0 + MINUTE)
    outbox.sent(state, claim(state, 2), OK, [])

    assert outbox.next_due(state, "email:owner") == T0 + MINUTE


def test_nothing_is_next_when_all_is_sent_failed_or_cancelled(state: State) -> None:
    queue(state, 1, 2)
    outbox.sent(state, claim(state, 1), OK, [])
    outbox.failed(state, claim(state, 2), "554")

    assert outbox.next_due(state, "email:owner") is None


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
        reviews.put_reviews(state, SITE, [Known(about, Status.OPEN, T0)], T0)
    products.put(state, SITE, "p1", Product("Rye bread", "https://example.com/rye"), T0)

    message = claim(state, 2, 1)

    assert message.entries == (
        Entry(alert(1), about, Product("Rye bread", "https://example.com/rye")),
        Entry(alert(2), None, Product()),
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


def test_a_claim_of_what_was_cancelled_meanwhile_leaves_no_empty_message_behind(state: State) -> None:
    queue(state, 1, 2)
    assert due(state) == [1, 2]
    with state.transaction():
        reviews.cancel_unsent(state, SITE, "r1")

    claim(state, 1)

    left = outbox.under_way(state, "email:owner", T0)
    assert left is None or left.entries


# --- under way, in doubt


def test_a_message_without_an_answer_is_in_doubt_with_the_same_members_and_name(state: State) -> None:
    queue(state, 1, 2, 3)
    message = claim(state, 1, 2)

    found = outbox.under_way(state, "email:owner", T0 + MINUTE)

    assert found is not None
    assert found.in_doubt
    assert (found.id, found.uid, found.entries, found.form) == (message.id, message.uid, message.entries, Form.DIGEST)
    assert found.attempted_at == T0


def test_messages_under_way_come_oldest_first_and_for_their_receiver_only(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    first, second = claim(state, 1), claim(state, 2)

    assert (found := outbox.under_way(state, "email:owner", T0))
    assert found.id == first.id
    assert outbox.under_way(state, "slack:support", T0) is None
    outbox.sent(state, first, OK, [])
    assert (found := outbox.under_way(state, "email:owner", T0))
    assert found.id == second.id


def test_a_doubt_keeps_the_members_and_says_why(state: State) -> None:
    queue(state, 1, 2)
    message = claim(state, 1)

    outbox.doubt(state, message, "the connection was lost")

    assert message_row(state, message)["status"] == "in_doubt"
    assert message_row(state, message)["error"] == "the connection was lost"
    assert due(state) == [2]
    assert status(state) == {1: "pending", 2: "pending"}


def test_another_attempt_is_counted_before_the_call(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)

    outbox.attempt_again(state, message, T0 + MINUTE, plain=True)

    found = outbox.under_way(state, "email:owner", T0 + MINUTE)
    assert found is not None
    assert (found.attempts, found.attempted_at, found.plain) == (2, T0 + MINUTE, True)


def test_what_a_dead_process_left_is_in_doubt(state: State) -> None:
    queue(state, 1, 2, 3, receivers=["email:owner", "slack:support"])
    sending, doubted, done = claim(state, 1), claim(state, 2), claim(state, 3)
    outbox.doubt(state, doubted, "lost")
    outbox.sent(state, done, OK, [])
    other = claim(state, 1, receiver="slack:support")

    assert outbox.recover(state) == 2

    assert [message_row(state, each)["status"] for each in (sending, doubted, done, other)] == [
        "in_doubt",
        "in_doubt",
        "sent",
        "in_doubt",
    ]
    assert message_row(state, doubted)["error"] == "lost"
    assert outbox.recover(state) == 0
    assert due(state) == []


# --- answers


def test_a_yes_takes_the_deliveries_out_of_the_outbox(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    message = claim(state, 1)

    outbox.sent(state, message, Receipt("ok", slack_channel="C1", slack_ts="17.1"), [])

    assert status(state) == {1: "sent", 2: "pending"}
    assert status(state, "slack:support") == {1: "pending", 2: "pending"}
    row = message_row(state, message)
    assert (row["status"], row["slack_channel"], row["slack_ts"], row["error"]) == ("sent", "C1", "17.1", None)
    assert outbox.under_way(state, "email:owner", T0) is None


def test_addresses_that_refused_for_good_stay_on_record(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)

    outbox.sent(state, message, Receipt("ok", refused=2), [])

    assert message_row(state, message)["error"].startswith("2 of its addresses refused")


def test_a_yes_ends_what_blocked_the_receiver_and_its_service(state: State) -> None:
    for scope in (*SCOPES, "receiver:other"):
        blocks.hold_back(state, scope, T0, T0 + SECOND, "500")
    queue(state, 1)

    outbox.sent(state, claim(state, 1, now=T0 + MINUTE), OK, SCOPES)

    assert [blocks.failing_since(state, scope) for scope in SCOPES] == [None, None]
    assert blocks.failing_since(state, "receiver:other") == T0


@pytest.mark.parametrize("until", [T0 + HOUR, None], ids=["a wait", "a parking"])
def test_a_yes_does_not_end_a_block_that_was_set_after_the_attempt(state: State, until: datetime | None) -> None:
    queue(state, 1)
    message = claim(state, 1)
    blocks.hold_back(state, "service:smtp", T0 + SECOND, until, "slow down")
    blocks.hold_back(state, "destination:email:owner", T0, until, "500")

    outbox.sent(state, message, OK, SCOPES)

    assert blocks.held_back(state, "service:smtp", T0 + MINUTE)
    assert not blocks.held_back(state, "destination:email:owner", T0 + MINUTE)


def test_a_refused_message_sets_its_deliveries_free(state: State) -> None:
    queue(state, 1, 2, 3)
    message = claim(state, 1, 2)

    outbox.dissolve(state, message)

    assert due(state) == [1, 2, 3]
    assert state.value("SELECT count(*) FROM messages") == 0
    assert [each.grouping for each in outbox.due(state, "email:owner", T0, 9)] == [Grouping.BURST] * 3


def test_a_refused_digest_can_be_taken_apart(state: State) -> None:
    queue(state, 1, 2, 3)

    outbox.dissolve(state, claim(state, 1, 2), Grouping.EACH)

    assert [each.grouping for each in outbox.due(state, "email:owner", T0, 9)] == [
        Grouping.EACH,
        Grouping.EACH,
        Grouping.BURST,
    ]


def test_partly_taken_messages_wait_and_others_do_not(state: State) -> None:
    queue(state, 1, 2, 3)
    partial, doubted = claim(state, 1), claim(state, 2)
    outbox.doubt(state, doubted, "lost")

    outbox.partly_taken(state, partial, {"b@example.com", "a@example.com"}, T0 + MINUTE)

    assert (found := outbox.under_way(state, "email:owner", T0))
    assert found.id == doubted.id
    outbox.sent(state, doubted, OK, [])
    assert outbox.under_way(state, "email:owner", T0 + MINUTE - SECOND) is None
    assert due(state) == [3]
    assert (found := outbox.under_way(state, "email:owner", T0 + MINUTE))
    assert (found.id, found.to_left) == (partial.id, ("a@example.com", "b@example.com"))


def test_whatever_waits_for_some_addresses_waits_together(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    first, second, elsewhere = claim(state, 1), claim(state, 2), claim(state, 1, receiver="slack:support")
    outbox.partly_taken(state, first, ["b@example.com"], T0 + SECOND)
    outbox.partly_taken(state, elsewhere, ["c@example.com"], T0 + SECOND)

    outbox.partly_taken(state, second, ["b@example.com"], T0 + HOUR)

    assert message_row(state, first)["due_at"] == message_row(state, second)["due_at"]
    assert outbox.under_way(state, "email:owner", T0 + MINUTE) is None
    assert outbox.under_way(state, "slack:support", T0 + MINUTE) is not None


def test_a_partly_taken_message_that_is_sent_waits_no_more(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)
    outbox.partly_taken(state, message, ["b@example.com"], T0 + MINUTE)

    outbox.sent(state, message, OK, [])

    row = message_row(state, message)
    assert (row["status"], row["to_left"], row["due_at"]) == ("sent", None, None)
    assert outbox.next_due(state, "email:owner") is None


# --- failed, retried, cancelled


def test_a_message_that_is_given_up_stays_on_record_and_others_go_on(state: State) -> None:
    queue(state, 1, 2, 3)
    message = claim(state, 1, 2)

    outbox.failed(state, message, "554 no")

    assert status(state) == {1: "failed", 2: "failed", 3: "pending"}
    assert (message_row(state, message)["status"], message_row(state, message)["error"]) == ("failed", "554 no")
    assert outbox.failures(state) == 2
    assert outbox.under_way(state, "email:owner", T0) is None
    assert due(state) == [3]


def test_a_retry_queues_what_failed_and_tries_what_is_parked(state: State) -> None:
    queue(state, 1, 2, 3)
    outbox.failed(state, claim(state, 1), "554")
    outbox.sent(state, claim(state, 2), OK, [])
    blocks.hold_back(state, "destination:email:owner", T0, None, "550")

    assert outbox.requeue(state) == (1, 1)

    assert due(state) == [1, 3]
    assert outbox.failures(state) == 0
    assert not blocks.held_back(state, "receiver:owner", T0)
    assert claim(state, 1, now=T0 + HOUR).attempts == 1


def test_a_retry_does_not_call_a_service_before_the_time_that_it_named(state: State) -> None:
    blocks.hold_back(state, "service:slack", T0, T0 + HOUR, "429")

    assert outbox.requeue(state) == (0, 0)

    assert blocks.held_back(state, "service:slack", T0 + MINUTE)


def test_what_waits_for_a_receiver_that_the_config_does_not_name_is_cancelled(state: State) -> None:
    queue(state, 1, 2, 3, receivers=["email:owner", "renamed"])
    kept = claim(state, 1)
    outbox.sent(state, claim(state, 1, receiver="renamed"), OK, [])
    doubted = claim(state, 2, receiver="renamed")

    assert outbox.cancel_for_others(state, ["email:owner", "slack:support"]) == ["renamed"]

    assert status(state, "renamed") == {1: "sent", 2: "cancelled", 3: "cancelled"}
    assert status(state) == dict.fromkeys((1, 2, 3), "pending")
    assert outbox.under_way(state, "renamed", T0) is None
    assert message_row(state, doubted)["status"] == "failed"
    assert message_row(state, kept)["status"] == "sending"
    assert outbox.cancel_for_others(state, ["email:owner", "slack:support"]) == []


def test_what_was_cancelled_or_sent_is_not_touched_by_a_late_answer(state: State) -> None:
    queue(state, 1)
    message = claim(state, 1)
    outbox.cancel_for_others(state, ["slack:support"])

    outbox.sent(state, message, OK, [])

    assert status(state) == {1: "cancelled"}


def test_pending_counts_what_these_receivers_have_not_got_yet(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"])
    queue(state, 3, receivers=["slack:other"])
    claim(state, 1)
    outbox.sent(state, claim(state, 2), OK, [])

    assert outbox.pending(state, ["email:owner"], T0) == 1
    assert outbox.pending(state, ["email:owner", "slack:support"], T0) == 3
    assert outbox.pending(state, [], T0) == 0


def test_what_is_held_until_later_is_not_counted_as_pending_before(state: State) -> None:
    queue(state, 1, due_at=T0 + HOUR)

    assert outbox.pending(state, ["email:owner"], T0) == 0
    assert outbox.pending(state, ["email:owner"], T0 + HOUR) == 1


def test_what_is_held_of_a_review_leaves_with_what_is_said_of_it_before(state: State) -> None:
    queue(state, 1, 2, receivers=["email:owner", "slack:support"], due_at=T0 + HOUR)
    urgent = Alert(f"lowered:{SITE}:r1:1", AlertKind.LOWERED, SITE, "r1")
    with state.transaction():
        reviews.raise_alerts(state, [reviews.Raised(urgent, [("email:owner", None)])], T0)

    assert due(state) == [1, 3]
    assert due(state, "slack:support") == []


# --- blocks


def test_a_scope_that_nobody_blocked_is_free(state: State) -> None:
    assert blocks.of(state, SCOPES, T0) is None
    assert blocks.failing_since(state, "destination:email:owner") is None


def test_a_wait_holds_until_its_moment_and_no_longer(state: State) -> None:
    blocks.hold_back(state, "destination:email:owner", T0, T0 + MINUTE, "timeout")

    assert blocks.of(state, SCOPES, T0) == Block(
        "destination:email:owner", T0, T0 + MINUTE, parked=False, reason="timeout"
    )
    assert blocks.held_back(state, "destination:email:owner", T0 + MINUTE - timedelta(milliseconds=1))
    assert not blocks.held_back(state, "destination:email:owner", T0 + MINUTE)
    assert not blocks.held_back(state, "receiver:other", T0)


def test_a_run_of_failures_keeps_its_beginning(state: State) -> None:
    for number in range(3):
        now = T0 + number * HOUR
        blocks.hold_back(state, "destination:email:owner", now, now + MINUTE, f"failure {number}")

    assert blocks.failing_since(state, "destination:email:owner") == T0
    assert blocks.of(state, SCOPES, T0 + 2 * HOUR) == Block(
        "destination:email:owner", T0, T0 + 2 * HOUR + MINUTE, parked=False, reason="failure 2"
    )


def test_a_wait_that_is_over_still_tells_when_the_failures_began(state: State) -> None:
    blocks.hold_back(state, "destination:email:owner", T0, T0 + SECOND, "timeout")

    assert not blocks.held_back(state, "destination:email:owner", T0 + HOUR)
    assert blocks.failing_since(state, "destination:email:owner") == T0


def test_a_parked_scope_is_tried_after_an_hour(state: State) -> None:
    blocks.hold_back(state, "destination:email:owner", T0, T0 + SECOND, "timeout")
    blocks.hold_back(state, "destination:email:owner", T0 + SECOND, None, "channel_not_found")
    blocks.hold_back(state, "service:smtp", T0, T0 + HOUR, "421")

    until = T0 + SECOND + HOUR
    assert blocks.parked(state) == [
        Block("destination:email:owner", T0, until, parked=True, reason="channel_not_found")
    ]
    assert blocks.held_back(state, "destination:email:owner", until - SECOND)
    assert not blocks.held_back(state, "destination:email:owner", until)


def test_the_try_of_what_is_parked_is_taken_once_an_hour(state: State) -> None:
    blocks.hold_back(state, "service:slack", T0, None, "invalid_auth")
    with state.transaction():
        assert blocks.try_soon(state) == ["service:slack"]
    assert not blocks.held_back(state, "service:slack", T0 + SECOND)

    [tried] = blocks.claim_try(state, ["destination:slack:support", "service:slack"], T0 + SECOND)

    assert tried == "service:slack"
    assert blocks.held_back(state, "service:slack", T0 + SECOND)
    assert not blocks.held_back(state, "service:slack", T0 + SECOND + HOUR)
    assert [block.scope for block in blocks.parked(state)] == ["service:slack"]


def test_a_failed_try_for_another_reason_leaves_the_next_one_to_its_hour(state: State) -> None:
    blocks.hold_back(state, "service:slack", T0, None, "invalid_auth")
    blocks.claim_try(state, ["service:slack"], T0 + HOUR)
    blocks.hold_back(state, "service:slack", T0 + HOUR, T0 + HOUR + SECOND, "timeout")

    assert blocks.held_back(state, "service:slack", T0 + HOUR + MINUTE)
    assert blocks.parked(state)[0].reason == "invalid_auth"


def test_bad_addresses_are_tried_like_what_is_parked_and_park_nothing(state: State) -> None:
    blocks.hold_back(state, "addresses:owner", T0, None, "550")
    with state.transaction():
        assert blocks.try_soon(state) == []

    assert blocks.parked(state) == []
    assert blocks.claim_try(state, ["addresses:owner"], T0) == ["addresses:owner"]


@pytest.mark.parametrize("order", [1, -1], ids=["the receiver's first", "the service's first"])
@pytest.mark.parametrize(
    ("receiver", "service", "longest"),
    [
        (T0 + HOUR, T0 + MINUTE, "destination:email:owner"),
        (T0 + MINUTE, T0 + HOUR, "service:smtp"),
        (None, T0 + HOUR * 2, "destination:email:owner"),
        (T0 + HOUR * 2, None, "service:smtp"),
        (T0 - SECOND, T0 + MINUTE, "service:smtp"),
    ],
    ids=["the receiver's", "the service's", "the receiver is parked", "the service is parked", "one is over"],
)
def test_of_several_blocks_the_one_that_holds_longest_counts(
    state: State, receiver: datetime | None, service: datetime | None, longest: str, order: int
) -> None:
    for scope, until in [("destination:email:owner", receiver), ("service:smtp", service)][::order]:
        blocks.hold_back(state, scope, T0 - MINUTE, until, "reason")

    found = blocks.of(state, SCOPES[::order], T0)

    assert found is not None
    assert found.scope == longest


@pytest.mark.parametrize("back", [timedelta(milliseconds=1), timedelta(days=400)], ids=["a little", "a year"])
def test_a_clock_that_is_set_back_ends_every_wait(state: State, back: timedelta) -> None:
    blocks.hold_back(state, "destination:email:owner", T0, T0 + MINUTE, "timeout")
    blocks.hold_back(state, "service:smtp", T0, None, "535")

    assert not blocks.held_back(state, "destination:email:owner", T0 - back)
    assert not blocks.held_back(state, "service:smtp", T0 - back)
    blocks.claim_try(state, ["service:smtp"], T0 - back)
    assert blocks.held_back(state, "service:smtp", T0 - back)


def test_a_failure_after_the_clock_was_set_back_is_waited_for_anew(state: State) -> None:
    blocks.hold_back(state, "destination:email:owner", T0, T0 + MINUTE, "timeout")
    blocks.hold_back(state, "destination:email:owner", T0 - HOUR, T0 - HOUR + MINUTE, "timeout")

    assert blocks.held_back(state, "destination:email:owner", T0 - HOUR + SECOND)
    assert not blocks.held_back(state, "destination:email:owner", T0)
    assert blocks.failing_since(state, "destination:email:owner") == T0 - HOUR


def test_a_shorter_wait_does_not_cut_a_longer_one_short(state: State) -> None:
    blocks.hold_back(state, "service:slack", T0, T0 + HOUR, "429 to one receiver")
    blocks.hold_back(state, "service:slack", T0 + SECOND, T0 + MINUTE, "429 to another, under way at that time")

    assert blocks.held_back(state, "service:slack", T0 + 2 * MINUTE)


def test_a_wait_does_not_end_a_parking(state: State) -> None:
    blocks.hold_back(state, "service:slack", T0, None, "invalid_auth to one receiver")
    blocks.hold_back(state, "service:slack", T0 + SECOND, T0 + MINUTE, "429 to another, under way at that time")

    assert blocks.held_back(state, "service:slack", T0 + HOUR - SECOND)


def test_lifting_frees_these_scopes_and_no_others(state: State) -> None:
    for scope in (*SCOPES, "site:1"):
        blocks.hold_back(state, scope, T0, None, "reason")

    with state.transaction():
        assert blocks.lift(state, ["destination:email:owner", "site:1", "site:2"]) == [
            "destination:email:owner",
            "site:1",
        ]

    assert [block.scope for block in blocks.parked(state)] == ["service:smtp"]


# --- what it costs


def test_no_query_looks_through_a_whole_table(state: State) -> None:
    asked: set[str] = set()
    state._conn.set_trace_callback(asked.add)
    queue(state, 1, 2, 3)
    outbox.sent(state, claim(state, 1), OK, SCOPES)
    outbox.dissolve(state, claim(state, 2))
    outbox.failed(state, claim(state, 3), "refused")
    outbox.under_way(state, "email:owner", T0)
    outbox.stale(state, "email:owner")
    outbox.next_due(state, "email:owner")
    outbox.pending(state, ["email:owner"], T0)
    outbox.failures(state)
    lifetime.told(state, SITE, "r1")
    reminders.get_reminders(state, SITE, T0, [timedelta(hours=1)], timedelta(days=30))
    reminders.correct_reminders(state, SITE, T0)
    reviews.alerted_destinations(state, SITE, "r1")
    reviews.first_alert(state, SITE, "r1")
    lifetime.followed(state, SITE, T0, 2)
    reviews.cancel_unsent(state, SITE, "r1")
    reviews.cancel_closing(state, SITE, "r1")
    report.sites(state)
    report.oldest_pending(state)
    state._conn.set_trace_callback(None)
    plans = [
        (row["detail"], sql)
        for sql in asked
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
        for row in state.rows(f"EXPLAIN QUERY PLAN {sql}")
    ]
    assert len(plans) > 50
    tables = ("reviews", "alerts", "messages", "deliveries", "reminders")
    assert [plan for plan in plans if plan[0].startswith(tuple(f"SCAN {table}" for table in tables))] == []
