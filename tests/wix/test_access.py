"""How the client signs in at Wix: API keys, app tokens, proxies."""

import asyncio
import json
import math

import pytest
from pydantic import ValidationError

from alerter.config import Site
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import free_port
from alerter.errors import (
    WixAuthError,
    WixError,
    WixResponseError,
    WixThrottled,
    WixUnavailable,
)
from alerter.wix.client import WixClient
from tests.support.clock import SetClock
from tests.support.values import SITE
from tests.support.wix import (
    APP_SECRET,
    APP_SITE,
    BY_APP,
    KEY,
    OTHER_APP_SITE,
    QUERY,
    TOKEN,
    answer,
    app_site,
    client,
    failure,
    fill,
    read,
    said,
    sent_headers,
    site_of,
    wix,
)

__all__ = ["client", "wix"]


INFO = "/oauth2/token-info"


# Who is calling


async def test_an_api_key_goes_out_bare_and_with_the_id_of_its_site(
    client: WixClient, wix: EmbeddedWix
) -> None:
    await read(client)
    headers = sent_headers(wix.requests[0])
    assert headers["authorization"] == KEY
    assert headers["wix-site-id"] == SITE
    assert headers["user-agent"].startswith("alerter/")
    assert [request.path for request in wix.requests] == [QUERY]


async def test_one_key_serves_many_sites(client: WixClient, wix: EmbeddedWix) -> None:
    other = "22222222-2222-4222-8222-222222222222"
    wix.add_site(other, api_key=KEY)
    await asyncio.gather(read(client), read(client, site_of(site_id=other, api_key="env:KEY")))
    assert sorted(str(request.site_id) for request in wix.queries()) == [SITE, other]


async def test_no_proxy_carries_what_stays_on_this_machine(
    wix: EmbeddedWix, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    client = WixClient(wix.base_url, clock)
    fill(wix, 1)
    assert len(await read(client)) == 1
    await client.close()


async def test_a_proxy_carries_what_leaves_this_machine(
    wix: EmbeddedWix, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", wix.base_url)
    client = WixClient("http://wix.invalid", clock)
    assert await read(client) == []
    assert sent_headers(wix.requests[-1])["host"] == "wix.invalid"
    await client.close()


async def test_an_app_gets_a_token_once_and_keeps_it(client: WixClient, wix: EmbeddedWix) -> None:
    fill(wix, 150, APP_SITE)
    assert len(await read(client, BY_APP)) == 150
    await read(client, BY_APP)
    token, info, *queries = wix.requests
    assert info.path == INFO
    assert token.path == TOKEN
    assert token.body == {
        "grant_type": "client_credentials",
        "client_id": "app-1",
        "client_secret": APP_SECRET,
        "instance_id": f"instance of {APP_SITE}",
    }
    assert not {"authorization", "wix-site-id"} & sent_headers(token).keys()
    assert [query.path for query in queries] == [QUERY] * 4
    for query in queries:
        assert sent_headers(query)["authorization"].startswith("OauthNG.JWS.")
        assert "wix-site-id" not in sent_headers(query)


async def test_each_site_of_an_app_has_a_token_of_its_own(
    client: WixClient, wix: EmbeddedWix
) -> None:
    fill(wix, 2, OTHER_APP_SITE)
    assert await read(client, BY_APP) == []
    assert len(await read(client, app_site(OTHER_APP_SITE))) == 2
    assert [request.path for request in wix.requests] == [TOKEN, INFO, QUERY, TOKEN, INFO, QUERY]


async def test_calls_that_begin_together_share_one_token(
    client: WixClient, wix: EmbeddedWix
) -> None:
    await asyncio.gather(*(read(client, BY_APP) for _ in range(3)))
    assert [request.path for request in wix.requests].count(TOKEN) == 1


@pytest.mark.parametrize(
    ("lifetime", "kept", "renewed"),
    [(14_400, 14_090, 20), (600, 290, 20), (60, 29, 2)],
    ids=[
        "five minutes before its end",
        "halfway through a short one",
        "halfway through a very short one",
    ],
)
async def test_a_token_is_renewed_before_it_expires(
    client: WixClient, wix: EmbeddedWix, clock: SetClock, lifetime: int, kept: int, renewed: int
) -> None:
    wix.access.token_lifetime = lifetime
    await read(client, BY_APP)
    clock.advance(seconds=kept)
    await read(client, BY_APP)
    assert [request.path for request in wix.requests] == [TOKEN, INFO, QUERY, QUERY]
    clock.advance(seconds=renewed)
    await read(client, BY_APP)
    assert [request.path for request in wix.requests][4:] == [TOKEN, INFO, QUERY]
    assert {request.status for request in wix.requests} == {200}


async def test_a_wall_clock_that_jumps_does_not_age_a_token(
    client: WixClient, wix: EmbeddedWix, clock: SetClock
) -> None:
    await read(client, BY_APP)
    clock.step(days=400)
    await read(client, BY_APP)
    assert [request.path for request in wix.requests] == [TOKEN, INFO, QUERY, QUERY]


async def test_a_revoked_token_is_renewed_once_and_the_call_repeated(
    client: WixClient, wix: EmbeddedWix
) -> None:
    fill(wix, 1, APP_SITE)
    await read(client, BY_APP)
    wix.revoke_tokens()
    assert [review.id for review in await read(client, BY_APP)] == ["r0"]
    answered = [(request.path, request.status) for request in wix.requests[3:]]
    assert answered == [(QUERY, 401), (TOKEN, 200), (INFO, 200), (QUERY, 200)]


async def test_a_second_401_is_a_matter_for_a_person(client: WixClient, wix: EmbeddedWix) -> None:
    wix.sites[APP_SITE].refuse = 401
    error = await failure(client, BY_APP)
    assert isinstance(error, WixAuthError)
    assert error.status == 401
    assert [request.path for request in wix.requests] == [TOKEN, INFO, QUERY, TOKEN, INFO, QUERY]


async def test_a_key_that_is_refused_is_not_tried_again(
    client: WixClient, wix: EmbeddedWix
) -> None:
    wix.sites[SITE].refuse = 401
    error = await failure(client)
    assert isinstance(error, WixAuthError)
    assert (error.status, len(wix.requests)) == (401, 1)


@pytest.mark.parametrize(
    "site",
    [
        app_site(variable="WRONG"),
        site_of(
            site_id=APP_SITE,
            app_id="app-2",
            app_secret="env:APP_SECRET",
            instance_id="instance of nothing",
        ),
        site_of(
            site_id=APP_SITE,
            app_id="app-1",
            app_secret="env:APP_SECRET",
            instance_id="instance of nothing",
        ),
    ],
    ids=["wrong secret", "unknown app", "unknown instance"],
)
async def test_an_app_that_gets_no_token_is_a_matter_for_a_person(
    client: WixClient, wix: EmbeddedWix, site: Site
) -> None:
    error = await failure(client, site)
    assert isinstance(error, WixAuthError)
    assert "app_id, app_secret and instance_id" in str(error)
    assert not [text for text in said(error) if APP_SECRET in text or "wrong-secret-9d1c" in text]
    assert wix.queries() == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=503), WixUnavailable),
        (Fault(status=429, headers={"Retry-After": "9"}), WixThrottled),
        (Fault(drop="before"), WixUnavailable),
        (Fault(body="null"), WixResponseError),
        (Fault(garble="html"), WixResponseError),
        (Fault(body="{}"), WixResponseError),
        (Fault(body='{"access_token": 7, "expires_in": 14400}'), WixResponseError),
        (Fault(body='{"access_token": "", "expires_in": 14400}'), WixResponseError),
        (Fault(body='{"access_token": "a\\r\\nb", "expires_in": 14400}'), WixResponseError),
        (Fault(body='{"access_token": "schlüssel", "expires_in": 14400}'), WixResponseError),
    ],
    ids=[
        "503",
        "429",
        "dropped",
        "null",
        "HTML",
        "without one",
        "a number",
        "an empty one",
        "a line break",
        "a letter that no header takes",
    ],
)
async def test_a_token_that_cannot_be_had_is_no_refusal(
    client: WixClient, wix: EmbeddedWix, fault: Fault, kind: type[WixError]
) -> None:
    wix.faults.add(TOKEN, fault)
    assert type(await failure(client, BY_APP)) is kind
    assert wix.queries() == []
    assert await read(client, BY_APP) == []


@pytest.mark.parametrize("expires_in", [None, "14400", [], -1, 0, True, math.inf, 10**400], ids=str)
async def test_a_token_whose_lifetime_makes_no_sense_is_used_all_the_same(
    client: WixClient, wix: EmbeddedWix, expires_in: object
) -> None:
    wix.faults.add(
        TOKEN, Fault(body=json.dumps({"access_token": "token-1", "expires_in": expires_in}))
    )
    wix.faults.add(QUERY, answer())
    assert await read(client, BY_APP) == []
    assert sent_headers(wix.queries()[0])["authorization"] == "token-1"


async def test_a_key_that_no_header_takes_is_refused_and_not_shown(
    client: WixClient, wix: EmbeddedWix
) -> None:
    with pytest.raises((WixError, ValidationError)) as caught:
        await read(client, site_of(api_key="env:UMLAUT"))
    assert not [text for text in said(caught.value) if "7f3a" in text]
