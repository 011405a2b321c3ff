"""From a review at Wix to a mail, and from the link in the mail to the reply at Wix."""

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from alerter.clock import Clock
from alerter.config import load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import free_port
from alerter.service.daemon import serve
from tests.support.pages import BROWSER, LINK_SECRET, Shown
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until


async def ask(http: aiohttp.ClientSession, url: str, fields: dict[str, str] | None = None) -> Shown:
    method, headers = ("POST", BROWSER) if fields else ("GET", {})
    async with http.request(method, url, data=fields, headers=headers) as response:
        return Shown(response.status, dict(response.headers), await response.text())


@pytest.mark.slow
async def test_a_review_is_answered_from_the_link_in_its_mail(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    port = free_port()
    web = f"""
[poll]
every = "1s"
[web]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
link_secret = "env:LINK_SECRET"
"""
    path = write_config(wix, slack, mailbox, extra=web)
    config = load_config(path, SECRETS | {"LINK_SECRET": LINK_SECRET}, secrets=True)
    serving = asyncio.create_task(serve(config, Clock(), {}, once=False))
    await until(lambda: len(wix.queries()) >= 2)
    wix.add(SITE, {"id": "r1", "content": {"rating": 1, "title": "Stale"}})
    await until(lambda: mailbox.mails)
    [url] = re.findall(r"Respond: (\S+)", mailbox.mails[0].text)
    assert f'href="{url}"' in mailbox.mails[0].html
    async with aiohttp.ClientSession() as http:
        page = await ask(http, url)
        assert "“owner” got an alert." in page.text
        shown = await ask(http, url, page.press("Send the reply", text="We are sorry."))
    signal.raise_signal(signal.SIGTERM)
    async with asyncio.timeout(HANG):
        assert await serving

    assert "Your reply is at Wix." in shown.text
    row = wix.sites[SITE].reviews.get("r1")
    assert row
    assert row.review["reply"]["message"] == "We are sorry."
    assert "webhooks, health, metrics and the review page" in caplog.text
    assert "We are sorry." not in caplog.text
    assert url.rpartition("/")[2] not in caplog.text
