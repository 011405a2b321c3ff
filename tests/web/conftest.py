"""A config with [web] and two apps, and the server that it makes."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks
from alerter.store import State, known_sites
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.web.server import open_web
from alerter.wix.client import WixClient
from tests.support.clock import SetClock
from tests.support.values import SECRETS, SITE
from tests.support.webhooks import INSTANCE, Door


@pytest.fixture(scope="session")
def signer() -> Webhooks:
    """Wix's side of webhooks; making its key takes a moment."""
    return Webhooks("http://127.0.0.1:9/", app_id="an-app")


@pytest.fixture(scope="session")
def other_key() -> str:
    """The public key of an app whose webhooks come to the same place."""
    return b64encode(Webhooks("").public_key.encode()).decode()


@pytest.fixture
def config(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    signer: Webhooks,
    other_key: str,
) -> Config:
    extra = f"""
[web]
listen = "127.0.0.1:8080"
[[apps]]
app_id = "another-app"
public_key = "{other_key}"
[[apps]]
app_id = "an-app"
public_key = '''{signer.public_key}'''
"""
    path = write_config(wix, slack, mailbox, extra=extra)
    path.write_text(
        path.read_text().replace(
            "[smtp]", f'instance_id = "{INSTANCE}"\napp_id = "an-app"\n\n[smtp]'
        )
    )
    return load_config(path, SECRETS, secrets=True)


@pytest.fixture
async def door(config: Config, state: State, signer: Webhooks) -> AsyncIterator[Door]:
    """The server on a free port, for a site that has been read before."""
    clock, shop, woken = Clock(), SetClock(datetime.now(UTC)), list[str]()
    known_sites.record_coverage(state, SITE, 2)
    client = WixClient(config.wix.base_url, clock)
    intake = Intake(state, config, clock, Catalog(state, shop, client), woken.extend)
    async with (
        open_web(("127.0.0.1", 0), config, state, clock, intake, {}) as web,
        aiohttp.ClientSession() as http,
    ):
        yield Door(f"http://127.0.0.1:{web.port}", state, signer, http, intake, shop, woken)
    await client.close()
