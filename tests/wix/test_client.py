"""The Wix client over real HTTP: who is calling, what is asked, and what every answer means."""

import asyncio
import json
import logging
import math
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from alerter.config import Site
from alerter.counters import counts
from alerter.demo.faults import Fault, Loopback
from alerter.demo.wix import App, EmbeddedWix, Request
from alerter.demo.wix_webhooks import free_port
from alerter.errors import (
    WixAuthError,
    WixError,
    WixNotFound,
    WixPrecondition,
    WixResponseError,
    WixUnavailable,
)
from alerter.models import Review
from alerter.wix.client import Page, ReviewFilter, WixClient
from alerter.wix.http import _TIMEOUT
from tests.support.clock import SetClock
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG

QUERY = "/reviews/v1/reviews/query"
TOKEN = "/oauth2/token"
INFO = "/oauth2/token-info"
APP_SITE = "33333333-3333-4333-8333-333333333333"
OTHER_APP_SITE = "44444444-4444-4444-8444-444444444444"
KEY = SECRETS["WIX_API_KEY"]
APP_SECRET = "app-secret-40be"
REQUEST_ID = "1763985600.5711-x"
LOW = ReviewFilter(2)


def site_of(**fields: str) -> Site:
    """A site as the config makes it, its secrets fetched."""
    environ = {
        "KEY": KEY,
        "APP_SECRET": APP_SECRET,
        "WRONG": "wrong-secret-9d1c",
        "UMLAUT": "schlüssel-7f3a",
    }
    context = {"secrets": True, "folder": Path(), "environ": environ}
    return Site.model_validate({"name": "Corner Bakery", "site_id": SITE} | fields, context=context)


def app_site(site_id: str = APP_SITE, variable: str = "APP_SECRET") -> Site:
    instance = f"instance of {site_id}"
    return site_of(
        site_id=site_id, app_id="app-1", app_secret=f"env:{variable}", instance_id=instance
    )


BY_KEY = site_of(api_key="env:KEY")
BY_APP = app_site()


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=KEY)
        for site_id in (APP_SITE, OTHER_APP_SITE):
            wix.add_site(site_id, app=App("app-1", APP_SECRET, f"instance of {site_id}"))
        yield wix


@pytest.fixture
async def client(wix: EmbeddedWix, clock: SetClock) -> AsyncIterator[WixClient]:
    client = WixClient(wix.base_url, clock)
    yield client
    await client.close()


async def read(
    client: WixClient, site: Site = BY_KEY, span: ReviewFilter = LOW, *, private: bool = True
) -> list[Review]:
    return [
        review
        async for page in client.pages(site, span, private=private)
        for review in page.reviews
    ]


async def pages(client: WixClient, most: int) -> list[Page]:
    """The pages of a site, but no more of them than a test can wait for."""
    found: list[Page] = []
    async for page in client.pages(BY_KEY, LOW, private=True):
        found.append(page)
        if len(found) == most:
            break
    return found


async def failure(client: WixClient, site: Site = BY_KEY) -> WixError:
    with pytest.raises(WixError) as caught:
        await read(client, site)
    return caught.value


def fill(wix: EmbeddedWix, number: int, site_id: str = SITE) -> None:
    for index in range(number):
        created = f"2024-07-01T{index // 3600:02}:{index // 60 % 60:02}:{index % 60:02}.000Z"
        wix.add(
            site_id,
            {"id": f"r{index}", "createdDate": created, "content": {"rating": 1 + index % 2}},
        )


def sent_headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def answer(*reviews: Any, cursor: object = None) -> Fault:
    return Fault(
        body=json.dumps({"reviews": list(reviews), "metadata": {"cursors": {"next": cursor}}})
    )


def said(error: BaseException | None) -> Iterator[str]:
    """Everything that a log or a traceback could print of an error and of what led to it."""
    while error:
        yield from (str(error), repr(error))
        error = error.__cause__ or error.__context__


@asynccontextmanager
async def served(
    handler: Callable[[web.Request], Awaitable[web.Response]], clock: SetClock
) -> AsyncIterator[WixClient]:
    """A client of a server that does one thing only."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = Loopback(lambda: app)
    await server.start()
    client = WixClient(server.url, clock)
    try:
        yield client
    finally:
        await client.close()
        await server.stop()


def always(fault: Fault) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What answers everything with the status, headers and body of a fault."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(
            status=fault.status or 200, text=fault.body or "", headers=fault.headers
        )

    return handler


@dataclass
class Gate:
    """A Wix that keeps every caller waiting until it is opened."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    full: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    most: int = 0

    async def handle(self, _: web.Request) -> web.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside >= 50:
            self.full.set()
        await self.opened.wait()
        self.inside -= 1
        return web.json_response({"reviews": [], "metadata": {}})


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
        (Fault(status=429, headers={"Retry-After": "9"}), WixUnavailable),
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


async def test_a_key_that_no_header_takes_is_refused_and_not_told(
    client: WixClient, wix: EmbeddedWix
) -> None:
    with pytest.raises((WixError, ValidationError)) as caught:
        await read(client, site_of(api_key="env:UMLAUT"))
    assert not [text for text in said(caught.value) if "7f3a" in text]


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


async def test_the_newest_date_of_a_page_is_none_that_wix_itself_would_call_the_future(
    client: WixClient, wix: EmbeddedWix
) -> None:
    for name, created in (("a", "2024-07-01T12:00:00.000Z"), ("b", "2099-01-01T00:00:00.000Z")):
        wix.add(SITE, {"id": name, "createdDate": created, "content": {"rating": 1}})
    wix.faults.add(QUERY, Fault(headers={"Date": "Mon, 01 Jul 2024 12:00:10 GMT"}))
    [page] = await pages(client, most=2)
    assert page.newest == datetime(2024, 7, 1, 12, 0, 10, tzinfo=UTC)


# What an answer means

UNAVAILABLE = [
    (Fault(status=429, headers={"Retry-After": "17"}), 17.0, "slow down (429)"),
    (
        Fault(status=429, headers={"Retry-After": "Tue, 24 Nov 2026 12:01:30 GMT"}),
        90.0,
        "slow down (429)",
    ),
    (
        Fault(status=429, headers={"Retry-After": "Tue, 24 Nov 2026 11:00:00 GMT"}),
        0.0,
        "slow down (429)",
    ),
    (Fault(status=429, headers={"Retry-After": "-5"}), 0.0, "slow down (429)"),
    (Fault(status=429, headers={"Retry-After": "99999999"}), 86400.0, "slow down (429)"),
    (Fault(status=429, headers={"Retry-After": "soon"}), None, "slow down (429)"),
    (Fault(status=429, headers={"Retry-After": "nan"}), None, "slow down (429)"),
    (Fault(status=429), None, "slow down (429)"),
    (Fault(status=500, body='{"message": "boom"}'), None, "500 “boom”"),
    (
        Fault(status=503, headers={"Retry-After": "30"}, body="<html>Service unavailable</html>"),
        30.0,
        "503",
    ),
    (Fault(status=504), None, "504"),
    (Fault(drop="before"), None, "dropped the connection"),
    (Fault(drop="after"), None, "dropped the connection"),
]


@pytest.mark.parametrize(
    ("fault", "retry_after", "text"),
    UNAVAILABLE,
    ids=[
        "429 with seconds",
        "429 with a date",
        "429 with a date that is past",
        "429 with less than nothing",
        "429 with years",
        "429 with a word",
        "429 with no number",
        "429 without a word",
        "500",
        "503 as HTML",
        "504 without a body",
        "dropped before",
        "dropped after",
    ],
)
async def test_wix_that_cannot_answer_now_may_be_asked_again(
    client: WixClient, wix: EmbeddedWix, fault: Fault, retry_after: float | None, text: str
) -> None:
    wix.faults.add(QUERY, fault)
    error = await failure(client)
    assert type(error) is WixUnavailable
    assert error.retry_after == retry_after
    assert text in str(error)
    assert "html" not in str(error)
    assert len(wix.requests) == 1
    assert await read(client) == []


@pytest.mark.parametrize("header", ["Retry-After", "Date"])
async def test_a_date_that_no_calendar_holds_is_no_date(
    client: WixClient, wix: EmbeddedWix, header: str
) -> None:
    date = "Tue, 24 Nov 2026 12:00:00 +999999999999999"
    wix.faults.add(QUERY, Fault(status=429, headers={header: date}))
    error = await failure(client)
    assert isinstance(error, WixUnavailable)
    wix.faults.add(QUERY, Fault(headers={header: date}))
    assert await read(client) == []


async def test_wix_that_is_slow_is_given_up(
    client: WixClient, wix: EmbeddedWix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_TIMEOUT["timeout"], "read", 0.05)
    wix.faults.add(QUERY, Fault(delay=10 * HANG))
    error = await failure(client)
    assert type(error) is WixUnavailable
    assert "in time" in str(error)
    assert counts["wix_calls_timeout"] == 1
    monkeypatch.undo()
    assert await read(client) == []


async def test_wix_that_nobody_listens_for_cannot_be_reached(
    client: WixClient, wix: EmbeddedWix
) -> None:
    await wix.stop()
    error = await failure(client)
    assert type(error) is WixUnavailable
    assert "cannot be reached" in str(error)
    await wix.start()
    assert await read(client) == []


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (Fault(garble="html"), WixResponseError, "not a JSON object"),
        (Fault(garble="truncate"), WixResponseError, "not a JSON object"),
        (Fault(body=""), WixResponseError, "not a JSON object"),
        (Fault(body="null"), WixResponseError, "not a JSON object"),
        (Fault(body="[]"), WixResponseError, "not a JSON object"),
        (Fault(body="7"), WixResponseError, "not a JSON object"),
        (Fault(body='{"reviews": null}'), WixResponseError, "no list of reviews"),
        (Fault(body='{"reviews": null, "metadata": {}}'), WixResponseError, "no list of reviews"),
        (Fault(body='{"reviews": {}}'), WixResponseError, "no list of reviews"),
        (Fault(body="{}"), WixResponseError, "no list of reviews"),
        (Fault(body='{"error": "oops", "message": "no"}'), WixResponseError, "no list of reviews"),
        (Fault(body="[" * 100_000), WixResponseError, "not a JSON object"),
        (Fault(body='{"reviews": ' + "9" * 5000 + "}"), WixResponseError, "not a JSON object"),
        (Fault(headers={"Content-Encoding": "gzip"}), WixResponseError, "cannot be read"),
        (Fault(status=204), WixResponseError, "204"),
        (Fault(status=302, headers={"Location": "/elsewhere"}), WixResponseError, "302"),
        (
            Fault(status=400, body='{"message": "filter is\\nwrong\\u0000"}'),
            WixResponseError,
            "“filter is wrong”",
        ),
        (Fault(status=404, body='{"message": "gone"}'), WixNotFound, "404 “gone”"),
        (Fault(status=409), WixResponseError, "409"),
        (Fault(status=428, body='{"message": null}'), WixPrecondition, "428"),
        (Fault(status=401, body='{"message": "who?"}'), WixAuthError, "401 “who?”"),
        (Fault(status=403, body="[]"), WixAuthError, "403"),
    ],
    ids=[
        "HTML with 200",
        "truncated",
        "empty",
        "null",
        "a list",
        "a number",
        "null reviews",
        "null reviews with metadata",
        "an object of reviews",
        "an empty object",
        "an error with 200",
        "endless depth",
        "endless number",
        "not what its encoding says",
        "204",
        "302",
        "400",
        "404",
        "409",
        "428",
        "401",
        "403",
    ],
)
async def test_an_answer_that_helps_nobody_is_a_typed_error(
    client: WixClient, wix: EmbeddedWix, fault: Fault, kind: type[WixError], text: str
) -> None:
    wix.faults.add(QUERY, fault)
    error = await failure(client)
    assert type(error) is kind
    assert text in str(error)
    assert len(wix.requests) == 1
    assert await read(client) == []


async def test_a_redirect_is_not_followed(client: WixClient, wix: EmbeddedWix) -> None:
    wix.faults.add(QUERY, Fault(status=307, headers={"Location": "/elsewhere"}))
    await failure(client)
    assert [request.path for request in wix.requests] == [QUERY]


@pytest.mark.parametrize(
    ("raw", "review_id", "text"),
    [
        (None, None, "is not an object"),
        ("review", None, "is not an object"),
        ({"content": {"rating": 1}}, None, "has no id"),
        ({"id": None, "content": {"rating": 1}}, None, "has no id"),
        ({"id": "a b", "content": {"rating": 1}}, None, "has no id"),
        ({"id": "bad", "content": {"rating": 9}}, "bad", "has no rating"),
        ({"id": "bad", "content": {"rating": "1"}}, "bad", "has no rating"),
        ({"id": "bad", "content": {"rating": True}}, "bad", "has no rating"),
        ({"id": "bad", "content": {"rating": 1.5}}, "bad", "has no rating"),
        ({"id": "bad", "content": None}, "bad", "has no rating"),
        ({"id": "bad"}, "bad", "has no rating"),
    ],
    ids=[
        "null",
        "text",
        "no id",
        "null id",
        "an id that is none",
        "rating 9",
        "rating as text",
        "rating true",
        "rating 1.5",
        "null content",
        "no content",
    ],
)
async def test_a_review_that_cannot_be_read_takes_no_other_with_it(
    client: WixClient, wix: EmbeddedWix, raw: object, review_id: str | None, text: str
) -> None:
    before, after = ({"id": name, "content": {"rating": 1}} for name in ("before", "after"))
    wix.faults.add(QUERY, answer(before, raw, after))
    [page] = await pages(client, most=2)
    assert [review.id for review in page.reviews] == ["before", "after"]
    [error] = page.unreadable
    assert error.review_id == review_id
    assert text in str(error)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (Fault(status=500, headers={"x-wix-request-id": REQUEST_ID}), True),
        (Fault(status=400, headers={"x-wix-request-id": REQUEST_ID}), True),
        (Fault(status=403, headers={"x-wix-request-id": REQUEST_ID}), True),
        (Fault(body="null", headers={"x-wix-request-id": REQUEST_ID}), True),
        (Fault(status=500, headers={"x-wix-request-id": "<b>not an id</b>"}), False),
        (Fault(status=500), False),
    ],
    ids=["500", "400", "403", "200 that is no JSON object", "an id that is none", "no id"],
)
async def test_an_error_names_the_request_for_the_support_of_wix(
    clock: SetClock, fault: Fault, *, named: bool
) -> None:
    async with served(always(fault), clock) as client:
        error = await failure(client)
    assert (f"(request {REQUEST_ID})" in str(error)) is named
    assert ("request" in str(error).replace("refuses the request", "")) is named


@pytest.mark.parametrize(
    "body",
    ['{"error": "oops"}', '{"reviews": null}'],
    ids=["an error with 200", "null reviews"],
)
async def test_an_answer_without_reviews_names_the_request_too(clock: SetClock, body: str) -> None:
    fault = Fault(body=body, headers={"x-wix-request-id": REQUEST_ID})
    async with served(always(fault), clock) as client:
        assert REQUEST_ID in str(await failure(client))


ECHOES = [
    Fault(status=400, body=f'{{"message": "{KEY} and {APP_SECRET} {KEY}"}}'),
    Fault(status=401, body=f'{{"message": "the key {KEY} is not valid"}}'),
    Fault(status=403, body=f'{{"error": "denied", "error_description": "{APP_SECRET}"}}'),
    Fault(status=404, body=f'{{"message": {{"nested": "{KEY}{APP_SECRET}"}}}}'),
    Fault(status=500, body=f'{{"message": "{"x" * 190}{KEY}{APP_SECRET}"}}'),
    Fault(
        status=400, body=json.dumps({"message": b64encode(f"{KEY}:{APP_SECRET}".encode()).decode()})
    ),
    Fault(status=503, body=f"<html>{KEY}{APP_SECRET}</html>"),
    Fault(status=200, body=f'"{KEY}{APP_SECRET}"'),
    Fault(status=200, headers={"Content-Encoding": "gzip"}, body=f"{KEY}{APP_SECRET}"),
    Fault(drop="before"),
]


@pytest.mark.parametrize(
    "fault",
    ECHOES,
    ids=[
        "400",
        "401",
        "403",
        "404 nested",
        "500 at the cut",
        "in base64",
        "503 as HTML",
        "200",
        "not gzip",
        "dropped",
    ],
)
@pytest.mark.parametrize(
    ("site", "path"),
    [(BY_KEY, QUERY), (BY_APP, QUERY), (BY_APP, TOKEN)],
    ids=["key", "app", "token call"],
)
async def test_no_secret_stands_in_an_error_or_a_log(
    client: WixClient,
    wix: EmbeddedWix,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    site: Site,
    path: str,
) -> None:
    caplog.set_level(logging.DEBUG, logger="alerter")
    caplog.handler.setFormatter(logging.Formatter("%(message)s %(exc_info)s"))
    wix.faults.always(path, fault)
    error = await failure(client, site)
    # Each site has its own secret; Wix has no way to know the other one.
    secret = KEY if site is BY_KEY else APP_SECRET
    texts = [
        *said(error),
        *(record.getMessage() for record in caplog.records if record.name.startswith("alerter")),
    ]
    assert not [text for text in texts if secret in text]
    assert not [text for text in texts if secret[:-1] in text]
    assert not [text for text in texts if b64encode(secret.encode())[:-2].decode() in text]


async def test_no_access_token_stands_in_an_error(client: WixClient, wix: EmbeddedWix) -> None:
    await read(client, BY_APP)
    token = sent_headers(wix.queries()[0])["authorization"]
    wix.faults.add(
        QUERY, Fault(status=400, body=json.dumps({"message": f"{token} is not for this site"}))
    )
    assert not [text for text in said(await failure(client, BY_APP)) if token in text]


async def test_calls_are_counted_by_their_answer(client: WixClient, wix: EmbeddedWix) -> None:
    wix.faults.add(
        QUERY, Fault(status=500), Fault(drop="before"), Fault(headers={"Content-Encoding": "gzip"})
    )
    for _ in range(3):
        await failure(client)
    await read(client)
    assert counts["wix_calls_500"] == 1
    assert counts["wix_calls_lost"] == 1
    assert counts["wix_calls_garbled"] == 1
    assert counts["wix_calls_200"] == 1


async def test_fifty_calls_at_most_are_under_way_at_once(clock: SetClock) -> None:
    gate = Gate()
    async with served(gate.handle, clock) as client:
        reading = [asyncio.create_task(read(client)) for _ in range(80)]
        async with asyncio.timeout(HANG):
            await gate.full.wait()
            for _ in range(200):
                await asyncio.sleep(0)
            assert gate.most == 50
            gate.opened.set()
            await asyncio.gather(*reading)
    assert gate.most == 50
    assert counts["wix_calls_200"] == 80
