"""An embedded receiver of webhooks that refuses what receivers of Standard Webhooks refuse.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from aiohttp import web

from alerter.clock import Clock
from alerter.demo.faults import Faults, Loopback, LoopbackService, application, failing
from alerter.demo.posted_calls import CALL, PostedCall, recording

# The tolerance of the reference libraries, for clocks and for replays.
_TOLERANCE = 5 * 60
# What nginx accepts if it is not configured.
_LARGEST = 1024 * 1024
_PREFIX = "whsec_"
_ID = re.compile(r"[!-~]{1,256}")
_TYPE = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_BLOCK = 64


@dataclass(frozen=True)
class Received:
    """A verified webhook, as its receiver keeps it: once for each id, with the first body."""

    id: str
    timestamp: int
    body: Mapping[str, Any]

    @property
    def type(self) -> str:
        """What happened, such as `review.new`."""
        return str(self.body["type"])

    @property
    def review(self) -> Mapping[str, Any]:
        """The review that it is about; empty if there is none."""
        return self.body["data"].get("review") or {}


@dataclass
class Hook:
    """One address: its secret and query, what it accepted, and whether it is gone (410).

    `events` has each id once; `repeats` counts further requests with an id, which are accepted and
    ignored, as the specification asks of receivers.
    """

    url: str
    secret: str
    query: str = ""
    gone: bool = False
    events: list[Received] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)


class RefusedError(Exception):
    """A request is refused with a status."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class EmbeddedWebhook(LoopbackService):
    """A server with some addresses, and every request that it received."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.hooks: dict[str, Hook] = {}
        self.requests: list[PostedCall] = []
        self.faults = Faults()
        self._server = Loopback(self._application)

    def add(self, name: str, *, secret: bytes = b"s" * 32, query: str = "") -> Hook:
        """Add an address; the query of requests has to be `query`, as tokens stand in it."""
        url = f"{self._server.url}/hooks/{name}" + (f"?{query}" if query else "")
        hook = Hook(url, _PREFIX + b64encode(secret).decode(), query)
        self.hooks[name] = hook
        return hook

    def _application(self) -> web.Application:
        app = application(recording(self.requests, self.clock), failing(self.faults))
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        received = request[CALL]
        try:
            hook = self._hook(request.method, received)
            event = self._verified(hook, received)
        except RefusedError as error:
            received.problem = str(error)
            return web.json_response({"error": str(error)}, status=error.status)
        if any(known.id == event.id for known in hook.events):
            hook.repeats[event.id] = hook.repeats.get(event.id, 0) + 1
        else:
            hook.events.append(event)
        return web.Response(status=204)

    def _hook(self, method: str, received: PostedCall) -> Hook:
        """Return the address that a request is for."""
        hook = self.hooks.get(received.path.removeprefix("/hooks/"))
        if hook is None:
            raise RefusedError(404, "there is no such webhook")
        if method != "POST":
            raise RefusedError(405, "a webhook is posted")
        if hook.gone:
            raise RefusedError(410, "this webhook was deleted")
        if received.query != hook.query:
            raise RefusedError(401, "the token in the query is wrong")
        if not received.headers.get("user-agent"):
            raise RefusedError(403, "there is no User-Agent")  # as of many firewalls
        if received.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise RefusedError(415, "the body has to be application/json")
        if len(received.body) > _LARGEST:
            raise RefusedError(413, "the body is too large")
        return hook

    def _verified(self, hook: Hook, received: PostedCall) -> Received:
        """Return the event of a request whose signature, time and body are right."""
        headers = received.headers
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        if missing := [name for name in names if not headers.get(name)]:
            raise RefusedError(401, f"missing: {', '.join(missing)}")
        webhook_id, timestamp, signatures = (headers[name] for name in names)
        # With a dot in it, another id and timestamp would have the same signature.
        if not _ID.fullmatch(webhook_id) or "." in webhook_id:
            raise RefusedError(401, "webhook-id has a character that it must not have")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            raise RefusedError(401, "webhook-timestamp is no whole number of seconds")
        if abs(self.clock.now().timestamp() - int(timestamp)) > _TOLERANCE:
            raise RefusedError(401, "webhook-timestamp is too old or too new")
        content = b".".join((webhook_id.encode(), timestamp.encode(), received.body))
        if _signature(hook.secret, content) not in _signatures(signatures):
            raise RefusedError(401, "no signature is right")
        return Received(webhook_id, int(timestamp), _body(received.body))


def _signature(secret: str, content: bytes) -> bytes:
    """Return the HMAC-SHA256, built here from its definition: RFC 2104.

    alerter signs with Python's hmac, so a mistake there is no mistake here as well.
    """
    key = b64decode(secret.removeprefix(_PREFIX), validate=True)
    block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner = sha256(bytes(byte ^ 0x36 for byte in block) + content).digest()
    return sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def _signatures(header: str) -> list[bytes]:
    """Return the signatures of version 1, of which there are several while a secret changes."""
    found = []
    for each in header.split(" "):
        version, comma, text = each.partition(",")
        if not comma:
            raise RefusedError(401, "webhook-signature is no list of version,signature")
        if version == "v1":
            try:
                found.append(b64decode(text, validate=True))
            except Base64Error:
                raise RefusedError(401, "a signature is no base64") from None
    return found


def _body(raw: bytes) -> Mapping[str, Any]:
    """Return the body: `type`, `timestamp` and `data`, as the specification recommends."""
    try:
        body = json.loads(raw.decode(), parse_constant=_refuse_constant)
    except ValueError:
        raise RefusedError(422, "the body is no JSON in UTF-8") from None
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        raise RefusedError(422, "the body has no data")
    if not _TYPE.fullmatch(str(body.get("type"))):
        raise RefusedError(422, "the body has no type")
    try:
        zone = datetime.fromisoformat(str(body.get("timestamp"))).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise RefusedError(422, "timestamp is not in ISO 8601 with a zone")
    return body


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
