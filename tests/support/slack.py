"""A notifier that posts to the embedded Slack."""

from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from pydantic import SecretStr

from alerter.config import Slack
from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack
from alerter.models import Form, Message
from alerter.notify.slack import SlackNotifier, open_session
from tests.support.clock import SetClock
from tests.support.state import no_channels
from tests.support.values import CHANNEL, SCOPES, SECRETS

TOKEN = SECRETS["SLACK_BOT_TOKEN"]
PERSON, DIRECT = "U0000000007", "D0000000007"
Make = Callable[..., SlackNotifier]


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(TOKEN, scopes=SCOPES)
        slack.add_channel(CHANNEL, "reviews")
        slack.add_user(PERSON, "olga")
        yield slack


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


@pytest.fixture
def make(slack: EmbeddedSlack, session: aiohttp.ClientSession, clock: SetClock) -> Make:
    def make(channel: str = CHANNEL, token: str = TOKEN) -> SlackNotifier:
        config = Slack.model_construct(token=SecretStr(token), base_url=slack.base_url.rstrip("/"))
        return SlackNotifier(config, "support", channel, session, clock, no_channels())

    return make


@pytest.fixture
def notifier(make: Make) -> SlackNotifier:
    return make()


@pytest.fixture
def message(clock: SetClock) -> Message:
    return Message(1, "9f2c@alerter", "support", Form.ALERT, (), clock.now())


def methods(slack: EmbeddedSlack) -> list[str]:
    return [call.method for call in slack.requests]


# What Slack's answers mean


def saying(error: str, status: int | None = None, **headers: str) -> Fault:
    return Fault(status=status, headers=headers, body=f'{{"ok": false, "error": "{error}"}}')
