"""A dispatcher whose workers a test moves by hand, and what it sent."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack, Post
from alerter.demo.wix import EmbeddedWix
from alerter.models import (
    Alert,
    AlertKind,
    Content,
    Finding,
    Grouping,
    Look,
    Message,
    Receipt,
    Status,
    StoredReview,
    to_ms,
)
from alerter.notify.destination import Destination, Notifier
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import Idle
from alerter.service.destinations import open_destinations
from alerter.store import State, messages
from alerter.store.raised_alerts import NewAlert, raise_alerts
from alerter.store.reviews import put_reviews
from tests.support.clock import SetClock
from tests.support.reviews import review
from tests.support.values import CHANNEL, OWNER, SCOPES, SECRETS, SITE

SECOND, ROOM = "second@example.com", "C0000000002"
RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}", "{SECOND}"]

[[receivers]]
name = "support"
slack = "{CHANNEL}"

[[receivers]]
name = "team"
slack = "{ROOM}"

[[receivers]]
name = "twin"
slack = "{CHANNEL}"
"""


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    """As strict as Slack about its pace, by the clock of the test."""
    async with EmbeddedSlack(clock=clock, pace=1.0) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel(CHANNEL, "reviews")
        slack.add_channel(ROOM, "slack:team")
        yield slack


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    return load_config(
        write_config(wix, slack, mailbox, receivers=RECEIVERS), SECRETS, secrets=True
    )


@dataclass
class Desk:
    """A dispatcher on a state file, whose workers a test moves by hand."""

    state: State
    clock: SetClock
    dispatcher: Dispatcher

    async def step(self, receiver: str = "slack:support") -> Idle | None:
        return await self.dispatcher._workers[receiver].step()

    async def work(self, receiver: str = "slack:support", within: float = 3600.0) -> Idle:
        """Let a worker work, and time pass while it rests, until there is nothing more that it
        would do by itself.
        """
        ends = self.clock.monotonic() + within
        while True:
            pause = await self.step(receiver)
            if pause is None:
                continue
            if pause.seconds is None or self.clock.monotonic() + pause.seconds > ends:
                return pause
            self.clock.advance(seconds=pause.seconds + 0.001)


Start = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def start(config: Config, state: State, clock: SetClock) -> AsyncIterator[Start]:
    """Starts a dispatcher; once more, it is what comes after the end of the process before."""
    async with AsyncExitStack() as stack:

        async def start(
            change: Callable[[Destination], Destination] = lambda destination: destination,
            burst: int = 10,
            **options: Any,
        ) -> Desk:
            destinations = await stack.enter_async_context(open_destinations(config, clock))
            for destination in destinations:
                stack.push_async_callback(destination.notifier.close)
            anew = stack.enter_context(State.open(state.database, migrate=False))
            messages.recover(anew)
            alerts = config.alerts.model_copy(update={"burst": burst})
            own = config.model_copy(update={"alerts": alerts})
            return Desk(
                anew,
                clock,
                Dispatcher(
                    anew,
                    own,
                    clock,
                    [change(destination) for destination in destinations],
                    **options,
                ),
            )

        yield start


@pytest.fixture
async def desk(start: Start) -> Desk:
    return await start()


def queue(
    state: State,
    *ids: str,
    receivers: tuple[str, ...] = ("slack:support",),
    grouping: Grouping = Grouping.BURST,
    due_at: datetime | None = None,
    **fields: Any,
) -> None:
    """Alerts of new reviews, as the watching half writes them."""
    now = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
    with state.transaction():
        put_reviews(
            state,
            SITE,
            [StoredReview(review(each, title=f"<{each}>", **fields), Status.OPEN) for each in ids],
            now,
        )
        alerts = [Alert(f"new:{SITE}:{each}", AlertKind.NEW, SITE, each) for each in ids]
        raise_alerts(
            state,
            [NewAlert(alert, [(name, due_at) for name in receivers], grouping) for alert in alerts],
            now,
        )


def many(count: int, prefix: str = "r") -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


def told(text: str) -> list[str]:
    """The reviews that a message speaks of, by their titles."""
    return [
        part.partition(">")[0]
        for part in text.replace("&lt;", "<").replace("&gt;", ">").split("<")[1:]
    ]


def named(post: Post) -> list[str]:
    """The reviews that a post speaks of, each once."""
    return list(dict.fromkeys(told(str(post.blocks) if post.blocks else post.text)))


def posted(slack: EmbeddedSlack) -> list[list[str]]:
    return [named(post) for post in slack.posts]


def mailed(mailbox: Mailbox) -> list[list[str]]:
    return [list(dict.fromkeys(told(mail.text))) for mail in mailbox.mails]


def deliveries(state: State, receiver: str = "slack:support") -> dict[str, int]:
    return dict(
        Counter(
            row["status"]
            for row in state.rows("SELECT * FROM deliveries WHERE destination = ?", [receiver])
        )
    )


def sending(state: State) -> list[tuple[str, int]]:
    return [
        (row["status"], row["attempts"]) for row in state.rows("SELECT * FROM messages ORDER BY id")
    ]


def blocked(state: State, now: datetime) -> dict[str, float | None]:
    """Who is left alone, and for how many seconds; None: until a person has mended something."""
    return {
        row["scope"]: None if row["parked"] else (row["until"] - to_ms(now)) / 1000
        for row in state.rows("SELECT * FROM blocks")
    }


def asked(slack: EmbeddedSlack, method: str = "chat.postMessage") -> list[float]:
    """When a method was called."""
    return [call.at for call in slack.requests if call.method == method]


def saying(error: str, status: int | None = None, **headers: str) -> Fault:
    return Fault(status=status, headers=headers, body=f'{{"ok": false, "error": "{error}"}}')


class Hooked:
    """A notifier with something that happens before a message goes out, and after the service's
    answer.
    """

    def __init__(
        self,
        notifier: Notifier,
        before: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._notifier, self._before, self._after = notifier, before, after
        self.settle_after, self.domain = notifier.settle_after, notifier.domain
        self.can_look = notifier.can_look
        self.keeps_uid, self.can_check = notifier.keeps_uid, notifier.can_check

    async def prepare(self) -> None:
        await self._notifier.prepare()

    async def send(self, message: Message, content: Content) -> Receipt:
        if self._before:
            await self._before()
        receipt = await self._notifier.send(message, content)
        if self._after:
            await self._after()
        return receipt

    async def update(self, message: Message, content: Content) -> None:
        await self._notifier.update(message, content)

    async def delete(self, message: Message) -> None:
        await self._notifier.delete(message)

    async def look(self, message: Message) -> Look:
        return await self._notifier.look(message)

    def service_time(self, now: datetime) -> datetime | None:
        return self._notifier.service_time(now)

    async def check(self) -> list[Finding]:
        return await self._notifier.check()

    async def close(self) -> None:
        await self._notifier.close()


def hooked(
    receiver: str, **hooks: Callable[[], Awaitable[None]]
) -> Callable[[Destination], Destination]:
    def change(destination: Destination) -> Destination:
        return (
            replace(destination, notifier=Hooked(destination.notifier, **hooks))
            if destination.name == receiver
            else destination
        )

    return change


# Grouping

BURST, DIGEST, EACH = Grouping.BURST, Grouping.DIGEST, Grouping.EACH
