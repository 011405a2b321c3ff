"""An HTTP server on loopback whose answers can be made to fail."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HOST = "127.0.0.1"
_LARGEST_BODY = 10 * 1024 * 1024
_STOP_WITHIN = 0.05


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; with a `status` or a `body` it answers in place of the service.

    `delay` passes before the answer (what the service does is done by then), `drop` closes the connection without an
    answer, `garble` spoils a good answer, `done` lets the service do its work although the fault answers.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    garble: Literal["truncate", "html"] | None = None
    done: bool = False

    @property
    def answers(self) -> bool:
        """Whether the service's own answer is replaced."""
        return self.status is not None or self.body is not None

    @property
    def works(self) -> bool:
        """Whether the service does what it was asked to do."""
        if self.drop:
            return self.drop == "after"
        return self.done or not self.answers


class Faults:
    """The faults that are still to come, by the end of the path that they wait for."""

    def __init__(self) -> None:
        self._once: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}

    def add(self, match: str, *faults: Fault) -> None:
        """Let the next requests whose path ends with `match` fail, one fault each, in order."""
        self._once.setdefault(match, deque()).extend(faults)

    def always(self, match: str, fault: Fault) -> None:
        """Let every request whose path ends with `match` fail, until `clear`."""
        self._always[match] = fault

    def clear(self, match: str | None = None) -> None:
        """Forget the faults of `match`, or all of them."""
        for faults in (self._once, self._always):
            if match is None:
                faults.clear()
            else:
                faults.pop(match, None)

    def take(self, path: str) -> Fault | None:
        """The fault for a request to `path`; one that was queued is used up."""
        for match, queue in self._once.items():
            if queue and path.endswith(match):
                return queue.popleft()
        return next((fault for match, fault in self._always.items() if path.endswith(match)), None)


def failing(faults: Faults) -> Middleware:
    """Middleware that lets requests fail as `faults` says."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = faults.take(request.path)
        return await handler(request) if fault is None else await _fail(fault, request, handler)

    return middleware


async def _fail(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request) if fault.works else web.Response()
    await asyncio.sleep(fault.delay)
    if fault.drop:
        _hang_up(request)
    if fault.answers:
        response = web.Response(status=fault.status or 200, text=fault.body or "", content_type="application/json")
    response.headers.update(fault.headers)
    return _garbled(fault, response)


def _garbled(fault: Fault, response: web.StreamResponse) -> web.StreamResponse:
    if fault.garble == "html":
        return web.Response(
            status=response.status, text="<html><body>Bad gateway</body></html>", content_type="text/html"
        )
    if fault.garble == "truncate" and isinstance(response, web.Response) and response.text:
        response.text = response.text[: len(response.text) // 2]
    return response


def _hang_up(request: web.Request) -> NoReturn:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


class Loopback:
    """An aiohttp application on a free port of 127.0.0.1; started once more it has the same port."""

    def __init__(self, build: Callable[[], web.Application]) -> None:
        self.port = 0
        self._build = build
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self._runner = web.AppRunner(self._build(), access_log=None, shutdown_timeout=_STOP_WITHIN)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close every connection, answered or not."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def application(*middlewares: Middleware) -> web.Application:
    """An application that takes bodies as large as anybody sends."""
    return web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
