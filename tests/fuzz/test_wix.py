"""Whatever Wix answers is an answer or a WixError: arbitrary heads and bodies through the real client.

A few examples in the suite; `make torture` tries many.
"""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerter.clock import http_date, seconds_from
from alerter.config import Site
from alerter.errors import WixError
from alerter.models import Review
from alerter.store import State
from alerter.watch.catalog import Catalog
from alerter.wix.client import ReviewFilter, ReviewIds, WixClient
from alerter.wix.event import BadId, UnreadableEvent, parse_envelope, parse_event
from alerter.wix.review import UnreadableReview, parse_review
from tests.conftest import HANG, SECRETS, SITE, SetClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY, APP_SECRET = SECRETS["WIX_API_KEY"], "app-secret-40be"
LONGEST = 3000
TOKEN = b'{"access_token": "token-1", "expires_in": 14400}'

# JSON

ODD = [
    "", "r1", "1", "-1", "2026-11-24T12:00:00.000Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\ud800",
    "\x00\x1b[2J", "a\r\nb", "https://static.wixstatic.com/media/a", "https://[::1", "https://x/" + "a" * 5000,
    "x" * 20_000, "٣", "1" * 5000, KEY, APP_SECRET, 0, 1, 2.0, 2.5, -1, 6, 10**400, 1e308, float("inf"), float("nan"),
    True, None, [], {}, "@deep", "@deep", "@digits", "@digits",
]  # fmt: skip
ANY = st.recursive(
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


def table(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of these fields, most of them as they should be, or now and then anything at all."""
    some = st.fixed_dictionaries(
        {}, optional={name: value | value | ANY for name, value in fields.items()}
    )
    return some | some | some | ANY


DATES = st.sampled_from(
    ["2026-11-24T12:00:00.000Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"]
)
URLS = st.sampled_from(
    ["https://static.wixstatic.com/media/a~mv2.jpg", "wix:image://v1/a/b", "https://[::1", "//x"]
)
MEDIUM = table(
    image=table(id=st.text(max_size=9), url=URLS),
    video=table(
        posters=st.lists(table(url=URLS), max_size=2),
        resolutions=st.lists(table(url=URLS), max_size=2),
    ),
)
REVIEW = table(
    id=st.just("r1"),
    content=table(
        rating=st.integers(1, 5),
        title=st.text(),
        body=st.text(),
        media=st.lists(MEDIUM, max_size=3),
    ),
    author=table(authorName=st.text(), contactId=st.text()),
    reply=table(message=st.text(), createdDate=DATES, updatedDate=DATES),
    moderation=table(moderationStatus=st.sampled_from(["APPROVED", "REJECTED"])),
    origin=table(type=st.text(), appId=st.text()),
    createdDate=DATES,
    updatedDate=DATES,
    reviewDate=DATES,
    namespace=st.just("stores"),
    entityId=st.sampled_from(["p1", "..", "a/b?c#d", "\ud800"]),
    revision=st.sampled_from(["4", 4]),
    foundHelpful=st.integers(),
    foundUnhelpful=st.integers(),
    verified=st.booleans(),
)
URL_PARTS = table(base=st.just("https://shop.example"), path=st.just("/p"))
ANSWER = table(
    reviews=st.lists(REVIEW, max_size=3),
    review=REVIEW,
    metadata=table(count=st.integers(), cursors=table(next=st.text())),
    count=st.integers(),
    access_token=st.text(),
    expires_in=st.integers() | st.floats(),
    catalogVersion=st.sampled_from(["V1_CATALOG", "V3_CATALOG"]),
    product=table(name=st.text(), url=table(url=URLS), productPageUrl=URL_PARTS),
    message=st.text(),
    error=st.text(),
    error_description=st.text(),
)
EVENT = table(
    eventType=st.sampled_from(["wix.reviews.v1.review_created", "wix.reviews.v1.review_deleted"]),
    instanceId=st.text(),
    data=table(
        entityId=st.text(),
        createdEvent=table(entity=REVIEW),
        deletedEvent=table(deletedEntity=REVIEW),
    ).flatmap(lambda data: st.sampled_from([data, json.dumps(data)])),
)

# HTTP

TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
NUMBERS = st.sampled_from(["9" * 5000, "-1", "nan", "inf", "1e400", "12", "0x10", "1_0"])
DATE_HEADERS = st.sampled_from(
    [
        "Tue, 24 Nov 2026 12:01:30 GMT",
        "Tue, 24 Nov 2026 12:00:00 +999999999999999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ]
)
ADDRESSES = st.sampled_from(
    ["javascript:x", "http://xn--/", "//[", "http://a:x/", "http://127.0.0.1:9/", "/x"]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Retry-After": NUMBERS | DATE_HEADERS | TEXT,
        "Date": DATE_HEADERS | TEXT,
        "Location": ADDRESSES | TEXT,
        "Content-Encoding": st.sampled_from(
            ["gzip", "GZIP", "identity", "br", "deflate", "gzip, gzip"]
        )
        | TEXT,
        "Content-Type": TEXT,
        "Set-Cookie": TEXT,
        "x-wix-request-id": st.just("1763985600.5711-x") | TEXT,
    },
)
STATUSES = st.sampled_from(
    [200, 200, 200, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 428, 429, 500, 503]
)


@dataclass(frozen=True)
class Raw:
    """An answer as it goes over the wire; with `head` that and nothing else."""

    status: int
    headers: dict[str, str]
    body: bytes
    head: bytes | None = None

    @property
    def wire(self) -> bytes:
        if self.head is not None:
            return self.head
        lines = [
            f"HTTP/1.1 {self.status} X",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        length = f"Content-Length: {len(self.body)}"
        return (
            "\r\n".join([*lines, length, "Connection: close", "", ""]).encode("latin-1") + self.body
        )


def wire_json(value: Any, depth: int, digits: int) -> bytes:
    """Return JSON that may be as deep, and have numbers as long, as no Python value can be dumped."""
    text = json.dumps(value)
    return (
        text.replace('"@deep"', "[" * depth + "]" * depth)
        .replace('"@digits"', "9" * digits)
        .encode()
    )


DEPTHS, DIGITS = (
    st.sampled_from([1, 500, 980, 2000, 100_000]),
    st.sampled_from([1, 400, 4300, 5000]),
)
JSON_BODIES = st.builds(wire_json, ANSWER, DEPTHS, DIGITS)
BODIES = (
    JSON_BODIES
    | JSON_BODIES.map(gzip.compress)
    | JSON_BODIES.map(lambda body: body[:-3])
    | st.binary(max_size=60)
)
HEADS = (
    st.none()
    | st.none()
    | st.none()
    | st.binary(max_size=80)
    | TEXT.map(lambda text: f"HTTP/1.1 {text}".encode())
)
ANSWERS = st.builds(Raw, STATUSES, HEADERS, BODIES, HEADS)
GOOD_TOKEN = Raw(200, {}, TOKEN)


class RawServer:
    """Answers every call with the same bytes, the one for a token with others."""

    def __init__(self) -> None:
        self.answer = self.token = GOOD_TOKEN
        self.url = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length or 0))
            writer.write((self.token if b" /oauth2/" in head else self.answer).wire)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def site_of(**fields: str) -> Site:
    context = {"secrets": True, "folder": Path(), "environ": {"KEY": KEY, "APP_SECRET": APP_SECRET}}
    return Site.model_validate({"name": "Corner Bakery", "site_id": SITE} | fields, context=context)


BY_KEY = site_of(api_key="env:KEY")
BY_APP = site_of(app_id="app-1", app_secret="env:APP_SECRET", instance_id="instance-1")


def assert_clean(review: Review) -> None:
    """It can be stored and sent, and is as short as Wix's own limits have it."""
    json.dumps(asdict(review), ensure_ascii=False, default=str).encode()
    assert 1 <= review.rating <= 5
    assert (
        max(len(review.title), len(review.body), len(review.reply.message) if review.reply else 0)
        <= LONGEST
    )


def assert_told(error: Exception) -> None:
    """It can be logged and shown: one short line without our secrets."""
    said = str(error)
    assert said.isprintable()
    assert len(said) < 500
    assert KEY not in said
    assert APP_SECRET not in said


async def read(client: WixClient, site: Site, wanted: ReviewFilter | ReviewIds) -> None:
    async for page in client.pages(site, wanted, private=True):
        assert page.newest is None or page.newest.tzinfo
        for review in page.reviews:
            assert_clean(review)


async def look_up(client: WixClient, state: State, clock: SetClock, site: Site) -> None:
    """A product that Wix says nothing usable of is no failure."""
    clock.advance(days=2)
    await Catalog(state, clock, client).fetch_products(
        site, [Review("r1", 1, namespace="stores", entity_id="p1")]
    )


async def one_review(client: WixClient, site: Site) -> None:
    assert_clean(await client.review(site, "r1"))


async def reply(client: WixClient, site: Site) -> None:
    assert_clean(await client.set_reply(site, "r1", "We are sorry."))


def calls(
    client: WixClient, state: State, clock: SetClock
) -> list[Callable[[Site], Awaitable[Any]]]:
    return [
        lambda site: read(client, site, ReviewFilter(2)),
        lambda site: read(client, site, ReviewIds(("r1",))),
        lambda site: client.probe(site, private=True),
        lambda site: one_review(client, site),
        lambda site: client.is_there(site, "r1"),
        lambda site: reply(client, site),
        lambda site: client.count(site, NOW - timedelta(days=1), NOW, private=True),
        lambda site: look_up(client, state, clock, site),
    ]


async def answered(call: Callable[[Site], Awaitable[Any]], site: Site) -> None:
    try:
        async with asyncio.timeout(HANG):
            await call(site)
    except WixError as error:
        assert_told(error)


@contextmanager
def wix_client(
    tmp_path: Path,
) -> Iterator[tuple[asyncio.Runner, RawServer, list[Callable[[Site], Awaitable[Any]]]]]:
    clock, server = SetClock(NOW), RawServer()
    with asyncio.Runner() as runner, State.open(tmp_path / "state.db", migrate=True) as state:
        listening = runner.run(server.start())

        async def connect() -> WixClient:
            return WixClient(server.url, clock)

        client = runner.run(connect())
        try:
            yield runner, server, calls(client, state, clock)
        finally:
            runner.run(client.close())
            listening.close()


@pytest.mark.slow
def test_any_json_is_understood_or_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(JSON_BODIES)
        def holds(body: bytes) -> None:
            server.answer = Raw(200, {}, body)
            for call in all_calls:
                runner.run(answered(call, BY_KEY))

        holds()


@pytest.mark.slow
def test_any_answer_is_understood_or_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(ANSWERS, st.sampled_from(all_calls))
        def holds(answer: Raw, call: Callable[[Site], Awaitable[Any]]) -> None:
            server.answer = answer
            runner.run(answered(call, BY_KEY))

        holds()


@pytest.mark.slow
def test_any_error_with_any_words_is_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(ANSWERS, st.sampled_from([400, 401, 403, 404, 428, 500]))
        def holds(answer: Raw, status: int) -> None:
            server.answer = replace(answer, status=status, head=None)
            runner.run(answered(all_calls[0], BY_KEY))

        holds()


@pytest.mark.slow
def test_any_answer_to_a_call_for_a_token_is_one_or_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(ANSWERS)
        def holds(token: Raw) -> None:
            server.token, server.answer = (
                token,
                Raw(401, {}, b""),
            )  # so that the next call needs a new one
            runner.run(answered(all_calls[0], BY_APP))

        holds()


@given(REVIEW)
def test_any_json_is_a_review_or_unreadable(raw: Any) -> None:
    try:
        assert_clean(parse_review(raw))
    except UnreadableReview as error:
        assert_told(error)


@given(EVENT)
def test_any_json_is_an_event_or_unreadable(raw: Any) -> None:
    try:
        event = parse_event(parse_envelope(raw))
    except (BadId, UnreadableEvent, UnreadableReview) as error:
        assert_told(error)
    else:
        assert event is None or event.review is None or assert_clean(event.review) is None


@given(NUMBERS | DATE_HEADERS | TEXT | st.text())
def test_any_header_is_a_wait_of_a_day_at_most_or_none(text: str) -> None:
    assert 0 <= (seconds_from(text, NOW) or 0) <= 86400
    moment = http_date(text)
    assert moment is None or moment.tzinfo
