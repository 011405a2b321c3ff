"""Answers from Wix, or from whatever stands in its place, that are made to hang, fill or mislead
the client.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web

from alerter.config import Site
from alerter.demo.faults import NONSENSE, Fault, Loopback, bomb, drip, endless, redirect
from alerter.demo.wix import App, EmbeddedWix
from alerter.errors import (
    WixAuthError,
    WixError,
    WixRefused,
    WixResponseError,
    WixThrottled,
    WixUnavailable,
)
from alerter.models import Review
from alerter.wix.client import ReviewFilter, WixClient
from alerter.wix.http import LARGEST
from tests.support.clock import SetClock
from tests.support.memory import memory_bounded
from tests.support.values import SECRETS, SITE
from tests.support.waiting import until
from tests.support.wix import client

__all__ = ["client"]

KEY = SECRETS["WIX_API_KEY"]
APP_SITE = "33333333-3333-4333-8333-333333333333"
QUERY, TOKEN = "/reviews/v1/reviews/query", "/oauth2/token"
MB = 1024 * 1024
# A body, its copy and what it decodes to; an unbounded read of the answers below takes hundreds of
# megabytes.
MOST_MEMORY = 5 * LARGEST


def site_of(**fields: str) -> Site:
    context = {
        "secrets": True,
        "folder": Path(),
        "environ": {"KEY": KEY, "APP_SECRET": "app-secret-40be"},
    }
    return Site.model_validate({"name": "Corner Bakery", "site_id": SITE} | fields, context=context)


BY_KEY = site_of(api_key="env:KEY")
BY_APP = site_of(
    site_id=APP_SITE, app_id="app-1", app_secret="env:APP_SECRET", instance_id="instance-1"
)


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=KEY)
        wix.add_site(APP_SITE, app=App("app-1", "app-secret-40be", "instance-1"))
        yield wix


@dataclass
class Stranger:
    """Another host, and the requests that it got."""

    requests: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(f"{request.method} {request.path}")
        return web.json_response(
            {"reviews": [], "metadata": {}, "access_token": "stolen", "expires_in": 14400}
        )

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    stranger = Stranger()
    server = Loopback(stranger.app)
    await server.start()
    stranger.url = server.url
    yield stranger
    await server.stop()


async def read(client: WixClient, site: Site = BY_KEY) -> list[Review]:
    return [
        review
        async for page in client.pages(site, ReviewFilter(2), private=True)
        for review in page.reviews
    ]


async def failure(client: WixClient, site: Site = BY_KEY) -> WixError:
    with pytest.raises(WixError) as caught:
        await read(client, site)
    return caught.value


# Size


def largest_page() -> bytes:
    """The largest page that Wix's own limits allow, with every character escaped."""
    text, media_id = "😀" * 3000, f"11062b_{'f' * 32}~mv2.jpg"
    media = {
        "image": {
            "id": media_id,
            "url": f"https://static.wixstatic.com/media/{media_id}",
            "altText": "😀" * 100,
        }
    }
    review = {
        "content": {"title": text, "body": text, "rating": 1, "media": [media] * 10},
        "author": {"authorName": "😀" * 100},
        "reply": {"message": text},
    }
    return json.dumps(
        {"reviews": [{"id": f"r{n}"} | review for n in range(100)], "metadata": {}}
    ).encode()


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
async def test_the_largest_honest_page_is_read(
    client: WixClient, wix: EmbeddedWix, *, compressed: bool
) -> None:
    page = largest_page()
    assert 12_000_000 < len(page) < LARGEST
    headers = {"Content-Encoding": "gzip"} if compressed else {}
    wix.faults.add(QUERY, Fault(body=gzip.compress(page) if compressed else page, headers=headers))
    reviews = await read(client)
    assert [review.id for review in reviews] == [f"r{n}" for n in range(100)]
    assert {len(review.body) for review in reviews} == {3000}


def valid_json(values: bytes, end: bytes = b"0") -> Fault:
    """An answer of nearly 16 MB whose values take far more once they are parsed."""
    return Fault(body=b'{"reviews": [' + values * ((LARGEST - 100) // len(values)) + end + b"]}")


# Made when they are needed: each has 16 MB, and every process that runs tests imports this module.
TOO_LARGE: dict[str, tuple[Callable[[], Fault], str]] = {
    "bomb": (lambda: bomb(100_000_000), "larger than 16 MB when unpacked"),
    "a byte too much": (lambda: bomb(LARGEST + 1), "larger than 16 MB when unpacked"),
    "endless": (endless, "larger than 16 MB"),
    "large": (lambda: Fault(body=b" " * (LARGEST + 1)), "larger than 16 MB"),
    "objects": (lambda: valid_json(b"{},"), "not a JSON object"),
    "deep": (lambda: valid_json(b"[", end=b""), "not a JSON object"),
}


@pytest.mark.parametrize(("fault", "text"), TOO_LARGE.values(), ids=TOO_LARGE)
async def test_an_answer_that_is_too_large_is_cut_off(
    client: WixClient, wix: EmbeddedWix, fault: Callable[[], Fault], text: str
) -> None:
    wix.faults.add(QUERY, fault())
    with memory_bounded(MOST_MEMORY):
        error = await failure(client)
    assert type(error) is WixResponseError
    assert text in str(error)
    assert await read(client) == []


@pytest.mark.parametrize("value", [b"[],", b"300,", b'"",'], ids=["lists", "numbers", "strings"])
async def test_an_answer_of_too_many_values_is_not_parsed(
    client: WixClient, wix: EmbeddedWix, value: bytes
) -> None:
    wix.faults.add(QUERY, valid_json(value))
    error = await failure(client)
    assert type(error) is WixResponseError
    assert "not a JSON object" in str(error)
    assert await read(client) == []


async def test_an_app_gets_no_token_from_a_bomb(client: WixClient, wix: EmbeddedWix) -> None:
    wix.faults.add(TOKEN, bomb(100_000_000))
    with memory_bounded(MOST_MEMORY):
        assert type(await failure(client, BY_APP)) is WixResponseError
    assert await read(client, BY_APP) == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, WixAuthError),
        (403, WixAuthError),
        (429, WixThrottled),
        (503, WixUnavailable),
        (400, WixRefused),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        lambda: bomb(100_000_000),
        endless,
        lambda: Fault(body="x", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["bomb", "endless", "not gzip"],
)
async def test_the_status_of_an_error_counts_whatever_its_body(
    client: WixClient,
    wix: EmbeddedWix,
    status: int,
    kind: type[WixError],
    body: Callable[[], Fault],
) -> None:
    made = body()
    headers = made.headers | {"Retry-After": "17"}
    wix.faults.add(QUERY, *[replace(made, status=status, headers=headers)] * 2)
    with memory_bounded(MOST_MEMORY):
        error = await failure(client)
    assert type(error) is kind
    assert str(status) in str(error)
    assert getattr(error, "retry_after", 17.0) == 17.0


async def test_a_body_that_drips_ends_after_a_minute(
    client: WixClient, wix: EmbeddedWix, clock: SetClock
) -> None:
    wix.faults.add(QUERY, drip(0.001))
    reading = asyncio.create_task(failure(client))
    await until(lambda: wix.requests)
    clock.advance(seconds=59)
    await asyncio.sleep(0)
    assert not reading.done()
    clock.advance(seconds=1)
    error = await reading
    assert type(error) is WixUnavailable
    assert "in time" in str(error)
    assert await read(client) == []


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "x" * 1000])
async def test_an_encoding_that_was_not_asked_for_is_not_decoded(
    client: WixClient, wix: EmbeddedWix, encoding: str
) -> None:
    body = gzip.compress(gzip.compress(b'{"reviews": [], "metadata": {}}'))
    wix.faults.add(QUERY, Fault(body=body, headers={"Content-Encoding": encoding}))
    error = await failure(client)
    assert type(error) is WixResponseError
    assert "encoding that was not asked for" in str(error)
    assert await read(client) == []


# Other hosts


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("site", "path"), [(BY_KEY, QUERY), (BY_APP, QUERY), (BY_APP, TOKEN)])
async def test_a_redirect_sends_nothing_to_another_host(
    client: WixClient, wix: EmbeddedWix, stranger: Stranger, status: int, site: Site, path: str
) -> None:
    wix.faults.add(path, redirect(f"{stranger.url}/elsewhere", status))
    error = await failure(client, site)
    assert isinstance(error, WixUnavailable | WixResponseError)
    assert stranger.requests == []
    assert stranger.url not in str(error)
    assert await read(client, site) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirected_reply_is_not_set_elsewhere(
    client: WixClient, wix: EmbeddedWix, stranger: Stranger, status: int
) -> None:
    wix.add(SITE, {"id": "a", "content": {"rating": 1}})
    wix.faults.add("/reply", redirect(f"{stranger.url}/reply", status))
    with pytest.raises(WixResponseError, match=str(status)):
        await client.set_reply(BY_KEY, "a", "We are sorry.")
    assert stranger.requests == []


ODD_ADDRESSES = [
    "javascript:x",
    "mailto:a@b",
    "http://xn--/",
    "http://[::1",
    "//a℀b/",
    "http://a:x/",
    "//[",
    "",
    "a" * 60_000,
]


@pytest.mark.parametrize("address", ODD_ADDRESSES, ids=[each[:12] for each in ODD_ADDRESSES])
async def test_a_redirect_to_no_address_is_an_error_as_any(
    client: WixClient, wix: EmbeddedWix, address: str
) -> None:
    wix.faults.add(QUERY, redirect(address, 302))
    assert isinstance(await failure(client), WixUnavailable | WixResponseError)
    assert await read(client) == []


async def test_no_cookie_is_kept_or_sent(client: WixClient, wix: EmbeddedWix) -> None:
    wix.faults.always(QUERY, Fault(headers={"Set-Cookie": "session=of-another-site; Path=/"}))
    for site in (BY_KEY, BY_APP, BY_KEY):
        await read(client, site)
    assert not [
        request
        for request in wix.requests
        if "cookie" in {name.lower() for name in request.headers}
    ]


# Words


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
@pytest.mark.parametrize("path", [QUERY, TOKEN])
async def test_nonsense_is_a_wix_error_on_one_clean_line(
    client: WixClient, wix: EmbeddedWix, clock: SetClock, path: str, status: int
) -> None:
    for name, body in NONSENSE.items():
        clock.advance(hours=5)  # the next call needs a new token
        wix.faults.always(path, Fault(status=status, body=body))
        error = str(await failure(client, BY_APP))
        wix.faults.clear()
        assert (name, error.isprintable(), len(error) < 400) == (name, True, True)
        assert (name, await read(client, BY_APP)) == (name, [])


async def test_an_error_as_deep_as_json_can_be_is_reported_without_its_words(
    client: WixClient, wix: EmbeddedWix
) -> None:
    for depth in range(100, 1000, 10):
        wix.faults.add(
            QUERY, Fault(status=400, body='{"message": ' + "[" * depth + "]" * depth + "}")
        )
        assert (await failure(client)).text == "Wix refuses the request: 400"
