"""A daemon in the same process that polls and sends when a test says so, with one state file over
restarts.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack, Post
from alerter.demo.wix import EmbeddedWix
from alerter.models import Event, Review, Status
from alerter.notify.worker import IdleReason
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State, messages
from tests.support.clock import SetClock
from tests.support.life import wix
from tests.support.state import open_state
from tests.support.values import SCOPES, SECRETS, SITE

__all__ = ["wix"]

BOTH = """
[[receivers]]
name = "owner"
email = ["owner@example.com"]
closings = true

[[receivers]]
name = "manager"
email = ["manager@example.com"]
max_rating = 1

[[receivers]]
name = "support"
slack = "C0123456789"
"""
REMINDERS = """
[reminders]
after = ["24h", "72h"]
escalate_to = "manager"
"""


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel("C0123456789", "reviews")
        yield slack


@dataclass
class Life:
    """The daemon as time passes; with `restarts` every round is made by another one."""

    config: Config
    clock: SetClock
    wix: EmbeddedWix
    slack: EmbeddedSlack
    mailbox: Mailbox
    restarts: bool
    load: Callable[[str, str], Config]
    stack: AsyncExitStack
    runtime: Runtime | None = None
    state: State = field(init=False)

    async def round(self, **later: float) -> None:
        """Let time pass, make a round, and send whatever is due."""
        await self.poll(**later)
        await self.tell()

    async def poll(self, **later: float) -> None:
        """Let time pass, and make a round after which nothing is sent."""
        self.clock.advance(**later)
        await self._start()
        assert self.runtime
        assert await self.runtime.poller.round(self.config.sites[0])

    async def _start(self) -> None:
        if self.runtime and not self.restarts:
            return
        await self.stack.aclose()
        self.state = self.stack.enter_context(open_state(self.config.database))
        messages.recover(self.state)
        self.runtime = await self.stack.enter_async_context(
            open_runtime(self.config, self.state, self.clock)
        )

    async def use(self, extra: str, receivers: str = BOTH) -> None:
        """Go on with another config."""
        self.config = self.load(extra, receivers)
        await self.stack.aclose()
        self.runtime = None

    async def tell(self) -> None:
        """Have every worker work until nothing is due; time passes while it rests."""
        assert self.runtime
        for worker in self.runtime.dispatcher._workers.values():
            for _ in range(100):
                pause = await worker.step()
                if pause and pause.reason in (IdleReason.NOTHING_DUE, IdleReason.PARKED):
                    break
                if pause and pause.seconds:
                    self.clock.advance(seconds=pause.seconds + 0.001)
            await worker._destination.notifier.close()

    def put(self, name: str = "r1", rating: int = 2, **more: Any) -> None:
        """A customer writes a review."""
        content = {
            "rating": rating,
            "title": f"Title of {name}",
            "body": f"Body of {name}",
        } | more.pop("content", {})
        visible_after = more.pop("visible_after", 0)
        told = {
            "id": name,
            "entityId": None,
            "content": content,
            "author": {"authorName": "Robin", "contactId": "c1"},
        }
        self.wix.add(SITE, told | more, visible_after=visible_after)

    def hear(self, name: str, **fields: Any) -> None:
        """Take in a webhook that says that a review of one star was created just now."""
        assert self.runtime
        now = self.clock.now()
        event = Event(name, Review(name, 1, created=now, author="Robin", **fields), now, 1)
        self.runtime.intake.record_event(self.config.sites[0], event)

    def alerts(self) -> list[str]:
        """The keys of the alerts of reviews, without the site's id."""
        rows = self.state.rows("SELECT key FROM alerts ORDER BY id")
        return [row["key"].replace(f":{SITE}", "") for row in rows]

    def status(self, name: str = "r1") -> Status:
        return Status(self.state.value("SELECT status FROM reviews WHERE review_id = ?", [name]))

    def mails(self, to: str = "owner") -> list[str]:
        """The subjects of the mails to somebody."""
        return [
            mail.subject for mail in self.mailbox.mails if mail.recipients == (f"{to}@example.com",)
        ]

    def post(self) -> Post:
        """The one message on Slack."""
        (post,) = self.slack.posts
        return post


Begin = Callable[..., Awaitable[Life]]


@pytest.fixture(params=[False, True], ids=["one daemon", "a restart before each round"])
async def begin(
    request: pytest.FixtureRequest,
    write_config: Callable[..., Path],
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> AsyncIterator[Begin]:
    """A site whose past (an angry and a happy review) is on record."""
    async with AsyncExitStack() as stack:

        def load(extra: str, receivers: str) -> Config:
            path = write_config(wix, slack, mailbox, receivers=receivers, extra=extra)
            return load_config(path, SECRETS, secrets=True)

        async def begin(extra: str = "", receivers: str = BOTH) -> Life:
            life = Life(
                load(extra, receivers), clock, wix, slack, mailbox, request.param, load, stack
            )
            life.put("past", 2)
            await life.round(hours=2)
            clock.advance(minutes=1)
            return life

        yield begin


@pytest.fixture
async def life(begin: Begin) -> Life:
    return await begin()
