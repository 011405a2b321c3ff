"""Credentials of an app that open another site than the config says: that site is not read."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.commands.check import check_site
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import App, EmbeddedWix
from alerter.errors import WixAuthError, WixUnavailable
from alerter.service.runtime import open_runtime
from alerter.store import State, troubles
from alerter.wix.client import ReviewFilter, WixClient
from tests.support.values import SECRETS, SITE

BY_APP = "33333333-3333-4333-8333-333333333333"
OTHER = "44444444-4444-4444-8444-444444444444"
APP = App("an-app", "app-secret-40be", "an-instance")


@pytest.fixture
def config(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    tmp_path: Path,
) -> Config:
    """The site of every config, and one that is read with an app's credentials."""
    site = f"""
[[sites]]
name = "Tea House"
site_id = "{BY_APP}"
app_id = "{APP.app_id}"
app_secret = "file:app-secret"
instance_id = "{APP.instance_id}"
"""
    (tmp_path / "app-secret").write_text(APP.app_secret)
    return load_config(write_config(wix, slack, mailbox, extra=site), SECRETS, secrets=True)


@pytest.fixture
async def client(wix: EmbeddedWix) -> AsyncIterator[WixClient]:
    client = WixClient(wix.base_url, Clock())
    yield client
    await client.close()


async def test_an_app_that_opens_another_site_fails_the_check(
    wix: EmbeddedWix, client: WixClient, config: Config
) -> None:
    wix.add_site(OTHER, app=APP)
    finding = await check_site(client, config.sites[1])
    assert not finding.ok
    assert f"its instance_id is of site {OTHER}, not of the site that site_id names" in finding.text
    assert (await check_site(client, config.sites[0])).ok
    assert not wix.queries(OTHER)


async def test_a_site_of_another_is_trouble_and_the_others_are_read(
    wix: EmbeddedWix, config: Config, state: State
) -> None:
    site = wix.add_site(OTHER, app=APP)
    async with open_runtime(config, state, Clock()) as runtime:
        for _ in range(2):
            assert [await runtime.poller.round(each) for each in config.sites] == [True, False]
        assert not wix.queries(OTHER)
        [trouble] = troubles.get_open_troubles(state)
        assert (trouble.scope, OTHER in trouble.reason) == (f"site:{BY_APP}", True)
        assert wix.queries(SITE)
        # mended: the instance is that of the site
        del wix.sites[OTHER]
        wix.add_site(BY_APP, app=site.app)
        assert await runtime.poller.round(config.sites[1])


async def test_the_right_site_is_asked_for_once_for_each_token(
    wix: EmbeddedWix, client: WixClient, config: Config
) -> None:
    wix.add_site(BY_APP, app=APP)
    for _ in range(3):
        finding = await check_site(client, config.sites[1])
        assert (finding.ok, finding.warning) == (True, False)
    asked = [request.path for request in wix.requests if request.path.startswith("/oauth2")]
    assert asked == ["/oauth2/token", "/oauth2/token-info"]


@pytest.mark.parametrize("answer", ["no site", "refused"])
async def test_where_wix_does_not_say_whose_a_token_is_the_log_warns(
    wix: EmbeddedWix,
    client: WixClient,
    config: Config,
    caplog: pytest.LogCaptureFixture,
    answer: str,
) -> None:
    wix.add_site(BY_APP, app=APP)
    wix.access.token_info = answer
    for _ in range(3):
        wix.revoke_tokens()
        finding = await check_site(client, config.sites[1])
        assert (finding.ok, finding.warning) == (True, True)
        assert "check that instance_id belongs to it" in finding.text
    assert caplog.text.count("does not say which site") == 1


@pytest.mark.parametrize("body", ['{"siteId": 7}', '{"siteId": ""}', "[]", "nonsense"])
async def test_an_answer_that_names_no_site_is_no_proof(
    wix: EmbeddedWix, client: WixClient, config: Config, body: str
) -> None:
    wix.add_site(BY_APP, app=APP)
    wix.faults.always("/oauth2/token-info", Fault(status=200, body=body))
    assert (await check_site(client, config.sites[1])).warning


async def test_what_is_no_site_id_is_not_shown(
    wix: EmbeddedWix, client: WixClient, config: Config
) -> None:
    wix.add_site(BY_APP, app=APP)
    wix.faults.always(
        "/oauth2/token-info", Fault(status=200, body='{"siteId": "\\u001b[2J forged"}')
    )
    with pytest.raises(WixAuthError, match="its instance_id is of another site") as caught:
        await client.probe(config.sites[1], private=True)
    assert "forged" not in str(caught.value)


async def test_while_wix_cannot_say_whose_a_token_is_the_site_waits(
    wix: EmbeddedWix, client: WixClient, config: Config
) -> None:
    wix.add_site(BY_APP, app=APP)
    wix.faults.add("/oauth2/token-info", Fault(status=503))
    with pytest.raises(WixUnavailable):
        [page async for page in client.pages(config.sites[1], ReviewFilter(2), private=False)]
    assert [page async for page in client.pages(config.sites[1], ReviewFilter(2), private=False)]
