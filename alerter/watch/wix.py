"""The Wix client: auth, query, paging, errors."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from alerter import __version__
from alerter.clock import Clock, http_date, seconds_from
from alerter.config import Site
from alerter.config_fields import unproxied
from alerter.counters import counts
from alerter.errors import WixAuthError, WixNotFound, WixPrecondition, WixResponseError, WixUnavailable
from alerter.models import Review
from alerter.watch.wix_proof import SiteProof
from alerter.watch.wix_review import UnreadableReview, parse_review

# https://dev.wix.com/docs/rest/business-management/reviews/reviews/query-reviews
PAGE_SIZE = 100
_MOST_LINES = 50
_TOTAL_TIMEOUT = 60.0
_TIMEOUT = {"timeout": httpx.Timeout(30.0, connect=10.0).as_dict()}
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/json",
    "User-Agent": f"alerter/{__version__}",
}
_RENEW_EARLY = timedelta(minutes=5)
_UNNAMED_LIFETIME = 600.0
# Wix's tokens live for four hours; a number beyond this is nonsense, and may not even fit into a float.
_LONGEST_LIFETIME = 86400
_ABSURD = timedelta(days=1)

_Url = httpx.URL | str


@dataclass(frozen=True, slots=True)
class Span:
    """What to read of a site: ratings above one and up to another, created from one moment on until before another."""

    up_to: int
    above: int = 0
    since: datetime | None = None
    until: datetime | None = None

    def filter(self) -> dict[str, Any]:
        """The same as Wix's query language has it."""
        rating = {"$gt": self.above} if self.above else {}
        created = {"$gte": _iso(self.since)} if self.since else {}
        created |= {"$lt": _iso(self.until)} if self.until else {}
        return {"content.rating": rating | {"$lte": self.up_to}} | ({"createdDate": created} if created else {})


@dataclass(frozen=True, slots=True)
class These:
    """Which reviews to read again, whatever their rating and date; at most a page of them."""

    ids: tuple[str, ...]

    def filter(self) -> dict[str, Any]:
        """The same as Wix's query language has it."""
        return {"id": {"$in": list(self.ids)}}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query; `newest` is its newest createdDate, but none that lies in the future.

    `asked_at` is when the query was sent: whatever was recorded since then is newer.
    """

    reviews: tuple[Review, ...]
    unreadable: tuple[UnreadableReview, ...] = ()
    newest: datetime | None = None
    asked_at: datetime | None = None

    @property
    def ids(self) -> set[str]:
        """The ids of all that is on it, readable or not."""
        return {review.id for review in self.reviews} | {each.review_id for each in self.unreadable if each.review_id}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What Wix answered, what it calls the request, and when: by its own clock (a header), and by ours."""

    body: dict[str, Any]
    request: str
    date: str | None
    received: datetime


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew_at: float


class _Lines:
    """Connections to Wix, each with a client of its own: httpx looks through all of a pool's at every call."""

    def __init__(self, base_url: str) -> None:
        self._tls, self._mounts = httpx.create_ssl_context(), unproxied(base_url)
        self._slots = asyncio.Semaphore(_MOST_LINES)
        self._all: list[httpx.AsyncClient] = []
        self._free: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A line that nobody else has meanwhile: the one used last, so that no more stay open than need be."""
        async with self._slots:
            line = self._free.pop() if self._free else self._open()
            try:
                yield line
            finally:
                self._free.append(line)

    def _open(self) -> httpx.AsyncClient:
        line = httpx.AsyncClient(verify=self._tls, mounts=self._mounts, limits=httpx.Limits(max_connections=1))
        self._all.append(line)
        return line

    async def close(self) -> None:
        """Close the connections."""
        for line in self._all:
            await line.aclose()


class WixClient:
    """Speaks to the Wix API for any number of sites."""

    def __init__(self, base_url: str, clock: Clock) -> None:
        self._base_url = base_url
        self._reviews_url = f"{base_url}/reviews/v1/reviews"
        self._query_url = httpx.URL(f"{self._reviews_url}/query")
        self._clock = clock
        self._lines = _Lines(base_url)
        self._tokens: dict[str, _Token] = {}
        self.proof = SiteProof()
        self._token_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def close(self) -> None:
        """Close the connections."""
        await self._lines.close()

    async def pages(self, site: Site, wanted: Span | These, *, private: bool) -> AsyncIterator[Page]:
        """Read what is wanted page by page, oldest first. Raises WixError; what was yielded before holds."""
        query: dict[str, Any] = {
            "filter": wanted.filter(),
            "sort": [{"fieldName": "createdDate", "order": "ASC"}],
            "cursorPaging": {"limit": PAGE_SIZE},
        }
        cursors: set[str] = set()
        while True:
            body = {"query": query} | ({"returnPrivateReviews": True} if private else {})
            asked_at = self._clock.now()
            answer = await self._call(site, "POST", self._query_url, body)
            yield replace(_page(answer), asked_at=asked_at)
            cursor = _next_cursor(answer.body)
            if not cursor:
                return
            if cursor in cursors:
                raise WixResponseError("Wix's cursor does not move on", answer.request)
            cursors.add(cursor)
            # The cursor carries its own filter and sort; sending them again is an error.
            query = {"cursorPaging": {"limit": PAGE_SIZE, "cursor": cursor}}

    async def probe(self, site: Site, *, private: bool) -> None:
        """Ask for one review, to see what the site lets us do. Raises WixError."""
        body = {"query": {"cursorPaging": {"limit": 1}}} | ({"returnPrivateReviews": True} if private else {})
        _page(await self._call(site, "POST", self._query_url, body))

    async def review(self, site: Site, review_id: str) -> Review:
        """One review, unpublished ones included where we may see them. Raises WixError."""
        url = f"{self._reviews_url}/{quote(review_id, safe='')}"
        try:
            return _review(await self._call(site, "GET", f"{url}?returnPrivateReviews=true"))
        except WixAuthError as error:
            if error.status != 403:
                raise
        return _review(await self._call(site, "GET", url))

    async def is_there(self, site: Site, review_id: str) -> bool:
        """Whether Wix has a review, unpublished ones included. Raises WixError, also where we may not see those."""
        url = f"{self._reviews_url}/{quote(review_id, safe='')}?returnPrivateReviews=true"
        return await self.get(site, url.removeprefix(self._base_url)) is not None

    async def set_reply(self, site: Site, review_id: str, message: str) -> Review:
        """Set the owner's reply to a review, over any that there is; returns the review. Raises WixError.

        https://dev.wix.com/docs/rest/business-management/reviews/reviews/set-reply
        """
        url = f"{self._reviews_url}/{quote(review_id, safe='')}/reply"
        return _review(await self._call(site, "PATCH", url, {"message": message}))

    async def count(self, site: Site, since: datetime, until: datetime, *, private: bool) -> int:
        """How many reviews were created from one moment on until before another, rejected ones not. Raises WixError."""
        wanted = {
            "createdDate": {"$gte": _iso(since), "$lt": _iso(until)},
            "moderation.moderationStatus": {"$ne": "REJECTED"},
        }
        body = {"filter": wanted} | ({"includePrivateReviews": True} if private else {})
        answer = await self._call(site, "POST", f"{self._reviews_url}/count", body)
        number = answer.body.get("count")
        if not isinstance(number, int) or isinstance(number, bool):
            raise WixResponseError("Wix's answer holds no count", answer.request)
        return number

    async def get(self, site: Site, path: str) -> dict[str, Any] | None:
        """One object by its path; None where there is none. Raises WixError."""
        try:
            return (await self._call(site, "GET", self._base_url + path)).body
        except WixNotFound:
            return None

    async def _call(self, site: Site, method: str, url: _Url, body: Mapping[str, Any] | None = None) -> _Answer:
        async with self._lines.one() as line:
            headers = await self._headers(line, site)
            response = await _send(line, method, url, body, headers)
            if response.status_code == 401 and site.api_key is None:
                # The token may have been revoked before its time: one new one, then it is a matter for a person.
                self._tokens.pop(site.site_id, None)
                headers = await self._headers(line, site)
                response = await _send(line, method, url, body, headers)
        now = self._clock.now()
        answer = _understood(response, now, (headers["Authorization"], *_secrets(site)))
        return _Answer(answer, _request_id(response), response.headers.get("Date"), now)

    async def _headers(self, line: httpx.AsyncClient, site: Site) -> dict[str, str]:
        if site.api_key is not None:
            return {"Authorization": site.api_key.get_secret_value(), "wix-site-id": site.site_id}
        async with self._token_locks[site.site_id]:
            token = self._tokens.get(site.site_id)
            if token is None or self._clock.monotonic() >= token.renew_at:
                token = self._tokens[site.site_id] = await self._new_token(line, site)
        return {"Authorization": token.value}

    async def _new_token(self, line: httpx.AsyncClient, site: Site) -> _Token:
        secret = site.app_secret.get_secret_value() if site.app_secret else ""
        body = {
            "grant_type": "client_credentials",
            "client_id": site.app_id,
            "client_secret": secret,
            "instance_id": site.instance_id,
        }
        response = await _send(line, "POST", f"{self._base_url}/oauth2/token", body, {})
        if 400 <= response.status_code < 500 and response.status_code != 429:
            raise WixAuthError(
                f"Wix gives the app no token: {_said(response, (secret,))}; check app_id, app_secret and instance_id",
                401,
                _request_id(response),
            )
        answer = _understood(response, self._clock.now(), (secret,))
        value, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
            raise WixResponseError("Wix's answer holds no access token")
        if not isinstance(lifetime, int | float) or not 0 < lifetime <= _LONGEST_LIFETIME:
            lifetime = _UNNAMED_LIFETIME
        seconds = float(lifetime)
        self.proof.check(site, await self._token_info(line, site, value))
        return _Token(value, self._clock.monotonic() + max(seconds - _RENEW_EARLY.total_seconds(), seconds / 2))

    async def _token_info(self, line: httpx.AsyncClient, site: Site, token: str) -> dict[str, Any] | None:
        """What Wix says that a token is for; None where it refuses to say."""
        response = await _send(line, "POST", f"{self._base_url}/oauth2/token-info", {"token": token}, {})
        try:
            return _understood(response, self._clock.now(), (token, *_secrets(site)))
        except (WixAuthError, WixNotFound, WixPrecondition, WixResponseError):
            return None


async def _send(
    line: httpx.AsyncClient, method: str, url: _Url, body: Mapping[str, Any] | None, headers: Mapping[str, str]
) -> httpx.Response:
    # Made by hand: what the client would merge into it (its own headers, cookies, parameters) takes its time.
    request = httpx.Request(
        method,
        url,
        headers={**_HEADERS, **headers},
        content=None if body is None else json.dumps(body).encode(),
        extensions=_TIMEOUT,
    )
    try:
        # httpx times each read by itself, so a body that drips would take for ever.
        async with asyncio.timeout(_TOTAL_TIMEOUT):
            response = await line.send(request)
    except (httpx.TimeoutException, TimeoutError) as error:
        counts["wix_calls_timeout"] += 1
        raise WixUnavailable("Wix did not answer in time") from error
    except httpx.TransportError as error:
        counts["wix_calls_lost"] += 1
        raise WixUnavailable(f"Wix cannot be reached, or dropped the connection ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        counts["wix_calls_garbled"] += 1
        raise WixResponseError(f"Wix's answer cannot be read ({type(error).__name__})") from error
    counts[f"wix_calls_{response.status_code}"] += 1
    return response


def _understood(response: httpx.Response, now: datetime, secrets: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object of a good answer; any other raises the WixError that it means."""
    status, request = response.status_code, _request_id(response)
    if status == 200:
        answer = _json(response)
        if not isinstance(answer, dict):
            raise WixResponseError("Wix's answer is not a JSON object", request)
        return answer
    retry_after = seconds_from(response.headers.get("Retry-After"), now)
    if status in (401, 403):
        raise WixAuthError(f"Wix refuses us: {_said(response, secrets)}", status, request)
    if status == 429:
        raise WixUnavailable("Wix asks us to slow down (429)", retry_after, request)
    if status >= 500:
        raise WixUnavailable(f"Wix has a fault of its own: {_said(response, secrets)}", retry_after, request)
    if status == 404:
        raise WixNotFound(f"Wix has no such thing: {_said(response, secrets)}", request)
    if status == 428:
        raise WixPrecondition(f"Wix refuses the request: {_said(response, secrets)}", request)
    raise WixResponseError(f"Wix refuses the request: {_said(response, secrets)}", request)


def _json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _said(response: httpx.Response, secrets: tuple[str, ...]) -> str:
    """What Wix said, short, on one line and without our secrets."""
    answer = _json(response)
    message = ""
    if isinstance(answer, dict):
        message = str(answer.get("message") or answer.get("error_description") or answer.get("error") or "")
    for secret in filter(None, secrets):
        message = message.replace(secret, "[secret]")
    message = "".join(char if char.isprintable() else " " for char in message[:200])
    return f"{response.status_code} “{message}”" if message else str(response.status_code)


def _request_id(response: httpx.Response) -> str:
    name: str = response.headers.get("x-wix-request-id", "")
    return name if re.fullmatch(r"[\w.:-]{1,100}", name) else ""


def _secrets(site: Site) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in (site.api_key, site.app_secret) if secret)


def _page(answer: _Answer) -> Page:
    # An error in a body with status 200 has neither; an empty page may leave out its list.
    found = answer.body.get("reviews", [] if isinstance(answer.body.get("metadata"), dict) else None)
    if not isinstance(found, list):
        raise WixResponseError("Wix's answer holds no list of reviews", answer.request)
    readable: list[Review] = []
    unreadable: list[UnreadableReview] = []
    for raw in found:
        try:
            readable.append(parse_review(raw))
        except UnreadableReview as error:
            unreadable.append(error)
    return Page(tuple(readable), tuple(unreadable), _newest(readable, answer))


def _newest(page: Sequence[Review], answer: _Answer) -> datetime | None:
    """How far a page has come. One date in the future would put everything that comes before it out of sight.

    What the future is, says the clock that made the dates; ours, which may be wrong, only rules out the absurd.
    """
    created = [review.created for review in page if review.created]
    if created and (dated := http_date(answer.date)):
        return min(max(created), dated)
    return max((moment for moment in created if moment < answer.received + _ABSURD), default=None)


def _review(answer: _Answer) -> Review:
    try:
        return parse_review(answer.body.get("review"))
    except UnreadableReview as error:
        raise WixResponseError(f"Wix's answer holds no review that can be read: it {error}", answer.request) from error


def _next_cursor(answer: Mapping[str, Any]) -> str | None:
    metadata = answer.get("metadata")
    cursors = metadata.get("cursors") if isinstance(metadata, dict) else None
    cursor = cursors.get("next") if isinstance(cursors, dict) else None
    return cursor if isinstance(cursor, str) and cursor else None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
