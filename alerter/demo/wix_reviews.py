"""The reviews of one site, in the order of their creation."""

import copy
import re
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from alerter.clock import Clock

Json = dict[str, Any]
Key = tuple[int, str]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})")


class Row(NamedTuple):
    """A review and what it is sorted by."""

    created: int
    id: str
    review: Json

    @property
    def published(self) -> bool:
        """Whether everybody may see it."""
        return (self.review.get("moderation") or {}).get("moderationStatus") == "APPROVED"


def stamp(moment: datetime) -> str:
    """A moment as Wix writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def microseconds(text: object) -> int:
    """A date as Wix takes it, in microseconds since 1970; ValueError where it is none or has no zone."""
    if not isinstance(text, str) or not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO-8601 date with a zone")
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def merge(into: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    """A copy of `into` with `changes` merged into it, objects key by key."""
    merged = dict(into)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def completed(review: Mapping[str, Any], now: datetime) -> Json:
    """A review with everything that Wix gives it when it is created; what is given stays."""
    created = review.get("createdDate") or stamp(now)
    status = (review.get("moderation") or {}).get("moderationStatus", "APPROVED")
    helpful, unhelpful = review.get("foundHelpful", 0), review.get("foundUnhelpful", 0)
    defaults = {
        "id": str(uuid4()),
        "namespace": "stores",
        "entityId": str(uuid4()),
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
    """What a site holds; a review may stay invisible for a while after it was created."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._order: list[Key] = []
        self._visible_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, review: Json, visible_after: float = 0) -> None:
        """Keep a review, in place of the one with its id."""
        row = Row(_created(review), review["id"], review)
        self._forget(row.id)
        self._rows[row.id] = row
        insort(self._order, (row.created, row.id))
        if visible_after > 0:
            self._visible_at[row.id] = self._clock.monotonic() + visible_after

    def remove(self, review_id: str) -> Json:
        """Delete a review and answer what it was; KeyError where there is none."""
        review = self._rows[review_id].review
        self._forget(review_id)
        self._visible_at.pop(review_id, None)
        return review

    def get(self, review_id: str) -> Row | None:
        """The review with that id, visible or not."""
        return self._rows.get(review_id)

    def visible(self, review_id: str) -> bool:
        """Whether queries find it by now."""
        if self._visible_at.get(review_id, 0) > self._clock.monotonic():
            return False
        self._visible_at.pop(review_id, None)
        return True

    def keys(self, ids: Sequence[str] | None, lower: int | None, upper: int | None) -> Sequence[Key]:
        """The (created, id) of reviews in order: created from `lower` to before `upper`, with one of `ids`."""
        if ids is not None:
            found = sorted((self._rows[key].created, key) for key in set(ids) if key in self._rows)
            return [key for key in found if _within(key[0], lower, upper)]
        start = 0 if lower is None else bisect_left(self._order, (lower, ""))
        end = len(self._order) if upper is None else bisect_left(self._order, (upper, ""))
        return self._order if (start, end) == (0, len(self._order)) else self._order[start:end]

    def _forget(self, review_id: str) -> None:
        old = self._rows.pop(review_id, None)
        if old is not None:
            del self._order[bisect_left(self._order, (old.created, old.id))]


def _within(created: int, lower: int | None, upper: int | None) -> bool:
    return (lower is None or created >= lower) and (upper is None or created < upper)


def _created(review: Json) -> int:
    created = review.get("createdDate")
    return 0 if created is None else microseconds(created)
