"""What may be asked of the embedded Wix about reviews, and in which pages it answers."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from alerter.demo.wix import EmbeddedWix
from tests.support.demo_wix import (
    COUNT,
    NO_CERTIFICATES,
    OTHER,
    QUERY,
    SITE,
    at,
    clock,
    http,
    ids,
    put,
    wix,
)
from tests.support.waiting import HANG

__all__ = ["clock", "http", "wix"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"filter": {"updatedDate": {"$gt": at(1)}}}, "filter.updatedDate"),
        ({"filter": {"reviewDate": {"$gt": at(1)}}}, "filter.reviewDate"),
        ({"filter": {"$or": []}}, "filter.$or"),
        ({"filter": {"content": {"rating": 1}}}, "filter.content"),
        ({"filter": []}, "filter"),
        ({"filter": {"id": {"$gt": "a"}}}, "filter.id"),
        ({"filter": {"verified": {"$in": [True]}}}, "filter.verified"),
        ({"filter": {"createdDate": {"$between": []}}}, "filter.createdDate"),
        ({"filter": {"createdDate": {}}}, "filter.createdDate"),
        ({"filter": {"createdDate": {"$gt": "2026-11-23T12:00:00"}}}, "filter.createdDate"),
        ({"filter": {"createdDate": {"$gt": "2026-11-23"}}}, "filter.createdDate"),
        ({"filter": {"createdDate": {"$gt": 1_763_900_000}}}, "filter.createdDate"),
        ({"filter": {"id": {"$in": "a"}}}, "filter.id"),
        ({"filter": {"content.rating": "1"}}, "filter.content.rating"),
        ({"filter": {"verified": "yes"}}, "filter.verified"),
        ({"filter": {"content.media": {"$isEmpty": 1}}}, "filter.content.media"),
        ({"sort": [{"fieldName": "updatedDate"}]}, "query.sort[0].fieldName"),
        ({"sort": [{"fieldName": "id"}]}, "query.sort[0].fieldName"),
        ({"sort": [{"fieldName": ["id"]}]}, "query.sort[0].fieldName"),
        ({"sort": [{"fieldName": "createdDate", "order": "asc"}]}, "query.sort[0].order"),
        ({"sort": [{"field": "createdDate"}]}, "query.sort[0].field"),
        ({"sort": {"fieldName": "createdDate"}}, "query.sort"),
        ({"cursorPaging": {"limit": 0}}, "query.cursorPaging.limit"),
        ({"cursorPaging": {"limit": 101}}, "query.cursorPaging.limit"),
        ({"cursorPaging": {"limit": "10"}}, "query.cursorPaging.limit"),
        ({"cursorPaging": {"limit": True}}, "query.cursorPaging.limit"),
        ({"cursorPaging": {"offset": 1}}, "query.cursorPaging.offset"),
        ({"cursorPaging": {"cursor": "nonsense"}}, "query.cursorPaging.cursor"),
        ({"cursorPaging": {"cursor": ""}}, "query.cursorPaging.cursor"),
        ({"cursorPaging": {"cursor": "e30="}}, "query.cursorPaging.cursor"),
        ({"paging": {"limit": 1}}, "query.paging"),
        ({"fields": ["id"]}, "query.fields"),
        ([], "query"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_wix_does_not_document_is_refused(
    http: httpx.AsyncClient, query: Any, field: str
) -> None:
    answer = await http.post(QUERY, json={"query": query})
    assert answer.status_code == 400
    violation = answer.json()["details"]["validationError"]["fieldViolations"][0]
    assert violation["field"] == field
    assert violation["description"] == answer.json()["message"]
    assert violation["violatedRule"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"querry": {}}', b'{"returnPrivateReviews": "true"}'],
    ids=["no JSON", "no object", "unknown key", "no boolean"],
)
async def test_a_body_that_is_no_query_is_refused(http: httpx.AsyncClient, body: bytes) -> None:
    assert (await http.post(QUERY, content=body)).status_code == 400


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, "abcd"),
        ({}, "abcd"),
        ({"id": "b"}, "b"),
        ({"id": {"$in": ["d", "a", "zz", "a"]}}, "ad"),
        ({"id": {"$in": []}}, ""),
        ({"id": {"$ne": "b"}}, "acd"),
        ({"id": {"$in": ["a", "d"]}, "createdDate": {"$gt": at(1)}}, "d"),
        ({"content.rating": {"$lte": 2}}, "ab"),
        ({"content.rating": {"$lt": 2}}, "a"),
        ({"content.rating": {"$gte": 3, "$lt": 4}}, "c"),
        ({"content.rating": {"$in": [1, 4]}}, "ad"),
        ({"createdDate": {"$gt": at(2)}}, "cd"),
        ({"createdDate": {"$gte": at(2)}}, "bcd"),
        ({"createdDate": {"$lt": at(2)}}, "a"),
        ({"createdDate": {"$lte": at(2)}}, "ab"),
        ({"createdDate": at(2)}, "b"),
        ({"createdDate": {"$ne": at(2)}}, "acd"),
        ({"createdDate": {"$in": [at(1), at(4)]}}, "ad"),
        ({"createdDate": {"$gte": "2026-11-20T11:00:02+01:00", "$lt": at(4)}}, "bc"),
        ({"createdDate": {"$gt": at(1)}, "content.rating": {"$lt": 4}}, "bc"),
        ({"verified": True}, "d"),
        ({"origin.type": {"$ne": "ORGANIC"}}, "c"),
        ({"relevanceScore": {"$gt": 0.5}}, "c"),
        ({"content.media": {"$isEmpty": False}}, "b"),
        ({"content.media": {"$isEmpty": True}}, "acd"),
        ({"moderation.moderationStatus": "APPROVED"}, "abcd"),
        ({"author.contactId": "contact"}, "a"),
        ({"namespace": "stores", "entityId": {"$in": ["mug"]}}, "a"),
    ],
    ids=str,
)
async def test_a_filter_finds_what_fits(
    wix: EmbeddedWix, http: httpx.AsyncClient, asked: Any, found: str
) -> None:
    put(wix, "a", 1, 1, author={"contactId": "contact"}, entityId="mug")
    put(wix, "c", 3, 3, origin={"type": "APP"}, relevanceScore=0.7)
    put(wix, "b", 2, 2)
    wix.change(SITE, "b", content={"media": [{"image": {"id": "i"}}]})
    put(wix, "d", 4, 4, verified=True, relevanceScore=0.1)
    assert ids(await http.post(QUERY, json={"query": {"filter": asked}})) == list(found)


async def read_all(
    http: httpx.AsyncClient, query: dict[str, Any], wix: EmbeddedWix | None = None
) -> list[list[str]]:
    """Every page; with a Wix, a review is created before and behind the place between any two
    pages.
    """
    pages = []
    limit = query["cursorPaging"]["limit"]
    while True:
        answer = await http.post(QUERY, json={"query": query})
        pages.append(ids(answer))
        assert answer.json()["metadata"]["count"] == len(pages[-1])
        following = answer.json()["metadata"]["cursors"].get("next")
        if not following:
            return pages
        if wix is not None:
            put(wix, f"early{len(pages)}", 0, 1)
            put(wix, f"late{len(pages)}", 50, 5)
        query = {"cursorPaging": {"limit": limit, "cursor": following}}


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6], ids=lambda count: f"{count} reviews")
async def test_the_last_page_has_no_cursor_even_when_it_is_full(
    wix: EmbeddedWix, http: httpx.AsyncClient, count: int
) -> None:
    for number in range(count):
        put(wix, f"r{number}", number)
    pages = await read_all(http, {"cursorPaging": {"limit": 2}})
    assert [len(page) for page in pages] == ([2] * (count // 2) + [1] * (count % 2) or [0])


SORTS = {
    "by date": ([{"fieldName": "createdDate", "order": "ASC"}], "abcdef"),
    "by date, newest first": ([{"fieldName": "createdDate", "order": "DESC"}], "fedcba"),
    "by rating": ([{"fieldName": "content.rating"}], "aebdcf"),
    "by rating, best first": ([{"fieldName": "content.rating", "order": "DESC"}], "fcdbea"),
    "by rating, then newest": (
        [{"fieldName": "content.rating"}, {"fieldName": "createdDate", "order": "DESC"}],
        "eadbfc",
    ),
    "by score, which most do not have": (
        [{"fieldName": "relevanceScore", "order": "DESC"}],
        "bfedca",
    ),
    "by verified": ([{"fieldName": "verified"}], "abdefc"),
}


@pytest.mark.parametrize(("sort", "order"), SORTS.values(), ids=SORTS)
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_pages_follow_the_order_asked_for(
    wix: EmbeddedWix, http: httpx.AsyncClient, sort: Any, order: str, limit: int
) -> None:
    for name, second, rating in [
        ("f", 3, 5),
        ("b", 1, 2),
        ("a", 1, 1),
        ("d", 3, 2),
        ("c", 2, 5),
        ("e", 3, 1),
    ]:
        more: dict[str, Any] = {"relevanceScore": 1.0} if name == "b" else {"verified": name == "c"}
        put(wix, name, second, rating, **more)
    pages = await read_all(http, {"sort": sort, "cursorPaging": {"limit": limit}})
    assert [name for page in pages for name in page] == list(order)


@pytest.mark.parametrize("field", ["createdDate", "content.rating"])
@pytest.mark.parametrize("order", ["ASC", "DESC"])
async def test_reviews_created_between_pages_repeat_and_skip_nothing(
    wix: EmbeddedWix, http: httpx.AsyncClient, field: str, order: str
) -> None:
    for number in range(12):
        put(wix, f"r{number:02}", 10 + number // 3, 1 + number // 3)
    query = {"sort": [{"fieldName": field, "order": order}], "cursorPaging": {"limit": 2}}
    seen = [name for page in await read_all(http, query, wix) for name in page]
    assert len(seen) == len(set(seen))
    assert sorted(name for name in seen if name.startswith("r")) == [
        f"r{number:02}" for number in range(12)
    ]
    added = [name for name in seen if not name.startswith("r")]
    assert added
    assert all(name.startswith("late" if order == "ASC" else "early") for name in added)


async def test_a_cursor_carries_its_filter_and_fits_nothing_else(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    for number in range(6):
        put(wix, f"r{number}", number, 1 + number % 2)
    first = {"filter": {"content.rating": 1}, "cursorPaging": {"limit": 1}}
    cursor = (await http.post(QUERY, json={"query": first})).json()["metadata"]["cursors"]["next"]
    assert ids(await http.post(QUERY, json={"query": {"cursorPaging": {"cursor": cursor}}})) == [
        "r2",
        "r4",
    ]
    extras: list[dict[str, Any]] = [
        {"filter": {"content.rating": 1}},
        {"filter": {}},
        {"sort": [{"fieldName": "createdDate"}]},
    ]
    for extra in extras:
        answer = await http.post(
            QUERY, json={"query": {"cursorPaging": {"cursor": cursor}, **extra}}
        )
        assert answer.status_code == 400
    elsewhere = {"Authorization": "other-key", "wix-site-id": OTHER}
    answer = await http.post(
        QUERY, json={"query": {"cursorPaging": {"cursor": cursor}}}, headers=elsewhere
    )
    assert answer.status_code == 400


async def test_a_page_holds_fifty_reviews_unless_asked_otherwise(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    for number in range(60):
        put(wix, f"r{number}", number)
    assert len(ids(await http.post(QUERY, json={}))) == 50


async def test_one_of_a_hundred_thousand_reviews_is_found() -> None:
    async with EmbeddedWix(requests_per_minute=None) as wix:
        site = wix.add_site(SITE, api_key="key")
        start = datetime(2020, 1, 1, tzinfo=UTC)
        for number in range(100_000):
            created = (start + timedelta(minutes=number)).isoformat().replace("+00:00", "Z")
            review = {
                "id": f"{number:06}",
                "createdDate": created,
                "content": {"rating": 1 + number % 5},
            }
            site.reviews.put(review | {"moderation": {"moderationStatus": "APPROVED"}})
        headers = {"Authorization": "key", "wix-site-id": SITE}
        query = {"filter": {"createdDate": {"$gte": created}}}
        async with httpx.AsyncClient(
            verify=NO_CERTIFICATES, timeout=HANG, base_url=wix.base_url, headers=headers
        ) as http:
            assert ids(await http.post(QUERY, content=json.dumps({"query": query}))) == ["099999"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"$and": [{"createdDate": {"$gte": at(1)}}, {"createdDate": {"$lt": at(4)}}]}, "bcd"),
        ({"createdDate": {"$gte": at(1), "$lt": at(4)}}, "bcd"),
        ({"createdDate": {"$gte": at(1)}, "content.rating": {"$lte": 2}}, "be"),
        ({"$and": [{"createdDate": {"$gte": at(1)}, "content.rating": 1}]}, "be"),
        ({"$or": [{"id": "a"}, {"content.rating": {"$gte": 4}}]}, "ad"),
        ({"$not": {"id": {"$in": ["a", "b"]}}}, "cde"),
        ({"$not": {"$or": [{"id": "a"}, {"$and": [{"content.rating": 1}, {"id": "e"}]}]}}, "bcd"),
        ({"$and": [{"$or": [{"id": "a"}, {"id": "c"}]}, {"$not": {"content.rating": 3}}]}, "a"),
        ({"$and": [{"id": {"$in": ["a", "b"]}}, {"id": {"$in": ["b", "c"]}}]}, "b"),
        ({"$or": [{"id": "a"}], "content.rating": 1}, "a"),
    ],
    ids=str,
)
async def test_conditions_are_joined_by_and_or_and_not(
    wix: EmbeddedWix, http: httpx.AsyncClient, asked: Any, found: str
) -> None:
    for second, (name, rating) in enumerate({"a": 1, "b": 1, "c": 3, "d": 4, "e": 1}.items()):
        wix.add(SITE, {"id": name, "createdDate": at(second), "content": {"rating": rating}})
    assert "".join(ids(await http.post(QUERY, json={"query": {"filter": asked}}))) == found
    assert (await http.post(COUNT, json={"filter": asked})).json() == {"count": len(found)}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"$and": {"id": "a"}}, "filter.$and"),
        ({"$and": []}, "filter.$and"),
        ({"$and": [{}]}, "filter.$and[0]"),
        ({"$or": [{"id": "a"}, "b"]}, "filter.$or[1]"),
        ({"$not": [{"id": "a"}]}, "filter.$not"),
        ({"$not": {}}, "filter.$not"),
        ({"$nor": [{"id": "a"}]}, "filter.$nor"),
        ({"$and": [{"id": "a"}, {"updatedDate": at(1)}]}, "filter.$and[1].updatedDate"),
        ({"$not": {"verified": {"$in": [True]}}}, "filter.$not.verified"),
    ],
    ids=str,
)
async def test_filters_that_are_joined_wrongly_are_refused(
    http: httpx.AsyncClient, asked: Any, field: str
) -> None:
    answer = await http.post(QUERY, json={"query": {"filter": asked}})
    assert answer.status_code == 400
    (violation,) = answer.json()["details"]["validationError"]["fieldViolations"]
    assert violation["field"] == field


async def test_a_cursor_carries_a_joined_filter_on(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    for second, name in enumerate("abcde"):
        wix.add(SITE, {"id": name, "createdDate": at(second)})
    asked = {"$and": [{"createdDate": {"$gte": at(1)}}, {"$not": {"id": "d"}}]}
    first = await http.post(QUERY, json={"query": {"filter": asked, "cursorPaging": {"limit": 2}}})
    assert ids(first) == ["b", "c"]
    cursor = first.json()["metadata"]["cursors"]["next"]
    assert ids(
        await http.post(QUERY, json={"query": {"cursorPaging": {"limit": 2, "cursor": cursor}}})
    ) == ["e"]
