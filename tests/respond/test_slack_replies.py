"""Replies from Slack: press, write, submit; the reply arrives once, or the person learns why."""

from pathlib import Path

import pytest

from alerter.actions import ActionKind, ActionStatus, Outcome, Through
from alerter.config import Config
from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack, Modal
from alerter.demo.wix import EmbeddedWix
from alerter.store import State, backup
from tests.support.buttons import (
    ADA,
    Counter,
    at_counter,
    buttons_of,
    clock,
    config,
    counter,
    slack,
    text_of,
    wix,
    write,
)
from tests.support.clock import SetClock
from tests.support.state_faults import impatient, locked
from tests.support.values import SITE
from tests.support.waiting import until

__all__ = ["clock", "config", "counter", "slack", "wix", "write"]

SORRY = "We are sorry."
DASHBOARD = f"https://manage.wix.com/dashboard/{SITE}/reviews/pending"


def shown(modal: Modal) -> str:
    return str(modal.content["blocks"])


async def test_a_reply_from_slack_arrives_at_wix(counter: Counter) -> None:
    post = await counter.alert()
    modal = await counter.open_modal(post)
    assert "As stone." in shown(modal)
    assert "Carl" in shown(modal)
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
    assert "ada replied" in text_of(post)
    assert buttons_of(post) == []
    assert counter.ada.ephemerals == []


async def test_a_message_says_who_is_replying_while_wix_cannot_be_asked(counter: Counter) -> None:
    post = await counter.alert()
    await counter.open_modal(post)
    counter.wix.faults.always("/r1", Fault(status=503))
    assert (await counter.ada.submit({"text": SORRY})).acknowledged
    await until(lambda: counter.actions()[0].due_at != counter.actions()[0].at)
    await counter.deliver()
    assert "ada is replying …" in text_of(post)
    assert counter.reply() is None


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


async def test_a_canned_reply_can_be_chosen_again_after_it_was_changed(counter: Counter) -> None:
    modal = await counter.open_modal(await counter.alert())
    await counter.ada.choose(modal, "respond:canned", "Sorry")
    await until(lambda: modal.inputs == ["reply:1"])
    counter.ada.enter("text", "Hello")
    await counter.ada.choose(modal, "respond:canned", "Sorry")
    await until(lambda: modal.inputs == ["reply:2"])
    assert modal.entered["reply:2", "text"] == "Hello Carl, we are sorry."
    assert counter.ada.ephemerals == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x" * 10_001, "The reply has 10,001 characters, and Wix takes 10,000."),
        ("  \n ", "The reply is empty."),
        ("a\x07b", "The reply has characters that cannot be seen."),
    ],
    ids=["too long", "empty", "control characters"],
)
async def test_a_reply_that_wix_does_not_take_is_shown_at_its_field(
    counter: Counter, text: str, error: str
) -> None:
    modal = await counter.open_modal(await counter.alert())
    submitted = await counter.ada.submit({"text": text})
    assert submitted.acknowledged
    assert modal.open
    assert modal.errors == {"reply:0": error}
    assert counter.actions() == []
    await counter.ada.submit({"text": SORRY})
    await counter.settled()
    assert counter.reply() == SORRY


async def test_a_reply_that_came_meanwhile_is_replaced_by_a_second_press_only(
    counter: Counter,
) -> None:
    modal = await counter.open_modal(await counter.alert())
    counter.wix.reply(SITE, "r1", "From the dashboard")
    counter.clock.advance(minutes=10)
    await counter.read()
    assert (await counter.ada.submit({"text": SORRY})).acknowledged
    assert modal.open
    assert "From the dashboard" in shown(modal)
    assert modal.entered["reply:1", "text"] == SORRY
    assert modal.content["submit"]["text"] == "Replace the reply"
    assert counter.actions() == []
    assert (await counter.ada.submit()).acknowledged
    await counter.settled()
    assert counter.reply() == SORRY


async def test_a_window_is_shown_again_however_long_its_texts_are(counter: Counter) -> None:
    modal = await counter.open_modal(await counter.alert(author={"authorName": "כרמל"}))
    counter.wix.change(SITE, "r1", content={"body": "עבש" * 900})
    counter.clock.advance(minutes=10)
    await counter.read()
    long = "מצטערים" * 1000
    submitted = await counter.ada.submit({"text": long})
    assert submitted.acknowledged
    await until(lambda: modal.inputs == ["reply:1"])
    assert "עבש" in shown(modal)
    assert modal.entered["reply:1", "text"] == long
    await counter.ada.submit()
    await counter.settled()
    assert counter.reply() == long


async def test_a_review_that_changed_is_shown_before_it_is_answered(
    counter: Counter,
) -> None:
    modal = await counter.open_modal(await counter.alert())
    counter.wix.change(SITE, "r1", content={"body": "Mouldy!"})
    counter.clock.advance(minutes=10)
    await counter.read()
    assert (await counter.ada.submit({"text": SORRY})).acknowledged
    assert "Mouldy!" in shown(modal)
    assert "The customer has changed this review" in shown(modal)
    await counter.ada.submit()
    await counter.settled()
    assert counter.reply() == SORRY


async def test_a_refused_reply_is_given_back_and_may_be_sent_again(counter: Counter) -> None:
    await counter.open_modal(await counter.alert())
    counter.wix.reply(SITE, "r1", "From the dashboard")
    await counter.ada.submit({"text": SORRY})
    action = await counter.settled()
    assert action.outcome is Outcome.OTHER_REPLY
    (answer,) = counter.ada.ephemerals
    assert "the review has another reply now" in answer.text
    assert SORRY in str(answer.blocks)
    assert DASHBOARD in str(answer.blocks)
    assert (await counter.ada.press(answer, "respond:again")).acknowledged
    await until(lambda: counter.ada.modals)
    modal = counter.ada.modal
    assert "From the dashboard" in shown(modal)
    assert modal.entered["reply:0", "text"] == SORRY
    await counter.ada.submit()
    await counter.settled(2)
    assert counter.reply() == SORRY


async def test_words_that_wix_has_changed_are_no_longer_answered_unseen(counter: Counter) -> None:
    await counter.open_modal(await counter.alert())
    counter.wix.change(SITE, "r1", content={"body": "Mouldy!"})
    await counter.ada.submit({"text": SORRY})
    assert (await counter.settled()).outcome is Outcome.OTHER_TEXT
    (answer,) = counter.ada.ephemerals
    await counter.ada.press(answer, "respond:again")
    await until(lambda: counter.ada.modals)
    assert "Mouldy!" in shown(counter.ada.modal)
    assert counter.reply() is None


async def test_a_refusal_of_wix_says_why_and_gives_the_text_back(counter: Counter) -> None:
    await counter.open_modal(await counter.alert())
    counter.wix.faults.always("/reply", Fault(status=403, body="{}"))
    long = "Sorry. " * 1400
    await counter.ada.submit({"text": long})
    assert (await counter.settled()).outcome is Outcome.FORBIDDEN
    (answer,) = counter.ada.ephemerals
    assert "Wix does not allow alerter to do this" in answer.text
    quoted = [
        each["elements"][0]["text"]
        for block in answer.blocks
        if block["type"] == "rich_text"
        for each in block["elements"]
        if each["type"] == "rich_text_quote"
    ]
    assert "".join(quoted) == long.strip()
    assert "respond:again" not in str(answer.blocks)


async def test_a_reply_to_a_review_that_is_gone_is_given_back(counter: Counter) -> None:
    await counter.open_modal(await counter.alert())
    counter.wix.delete(SITE, "r1")
    await counter.ada.submit({"text": SORRY})
    assert (await counter.settled()).outcome is Outcome.GONE
    assert "not at Wix any more" in counter.ada.ephemerals[0].text


async def test_a_submission_that_arrives_many_times_is_one_reply(counter: Counter) -> None:
    await counter.open_modal(await counter.alert())
    counter.slack.socket.copies = 3
    submitted = await counter.ada.submit({"text": SORRY})
    await counter.settled()
    await counter.slack.socket.again(submitted)
    await until(lambda: all(each.acked_at for each in submitted.envelopes))
    assert len(counter.actions()) == 1
    assert sum(request.method == "PATCH" for request in counter.wix.requests) == 1
    assert [each.answer for each in submitted.envelopes] == [None] * 4


async def test_a_press_that_arrives_many_times_opens_one_window(counter: Counter) -> None:
    post = await counter.alert()
    counter.slack.socket.copies = 2
    pressed = counter.ada.press(post, "respond:reply")
    await pressed
    await counter.slack.socket.again(pressed)
    await until(lambda: len(pressed.envelopes) == 3)
    await until(lambda: all(each.acked_at for each in pressed.envelopes))
    await until(lambda: counter.ada.modals)
    assert len(counter.ada.modals) == 1
    assert counter.ada.ephemerals == []


@pytest.mark.slow
async def test_what_cannot_be_recorded_is_said_where_the_person_acts(counter: Counter) -> None:
    post = await counter.alert()
    modal = await counter.open_modal(post)
    with locked(impatient(counter.state).database):
        submitted = await counter.ada.submit({"text": SORRY})
        assert submitted.acknowledged
        assert modal.open
        assert "alerter cannot record it now" in modal.errors["reply:0"]
        assert (await counter.ada.press(post, "respond:claim")).acknowledged
        await until(lambda: counter.ada.ephemerals)
        assert "alerter cannot record it now" in counter.ada.ephemerals[0].text
    assert counter.actions() == []
    await counter.ada.submit({"text": SORRY})
    await counter.settled()
    assert counter.reply() == SORRY


async def test_a_window_that_would_open_too_late_is_asked_for_again(counter: Counter) -> None:
    post = await counter.alert()
    counter.slack.socket.hold()
    pressed = counter.ada.press(post, "respond:reply")
    await until(lambda: len(counter.clock.timeouts) > 1)
    counter.clock.advance(seconds=4)
    await pressed
    counter.slack.socket.release()
    await until(lambda: counter.ada.ephemerals)
    assert "did not open in time" in counter.ada.ephemerals[0].text


async def test_a_result_is_shown_once_slack_takes_it_after_a_restart_too(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> None:
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        await counter.open_modal(await counter.alert())
        wix.reply(SITE, "r1", "From the dashboard")
        slack.faults.always("chat.postEphemeral", Fault(status=503))
        await counter.ada.submit({"text": SORRY})
        await until(lambda: counter.actions() and counter.actions()[0].is_settled)
    slack.faults.clear()
    assert counter.ada.ephemerals == []
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.settled()
        assert [SORRY in str(each.blocks) for each in counter.ada.ephemerals] == [True]


async def test_a_reply_that_was_recorded_before_a_restart_is_sent_after_it(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> None:
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        await counter.open_modal(await counter.alert())
        wix.faults.always("/r1", Fault(status=503))
        await counter.ada.submit({"text": SORRY})
        await until(lambda: counter.actions()[0].due_at != counter.actions()[0].at)
    wix.faults.clear()
    clock.advance(minutes=1)
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.runtime.actions.round()
        await until(lambda: counter.actions()[0].status is ActionStatus.DONE)
        assert counter.reply() == SORRY


async def test_a_button_of_an_old_message_works_after_a_restart(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> None:
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        post = await counter.alert()
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.open_modal(post)
        await counter.ada.submit({"text": SORRY})
        await counter.settled()
        assert counter.reply() == SORRY


async def test_a_person_who_has_left_the_channel_gets_a_direct_message(counter: Counter) -> None:
    await counter.open_modal(await counter.alert())
    counter.wix.reply(SITE, "r1", "From the dashboard")
    counter.slack.channels["C0123456789"].members = set()
    await counter.ada.submit({"text": SORRY})
    await counter.settled()
    assert counter.ada.ephemerals == []
    assert SORRY in str(counter.slack.posts[-1].blocks)
    assert counter.slack.channels[counter.slack.posts[-1].channel].user == ADA


async def test_a_digest_has_a_menu_that_opens_the_same_window(counter: Counter) -> None:
    post = await counter.alert(*(f"r{number}" for number in range(1, 13)))
    assert "respond:choose" in buttons_of(post)
    chosen = await counter.ada.choose(post, "respond:choose", f"{SITE}/r7")
    assert chosen.acknowledged
    await until(lambda: counter.ada.modals)
    modal = counter.ada.modal
    assert (await counter.ada.press(modal, "respond:claim")).acknowledged
    await until(lambda: "ada is on it" in shown(modal))
    await counter.ada.submit({"text": SORRY})
    await counter.settled(2, "r7")
    assert counter.reply("r7") == SORRY


async def test_a_window_of_a_digest_that_was_closed_can_be_opened_again(counter: Counter) -> None:
    post = await counter.alert(*(f"r{number}" for number in range(1, 13)))
    for _ in range(3):
        await counter.ada.choose(post, "respond:choose", f"{SITE}/r7")
        await until(lambda: counter.ada.modals)
        assert "r7" in counter.ada.modal.content["private_metadata"]
        counter.ada.close()


async def test_after_a_restore_a_message_says_no_more_who_is_replying(
    config: Config,
    state: State,
    clock: SetClock,
    slack: EmbeddedSlack,
    wix: EmbeddedWix,
    tmp_path: Path,
) -> None:
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        post = await counter.alert()
        wix.faults.always("/r1", Fault(status=503))
        await counter.open_modal(post)
        await counter.ada.submit({"text": SORRY})
        await until(lambda: counter.actions()[0].due_at != counter.actions()[0].at)
        await counter.deliver()
        assert "ada is replying …" in text_of(post)
    backup.back_up(state.database, tmp_path / "copy.db")
    backup.restore(tmp_path / "copy.db", tmp_path / "new.db", clock.now())
    wix.faults.clear()
    with State.open(tmp_path / "new.db", migrate=False) as again:
        async with at_counter(config, again, clock, slack, wix) as counter:
            await counter.read()
            await counter.deliver()
            assert "ada is replying …" not in text_of(post)
            assert counter.reply() is None
