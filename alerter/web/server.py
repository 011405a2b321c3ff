"""The HTTP server: one request a connection, within a few seconds, and not too many at once."""

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
from alerter.web.health import Health
from alerter.web.metrics import Metrics
from alerter.web.webhooks import Webhooks

log = logging.getLogger(__name__)

# What aiohttp is, and in which version, is nobody's business.
_NAME = "alerter"
# A proxy adds one of them: whoever asks through it is not on this machine.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_PORT = re.compile(r":[0-9]*\Z")
# aiohttp would log every scanner's nonsense, with its address and a traceback.
_SILENT = logging.getLogger(f"{__name__}.aiohttp")
_SILENT.setLevel(logging.CRITICAL + 1)
# What Wix sends of a title and a text of 3,000 characters each, quotes throughout, with ten photos, takes 71 kB, and
# 137 kB in the older form of payloads, which wraps it once more.
_LARGEST_BODY = 144 * 1024
_MOST_CONNECTIONS = 500
_PATIENCE = 5.0
# Twice this at most, beside what else the daemon ends within its ten seconds.
_STOP_WITHIN = 0.5
_LINGER = 1.0
_BACKLOG = 512


class Web:
    """What is served, and on which port."""

    def __init__(
        self,
        config: Config,
        state: State,
        clock: Clock,
        intake: Intake,
        finished: Mapping[str, float],
    ) -> None:
        self.webhooks = Webhooks(config, intake)
        self.health = Health(config, state, clock, finished)
        self.metrics = Metrics(config, state, clock)
        self.port = 0

    def application(self) -> web.Application:
        """The paths, and what answers there."""
        app = web.Application(middlewares=[_one_request], client_max_size=_LARGEST_BODY)
        app.on_response_prepare.append(_name_server)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/webhooks/wix", self.webhooks.receive)
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
) -> AsyncIterator[Web]:
    """Listen on a host and a port. Raises AlerterError where that is not possible, ConfigError where a key is none."""
    if not is_loopback(listen[0]):
        log.warning("[web] listen: %s", LISTENS_BEYOND_LOOPBACK)
    served = Web(config, state, clock, intake, finished)
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
        # asyncio puts a sentence of its own in the place of the system's words.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise AlerterError(
            f"cannot listen on {host}:{port}: {reason}; name another place in [web] listen"
        ) from error


class _Connection(web.RequestHandler):
    """One request and its answer, in a few seconds: whoever takes longer is cut off, even within a header."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            logger=_SILENT,
            access_log=_SILENT,
            lingering_time=_LINGER,
            auto_decompress=False,  # Wix compresses nothing, and nobody else is let in
        )
        self._server = server
        self._end: asyncio.TimerHandle | None = None
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; where there are too many, the oldest ends, which has had the most time for its request."""
        super().connection_made(transport)
        self._end = self._loop.call_later(_PATIENCE, self.cut_off)
        alive = [
            each
            for each in self._server.connections
            if isinstance(each, _Connection) and not each.is_over
        ]
        if len(alive) > _MOST_CONNECTIONS:
            alive[0].cut_off()

    def cut_off(self) -> None:
        """End at once."""
        self._finish()
        if self.transport:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
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
        """Answer what is no HTTP, without a word of it."""
        super().handle_error(request, status, exc, message)
        response = web.Response(status=status, text="this is no HTTP\n", headers={"Server": _NAME})
        response.force_close()
        return response


async def _name_server(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = _NAME


def _is_local(request: web.Request) -> bool:
    """Whether somebody on this machine asks, by one of its own names.

    Another name is that of a proxy, or of a page in a browser that resolves to this machine.
    """
    if any(name in request.headers for name in _FORWARDED):
        return False
    host = _PORT.sub("", request.headers.get("Host", ""))
    return is_loopback(request.remote or "") and is_loopback(
        host.removeprefix("[").removesuffix("]")
    )


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer, and close: a connection that stays open would be one more thing that somebody may hold."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        response = web.Response(
            status=refusal.status, text=f"{refusal.reason}\n", headers=_allowed(refusal)
        )
    except ConnectionError:
        raise  # whoever asked has left, or was cut off
    except web.RequestPayloadError:
        response = web.Response(status=400, text="the body cannot be read\n")
    except RuntimeError:
        if request.transport and not request.transport.is_closing():
            raise
        raise ConnectionResetError from None  # as aiohttp has it where the connection ends within a body
    except Exception:
        log.exception("a request was not answered: a fault of alerter itself")
        response = web.Response(status=500, text="a fault of alerter itself\n")
    response.force_close()
    return response


def _allowed(refusal: web.HTTPException) -> dict[str, str]:
    return {"Allow": refusal.headers["Allow"]} if "Allow" in refusal.headers else {}
