"""A message whose answer was lost: Slack is searched for it, a mail is sent at most three times."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.models import CloseReason, Form, Message, Status, StoredReview
from alerter.notify.in_doubt import Step, next_step, wait_after_loss
from alerter.notify.worker import Idle, IdleReason
from alerter.store import blocks, outbox, stale_messages, troubles
from alerter.store.reviews import put_reviews
from tests.support.clock import SetClock
from tests.support.desk import (
    Desk,
    Start,
    asked,
    blocked,
    config,
    deliveries,
    desk,
    mailed,
    many,
    posted,
    queue,
    saying,
    sending,
    slack,
    start,
)
from tests.support.reviews import review
from tests.support.values import CHANNEL, SECRETS, SITE

__all__ = ["config", "desk", "slack", "start"]

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LOST = Message(1, "uid", "slack:support", Form.ALERT, (), T0, lost=1)
LOOKED = replace(LOST, looked_since=T0)
NOTE = "This may be a repeat"


@pytest.mark.parametrize(
    ("message", "after", "seen", "step"),
    [
        (replace(LOST, lost=0), timedelta(), {}, Step.SEND),
        (LOST, timedelta(days=1), {}, Step.LOOK),
        (LOOKED, timedelta(minutes=9), {}, Step.LOOK),
        (LOOKED, timedelta(minutes=10), {}, Step.REPEAT),
        (LOOKED, -timedelta(minutes=10), {}, Step.REPEAT),
        (replace(LOOKED, due_at=T0 + 10 * MINUTE), timedelta(minutes=10), {}, Step.REPEAT),
        (replace(LOOKED, due_at=T0 + MINUTE), timedelta(hours=8), {}, Step.LOOK),
        (replace(LOOKED, lost=2, due_at=T0 + MINUTE), timedelta(hours=8), {}, Step.LOOK),
        (LOST, timedelta(), {"blind": True}, Step.REPEAT),
        (replace(LOST, lost=2), timedelta(), {"blind": True}, Step.LOOK),
        (replace(LOOKED, lost=2), timedelta(minutes=9), {"blind": True}, Step.LOOK),
        (replace(LOOKED, lost=2), timedelta(minutes=10), {}, Step.GIVE_UP),
        (replace(LOST, lost=2), timedelta(), {"can_look": False, "keeps_uid": True}, Step.SEND),
        (replace(LOST, lost=3), timedelta(), {"can_look": False, "keeps_uid": True}, Step.GIVE_UP),
        (LOST, timedelta(), {"can_look": False}, Step.REPEAT),
        (replace(LOST, lost=2), timedelta(), {"can_look": False}, Step.GIVE_UP),
    ],
    ids=[
        "has certainly not arrived",
        "was never looked for",
        "is being looked for",
        "looked for ten minutes",
        "looked before the clock was set back",
        "looked for when it was due",
        "not looked for when it was due",
        "the repeat was not looked for when it was due",
        "cannot be looked for",
        "the repeat cannot be looked for",
        "the repeat cannot be looked for yet",
        "the repeat was looked for ten minutes",
        "a mail lost twice",
        "a mail lost three times",
        "without an id that the service knows",
        "repeated without an id that the service knows",
    ],
)
def test_the_next_step(
    message: Message, after: timedelta, seen: dict[str, Any], step: Step
) -> None:
    assert next_step(message, T0 + after, **{"can_look": True} | seen) is step


@pytest.mark.parametrize(("lost", "seconds"), [(0, 5), (1, 60), (2, 60)])
def test_a_mail_waits_five_seconds_and_then_a_minute(lost: int, seconds: int) -> None:
    message = replace(LOST, lost=lost)
    wait = wait_after_loss(message, timedelta(), can_look=False, keeps_uid=True)
    assert wait == timedelta(seconds=seconds)
    assert wait_after_loss(message, MINUTE, can_look=True, keeps_uid=False) == MINUTE


@pytest.mark.parametrize(("lost", "seconds"), [(0, 5), (1, 0)])
def test_what_has_no_id_and_no_look_is_repeated_once_and_given_up(lost: int, seconds: int) -> None:
    message = replace(LOST, lost=lost)
    wait = wait_after_loss(message, timedelta(), can_look=False, keeps_uid=False)
    assert wait == timedelta(seconds=seconds)


# On Slack


async def test_a_look_by_slacks_own_clock_is_one_call(desk: Desk, slack: EmbeddedSlack) -> None:
    slack.skew = 4000
    queue(desk.state, "r1")
    await desk.work()
    queue(desk.state, "r2")
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.work()
    assert posted(slack) == [["r1"], ["r2"]]
    assert len(asked(slack, "conversations.history")) == 1


@pytest.mark.parametrize("skew", [-4000, 4000])
async def test_a_post_is_found_though_slacks_clock_is_another(
    desk: Desk, slack: EmbeddedSlack, skew: int
) -> None:
    slack.skew = skew
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.work()
    assert posted(slack) == [["r1"]]
    assert deliveries(desk.state) == {"sent": 1}


async def test_a_post_that_much_was_said_after_is_found_where_history_is_limited(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], limited_history=True)
    queue(desk.state, "r1")
    await desk.work()
    queue(desk.state, "r2")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    clock.advance(minutes=6)
    for number in range(100):
        slack.say(CHANNEL, f"{number}")
    await desk.work()
    assert posted(slack) == [["r1"], ["r2"]]
    assert deliveries(desk.state) == {"sent": 2}


async def test_a_look_that_is_throttled_holds_up_no_post(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    slack.throttle("conversations.history", 200)
    clock.advance(seconds=6)
    assert await desk.step() is None
    assert blocked(desk.state, clock.now())["method:slack:look"] == 194
    queue(desk.state, "r2", receivers=("slack:support", "slack:team"))
    await desk.step("slack:team")
    await desk.work(within=100)
    assert posted(slack) == [["r1"], ["r2"], ["r2"]]
    assert len(asked(slack, "conversations.history")) == 1
    await desk.work()
    assert posted(slack) == [["r1"], ["r2"], ["r2"]]
    assert deliveries(desk.state) == {"sent": 2}


async def test_after_ten_minutes_of_throttled_looks_it_is_posted_with_a_note(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    slack.throttle("conversations.history", 86400)
    began = clock.monotonic()
    await desk.work()
    assert posted(slack) == [["r1"], ["r1"]]
    assert 600 <= clock.monotonic() - began < 700
    assert [NOTE in str(post.blocks) for post in slack.posts] == [False, True]
    assert slack.posts[0].metadata == slack.posts[1].metadata
    assert deliveries(desk.state) == {"sent": 1}


async def test_a_repeat_in_doubt_for_ten_minutes_has_failed_and_is_trouble(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", *[Fault(drop="after")] * 2)
    slack.throttle("conversations.history", 86400)
    await desk.work()
    assert posted(slack) == [["r1"], ["r1"]]
    assert deliveries(desk.state) == {"failed": 1}
    assert "message:slack:support" in [
        each.scope for each in troubles.get_open_troubles(desk.state)
    ]


async def test_a_machine_that_slept_looks_once_more_before_it_repeats(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    slack.throttle("conversations.history", 30)
    await desk.work(within=6)
    clock.advance(hours=8)
    await desk.work()
    assert posted(slack) == [["r1"]]
    assert deliveries(desk.state) == {"sent": 1}


async def test_after_a_long_outage_slack_is_searched_before_a_post_is_repeated(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    slack.throttle("conversations.history", 30)
    await desk.work(within=6)
    slack.faults.always("conversations.history", Fault(status=503))
    await desk.work(within=3600)
    slack.faults.clear()
    await desk.work()
    assert posted(slack) == [["r1"]]
    assert deliveries(desk.state) == {"sent": 1}


async def test_a_machine_that_slept_and_is_throttled_then_repeats_it_once(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    slack.throttle("conversations.history", 86400 * 2)
    await desk.work(within=6)
    clock.advance(hours=8)
    await desk.work()
    assert posted(slack) == [["r1"], ["r1"]]
    assert deliveries(desk.state) == {"sent": 1}


async def test_a_lost_answer_is_found_by_the_first_look_where_history_is_limited(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], limited_history=True)
    for number in range(100):
        slack.say(CHANNEL, f"before {number}")
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    for number in range(14):
        slack.say(CHANNEL, f"after {number}")
    await desk.work()
    assert posted(slack) == [["r1"]]
    assert len(asked(slack, "conversations.history")) == 1


async def test_where_history_is_limited_a_busy_channel_is_read_on_a_minute_later(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], limited_history=True)
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    for number in range(40):
        slack.say(CHANNEL, f"after {number}")
    queue(desk.state, "r2", "r3")
    await desk.work(within=30)
    assert posted(slack) == [["r1"], ["r2"], ["r3"]]
    await desk.work()
    assert posted(slack) == [["r1"], ["r2"], ["r3"]]
    assert deliveries(desk.state) == {"sent": 3}


@pytest.mark.parametrize("method", ["conversations.history", "chat.update"])
async def test_what_is_throttled_for_a_minute_now_and_then_is_no_trouble(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock, method: str
) -> None:
    for number in range(3):
        queue(desk.state, f"r{number}")
        slack.faults.add("chat.postMessage", Fault(drop="after"))
        slack.throttle(method, 60)
        with desk.state.transaction():
            stale_messages.mark_stale(desk.state, SITE, ["r0"] if number else [])
        await desk.work(within=30)
        desk.dispatcher.troubles.refresh()
        assert troubles.get_open_troubles(desk.state) == []
        await desk.work()
        clock.advance(hours=5)


async def test_a_retry_of_a_repeat_that_failed_looks_before_it_posts(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", *[Fault(drop="after")] * 2)
    slack.throttle("conversations.history", 5000)
    await desk.work()
    clock.advance(seconds=5000)
    assert outbox.requeue(desk.state)[0] == 1
    await desk.work()
    assert posted(slack) == [["r1"], ["r1"]]
    assert deliveries(desk.state) == {"sent": 1}


async def test_where_slack_allows_no_look_a_post_is_repeated_with_a_note(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=["chat:write"])
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.work()
    assert clock.monotonic() < 60
    assert [NOTE in str(post.blocks) for post in slack.posts] == [False, True]


async def test_a_look_goes_on_after_a_restart_where_it_was(
    start: Start, slack: EmbeddedSlack, clock: SetClock
) -> None:
    desk = await start()
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.step()
    clock.advance(minutes=1)
    for number in range(250):
        slack.say(CHANNEL, f"{number}")
    assert await desk.step() is None
    again = await start()
    clock.advance(seconds=5)
    await again.step()
    first, second = [call for call in slack.requests if call.method == "conversations.history"]
    assert "cursor" not in first.args
    assert second.args["cursor"]


async def test_a_service_that_names_a_time_with_its_5xx_is_left_alone_until_then(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add(
        "chat.postMessage", saying("service_unavailable", 503, **{"Retry-After": "77"})
    )
    await desk.step()
    assert blocked(desk.state, clock.now()) == {"service:slack": 77.0}
    assert sending(desk.state) == [("in_doubt", 1)]


@pytest.mark.parametrize("error", ["no_permission", "access_denied"])
async def test_what_slack_does_not_permit_in_a_channel_parks_that_channel_only(
    desk: Desk, slack: EmbeddedSlack, error: str
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "slack:team"))
    slack.faults.add("chat.postMessage", saying(error))
    await desk.step()
    await desk.step("slack:team")
    assert [block.scope for block in blocks.get_parked(desk.state)] == ["destination:slack:support"]
    assert posted(slack) == [["r1"]]


async def test_a_redirect_is_not_followed_and_leaves_nothing_in_doubt(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.faults.add(
        "chat.postMessage",
        Fault(status=307, headers={"Location": slack.base_url + "chat.postMessage"}),
    )
    await desk.step()
    assert len(slack.requests) == 1
    assert sending(desk.state) == []
    await desk.work()
    assert posted(slack) == [["r1"]]


async def test_a_check_is_good_where_only_looks_are_throttled(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], limited_history=True)
    notifier = desk.dispatcher._workers["slack:support"]._destination.notifier
    for _ in range(3):
        assert all(finding.ok for finding in await notifier.check())


# By mail


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_mail_whose_answer_is_lost_each_time_goes_out_three_times_in_all(
    desk: Desk, mailbox: Mailbox, drop: Any
) -> None:
    queue(desk.state, "r1", receivers=("email:owner",))
    mailbox.drop.extend([drop] * 3)
    await desk.work("email:owner")
    assert desk.state.value("SELECT status FROM messages ORDER BY id") == "failed"
    copies = [mail for mail in mailbox.mails if "<r1>" in mail.text]
    assert len(copies) == (3 if drop == "after" else 0)
    assert len({mail.message_id for mail in copies}) <= 1
    assert "message:email:owner" in [each.scope for each in troubles.get_open_troubles(desk.state)]
    queue(desk.state, "r2", receivers=("email:owner",))
    await desk.work("email:owner")
    assert mailed(mailbox)[-1] == ["r2"]


async def test_a_retry_of_a_mail_that_was_lost_keeps_its_message_id(
    desk: Desk, mailbox: Mailbox
) -> None:
    queue(desk.state, "r1", receivers=("email:owner",))
    mailbox.drop.extend(["after"] * 3)
    await desk.work("email:owner")
    assert desk.state.value("SELECT status FROM messages ORDER BY id") == "failed"
    outbox.requeue(desk.state)
    await desk.work("email:owner")
    copies = [mail for mail in mailbox.mails if "<r1>" in mail.text]
    assert len(copies) == 4
    assert len({mail.message_id for mail in copies}) == 1
    assert outbox.failed_count(desk.state) == 0


async def test_refusals_of_a_mail_in_doubt_are_not_counted(desk: Desk, mailbox: Mailbox) -> None:
    queue(desk.state, "r1", receivers=("email:owner",))
    mailbox.drop.append("after")
    await desk.step("email:owner")
    mailbox.data_replies.extend(["451 4.3.0 Later"] * 5)
    await desk.work("email:owner")
    assert mailed(mailbox) == [["r1"]] * 2
    assert deliveries(desk.state, "email:owner") == {"sent": 1}


# In doubt


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_post_in_doubt_is_looked_for_after_5_s_and_stands_there_once(
    desk: Desk, slack: EmbeddedSlack, drop: Any
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop=drop))
    await desk.work()
    assert posted(slack) == [["r1"]]
    looked_at = asked(slack, "conversations.history")
    assert 5 <= looked_at[0] <= looked_at[-1] < 10
    assert len(asked(slack)) == (2 if drop == "before" else 1)
    ((status, attempts),) = sending(desk.state)
    assert (status, attempts) == ("sent", len(asked(slack)))
    row = desk.state.row("SELECT * FROM messages") or {}
    assert (row["slack_channel"], row["slack_ts"]) == (CHANNEL, slack.posts[0].ts)


async def test_a_post_in_doubt_is_not_looked_for_too_early(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.step()
    clock.advance(seconds=2)
    assert await desk.step() == Idle(IdleReason.SETTLING, 3.0)
    clock.advance(seconds=2.9)
    assert (await desk.step() or Idle(IdleReason.PARKED)).reason is IdleReason.SETTLING
    assert asked(slack, "conversations.history") == []
    clock.advance(seconds=0.1)
    assert await desk.step() is None
    assert len(asked(slack, "conversations.history")) == 1


async def test_while_a_service_fails_only_its_own_receivers_wait(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1", "r2")
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.step()
    queue(desk.state, "r3", receivers=("slack:team",))
    assert (await desk.step() or Idle(IdleReason.PARKED)).reason is IdleReason.BACKING_OFF
    assert await desk.step("slack:team") is None
    assert posted(slack) == [["r3"]]
    await desk.work()
    assert posted(slack) == [["r3"], ["r2"], ["r1"]]


async def test_a_message_in_doubt_never_changes_what_it_holds(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(12))
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.step()
    queue(desk.state, *many(3, "s"))
    await desk.work()
    assert posted(slack) == [["s000"], ["s001"], ["s002"], many(12)]
    uids = [
        call.args["metadata"]["event_payload"]["message"]
        for call in slack.requests
        if "metadata" in call.args
    ]
    assert uids[0] == uids[-1]


@pytest.mark.parametrize(
    ("number", "comes"), [(1, []), (12, [many(12)[1:]])], ids=["one", "twelve"]
)
async def test_what_has_not_arrived_is_not_sent_once_its_review_is_closed(
    desk: Desk, slack: EmbeddedSlack, number: int, comes: list[list[str]]
) -> None:
    first, *others = many(number)
    queue(desk.state, first, *others)
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.step()
    with desk.state.transaction():
        closed = StoredReview(review(first), Status.CLOSED, closing=CloseReason.ANSWERED)
        put_reviews(desk.state, SITE, [closed], desk.clock.now())
    await desk.work()
    assert posted(slack) == comes
    left = {"cancelled": 1} | ({"sent": len(others)} if others else {})
    assert deliveries(desk.state) == left


async def test_a_digest_in_doubt_that_is_too_long_still_names_every_review(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(60), body="long " * 40)
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.work()
    assert sorted(name for names in posted(slack) for name in names) == many(60)


async def test_without_the_scope_to_look_a_post_in_doubt_is_posted_again(
    desk: Desk, slack: EmbeddedSlack, caplog: pytest.LogCaptureFixture
) -> None:
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=["chat:write"])
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await desk.work()
    assert posted(slack) == [["r1"], ["r1"]]
    assert slack.posts[0].metadata == slack.posts[1].metadata
    assert "may be posted twice" in caplog.text


async def test_a_look_that_fails_is_taken_again_before_anything_is_posted(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    slack.faults.add("conversations.history", *[Fault(500, garble="html")] * 3)
    await desk.work()
    assert posted(slack) == [["r1"]]
    assert len(asked(slack, "conversations.history")) == 4
    assert sending(desk.state) == [("sent", 1)]


async def test_a_parked_receiver_looks_for_its_message_in_doubt_afterwards(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    slack.faults.add("conversations.history", saying("invalid_auth"))
    assert await desk.work() == Idle(IdleReason.PARKED)
    assert sending(desk.state) == [("in_doubt", 1)]
    outbox.requeue(desk.state)
    await desk.work()
    assert posted(slack) == [["r1"]]


async def test_a_look_that_slack_does_not_understand_is_no_reason_to_post_again(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    slack.faults.add("conversations.history", saying("invalid_arguments"))
    await desk.work()
    assert posted(slack) == [["r1"]]


async def test_a_mail_in_doubt_goes_out_again_under_the_same_message_id(
    desk: Desk, mailbox: Mailbox
) -> None:
    queue(desk.state, "r1", "r2", receivers=("email:owner",))
    mailbox.drop.append("after")
    await desk.work("email:owner")
    assert mailed(mailbox) == [["r1"], ["r2"], ["r1"]]
    first, other, again = [mail.message_id for mail in mailbox.mails]
    assert first == again != other
    assert sending(desk.state) == [("sent", 2), ("sent", 1)]
