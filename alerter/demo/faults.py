"""An HTTP server on loopback, and the faults that its answers can have."""

import asyncio
import json
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NoReturn, Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from alerter.demo.planned import Planned

HOST = "127.0.0.1"
_LARGEST_BODY = 10 * 1024 * 1024
_STOP_WITHIN = 0.05
_CHUNK = 64 * 1024

# Bodies that no client expects, by name.
NONSENSE: Mapping[str, bytes] = {
    "html": b"<!doctype html><html><body>Bad gateway</body></html>",
    "list": b"[]",
    "number": b"7",
    "text": b'"ok"',
    "null": b"null",
    "empty": b"",
    "cut off": b'{"ok": tr',
    "NaN": b'{"ok": NaN, "expires_in": Infinity}',
    "400 digits": b'{"ok": true, "expires_in": ' + b"9" * 400 + b', "error": ' + b"9" * 400 + b"}",
    "5000 digits": b'{"ok": true, "expires_in": ' + b"9" * 5000 + b"}",
    "deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "lone surrogate": b'{"ok": false, "error": "\\ud800", "message": "\\ud800"}',
    "terminal escapes": json.dumps(
        {"ok": False, "error": "\x1b[2J\x1b]0;x\x07\r\nforged", "message": "\x1b[2J\nforged"}
    ).encode(),
    "not UTF-8": b'{"ok": false, "error": "\xff\xfe", "message": "\xff\xfe"}',
    "byte order mark": b'\xef\xbb\xbf{"ok": true}',
}


@dataclass(frozen=True)
class Fault:
    """The fault of one request; with a `status`, `body` or `repeat` it replaces the answer.

    `headers` are added to the answer. `delay` is in seconds, between the work of the service and
    the answer. `drop` closes the connection without an answer, before or after the work. `garble`
    damages the answer of the service. `done` lets the service do its work although the fault
    answers. `only` limits the fault to a site, token or channel. `repeat` is sent after the body
    every `every` seconds until the client closes the connection.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    garble: Literal["truncate", "html"] | None = None
    done: bool = False
    only: str | None = None
    repeat: bytes = b""
    every: float = 0.0

    @property
    def answers(self) -> bool:
        """Whether the fault replaces the answer of the service."""
        return self.status is not None or self.body is not None or bool(self.repeat)

    @property
    def works(self) -> bool:
        """Whether the service does its work."""
        if self.drop:
            return self.drop == "after"
        return self.done or not self.answers


def redirect(url: str, status: int = 307, *, only: str | None = None) -> Fault:
    """Return a redirect to another address."""
    return Fault(status=status, headers={"Location": url}, only=only)


def endless(*, only: str | None = None) -> Fault:
    """Return an endless answer, sent as fast as the client reads."""
    return Fault(body=" ", repeat=b" " * _CHUNK, only=only)


def drip(every: float = 1.0, *, only: str | None = None) -> Fault:
    """Return an endless answer of one byte every `every` seconds."""
    return Fault(body="{", repeat=b" ", every=every, only=only)


def bomb(size: int, *, only: str | None = None) -> Fault:
    """Return a gzipped answer: valid JSON of `size` bytes when unpacked."""
    headers = {"Content-Encoding": "gzip"}
    return Fault(status=200, headers=headers, body=_compressed(size, b'{"ok": true}'), only=only)


@lru_cache(maxsize=8)
def _compressed(size: int, end: bytes) -> bytes:
    gzip = zlib.compressobj(1, wbits=31)  # small enough, in half the time of the smallest
    blanks = size - len(end)
    parts = [
        gzip.compress(b" " * min(_CHUNK, blanks - start)) for start in range(0, blanks, _CHUNK)
    ]
    return b"".join([*parts, gzip.compress(end), gzip.flush()])


class Faults(Planned[Fault]):
    """Planned faults, by the end of the path that they apply to."""

    def take(self, path: str, about: Collection[str] = ()) -> Fault | None:
        """Return the fault of a request to `path` about these names; remove it if queued."""
        return self.first(
            lambda match, only: path.endswith(match) and (only is None or only in about)
        )


def _nothing(_: web.Request) -> Collection[str]:
    return ()


def failing(
    faults: Faults, about: Callable[[web.Request], Collection[str]] = _nothing
) -> Middleware:
    """Return middleware that applies `faults`; `about` returns the names a request is about."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = faults.take(request.path, about(request))
        return await handler(request) if fault is None else await _fail(fault, request, handler)

    return middleware


async def _fail(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request) if fault.works else web.Response()
    await asyncio.sleep(fault.delay)
    if fault.drop:
        _hang_up(request)
    if fault.answers:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body or b""
        if fault.repeat:
            return await _never_end(fault, request, body)
        response = web.Response(
            status=fault.status or 200, body=body, content_type="application/json"
        )
    response.headers.update(fault.headers)
    return _garbled(fault, response)


async def _never_end(fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=fault.status or 200, headers=fault.headers)
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(body)
    while True:  # until `write` raises, because the client has closed the connection
        await asyncio.sleep(fault.every)
        await response.write(fault.repeat)


def _garbled(fault: Fault, response: web.StreamResponse) -> web.StreamResponse:
    if fault.garble == "html":
        return web.Response(
            status=response.status,
            text="<html><body>Bad gateway</body></html>",
            content_type="text/html",
        )
    if fault.garble == "truncate" and isinstance(response, web.Response) and response.text:
        response.text = response.text[: len(response.text) // 2]
    return response


def _hang_up(request: web.Request) -> NoReturn:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


class Loopback:
    """An aiohttp application on a free port of 127.0.0.1, the same after a restart."""

    def __init__(self, build: Callable[[], web.Application]) -> None:
        self.port = 0
        self._build = build
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Start to listen."""
        self._runner = web.AppRunner(self._build(), access_log=None, shutdown_timeout=_STOP_WITHIN)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


class LoopbackService:
    """A service on a free port of 127.0.0.1, while its context is open; it keeps what it holds."""

    _server: Loopback

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start to listen; after a stop, on the same port."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()


def application(*middlewares: Middleware) -> web.Application:
    """Return an application that accepts bodies of up to 10 MB."""
    return web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
