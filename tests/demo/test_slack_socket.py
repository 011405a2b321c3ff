"""Interactions reach an app through Socket Mode, as Slack's own client speaks it."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from slack_sdk.socket_mode.request import SocketModeRequest

from alerter.demo.slack import EmbeddedSlack, Person
from tests.support.demo_slack import ROOM, TOKEN, clock, http, slack
from tests.support.slack_app import APP_TOKEN, BUTTONS, MODAL, SlackApp, connected_app

__all__ = ["clock", "http", "slack"]


@pytest.fixture
async def app(slack: EmbeddedSlack) -> AsyncIterator[SlackApp]:
    slack.add_app_token(APP_TOKEN)
    async with connected_app(slack, TOKEN) as app:
        yield app


@pytest.fixture
def ada(slack: EmbeddedSlack) -> Person:
    slack.add_user("U0000000001", "ada")
    return slack.person("U0000000001")


async def test_a_pressed_button_reaches_the_app(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    answer = await app.web.chat_postMessage(channel=ROOM, text="x", blocks=BUTTONS)
    pressed = await ada.press(slack.posts[0], "claim")
    request = await app.received.get()
    payload = request.payload
    assert pressed.acknowledged
    assert (request.type, request.accepts_response_payload) == ("interactive", False)
    assert payload["type"] == "block_actions"
    assert payload["user"] == {
        "id": "U0000000001",
        "username": "ada",
        "name": "ada",
        "team_id": "T00000001",
    }
    assert payload["container"]["message_ts"] == answer["ts"]
    assert payload["message"]["app_id"] == payload["api_app_id"] == "A00000001"
    (action,) = payload["actions"]
    assert (action["action_id"], action["value"]) == ("claim", "review-1")


async def test_an_option_of_a_menu_reaches_the_app(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await app.web.chat_postMessage(channel=ROOM, text="x", blocks=BUTTONS)
    await ada.choose(slack.posts[0], "more", "publish")
    (action,) = (await app.received.get()).payload["actions"]
    assert (action["type"], action["selected_option"]["value"]) == ("overflow", "publish")


async def test_a_modal_is_opened_filled_in_and_submitted(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    async def open_modal(app: SlackApp, request: SocketModeRequest) -> dict[str, Any] | None:
        if request.payload["type"] == "block_actions":
            await app.web.views_open(trigger_id=request.payload["trigger_id"], view=MODAL)
        return None

    app.answer = open_modal
    await app.web.chat_postMessage(channel=ROOM, text="x", blocks=BUTTONS)
    await ada.press(slack.posts[0], "I'm on it")
    assert ada.modal.content["title"]["text"] == "Reply"
    submitted = await ada.submit({"text": "Thank you"})
    await app.received.get()
    request = await app.received.get()
    view = request.payload["view"]
    assert submitted.acknowledged
    assert (request.payload["type"], request.accepts_response_payload) == ("view_submission", True)
    assert (view["callback_id"], view["private_metadata"]) == ("reply", "review-1")
    assert view["state"]["values"] == {
        "words": {"text": {"type": "plain_text_input", "value": "Thank you"}}
    }
    assert ada.modals == []


async def test_an_ephemeral_message_is_for_one_person(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await app.web.chat_postEphemeral(channel=ROOM, user=ada.user.id, text="only you")
    assert [each.text for each in ada.ephemerals] == ["only you"]
    assert slack.person("U0000000007").ephemerals == []


async def test_a_connection_needs_an_app_level_token(
    slack: EmbeddedSlack, http: aiohttp.ClientSession
) -> None:
    slack.add_app_token(APP_TOKEN)
    async with http.post(
        f"{slack.base_url}apps.connections.open", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as answer:
        assert (await answer.json())["error"] == "not_allowed_token_type"
