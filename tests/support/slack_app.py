"""An app that is connected to the embedded Slack with Slack's own Socket Mode client."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from alerter.demo.slack import EmbeddedSlack, Person, Post
from tests.support.demo_slack import ROOM, TOKEN

APP_TOKEN = "xapp-1-A00000001-1-secret"
BUTTONS: list[dict[str, Any]] = [
    {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": "claim",
                "text": {"type": "plain_text", "text": "I'm on it"},
                "value": "review-1",
            },
            {
                "type": "overflow",
                "action_id": "more",
                "options": [
                    {"text": {"type": "plain_text", "text": "Publish"}, "value": "publish"},
                    {
                        "text": {"type": "plain_text", "text": "Open"},
                        "value": "open",
                        "url": "https://x.example",
                    },
                ],
            },
        ],
    }
]
MODAL: dict[str, Any] = {
    "type": "modal",
    "callback_id": "reply",
    "private_metadata": "review-1",
    "title": {"type": "plain_text", "text": "Reply"},
    "submit": {"type": "plain_text", "text": "Send"},
    "blocks": [
        {
            "type": "input",
            "block_id": "words",
            "label": {"type": "plain_text", "text": "Your reply"},
            "element": {"type": "plain_text_input", "action_id": "text", "multiline": True},
        }
    ],
}
Answer = Callable[["SlackApp", SocketModeRequest], Awaitable[dict[str, Any] | None]]


class SlackApp:
    """What an app received, and how it answers: with `answer`, else at once and without words."""

    def __init__(self, client: SocketModeClient, web: AsyncWebClient) -> None:
        self.client = client
        self.web = web
        self.received: asyncio.Queue[SocketModeRequest] = asyncio.Queue()
        self.answer: Answer | None = None
        self.mute = False

    async def post(self, slack: EmbeddedSlack, blocks: list[dict[str, Any]] = BUTTONS) -> Post:
        """Post a message and return it."""
        await self.web.chat_postMessage(channel=ROOM, text="x", blocks=blocks)
        return slack.posts[-1]

    async def handle(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self.received.put_nowait(request)
        if self.mute:
            return
        payload = await self.answer(self, request) if self.answer else None
        await client.send_socket_mode_response(
            SocketModeResponse(request.envelope_id, payload=payload)
        )


@asynccontextmanager
async def connected_app(
    slack: EmbeddedSlack, token: str, app_token: str = APP_TOKEN, ping_interval: float = 5
) -> AsyncIterator[SlackApp]:
    async with aiohttp.ClientSession() as http:
        web = AsyncWebClient(token=token, base_url=slack.base_url, session=http, retry_handlers=[])
        client = SocketModeClient(app_token, web_client=web, ping_interval=ping_interval)
        app = SlackApp(client, web)
        client.socket_mode_request_listeners.append(app.handle)
        count = len(slack.socket.connections)
        await client.connect()
        try:
            await slack.socket.connected(count + 1)
            yield app
        finally:
            await client.close()
            # Slack's client does not close the connections that it has replaced.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


async def open_modal(app: SlackApp, request: SocketModeRequest) -> dict[str, Any] | None:
    """Answer a pressed button with a modal."""
    if request.payload["type"] == "block_actions":
        await app.web.views_open(trigger_id=request.payload["trigger_id"], view=MODAL)
    return None


@pytest.fixture
async def app(slack: EmbeddedSlack) -> AsyncIterator[SlackApp]:
    slack.add_app_token(APP_TOKEN)
    async with connected_app(slack, TOKEN) as app:
        yield app


@pytest.fixture
def ada(slack: EmbeddedSlack) -> Person:
    slack.add_user("U0000000001", "ada")
    return slack.person("U0000000001")
