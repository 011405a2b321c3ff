"""Who may do what at the embedded Wix: permissions, what a token is for, the sites of an account,
changing reviews.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.faults import Fault
from alerter.demo.wix import App, EmbeddedWix
from tests.support.clock import SetClock
from tests.support.demo_wix import NO_CERTIFICATES, http
from tests.support.values import SITE

__all__ = ["http"]

OTHER = "22222222-2222-4222-8222-222222222222"
APP = App("app-id", "app-secret", "instance-1")
QUERY, COUNT, REVIEW = (
    "/reviews/v1/reviews/query",
    "/reviews/v1/reviews/count",
    "/reviews/v1/reviews/a",
)
SITES = "/site-list/v2/sites/query"


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock) as wix:
        wix.add_site(SITE, api_key="key", name="Corner Bakery")
        wix.add_site(OTHER, api_key="key", app=APP, name="Tea House")
        for site_id in (SITE, OTHER):
            wix.add(site_id, {"id": "a", "content": {"rating": 1}})
        yield wix


async def token(wix: EmbeddedWix) -> str:
    asked = {"client_id": "app-id", "client_secret": "app-secret", "instance_id": "instance-1"}
    async with httpx.AsyncClient(verify=NO_CERTIFICATES, base_url=wix.base_url) as http:
        answer = await http.post(
            "/oauth2/token", json={"grant_type": "client_credentials", **asked}
        )
        return str(answer.json()["access_token"])


@pytest.fixture
async def app(wix: EmbeddedWix) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": await token(wix)}
    async with httpx.AsyncClient(
        verify=NO_CERTIFICATES, base_url=wix.base_url, headers=headers
    ) as http:
        yield http


async def test_a_review_is_moderated_over_the_api(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    heard: list[str] = []
    wix.sites[SITE].listen = lambda slug, _: heard.append(slug)
    answer = await http.patch(f"{REVIEW}/moderate", json={"reviewId": "a", "status": "REJECTED"})
    review = answer.json()["review"]
    assert review["moderation"] == {"moderationStatus": "REJECTED", "manuallyChanged": True}
    assert review["revision"] == "2"
    assert heard == ["moderation_status_changed"]
    answer = await http.patch(f"{REVIEW}/moderate", json={"status": "APPROVED"})
    assert answer.json()["review"]["revision"] == "3"
    assert heard[1:] == ["moderation_status_changed", "review_published"]
    for bad in (
        {},
        {"status": "SUBMITTED"},
        {"status": "APPROVED", "why": "x"},
        {"status": "APPROVED", "reviewId": "b"},
    ):
        assert (await http.patch(f"{REVIEW}/moderate", json=bad)).status_code == 400
    assert (
        await http.patch("/reviews/v1/reviews/b/moderate", json={"status": "APPROVED"})
    ).status_code == 404


async def test_the_id_of_the_path_may_be_repeated(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    answer = await http.patch(f"{REVIEW}/reply", json={"reviewId": "a", "message": "Sorry"})
    assert answer.json()["review"]["reply"]["message"] == "Sorry"
    params = {"reviewId": "a", "returnPrivateReviews": "true"}
    assert (await http.get(REVIEW, params=params)).json()["review"]["reply"]["message"] == "Sorry"
    heard: list[str] = []
    wix.sites[SITE].listen = lambda slug, _: heard.append(slug)
    answer = await http.delete(f"{REVIEW}/reply", params={"reviewId": "a"})
    assert "reply" not in answer.json()["review"]
    assert (answer.json()["review"]["revision"], heard) == ("3", ["updated"])
    assert (
        await http.patch(f"{REVIEW}/reply", json={"reviewId": "b", "message": "x"})
    ).status_code == 400
    assert (await http.get(REVIEW, params={"reviewId": "b"})).status_code == 400
    assert (await http.delete(f"{REVIEW}/reply", params={"reviewId": "b"})).status_code == 400


@pytest.mark.parametrize(
    ("permission", "method", "path", "body"),
    [
        ("READ_REVIEWS", "POST", QUERY, {}),
        ("READ_REVIEWS", "POST", COUNT, {}),
        ("READ_REVIEWS", "GET", REVIEW, None),
        ("READ_PRIVATE_REVIEWS", "POST", QUERY, {"returnPrivateReviews": True}),
        ("READ_PRIVATE_REVIEWS", "POST", COUNT, {"includePrivateReviews": True}),
        ("SET_REPLY", "PATCH", f"{REVIEW}/reply", {"message": "x"}),
        ("REMOVE_REPLY", "DELETE", f"{REVIEW}/reply", None),
        ("MODERATE_REVIEWS", "PATCH", f"{REVIEW}/moderate", {"status": "REJECTED"}),
        ("READ_CATALOG", "GET", "/stores/v3/provision/version", None),
        ("READ_CONTACTS", "GET", "/contacts/v4/contacts/x", None),
    ],
)
async def test_a_key_or_an_app_may_lack_a_permission(
    wix: EmbeddedWix,
    http: httpx.AsyncClient,
    app: httpx.AsyncClient,
    permission: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    usual = (await http.request(method, path, json=body)).status_code
    wix.forbid("key", permission)
    refused = await http.request(method, path, json=body)
    assert refused.status_code == 403
    assert refused.json()["details"]["applicationError"]["code"] == "PERMISSION_DENIED"
    assert (await app.request(method, path, json=body)).status_code == usual
    wix.permit("key")
    wix.forbid("app-id", permission)
    assert (await http.request(method, path, json=body)).status_code == usual
    assert (await app.request(method, path, json=body)).status_code == 403


async def test_token_info_names_the_site_of_a_token(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: SetClock
) -> None:
    access_token = await token(wix)
    issued = int(clock.now().timestamp())
    clock.advance(seconds=100)

    async def info(text: Any = access_token) -> httpx.Response:
        async with httpx.AsyncClient(verify=NO_CERTIFICATES, base_url=wix.base_url) as anybody:
            return await anybody.post("/oauth2/token-info", json={"token": text})

    assert (await info()).json() == {
        "active": True,
        "subjectType": "APP",
        "subjectId": "app-id",
        "exp": issued + 14_400,
        "iat": issued,
        "clientId": "app-id",
        "siteId": OTHER,
        "instanceId": "instance-1",
    }
    wix.access.token_info = "no site"
    assert "siteId" not in (await info()).json()
    wix.access.token_info = "refused"
    assert (await info()).status_code == 403
    wix.access.token_info = "full"
    assert (await info("key")).json() == {"active": False}
    assert (await info(None)).status_code == 400
    clock.advance(hours=4)
    assert (await info()).json() == {"active": False}


async def test_an_app_asks_for_its_instance(
    wix: EmbeddedWix, http: httpx.AsyncClient, app: httpx.AsyncClient
) -> None:
    answer = (await app.get("/apps/v1/instance")).json()
    assert (answer["instance"]["instanceId"], answer["site"]["siteDisplayName"]) == (
        "instance-1",
        "Tea House",
    )
    assert (await http.get("/apps/v1/instance")).status_code == 403
    wix.forbid("app-id", "MANAGE_YOUR_APP")
    assert (await app.get("/apps/v1/instance")).status_code == 403


async def test_expires_in_may_be_anything(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    wix.access.expires_in = int("9" * 400)
    asked = {"client_id": "app-id", "client_secret": "app-secret", "instance_id": "instance-1"}
    answer = await http.post("/oauth2/token", json={"grant_type": "client_credentials", **asked})
    assert answer.json()["expires_in"] == int("9" * 400)


async def test_the_tokens_of_one_app_may_fail_alone(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.add_site("third", app=App("other-app", "secret", "instance-3"))
    wix.faults.always("/oauth2/token", Fault(status=503, only="instance-3"))
    asked = {
        "grant_type": "client_credentials",
        "client_id": "other-app",
        "client_secret": "secret",
    }
    assert (
        await http.post("/oauth2/token", json=asked | {"instance_id": "instance-3"})
    ).status_code == 503
    assert await token(wix)


async def test_an_account_lists_its_sites_and_opens_them(wix: EmbeddedWix) -> None:
    mine = [f"site-{number}" for number in range(70)]
    for site_id in mine:
        wix.add_site(site_id, name=f"Shop {site_id}")
    wix.add_account("account-1", "account-key", [SITE, *mine])
    wix.add_account("account-2", "other-key", [OTHER])
    headers = {"Authorization": "account-key", "wix-account-id": "account-1"}
    async with httpx.AsyncClient(verify=NO_CERTIFICATES, base_url=wix.base_url) as http:
        first = (
            await http.post(SITES, json={"query": {"cursorPaging": {"limit": 50}}}, headers=headers)
        ).json()
        assert first["sites"][0] == {
            "id": SITE,
            "name": "corner-bakery",
            "displayName": "Corner Bakery",
        }
        assert (first["metadata"]["count"], first["metadata"]["hasNext"]) == (50, True)
        paging = {"limit": 50, "cursor": first["metadata"]["cursors"]["next"]}
        second = (
            await http.post(SITES, json={"query": {"cursorPaging": paging}}, headers=headers)
        ).json()
        assert [site["id"] for site in first["sites"] + second["sites"]] == [SITE, *mine]
        assert second["metadata"] == {"count": 21, "cursors": {}, "hasNext": False}
        answer = await http.post(
            QUERY, json={}, headers={"Authorization": "account-key", "wix-site-id": "site-3"}
        )
        assert answer.status_code == 200
        answer = await http.post(
            QUERY, json={}, headers={"Authorization": "account-key", "wix-site-id": OTHER}
        )
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Authorization": "account-key", "wix-account-id": "account-1"}, {}, 200),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1", "wix-site-id": SITE},
            {},
            400,
        ),
        ({"Authorization": "account-key"}, {}, 403),
        ({"Authorization": "account-key", "wix-account-id": "account-2"}, {}, 403),
        ({"Authorization": "key", "wix-account-id": "account-1"}, {}, 401),
        ({"wix-account-id": "account-1"}, {}, 401),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1"},
            {"query": {"cursorPaging": {"limit": 51}}},
            400,
        ),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1"},
            {"query": {"cursorPaging": {"cursor": "x"}}},
            400,
        ),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1"},
            {"query": {"paging": {}}},
            400,
        ),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1"},
            {"query": {"cursorPaging": {"limit": 50, "offset": 1}}},
            400,
        ),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1"},
            {"query": {"cursorPaging": {"cursor": "sites-1"}, "filter": {}}},
            400,
        ),
        (
            {"Authorization": "account-key", "wix-account-id": "account-1"},
            {"query": {}, "fieldsets": []},
            400,
        ),
    ],
)
async def test_only_an_accounts_key_lists_its_sites(
    wix: EmbeddedWix, headers: dict[str, str], body: Any, status: int
) -> None:
    wix.add_account("account-1", "account-key", [SITE])
    wix.add_account("account-2", "other-key", [OTHER])
    async with httpx.AsyncClient(verify=NO_CERTIFICATES, base_url=wix.base_url) as http:
        assert (await http.post(SITES, json=body, headers=headers)).status_code == status
