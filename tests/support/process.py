"""The real `alerter` process."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks
from alerter.store import State, known_sites
from tests.support.forked import Process, start_alerter
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until

Spawn = Callable[..., Awaitable[Process]]
STALE = {"content": {"rating": 1, "title": "Stale"}}


async def ended(process: Process) -> tuple[int, str]:
    async with asyncio.timeout(HANG):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    return write_config(wix, slack, mailbox, extra='[poll]\nevery = "1s"')


@pytest.fixture
async def spawn(path: Path) -> AsyncIterator[Spawn]:
    started: list[Process] = []

    async def start(*arguments: str, before: Sequence[str] = (), **environ: str) -> Process:
        environment = os.environ | SECRETS | environ
        process = await start_alerter(
            *arguments, "--config", str(path), environ=environment, before=before
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def listening(port: int, webhooks: Webhooks) -> str:
    """The part of a config that takes an app's webhooks."""
    return f"""
[web]
listen = "127.0.0.1:{port}"
[[apps]]
app_id = "{webhooks.app_id}"
public_key = '''{webhooks.public_key}'''
"""


def read_to_the_end(path: Path) -> bool:
    """Whether the first read of the site is over."""
    with State.read(path.parent / "state.db") as state:
        return known_sites.get_site_state(state, SITE).covered_rating > 0


@asynccontextmanager
async def watching(spawn: Spawn, wix: EmbeddedWix, rounds: int = 2) -> AsyncIterator[Process]:
    """A daemon that has read the site for the first time."""
    before = len(wix.queries())
    process = await spawn("run")
    await until(lambda: len(wix.queries()) >= before + rounds)
    yield process
