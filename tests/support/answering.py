"""Commands that respond to reviews, run against the embedded Wix."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Status
from alerter.service.daemon import serve
from alerter.store import State, reviews
from tests.support.values import OWNER, SECRETS, SITE

OTHER = "22222222-2222-4222-8222-222222222222"
MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
TWO = f'[[sites]]\nname = "Café"\nsite_id = "{OTHER}"\napi_key = "env:WIX_API_KEY"\n'
REPLY, MODERATE = "/reply", "/moderate"

Run = Callable[..., Awaitable[Result]]


class QuickClock(Clock):
    """The real time, but whoever sleeps is woken at once; `between` is called first."""

    def __init__(self, between: Callable[[], object] = lambda: None) -> None:
        self.slept: list[float] = []
        self._between = between

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._between()
        await asyncio.sleep(0)


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    return write_config(wix, slack, mailbox, receivers=MAIL_ONLY)


@pytest.fixture
async def alerter(path: Path) -> AsyncIterator[Run]:
    """Run a command in a thread, so that the embedded Wix can answer; there is no terminal."""
    umask = os.umask(0o022)

    async def run(*args: str, stdin: bytes = b"") -> Result:
        name, *more = args
        command = [name, "--config", str(path), *more]
        return await asyncio.to_thread(CliRunner().invoke, main, command, input=stdin, env=SECRETS)

    yield run
    os.umask(umask)


def put(wix: EmbeddedWix, review_id: str, site_id: str = SITE, **more: Any) -> None:
    content = {
        "rating": 1,
        "title": f"Title of {review_id}",
        "body": "Hard as stone.\nNever again.",
    }
    wix.add(site_id, {"id": review_id, "content": content} | more)


def reply_of(wix: EmbeddedWix, review_id: str, site_id: str = SITE) -> str | None:
    row = wix.sites[site_id].reviews.get(review_id)
    assert row
    reply = row.review.get("reply")
    return reply["message"] if reply else None


def sent(wix: EmbeddedWix) -> list[Any]:
    """The bodies of the calls that change a review."""
    return [request.body for request in wix.requests if request.method == "PATCH"]


def load(path: Path) -> Config:
    return load_config(path, SECRETS, secrets=True)


async def watch(path: Path) -> None:
    """Let the daemon do everything once."""
    assert await serve(load(path), Clock(), {}, once=True)


async def alerted(path: Path, wix: EmbeddedWix, *review_ids: str, **more: Any) -> None:
    """Let the daemon alert new reviews."""
    await watch(path)
    for review_id in review_ids:
        put(wix, review_id, **more)
    await watch(path)


def standing(path: Path, review_id: str, site_id: str = SITE) -> Status:
    with State.open(load(path).database, migrate=False) as state:
        return reviews.get_reviews(state, site_id, [review_id])[review_id].status
