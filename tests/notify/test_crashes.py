"""A process that dies while it sends, and a database that cannot be written."""

import asyncio
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

import pytest

from alerter.config import Config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.errors import StateBusy
from alerter.models import (
    Form,
    Message,
)
from alerter.notify.worker import IdleReason
from alerter.service.destinations import open_destinations
from alerter.store import State, outbox
from tests.support.clock import SetClock
from tests.support.desk import (
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
    named,
    posted,
    queue,
    saying,
    sending,
    slack,
    start,
)
from tests.support.state_faults import impatient, locked
from tests.support.values import OWNER
from tests.support.waiting import HANG

__all__ = ["config", "desk", "slack", "start"]


async def leave_claimed(
    state: State, config: Config, clock: SetClock, receiver: str, *, taken: bool
) -> Message:
    """What a process leaves that died between marking a message and marking its answer."""
    async with open_destinations(config, clock) as destinations:
        (destination,) = [
            destination for destination in destinations if destination.name == receiver
        ]
        alerts = [due.alert for due in outbox.due_deliveries(state, receiver, clock.now(), 1)]
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
async def test_a_crash_around_a_mail_repeats_it_under_its_message_id_only(
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
    # Two claims and two marks, and one more where marks do not go to the disk by themselves.
    last = 5 if desk.state.engine.relaxes else 4
    assert counts["transactions"] - before == last
    desk.state.flush()
    assert counts["transactions"] - before == last


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


# The database


async def test_nothing_is_sent_that_could_not_be_marked_before(
    desk: Desk, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    queue(desk.state, "r1", receivers=("slack:support", "email:owner"))
    with locked(impatient(desk.state).database):
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
    with locked(impatient(desk.state).database), pytest.raises(StateBusy):
        await desk.step()
    assert len(asked(slack)) == 1
    await desk.work()
    assert posted(slack) == [["r1"]]


@dataclass(frozen=True)
class Answer:
    """What a service says, and what of it stands in the database once that is free."""

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
async def test_an_answer_is_recorded_however_long_the_database_is_locked(
    start: Start, state: State, slack: EmbeddedSlack, clock: SetClock, answer: Answer
) -> None:
    lock = ExitStack()

    async def take() -> None:
        lock.enter_context(locked(state.database))

    async def free() -> None:
        while len(clock.slept) < 5:
            await asyncio.sleep(0)
        lock.close()

    desk = await start(hooked("slack:support", before=take))
    impatient(desk.state)
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
        stack.enter_context(locked(state.database))

    async with AsyncExitStack() as stack:
        desk = await start(hooked("slack:support", after=lock))
        impatient(desk.state)
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
