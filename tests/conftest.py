"""Fixtures: real HTTP, SMTP and SQLite on loopback, and a clock that tests set."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import freezegun
import hypothesis
import pytest

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.counters import counts
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Message, Receipt, Review
from alerter.notify.destination import Notifier
from alerter.store import State

SITE = "11111111-1111-4111-8111-111111111111"
CHANNEL = "C0123456789"
OWNER = "owner@example.com"
SECRETS = {
    "WIX_API_KEY": "wix-key-7f3a",
    "SLACK_BOT_TOKEN": "xoxb-token-91c2",
    "SMTP_PASSWORD": "smtp-pass-55d0",
}
SCOPES = (
    "chat:write",
    "channels:read",
    "channels:history",
    "groups:read",
    "groups:history",
    "im:write",
    "im:history",
)

# Seconds after which a test is taken to hang. It is no measure of speed: every other limit in a test is an event or a
# set clock, so that a busy machine makes a test slow and never red.
HANG = 300.0

# The suite tries the same orders each time; `make torture` tries many others. No check of hypothesis' own times them.
SLOW_IS_FINE = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile(
    "suite", derandomize=True, database=None, max_examples=15, **SLOW_IS_FINE
)
hypothesis.settings.register_profile("torture", max_examples=500, print_blob=True, **SLOW_IS_FINE)
hypothesis.settings.load_profile("suite")
freezegun.configure(extend_ignore_list=["asyncio"])


class SetClock(Clock):
    """A clock that stands still until a test moves it; sleeping moves it.

    `timeouts` are those that wait for it, in seconds of `monotonic`.
    """

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._ticks = 0.0
        self.slept: list[float] = []
        self.timeouts: dict[asyncio.Timeout, float] = {}

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._ticks

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds=seconds)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as timeout:
            self.timeouts[timeout] = self._ticks + seconds
            self._end_timeouts()
            try:
                yield
            finally:
                self.timeouts.pop(timeout, None)

    def advance(self, **span: float) -> None:
        """Let time pass, on both clocks."""
        self._now += timedelta(**span)
        self._ticks += timedelta(**span).total_seconds()
        self._end_timeouts()

    def _end_timeouts(self) -> None:
        for timeout in [timeout for timeout, ends in self.timeouts.items() if ends <= self._ticks]:
            del self.timeouts[timeout]
            timeout.reschedule(asyncio.get_running_loop().time())

    def step(self, **span: float) -> None:
        """Set the wall clock, as an administrator or NTP would."""
        self._now += timedelta(**span)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's environment reaches a test."""
    for name in (
        "ALERTER_CONFIG",
        "NOTIFY_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "JOURNAL_STREAM",
        "SSL_CERT_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    counts.clear()


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 11, 24, 12, 0, tzinfo=UTC))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(tmp_path / "state.db", migrate=True) as state:
        yield state


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix() as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def slack() -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(pace=None) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel(CHANNEL, "reviews")
        yield slack


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox(username="alerts", password=SECRETS["SMTP_PASSWORD"]) as mailbox:
        yield mailbox


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[..., Path]:
    """Write a config for the embedded services; `extra` is more TOML, `receivers` replaces the two of them."""

    def write(
        wix: EmbeddedWix,
        slack: EmbeddedSlack,
        mailbox: Mailbox,
        *,
        extra: str = "",
        receivers: str | None = None,
    ) -> Path:
        two = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]

[[receivers]]
name = "support"
slack = "{CHANNEL}"
"""
        path = tmp_path / "config.toml"
        path.write_text(
            f"""
state = "state.db"
timezone = "Europe/Berlin"

[wix]
base_url = "{wix.base_url}"

[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"

[smtp]
host = "{mailbox.host}"
port = {mailbox.port}
security = "none"
username = "alerts"
password = "env:SMTP_PASSWORD"
from = "Review alerts <alerts@example.com>"

[slack]
token = "env:SLACK_BOT_TOKEN"
base_url = "{slack.base_url}"
{two if receivers is None else receivers}
{extra}
"""
        )
        return path

    return write


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    """A checked config of one site and two receivers, all embedded."""
    return load_config(write_config(wix, slack, mailbox), SECRETS, secrets=True)


def review(review_id: str = "r1", rating: int = 1, **fields: Any) -> Review:
    """A review with an id and a rating, and whatever else a test is about."""
    return Review(id=review_id, rating=rating, **fields)


async def look_through(notifier: Notifier, message: Message) -> Receipt | None:
    """Look for a message page by page; where it stands, or None where it is not to be found."""
    while True:
        look = await notifier.look(message)
        if look.receipt or not look.position:
            return look.receipt
        message = replace(message, look=look.position)


def words_of(blocks: list[Any]) -> str:
    """Every text of a Slack message's blocks."""
    found = []
    for block in blocks:
        text = block.get("text")
        found.append(text if isinstance(text, str) else (text or {}).get("text", ""))
        found.append(words_of(block.get("elements") or []))
    return "".join(found)


async def until(happened: Callable[[], object]) -> None:
    """Wait for what only another task, another process or the state file can tell; not for ever."""
    async with asyncio.timeout(HANG):
        while not happened():
            await asyncio.sleep(0.02)
