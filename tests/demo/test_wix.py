"""The embedded Wix takes what Wix takes, and refuses what Wix refuses, in Wix's words."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from alerter.demo.wix import EmbeddedWix
from tests.support.clock import HandClock
from tests.support.demo_wix import (
    APP_SITE,
    COUNT,
    NO_CERTIFICATES,
    OTHER,
    QUERY,
    SITE,
    clock,
    http,
    ids,
    put,
    wix,
)
from tests.support.waiting import HANG

__all__ = ["clock", "http", "wix"]


async def test_a_created_review_has_what_wix_gives_it(wix: EmbeddedWix) -> None:
    review = wix.add(
        SITE, {"content": {"rating": 2, "body": "Meh"}, "moderation": {"manuallyChanged": True}}
    )
    assert (
        review["createdDate"]
        == "2026-11-23T12:00:00.000Z"
        == review["updatedDate"]
        == review["reviewDate"]
    )
    assert review["moderation"] == {"moderationStatus": "APPROVED", "manuallyChanged": True}
    assert (review["revision"], review["namespace"], review["content"]["rating"]) == (
        "1",
        "stores",
        2,
    )
    assert len(review["id"]) == 36
    with pytest.raises(ValueError, match="already"):
        wix.add(SITE, {"id": review["id"]})
    with pytest.raises(ValueError, match="not an ISO-8601"):
        wix.add(SITE, {"createdDate": "yesterday"})


async def test_what_is_given_of_a_review_stays(wix: EmbeddedWix) -> None:
    given = {"id": "a", "createdDate": None, "content": None, "revision": "9", "unheardOf": [1]}
    review = wix.add(SITE, given)
    assert {key: review[key] for key in given} == given


async def test_changes_count_up_the_revision_and_move_the_updated_date(
    wix: EmbeddedWix, clock: HandClock
) -> None:
    put(wix, "a")
    clock.seconds = 5
    changed = wix.change(SITE, "a", content={"rating": 3})
    assert (changed["revision"], changed["updatedDate"]) == ("2", "2026-11-23T12:00:05.000Z")
    answered = wix.reply(SITE, "a", "Sorry")
    assert answered["reply"]["message"] == "Sorry"
    assert answered["revision"] == "3"
    assert "reply" not in wix.unreply(SITE, "a")
    wix.sites[SITE].quiet = True
    rejected = wix.moderate(SITE, "a", "REJECTED")
    assert rejected["moderation"] == {"moderationStatus": "REJECTED", "manuallyChanged": True}
    assert rejected["revision"] == "4"
    assert wix.delete(SITE, "a")["id"] == "a"
    with pytest.raises(KeyError):
        wix.delete(SITE, "a")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "wrong", "wix-site-id": SITE}, 401),
        ({"Authorization": "Bearer key", "wix-site-id": SITE}, 401),
        ({"Authorization": "key"}, 403),
        ({"Authorization": "key", "wix-site-id": OTHER}, 403),
        ({"Authorization": "key", "wix-site-id": "nowhere"}, 403),
        ({"Authorization": "key", "wix-site-id": SITE}, 200),
    ],
    ids=[
        "nothing",
        "unknown key",
        "bearer",
        "no site",
        "another key's site",
        "unknown site",
        "good",
    ],
)
async def test_only_the_key_of_a_site_opens_it(
    wix: EmbeddedWix, headers: dict[str, str], status: int
) -> None:
    async with httpx.AsyncClient(
        verify=NO_CERTIFICATES, timeout=HANG, base_url=wix.base_url
    ) as http:
        answer = await http.post(QUERY, json={}, headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-wix-request-id"]
    if status != 200:
        assert (
            answer.json()["message"] == answer.json()["details"]["applicationError"]["description"]
        )


@pytest.mark.parametrize("status", [401, 403])
async def test_a_site_can_be_shut(wix: EmbeddedWix, http: httpx.AsyncClient, status: int) -> None:
    wix.sites[SITE].refuse = status
    assert (await http.post(QUERY, json={})).status_code == status
    wix.sites[SITE].refuse = None
    assert (await http.post(QUERY, json={})).status_code == 200


GOOD_TOKEN_REQUEST = {
    "grant_type": "client_credentials",
    "client_id": "app-id",
    "client_secret": "app-secret",
    "instance_id": "instance-1",
}


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": None}, 400, "invalid_request"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        ({"instance_id": "wrong"}, 400, "invalid_grant"),
    ],
    ids=["grant type", "missing id", "wrong secret", "wrong id", "wrong instance"],
)
async def test_a_wrong_token_request_is_refused(
    wix: EmbeddedWix, http: httpx.AsyncClient, change: dict[str, Any], status: int, error: str
) -> None:
    answer = await http.post("/oauth2/token", json=GOOD_TOKEN_REQUEST | change)
    assert answer.status_code == status
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]


async def test_an_access_token_opens_its_site_until_it_expires(
    wix: EmbeddedWix, clock: HandClock
) -> None:
    wix.add(APP_SITE, {"id": "a"})
    async with httpx.AsyncClient(
        verify=NO_CERTIFICATES, timeout=HANG, base_url=wix.base_url
    ) as http:

        async def ask() -> httpx.Response:
            return await http.post(QUERY, json={}, headers={"Authorization": token["access_token"]})

        token = (await http.post("/oauth2/token", json=GOOD_TOKEN_REQUEST)).json()
        assert token["expires_in"] == 14_400
        assert ids(await ask()) == ["a"]
        assert wix.queries(APP_SITE)[0].status == 200
        clock.seconds = 14_400
        assert (await ask()).status_code == 401
        token = (await http.post("/oauth2/token", json=GOOD_TOKEN_REQUEST)).json()
        assert ids(await ask()) == ["a"]
        wix.revoke_tokens()
        assert (await ask()).status_code == 401


async def test_unpublished_reviews_are_for_those_who_ask_and_may(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    put(wix, "a", 1)
    put(wix, "b", 2, moderation={"moderationStatus": "IN_MODERATION"})
    put(wix, "c", 3, moderation={"moderationStatus": "REJECTED"})
    assert ids(await http.post(QUERY, json={})) == ["a"]
    assert ids(await http.post(QUERY, json={"returnPrivateReviews": True})) == ["a", "b", "c"]
    assert (await http.post(COUNT, json={})).json() == {"count": 1}
    assert (await http.post(COUNT, json={"includePrivateReviews": True})).json() == {"count": 3}
    assert (await http.get("/reviews/v1/reviews/b")).status_code == 404
    assert (await http.get("/reviews/v1/reviews/b?returnPrivateReviews=true")).json()["review"][
        "id"
    ] == "b"
    wix.sites[SITE].private = False
    assert (await http.post(QUERY, json={"returnPrivateReviews": True})).status_code == 403
    assert (await http.post(COUNT, json={"includePrivateReviews": True})).status_code == 403
    assert (await http.get("/reviews/v1/reviews/b?returnPrivateReviews=true")).status_code == 404
    assert (await http.get("/reviews/v1/reviews/a?returnPrivateReviews=true")).status_code == 200
    assert ids(await http.post(QUERY, json={"returnPrivateReviews": False})) == ["a"]


async def test_a_review_can_become_visible_late(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: HandClock
) -> None:
    wix.add(SITE, {"id": "a"}, visible_after=3)
    assert ids(await http.post(QUERY, json={})) == []
    assert (await http.get("/reviews/v1/reviews/a")).status_code == 404
    clock.seconds = 3
    assert ids(await http.post(QUERY, json={})) == ["a"]
    assert (await http.get("/reviews/v1/reviews/a")).status_code == 200


async def test_counting_refuses_what_is_too_much(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    put(wix, "a")
    put(wix, "b")
    wix.sites[SITE].count_limit = 1
    answer = await http.post(COUNT, json={})
    assert answer.status_code == 400
    assert answer.json()["details"]["applicationError"]["code"] == "TOO_MANY_TO_COUNT"
    assert (await http.post(COUNT, json={"filter": {"id": "a"}})).json() == {"count": 1}
    assert (await http.post(COUNT, json={"query": {}})).status_code == 400


async def test_replies_are_set_and_removed_over_the_api(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    put(wix, "a")
    path = "/reviews/v1/reviews/a/reply"
    answer = await http.patch(path, json={"message": "Sorry"})
    assert answer.json()["review"]["reply"]["message"] == "Sorry"
    assert answer.json()["review"]["revision"] == "2"
    for bad in (
        {},
        {"message": ""},
        {"message": 1},
        {"message": "x" * 10_001},
        {"message": "x", "to": "all"},
    ):
        assert (await http.patch(path, json=bad)).status_code == 400
    assert "reply" not in (await http.delete(path)).json()["review"]
    assert (
        await http.patch("/reviews/v1/reviews/nobody/reply", json={"message": "x"})
    ).status_code == 404


async def test_products_are_named_by_the_catalog_that_the_site_has(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.add_product(SITE, "mug", "A mug", "https://shop.example/product-page/mug")
    new, old = "/stores/v3/products/mug", "/stores-reader/v1/products/mug"
    assert (await http.get("/stores/v3/provision/version")).json() == {
        "catalogVersion": "V3_CATALOG"
    }
    assert (await http.get(new)).json() == {"product": {"id": "mug", "name": "A mug"}}
    product = (await http.get(f"{new}?fields=URL")).json()["product"]
    assert product["url"]["url"] == "https://shop.example/product-page/mug"
    assert (await http.get(old)).status_code == 428
    assert (await http.get("/stores/v3/products/cup")).status_code == 404
    wix.sites[SITE].catalog = "V1_CATALOG"
    page = (await http.get(old)).json()["product"]["productPageUrl"]
    assert page == {"base": "https://shop.example", "path": "/product-page/mug"}
    assert (await http.get(new)).status_code == 428
    wix.sites[SITE].catalog = "STORES_NOT_INSTALLED"
    assert {(await http.get(path)).status_code for path in (new, old)} == {428}


async def test_a_contact_can_be_read(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    wix.add_contact(SITE, "c1", name="Ann Lee Poe", email="ann@example.com")
    contact = (await http.get("/contacts/v4/contacts/c1")).json()["contact"]
    assert contact["primaryInfo"]["email"] == "ann@example.com"
    assert contact["info"]["name"] == {"first": "Ann", "last": "Lee Poe"}
    assert (await http.get("/contacts/v4/contacts/c2")).status_code == 404


async def test_a_site_answers_so_many_requests_a_minute(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: HandClock
) -> None:
    wix.requests_per_minute = 2
    for clock.seconds in (0, 30):
        assert (await http.post(QUERY, json={})).status_code == 200
    clock.seconds = 45
    refused = await http.post(QUERY, json={})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "15")
    wix.retry_after_header = False
    assert "Retry-After" not in (await http.post(QUERY, json={})).headers
    elsewhere = {"Authorization": "other-key", "wix-site-id": OTHER}
    assert (await http.post(QUERY, json={}, headers=elsewhere)).status_code == 200
    clock.seconds = 60
    assert (await http.post(QUERY, json={})).status_code == 200
    assert (await http.post(QUERY, json={})).status_code == 429


async def test_every_request_is_on_record(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    await http.post(QUERY, json={"query": {"cursorPaging": {"limit": 7}}})
    await http.get("/reviews/v1/reviews/a?returnPrivateReviews=true")
    await http.get("/nowhere", headers={"Authorization": "wrong"})
    assert [(each.method, each.path, each.status, each.site_id) for each in wix.requests] == [
        ("POST", QUERY, 200, SITE),
        ("GET", "/reviews/v1/reviews/a", 404, SITE),
        ("GET", "/nowhere", 404, None),
    ]
    assert wix.requests[0].body == {"query": {"cursorPaging": {"limit": 7}}}
    assert wix.requests[0].headers["wix-site-id"] == SITE
    assert wix.requests[1].query == {"returnPrivateReviews": "true"}
    assert wix.requests[1].body is None
    assert (len(wix.queries()), len(wix.queries(SITE)), len(wix.queries(OTHER))) == (1, 1, 0)


@pytest.mark.parametrize(("method", "path"), [("GET", QUERY), ("PUT", "/nowhere")])
async def test_what_wix_does_not_have_is_not_found(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == 404
    assert answer.headers["x-wix-request-id"]
    assert set(answer.json()) == {"message", "details"}


async def test_people_can_write_reviews_by_hand(wix: EmbeddedWix) -> None:
    async with httpx.AsyncClient(
        verify=NO_CERTIFICATES, timeout=HANG, base_url=wix.base_url
    ) as http:
        one = await http.post("/demo/reviews", json={"content": {"rating": 1}})
        assert (one.status_code, one.json()["revision"]) == (201, "1")
        many = await http.post(f"/demo/reviews?site={OTHER}", json=[{"id": "x"}, {"id": "y"}])
        assert [review["id"] for review in many.json()] == ["x", "y"]
        changed = await http.patch("/demo/reviews/x", json={"content": {"rating": 2}})
        assert (changed.json()["revision"], changed.json()["content"]) == ("2", {"rating": 2})
        answered = await http.post("/demo/reviews/x/reply", json={"message": "Thanks"})
        assert answered.json()["reply"]["message"] == "Thanks"
        assert (await http.delete("/demo/reviews/x")).json()["id"] == "x"
        assert (await http.delete("/demo/reviews/x")).status_code == 404
        assert (await http.post("/demo/reviews?site=nowhere", json={})).status_code == 404
        ratings = [f'{{"content": {{"rating": {bad}}}}}' for bad in ('"1"', "true", "[1]", "6")]
        broken = ("[1]", '"text"', "{", '{"createdDate": "today"}', '{"id": "y"}', '{"id": 7}')
        for bad in (*broken, *ratings):
            path = f"/demo/reviews?site={OTHER}"
            assert (await http.post(path, content=bad)).status_code == 400, bad
        assert (await http.post("/demo/reviews/y/reply", json={})).status_code == 400
    assert len(wix.sites[SITE].reviews) == 1


async def test_a_file_of_reviews_is_loaded_and_a_bad_line_named(
    wix: EmbeddedWix, tmp_path: Path
) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text('{"id": "a"}\n\n{"id": "b", "content": {"body": "schön"}}\n', encoding="utf-8")
    assert wix.load(SITE, good) == 2
    for text in (
        '{"id": "c"}\n{',
        '{"id": "d"}\n[]',
        '{"id": "e"}\n{"createdDate": "x"}',
        '{"id": "f"}\n{"id": "f"}',
    ):
        bad = tmp_path / "bad.jsonl"
        bad.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"^line 2: "):
            wix.load(SITE, bad)
