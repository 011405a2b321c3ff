"""Arbitrary answers of a service, and a server that gives them."""

import asyncio
import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tests.support.values import SECRETS

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY, APP_SECRET = SECRETS["WIX_API_KEY"], "app-secret-40be"
LONGEST = 3000
TOKEN = b'{"access_token": "token-1", "expires_in": 14400}'

# JSON

ODD = [
    "", "r1", "1", "-1", "2026-11-24T12:00:00.000Z", "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "\ud800",
    "\x00\x1b[2J", "a\r\nb", "https://static.wixstatic.com/media/a", "https://[::1",
    "https://x/" + "a" * 5000,
    "x" * 20_000, "٣", "1" * 5000, KEY, APP_SECRET, 0, 1, 2.0, 2.5, -1, 6, 10**400, 1e308,
    float("inf"), float("nan"),
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
    """An object with some of these fields, most of them as they should be, or now and then anything
    at all.
    """
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
    """Return JSON that is deeper, and has longer numbers, than Python can dump."""
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
