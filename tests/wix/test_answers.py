"""What the answers of Wix mean, and that no error shows a secret."""

import asyncio
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from alerter.config import Site
from alerter.counters import counts
from alerter.demo.faults import Fault, Loopback
from alerter.demo.wix import EmbeddedWix
from alerter.errors import (
    WixAuthError,
    WixError,
    WixNotFound,
    WixPrecondition,
    WixRefused,
    WixResponseError,
    WixThrottled,
    WixUnavailable,
)
from alerter.wix.client import WixClient
from alerter.wix.http import _TIMEOUT
from tests.support.clock import SetClock
from tests.support.waiting import HANG
from tests.support.wix import (
    APP_SECRET,
    BY_APP,
    BY_KEY,
    KEY,
    QUERY,
    TOKEN,
    answer,
    client,
    failure,
    pages,
    read,
    said,
    sent_headers,
    wix,
)

__all__ = ["client", "wix"]


REQUEST_ID = "1763985600.5711-x"


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
    assert type(error) is (WixThrottled if fault.status == 429 else WixUnavailable)
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
            WixRefused,
            "“filter is wrong”",
        ),
        (Fault(status=404, body='{"message": "gone"}'), WixNotFound, "404 “gone”"),
        (Fault(status=409), WixRefused, "409"),
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
