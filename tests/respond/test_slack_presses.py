"""Buttons and menus on Slack: who is on it, not now, publish or reject; and who may."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from alerter.actions import ActionKind, Outcome
from alerter.config import Config
from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack, Person, Post
from alerter.demo.wix import EmbeddedWix
from alerter.store import State
from alerter.store.actions import get_responses
from tests.support.buttons import (
    ADA,
    BO,
    GUEST,
    RECEIVERS,
    ROOM,
    Alerted,
    Counter,
    alerted,
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
from tests.support.values import CHANNEL, SITE
from tests.support.waiting import until

__all__ = ["alerted", "clock", "config", "counter", "slack", "wix", "write"]


def claimed_by(counter: Counter) -> str:
    found = get_responses(counter.state, [(SITE, "r1")], counter.clock.now())
    return found[SITE, "r1"].claimed_by if found else ""


def kinds(counter: Counter) -> list[ActionKind]:
    return [each.new.kind for each in counter.actions()]


async def refused(person: Person, text: str) -> None:
    """Wait for what only this person sees."""
    await until(lambda: person.ephemerals)
    assert text in person.ephemerals[-1].text


async def test_a_claim_is_shown_in_the_message_and_pressed_again_it_ends(counter: Counter) -> None:
    post = await counter.alert()
    assert (await counter.ada.press(post, "respond:claim")).acknowledged
    await counter.deliver()
    assert "ada is on it" in text_of(post)
    assert claimed_by(counter) == "ada"
    assert (await counter.ada.press(post, "respond:claim")).acknowledged
    await counter.deliver()
    assert "ada is on it" not in text_of(post)
    assert kinds(counter) == [ActionKind.CLAIM, ActionKind.RELEASE]
    assert counter.ada.ephemerals == []


async def test_a_second_person_takes_over_and_sees_from_whom(counter: Counter) -> None:
    post = await counter.alert()
    await counter.ada.press(post, "respond:claim")
    await counter.bo.press(post, "respond:claim")
    await refused(counter.bo, "You are on it now, instead of ada.")
    assert claimed_by(counter) == "bo"
    assert kinds(counter) == [ActionKind.CLAIM, ActionKind.CLAIM]


async def test_a_press_that_arrives_many_times_is_one_claim(counter: Counter) -> None:
    post = await counter.alert()
    counter.slack.socket.copies = 2
    pressed = await counter.ada.press(post, "respond:claim")
    await counter.slack.socket.again(pressed)
    await until(lambda: len(pressed.envelopes) == 3)
    await until(lambda: all(each.acked_at for each in pressed.envelopes))
    assert kinds(counter) == [ActionKind.CLAIM]
    assert claimed_by(counter) == "ada"


@pytest.mark.parametrize(
    ("choice", "until_"),
    [
        ("evening", datetime(2026, 11, 24, 17, tzinfo=UTC)),
        ("tomorrow", datetime(2026, 11, 25, 8, tzinfo=UTC)),
        ("monday", datetime(2026, 11, 30, 8, tzinfo=UTC)),
    ],
)
async def test_a_review_is_snoozed_until_a_moment_in_the_timezone_of_the_config(
    counter: Counter, choice: str, until_: datetime
) -> None:
    post = await counter.alert()
    assert (await counter.ada.choose(post, "respond:menu", choice)).acknowledged
    action = await counter.settled()
    assert (action.new.kind, action.new.until) == (ActionKind.SNOOZE, until_)
    await counter.deliver()
    assert "Snoozed until" in text_of(post)


async def test_a_snooze_into_the_past_is_refused(counter: Counter) -> None:
    post = await counter.alert()
    counter.clock.advance(hours=8)
    assert (await counter.ada.choose(post, "respond:menu", "evening")).acknowledged
    await refused(counter.ada, "that moment is past")
    assert counter.actions() == []


@pytest.mark.parametrize(("choice", "status"), [("publish", "APPROVED"), ("reject", "REJECTED")])
async def test_a_pending_review_is_published_or_rejected(
    counter: Counter, choice: str, status: str
) -> None:
    post = await counter.alert(moderation={"moderationStatus": "IN_MODERATION"})
    assert (await counter.ada.choose(post, "respond:menu", choice)).acknowledged
    await counter.settled()
    row = counter.wix.sites[SITE].reviews.get("r1")
    assert row
    assert row.review["moderation"]["moderationStatus"] == status


async def test_a_refused_decision_is_shown_to_the_person(counter: Counter) -> None:
    post = await counter.alert(moderation={"moderationStatus": "IN_MODERATION"})
    counter.wix.faults.always("/moderate", Fault(status=403, body="{}"))
    await counter.ada.choose(post, "respond:menu", "publish")
    await refused(counter.ada, "Wix does not allow alerter to do this")


async def test_the_words_decide_whether_a_review_is_published(counter: Counter) -> None:
    post = await counter.alert(moderation={"moderationStatus": "IN_MODERATION"})
    counter.wix.change(SITE, "r1", content={"body": "Mouldy!"})
    await counter.ada.choose(post, "respond:menu", "publish")
    assert (await counter.settled()).outcome is Outcome.OTHER_TEXT
    await refused(counter.ada, "the customer has changed the review")


async def test_a_link_in_the_menu_is_acknowledged_and_does_nothing(counter: Counter) -> None:
    post = await counter.alert()
    assert (await counter.ada.choose(post, "respond:menu", "dashboard")).acknowledged
    assert counter.actions() == []
    assert counter.ada.ephemerals == []


async def test_a_review_that_was_answered_meanwhile_cannot_be_claimed(counter: Counter) -> None:
    post = await counter.alert()
    counter.wix.reply(SITE, "r1", "From the dashboard")
    counter.clock.advance(minutes=10)
    await counter.read()
    await counter.ada.press(post, "respond:claim")
    await refused(counter.ada, "this review needs no answer any more")


async def test_slack_is_acknowledged_though_wix_hangs(counter: Counter) -> None:
    post = await counter.alert(moderation={"moderationStatus": "IN_MODERATION"})
    counter.wix.faults.always("/r1", Fault(status=503, delay=0.5))
    assert (await counter.ada.choose(post, "respond:menu", "publish")).acknowledged
    assert (await counter.ada.press(post, "respond:claim")).acknowledged
    assert claimed_by(counter) == "ada"


def forged(post: Post, **action: str) -> dict[str, Any]:
    """A press as Slack sends it, of a button that no message of ours has."""
    return {
        "type": "block_actions",
        "user": {"id": ADA, "name": "ada", "team_id": "T00000001"},
        "container": {"type": "message", "channel_id": CHANNEL, "message_ts": post.ts},
        "trigger_id": "1.2.abc",
        "actions": [{"type": "button", "action_ts": "1700000000.000100", **action}],
    }


@pytest.mark.parametrize(
    ("block_id", "answer"),
    [
        (f"respond:{SITE}/unknown:0123456789abcdef", "the review is not at Wix any more"),
        ("respond:elsewhere/r1:0123456789abcdef", "alerter does not send this review here"),
        (f"respond:{SITE}/r1", ""),
        ("something", ""),
    ],
    ids=["unknown review", "unknown site", "no text", "foreign"],
)
async def test_a_forged_press_changes_nothing(counter: Counter, block_id: str, answer: str) -> None:
    post = await counter.alert()
    for action_id in ("respond:claim", "respond:reply", "respond:menu", "respond:other"):
        payload = forged(post, action_id=action_id, block_id=block_id, value="publish")
        assert (await counter.slack.socket.deliver("A00000001", payload)).acknowledged
    await until(lambda: bool(answer) <= bool(counter.ada.ephemerals))
    assert all(answer in each.text for each in counter.ada.ephemerals)
    assert counter.actions() == []
    assert counter.ada.modals == []
    assert (await counter.ada.press(post, "respond:claim")).acknowledged
    assert claimed_by(counter) == "ada"


@pytest.mark.parametrize("value", ["", "0", "-1", "x", "99999999999999999999999", "٣"])
async def test_a_refused_reply_is_given_back_to_nobody_else(counter: Counter, value: str) -> None:
    post = await counter.alert()
    await counter.ada.press(post, "respond:claim")
    payload = forged(post, action_id="respond:again", block_id="x", value=value or "1")
    payload["user"] |= {"id": BO, "name": "bo"}
    assert (await counter.slack.socket.deliver("A00000001", payload)).acknowledged
    assert counter.bo.modals == []
    assert counter.bo.ephemerals == []


# --- who may


CAFE = """
[[sites]]
name = "Café"
site_id = "22222222-2222-4222-8222-222222222222"
api_key = "env:WIX_API_KEY"
"""
ONLY_ADA = f'{RECEIVERS}responders = ["{ADA}"]\n'


@pytest.mark.parametrize("name", ["respond:claim", "respond:reply"])
async def test_a_guest_of_another_workspace_may_not_respond(counter: Counter, name: str) -> None:
    post = await counter.alert()
    guest = counter.slack.person(GUEST)
    assert (await guest.press(post, name)).acknowledged
    await refused(guest, "only members of this workspace may respond")
    assert counter.actions() == []
    assert guest.modals == []


async def test_only_responders_may_respond_where_they_are_named(
    alerted: Alerted,
) -> None:
    async with alerted(ONLY_ADA) as (counter, post):
        assert (await counter.bo.press(post, "respond:claim")).acknowledged
        await refused(counter.bo, "only some people may respond from this channel")
        assert counter.actions() == []
        await counter.ada.press(post, "respond:claim")
        assert claimed_by(counter) == "ada"


async def test_a_guest_may_respond_where_the_config_names_them(
    write: Callable[..., Config],
    state: State,
    clock: SetClock,
    slack: EmbeddedSlack,
    wix: EmbeddedWix,
) -> None:
    named = f'{RECEIVERS}responders = ["{GUEST}"]\n'
    async with at_counter(write(named), state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        await slack.person(GUEST).press(await counter.alert(), "respond:claim")
        assert claimed_by(counter) == "eve"


async def test_who_may_respond_is_asked_again_when_a_window_is_sent(
    write: Callable[..., Config],
    state: State,
    clock: SetClock,
    slack: EmbeddedSlack,
    wix: EmbeddedWix,
) -> None:
    async with at_counter(write(), state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        await counter.open_modal(await counter.alert(), counter.bo)
    async with at_counter(write(ONLY_ADA), state, clock, slack, wix) as counter:
        modal = counter.bo.modal
        assert (await counter.bo.submit({"text": "Sorry."})).acknowledged
        assert "only some people may respond" in modal.errors["reply:0"]
        assert counter.actions() == []


@pytest.mark.parametrize(
    "receivers",
    [
        f'\n[[receivers]]\nname = "support"\nslack = "{ROOM}"\n',
        f'{RECEIVERS}sites = ["Café"]\n\n[[receivers]]\nname = "team"\nslack = "{ROOM}"\n',
        '\n[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\n',
    ],
    ids=["another channel", "another site", "no channel"],
)
async def test_a_channel_that_gets_the_site_no_more_responds_no_more(
    write: Callable[..., Config],
    state: State,
    clock: SetClock,
    slack: EmbeddedSlack,
    wix: EmbeddedWix,
    receivers: str,
) -> None:
    async with at_counter(write(), state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        post = await counter.alert()
    async with at_counter(write(receivers, CAFE), state, clock, slack, wix) as counter:
        assert (await counter.ada.press(post, "respond:claim")).acknowledged
        await refused(counter.ada, "alerter does not send this review here any more")
        assert counter.actions() == []


@pytest.mark.parametrize("address", ["#reviews", ADA, CHANNEL])
async def test_a_channel_is_recognised_however_the_config_names_it(
    alerted: Alerted,
    address: str,
) -> None:
    receivers = f'\n[[receivers]]\nname = "support"\nslack = "{address}"\n'
    async with alerted(receivers) as (counter, post):
        assert (await counter.ada.press(post, "respond:claim")).acknowledged
        await until(lambda: claimed_by(counter) == "ada")


async def test_a_receiver_with_a_token_of_its_own_has_no_buttons(
    alerted: Alerted,
) -> None:
    own = f'{RECEIVERS}token = "env:SLACK_BOT_TOKEN"\n'
    async with alerted(own) as (_, post):
        assert "respond:reply" not in buttons_of(post)


async def test_the_answers_are_in_the_language_of_the_receiver(
    alerted: Alerted,
) -> None:
    german = f'{RECEIVERS}language = "de"\n'
    async with alerted(german) as (counter, post):
        modal = await counter.open_modal(post)
        assert modal.content["submit"]["text"] == "Senden"
        await counter.bo.press(post, "respond:claim")
        await counter.ada.press(post, "respond:claim")
        await refused(counter.ada, "Sie kümmern sich jetzt, statt bo.")
        assert BO in {each.new.person.slack_id for each in counter.actions()}
