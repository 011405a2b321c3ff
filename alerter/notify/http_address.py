"""One address that takes the messages of a receiver by HTTP, and what its answers mean.

The address is a secret: it is in no error, also where an answer repeats it. Redirects are not
followed. A call takes half a minute at most, and 64 kB of an answer are read.
"""

import json
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx

from alerter import __version__
from alerter.clock import Clock, seconds_from
from alerter.config.fields import loopback_mounts
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Finding, Look, Message, Receipt
from alerter.text import clean_reply
from alerter.wix.http import tls_context

# A shorter part of the address is a word such as `v1`.
_SHORTEST_SECRET = 4
_PATIENCE = 30.0
_BODY_PATIENCE = 5.0
_LARGEST = 64 * 1024
_TIMEOUT = httpx.Timeout(20.0, connect=10.0)
_HEADERS = {"User-Agent": f"alerter/{__version__}", "Accept-Encoding": "identity"}
# What is wrong with a request itself: https://www.rfc-editor.org/rfc/rfc9110#section-15.5
_REFUSES_MESSAGE = (400, 413, 422)
_COME_BACK = (408, 425)
# Errors before anything was sent.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is sent to the address, or to a `path` below it; a `query` is added to its own."""

    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    path: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer; the names of its headers are lower-case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, compare=False)

    def read_object(self) -> Mapping[str, Any]:
        """Return the JSON object that the body is; empty if it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


class HttpRefusal(DeliveryError):
    """An answer with another status; its `reply` is not cleaned."""

    def __init__(
        self, text: str, kind: ErrorKind, reply: HttpReply, retry_after: float | None
    ) -> None:
        super().__init__(text, kind, retry_after=retry_after)
        self.reply = reply


class HttpAddress:
    """An address, with a connection that is opened with the first call."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.path = httpx.URL(url).raw_path.decode()  # with its query
        self._url = url
        self.clock = clock
        self._http: httpx.AsyncClient | None = None
        self._calls = 0

    async def call(self, request: HttpRequest) -> HttpReply:
        """Make one call; raise DeliveryError for any answer but 2xx, and for none."""
        self._calls += 1
        try:
            async with self.clock.timeout(_PATIENCE):
                return await self._call(request)
        except _NOT_SENT as error:
            raise _unreached(error) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            text = f"the answer of the address was lost ({type(error).__name__})"
            raise DeliveryError(text, ErrorKind.TRANSIENT, in_doubt=True) from None
        finally:
            self._calls -= 1

    async def _call(self, request: HttpRequest) -> HttpReply:
        http = self._http = self._http or self._open()
        headers = {**_HEADERS, **request.headers}
        async with http.stream(
            request.method, self._target(request), content=request.content, headers=headers
        ) as answer:
            body = await self._beginning(answer)
        if answer.is_success:
            return _reply(answer, body)
        raise self._refusal(answer, body)

    async def _beginning(self, answer: httpx.Response) -> bytes:
        """Return the beginning of a body: the status counts, whatever becomes of the rest."""
        body = b""
        with suppress(httpx.HTTPError, TimeoutError):
            async with self.clock.timeout(_BODY_PATIENCE):
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > _LARGEST:
                        break
        return body[:_LARGEST]

    async def _refuse_redirect(self, answer: httpx.Response) -> None:
        """Raise DeliveryError before httpx reads the address of a redirect, which may be none."""
        if 300 <= answer.status_code < 400:
            raise self._refusal(answer, b"")

    def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=tls_context(),
            mounts=loopback_mounts(self._url),
            timeout=_TIMEOUT,
            follow_redirects=False,
            event_hooks={"response": [self._refuse_redirect]},
        )

    def _target(self, request: HttpRequest) -> httpx.URL:
        """Return the address, as it is written but for what the request adds."""
        url = httpx.URL(self._url)
        if request.path:
            url = url.copy_with(path=url.path.rstrip("/") + request.path)
        if request.query:
            query = b"&".join(each for each in (url.query, request.query.encode()) if each)
            url = url.copy_with(query=query)
        return url

    def _refusal(self, answer: httpx.Response, body: bytes) -> HttpRefusal:
        """Return the error that an answer means."""
        status = answer.status_code
        wait = seconds_from(answer.headers.get("Retry-After"), self.clock.now())
        text, kind = _meaning(status, wait)
        said = "" if 300 <= status < 400 else self._clean(body)
        wait = wait if kind is ErrorKind.THROTTLED else None
        return HttpRefusal(f"{text}: {status} {said}".strip(), kind, _reply(answer, body), wait)

    def _clean(self, body: bytes) -> str:
        """Return the beginning of an answer, without the parts of the address in it."""
        parts = (self._url, *re.split(r"[/?&=]", self._url.partition("://")[2]))
        spellings = [spelling for each in parts for spelling in (each, unquote(each))]
        secrets = [each for each in spellings if len(each) >= _SHORTEST_SECRET]
        return clean_reply(body.decode(errors="replace"), secrets=secrets)

    async def close(self) -> None:
        """Close the connection, if there is one that no call uses.

        A worker that has nothing to send closes it; a direct notification may be using it.
        """
        if self._http and not self._calls:
            http, self._http = self._http, None
            await http.aclose()


class HttpNotifier:
    """Posts to one receiver's address; each medium says what, and reads what comes back."""

    can_look = False
    keeps_uid = False
    can_check = False
    settle_after = timedelta()
    domain = "alerter"

    def __init__(self, receiver: str, address: HttpAddress) -> None:
        self._receiver = receiver
        self._address = address

    def request_of(self, message: Message, content: Content) -> HttpRequest:
        """Return what is posted for a message; raise DeliveryError where it cannot be."""
        raise NotImplementedError

    async def send(self, message: Message, content: Content) -> Receipt:
        """Post a message; raise DeliveryError."""
        reply = await self._address.call(self.request_of(message, content))
        return Receipt(str(reply.status))

    def service_time(self, now: datetime) -> datetime | None:  # noqa: ARG002 - as Slack's
        """Return None: nothing is looked for by the time of the service."""
        return None

    async def prepare(self) -> None:
        """Do nothing: an address is all that sending needs."""

    async def update(self, message: Message, content: Content) -> None:
        """Do nothing: what was posted cannot be changed."""

    async def delete(self, message: Message) -> None:
        """Do nothing: what was posted cannot be deleted."""

    async def look(self, message: Message) -> Look:  # noqa: ARG002 - as Slack's
        """Raise DeliveryError: there is no look."""
        raise DeliveryError("the address cannot be searched", ErrorKind.TRANSIENT)

    async def check(self) -> list[Finding]:
        """Say that only a message shows whether the address works."""
        text = "its address is not tried here: `alerter test` sends it a message"
        return [Finding(ok=True, subject=f"receiver {self._receiver}", text=text, warning=True)]

    async def close(self) -> None:
        """Close the connection, if there is one."""
        await self._address.close()


def _meaning(status: int, wait: float | None) -> tuple[str, ErrorKind]:
    """Return what a status other than 2xx means, and its kind; `wait` is what it asks for."""
    if status == 429:
        return "the address asks us to slow down", ErrorKind.THROTTLED
    if status >= 500:
        kind = ErrorKind.TRANSIENT if wait is None else ErrorKind.THROTTLED
        return "the address has a fault of its own", kind
    if 300 <= status < 400:
        return "the address redirects, which is not followed", ErrorKind.TRANSIENT
    if status in _REFUSES_MESSAGE:
        return "the address refuses this message", ErrorKind.MESSAGE
    kind = ErrorKind.TRANSIENT if status in _COME_BACK else ErrorKind.RECEIVER
    return "the address refuses us", kind


def _reply(answer: httpx.Response, body: bytes) -> HttpReply:
    return HttpReply(answer.status_code, body, dict(answer.headers))


def _unreached(error: Exception) -> DeliveryError:
    """Return the error of a call that was never made."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            text = f"the address cannot be trusted: {cause.verify_message}"
            return DeliveryError(text, ErrorKind.RECEIVER)
        cause = cause.__cause__ or cause.__context__
    return DeliveryError(
        f"the address cannot be reached ({type(error).__name__})", ErrorKind.TRANSIENT
    )
