"""The HTTP server: one request a connection, 5 seconds for each, 500 at once."""

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST

from alerter.clock import Clock
from alerter.config import Config
from alerter.config.fields import LISTENS_BEYOND_LOOPBACK, is_loopback
from alerter.errors import AlerterError
from alerter.store import State
from alerter.watch.intake import Intake
from alerter.web.health import Health, ProcessFault, no_fault
from alerter.web.metrics import Metrics
from alerter.web.pages import ReviewPages
from alerter.web.webhooks import WebhookEndpoint

log = logging.getLogger(__name__)

# Replaces aiohttp's own Server header, which names its version.
_NAME = "alerter"
# A proxy adds one of them, so the client behind it is not on this machine.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_PORT = re.compile(r":[0-9]*\Z")
# aiohttp logs every malformed request with its address and a traceback.
_SILENT = logging.getLogger(f"{__name__}.aiohttp")
_SILENT.setLevel(logging.CRITICAL + 1)
# A webhook about a title and a text of 3,000 quotation marks each, with ten photos, has 71 kB; in
# the older form of payloads, which is escaped once more, 137 kB.
_LARGEST_BODY = 144 * 1024
_MOST_CONNECTIONS = 500
# Bytes of a connection that are read, and parsed, at once.
_READ_AT_ONCE = 4096
_REQUEST_TIMEOUT = 5.0
# A stop takes twice this at most; the daemon has ten seconds for all of its parts.
_STOP_WITHIN = 0.5
_LINGER = 1.0
_BACKLOG = 512


class WebServer:
    """The parts that are served; `port` is the one that the server listens on."""

    def __init__(
        self,
        config: Config,
        state: State,
        clock: Clock,
        intake: Intake,
        finished: Mapping[str, float],
        pages: ReviewPages | None = None,
        fault: ProcessFault = no_fault,
    ) -> None:
        self.pages = pages
        self.webhooks = WebhookEndpoint(config, intake)
        self.health = Health(config, state, clock, finished, fault)
        self.metrics = Metrics(config, state, clock)
        self.port = 0

    def application(self) -> web.Application:
        """Return the application with its routes."""
        app = web.Application(middlewares=[_one_request], client_max_size=_LARGEST_BODY)
        app.on_response_prepare.append(_name_server)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/webhooks/wix", self.webhooks.receive)
        if self.pages:
            self.pages.add_routes(app.router)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        report = self.health.report(details=_is_local(request))
        return web.json_response(report, status=200 if report["ok"] else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def open_web(
    listen: tuple[str, int],
    config: Config,
    state: State,
    clock: Clock,
    intake: Intake,
    finished: Mapping[str, float],
    pages: ReviewPages | None = None,
    fault: ProcessFault = no_fault,
) -> AsyncIterator[WebServer]:
    """Serve on a host and a port. Raises AlerterError if it cannot listen there."""
    if not is_loopback(listen[0]):
        log.warning("[web] listen: %s", LISTENS_BEYOND_LOOPBACK)
    served = WebServer(config, state, clock, intake, finished, pages, fault)
    runner = web.AppRunner(served.application(), shutdown_timeout=_STOP_WITHIN)
    await runner.setup()
    try:
        server = await _listen(runner, *listen)
        served.port = server.sockets[0].getsockname()[1]
        try:
            yield served
        finally:
            server.close()
    finally:
        await runner.cleanup()
        await served.webhooks.stop()


async def _listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    loop, server = asyncio.get_running_loop(), runner.server
    if server is None:
        raise AlerterError("the web server has not been set up")
    try:
        return await loop.create_server(
            lambda: _Connection(server, loop), host, port, backlog=_BACKLOG
        )
    except OSError as error:
        # asyncio replaces the system's message with its own.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise AlerterError(
            f"cannot listen on {host}:{port}: {reason}; name another place in [web] listen"
        ) from error


class _Connection(web.RequestHandler):
    """A connection that is aborted 5 seconds after it opened, even within a header."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            logger=_SILENT,
            access_log=_SILENT,
            lingering_time=_LINGER,
            auto_decompress=False,  # Wix sends no compressed body; others are refused
        )
        self._server = server
        self._end: asyncio.TimerHandle | None = None
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the timeout; with too many connections abort the oldest."""
        super().connection_made(transport)
        # Everything in one read is parsed at once.
        transport.max_size = _READ_AT_ONCE  # type: ignore[attr-defined]  # a selector transport
        self._end = self._loop.call_later(_REQUEST_TIMEOUT, self.abort)
        alive = [
            each
            for each in self._server.connections
            if isinstance(each, _Connection) and not each.is_over
        ]
        if len(alive) > _MOST_CONNECTIONS:
            alive[0].abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self._finish()
        if self.transport:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timeout."""
        self._finish()
        super().connection_lost(exc)

    def _finish(self) -> None:
        self.is_over = True
        if self._end:
            self._end.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request without quoting it."""
        super().handle_error(request, status, exc, message)
        response = web.Response(status=status, text="this is no HTTP\n", headers={"Server": _NAME})
        response.force_close()
        return response


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = _NAME


def _is_local(request: web.Request) -> bool:
    """Return whether the client is on this machine and asks for it by one of its own names.

    Another name is a proxy's, or that of a page in a browser which resolves to this machine.
    """
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = _PORT.sub("", request.headers.get("Host", ""))
    return is_loopback(request.remote or "") and is_loopback(
        host.removeprefix("[").removesuffix("]")
    )


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer and close the connection, so that no client can keep it open."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        response = web.Response(
            status=refusal.status, text=f"{refusal.reason}\n", headers=_allowed(refusal)
        )
    except ConnectionError:
        raise  # the client has left, or was aborted
    except web.RequestPayloadError:
        response = web.Response(status=400, text="the body cannot be read\n")
    except RuntimeError:
        if request.transport and not request.transport.is_closing():
            raise
        raise ConnectionResetError from None  # the connection ended within the body
    except Exception:
        log.exception("a request was not answered: a fault of alerter itself")
        response = web.Response(status=500, text="a fault of alerter itself\n")
    response.force_close()
    return response


def _allowed(refusal: web.HTTPException) -> dict[str, str]:
    return {"Allow": refusal.headers["Allow"]} if "Allow" in refusal.headers else {}
