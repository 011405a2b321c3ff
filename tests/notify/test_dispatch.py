"""A delivery is sent once, in the right grouping and on time, whatever the services do."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from alerter.clock import Clock
from alerter.config import Config
from alerter.counters import counts
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.models import (
    Alert,
    AlertKind,
    Form,
    Grouping,
    Status,
    StoredReview,
)
from alerter.notify.digest import group
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import Idle, IdleReason
from alerter.service.destinations import open_destinations
from alerter.store import State, blocks, outbox
from alerter.store.outbox import DueDelivery
from alerter.store.raised_alerts import NewAlert, raise_alerts
from alerter.store.reviews import put_reviews
from tests.support.clock import SetClock
from tests.support.desk import (
    BURST,
    DIGEST,
    EACH,
    ROOM,
    SECOND,
    Desk,
    Start,
    blocked,
    config,
    deliveries,
    desk,
    hooked,
    mailed,
    many,
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
    ("count", "sizes"), [(10, [1] * 10), (11, [11]), (101, [90, 11]), (95, [90, 5])], ids=str
)
async def test_more_than_a_burst_leaves_as_digests(
    desk: Desk, slack: EmbeddedSlack, count: int, sizes: list[int]
) -> None:
    ids = many(count)
    queue(desk.state, *ids)
    assert (await desk.work()).reason is IdleReason.NOTHING_DUE
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


async def test_more_than_a_burst_after_what_is_asked_for_one_by_one_is_a_digest(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, *many(3), grouping=EACH)
    queue(desk.state, *many(11, "new"))
    queue(desk.state, *many(2, "last"), grouping=EACH)
    await desk.work()
    each = [[name] for name in many(3)], [[name] for name in many(2, "last")]
    assert posted(slack) == [*each[0], many(11, "new"), *each[1]]
    queue(desk.state, *many(11, "newest"))
    await desk.work()
    assert posted(slack)[-1] == many(11, "newest")


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


# A process that dies


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


async def test_an_address_that_refuses_for_good_is_logged_and_the_mail_is_sent(
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
    assert (await desk.work("email:owner")).reason is IdleReason.NOTHING_DUE
    assert [mail.recipients for mail in mailbox.mails] == [(OWNER,)]
    assert deliveries(desk.state, "email:owner") == {"sent": 1}
    assert blocks.get_parked(desk.state) == []


async def test_a_retry_reaches_only_the_addresses_that_did_not_take_it(
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


@pytest.mark.sqlite  # counts its statements
@pytest.mark.parametrize(("receiver", "most"), [("slack:support", 16), ("email:owner", 17)])
async def test_a_message_takes_few_statements(desk: Desk, receiver: str, most: int) -> None:
    queue(desk.state, "r0", receivers=(receiver,))
    await desk.work(receiver)
    queue(desk.state, "r1", receivers=(receiver,))
    desk.clock.advance(seconds=1)
    asked: list[str] = []
    desk.state.engine.conn.set_trace_callback(asked.append)
    assert await desk.step(receiver) is None
    desk.state.engine.conn.set_trace_callback(None)
    assert len(asked) <= most, asked


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


async def test_two_receivers_of_one_channel_share_its_pace_when_woken_at_once(
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


async def test_a_worker_that_was_not_woken_finds_its_work_within_a_minute(
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


async def test_a_run_ends_when_every_worker_is_idle_and_says_what_is_left(
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
        "alerter.notify.worker._WAKE_EVERY", 2 * HANG
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


async def test_an_error_of_a_receiver_is_logged_once_until_it_changes(
    desk: Desk, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="alerter")
    queue(desk.state, "r1", receivers=("email:owner",))
    mailbox.down = True
    await desk.work("email:owner", within=120)
    mailbox.down = False
    await desk.work("email:owner")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("alerter")]
    assert len(lines) == 3
    assert "waits" in lines[0]
    assert lines[1] == 'receiver "owner": message sent: medium=email alerts=1'
    assert lines[2] == 'receiver "owner": is reached again'
    assert not any(secret in caplog.text for secret in (OWNER, SECOND, *SECRETS.values()))
