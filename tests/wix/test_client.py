"""The Wix client over real HTTP: who is calling, what is asked, and what every answer means."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.errors import (
    WixAuthError,
    WixResponseError,
    WixUnavailable,
)
from alerter.wix.client import ReviewFilter, WixClient
from tests.support.values import SITE
from tests.support.wix import BY_KEY, LOW, QUERY, answer, client, failure, fill, pages, read, wix

__all__ = ["client", "wix"]


# What is asked


@pytest.mark.parametrize(
    ("span", "asked"),
    [
        (ReviewFilter(2), {"content.rating": {"$lte": 2}}),
        (
            ReviewFilter(3, above=2),
            {"$and": [{"content.rating": {"$gt": 2}}, {"content.rating": {"$lte": 3}}]},
        ),
        (
            ReviewFilter(1, since=datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)),
            {
                "$and": [
                    {"content.rating": {"$lte": 1}},
                    {"createdDate": {"$gte": "2024-07-01T12:00:00.123Z"}},
                ]
            },
        ),
        (
            ReviewFilter(5, until=datetime(2024, 7, 1, tzinfo=UTC)),
            {
                "$and": [
                    {"content.rating": {"$lte": 5}},
                    {"createdDate": {"$lt": "2024-07-01T00:00:00.000Z"}},
                ]
            },
        ),
        (
            ReviewFilter(
                4,
                above=1,
                since=datetime(2024, 1, 1, tzinfo=UTC),
                until=datetime(2024, 7, 1, tzinfo=UTC),
            ),
            {
                "$and": [
                    {"content.rating": {"$gt": 1}},
                    {"content.rating": {"$lte": 4}},
                    {"createdDate": {"$gte": "2024-01-01T00:00:00.000Z"}},
                    {"createdDate": {"$lt": "2024-07-01T00:00:00.000Z"}},
                ]
            },
        ),
    ],
    ids=["all", "between ratings", "since", "until", "everything at once"],
)
async def test_a_span_is_asked_for_in_the_words_of_wix(
    client: WixClient, wix: EmbeddedWix, span: ReviewFilter, asked: Mapping[str, Any]
) -> None:
    await read(client, span=span)
    [request] = wix.requests
    assert request.status == 200
    assert request.body == {
        "query": {
            "filter": asked,
            "sort": [{"fieldName": "createdDate", "order": "ASC"}],
            "cursorPaging": {"limit": 100},
        },
        "returnPrivateReviews": True,
    }


async def test_a_span_holds_its_first_moment_and_not_its_last(
    client: WixClient, wix: EmbeddedWix
) -> None:
    for name, created in (
        ("before", "11:59:59.999"),
        ("first", "12:00:00.000"),
        ("last", "13:00:00.000"),
    ):
        wix.add(
            SITE, {"id": name, "createdDate": f"2024-07-01T{created}Z", "content": {"rating": 1}}
        )
    span = ReviewFilter(
        2, since=datetime(2024, 7, 1, 12, tzinfo=UTC), until=datetime(2024, 7, 1, 13, tzinfo=UTC)
    )
    assert [review.id for review in await read(client, span=span)] == ["first"]


@pytest.mark.parametrize("private", [True, False], ids=["private too", "published only"])
async def test_many_reviews_come_a_hundred_a_page_and_oldest_first(
    client: WixClient, wix: EmbeddedWix, *, private: bool
) -> None:
    fill(wix, 257)
    assert [review.id for review in await read(client, private=private)] == [
        f"r{index}" for index in range(257)
    ]
    first, *following = wix.queries()
    assert len(following) == 2
    assert first.body["query"]["cursorPaging"] == {"limit": 100}
    for request in following:
        assert request.status == 200
        assert request.body["query"].keys() == {"cursorPaging"}
        assert request.body["query"]["cursorPaging"].keys() == {"limit", "cursor"}
        assert request.body["query"]["cursorPaging"]["limit"] == 100
    flags = {request.body.get("returnPrivateReviews") for request in wix.queries()}
    assert flags == ({True} if private else {None})


async def test_reviews_that_wait_for_moderation_come_only_to_who_may_see_them(
    client: WixClient, wix: EmbeddedWix
) -> None:
    pending = {"moderationStatus": "IN_MODERATION"}
    wix.add(SITE, {"id": "pending", "content": {"rating": 1}, "moderation": pending})
    assert [review.id for review in await read(client)] == ["pending"]
    assert await read(client, private=False) == []
    wix.sites[SITE].private = False
    error = await failure(client)
    assert isinstance(error, WixAuthError)
    assert error.status == 403
    assert "REVIEWS.READ_PRIVATE_REVIEWS" in str(error)


@pytest.mark.parametrize(
    "metadata",
    [
        {"count": 1, "cursors": {"next": ""}},
        {"count": 1, "cursors": {"next": None}},
        {"count": 1, "cursors": {}},
        {"count": 1, "cursors": None},
        {"count": 1, "cursors": []},
        {"count": 1},
        None,
        [],
    ],
    ids=[
        "empty",
        "null",
        "absent",
        "null cursors",
        "a list",
        "no cursors",
        "null metadata",
        "metadata is a list",
    ],
)
async def test_without_a_next_cursor_a_page_is_the_last(
    client: WixClient, wix: EmbeddedWix, metadata: object
) -> None:
    body = {"reviews": [{"id": "a", "content": {"rating": 1}}], "metadata": metadata}
    wix.faults.always(QUERY, Fault(body=json.dumps(body)))
    assert [review.id for review in await read(client)] == ["a"]
    assert len(wix.requests) == 1


async def test_an_empty_page_may_leave_out_its_list(client: WixClient, wix: EmbeddedWix) -> None:
    wix.faults.add(QUERY, Fault(body='{"metadata": {"count": 0}}'))
    assert await read(client) == []


async def test_an_empty_page_with_a_cursor_is_not_the_last(
    client: WixClient, wix: EmbeddedWix
) -> None:
    wix.faults.add(QUERY, answer(cursor="x"), answer({"id": "a", "content": {"rating": 1}}))
    assert [review.id for review in await read(client)] == ["a"]


async def test_a_cursor_that_does_not_move_on_ends_the_read(
    client: WixClient, wix: EmbeddedWix
) -> None:
    wix.faults.always(QUERY, answer({"id": "a", "content": {"rating": 1}}, cursor="stuck"))
    with pytest.raises(WixResponseError, match="does not move"):
        await pages(client, most=10)
    assert len(wix.requests) == 2


async def test_cursors_that_go_in_circles_end_the_read(client: WixClient, wix: EmbeddedWix) -> None:
    wix.faults.add(QUERY, *(answer(cursor=cursor) for cursor in "abc" * 4))
    with pytest.raises(WixResponseError, match="does not move"):
        await pages(client, most=10)


@pytest.mark.parametrize(
    "reviews", [[], [{"id": "a", "content": {"rating": 1}}]], ids=["empty", "the same"]
)
async def test_pages_without_end_that_hold_nothing_new_end_the_read(
    client: WixClient, wix: EmbeddedWix, reviews: list[Any]
) -> None:
    wix.faults.add(QUERY, *(answer(*reviews, cursor=f"{number}") for number in range(100)))
    with pytest.raises(WixResponseError, match="does not move"):
        await pages(client, most=100)
    assert 50 <= len(wix.requests) <= 51


async def test_what_was_yielded_before_a_failure_holds(client: WixClient, wix: EmbeddedWix) -> None:
    fill(wix, 150)
    wix.faults.add(QUERY, Fault(), Fault(status=500))
    reading = client.pages(BY_KEY, LOW, private=True)
    page = await anext(reading)
    assert len(page.reviews) == 100
    with pytest.raises(WixUnavailable):
        await anext(reading)


@pytest.mark.parametrize("private", [True, False], ids=["private too", "published only"])
async def test_a_probe_asks_for_one_review_and_reads_nothing_else(
    client: WixClient, wix: EmbeddedWix, *, private: bool
) -> None:
    fill(wix, 3)
    await client.probe(BY_KEY, private=private)
    [request] = wix.requests
    assert request.body["query"] == {"cursorPaging": {"limit": 1}}
    assert request.body.get("returnPrivateReviews", False) is private


async def test_an_object_is_got_by_its_path_or_is_none(client: WixClient, wix: EmbeddedWix) -> None:
    assert await client.get(BY_KEY, "/stores/v3/provision/version") == {
        "catalogVersion": "V3_CATALOG"
    }
    assert await client.get(BY_KEY, "/stores/v3/products/nowhere") is None


async def test_the_newest_date_of_a_page_is_never_after_wixs_own_clock(
    client: WixClient, wix: EmbeddedWix
) -> None:
    for name, created in (("a", "2024-07-01T12:00:00.000Z"), ("b", "2099-01-01T00:00:00.000Z")):
        wix.add(SITE, {"id": name, "createdDate": created, "content": {"rating": 1}})
    wix.faults.add(QUERY, Fault(headers={"Date": "Mon, 01 Jul 2024 12:00:10 GMT"}))
    [page] = await pages(client, most=2)
    assert page.newest == datetime(2024, 7, 1, 12, 0, 10, tzinfo=UTC)
