"""A Wix with any number of reviews, generated on request."""

import asyncio
import json
import re
import time
from array import array
from bisect import bisect_left

from benchmarks.reviews import page_of
from benchmarks.servers.http import HttpConnection
from benchmarks.world import site_id, site_name

_SITE = re.compile(rb"\r\nwix-site-id: *([0-9a-f-]{36})", re.IGNORECASE)
_EMPTY = b'{"reviews": [], "metadata": {"count": 0, "cursors": {}}}'
_VERSION = b'{"catalogVersion": "V3_CATALOG"}'
_PRODUCT = (
    b'{"product": {"name": "Croissant box", "url": {"url": "https://example.com/croissant-box"}}}'
)
_PAGE = 100


class FastWix:
    """Each site has `low_rated` reviews of one or two stars; better ones are never queried.

    `listed`: how many sites an account has. `answer_after`: the seconds of each call.
    """

    def __init__(self, low_rated: int = 0, listed: int = 0, answer_after: float = 0.0) -> None:
        self._low_rated = low_rated
        self._listed = listed
        self._answer_after = answer_after
        self._queries = 0
        self._seen: dict[bytes, array[float]] = {}

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return HttpConnection(self._answer, self._answer_after)

    def queries(self) -> int:
        """Return the number of queries."""
        return self._queries

    def sites(self) -> int:
        """Return the number of queried sites."""
        return len(self._seen)

    def seen(self) -> list[list[float]]:
        """Return the query times of each site, in monotonic time."""
        return [list(times) for times in self._seen.values()]

    def read_after(self, since: float) -> dict[str, float]:
        """Return when each site was first queried after a moment, in monotonic time."""
        return {
            site.decode(): times[bisect_left(times, since)]
            for site, times in self._seen.items()
            if times[-1] >= since
        }

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if not head.startswith(b"POST"):
            return _VERSION if b"/provision/version" in head else _PRODUCT
        if b"/site-list/" in head:
            return self._list(body)
        self._queries += 1
        if site := _SITE.search(head):
            self._seen.setdefault(site[1], array("d")).append(time.monotonic())
        return self._page(body) if self._low_rated else _EMPTY

    def _list(self, body: bytes) -> bytes:
        paging = json.loads(body)["query"]["cursorPaging"]
        first = int(paging.get("cursor", "0"))
        last = min(first + paging["limit"], self._listed)
        cursors = {"next": str(last)} if last < self._listed else {}
        sites = [
            {"id": site_id(each), "displayName": site_name(each)} for each in range(first, last)
        ]
        return json.dumps({"sites": sites, "metadata": {"cursors": cursors}}).encode()

    def _page(self, body: bytes) -> bytes:
        query = json.loads(body)["query"]
        if "filter" in query and {"content.rating": {"$lte": 2}} not in query["filter"].get(
            "$and", [query["filter"]]
        ):
            raise ValueError("only low-rated reviews may be queried")
        first = int(query["cursorPaging"].get("cursor", "0"))
        last = min(first + _PAGE, self._low_rated)
        following = f'"{last}"' if last < self._low_rated else "null"
        metadata = f'"metadata": {{"count": {last - first}, "cursors": {{"next": {following}}}}}'
        return f'{{"reviews": {page_of(first, last)}, {metadata}}}'.encode()
