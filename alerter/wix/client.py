"""The Wix client: queries, pages and single calls.

https://dev.wix.com/docs/rest/business-management/reviews/reviews/introduction
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from alerter.clock import Clock, http_date
from alerter.config import Site
from alerter.errors import WixAuthError, WixNotFound, WixResponseError
from alerter.models import Review
from alerter.text import table_in
from alerter.wix.credentials import Credentials, secrets_of
from alerter.wix.http import Connections, HttpUrl, parse_answer, send
from alerter.wix.review import UnreadableReview, parse_review
from alerter.wix.sites import ListedSite, list_sites

# https://dev.wix.com/docs/rest/business-management/reviews/reviews/query-reviews
PAGE_SIZE = 100
# Wix's own client sends the value of a write's answer back, to read what it has written.
_CONSISTENT = "X-Wix-Consistent"
# Pages in a row without a new review, after which a read ends: a single page may be empty.
_MOST_REPEATED = 50
# How far a createdDate may be ahead of our own clock, which may be wrong itself.
_FURTHEST_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """Which reviews of a site to read.

    Ratings above `above` and up to `up_to`, created at `since` or later and before `until`.
    """

    up_to: int
    above: int = 0
    since: datetime | None = None
    until: datetime | None = None

    def filter(self) -> dict[str, Any]:
        """Return the filter in Wix's query language."""
        conditions: list[dict[str, Any]] = []
        if self.above:
            conditions.append({"content.rating": {"$gt": self.above}})
        conditions.append({"content.rating": {"$lte": self.up_to}})
        if self.since:
            conditions.append({"createdDate": {"$gte": iso(self.since)}})
        if self.until:
            conditions.append({"createdDate": {"$lt": iso(self.until)}})
        return _all(conditions)


@dataclass(frozen=True, slots=True)
class ReviewIds:
    """Which reviews to read by id; at most PAGE_SIZE of them."""

    ids: tuple[str, ...]

    def filter(self) -> dict[str, Any]:
        """Return the filter in Wix's query language."""
        return {"id": {"$in": list(self.ids)}}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query.

    `newest` is its newest createdDate, without those in the future. `asked_at` is when the query
    was sent: what was recorded since then is newer than the page. `more`: another page follows.
    """

    reviews: tuple[Review, ...]
    unreadable: tuple[UnreadableReview, ...] = ()
    newest: datetime | None = None
    asked_at: datetime | None = None
    more: bool = False

    @property
    def ids(self) -> set[str]:
        """The ids of its reviews, readable or not."""
        return {review.id for review in self.reviews} | {
            each.review_id for each in self.unreadable if each.review_id
        }


@dataclass(frozen=True, slots=True)
class _Answer:
    """Wix's answer and its id of the request, with its Date header and our time of receipt."""

    body: dict[str, Any]
    request: str
    date: str | None
    received: datetime


class WixClient:
    """Call the Wix API for any number of sites."""

    def __init__(self, base_url: str, clock: Clock) -> None:
        self._base_url = base_url
        self._reviews_url = f"{base_url}/reviews/v1/reviews"
        self._query_url = httpx.URL(f"{self._reviews_url}/query")
        self._clock = clock
        self._connections = Connections(base_url)
        self.credentials = Credentials(base_url, clock)
        self._consistent: dict[str, dict[str, str]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def pages(
        self, site: Site, wanted: ReviewFilter | ReviewIds, *, private: bool
    ) -> AsyncIterator[Page]:
        """Read reviews page by page, oldest first.

        Raises WixError; the pages that were yielded before it are valid.
        """
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
            cursor = next_cursor(answer.body)
            page = replace(_page(answer), asked_at=asked_at, more=bool(cursor))
            yield page
            if not cursor:
                return
            repeated = 0 if page.ids - before else repeated + 1
            before = page.ids
            if cursor in cursors or repeated >= _MOST_REPEATED:
                raise WixResponseError("Wix's cursor does not move on", answer.request)
            cursors.add(cursor)
            # The cursor carries its own filter and sort; sending them again is an error.
            query = {"cursorPaging": {"limit": PAGE_SIZE, "cursor": cursor}}

    async def account_sites(self, api_key: str, account_id: str) -> list[ListedSite]:
        """Read the sites of an account, in Wix's order. Raises WixError."""
        async with self._connections.acquire() as connection:
            return await list_sites(connection, self._clock, self._base_url, api_key, account_id)

    async def probe(self, site: Site, *, private: bool) -> None:
        """Query one review, to find out what the credentials allow. Raises WixError."""
        body = {"query": {"cursorPaging": {"limit": 1}}} | (
            {"returnPrivateReviews": True} if private else {}
        )
        _page(await self._call(site, "POST", self._query_url, body))

    async def review(self, site: Site, review_id: str) -> Review:
        """Read one review, also an unpublished one where that is allowed. Raises WixError."""
        url = f"{self._reviews_url}/{quote(review_id, safe='')}"
        try:
            return _review(await self._call(site, "GET", f"{url}?returnPrivateReviews=true"))
        except WixAuthError as error:
            if error.status != 403:
                raise
        return _review(await self._call(site, "GET", url))

    async def look(self, site: Site, review_id: str) -> Page | None:
        """Read one review, published or not, as a page; None where Wix does not have it.

        Raises WixError, also where we may not read unpublished ones.
        """
        url = f"{self._reviews_url}/{quote(review_id, safe='')}?returnPrivateReviews=true"
        asked_at = self._clock.now()
        found = await self.get(site, url.removeprefix(self._base_url))
        if found is None:
            return None
        try:
            return Page((parse_review(found.get("review")),), asked_at=asked_at)
        except UnreadableReview as error:
            return Page((), (error,), asked_at=asked_at)

    async def set_reply(self, site: Site, review_id: str, message: str) -> Review:
        """Set the owner's reply, which overwrites another, and return the review. Raises WixError.

        https://dev.wix.com/docs/rest/business-management/reviews/reviews/set-reply
        """
        url = f"{self._reviews_url}/{quote(review_id, safe='')}/reply"
        return _review(await self._call(site, "PATCH", url, {"message": message}))

    async def moderate(self, site: Site, review_id: str, *, publish: bool) -> Review | None:
        """Publish or reject a review, and return it if Wix does. Raises WixError.

        https://dev.wix.com/docs/rest/business-management/reviews/reviews/moderate-review
        """
        url = f"{self._reviews_url}/{quote(review_id, safe='')}/moderate"
        status = "APPROVED" if publish else "REJECTED"
        answer = await self._call(site, "PATCH", url, {"status": status})
        return _review(answer) if "review" in answer.body else None

    async def count(self, site: Site, since: datetime, until: datetime, *, private: bool) -> int:
        """Count the reviews created at `since` or later and before `until`, without rejected ones.

        Raises WixError.
        """
        wanted = _all(
            [
                {"createdDate": {"$gte": iso(since)}},
                {"createdDate": {"$lt": iso(until)}},
                {"moderation.moderationStatus": {"$ne": "REJECTED"}},
            ]
        )
        body = {"filter": wanted} | ({"includePrivateReviews": True} if private else {})
        answer = await self._call(site, "POST", f"{self._reviews_url}/count", body)
        number = answer.body.get("count")
        if not isinstance(number, int) or isinstance(number, bool):
            raise WixResponseError("Wix's answer holds no count", answer.request)
        return number

    async def catalog_version(self, site: Site) -> str:
        """Return the version of a site's catalog, such as `V3_CATALOG`. Raises WixError."""
        answer = await self.get(site, "/stores/v3/provision/version")
        return str((answer or {}).get("catalogVersion"))

    async def get(self, site: Site, path: str) -> dict[str, Any] | None:
        """Read the object at a path; None where there is none. Raises WixError."""
        try:
            return (await self._call(site, "GET", self._base_url + path)).body
        except WixNotFound:
            return None

    async def post(self, site: Site, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask with a body, and return the object that Wix answers. Raises WixError."""
        return (await self._call(site, "POST", self._base_url + path, body)).body

    async def _call(
        self, site: Site, method: str, url: HttpUrl, body: Mapping[str, Any] | None = None
    ) -> _Answer:
        consistent = self._consistent.get(site.site_id, {})
        async with self._connections.acquire() as connection:
            headers = await self.credentials.headers(connection, site)
            response = await send(connection, self._clock, method, url, body, headers | consistent)
            if response.status == 401 and site.api_key is None:
                # The token may have been revoked early. A second 401 is for a person to mend.
                self.credentials.drop_token(site)
                headers = await self.credentials.headers(connection, site)
                response = await send(
                    connection, self._clock, method, url, body, headers | consistent
                )
        value = response.headers.get(_CONSISTENT, "")
        if method == "PATCH" and re.fullmatch(r"[!-~]{1,500}", value):
            self._consistent[site.site_id] = {_CONSISTENT: value}
        now = self._clock.now()
        answer = parse_answer(response, now, (headers["Authorization"], *secrets_of(site)))
        return _Answer(answer, response.request, response.headers.get("Date"), now)


def _page(answer: _Answer) -> Page:
    # An error that comes with status 200 has neither key; an empty page may leave out its list.
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
    """Return the page's newest createdDate, capped at Wix's Date header.

    A date in the future would move the checkpoint past reviews that were not read yet. Without the
    header, dates more than a day ahead of our clock are dropped.
    """
    created = [review.created for review in page if review.created]
    if created and (dated := http_date(answer.date)):
        return min(max(created), dated)
    latest = answer.received + _FURTHEST_AHEAD
    return max((moment for moment in created if moment < latest), default=None)


def _review(answer: _Answer) -> Review:
    try:
        return parse_review(answer.body.get("review"))
    except UnreadableReview as error:
        raise WixResponseError(
            f"Wix's answer holds no review that can be read: it {error}", answer.request
        ) from error


def next_cursor(answer: Mapping[str, Any]) -> str | None:
    """Return the cursor of the next page of an answer; None at the last."""
    cursor = table_in(table_in(answer, "metadata"), "cursors").get("next")
    return cursor if isinstance(cursor, str) and cursor else None


def _all(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """Join conditions, each with one operator, as Wix's own client does."""
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def iso(moment: datetime) -> str:
    """Return a moment as Wix takes it in a filter."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
