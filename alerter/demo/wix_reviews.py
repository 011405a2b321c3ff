"""The reviews of one site, in the order of their creation."""

import copy
import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid4, uuid5

from alerter.clock import Clock

Json = dict[str, Any]
Key = tuple[int, str]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNDO_SECONDS = 3600.0
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})")


class Row(NamedTuple):
    """A review and its sort key."""

    created: int
    id: str
    review: Json

    @property
    def published(self) -> bool:
        """Whether the review is public."""
        return (self.review.get("moderation") or {}).get("moderationStatus") == "APPROVED"


def stamp(moment: datetime) -> str:
    """Return a time in Wix's format."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def microseconds(text: object) -> int:
    """Return an ISO date with a zone in microseconds since 1970. Raises ValueError."""
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO-8601 date with a zone")
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def merge(into: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    """Return a copy of `into` with `changes` merged into it, objects key by key."""
    merged = dict(into)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def completed(review: Mapping[str, Any], now: datetime, seed: str | None = None) -> Json:
    """Return a review with Wix's defaults for missing fields. Equal seeds give equal ids."""
    created = review.get("createdDate") or stamp(now)
    status = (review.get("moderation") or {}).get("moderationStatus", "APPROVED")
    helpful, unhelpful = review.get("foundHelpful", 0), review.get("foundUnhelpful", 0)
    defaults = {
        "id": str(uuid5(NAMESPACE_OID, f"review {seed}") if seed else uuid4()),
        "namespace": "stores",
        "entityId": str(uuid5(NAMESPACE_OID, f"product {seed}") if seed else uuid4()),
        "createdDate": created,
        "updatedDate": created,
        "reviewDate": created,
        "foundHelpful": 0,
        "foundUnhelpful": 0,
        "helpfulness": (helpful or 0) - (unhelpful or 0),
        "moderation": {"moderationStatus": "APPROVED", "manuallyChanged": False},
        "revision": "1",
        "verified": False,
        "origin": {"type": "ORGANIC"},
        "publishCount": int(status == "APPROVED"),
    }
    return merge(defaults, review)


class Reviews:
    """The reviews of a site; a review may become visible later than it is created."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._order: list[Key] = []
        self._visible_at: dict[str, float] = {}
        self._undo: deque[tuple[float, str, Row | None, float]] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, review: Json, visible_after: float = 0) -> None:
        """Store a review, and replace the one with its id."""
        row = Row(_created(review), review["id"], review)
        self._record_undo(row.id)
        self._drop(row.id)
        self._rows[row.id] = row
        insort(self._order, (row.created, row.id))
        if visible_after > 0:
            self._visible_at[row.id] = self._clock.monotonic() + visible_after

    def remove(self, review_id: str) -> Json:
        """Delete a review and return it. Raises KeyError if there is none."""
        review = self._rows[review_id].review
        self._record_undo(review_id)
        self._drop(review_id)
        self._visible_at.pop(review_id, None)
        return review

    def get(self, review_id: str) -> Row | None:
        """Return the review with this id, visible or not; None if there is none."""
        return self._rows.get(review_id)

    def visible(self, review_id: str) -> bool:
        """Return whether queries find the review by now."""
        return self._visible_at.get(review_id, 0) <= self._clock.monotonic()

    def keys(
        self, ids: Sequence[str] | None, lower: int | None, upper: int | None
    ) -> Sequence[Key]:
        """Return the sorted keys of reviews created from `lower` to before `upper`, of `ids`."""
        if ids is not None:
            found = sorted((self._rows[key].created, key) for key in set(ids) if key in self._rows)
            return [key for key in found if _within(key[0], lower, upper)]
        start = 0 if lower is None else bisect_left(self._order, (lower, ""))
        end = len(self._order) if upper is None else bisect_left(self._order, (upper, ""))
        return self._order if (start, end) == (0, len(self._order)) else self._order[start:end]

    def as_of(self, seconds: float) -> "Reviews":
        """Return the reviews as they were this many seconds ago, an hour at most."""
        then = self._clock.monotonic() - seconds
        rows, visible_at = dict(self._rows), dict(self._visible_at)
        for at, review_id, row, visible in reversed(self._undo):
            if at <= then:
                break
            rows.pop(review_id, None)
            visible_at[review_id] = visible
            if row is not None:
                rows[review_id] = row
        past = Reviews(_FixedClock(then))
        past._rows, past._visible_at = rows, visible_at
        past._order = sorted((row.created, row.id) for row in rows.values())
        return past

    def _record_undo(self, review_id: str) -> None:
        now = self._clock.monotonic()
        while self._undo and self._undo[0][0] < now - _UNDO_SECONDS:
            self._undo.popleft()
        self._undo.append(
            (now, review_id, self._rows.get(review_id), self._visible_at.get(review_id, 0))
        )

    def _drop(self, review_id: str) -> None:
        old = self._rows.pop(review_id, None)
        if old is not None:
            del self._order[bisect_left(self._order, (old.created, old.id))]


class _FixedClock(Clock):
    """A clock that stands still."""

    def __init__(self, monotonic: float) -> None:
        self._monotonic = monotonic

    def monotonic(self) -> float:
        return self._monotonic


def _within(created: int, lower: int | None, upper: int | None) -> bool:
    return (lower is None or created >= lower) and (upper is None or created < upper)


def _created(review: Json) -> int:
    created = review.get("createdDate")
    return 0 if created is None else microseconds(created)
