"""Updates of messages on Slack: a refused one keeps the old text, and erased text is removed."""

from datetime import timedelta

import pytest

from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.store import State, blocks, stale_messages, troubles
from tests.support.clock import SetClock
from tests.support.desk import (
    ROOM,
    Desk,
    Start,
    asked,
    config,
    desk,
    hooked,
    many,
    posted,
    queue,
    slack,
    start,
)
from tests.support.life import Begin, Life, begin, life, wix
from tests.support.messages import words_of
from tests.support.values import CHANNEL, OWNER, SITE

__all__ = ["begin", "config", "desk", "life", "slack", "start", "wix"]

UPDATE, DELETE = "chat.update", "chat.delete"
DAY = timedelta(days=1)


def mark_stale(state: State, *ids: str) -> None:
    with state.transaction():
        stale_messages.mark_stale(state, SITE, ids)


def scopes(state: State) -> list[str]:
    return [each.scope for each in troubles.get_open_troubles(state)]


def edits(slack: EmbeddedSlack) -> list[int]:
    return [len(post.edits) for post in slack.posts]


async def test_throttled_changes_hold_up_no_post_over_a_restart_too(
    start: Start, slack: EmbeddedSlack, clock: SetClock
) -> None:
    desk = await start()
    queue(desk.state, "r1")
    await desk.work()
    slack.throttle(UPDATE, 3000)
    mark_stale(desk.state, "r1")
    await desk.work(within=10)
    again = await start()
    queue(again.state, "r2")
    await again.work(within=600)
    assert posted(slack) == [["r1"], ["r2"]]
    assert edits(slack) == [0, 0]
    assert len(asked(slack, UPDATE)) == 1
    await again.work()
    assert edits(slack) == [1, 0]
    assert len(asked(slack, UPDATE)) == 2


@pytest.mark.parametrize("fraction", [0.0, 0.0004, 0.0006, 0.000999])
async def test_a_change_is_made_at_once_in_any_fraction_of_a_millisecond(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock, fraction: float
) -> None:
    queue(desk.state, "r1")
    await desk.work()
    mark_stale(desk.state, "r1")
    clock.advance(seconds=10 + fraction)
    assert await desk.step() is None
    assert edits(slack) == [1]


async def test_a_change_that_fails_for_now_is_tried_with_growing_waits_for_a_day(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    queue(desk.state, "r1", "r2")
    await desk.work()
    slack.faults.always(UPDATE, Fault(status=503))
    mark_stale(desk.state, "r1")
    began = clock.monotonic()
    await desk.work(within=DAY.total_seconds() * 2)
    times = asked(slack, UPDATE)
    assert DAY.total_seconds() <= times[-1] - began < DAY.total_seconds() + 3601
    assert 20 < len(times) < 60
    assert times[1] - times[0] < 5
    assert 3500 < times[-2] - times[-3] < 3700
    assert edits(slack) == [0, 0]
    assert "keeps its old text" in caplog.text
    assert blocks.get_blocks(desk.state) == []
    assert scopes(desk.state) == []


async def test_a_change_that_fails_holds_up_no_other_and_no_post(
    desk: Desk, slack: EmbeddedSlack
) -> None:
    queue(desk.state, "r1", "r2")
    await desk.work()
    slack.faults.add(UPDATE, Fault(status=503), Fault(drop="before"))
    mark_stale(desk.state, "r1", "r2")
    queue(desk.state, "r3")
    await desk.work(within=1)
    assert posted(slack)[2:] == [["r3"]]
    await desk.work(within=60)
    assert edits(slack) == [1, 1, 0]


@pytest.mark.parametrize(
    "error", ["update_failed", "no_permission", "cant_update_message", "is_inactive"]
)
async def test_a_change_that_slack_refuses_keeps_the_old_words_and_parks_nothing(
    desk: Desk, slack: EmbeddedSlack, caplog: pytest.LogCaptureFixture, error: str
) -> None:
    queue(desk.state, "r1")
    await desk.work()
    slack.refuse[UPDATE, "*"] = error
    mark_stale(desk.state, "r1")
    await desk.work()
    queue(desk.state, "r2")
    await desk.work()
    assert posted(slack) == [["r1"], ["r2"]]
    assert "keeps its old text" in caplog.text
    assert blocks.get_blocks(desk.state) == []
    assert scopes(desk.state) == []
    assert len(asked(slack, UPDATE)) <= 2


async def test_a_message_in_a_channel_that_the_app_lost_keeps_its_words(
    begin: Begin, slack: EmbeddedSlack
) -> None:
    """After a move of the receiver to another channel."""
    there = f'[[receivers]]\nname = "support"\nslack = "{CHANNEL}"\n'
    life = await begin(receivers=there)
    life.put()
    await life.minutes(2)
    slack.channels[CHANNEL].private, slack.channels[CHANNEL].member = True, False
    life = await begin(receivers=there.replace(CHANNEL, ROOM))
    life.wix.change(SITE, "r1", content={"rating": 1, "title": "Edited"})
    life.clock.advance(hours=1)
    await life.minutes(3)
    assert len(asked(slack, UPDATE)) >= 1
    life.number = 1
    life.put()
    await life.minutes(2)
    assert edits(slack)[0] == 0
    assert "Title 1" in words_of(slack.posts[0].blocks)
    assert slack.posts[-1].channel == ROOM
    assert "Title 2" in words_of(slack.posts[-1].blocks)
    assert life.open() == []
    assert blocks.get_blocks(life.state) == []


# Words that must go


async def erase(life: Life, how: str) -> None:
    """Have a review lose its words at Wix, and let alerter find out."""
    content = {"rating": 1, "title": "Title 1"}
    life.wix.add(SITE, {"id": "r1", "content": content, "author": {"authorName": "Zacharias"}})
    await life.minutes(2)
    if how == "deleted":
        life.wix.delete(SITE, "r1")
    else:
        life.wix.change(SITE, "r1", author={"authorName": None, "contactId": None})
    life.clock.advance(hours=1)
    await life.minutes(1)
    life.clock.advance(hours=1)
    await life.minutes(2)


def of_erasure(slack: EmbeddedSlack) -> list[bool]:
    """The messages about words that still stand: whether they say that it is over."""
    return [
        post.text.startswith("🟢")
        for post in slack.posts
        if "ords of a deleted review" in post.text
    ]


@pytest.mark.parametrize("how", ["deleted", "anonymized"])
async def test_an_erasure_that_slack_refuses_is_trouble_and_a_deletion_next_day(
    life: Life, slack: EmbeddedSlack, how: str
) -> None:
    slack.refuse[UPDATE, "*"] = "update_failed"
    await erase(life, how)
    assert life.open() == ["erasure:slack:support"]
    assert life.needs_a_person()
    life.clock.advance(hours=22)
    await life.minutes(30)
    assert asked(slack, DELETE) == []
    await life.minutes(100)
    assert slack.posts[0].deleted
    assert len(asked(slack, DELETE)) == 1
    assert life.open() == []
    assert not life.needs_a_person()
    assert of_erasure(slack) == [False, True]


async def test_words_that_slack_will_not_delete_are_tried_daily_and_once_each(
    life: Life, slack: EmbeddedSlack
) -> None:
    slack.refuse[UPDATE, "*"] = "update_failed"
    slack.refuse[DELETE, "*"] = "cant_delete_message"
    await erase(life, "deleted")
    for _ in range(3):
        life.clock.advance(hours=23)
        await life.minutes(70)
    assert len(asked(slack, DELETE)) == 3
    assert life.open() == ["erasure:slack:support"]
    assert of_erasure(slack) == [False]
    slack.refuse.clear()
    life.clock.advance(hours=23)
    await life.minutes(70)
    assert "Title" not in words_of(slack.posts[0].blocks)
    assert life.open() == []
    assert of_erasure(slack) == [False, True]


async def test_words_in_a_digest_whose_other_reviews_change_are_deleted_too(
    desk: Desk, slack: EmbeddedSlack, clock: SetClock
) -> None:
    ids = many(12)
    queue(desk.state, *ids)
    await desk.work()
    slack.refuse[UPDATE, "*"] = "update_failed"
    with desk.state.transaction():
        stale_messages.erase_earlier_text(desk.state, SITE, ids[:1])
    mark_stale(desk.state, ids[0])
    for each in ids[1:8]:
        await desk.work(within=60)
        assert scopes(desk.state) == ([] if slack.posts[0].deleted else ["erasure:slack:support"])
        clock.advance(hours=6)
        mark_stale(desk.state, each)
    assert slack.posts[0].deleted
    assert asked(slack, DELETE)[0] >= DAY.total_seconds()
    assert scopes(desk.state) == []


async def test_a_message_with_words_to_erase_that_is_gone_from_slack_is_done(
    life: Life, slack: EmbeddedSlack
) -> None:
    life.put()
    await life.minutes(2)
    slack.delete(CHANNEL, slack.posts[0].ts)
    life.wix.delete(SITE, "r1")
    life.clock.advance(hours=2)
    await life.minutes(3)
    life.clock.advance(hours=25)
    await life.minutes(3)
    assert len(asked(slack, UPDATE)) == 1
    assert asked(slack, DELETE) == []
    assert life.open() == []


async def test_a_message_that_is_gone_when_it_is_to_be_deleted_is_done(
    life: Life, slack: EmbeddedSlack
) -> None:
    slack.refuse[UPDATE, "*"] = "update_failed"
    slack.refuse[DELETE, "*"] = "message_not_found"
    await erase(life, "deleted")
    life.clock.advance(hours=23)
    await life.minutes(70)
    assert len(asked(slack, DELETE)) == 1
    assert life.open() == []


@pytest.mark.parametrize(("refused", "call"), [(False, 1), (True, 1), (True, 2)])
async def test_words_that_are_erased_during_a_call_are_not_recorded_after_it(
    start: Start, state: State, mailbox: Mailbox, clock: SetClock, *, refused: bool, call: int
) -> None:
    """A mail's subject holds them. Where an address refuses it for now, there is a second call."""
    calls = 0

    async def erase() -> None:
        nonlocal calls
        calls += 1
        mailbox.refuse.clear()
        if calls == call:
            with desk.state.transaction():
                stale_messages.erase_earlier_text(desk.state, SITE, ["r1"])

    desk = await start(hooked("email:owner", after=erase))
    mailbox.refuse = {OWNER: "451 4.2.1 try again later"} if refused else {}
    queue(state, "r1", receivers=("email:owner",))
    while calls < 1 + refused:
        if pause := await desk.step("email:owner"):
            clock.advance(seconds=(pause.seconds or 0) + 0.001)
        else:
            rows = state.rows("SELECT subject FROM messages")
            assert [bool(row["subject"]) for row in rows] == [calls < call]
    assert ["<r1>" in mail.subject for mail in mailbox.mails] == [True] * (1 + refused)
