"""An address that is posted to: what each of its answers means, and that it stays secret."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from alerter.clock import Clock
from alerter.demo.faults import (
    NONSENSE,
    Fault,
    Faults,
    Loopback,
    application,
    bomb,
    failing,
    redirect,
)
from alerter.errors import DeliveryError, ErrorKind
from alerter.notify.http_address import HttpAddress, HttpRefusal, HttpReply, HttpRequest
from tests.support.clock import SetClock
from tests.support.waiting import until

REQUEST = HttpRequest(b"words", {"Content-Type": "text/plain"})
PATH = "/hooks/T0pS3cretT0ken?auth=Qu3ryS3cret"


class Taker:
    """A service that takes what is posted to it."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.taken: list[tuple[str, bytes]] = []
        self.held = asyncio.Event()
        self.held.set()
        self.server = Loopback(self._build)

    def _build(self) -> web.Application:
        built = application(failing(self.faults))
        built.router.add_post("/{path:.*}", self._take)
        return built

    async def _take(self, request: web.Request) -> web.Response:
        self.taken.append((request.path_qs, await request.read()))
        await self.held.wait()
        return web.Response(text="taken")


@pytest.fixture
async def taker() -> AsyncIterator[Taker]:
    found = Taker()
    await found.server.start()
    yield found
    await found.server.stop()


@pytest.fixture
async def address(taker: Taker) -> AsyncIterator[HttpAddress]:
    found = HttpAddress(taker.server.url + PATH, Clock())
    yield found
    await found.close()


async def refused(address: HttpAddress) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await address.call(REQUEST)
    return caught.value


async def test_the_query_of_an_address_is_kept(taker: Taker, address: HttpAddress) -> None:
    assert await address.call(REQUEST) == HttpReply(200, b"taken")
    assert taker.taken == [(PATH, b"words")]


async def test_a_worker_that_ends_its_connection_cuts_off_no_other_call(
    taker: Taker, address: HttpAddress
) -> None:
    taker.held.clear()
    call = asyncio.create_task(address.call(REQUEST))
    await until(lambda: bool(taker.taken))
    await address.close()
    taker.held.set()
    assert await call == HttpReply(200, b"taken")


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (301, {"Location": "/elsewhere"}, ErrorKind.TRANSIENT, None),
        (307, {"Location": "/elsewhere"}, ErrorKind.TRANSIENT, None),
        (400, {}, ErrorKind.MESSAGE, None),
        (401, {}, ErrorKind.RECEIVER, None),
        (404, {}, ErrorKind.RECEIVER, None),
        (408, {}, ErrorKind.TRANSIENT, None),
        (410, {}, ErrorKind.RECEIVER, None),
        (413, {}, ErrorKind.MESSAGE, None),
        (429, {}, ErrorKind.THROTTLED, None),
        (429, {"Retry-After": "7"}, ErrorKind.THROTTLED, 7.0),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, ErrorKind.THROTTLED, 0.0),
        (500, {}, ErrorKind.TRANSIENT, None),
        (503, {"Retry-After": "30"}, ErrorKind.THROTTLED, 30.0),
    ],
)
async def test_a_refusal_is_of_its_kind(
    taker: Taker,
    address: HttpAddress,
    status: int,
    headers: dict[str, str],
    kind: ErrorKind,
    retry_after: float | None,
) -> None:
    taker.faults.add("", Fault(status=status, headers=headers, body="no"))
    error = await refused(address)
    assert (error.kind, error.retry_after, error.in_doubt) == (kind, retry_after, False)
    assert str(status) in str(error)
    assert taker.taken == []


async def test_a_lost_answer_leaves_the_message_in_doubt(
    taker: Taker, address: HttpAddress
) -> None:
    taker.faults.add("", Fault(drop="after"))
    error = await refused(address)
    assert (error.kind, error.in_doubt, len(taker.taken)) == (ErrorKind.TRANSIENT, True, 1)


async def test_an_address_where_nothing_listens_got_nothing(
    taker: Taker, address: HttpAddress
) -> None:
    await taker.server.stop()
    error = await refused(address)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, False)
    assert str(error) == "the address cannot be reached (ConnectError)"


@pytest.mark.parametrize("body", [*NONSENSE.values(), b"T0pS3cretT0ken Qu3ryS3cret"])
async def test_what_a_refusal_says_is_cleaned(
    taker: Taker, address: HttpAddress, body: bytes
) -> None:
    taker.faults.add("", Fault(status=410, body=body))
    text = str(await refused(address))
    assert text.isprintable()
    assert len(text) < 300
    assert not any(secret in text for secret in ("T0pS3cret", "Qu3ryS3cret"))


async def test_a_large_answer_is_read_in_part(taker: Taker, address: HttpAddress) -> None:
    taker.faults.add("", bomb(100_000_000))
    reply = await address.call(REQUEST)
    assert len(reply.body) <= 64 * 1024


@pytest.mark.parametrize(
    ("status", "expected"), [(200, (200, b"{")), (410, (410, ErrorKind.RECEIVER, False))]
)
async def test_a_status_counts_though_its_body_does_not_end(
    taker: Taker, clock: SetClock, status: int, expected: tuple[object, ...]
) -> None:
    taker.faults.add("", Fault(status=status, body="{", repeat=b" ", every=0.01))
    address = HttpAddress(taker.server.url + PATH, clock)
    calling = asyncio.create_task(_outcome(address))
    await until(lambda: len(clock.timeouts) > 1)
    clock.advance(seconds=6)
    assert await calling == expected
    await address.close()


async def _outcome(address: HttpAddress) -> tuple[object, ...]:
    try:
        reply = await address.call(REQUEST)
    except HttpRefusal as error:
        return error.reply.status, error.kind, error.in_doubt
    return reply.status, reply.body.strip()


async def test_a_redirect_to_what_is_no_address_is_a_redirect(
    taker: Taker, address: HttpAddress
) -> None:
    taker.faults.add("", redirect("http://[", 302))
    error = await refused(address)
    assert str(error) == "the address redirects, which is not followed: 302"
    assert not error.in_doubt


async def test_a_server_that_nobody_vouches_for_gets_nothing(
    clock: SetClock, server_context: ssl.SSLContext
) -> None:
    received: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0, ssl=server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        address = HttpAddress(f"https://127.0.0.1:{port}{PATH}", clock)
        error = await refused(address)
    assert (error.kind, error.in_doubt, received) == (ErrorKind.RECEIVER, False, [])
    assert str(error).startswith("the address cannot be trusted: ")
    await address.close()
