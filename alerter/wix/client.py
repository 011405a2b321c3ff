"""The Wix client: auth, query, paging, errors."""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from alerter.clock import Clock, http_date
from alerter.config import Site
from alerter.errors import WixAuthError, WixNotFound, WixPrecondition, WixResponseError
from alerter.models import Review
from alerter.wix.http import Connections, Url, said, send, understood
from alerter.wix.proof import SiteProof
from alerter.wix.review import UnreadableReview, parse_review

# https://dev.wix.com/docs/rest/business-management/reviews/reviews/query-reviews
PAGE_SIZE = 100
# Pages in a row that hold nothing new: a page may be empty, but a read has to end.
_MOST_REPEATED = 50
_RENEW_EARLY = timedelta(minutes=5)
_UNNAMED_LIFETIME = 600.0
# Wix's tokens live for four hours; a number beyond this is nonsense, and may not even fit into a float.
_LONGEST_LIFETIME = 86400
_ABSURD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """What to read of a site: ratings above one and up to another, created from one moment on until before another."""

    up_to: int
    above: int = 0
    since: datetime | None = None
    until: datetime | None = None

    def filter(self) -> dict[str, Any]:
        """The same as Wix's query language has it."""
        conditions: list[dict[str, Any]] = []
        if self.above:
            conditions.append({"content.rating": {"$gt": self.above}})
        conditions.append({"content.rating": {"$lte": self.up_to}})
        if self.since:
            conditions.append({"createdDate": {"$gte": _iso(self.since)}})
        if self.until:
            conditions.append({"createdDate": {"$lt": _iso(self.until)}})
        return _all(conditions)


@dataclass(frozen=True, slots=True)
class ReviewIds:
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
        return {review.id for review in self.reviews} | {
            each.review_id for each in self.unreadable if each.review_id
        }


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


class WixClient:
    """Speaks to the Wix API for any number of sites."""

    def __init__(self, base_url: str, clock: Clock) -> None:
        self._base_url = base_url
        self._reviews_url = f"{base_url}/reviews/v1/reviews"
        self._query_url = httpx.URL(f"{self._reviews_url}/query")
        self._clock = clock
        self._connections = Connections(base_url)
        self._tokens: dict[str, _Token] = {}
        self.proof = SiteProof()
        self._token_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def pages(
        self, site: Site, wanted: ReviewFilter | ReviewIds, *, private: bool
    ) -> AsyncIterator[Page]:
        """Read what is wanted page by page, oldest first. Raises WixError; what was yielded before holds."""
        query: dict[str, Any] = {
            "filter": wanted.filter(),
            "sort": [{"fieldName": "createdDate", "order": "ASC"}],
            "cursorPaging": {"limit": PAGE_SIZE},
        }
        cursors: set[str] = set()
        before: set[str] = set()
        repeated = 0
        while True:
            body = {"query": query} | ({"returnPrivateReviews": True} if private else {})
            asked_at = self._clock.now()
            answer = await self._call(site, "POST", self._query_url, body)
            page = replace(_page(answer), asked_at=asked_at)
            yield page
            cursor = _next_cursor(answer.body)
            if not cursor:
                return
            repeated = 0 if page.ids - before else repeated + 1
            before = page.ids
            if cursor in cursors or repeated >= _MOST_REPEATED:
                raise WixResponseError("Wix's cursor does not move on", answer.request)
            cursors.add(cursor)
            # The cursor carries its own filter and sort; sending them again is an error.
            query = {"cursorPaging": {"limit": PAGE_SIZE, "cursor": cursor}}

    async def probe(self, site: Site, *, private: bool) -> None:
        """Ask for one review, to see what the site lets us do. Raises WixError."""
        body = {"query": {"cursorPaging": {"limit": 1}}} | (
            {"returnPrivateReviews": True} if private else {}
        )
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
        wanted = _all(
            [
                {"createdDate": {"$gte": _iso(since)}},
                {"createdDate": {"$lt": _iso(until)}},
                {"moderation.moderationStatus": {"$ne": "REJECTED"}},
            ]
        )
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

    async def _call(
        self, site: Site, method: str, url: Url, body: Mapping[str, Any] | None = None
    ) -> _Answer:
        async with self._connections.one() as connection:
            headers = await self._headers(connection, site)
            response = await send(connection, self._clock, method, url, body, headers)
            if response.status == 401 and site.api_key is None:
                # The token may have been revoked before its time: one new one, then it is a matter for a person.
                self._tokens.pop(site.site_id, None)
                headers = await self._headers(connection, site)
                response = await send(connection, self._clock, method, url, body, headers)
        now = self._clock.now()
        answer = understood(response, now, (headers["Authorization"], *_secrets(site)))
        return _Answer(answer, response.request, response.headers.get("Date"), now)

    async def _headers(self, connection: httpx.AsyncClient, site: Site) -> dict[str, str]:
        if site.api_key is not None:
            return {"Authorization": site.api_key.get_secret_value(), "wix-site-id": site.site_id}
        async with self._token_locks[site.site_id]:
            token = self._tokens.get(site.site_id)
            if token is None or self._clock.monotonic() >= token.renew_at:
                token = self._tokens[site.site_id] = await self._new_token(connection, site)
        return {"Authorization": token.value}

    async def _new_token(self, connection: httpx.AsyncClient, site: Site) -> _Token:
        secret = site.app_secret.get_secret_value() if site.app_secret else ""
        body = {
            "grant_type": "client_credentials",
            "client_id": site.app_id,
            "client_secret": secret,
            "instance_id": site.instance_id,
        }
        response = await send(
            connection, self._clock, "POST", f"{self._base_url}/oauth2/token", body, {}
        )
        if 400 <= response.status < 500 and response.status != 429:
            raise WixAuthError(
                f"Wix gives the app no token: {said(response, (secret,))}; check app_id, app_secret and instance_id",
                401,
                response.request,
            )
        answer = understood(response, self._clock.now(), (secret,))
        value, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,10000}", value):
            raise WixResponseError("Wix's answer holds no access token")
        if not isinstance(lifetime, int | float) or not 0 < lifetime <= _LONGEST_LIFETIME:
            lifetime = _UNNAMED_LIFETIME
        seconds = float(lifetime)
        self.proof.check(site, await self._token_info(connection, site, value))
        return _Token(
            value,
            self._clock.monotonic() + max(seconds - _RENEW_EARLY.total_seconds(), seconds / 2),
        )

    async def _token_info(
        self, connection: httpx.AsyncClient, site: Site, token: str
    ) -> dict[str, Any] | None:
        """What Wix says that a token is for; None where it refuses to say."""
        response = await send(
            connection,
            self._clock,
            "POST",
            f"{self._base_url}/oauth2/token-info",
            {"token": token},
            {},
        )
        try:
            return understood(response, self._clock.now(), (token, *_secrets(site)))
        except (WixAuthError, WixNotFound, WixPrecondition, WixResponseError):
            return None


def _secrets(site: Site) -> tuple[str, ...]:
    return tuple(secret.get_secret_value() for secret in (site.api_key, site.app_secret) if secret)


def _page(answer: _Answer) -> Page:
    # An error in a body with status 200 has neither; an empty page may leave out its list.
    found = answer.body.get(
        "reviews", [] if isinstance(answer.body.get("metadata"), dict) else None
    )
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
        raise WixResponseError(
            f"Wix's answer holds no review that can be read: it {error}", answer.request
        ) from error


def _next_cursor(answer: Mapping[str, Any]) -> str | None:
    metadata = answer.get("metadata")
    cursors = metadata.get("cursors") if isinstance(metadata, dict) else None
    cursor = cursors.get("next") if isinstance(cursors, dict) else None
    return cursor if isinstance(cursor, str) and cursor else None


def _all(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """Join conditions as Wix's own client does: each has one operator."""
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
