"""The heartbeat: called after a good round, once a minute at most, and never in the way of
anything.
"""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web

from alerter.clock import Clock
from alerter.config import load_config
from alerter.demo.faults import (
    Fault,
    Faults,
    Loopback,
    application,
    bomb,
    drip,
    endless,
    failing,
    redirect,
)
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import free_port
from alerter.service.daemon import serve
from alerter.service.heartbeat import Heartbeat
from tests.support.clock import SetClock
from tests.support.values import SECRETS
from tests.support.waiting import HANG


@dataclass
class Listener:
    """Somebody who notices when the calls end."""

    heard: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    url: str = ""

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append(str(request.rel_url))
        return web.Response(text="OK")

    def app(self) -> web.Application:
        app = application(failing(self.faults))
        app.router.add_get("/{ping}", self.hear)
        return app


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = Loopback(listener.app)
    await server.start()
    yield replace(listener, url=f"{server.url}/secret-3c9d?rid=1")
    await server.stop()


async def test_it_beats_at_most_once_a_minute(listener: Listener, clock: SetClock) -> None:
    heartbeat = Heartbeat(listener.url, clock)
    for _ in range(3):
        heartbeat.beat()
        await heartbeat.settle()
    assert listener.heard == ["/secret-3c9d?rid=1"]
    clock.advance(seconds=59.9)
    heartbeat.beat()
    clock.advance(seconds=0.1)
    heartbeat.beat()
    await heartbeat.settle()
    assert len(listener.heard) == 2


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_no_proxy_carries_what_stays_on_this_machine(
    listener: Listener, clock: SetClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    heartbeat = Heartbeat(listener.url, clock)
    heartbeat.beat()
    await heartbeat.settle()
    assert listener.heard == ["/secret-3c9d?rid=1"]


async def test_without_an_address_it_does_nothing(clock: SetClock) -> None:
    heartbeat = Heartbeat(None, clock)
    heartbeat.beat()
    await heartbeat.settle()
    await heartbeat.stop()


async def test_a_slow_one_is_not_waited_for_and_not_called_twice(
    listener: Listener, clock: SetClock
) -> None:
    listener.faults.always("/secret-3c9d", Fault(delay=60))
    heartbeat = Heartbeat(listener.url, clock)
    for _ in range(3):
        heartbeat.beat()
        clock.advance(seconds=60)
        await asyncio.sleep(0)
    async with asyncio.timeout(HANG):
        while not listener.heard:
            await asyncio.sleep(0.01)
        await heartbeat.stop()
    assert len(listener.heard) == 1


async def test_a_failure_is_logged_when_it_begins_changes_and_ends(
    listener: Listener, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log never shows the address."""
    caplog.set_level("INFO", "alerter")
    heartbeat = Heartbeat(listener.url, clock)
    for fault in (Fault(status=500), Fault(status=500), Fault(drop="before"), None, None):
        listener.faults.clear()
        if fault:
            listener.faults.always("/secret-3c9d", fault)
        heartbeat.beat()
        await heartbeat.settle()
        clock.advance(minutes=1)
    told = [
        record.message for record in caplog.records if record.name == "alerter.service.heartbeat"
    ]
    assert told == [
        "heartbeat failed: it answers 500",
        "heartbeat failed: it cannot be reached (RemoteProtocolError)",
        "heartbeat works again",
    ]
    assert "secret-3c9d" not in caplog.text


@pytest.mark.parametrize(
    "fault", [lambda: bomb(100_000_000), endless, drip], ids=["bomb", "endless", "drip"]
)
async def test_the_body_of_an_answer_is_not_read(
    listener: Listener,
    clock: SetClock,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[], Fault],
) -> None:
    listener.faults.always("/secret-3c9d", fault())
    heartbeat = Heartbeat(listener.url, clock)
    tracemalloc.start()
    heartbeat.beat()
    async with asyncio.timeout(HANG):
        await heartbeat.settle()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    assert not [record for record in caplog.records if record.name == "alerter.service.heartbeat"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("address", ["/elsewhere", "javascript:x", "http://xn--/"])
async def test_a_redirect_is_a_failure_and_not_followed(
    listener: Listener, clock: SetClock, caplog: pytest.LogCaptureFixture, status: int, address: str
) -> None:
    listener.faults.always("/secret-3c9d", redirect(address, status))
    heartbeat = Heartbeat(listener.url, clock)
    heartbeat.beat()
    await heartbeat.settle()
    assert not listener.heard
    assert "heartbeat failed" in caplog.text
    assert address not in caplog.text


async def test_a_run_under_cron_beats_after_a_good_round_and_not_after_a_bad_one(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    listener: Listener,
) -> None:
    path = write_config(wix, slack, mailbox, extra='[heartbeat]\nurl = "env:PING"')
    config = load_config(path, SECRETS | {"PING": listener.url}, secrets=True)
    wix.faults.add("/query", Fault(status=500))
    assert not await serve(config, Clock(), {}, once=True)
    assert not listener.heard
    assert await serve(config, Clock(), {}, once=True)
    assert len(listener.heard) == 1


async def test_a_heartbeat_that_fails_fails_nothing_else(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    path = write_config(wix, slack, mailbox, extra='[heartbeat]\nurl = "env:PING"')
    config = load_config(path, SECRETS | {"PING": "http://127.0.0.1:9/ping"}, secrets=True)
    assert await serve(config, Clock(), {}, once=True)
    assert not slack.posts
