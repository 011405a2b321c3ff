"""A daemon in the same process, whose minutes a test lets pass."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from alerter.commands import status
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.notify.worker import IdleReason
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State, troubles
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, SCOPES, SECRETS, SITE

QUERY, POST = "/reviews/v1/reviews/query", "chat.postMessage"
ROOM = "C0000000002"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AFTER = 15 * MINUTE


@dataclass
class Life:
    """A daemon whose minutes a test lets pass."""

    config: Config
    state: State
    clock: SetClock
    runtime: Runtime
    wix: EmbeddedWix
    number: int = 0

    def put(self, number: int = 1) -> None:
        for _ in range(number):
            self.number += 1
            self.wix.add(
                SITE,
                {
                    "id": f"r{self.number}",
                    "content": {"rating": 1, "title": f"Title {self.number}"},
                },
            )

    async def minute(self) -> None:
        """What a daemon does in a minute."""
        self.clock.advance(minutes=1)
        await self.runtime.poller.round(self.config.sites[0])
        await self.runtime.housekeeping.round()
        for worker in self.runtime.dispatcher._workers.values():
            for _ in range(200):
                pause = await worker._careful_step()
                if pause and (pause.reason is not IdleReason.PACE or pause.seconds is None):
                    break
                if pause:
                    self.clock.advance(seconds=pause.seconds + 0.001)
            await worker._destination.notifier.close()

    async def minutes(self, number: int) -> None:
        for _ in range(number):
            await self.minute()

    def open(self) -> list[str]:
        return [trouble.scope for trouble in troubles.get_open_troubles(self.state)]

    def needs_a_person(self) -> bool:
        return status.get_status(self.config, self.state, self.clock.now()).needs_a_person


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel(CHANNEL, "reviews")
        slack.add_channel(ROOM, "room")
        yield slack


Begin = Callable[..., Awaitable[Life]]


@pytest.fixture
async def begin(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
    clock: SetClock,
) -> AsyncIterator[Begin]:
    """Starts a daemon whose site has been read; again, it is the next one on the same state
    file.
    """
    async with AsyncExitStack() as stack:

        async def begin(receivers: str | None = None, extra: str = "", head: str = "") -> Life:
            path = write_config(wix, slack, mailbox, receivers=receivers, extra=extra)
            path.write_text(f"{head}\n{path.read_text()}")
            config = load_config(path, SECRETS, secrets=True)
            reconcile(state, config, clock)
            life = Life(
                config,
                state,
                clock,
                await stack.enter_async_context(open_runtime(config, state, clock)),
                wix,
            )
            await life.minute()
            return life

        yield begin


@pytest.fixture
async def life(begin: Begin) -> Life:
    return await begin()


def mailed(mailbox: Mailbox) -> list[str]:
    return [mail.subject for mail in mailbox.mails if mail.subject[:1] in ("⚠", "🟢")]


def posted(slack: EmbeddedSlack, channel: str = CHANNEL) -> list[str]:
    return [
        post.text.split("\n")[0]
        for post in slack.posts
        if post.channel == channel and "★" not in post.text.split("\n")[0]
    ]
