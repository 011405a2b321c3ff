"""A daemon that stays, with buttons under its alerts, and people who press them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerter.actions import Action
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack, Modal, Person, Post
from alerter.demo.wix import EmbeddedWix
from alerter.service.buttons import open_buttons, slack_app, wait_until_known
from alerter.service.runtime import Runtime, open_runtime
from alerter.slack.app import SlackApp
from alerter.store import State, actions
from tests.support.app_socket import APP_TOKEN, HeldClock
from tests.support.clock import SetClock
from tests.support.desk import Desk
from tests.support.values import CHANNEL, SCOPES, SECRETS, SITE
from tests.support.waiting import until

TOKENS = SECRETS | {"SLACK_APP_TOKEN": APP_TOKEN}
ADA, BO, GUEST = "U0000000001", "U0000000002", "U0000000003"
ROOM = "C0000000002"
RECEIVERS = f"""
[[receivers]]
name = "support"
slack = "{CHANNEL}"
"""
REPLIES = """
[[replies]]
name = "Sorry"
text = "Hello {{ author }}, we are sorry."
"""


@dataclass
class Counter:
    """The daemon, and what happens around it."""

    runtime: Runtime
    app: SlackApp
    slack: EmbeddedSlack
    wix: EmbeddedWix
    clock: SetClock
    state: State

    @property
    def ada(self) -> Person:
        return self.slack.person(ADA)

    @property
    def bo(self) -> Person:
        return self.slack.person(BO)

    async def read(self) -> None:
        """Read what is new at Wix."""
        for site in self.runtime.config.sites:
            await self.runtime.poller.round(site)

    async def deliver(self, destination: str = "slack:support") -> Post:
        """Send what is due; return the first message."""
        await Desk(self.state, self.clock, self.runtime.dispatcher).work(destination)
        return self.slack.posts[0]

    async def alert(self, *ids: str, **fields: Any) -> Post:
        """Reviews that are alerted; return the first message."""
        for review_id in ids or ("r1",):
            content = {"rating": 1, "title": "Stale", "body": "As stone."}
            author = {"authorName": "Carl", "contactId": f"c-{review_id}"}
            self.wix.add(SITE, {"id": review_id, "content": content, "author": author, **fields})
        await self.read()
        return await self.deliver()

    async def open_modal(self, post: Post, person: Person | None = None) -> Modal:
        """Press Reply; return the modal."""
        person = person or self.ada
        assert (await person.press(post, "respond:reply")).acknowledged
        await until(lambda: person.modals)
        return person.modal

    async def settled(self, number: int = 1, review_id: str = "r1") -> Action:
        """Wait until so many actions are settled and reported; return the last of them."""
        await until(lambda: len(self.actions(review_id)) >= number)
        await until(
            lambda: all(each.is_settled and not each.new.place for each in self.actions(review_id))
        )
        return self.actions(review_id)[-1]

    def actions(self, review_id: str = "r1") -> list[Action]:
        return actions.get_actions(self.state, SITE, review_id)

    def reply(self, review_id: str = "r1") -> str | None:
        """The reply that Wix has."""
        row = self.wix.sites[SITE].reviews.get(review_id)
        assert row
        reply = row.review.get("reply")
        return reply["message"] if reply else None


def text_of(post: Post) -> str:
    """All that the blocks of a message say."""
    return str(post.blocks)


def buttons_of(post: Post) -> list[str]:
    """What can be pressed under a message."""
    return [
        each["action_id"]
        for block in post.blocks
        if block["type"] == "actions"
        for each in block["elements"]
    ]


@pytest.fixture
def clock() -> SetClock:
    return HeldClock(datetime(2026, 11, 24, 12, 0, tzinfo=UTC))


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_app_token(APP_TOKEN)
        slack.add_channel(CHANNEL, "reviews")
        slack.add_channel(ROOM, "team")
        slack.add_user(ADA, "ada")
        slack.add_user(BO, "bo")
        slack.add_user(GUEST, "eve", team_id="T00000002")
        yield slack


@pytest.fixture
def write(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Callable[..., Config]:
    """Writes a config with an app_token, and loads it."""

    def write(receivers: str = RECEIVERS, extra: str = REPLIES) -> Config:
        path = write_config(wix, slack, mailbox, receivers=receivers, extra=extra)
        token = 'token = "env:SLACK_BOT_TOKEN"\n'
        both = f'{token}app_token = "env:SLACK_APP_TOKEN"\n'
        path.write_text(path.read_text().replace(token, both, 1))
        return load_config(path, TOKENS, secrets=True)

    return write


@pytest.fixture
def config(write: Callable[..., Config]) -> Config:
    return write()


@asynccontextmanager
async def at_counter(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> AsyncIterator[Counter]:
    """A daemon, connected."""
    app = slack_app(config)
    assert app
    async with open_runtime(config, state, clock, app=app) as runtime, open_buttons(runtime, app):
        await wait_until_known(app, clock)
        yield Counter(runtime, app, slack, wix, clock, state)
        await asyncio.gather(*runtime.actions.under_way)


@pytest.fixture
async def counter(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> AsyncIterator[Counter]:
    """A daemon, connected, whose site was read before."""
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        yield counter


Alerted = Callable[[str], AbstractAsyncContextManager[tuple[Counter, Post]]]


@pytest.fixture
def alerted(
    write: Callable[..., Config],
    state: State,
    clock: SetClock,
    slack: EmbeddedSlack,
    wix: EmbeddedWix,
) -> Alerted:
    """Starts a daemon with these receivers, which has alerted a review."""

    @asynccontextmanager
    async def alerted(receivers: str) -> AsyncIterator[tuple[Counter, Post]]:
        async with at_counter(write(receivers), state, clock, slack, wix) as counter:
            await counter.read()
            clock.advance(minutes=1)
            yield counter, await counter.alert()

    return alerted
