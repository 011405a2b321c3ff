"""An app that alerter connects to the embedded Slack, and a clock whose waits a test ends."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from alerter.config import Slack
from alerter.demo.slack import EmbeddedSlack
from alerter.errors import DeliveryError
from alerter.slack.api import open_session
from alerter.slack.app import SlackApp
from alerter.slack.socket import PING_EVERY, Acknowledge, SlackSocket
from tests.support.clock import SetClock
from tests.support.values import SECRETS
from tests.support.waiting import until

APP_TOKEN = "xapp-1-A00000001-1-secret"


class HeldClock(SetClock):
    """A clock whose sleepers wait for `go`; `slept` has for how long they were to sleep.

    Time passes for those that sleep for less than a second.
    """

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.go = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds < 1:
            await super().sleep(seconds)
            return
        self.slept.append(seconds)
        await asyncio.sleep(0)
        await self.go.wait()


@dataclass
class Connected:
    """What an app received, and what was said about its connection: None for a good one."""

    app: SlackApp
    socket: SlackSocket
    received: list[Mapping[str, Any]] = field(default_factory=list)
    reported: list[DeliveryError | None] = field(default_factory=list)
    defect: Exception | None = None


def slack_config(slack: EmbeddedSlack, app_token: str = APP_TOKEN) -> Slack:
    return Slack.model_construct(
        token=SecretStr(SECRETS["SLACK_BOT_TOKEN"]),
        app_token=SecretStr(app_token),
        base_url=slack.base_url.rstrip("/"),
    )


@asynccontextmanager
async def app_socket(
    slack: EmbeddedSlack,
    clock: SetClock,
    *,
    app_token: str = APP_TOKEN,
    ping_every: float = PING_EVERY,
) -> AsyncIterator[Connected]:
    """The app, while it keeps a connection."""
    app = SlackApp(app_token)

    async def handle(payload: Mapping[str, Any], acknowledge: Acknowledge) -> None:
        connected.received.append(payload)
        if connected.defect is not None:
            raise connected.defect
        await acknowledge(None)

    async with open_session() as session:
        socket = SlackSocket(
            slack_config(slack, app_token),
            session,
            clock,
            app,
            handle,
            lambda error, _: connected.reported.append(error),
            ping_every=ping_every,
        )
        connected = Connected(app, socket)
        running = asyncio.create_task(socket.run())
        try:
            yield connected
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    await until(lambda: slack.socket.connections == [])
