"""An embedded ntfy that refuses what ntfy refuses, and misreads what ntfy misreads.

What it does is what https://github.com/binwiederhier/ntfy (server/server.go, version 2) does:
https://docs.ntfy.sh/publish/
"""

import json
import re
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from aiohttp import web

from alerter.clock import Clock
from alerter.demo.faults import Faults, Loopback, LoopbackService, application, failing
from alerter.demo.posted_calls import CALL, PostedCall, recording

_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
_NOT_TOPICS = {
    "docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1",
}  # fmt: skip
# A body that fills the buffer counts as one that is longer, so the longest message is a byte less.
_BUFFER = 4096
_LARGEST_ATTACHMENT = 15 * 1024 * 1024
_MOST_ACTIONS = 3
_PRIORITIES = {
    "": 0, "1": 1, "min": 1, "2": 2, "low": 2, "3": 3, "default": 3,
    "4": 4, "high": 4, "5": 5, "max": 5, "urgent": 5,
}  # fmt: skip
# Cloudflare sends a header of this name too: RFC 9218.
_FOREIGN_PRIORITY = re.compile(r"u=\d(,\s*(i|\d))?")
# At most 60 requests at once, and one more every 5 seconds.
_MOST_AT_ONCE = 60
_REPLENISH = 5.0


@dataclass(frozen=True)
class Published:
    """A published message, as a phone shows it; `attachment` is what a body beyond 4 kB became."""

    id: str
    topic: str
    title: str
    message: str
    priority: int
    tags: tuple[str, ...]
    click: str
    actions: tuple[Mapping[str, Any], ...]
    attachment: bytes | None
    markdown: bool
    at: float


class NtfyError(Exception):
    """An error of ntfy: its own code begins with the HTTP status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code // 100


class EmbeddedNtfy(LoopbackService):
    """A server of ntfy, what was published on it, and every request that it received.

    `tokens` may publish to topics in `protected`; others get 403 there, and 401 with a token that
    is none. Without `attachments` a body beyond 4 kB is refused. `limited`: it allows 60 requests
    at once, and refuses more without a Retry-After, as ntfy names none.
    """

    def __init__(self, *, clock: Clock | None = None, limited: bool = False) -> None:
        self.clock = clock or Clock()
        self.published: list[Published] = []
        self.requests: list[PostedCall] = []
        self.protected: set[str] = set()
        self.tokens: set[str] = set()
        self.attachments = True
        self.faults = Faults()
        self._limited = limited
        self._allowed, self._counted_at = float(_MOST_AT_ONCE), self.clock.monotonic()
        self._server = Loopback(self._application)

    def url(self, topic: str, *, token: str = "") -> str:
        """Return the address of a topic, with a token in its query as ntfy reads it."""
        if not token:
            return f"{self._server.url}/{topic}"
        auth = b64encode(f"Bearer {token}".encode()).decode().rstrip("=")
        return f"{self._server.url}/{topic}?auth={auth}"

    def in_topic(self, topic: str) -> list[Published]:
        """Return the messages of a topic."""
        return [each for each in self.published if each.topic == topic]

    def _application(self) -> web.Application:
        app = application(recording(self.requests, self.clock), failing(self.faults, _about))
        app.router.add_route("*", "/{topic:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        received = request[CALL]
        try:
            found = self._publish(request.method, received, dict(request.query))
        except NtfyError as error:
            received.problem = str(error)
            body = {"code": error.code, "http": error.status, "error": str(error)}
            return web.json_response(body, status=error.status)
        self.published.append(found)
        shown = {"id": found.id, "event": "message", "topic": found.topic, "title": found.title}
        return web.json_response(shown | {"message": found.message, "priority": found.priority})

    def _publish(self, method: str, received: PostedCall, query: Mapping[str, str]) -> Published:
        self._count_request()
        self._authorize(received, query)
        if method not in ("POST", "PUT"):
            raise NtfyError(40401, HTTPStatus.NOT_FOUND.phrase)
        topic, headers, body = received.topic, received.headers, received.body
        if not all(value.isascii() for value in headers.values()):
            # ntfy takes UTF-8 in headers, but not every proxy before one does.
            raise NtfyError(40000, "invalid request: a header is not ASCII")
        if not topic:
            topic, headers, body = _from_json(body)
        if not _TOPIC.fullmatch(topic):
            raise NtfyError(40401, "page not found")
        if topic in _NOT_TOPICS:
            raise NtfyError(40010, "invalid request: topic name is not allowed")
        given = _Given(headers, query)
        text, attachment = self._body(body)
        return Published(
            id=uuid4().hex[:12],
            topic=topic,
            title=given.read("x-title", "title", "t"),
            message=text or given.read("x-message", "message", "m") or "triggered",
            priority=_priority(given.read("x-priority", "priority", "prio", "p")),
            tags=tuple(
                tag.strip()
                for tag in given.read("x-tags", "tags", "tag", "ta").split(",")
                if tag.strip()
            ),
            click=given.read("x-click", "click"),
            actions=_actions(given.read("x-actions", "actions", "action")),
            attachment=attachment,
            markdown=given.read("x-markdown", "markdown", "md") in ("1", "yes", "true"),
            at=self.clock.monotonic(),
        )

    def _body(self, body: bytes) -> tuple[str, bytes | None]:
        """Return the text of a message; what is too long or no text becomes an attachment."""
        text = None
        if len(body) < _BUFFER:
            try:
                text = body.decode()
            except UnicodeDecodeError:
                text = None
        if text is not None:
            return text.strip(), None
        if not self.attachments:
            raise NtfyError(40014, "invalid request: attachments not allowed")
        if len(body) > _LARGEST_ATTACHMENT:
            raise NtfyError(41301, "attachment too large, or bandwidth limit reached")
        return "You received a file: attachment.txt", body

    def _count_request(self) -> None:
        if not self._limited:
            return
        now = self.clock.monotonic()
        gained = (now - self._counted_at) / _REPLENISH
        self._allowed, self._counted_at = min(self._allowed + gained, _MOST_AT_ONCE), now
        if self._allowed < 1:
            raise NtfyError(42901, "limit reached: too many requests")
        self._allowed -= 1

    def _authorize(self, received: PostedCall, query: Mapping[str, str]) -> None:
        """Refuse a token that is none, and a protected topic without one."""
        header = received.headers.get("authorization", "")
        if auth := query.get("authorization") or query.get("auth"):
            try:  # without padding, and in the alphabet of addresses
                header = urlsafe_b64decode(auth + "=" * (-len(auth) % 4)).decode()
            except ValueError:
                raise NtfyError(50001, "internal server error") from None
        kind, _, token = header.strip().partition(" ")
        if kind == "Bearer" and token.strip() not in self.tokens:
            raise NtfyError(40101, "unauthorized")
        if kind != "Bearer" and received.topic in self.protected:
            raise NtfyError(40301, "forbidden")


@dataclass(frozen=True)
class _Given:
    """What a request names in headers, or else in its query."""

    headers: Mapping[str, str]
    query: Mapping[str, str]

    def read(self, *names: str) -> str:
        """Return the first value under one of the names, decoded as RFC 2047 says."""
        for name in names:
            value = self.headers.get(name, "")
            if name == "priority" and _FOREIGN_PRIORITY.fullmatch(value.strip()):
                continue
            if decoded := _decoded(value).strip():
                return decoded
        return next((self.query[name].strip() for name in names if self.query.get(name)), "")


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, ValueError, LookupError):
        return value


def _priority(text: str) -> int:
    if text.lower() not in _PRIORITIES:
        raise NtfyError(40007, "invalid priority parameter")
    return _PRIORITIES[text.lower()]


def _actions(text: str) -> tuple[Mapping[str, Any], ...]:
    """Read the actions, which have to be in JSON here; ntfy knows a form of its own as well."""
    if not text:
        return ()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise NtfyError(40018, "invalid request: actions invalid; JSON error")
    if len(found) > _MOST_ACTIONS:
        raise NtfyError(40018, "invalid request: actions invalid; only 3 actions allowed")
    for each in found:
        if each.get("action") not in ("view", "broadcast", "http"):
            raise NtfyError(40018, "invalid request: actions invalid; parameter 'action'")
        if not each.get("label") or (each["action"] != "broadcast" and not each.get("url")):
            raise NtfyError(40018, "invalid request: actions invalid; label or url is required")
    return tuple(found)


def _from_json(raw: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return the topic, headers and body that a message in JSON stands for."""
    if len(raw) > 2 * _BUFFER:
        raise NtfyError(41303, "JSON body too large")
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NtfyError(40024, "invalid request: request body must be valid JSON")
    if not _TOPIC.fullmatch(str(found.get("topic", ""))):
        raise NtfyError(40009, "invalid request: topic invalid")
    headers = {name: str(found[name]) for name in ("title", "priority", "click") if name in found}
    headers |= {"tags": ",".join(found.get("tags", ()))}
    if found.get("actions"):
        headers["actions"] = json.dumps(found["actions"])
    return str(found["topic"]), headers, str(found.get("message", "")).encode()


def _about(request: web.Request) -> Collection[str]:
    return {request.match_info.get("topic", "")}
