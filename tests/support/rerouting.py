"""A review of the bakery that waits for the receivers of a config, which then changes."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.mailbox import Mail, Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from tests.support.clock import SetClock
from tests.support.state import open_state
from tests.support.values import CHANNEL, SECRETS, SITE

OTHER = "22222222-2222-4222-8222-222222222222"
ROOM = "C0000000002"
CAFE = f"""
[[sites]]
name = "Café"
site_id = "{OTHER}"
api_key = "env:WIX_API_KEY"
"""
NIGHT = 'quiet = {from = "22:00", to = "07:00"}\n'
QUICK = '[poll]\nrescan_every = "1s"\n'

Load = Callable[..., Config]


def mail(name: str, *keys: str, to: str = "") -> str:
    lines = "".join(f"{key}\n" for key in keys)
    return f'[[receivers]]\nname = "{name}"\nemail = ["{to or name}@example.com"]\n{lines}'


def slack_to(name: str, *keys: str, channel: str = CHANNEL) -> str:
    lines = "".join(f"{key}\n" for key in keys)
    return f'[[receivers]]\nname = "{name}"\nslack = "{channel}"\n{lines}'


class WallClock(SetClock):
    """Tests set the time of day; the pace of a Slack channel is kept in real time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def timeout(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds)


@pytest.fixture
def clock() -> SetClock:
    """Twenty minutes before the night begins in Berlin."""
    return WallClock(datetime(2026, 11, 24, 20, 40, tzinfo=UTC))


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    """A config of two sites; each call replaces the receivers."""
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    slack.add_channel(ROOM, "room")

    def load(*receivers: str, extra: str = "", cafe: str = CAFE) -> Config:
        path = write_config(
            wix, slack, mailbox, extra=cafe + QUICK + extra, receivers="".join(receivers)
        )
        return load_config(path, SECRETS, secrets=True)

    return load


@pytest.fixture
async def night(load: Load, clock: SetClock, wix: EmbeddedWix) -> Callable[..., Any]:
    """Have a review of the bakery wait for the receivers of a config, whose quiet hours
    have begun.
    """

    async def begin(*receivers: str, rating: int = 2, extra: str = "", **review: Any) -> None:
        config = load(*receivers, extra=extra)
        assert await serve(config, clock, {}, once=True)
        clock.advance(minutes=30)
        wix.add(
            SITE,
            {"id": "r1", "entityId": "rye", "content": {"rating": rating, "title": "Hard refund"}}
            | review,
        )
        await serve(config, clock, {}, once=True)

    return begin


async def once(config: Config, clock: SetClock, **later: float) -> bool:
    clock.advance(**later)
    return await serve(config, clock, {}, once=True)


def mails(mailbox: Mailbox, name: str) -> list[Mail]:
    return [each for each in mailbox.mails if f"{name}@example.com" in each.recipients]


def rows(config: Config) -> list[tuple[str, str, str]]:
    """Each delivery: its alert without the site, its destination, its status."""
    with open_state(config.database) as state:
        found = state.rows(
            "SELECT key, destination, status FROM deliveries JOIN alerts ON id = alert ORDER "
            "BY id, 2"
        )
    return [
        (row["key"].replace(f":{SITE}", ""), row["destination"], row["status"]) for row in found
    ]
