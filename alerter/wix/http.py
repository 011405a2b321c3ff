"""HTTP calls to Wix: connections, one call, and the error that an answer means.

A call takes a minute and 16 MB at most, and never follows a redirect.
"""

import asyncio
import json
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from alerter import __version__
from alerter.clock import Clock, seconds_from
from alerter.config.fields import loopback_mounts
from alerter.counters import counts
from alerter.errors import (
    WixAuthError,
    WixNotFound,
    WixPrecondition,
    WixRefused,
    WixResponseError,
    WixThrottled,
    WixUnavailable,
)
from alerter.text import clean_reply, is_excessive_json

HttpUrl = httpx.URL | str

# A page of 100 reviews with ten media each, whose title, body and reply are 3,000 escaped emoji,
# has 13.6 MB.
LARGEST = 16 * 1024 * 1024
_MOST_CONNECTIONS = 50
_TOTAL_TIMEOUT = 60.0
_TIMEOUT = {"timeout": httpx.Timeout(30.0, connect=10.0).as_dict()}
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "Content-Type": "application/json",
    "User-Agent": f"alerter/{__version__}",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer; the body is decoded, and empty where an error's body cannot be read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request(self) -> str:
        """Wix's id of the request; empty where there is none."""
        name = self.headers.get("x-wix-request-id", "")
        return name if re.fullmatch(r"[\w.:-]{1,100}", name, re.ASCII) else ""


class Connections:
    """Connections to Wix, each with a client of its own.

    A shared pool would cost time: httpx looks through all of its connections at every call.
    """

    def __init__(self, base_url: str) -> None:
        self._tls, self._mounts = tls_context(), loopback_mounts(base_url)
        self._slots = asyncio.Semaphore(_MOST_CONNECTIONS)
        self._all: list[httpx.AsyncClient] = []
        self._free: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[httpx.AsyncClient]:
        """Lend a connection to one caller: the one used last, so that few stay open."""
        async with self._slots:
            connection = self._free.pop() if self._free else self._open()
            try:
                yield connection
            finally:
                self._free.append(connection)

    def _open(self) -> httpx.AsyncClient:
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        limits = httpx.Limits(max_connections=1)
        connection = httpx.AsyncClient(
            verify=self._tls,
            mounts=self._mounts,
            limits=limits,
            cookies=no_cookies,
            follow_redirects=False,
        )
        self._all.append(connection)
        return connection

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._all:
            await connection.aclose()


@cache
def tls_context() -> ssl.SSLContext:
    """Return the context of all of httpx's connections, those of receivers and heartbeats too.

    Reading the authorities takes 30 ms and 0.7 MB.
    """
    return httpx.create_ssl_context()


async def send(
    connection: httpx.AsyncClient,
    clock: Clock,
    method: str,
    url: HttpUrl,
    body: Mapping[str, Any] | None,
    headers: Mapping[str, str],
) -> HttpAnswer:
    """Make one call and read its answer, whatever its status. Raises WixError."""
    # Not made by the client, which spends time on merging its headers, cookies and parameters.
    request = httpx.Request(
        method,
        url,
        headers={**_HEADERS, **headers},
        content=None if body is None else json.dumps(body).encode(),
        extensions=_TIMEOUT,
    )
    try:
        # httpx limits each read only, so a body that comes byte by byte would never end.
        async with clock.timeout(_TOTAL_TIMEOUT):
            response = await connection.send(request, stream=True)
            try:
                answer = HttpAnswer(response.status_code, response.headers, await _body(response))
            finally:
                await response.aclose()
    except (httpx.TimeoutException, TimeoutError) as error:
        counts["wix_calls_timeout"] += 1
        raise WixUnavailable("Wix did not answer in time") from error
    except httpx.TransportError as error:
        counts["wix_calls_lost"] += 1
        raise WixUnavailable(
            f"Wix cannot be reached, or dropped the connection ({type(error).__name__})"
        ) from error
    except (_UnreadableBody, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        # httpx parses the address of a redirect, though it does not follow it.
        counts["wix_calls_garbled"] += 1
        reason = error if isinstance(error, _UnreadableBody) else type(error).__name__
        raise WixResponseError(f"Wix's answer cannot be read: {reason}") from error
    counts[f"wix_calls_{answer.status}"] += 1
    return answer


class _UnreadableBody(Exception):
    """The body is too large, or not what its encoding says."""


async def _body(response: httpx.Response) -> bytes:
    try:
        return _decoded(
            await _raw_body(response), response.headers.get("Content-Encoding", "identity").lower()
        )
    except _UnreadableBody:
        # The status of an error is enough.
        if response.status_code == 200:
            raise
        return b""


async def _raw_body(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for part in response.aiter_raw():
        raw += part
        if len(raw) > LARGEST:
            raise _UnreadableBody(f"it is larger than {LARGEST >> 20} MB")
    return bytes(raw)


def _decoded(raw: bytes, encoding: str) -> bytes:
    if encoding == "identity" or not raw:
        return raw
    if encoding != "gzip":
        raise _UnreadableBody("it has an encoding that was not asked for")
    gzip = zlib.decompressobj(wbits=31)
    try:
        body = gzip.decompress(raw, LARGEST + 1)
    except zlib.error as error:
        raise _UnreadableBody("it is not gzip, though it says so") from error
    if len(body) > LARGEST:
        raise _UnreadableBody(f"it is larger than {LARGEST >> 20} MB when unpacked")
    return body


def parse_answer(answer: HttpAnswer, now: datetime, secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return the JSON object of a good answer. Raises the WixError that any other means.

    `secrets` are those that the answer may repeat.
    """
    status, request = answer.status, answer.request
    if status == 200:
        found = _json(answer.body)
        if not isinstance(found, dict):
            raise WixResponseError("Wix's answer is not a JSON object", request)
        return found
    retry_after = seconds_from(answer.headers.get("Retry-After"), now)
    if status in (401, 403):
        raise WixAuthError(f"Wix refuses us: {error_text(answer, secrets)}", status, request)
    if status == 429:
        raise WixThrottled("Wix asks us to slow down (429)", retry_after, request)
    if status >= 500:
        raise WixUnavailable(
            f"Wix has a fault of its own: {error_text(answer, secrets)}", retry_after, request
        )
    if status == 404:
        raise WixNotFound(f"Wix does not have it: {error_text(answer, secrets)}", request)
    if status == 428:
        raise WixPrecondition(f"Wix refuses the request: {error_text(answer, secrets)}", request)
    kind = WixRefused if 400 <= status < 500 else WixResponseError
    raise kind(f"Wix refuses the request: {error_text(answer, secrets)}", request)


def _json(body: bytes) -> Any:
    """Parse a body; None where it is no JSON, or holds more values than any answer of Wix."""
    if is_excessive_json(body):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def error_text(answer: HttpAnswer, secrets: tuple[str, ...]) -> str:
    """Return the status and Wix's message, cleaned and without the secrets."""
    found = _json(answer.body)
    message = ""
    if isinstance(found, dict):
        texts = (found.get(name) for name in ("message", "error_description", "error"))
        message = next((each for each in texts if isinstance(each, str) and each), "")
    message = clean_reply(message, secrets=secrets)
    return f"{answer.status} “{message}”" if message else str(answer.status)
