"""Replies from Slack: press, write, submit; the reply arrives once, or the person learns why."""

from alerter.actions import ActionKind, Outcome, Through
from tests.support.buttons import (
    ADA,
    Counter,
    buttons_of,
    clock,
    config,
    counter,
    slack,
    text_of,
    wix,
    write,
)
from tests.support.waiting import until

__all__ = ["clock", "config", "counter", "slack", "wix", "write"]

SORRY = "We are sorry."


async def test_a_reply_from_slack_arrives_at_wix(counter: Counter) -> None:
    post = await counter.alert()
    modal = await counter.open_modal(post)
    assert "As stone." in str(modal.content["blocks"])
    assert "Carl" in str(modal.content["blocks"])
    submitted = await counter.ada.submit({"text": SORRY})
    assert submitted.acknowledged
    assert submitted.answer is None
    assert counter.ada.modals == []
    action = await counter.settled()
    assert counter.reply() == SORRY
    assert (action.outcome, action.new.kind) == (Outcome.DONE, ActionKind.REPLY)
    assert (action.new.person.name, action.new.person.slack_id) == ("ada", ADA)
    assert action.new.through is Through.SLACK
    await counter.deliver()
    assert SORRY in text_of(post)
    assert buttons_of(post) == []
    assert counter.ada.ephemerals == []


async def test_a_canned_reply_fills_the_text_which_may_be_changed(counter: Counter) -> None:
    modal = await counter.open_modal(await counter.alert())
    counter.ada.enter("text", "Hello")
    chosen = await counter.ada.choose(modal, "respond:canned", "Sorry")
    assert chosen.acknowledged
    await until(lambda: modal.inputs == ["reply:1"])
    assert modal.entered["reply:1", "text"] == "Hello Carl, we are sorry."
    await counter.ada.submit({"text": "Hello Carl, we are very sorry."})
    await counter.settled()
    assert counter.reply() == "Hello Carl, we are very sorry."
