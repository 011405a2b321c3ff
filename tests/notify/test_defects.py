"""An exception that nothing foresaw: it is trouble if it lasts, and repeats no message."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.models import Content, Message
from alerter.store import blocks, stale_messages, troubles
from tests.support.desk import (
    Desk,
    Hooked,
    Start,
    config,
    deliveries,
    hooked,
    posted,
    queue,
    slack,
    start,
)
from tests.support.values import SITE

__all__ = ["config", "slack", "start"]

SUPPORT = "slack:support"


class Defect:
    """Raises until it is fixed."""

    def __init__(self) -> None:
        self.fixed = False

    async def __call__(self) -> None:
        if not self.fixed:
            raise OverflowError("not the customer's text")


async def minute(desk: Desk, receiver: str = SUPPORT) -> None:
    desk.clock.advance(minutes=1)
    for _ in range(10):
        if await desk.dispatcher._workers[receiver]._careful_step():
            break


def open_troubles(desk: Desk) -> list[tuple[str, str]]:
    return [(trouble.scope, trouble.reason) for trouble in troubles.get_open_troubles(desk.state)]


async def test_a_defect_that_lasts_is_trouble_until_the_worker_works_again(
    start: Start, slack: EmbeddedSlack, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    defect = Defect()
    desk = await start(hooked(SUPPORT, before=defect))
    queue(desk.state, "r1")
    for _ in range(14):
        await minute(desk)
    assert open_troubles(desk) == []
    for _ in range(3):
        await minute(desk)
    reason = "a defect of alerter (OverflowError); its log has the details"
    assert open_troubles(desk) == [(f"destination:{SUPPORT}", reason)]
    assert len([record for record in caplog.records if record.exc_info]) == 1
    await minute(desk, "email:owner")
    assert "support (Slack) cannot be reached" in mailbox.mails[-1].subject
    assert "not the customer's text" not in mailbox.mails[-1].text
    defect.fixed = True
    for _ in range(2):
        await minute(desk)
    assert posted(slack) == [["r1"]]
    assert open_troubles(desk) == []
    await minute(desk, "email:owner")
    assert mailbox.mails[-1].subject.startswith("🟢")


async def test_a_defect_before_a_message_is_chosen_is_trouble_too(start: Start) -> None:
    def held_until(now: datetime) -> datetime | None:
        raise OverflowError

    desk = await start(lambda destination: replace(destination, held_until=held_until))
    queue(desk.state, "r1", due_at=desk.clock.now() + timedelta(hours=1))
    for _ in range(17):
        await minute(desk)
    assert [scope for scope, _ in open_troubles(desk)] == [f"destination:{SUPPORT}"]


async def test_a_message_whose_answer_met_a_defect_is_not_sent_again(
    start: Start, slack: EmbeddedSlack
) -> None:
    defect = Defect()
    desk = await start(hooked(SUPPORT, after=defect))
    queue(desk.state, "r1")
    await minute(desk)
    defect.fixed = True
    for _ in range(3):
        await minute(desk)
    assert posted(slack) == [["r1"]]
    assert deliveries(desk.state) == {"sent": 1}


class NoUpdates(Hooked):
    """A notifier whose updates meet a defect."""

    async def update(self, message: Message, content: Content) -> None:
        raise OverflowError(f"message {message.id}")


async def test_a_defect_of_an_update_holds_up_no_alert_and_no_other_update(
    start: Start, slack: EmbeddedSlack, caplog: pytest.LogCaptureFixture
) -> None:
    desk = await start(lambda each: replace(each, notifier=NoUpdates(each.notifier)))
    queue(desk.state, "r1", "r2")
    await desk.work()
    with desk.state.transaction():
        stale_messages.mark_stale(desk.state, SITE, ["r1", "r2"])
    await desk.work(within=10)
    assert "OverflowError: message 1" in caplog.text
    assert "OverflowError: message 2" in caplog.text
    queue(desk.state, "r3")
    await desk.work(within=2)
    assert posted(slack) == [["r1"], ["r2"], ["r3"]]
    assert blocks.get_blocks(desk.state) == []
