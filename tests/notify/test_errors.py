"""What follows from an error of a service, and from a fault of the message itself."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from alerter.config import Config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.errors import RenderError
from alerter.models import (
    Content,
    Message,
    receiver_of,
)
from alerter.notify.destination import Destination
from alerter.notify.digest import length_of
from alerter.notify.worker import Idle, IdleReason
from alerter.service.reconcile import reconcile
from alerter.store import State, blocks, outbox, troubles
from tests.support.clock import SetClock
from tests.support.desk import (
    DIGEST,
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
)
from tests.support.values import CHANNEL, OWNER, SECRETS
from tests.support.waiting import until

__all__ = ["config", "desk", "slack", "start"]


# What follows from an error


@dataclass(frozen=True)
class Trouble:
    """A fault of a service: what is blocked, for how long at most (None: parked), and the message.

    `message` is None where a certain refusal dissolves it. `copies`: how often the service has it
    in the end.
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
    ("error", "notified"),
    [("invalid_auth", False), ("channel_not_found", True)],
    ids=["service", "receiver"],
)
async def test_who_else_is_parked(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox, error: str, notified: bool
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "slack:team", "email:owner"))
    slack.faults.add("chat.postMessage", saying(error))
    await desk.step("slack:support")
    await desk.work("slack:team")
    await desk.work("email:owner")
    # Receivers that still get reviews are notified of the trouble too.
    assert [post.channel for post in slack.posts] == [ROOM, ROOM] * notified
    assert len(asked(slack)) == 1 + 2 * notified
    assert [mail.subject.startswith("⚠️") for mail in mailbox.mails] == [
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
    assert [block.scope for block in blocks.get_parked(desk.state)] == [SUPPORT]
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
    assert blocks.get_parked(desk.state) == []


@pytest.mark.parametrize("by", ["an hour", "retry", "start"])
async def test_a_parked_service_that_throttles_a_try_is_not_tried_before(
    desk: Desk, config: Config, slack: EmbeddedSlack, clock: SetClock, by: str
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", saying("invalid_auth"))
    await desk.work()
    clock.advance(hours=1)
    slack.faults.add("chat.postMessage", saying("ratelimited", 429, **{"Retry-After": "86400"}))
    await desk.work()
    if by == "an hour":
        clock.advance(hours=1)
    elif by == "retry":
        assert outbox.requeue(desk.state) == (0, 1)
    else:
        reconcile(desk.state, config, clock)
    await desk.work()
    assert len(asked(slack)) == 2
    assert [block.scope for block in blocks.get_parked(desk.state)] == ["service:slack"]
    clock.advance(hours=20)
    await desk.work()
    assert len(asked(slack)) == 2
    in_trouble = {each.scope for each in troubles.get_open_troubles(desk.state)}
    assert "service:slack" in in_trouble
    assert "method:slack:send" not in in_trouble
    clock.advance(hours=4)
    await desk.work()
    assert posted(slack)[0] == ["r1"]
    assert "service:slack" not in {each.scope for each in troubles.get_open_troubles(desk.state)}


async def test_a_service_that_works_again_wakes_all_its_destinations(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "slack:team"))
    slack.faults.add("chat.postMessage", saying("invalid_auth"))
    await desk.step("slack:support")
    clock.advance(hours=1)
    assert await desk.dispatcher.run(ends_at=(IdleReason.NOTHING_DUE, IdleReason.PARKED))
    assert sorted(post.channel for post in slack.posts) == [ROOM, CHANNEL]


async def test_what_is_parked_is_looked_at_where_no_message_waits(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.channels[CHANNEL].archived = True
    await desk.work()
    desk.state.execute("UPDATE deliveries SET status = 'cancelled'")
    clock.advance(hours=1)
    assert await desk.step() is None
    assert [block.scope for block in blocks.get_parked(desk.state)] == [SUPPORT]
    slack.channels[CHANNEL].archived = False
    clock.advance(minutes=30)
    assert await desk.step() == Idle(IdleReason.PARKED)
    clock.advance(minutes=30)
    assert await desk.step() is None
    assert blocks.get_parked(desk.state) == []
    assert troubles.get_open_troubles(desk.state) == []
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
    assert (
        await again.step("slack:team") or Idle(IdleReason.PARKED)
    ).reason is IdleReason.BACKING_OFF
    clock.advance(seconds=0.1)
    await again.work("slack:support")
    await again.work("slack:team")
    assert [post.channel for post in slack.posts] == [CHANNEL, ROOM]


async def test_a_clock_that_was_set_back_prolongs_no_wait(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    queue(desk.state, "r1")
    slack.faults.add("chat.postMessage", saying("ratelimited", 429, **{"Retry-After": "60"}))
    await desk.step()
    clock.step(days=-3)
    clock.advance(seconds=60)
    assert await desk.step() is None
    assert posted(slack) == [["r1"]]


async def test_a_receiver_that_is_down_is_probed_by_one_message_a_minute_apart(
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
        assert pause.reason is IdleReason.BACKING_OFF
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


async def test_what_was_certainly_refused_is_grouped_again_with_newer_alerts(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(6))
    await slack.stop()
    await desk.step()
    queue(desk.state, *many(6, "s"))
    await slack.start()
    await desk.work()
    assert posted(slack) == [[*many(6), *many(6, "s")]]


async def test_a_receiver_that_hangs_holds_up_no_other(
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
async def test_a_message_that_is_refused_in_every_form_fails_alone(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox, clock: SetClock, receiver: str
) -> None:
    queue(desk.state, "r1", "r2", "r3", receivers=(receiver,))
    slack.faults.add("chat.postMessage", *[saying("invalid_blocks")] * 2)
    mailbox.data_replies.extend(["554 5.7.1 Spam"] * 2)
    await desk.work(receiver)
    arrived = posted(slack) or mailed(mailbox)
    assert arrived == [["r2"], ["r3"]]
    assert deliveries(desk.state, receiver) == {"failed": 1, "sent": 2}
    assert outbox.failed_count(desk.state) == 1
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


async def test_a_small_digest_that_is_refused_goes_out_as_plain_text(
    start: Start, state: State, slack: EmbeddedSlack
) -> None:
    desk = await start(burst=1)
    queue(state, *many(5))
    slack.faults.add("chat.postMessage", saying("invalid_blocks"))
    await desk.work()
    assert posted(slack) == [many(5)]
    assert slack.posts[0].blocks == []


@pytest.mark.parametrize("receiver", ["slack:support", "email:owner"])
async def test_a_small_digest_that_is_refused_as_plain_text_too_is_halved(
    start: Start, state: State, slack: EmbeddedSlack, mailbox: Mailbox, receiver: str
) -> None:
    desk = await start(burst=1)
    queue(state, *many(5), receivers=(receiver,))
    slack.faults.add("chat.postMessage", *[saying("invalid_blocks")] * 2)
    mailbox.data_replies.extend(["552 5.3.4 Too large"] * 2)
    await desk.work(receiver)
    assert (posted(slack) or mailed(mailbox)) == [many(5)[:2], many(5)[2:]]
    assert deliveries(state, receiver) == {"sent": 5}


async def test_digests_grow_again_once_a_single_alert_has_failed(
    start: Start, state: State, slack: EmbeddedSlack
) -> None:
    desk = await start(burst=1)
    queue(state, *many(30))
    refused = (15, 10, 10, 5, 5, 2, 2, 1, 1)  # from ten on as plain text too
    slack.faults.add("chat.postMessage", *[saying("invalid_blocks")] * (1 + len(refused)))
    await desk.work()
    assert posted(slack) == [
        many(30)[1:2],
        many(30)[2:4],
        many(30)[4:8],
        many(30)[8:16],
        many(30)[16:26],
        many(30)[26:],
    ]
    assert deliveries(state) == {"failed": 1, "sent": 29}


async def test_a_refused_digest_is_not_sent_again_to_those_who_have_it(
    start: Start, state: State, mailbox: Mailbox
) -> None:
    desk = await start(burst=1)
    queue(state, *many(30), receivers=("email:owner",))
    mailbox.refuse = {SECOND: "450 4.2.1 Later"}
    await desk.step("email:owner")
    mailbox.refuse.clear()
    mailbox.data_replies.extend(["554 5.7.1 Spam"] * 2)
    await desk.work("email:owner")
    assert mailed(mailbox) == [many(30)]
    assert deliveries(state, "email:owner") == {"sent": 30}
    assert "addresses:owner" in blocked(state, desk.clock.now())


def breaking(destination: Destination) -> Destination:
    """A renderer that cannot render one of the reviews."""

    def render(message: Message, *, test: bool = False) -> Content:
        if any(entry.review and entry.review.id == "poison" for entry in message.entries):
            raise RenderError("template new.txt, line 3: something is undefined")
        return destination.render(message, test=test)

    return replace(destination, render=render)


@pytest.mark.parametrize("others", [2, 30], ids=["as alerts", "as a digest"])
@pytest.mark.parametrize("receiver", ["slack:support", "email:owner"])
async def test_a_review_that_cannot_be_rendered_fails_alone(
    start: Start, state: State, slack: EmbeddedSlack, mailbox: Mailbox, receiver: str, others: int
) -> None:
    desk = await start(breaking)
    queue(state, "r000", "poison", *many(others)[1:], receivers=(receiver,))
    await desk.work(receiver)
    arrived = [name for names in posted(slack) or mailed(mailbox) for name in names]
    assert arrived == many(others)
    assert deliveries(state, receiver) == {"failed": 1, "sent": others}
    row = state.row("SELECT * FROM messages WHERE status = 'failed'") or {}
    assert row["error"] == "template new.txt, line 3: something is undefined"


async def test_a_defect_of_alerter_ends_no_worker_and_loses_nothing(
    start: Start, state: State, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    async def fail() -> None:
        if broken:
            raise ZeroDivisionError

    desk = await start(hooked("email:owner", before=fail))
    queue(state, "r1", receivers=("email:owner",))
    await desk.dispatcher.run(ends_at=(IdleReason.NOTHING_DUE, IdleReason.BACKING_OFF))
    assert "a defect of alerter" in caplog.text
    assert mailbox.mails == []
    broken = False
    await desk.work("email:owner")
    assert mailed(mailbox) == [["r1"]]
