"""The requests that an embedded service received at an address, and how they are recorded."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from alerter.clock import Clock


@dataclass
class PostedCall:
    """A received request. `status` is None until it is answered, `at` monotonic time in seconds.

    The names of its headers are lower-case. `problem`: why the service refused it.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    status: int | None = None
    problem: str = ""

    @property
    def id(self) -> str:
        """Its `webhook-id`; empty without one."""
        return self.headers.get("webhook-id", "")

    @property
    def topic(self) -> str:
        """The topic of ntfy that its path names."""
        return self.path.removeprefix("/")


CALL = web.RequestKey("call", PostedCall)


def recording(requests: list[PostedCall], clock: Clock) -> Middleware:
    """Return middleware that adds each request to a list, and to itself as `CALL`."""

    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body, at = await request.read(), clock.monotonic()
        call = PostedCall(request.path, request.query_string, headers, body, at)
        requests.append(call)
        request[CALL] = call
        response = await handler(request)
        call.status = response.status
        return response

    return record
