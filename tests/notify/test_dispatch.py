"""A delivery leaves once, in the right company and at the right time, whatever the services and the process do."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from alerter.clock import Clock
from alerter.config import Config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.errors import RenderError, StateBusy
from alerter.models import (
    Alert,
    AlertKind,
    Content,
    Form,
    Grouping,
    Message,
    Status,
    StoredReview,
    receiver_of,
)
from alerter.notify.destination import Destination
from alerter.notify.digest import group, length_of
from alerter.notify.dispatch import Dispatcher
from alerter.notify.idle import Idle, IdleReason
from alerter.service.reconcile import reconcile
from alerter.service.runtime import open_destinations
from alerter.store import State, blocks, outbox, troubles
from alerter.store.outbox import DueDelivery
from alerter.store.reviews import NewAlert, put_reviews, raise_alerts
from tests.support.clock import SetClock
from tests.support.desk import (
    ROOM,
    SECOND,
    Desk,
    Start,
    asked,
    blocked,
    config,
    deliveries,
    desk,
    hooked,
    mailed,
    many,
    named,
    posted,
    queue,
    saying,
    sending,
    slack,
    start,
    told,
)
from tests.support.reviews import review
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE
from tests.support.waiting import HANG, until

__all__ = ["config", "desk", "slack", "start"]


# Grouping

BURST, DIGEST, EACH = Grouping.BURST, Grouping.DIGEST, Grouping.EACH


@pytest.mark.parametrize(
    ("groupings", "form", "alerts"),
    [
        ([BURST], Form.ALERT, [0]),
        ([BURST] * 3, Form.ALERT, [0]),
        ([BURST] * 4, Form.DIGEST, [0, 1, 2, 3]),
        ([BURST] * 9, Form.DIGEST, [0, 1, 2, 3, 4, 5]),
        ([DIGEST], Form.ALERT, [0]),
        ([DIGEST] * 2, Form.DIGEST, [0, 1]),
        ([DIGEST] * 9, Form.DIGEST, [0, 1, 2, 3, 4, 5]),
        ([EACH] * 9, Form.ALERT, [0]),
        ([EACH, *[BURST] * 4], Form.ALERT, [0]),
        ([*[BURST] * 3, *[EACH] * 5], Form.ALERT, [0]),
        ([BURST, EACH, BURST, BURST, EACH, BURST], Form.DIGEST, [0, 2, 3, 5]),
        ([DIGEST, EACH], Form.ALERT, [0]),
        ([DIGEST, BURST], Form.DIGEST, [0, 1]),
        ([BURST, DIGEST], Form.ALERT, [0]),
    ],
    ids=[
        "one",
        "as many as burst",
        "one more than burst",
        "more than a digest holds",
        "a digest of one is an alert",
        "a digest of two",
        "a large digest is cut",
        "each by itself",
        "each comes first",
        "each does not make a burst",
        "each is left out of a digest",
        "a digest of one beside each",
        "a digest takes others along",
        "a digest that is not the oldest waits for its turn",
    ],
)
def test_who_leaves_together(groupings: list[Grouping], form: Form, alerts: list[int]) -> None:
    members = [DueDelivery(number, grouping) for number, grouping in enumerate(groupings)]
    assert group(members, burst=3, digest=6) == (form, alerts)


@pytest.mark.parametrize(
    ("count", "sizes"), [(10, [1] * 10), (11, [11]), (101, [90, 11]), (95, [90, *[1] * 5])], ids=str
)
async def test_more_than_a_burst_leaves_as_digests(
    desk: Desk, slack: EmbeddedSlack, count: int, sizes: list[int]
) -> None:
    ids = many(count)
    queue(desk.state, *ids)
    assert (await desk.work()).why is IdleReason.NOTHING_DUE
    assert [len(names) for names in posted(slack)] == sizes
    assert [name for names in posted(slack) for name in names] == ids
    assert deliveries(desk.state) == {"sent": count}
    assert counts["messages_sent"] == len(sizes)
    assert counts["deliveries_sent:support"] == count


async def test_a_mail_holds_a_larger_digest_than_slack(desk: Desk, mailbox: Mailbox) -> None:
    queue(desk.state, *many(300), receivers=("email:owner",))
    await desk.work("email:owner")
    assert mailed(mailbox) == [many(300)]


async def test_what_is_asked_for_one_by_one_comes_one_by_one(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(15), grouping=EACH)
    await desk.work()
    assert posted(slack) == [[name] for name in many(15)]


async def test_a_new_review_leaves_before_what_a_backfill_sends_one_by_one(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    with desk.state.transaction():
        now, ids = clock.now(), many(100, "past")
        put_reviews(
            desk.state,
            SITE,
            [StoredReview(review(each, title=f"<{each}>"), Status.OPEN) for each in ids],
            now,
        )
        alerts = [
            Alert(f"new:{SITE}:{each}", AlertKind.NEW, SITE, each, {"backfill": True})
            for each in ids
        ]
        raise_alerts(
            desk.state, [NewAlert(alert, [("slack:support", None)], EACH) for alert in alerts], now
        )
    await desk.work(within=9.5)
    assert posted(slack) == [[name] for name in ids[:10]]
    clock.advance(seconds=1)
    queue(desk.state, "new")
    began = clock.monotonic()
    assert await desk.step() is None
    assert posted(slack)[10:] == [["new"]]
    assert clock.monotonic() == began
    await desk.work()
    assert posted(slack)[11:] == [[name] for name in ids[10:]]


async def test_what_is_asked_for_as_a_digest_comes_as_one(desk: Desk, slack: EmbeddedSlack) -> None:
    queue(desk.state, *many(3), grouping=DIGEST)
    await desk.work()
    assert posted(slack) == [many(3)]


async def test_the_oldest_leaves_first(desk: Desk, slack: EmbeddedSlack, clock: SetClock) -> None:
    queue(desk.state, "late", due_at=clock.now() - timedelta(seconds=1))
    queue(desk.state, "early", due_at=clock.now() - timedelta(hours=1))
    queue(desk.state, "first")
    queue(desk.state, "second")
    await desk.work()
    assert posted(slack) == [["first"], ["second"], ["early"], ["late"]]


async def test_what_is_due_later_is_waited_for(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1", due_at=clock.now() + timedelta(minutes=10))
    assert await desk.step() == Idle(IdleReason.NOTHING_DUE, 600.0)
    clock.advance(minutes=10)
    assert await desk.step() is None
    assert posted(slack) == [["r1"]]


async def test_a_delivery_leaves_once(desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "email:owner"))
    for _ in range(3):
        await desk.work("slack:support")
        await desk.work("email:owner")
    assert posted(slack) == [["r1"]]
    assert mailed(mailbox) == [["r1"]]
    assert mailbox.mails[0].recipients == (OWNER, SECOND)
    assert sending(desk.state) == [("sent", 1), ("sent", 1)]
    rows = {row["destination"]: row for row in desk.state.rows("SELECT * FROM messages")}
    assert (rows["slack:support"]["slack_channel"], rows["slack:support"]["slack_ts"]) == (
        CHANNEL,
        slack.posts[0].ts,
    )
    assert f"<{rows['email:owner']['message_id']}>" == mailbox.mails[0].message_id


async def test_a_message_is_on_record_as_being_sent_before_the_call(
    start: Start, state: State
) -> None:
    seen: list[tuple[str, int]] = []

    async def look() -> None:
        seen.extend(sending(state))

    desk = await start(hooked("slack:support", before=look))
    queue(state, "r1")
    await desk.step()
    assert seen == [("sending", 1)]


# What follows from an error


@dataclass(frozen=True)
class Trouble:
    """What befalls a receiver: who is left alone then and for how long at most (None: parked), and what its message is.

    `message` is None where a certain refusal undoes it. `copies` is how often the service has it in the end.
    """

    receiver: str
    scope: str
    at_most: float | None = 2.0
    at_least: float = 0.0
    message: str | None = None
    copies: int = 1
    fault: Fault | None = None
    down: bool = False
    refuse: str | None = None
    sender: str | None = None
    reply: str | None = None
    drop: str | None = None
    password: str | None = None

    async def befall(self, slack: EmbeddedSlack, mailbox: Mailbox) -> None:
        if self.fault:
            slack.faults.add("chat.postMessage", self.fault)
        if self.down:
            await (slack.stop() if self.scope.endswith("slack:support") else mailbox.pause())
        if self.refuse:
            mailbox.refuse = dict.fromkeys((OWNER, SECOND), self.refuse)
        mailbox.refuse_sender = self.sender
        mailbox.data_replies.extend([self.reply] if self.reply else [])
        mailbox.drop.extend([self.drop] if self.drop else [])
        mailbox.password = self.password or mailbox.password

    async def end(self, slack: EmbeddedSlack, mailbox: Mailbox) -> None:
        if self.down:
            await (slack.start() if self.scope.endswith("slack:support") else mailbox.resume())
        mailbox.refuse.clear()
        mailbox.refuse_sender = None
        mailbox.password = SECRETS["SMTP_PASSWORD"]


SUPPORT, OWNERS = "destination:slack:support", "destination:email:owner"
TROUBLES = {
    "Slack is out of reach": Trouble("slack:support", SUPPORT, down=True),
    "Slack 500": Trouble(
        "slack:support", SUPPORT, message="in_doubt", fault=Fault(500, garble="html")
    ),
    "Slack 500 for work that is done": Trouble(
        "slack:support", SUPPORT, message="in_doubt", fault=Fault(500, body="{}", done=True)
    ),
    "Slack hangs up before the work": Trouble(
        "slack:support", SUPPORT, message="in_doubt", fault=Fault(drop="before")
    ),
    "Slack hangs up after the work": Trouble(
        "slack:support", SUPPORT, message="in_doubt", fault=Fault(drop="after")
    ),
    "Slack 429 with a time": Trouble(
        "slack:support",
        "service:slack",
        77,
        77,
        fault=saying("ratelimited", 429, **{"Retry-After": "77"}),
    ),
    "Slack 429 without": Trouble(
        "slack:support", "service:slack", 30, 30, fault=saying("ratelimited", 429)
    ),
    "Slack invalid_auth": Trouble(
        "slack:support", "service:slack", None, fault=saying("invalid_auth")
    ),
    "Slack missing_scope": Trouble(
        "slack:support", "service:slack", None, fault=saying("missing_scope")
    ),
    "Slack channel_not_found": Trouble(
        "slack:support", SUPPORT, None, fault=saying("channel_not_found")
    ),
    "Slack is_archived": Trouble("slack:support", SUPPORT, None, fault=saying("is_archived")),
    "Slack says something new": Trouble(
        "slack:support", SUPPORT, None, fault=saying("never_heard_of")
    ),
    "SMTP is out of reach": Trouble("email:owner", OWNERS, down=True),
    "SMTP 451 after DATA": Trouble("email:owner", OWNERS, reply="451 4.3.0 Later"),
    "SMTP every address 450": Trouble("email:owner", OWNERS, refuse="450 4.2.1 Later"),
    "SMTP every address 550": Trouble("email:owner", OWNERS, None, refuse="550 5.1.1 Unknown"),
    "SMTP 550 for the sender": Trouble(
        "email:owner", "service:smtp", None, sender="550 5.7.1 Not yours"
    ),
    "SMTP 535": Trouble("email:owner", "service:smtp", None, password="another"),
    "SMTP hangs up before it has it": Trouble(
        "email:owner", OWNERS, message="in_doubt", drop="before"
    ),
    "SMTP hangs up when it has it": Trouble(
        "email:owner", OWNERS, message="in_doubt", copies=2, drop="after"
    ),
}


@pytest.fixture(params=TROUBLES.values(), ids=TROUBLES)
def trouble(request: pytest.FixtureRequest) -> Trouble:
    found: Trouble = request.param
    return found


async def test_what_follows_from_an_error_and_what_when_it_is_over(
    trouble: Trouble, desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox, clock: SetClock
) -> None:
    queue(desk.state, "r1", "r2", receivers=(trouble.receiver,))
    await trouble.befall(slack, mailbox)
    assert await desk.step(trouble.receiver) is None

    assert sending(desk.state) == ([(trouble.message, 1)] if trouble.message else [])
    assert deliveries(desk.state, trouble.receiver) == {"pending": 2}
    ((scope, seconds),) = blocked(desk.state, clock.now()).items()
    assert scope == trouble.scope
    if trouble.at_most is None:
        assert seconds is None
        assert await desk.step(trouble.receiver) == Idle(IdleReason.PARKED)
    else:
        assert seconds is not None
        assert trouble.at_least <= seconds <= trouble.at_most
        assert await desk.step(trouble.receiver) == Idle(
            IdleReason.BACKING_OFF, pytest.approx(seconds, abs=0.01)
        )

    await trouble.end(slack, mailbox)
    if trouble.at_most is None:
        assert outbox.requeue(desk.state) == (0, 1)
    await desk.work(trouble.receiver)
    arrived = posted(slack) if trouble.receiver == "slack:support" else mailed(mailbox)
    # What is in doubt lets others pass.
    assert sorted(arrived) == [["r1"]] * trouble.copies + [["r2"]]
    assert deliveries(desk.state, trouble.receiver) == {"sent": 2}
    assert blocked(desk.state, clock.now()) == {}
    assert len({mail.message_id for mail in mailbox.mails if "<r1>" in mail.text}) <= 1


@pytest.mark.parametrize(
    ("error", "hears"),
    [("invalid_auth", False), ("channel_not_found", True)],
    ids=["service", "receiver"],
)
async def test_who_else_is_parked(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox, error: str, hears: bool
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "slack:team", "email:owner"))
    slack.faults.add("chat.postMessage", saying(error))
    await desk.step("slack:support")
    await desk.work("slack:team")
    await desk.work("email:owner")
    # Whoever still hears of reviews hears of the trouble too.
    assert [post.channel for post in slack.posts] == [ROOM, ROOM] * hears
    assert len(asked(slack)) == 1 + 2 * hears
    assert [mail.subject.startswith("alerter is in trouble") for mail in mailbox.mails] == [
        False,
        True,
    ]


@pytest.mark.parametrize("by", ["an hour", "retry", "start"])
async def test_what_is_parked_is_tried_after_an_hour_by_retry_and_at_start(
    desk: Desk, config: Config, slack: EmbeddedSlack, clock: SetClock, by: str
) -> None:
    queue(desk.state, "r1", "r2")
    slack.channels[CHANNEL].archived = True
    await desk.work()
    clock.advance(minutes=59)
    assert await desk.work() == Idle(IdleReason.PARKED)
    assert len(asked(slack)) == 1
    assert [block.scope for block in blocks.parked(desk.state)] == [SUPPORT]
    if by == "an hour":
        clock.advance(minutes=1)
    elif by == "retry":
        assert outbox.requeue(desk.state) == (0, 1)
    else:
        reconcile(desk.state, config, clock)
    assert await desk.work() == Idle(IdleReason.PARKED)
    assert len(asked(slack)) == 2
    slack.channels[CHANNEL].archived = False
    clock.advance(hours=1)
    await desk.work()
    assert posted(slack) == [["r1"], ["r2"]]
    assert blocks.parked(desk.state) == []


async def test_what_is_parked_is_looked_at_where_no_message_waits(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.channels[CHANNEL].archived = True
    await desk.work()
    desk.state.execute("UPDATE deliveries SET status = 'cancelled'")
    clock.advance(hours=1)
    assert await desk.step() is None
    assert [block.scope for block in blocks.parked(desk.state)] == [SUPPORT]
    slack.channels[CHANNEL].archived = False
    clock.advance(minutes=30)
    assert await desk.step() == Idle(IdleReason.PARKED)
    clock.advance(minutes=30)
    assert await desk.step() is None
    assert blocks.parked(desk.state) == []
    assert troubles.current(desk.state) == []
    assert len(asked(slack)) == 1


async def test_a_retry_of_what_is_still_broken_is_parked_again(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.channels[CHANNEL].member = False
    for calls in (1, 2):
        assert await desk.work() == Idle(IdleReason.PARKED)
        assert len(asked(slack)) == calls
        outbox.requeue(desk.state)
    assert deliveries(desk.state) == {"pending": 1}


async def test_a_wait_that_slack_asks_for_holds_all_its_receivers_over_a_restart(
    start: Start, state: State, slack: EmbeddedSlack, clock: SetClock
) -> None:
    desk = await start()
    queue(state, "r1", receivers=("slack:support", "slack:team"))
    slack.faults.add("chat.postMessage", saying("ratelimited", 429, **{"Retry-After": "300"}))
    await desk.step("slack:support")
    clock.advance(seconds=100)
    again = await start()
    for receiver in ("slack:support", "slack:team"):
        assert await again.step(receiver) == Idle(IdleReason.BACKING_OFF, 200.0)
    assert len(asked(slack)) == 1
    clock.advance(seconds=199.9)
    assert (await again.step("slack:team") or Idle(IdleReason.PARKED)).why is IdleReason.BACKING_OFF
    clock.advance(seconds=0.1)
    await again.work("slack:support")
    await again.work("slack:team")
    assert [post.channel for post in slack.posts] == [CHANNEL, ROOM]


async def test_a_clock_that_was_set_back_makes_nobody_wait_for_longer(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", saying("ratelimited", 429, **{"Retry-After": "60"}))
    await desk.step()
    clock.step(days=-3)
    clock.advance(seconds=60)
    assert await desk.step() is None
    assert posted(slack) == [["r1"]]


async def test_while_a_receiver_is_down_one_message_probes_it_at_most_a_minute_apart(
    desk: Desk, mailbox: Mailbox, clock: SetClock
) -> None:
    queue(desk.state, *many(3), receivers=("email:owner",))
    mailbox.down = True
    waits = []
    ends = clock.now() + timedelta(minutes=20)
    while clock.now() < ends:
        sessions = mailbox.sessions
        assert await desk.step("email:owner") is None
        assert mailbox.sessions == sessions + 1
        pause = await desk.step("email:owner")
        assert pause is not None
        assert pause.why is IdleReason.BACKING_OFF
        assert pause.seconds is not None
        waits.append(pause.seconds)
        clock.advance(seconds=pause.seconds)
    assert waits[0] <= 2
    assert min(waits) > 0.09
    assert 20 < max(waits) <= 60
    mailbox.down = False
    await desk.work("email:owner")
    assert mailed(mailbox) == [[name] for name in many(3)]


async def test_waits_begin_short_again_after_a_success(
    desk: Desk, mailbox: Mailbox, clock: SetClock
) -> None:
    queue(desk.state, "r1", receivers=("email:owner",))
    await mailbox.pause()
    await desk.work("email:owner", within=600)
    await mailbox.resume()
    await desk.work("email:owner")
    queue(desk.state, "r2", receivers=("email:owner",))
    await mailbox.pause()
    await desk.step("email:owner")
    assert 0 < (blocked(desk.state, clock.now())[OWNERS] or 0) <= 2


async def test_what_was_certainly_refused_is_grouped_anew_with_what_has_come_since(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(6))
    await slack.stop()
    await desk.step()
    queue(desk.state, *many(6, "s"))
    await slack.start()
    await desk.work()
    assert posted(slack) == [[*many(6), *many(6, "s")]]


async def test_a_receiver_that_hangs_holds_up_nobody_else(
    start: Start, state: State, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    mailbox.hang = 60.0
    desk = await start()
    queue(state, "r1", receivers=("email:owner", "slack:support", "slack:team"))
    running = asyncio.create_task(desk.dispatcher.run())
    await until(lambda: len(slack.posts) == 2 and mailbox.mails)
    assert not running.done()
    await mailbox.pause()
    desk.dispatcher.stop()
    await running
    assert {post.channel for post in slack.posts} == {CHANNEL, ROOM}
    assert deliveries(state, "email:owner") == {"pending": 1}


# Faults of the message itself


async def test_a_post_that_slack_will_not_have_goes_out_as_plain_text(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", saying("invalid_blocks"))
    await desk.work()
    (post,) = slack.posts
    assert (post.blocks, named(post)) == ([], ["r1"])
    assert sending(desk.state) == [("sent", 2)]
    assert post.metadata == {
        "event_type": "alerter_message",
        "event_payload": {"message": desk.state.value("SELECT message_id FROM messages")},
    }


async def test_a_mail_that_the_server_will_not_have_goes_out_as_plain_text(
    desk: Desk, mailbox: Mailbox
) -> None:
    queue(desk.state, "r1", receivers=("email:owner",))
    mailbox.data_replies.append("554 5.7.1 Spam")
    await desk.work("email:owner")
    assert mailed(mailbox) == [["r1"]]
    assert mailbox.mails[0].html == ""


@pytest.mark.parametrize("receiver", ["slack:support", "email:owner"])
async def test_a_message_that_nobody_will_have_fails_and_its_neighbours_go_on(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox, clock: SetClock, receiver: str
) -> None:
    queue(desk.state, "r1", "r2", "r3", receivers=(receiver,))
    slack.faults.add("chat.postMessage", *[saying("invalid_blocks")] * 2)
    mailbox.data_replies.extend(["554 5.7.1 Spam"] * 2)
    await desk.work(receiver)
    arrived = posted(slack) or mailed(mailbox)
    assert arrived == [["r2"], ["r3"]]
    assert deliveries(desk.state, receiver) == {"failed": 1, "sent": 2}
    assert outbox.failures(desk.state) == 1
    assert blocked(desk.state, clock.now()) == {}
    assert counts[f"deliveries_failed:{receiver_of(receiver)}"] == 1

    assert outbox.requeue(desk.state) == (1, 0)
    await desk.work(receiver)
    assert (posted(slack) or mailed(mailbox)) == [["r2"], ["r3"], ["r1"]]


async def test_a_digest_on_slack_is_cut_to_what_slack_takes_before_it_is_sent(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(68), body="long " * 40)
    await desk.work()
    assert not any(call.error for call in slack.requests)
    assert [name for names in posted(slack) for name in names] == many(68)
    assert all(len(names) > 10 for names in posted(slack)[:-1])
    assert all(
        length_of(Content("", "", blocks=tuple(post.blocks))) <= 9000 for post in slack.posts
    )


@pytest.mark.parametrize(
    ("count", "refusals", "sizes"), [(60, 1, [30, 30]), (60, 2, [15] * 4), (30, 3, [10] * 3)]
)
async def test_a_digest_that_is_refused_is_halved_and_later_ones_stay_small(
    desk: Desk, slack: EmbeddedSlack, count: int, refusals: int, sizes: list[int]
) -> None:
    queue(desk.state, *many(count), grouping=DIGEST)
    slack.faults.add("chat.postMessage", *[saying("msg_blocks_too_long")] * refusals)
    await desk.work()
    assert [len(names) for names in posted(slack)] == sizes
    assert [name for names in posted(slack) for name in names] == many(count)
    assert all(bool(post.blocks) == (refusals < 3) for post in slack.posts[:1])


async def test_a_small_digest_that_is_refused_goes_out_as_plain_text_and_never_one_by_one(
    start: Start, state: State, slack: EmbeddedSlack
) -> None:
    desk = await start(burst=1)
    queue(state, *many(5))
    slack.faults.add("chat.postMessage", saying("invalid_blocks"))
    await desk.work()
    assert posted(slack) == [many(5)]
    assert slack.posts[0].blocks == []


async def test_a_small_digest_that_is_refused_as_plain_text_too_has_failed(
    start: Start, state: State, slack: EmbeddedSlack
) -> None:
    desk = await start(burst=1)
    queue(state, *many(5))
    slack.faults.add("chat.postMessage", *[saying("invalid_blocks")] * 2)
    await desk.work()
    assert posted(slack) == []
    assert deliveries(state) == {"failed": 5}


def breaking(destination: Destination) -> Destination:
    """A renderer that cannot render one of the reviews."""

    def render(message: Message, *, test: bool = False) -> Content:
        if any(entry.review and entry.review.id == "poison" for entry in message.entries):
            raise RenderError("template new.txt, line 3: something is undefined")
        return destination.render(message, test=test)

    return replace(destination, render=render)


@pytest.mark.parametrize("others", [2, 30], ids=["as alerts", "as a digest"])
@pytest.mark.parametrize("receiver", ["slack:support", "email:owner"])
async def test_a_review_that_cannot_be_rendered_fails_with_few_others(
    start: Start, state: State, slack: EmbeddedSlack, mailbox: Mailbox, receiver: str, others: int
) -> None:
    desk = await start(breaking)
    queue(state, "r000", "poison", *many(others)[1:], receivers=(receiver,))
    await desk.work(receiver)
    arrived = [name for names in posted(slack) or mailed(mailbox) for name in names]
    failed = 1 if others == 2 else 10  # no digest is cut into smaller pieces
    assert set(arrived) <= set(many(others))
    assert deliveries(state, receiver) == {"failed": failed, "sent": others + 1 - failed}
    row = state.row("SELECT * FROM messages WHERE status = 'failed'") or {}
    assert row["error"] == "template new.txt, line 3: something is undefined"


async def test_a_fault_of_alerter_itself_ends_no_worker_and_loses_nothing(
    start: Start, state: State, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    async def fail() -> None:
        if broken:
            raise ZeroDivisionError

    desk = await start(hooked("email:owner", before=fail))
    queue(state, "r1", receivers=("email:owner",))
    await desk.dispatcher.run(ends_at=(IdleReason.NOTHING_DUE, IdleReason.NO_STATE))
    assert "a fault of alerter itself" in caplog.text
    assert mailbox.mails == []
    broken = False
    await desk.work("email:owner")
    assert mailed(mailbox) == [["r1"]]


# In doubt


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_post_in_doubt_is_looked_for_after_five_seconds_and_stands_there_once(
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
    assert (await desk.step() or Idle(IdleReason.PARKED)).why is IdleReason.SETTLING
    assert asked(slack, "conversations.history") == []
    clock.advance(seconds=0.1)
    assert await desk.step() is None
    assert len(asked(slack, "conversations.history")) == 1


async def test_while_a_service_fails_nothing_goes_to_that_receiver_but_to_others_it_does(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1", "r2")
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.step()
    queue(desk.state, "r3", receivers=("slack:team",))
    assert (await desk.step() or Idle(IdleReason.PARKED)).why is IdleReason.BACKING_OFF
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


async def test_a_digest_in_doubt_that_turns_out_to_be_too_long_still_names_every_review(
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


async def test_a_receiver_parked_with_a_message_in_doubt_still_looks_for_it_afterwards(
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


# A process that dies

Deliver = Callable[[Message], Awaitable[None]]


async def leave_claimed(
    state: State, config: Config, clock: SetClock, receiver: str, *, taken: bool
) -> Message:
    """What a process leaves that died between marking a message and marking its answer."""
    async with open_destinations(config, clock) as destinations:
        (destination,) = [
            destination for destination in destinations if destination.name == receiver
        ]
        alerts = [due.alert for due in outbox.due(state, receiver, clock.now(), 1)]
        message = outbox.claim(
            state,
            receiver,
            Form.ALERT,
            alerts,
            f"9d1e0c@{destination.notifier.domain}",
            clock.now(),
        )
        if taken:
            await destination.notifier.send(message, destination.render(message))
        await destination.notifier.close()
    return message


@pytest.mark.parametrize("down_for", [0, 3, 86400], ids=["at once", "after 3 s", "after a day"])
@pytest.mark.parametrize("taken", [False, True], ids=["before the call", "before the mark"])
async def test_a_crash_around_a_post_neither_loses_nor_repeats_it(
    config: Config,
    start: Start,
    state: State,
    slack: EmbeddedSlack,
    clock: SetClock,
    taken: bool,
    down_for: int,
) -> None:
    queue(state, "r1", "r2")
    message = await leave_claimed(state, config, clock, "slack:support", taken=taken)
    clock.advance(seconds=down_for)
    desk = await start()
    assert sending(state) == [("in_doubt", 1)]
    await desk.work()
    assert sorted(posted(slack)) == [["r1"], ["r2"]]
    assert deliveries(state) == {"sent": 2}
    [post] = [post for post in slack.posts if named(post) == ["r1"]]
    assert post.metadata is not None
    assert post.metadata["event_payload"] == {"message": message.uid}
    row = state.row("SELECT * FROM messages WHERE id = ?", [message.id]) or {}
    assert (row["status"], row["slack_ts"]) == ("sent", post.ts)
    assert row["attempts"] == (1 if taken else 2)


@pytest.mark.parametrize("taken", [False, True], ids=["before the call", "before the mark"])
async def test_a_crash_around_a_mail_loses_nothing_and_repeats_it_under_its_message_id_only(
    config: Config, start: Start, state: State, mailbox: Mailbox, clock: SetClock, taken: bool
) -> None:
    queue(state, "r1", "r2", receivers=("email:owner",))
    message = await leave_claimed(state, config, clock, "email:owner", taken=taken)
    await (await start()).work("email:owner")
    assert mailed(mailbox) == [["r1"]] * (1 + taken) + [["r2"]]
    assert {mail.message_id for mail in mailbox.mails[:-1]} == {f"<{message.uid}>"}
    assert deliveries(state, "email:owner") == {"sent": 2}


async def test_a_worker_that_rests_has_the_disk_keep_what_was_sent(
    start: Start, state: State, mailbox: Mailbox
) -> None:
    desk = await start()
    queue(state, "r1", "r2", receivers=("email:owner",))
    before = counts["transactions"]
    assert await desk.dispatcher.run((IdleReason.NOTHING_DUE,))
    assert mailed(mailbox) == [["r1"], ["r2"]]
    # Two claims and two marks, and one more that takes the marks to the disk.
    assert counts["transactions"] - before == 5
    desk.state.flush()
    assert counts["transactions"] - before == 5


async def test_a_message_cut_off_by_the_end_of_the_process_is_in_doubt(
    start: Start, state: State, slack: EmbeddedSlack, clock: SetClock
) -> None:
    answered = asyncio.Event()

    async def hang() -> None:
        answered.set()
        await asyncio.Event().wait()

    desk = await start(hooked("slack:support", after=hang))
    queue(state, "r1")
    step = asyncio.create_task(desk.step())
    await answered.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert sending(state) == [("sending", 1)]
    clock.advance(seconds=1)
    await (await start()).work()
    assert posted(slack) == [["r1"]]
    assert deliveries(state) == {"sent": 1}


async def test_a_partly_taken_mail_survives_a_restart(
    start: Start, state: State, mailbox: Mailbox, clock: SetClock
) -> None:
    queue(state, "r1", receivers=("email:owner",))
    mailbox.refuse[SECOND] = "450 4.2.1 Later"
    await (await start()).step("email:owner")
    mailbox.refuse.clear()
    clock.advance(minutes=2)
    await (await start()).work("email:owner")
    assert [mail.recipients for mail in mailbox.mails] == [(OWNER,), (SECOND,)]
    assert len({mail.message_id for mail in mailbox.mails}) == 1


# Some addresses of several


async def test_an_address_that_may_take_it_later_holds_up_no_other_mail(
    desk: Desk, mailbox: Mailbox, clock: SetClock
) -> None:
    mailbox.refuse[SECOND] = "450 4.2.1 Later"
    queue(desk.state, "r1", receivers=("email:owner",))
    assert await desk.step("email:owner") is None
    queue(desk.state, "r2", receivers=("email:owner",))
    assert await desk.step("email:owner") is None
    assert [(mail.recipients, told(mail.text)[0]) for mail in mailbox.mails] == [
        ((OWNER,), "r1"),
        ((OWNER,), "r2"),
    ]
    assert blocked(desk.state, clock.now()).keys() == {"addresses:owner"}
    assert deliveries(desk.state, "email:owner") == {"sent": 2}

    await desk.work("email:owner", within=600)
    assert len(mailbox.mails) == 2
    mailbox.refuse.clear()
    await desk.work("email:owner")
    assert [(mail.recipients, told(mail.text)[0]) for mail in mailbox.mails[2:]] == [
        ((SECOND,), "r1"),
        ((SECOND,), "r2"),
    ]
    assert deliveries(desk.state, "email:owner") == {"sent": 2}
    assert len({mail.message_id for mail in mailbox.mails}) == 2


async def test_an_address_that_never_takes_it_is_told_of_and_the_mail_is_sent(
    desk: Desk, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.refuse[SECOND] = "550 5.1.1 <second@example.com>: unknown"
    queue(desk.state, "r1", receivers=("email:owner",))
    await desk.work("email:owner")
    assert [mail.recipients for mail in mailbox.mails] == [(OWNER,)]
    assert deliveries(desk.state, "email:owner") == {"sent": 1}
    assert "1 of its addresses" in caplog.text
    assert SECOND not in caplog.text


async def test_the_last_address_is_given_up_when_it_refuses_for_good(
    desk: Desk, mailbox: Mailbox
) -> None:
    mailbox.refuse[SECOND] = "450 4.2.1 Later"
    queue(desk.state, "r1", receivers=("email:owner",))
    await desk.step("email:owner")
    mailbox.refuse[SECOND] = "550 5.1.1 Unknown"
    assert (await desk.work("email:owner")).why is IdleReason.NOTHING_DUE
    assert [mail.recipients for mail in mailbox.mails] == [(OWNER,)]
    assert deliveries(desk.state, "email:owner") == {"sent": 1}
    assert blocks.parked(desk.state) == []


async def test_a_retry_of_what_only_some_did_not_take_does_not_reach_the_others_again(
    desk: Desk, mailbox: Mailbox
) -> None:
    mailbox.refuse[SECOND] = "450 4.2.1 Later"
    queue(desk.state, "r1", receivers=("email:owner",))
    await desk.step("email:owner")
    mailbox.refuse.clear()
    mailbox.data_replies.extend(["554 5.7.1 Spam"] * 2)
    await desk.work("email:owner")
    outbox.requeue(desk.state)
    await desk.work("email:owner")
    assert [address for mail in mailbox.mails for address in mail.recipients].count(OWNER) == 1


# Pace


async def test_posts_to_a_channel_are_a_second_apart(desk: Desk, slack: EmbeddedSlack) -> None:
    queue(desk.state, *many(6))
    await desk.work()
    times = [post.at for post in slack.posts]
    assert all(1 <= later - earlier < 1.1 for earlier, later in pairwise(times))
    assert not any(call.error for call in slack.requests)


async def test_two_receivers_of_one_channel_share_its_pace(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, *many(3), receivers=("slack:support", "slack:twin", "slack:team"))
    assert await desk.step("slack:support") is None
    assert await desk.step("slack:twin") == Idle(IdleReason.PACE, 1.0)
    assert await desk.step("slack:team") is None
    clock.advance(seconds=1)
    assert await desk.step("slack:twin") is None
    assert await desk.step("slack:support") == Idle(IdleReason.PACE, 1.0)
    assert [post.channel for post in slack.posts] == [CHANNEL, ROOM, CHANNEL]


async def test_two_receivers_of_one_channel_share_its_pace_when_both_are_woken_at_once(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "slack:twin"))
    await asyncio.gather(desk.step("slack:support"), desk.step("slack:twin"))
    assert len(slack.posts) == 1
    assert not any(call.error for call in slack.requests)


async def test_mails_are_not_paced(desk: Desk, mailbox: Mailbox, clock: SetClock) -> None:
    queue(desk.state, *many(5), receivers=("email:owner",))
    for _ in range(5):
        assert await desk.step("email:owner") is None
    assert len(mailbox.mails) == 5
    assert mailbox.sessions == 1
    assert clock.monotonic() == 0


async def test_a_wait_set_while_a_slow_message_was_on_its_way_still_holds(
    start: Start, state: State, slack: EmbeddedSlack, clock: SetClock
) -> None:
    async def be_slow() -> None:
        clock.advance(seconds=1)
        slack.faults.add("chat.postMessage", saying("ratelimited", 429, **{"Retry-After": "60"}))
        await desk.step("slack:team")
        clock.advance(seconds=1)

    desk = await start(hooked("slack:support", after=be_slow))
    queue(state, "r1", receivers=("slack:support", "slack:team"))
    assert await desk.step("slack:support") is None
    assert deliveries(state, "slack:support") == {"sent": 1}
    assert blocked(state, clock.now()) == {"service:slack": 59.0}
    assert await desk.step("slack:team") == Idle(IdleReason.BACKING_OFF, 59.0)


# The state file


@contextmanager
def locked(state: State) -> Iterator[None]:
    """Another process writes to the state file."""
    other = sqlite3.connect(state.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def impatient(desk: Desk) -> Desk:
    """Not as long as alerter waits for a lock."""
    desk.state.execute("PRAGMA busy_timeout = 5")
    return desk


async def test_nothing_is_sent_that_could_not_be_marked_before(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "email:owner"))
    with locked(impatient(desk).state):
        for receiver in ("slack:support", "email:owner"):
            with pytest.raises(StateBusy):
                await desk.step(receiver)
        await desk.dispatcher.run(
            ends_at=(IdleReason.NO_STATE, IdleReason.PACE, IdleReason.NOTHING_DUE)
        )
    assert slack.requests == []
    assert mailbox.sessions == 0
    await desk.work("slack:support")
    await desk.work("email:owner")
    assert posted(slack) == mailed(mailbox) == [["r1"]]


async def test_a_post_in_doubt_is_not_posted_again_while_that_cannot_be_marked(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="before"))
    await desk.step()
    clock.advance(seconds=6)
    with locked(impatient(desk).state), pytest.raises(StateBusy):
        await desk.step()
    assert len(asked(slack)) == 1
    await desk.work()
    assert posted(slack) == [["r1"]]


@dataclass(frozen=True)
class Answer:
    """What a service says, and what of it stands in the state file once that is free."""

    fault: Fault | None
    deliveries: dict[str, int]
    blocks: int


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, {"sent": 1}, 0),
        Answer(Fault(drop="after"), {"pending": 1}, 1),
        Answer(saying("channel_not_found"), {"pending": 1}, 1),
        Answer(saying("ratelimited", 429), {"pending": 1}, 1),
    ],
    ids=["yes", "lost", "refused", "throttled"],
)
async def test_an_answer_is_recorded_however_long_the_state_file_is_locked(
    start: Start, state: State, slack: EmbeddedSlack, clock: SetClock, answer: Answer
) -> None:
    other = sqlite3.connect(state.path, isolation_level=None)

    async def lock() -> None:
        other.execute("BEGIN IMMEDIATE")

    async def free() -> None:
        while len(clock.slept) < 5:
            await asyncio.sleep(0)
        other.close()

    desk = impatient(await start(hooked("slack:support", before=lock)))
    queue(state, "r1")
    if answer.fault:
        slack.faults.add("chat.postMessage", answer.fault)
    freeing = asyncio.create_task(free())
    assert await desk.step() is None
    await freeing
    assert clock.slept == [1.0] * 5
    assert deliveries(state) == answer.deliveries
    assert len(blocked(state, clock.now())) == answer.blocks
    assert len(asked(slack)) == 1


async def test_an_answer_that_was_never_recorded_is_found_by_the_next_process(
    start: Start, state: State, slack: EmbeddedSlack, clock: SetClock
) -> None:
    async def lock() -> None:
        stack.enter_context(locked(state))

    async with AsyncExitStack() as stack:
        desk = impatient(await start(hooked("slack:support", after=lock)))
        queue(state, "r1")
        step = asyncio.create_task(desk.step())
        async with asyncio.timeout(HANG):
            while len(clock.slept) < 3:
                await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
    assert sending(state) == [("sending", 1)]
    await (await start()).work()
    assert posted(slack) == [["r1"]]
    assert deliveries(state) == {"sent": 1}


# Starting, waking, stopping


async def test_a_worker_wakes_at_once_and_does_not_look_by_itself(
    start: Start, state: State, mailbox: Mailbox, clock: SetClock
) -> None:
    desk = await start()
    running = asyncio.create_task(desk.dispatcher.run())
    await until(lambda: len(clock.timeouts) == len(desk.dispatcher._workers))
    queue(state, "r1", receivers=("email:owner",))
    clock.advance(seconds=59)
    for _ in range(100):
        await asyncio.sleep(0)
    assert mailbox.sessions == 0
    desk.dispatcher.wake(["email:owner", "somebody that the config does not name"])
    await until(lambda: mailbox.mails)
    desk.dispatcher.stop()
    await running
    assert mailed(mailbox) == [["r1"]]


async def test_what_nobody_woke_a_worker_for_is_found_within_a_minute_all_the_same(
    start: Start, state: State, mailbox: Mailbox, clock: SetClock
) -> None:
    desk = await start()
    running = asyncio.create_task(desk.dispatcher.run())
    await until(lambda: len(clock.timeouts) == len(desk.dispatcher._workers))
    queue(state, "r1", receivers=("email:owner",))
    clock.advance(seconds=60)
    await until(lambda: mailbox.mails)
    desk.dispatcher.stop()
    await running


async def test_what_is_due_once_the_clock_was_set_does_not_wait_for_what_it_was(
    start: Start, state: State, mailbox: Mailbox, clock: SetClock
) -> None:
    desk = await start()
    queue(state, "r1", receivers=("email:owner",), due_at=clock.now() + timedelta(hours=1))
    running = asyncio.create_task(desk.dispatcher.run())
    await until(lambda: len(clock.timeouts) == len(desk.dispatcher._workers))
    assert not mailbox.mails
    clock.step(hours=1)
    clock.advance(seconds=60)
    await until(lambda: mailbox.mails)
    desk.dispatcher.stop()
    await running


async def test_what_is_queued_while_a_message_is_on_its_way_is_not_overlooked(
    start: Start, state: State, mailbox: Mailbox
) -> None:
    async def queue_more() -> None:
        if not mailbox.mails:
            queue(state, "r2", receivers=("email:owner",))
            desk.dispatcher.wake(["email:owner"])

    desk = await start(hooked("email:owner", before=queue_more))
    queue(state, "r1", receivers=("email:owner",))
    running = asyncio.create_task(desk.dispatcher.run())
    await until(lambda: len(mailbox.mails) == 2)
    desk.dispatcher.stop()
    await running
    assert mailed(mailbox) == [["r1"], ["r2"]]


async def test_stopping_ends_after_the_message_in_hand(
    start: Start, state: State, mailbox: Mailbox
) -> None:
    in_hand, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        in_hand.set()
        await go_on.wait()

    desk = await start(hooked("email:owner", before=wait))
    queue(state, "r1", "r2", "r3", receivers=("email:owner",))
    running = asyncio.create_task(desk.dispatcher.run())
    await in_hand.wait()
    desk.dispatcher.stop()
    await asyncio.sleep(0.01)
    assert not running.done()
    go_on.set()
    await running
    assert mailed(mailbox) == [["r1"]]
    assert deliveries(state, "email:owner") == {"sent": 1, "pending": 2}


async def test_a_run_ends_when_every_worker_rests_and_says_whether_anything_is_left(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox, clock: SetClock
) -> None:
    queue(desk.state, "r1", receivers=("email:owner", "slack:support", "slack:team"))
    slack.channels[ROOM].archived = True
    ends_at = (
        IdleReason.NOTHING_DUE,
        IdleReason.PARKED,
        IdleReason.PACE,
    )  # by this clock nothing but a test makes a second pass
    assert not await desk.dispatcher.run(ends_at)
    assert mailed(mailbox)[0] == posted(slack)[0] == ["r1"]
    assert deliveries(desk.state, "slack:team") == {"pending": 1}
    slack.channels[ROOM].archived = False
    outbox.requeue(desk.state)
    clock.advance(seconds=1)
    while not await desk.dispatcher.run(ends_at):
        clock.advance(seconds=1)
    assert posted(slack).count(["r1"]) == 2
    assert deliveries(desk.state, "slack:team") == {"sent": 1}


async def test_a_worker_with_nothing_to_do_says_goodbye_to_the_mail_server(
    desk: Desk, mailbox: Mailbox
) -> None:
    queue(desk.state, "r1", receivers=("email:owner",))
    running = asyncio.create_task(desk.dispatcher.run())
    await until(lambda: mailbox.mails and not mailbox.connected)
    assert not running.done()
    desk.dispatcher.stop()
    await running


async def test_by_real_time_what_is_due_later_leaves_then(
    config: Config, state: State, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "alerter.notify.worker._LOOK_AGAIN", 2 * HANG
    )  # nothing but its moment wakes the worker
    clock = Clock()
    async with open_destinations(config, clock) as destinations:
        dispatcher = Dispatcher(state, config, clock, destinations)
        due_at = clock.now() + timedelta(seconds=0.2)
        queue(state, "r1", receivers=("email:owner",), due_at=due_at)
        running = asyncio.create_task(dispatcher.run())
        await until(lambda: mailbox.mails)
        assert clock.now() >= due_at
        dispatcher.stop()
        await running


# What is logged


async def test_what_keeps_a_receiver_from_being_reached_is_logged_once_until_it_changes(
    desk: Desk, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="alerter")
    queue(desk.state, "r1", receivers=("email:owner",))
    mailbox.down = True
    await desk.work("email:owner", within=120)
    mailbox.down = False
    await desk.work("email:owner")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("alerter")]
    assert len(lines) == 2
    assert "waits" in lines[0]
    assert lines[1] == 'receiver "owner": is reached again'
    assert not any(secret in caplog.text for secret in (OWNER, SECOND, *SECRETS.values()))
