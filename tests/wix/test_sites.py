"""The sites of an account, over real HTTP."""

import json
from typing import Any

import pytest

from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.errors import WixAuthError, WixError, WixResponseError, WixUnavailable
from alerter.wix.client import WixClient
from alerter.wix.sites import ListedSite
from tests.support.clock import SetClock
from tests.support.values import SITE
from tests.support.wix import client, wix

__all__ = ["client", "wix"]

PATH = "/site-list/v2/sites/query"
ACCOUNT, ACCOUNT_KEY = "account-1", "account-key-2b7e"


@pytest.fixture(autouse=True)
def account(wix: EmbeddedWix) -> list[str]:
    """An account with 120 sites: three pages."""
    site_ids = [f"site-{number}" for number in range(120)]
    for site_id in site_ids:
        wix.add_site(site_id, name=f"Shop {site_id}")
    wix.add_account(ACCOUNT, ACCOUNT_KEY, site_ids)
    return site_ids


def answering(wix: EmbeddedWix, answer: Any) -> None:
    wix.faults.add(PATH, Fault(status=200, body=json.dumps(answer)))


async def test_all_pages_of_sites_are_read_with_their_names(
    wix: EmbeddedWix, client: WixClient, account: list[str]
) -> None:
    sites = await client.account_sites(ACCOUNT_KEY, ACCOUNT)
    assert sites == [ListedSite(site_id, f"Shop {site_id}") for site_id in account]
    first, second, third = wix.requests
    assert first.body == {"query": {"cursorPaging": {"limit": 50}}}
    assert second.body == {"query": {"cursorPaging": {"limit": 50, "cursor": "sites-50"}}}
    assert third.body == {"query": {"cursorPaging": {"limit": 50, "cursor": "sites-100"}}}
    for request in wix.requests:
        assert request.headers["Authorization"] == ACCOUNT_KEY
        assert request.headers["wix-account-id"] == ACCOUNT
        assert "wix-site-id" not in request.headers


@pytest.mark.parametrize(
    ("key", "account_id", "status"),
    [
        pytest.param("another-key", ACCOUNT, 401, id="unknown key"),
        pytest.param(ACCOUNT_KEY, "account-2", 403, id="account of others"),
    ],
)
async def test_a_refused_key_or_account_is_an_error_for_a_person(
    client: WixClient, key: str, account_id: str, status: int
) -> None:
    with pytest.raises(WixAuthError) as caught:
        await client.account_sites(key, account_id)
    assert caught.value.status == status
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param(Fault(status=503), WixUnavailable, id="down"),
        pytest.param(Fault(status=429), WixUnavailable, id="429"),
        pytest.param(Fault(429, {"Retry-After": "61"}), WixUnavailable, id="429 for long"),
        pytest.param(Fault(status=200, body="{}"), WixResponseError, id="no list"),
        pytest.param(Fault(status=200, body="[]"), WixResponseError, id="no object"),
        pytest.param(Fault(drop="before"), WixUnavailable, id="connection lost"),
    ],
)
async def test_what_is_no_list_of_sites_is_an_error(
    wix: EmbeddedWix, client: WixClient, fault: Fault, kind: type[WixError]
) -> None:
    wix.faults.add(PATH, fault)
    with pytest.raises(kind):
        await client.account_sites(ACCOUNT_KEY, ACCOUNT)


async def test_a_cursor_that_does_not_move_ends_the_read(
    wix: EmbeddedWix, client: WixClient
) -> None:
    same = {"sites": [], "metadata": {"cursors": {"next": "same"}}}
    answering(wix, same)
    answering(wix, same)
    with pytest.raises(WixResponseError, match="does not move on"):
        await client.account_sites(ACCOUNT_KEY, ACCOUNT)


async def test_a_name_is_shown_clean_and_an_unusable_site_left_out(
    wix: EmbeddedWix, client: WixClient
) -> None:
    listed = [
        {"id": SITE, "name": "corner-bakery", "displayName": "Corner\x1b[2J\nBakery"},
        {"id": "site-2", "name": "tea-house", "displayName": ""},
        {"id": "site-3", "displayName": None},
        {"id": "../../reviews", "displayName": "x"},
        {"displayName": "no id"},
        "text",
    ]
    answering(wix, {"sites": listed, "metadata": {}})
    assert await client.account_sites(ACCOUNT_KEY, ACCOUNT) == [
        ListedSite(SITE, "Corner [2J Bakery"),
        ListedSite("site-2", "tea-house"),
        ListedSite("site-3", "site-3"),
    ]


async def test_a_page_waits_as_long_as_wix_asks(
    wix: EmbeddedWix, client: WixClient, clock: SetClock, account: list[str]
) -> None:
    wix.faults.add(PATH, Fault(429, {"Retry-After": "7"}), Fault(429, {"Retry-After": "50"}))
    assert len(await client.account_sites(ACCOUNT_KEY, ACCOUNT)) == len(account)
    assert clock.slept == [7.0, 50.0]
