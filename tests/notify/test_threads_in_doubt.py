"""A reply in a thread whose answer was lost: looked for where it would be, and posted once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from alerter.config import Config
from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack, Post
from alerter.models import Alert, AlertKind, Content, Message, Status, StoredReview
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import Idle, IdleReason
from alerter.service.destinations import open_destinations
from alerter.store import State, messages
from alerter.store.raised_alerts import NewAlert, raise_alerts
from alerter.store.reviews import put_reviews
from tests.support.clock import SetClock
from tests.support.reviews import review
from tests.support.values import CHANNEL, SCOPES, SECRETS, SITE

CLOSED, REMINDER = AlertKind.CLOSED, AlertKind.REMINDER
KINDS = pytest.mark.parametrize(
    "kind", [CLOSED, REMINDER], ids=["a thread's reply", "a broadcast reply"]
)


@dataclass
class Table:
    """A channel's worker that a test moves by hand; what it says is the keys of its alerts."""

    state: State
    clock: SetClock
    slack: EmbeddedSlack
    dispatcher: Dispatcher

    def queue(self, kind: AlertKind, *ids: str) -> None:
        with self.state.transaction():
            put_reviews(
                self.state,
                SITE,
                [StoredReview(review(each), Status.OPEN) for each in ids],
                self.clock.now(),
            )
            alerts = [Alert(f"{kind}:{SITE}:{each}", kind, SITE, each) for each in ids]
            raise_alerts(
                self.state,
                [NewAlert(each, [("slack:support", None)]) for each in alerts],
                self.clock.now(),
            )

    async def step(self) -> Idle | None:
        return await self.dispatcher._workers["slack:support"].step()

    async def work(self) -> Idle:
        while (pause := await self.step()) is None or (pause.seconds or 0) > 0:
            self.clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)
        return pause

    def said(self, kind: AlertKind) -> list[Post]:
        return [post for post in self.slack.posts if post.text.startswith(kind)]

    def asked(self, method: str) -> int:
        return sum(call.method == method for call in self.slack.requests)


def plainly(message: Message, *, test: bool = False) -> Content:
    return Content("", " ".join(entry.alert.key for entry in message.entries))


async def sit(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack
) -> AsyncIterator[Table]:
    async with open_destinations(config, clock) as destinations:
        plain = [replace(destination, render=plainly) for destination in destinations]
        yield Table(state, clock, slack, Dispatcher(state, config, clock, plain))


@pytest.fixture
async def table(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack
) -> AsyncIterator[Table]:
    """A digest of twelve reviews was sent: the next message about one of them is a reply to it."""
    async for table in sit(config, state, clock, slack):
        table.queue(AlertKind.NEW, *(f"r{number}" for number in range(12)))
        await table.work()
        assert len(slack.posts) == 1
        clock.advance(hours=1)
        yield table


@KINDS
@pytest.mark.parametrize("drop", ["before", "after"])
async def test_a_thread_reply_in_doubt_is_looked_for_in_its_thread(
    table: Table, kind: AlertKind, drop: str
) -> None:
    """It stands there once."""
    table.queue(kind, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop=drop))
    await table.work()
    (post,) = table.said(kind)
    assert post.thread_ts == table.slack.posts[0].ts
    assert post.reply_broadcast is (kind is REMINDER)
    assert (table.asked("conversations.replies"), table.asked("conversations.history")) == (1, 0)


@KINDS
async def test_a_reply_that_a_dead_process_left_is_found_by_the_next(
    table: Table,
    config: Config,
    state: State,
    clock: SetClock,
    slack: EmbeddedSlack,
    kind: AlertKind,
) -> None:
    table.queue(kind, "r3")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await table.step()
    state.execute("UPDATE messages SET status = 'sending' WHERE status = 'in_doubt'")
    async for following in sit(config, state, clock, slack):
        assert messages.recover(state) == 1
        await following.work()
    assert len(table.said(kind)) == 1


@KINDS
async def test_a_reply_in_doubt_is_not_looked_for_before_five_seconds_are_over(
    table: Table, kind: AlertKind
) -> None:
    table.queue(kind, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="after"))
    await table.step()
    table.clock.advance(seconds=4.9)
    assert (await table.step() or Idle(IdleReason.PARKED)).reason is IdleReason.SETTLING
    assert table.asked("conversations.replies") == 0
    table.clock.advance(seconds=0.2)
    assert await table.step() is None
    assert table.asked("conversations.replies") == 1


@KINDS
async def test_a_look_at_the_thread_that_fails_is_taken_again(
    table: Table, kind: AlertKind
) -> None:
    table.queue(kind, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="after"))
    table.slack.faults.add(
        "conversations.replies", Fault(status=503), Fault(drop="before"), Fault(garble="html")
    )
    await table.work()
    assert len(table.said(kind)) == 1
    assert table.asked("conversations.replies") == 4


REFUSED = Fault(body='{"ok": false, "error": "not_allowed_token_type"}')


async def test_a_broadcast_reply_is_found_in_the_channel(
    table: Table,
) -> None:
    """Where bots may not read threads."""
    table.queue(REMINDER, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="after"))
    table.slack.faults.always("conversations.replies", REFUSED)
    await table.work()
    assert len(table.said(REMINDER)) == 1


async def test_another_reply_is_posted_again_and_logged(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    """Where bots may not read threads."""
    table.queue(CLOSED, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="after"))
    table.slack.faults.always("conversations.replies", REFUSED)
    await table.work()
    assert len(table.said(CLOSED)) == 2
    assert table.said(CLOSED)[0].metadata == table.said(CLOSED)[1].metadata
    assert "may be posted twice" in caplog.text


@KINDS
async def test_without_the_history_scope_a_reply_is_posted_again_and_logged(
    table: Table, kind: AlertKind, caplog: pytest.LogCaptureFixture
) -> None:
    table.slack.add_token(
        SECRETS["SLACK_BOT_TOKEN"], scopes=[each for each in SCOPES if "history" not in each]
    )
    table.queue(kind, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="after"))
    await table.work()
    assert len(table.said(kind)) == 2
    assert "may be posted twice" in caplog.text


async def test_a_reminder_in_doubt_whose_thread_is_deleted_is_posted_once(
    table: Table,
) -> None:
    """In the channel."""
    table.queue(REMINDER, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="before"))
    await table.step()
    table.slack.delete(CHANNEL, table.slack.posts[0].ts)
    await table.work()
    (post,) = table.said(REMINDER)
    assert post.thread_ts is None


async def test_a_reminder_that_went_to_the_channel_is_found_there(
    table: Table,
) -> None:
    """Its thread was gone."""
    table.slack.delete(CHANNEL, table.slack.posts[0].ts)
    table.queue(REMINDER, "r3")
    table.slack.faults.add("chat.postMessage", Fault(), Fault(drop="after"))
    await table.work()
    assert len(table.said(REMINDER)) == 1


async def test_a_closing_in_doubt_whose_thread_is_deleted_meanwhile_is_not_said(
    table: Table,
) -> None:
    table.queue(CLOSED, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="before"))
    await table.step()
    table.slack.delete(CHANNEL, table.slack.posts[0].ts)
    assert (await table.work()).reason is IdleReason.NOTHING_DUE
    assert [post for post in table.said(CLOSED) if not post.deleted] == []
    assert not table.state.rows("SELECT * FROM deliveries WHERE status = 'pending'")


async def test_a_closing_that_slack_posts_in_the_channel_is_deleted_there(table: Table) -> None:
    table.slack.delete(CHANNEL, table.slack.posts[0].ts)
    table.queue(CLOSED, "r3")
    await table.work()
    [post] = table.said(CLOSED)
    assert post.deleted
    assert not table.state.rows("SELECT * FROM deliveries WHERE status = 'pending'")


async def test_a_closing_that_a_look_finds_in_the_channel_is_deleted_there(table: Table) -> None:
    table.slack.delete(CHANNEL, table.slack.posts[0].ts)
    table.queue(CLOSED, "r3")
    table.slack.faults.add("chat.postMessage", Fault(drop="after"))
    await table.work()
    [post] = table.said(CLOSED)
    assert post.deleted
    assert not table.state.rows("SELECT * FROM deliveries WHERE status = 'pending'")
