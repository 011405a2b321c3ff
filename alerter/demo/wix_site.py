"""A site of the embedded Wix: its access, reviews, products and contacts."""

import copy
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerter.clock import Clock
from alerter.demo.wix_misreads import Meanwhiles, Misreads
from alerter.demo.wix_reviews import Json, Reviews, completed, merge, stamp
from alerter.demo.wix_shop import Shop


@dataclass(frozen=True)
class App:
    """The credentials of an app and its installation on one site."""

    app_id: str
    app_secret: str
    instance_id: str


@dataclass
class Site:
    """A site. Tests may change its attributes at any time.

    `private`: unpublished reviews may be read. `refuse` is the status that every caller gets.
    `catalog` is the answer of the catalog version call. `quiet`: moderation and replies do not
    change `revision` and `updatedDate`. `count_limit` is the most reviews that are counted.
    `misreads` are wrong answers about reviews, `meanwhile` is what others do at the same time.
    `keep_reply` turns a reply into what is kept of it. `listen` is called with the slug of each
    event and the review. `shop` has its orders.
    """

    site_id: str
    clock: Clock
    api_key: str | None = None
    app: App | None = None
    private: bool = True
    catalog: str = "V3_CATALOG"
    refuse: int | None = None
    quiet: bool = False
    count_limit: int | None = None
    name: str = "A site"
    misreads: Misreads = field(default_factory=Misreads)
    meanwhile: Meanwhiles = field(default_factory=Meanwhiles)
    keep_reply: Callable[[str], str] = field(default=lambda message: message)
    products: dict[str, tuple[str, str]] = field(default_factory=dict)
    contacts: dict[str, Json] = field(default_factory=dict)
    shop: Shop = field(default_factory=Shop)
    listen: Callable[[str, Json], None] = field(default=lambda _slug, _review: None)
    written: dict[str, float] = field(default_factory=dict)
    reviews: Reviews = field(init=False)
    _recent: deque[float] = field(default_factory=deque)
    _throttled_until: float = 0.0
    _created: int = 0

    def __post_init__(self) -> None:
        self.reviews = Reviews(self.clock)

    def admit(self, limit: int | None) -> float | None:
        """Count a request; return the seconds to wait if `limit` a minute is exceeded."""
        now = self.clock.monotonic()
        if now < self._throttled_until:
            return self._throttled_until - now
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if limit is not None and len(self._recent) >= limit:
            return self._recent[0] + 60 - now
        self._recent.append(now)
        return None

    def throttle(self, seconds: float) -> None:
        """Answer every request with 429 for this many seconds."""
        self._throttled_until = self.clock.monotonic() + seconds

    def add(self, review: Mapping[str, Any], visible_after: float = 0) -> Json:
        """Create a review with Wix's defaults. Raises ValueError for a bad one."""
        self._created += 1
        created = completed(review, self.clock.now(), f"{self.site_id} {self._created}")
        if not isinstance(created["id"], str) or self.reviews.get(created["id"]):
            raise ValueError(f"there is a review {created['id']} already, or its id is not text")
        self.reviews.put(created, visible_after)
        return self._notify(created, "created", *self._moderated(created))

    def change(self, review_id: str, changes: Mapping[str, Any]) -> Json:
        """Merge changes into a review. Raises KeyError if there is none."""
        return self._notify(self._change(review_id, changes, quiet=False), "updated")

    def delete(self, review_id: str) -> Json:
        """Delete a review and return it. Raises KeyError if there is none."""
        return self._notify(self.reviews.remove(review_id), "deleted")

    def _change(self, review_id: str, changes: Mapping[str, Any], *, quiet: bool) -> Json:
        changed = merge(self._review(review_id), changes)
        if not quiet:
            bumped = {
                "revision": str(int(changed.get("revision") or 0) + 1),
                "updatedDate": stamp(self.clock.now()),
            }
            changed |= {key: value for key, value in bumped.items() if key not in changes}
        self.reviews.put(changed)
        return changed

    def _notify(self, review: Json, *slugs: str) -> Json:
        for slug in slugs:
            self.listen(slug, copy.deepcopy(review))
        return copy.deepcopy(review)

    def _moderated(self, review: Json) -> list[str]:
        row = self.reviews.get(review["id"])
        published = row is not None and row.published
        return ["moderation_status_changed", *(["review_published"] if published else [])]

    def reply(self, review_id: str, message: str) -> Json:
        """Set the one reply of a review."""
        old = self._review(review_id).get("reply") or {}
        now = stamp(self.clock.now())
        reply = {
            "message": self.keep_reply(message),
            "createdDate": old.get("createdDate", now),
            "updatedDate": now,
        }
        return self._notify(self._change(review_id, {"reply": reply}, quiet=self.quiet), "updated")

    def unreply(self, review_id: str) -> Json:
        """Remove the reply of a review."""
        answered = dict(self._review(review_id))
        answered.pop("reply", None)
        self.reviews.put(answered)
        return self._notify(self._change(review_id, {}, quiet=self.quiet), "updated")

    def moderate(self, review_id: str, status: str) -> Json:
        """Set the moderation status of a review."""
        moderation = {"moderationStatus": status, "manuallyChanged": True}
        changed = self._change(review_id, {"moderation": moderation}, quiet=self.quiet)
        return self._notify(changed, *self._moderated(changed))

    def load(self, path: Path) -> int:
        """Add reviews, one JSON object a line; return how many. Raises ValueError."""
        loaded = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    self.add(_object(json.loads(line)))
                except (ValueError, TypeError, AttributeError) as error:
                    raise ValueError(f"line {number}: {error}") from error
                loaded += 1
        return loaded

    def _review(self, review_id: str) -> Json:
        row = self.reviews.get(review_id)
        if row is None:
            raise KeyError(review_id)
        return row.review


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the value is from a file
    return value
