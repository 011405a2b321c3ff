"""The reminders of open reviews: since when they count for each destination, and which were sent."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.store.state import State

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Reminders:
    """Since when the reminders of a review count for a destination, and the longest span that it was reminded of."""

    review_id: str
    destination: str
    since: datetime
    reminded: timedelta


def get_reminders(
    state: State, site_id: str, now: datetime, after: Sequence[timedelta], window: timedelta
) -> list[Reminders]:
    """Return the reminders of a site of which one of these spans is due, the oldest first.

    What counts since before `window` has come to rest.
    """
    spans = [to_ms(now) - span // _MS for span in after], [span // _MS for span in after]
    rows = state.rows(
        "SELECT * FROM reminders WHERE site_id = ? AND since >= ? AND since <= ?"
        f" AND ({' OR '.join(['(since <= ? AND reminded < ?)'] * len(after))}) ORDER BY since",
        [
            site_id,
            to_ms(now - window),
            max(spans[0]),
            *chain.from_iterable(zip(*spans, strict=True)),
        ],
    )
    return [_reminders(row) for row in rows]


def get_reminders_of(state: State, site_id: str, review_id: str) -> list[Reminders]:
    """Return the reminders of one review, by destination."""
    rows = state.rows(
        "SELECT * FROM reminders WHERE site_id = ? AND review_id = ? ORDER BY destination",
        [site_id, review_id],
    )
    return [_reminders(row) for row in rows]


def correct_reminders(state: State, site_id: str, now: datetime) -> None:
    """Count from now on what was sent by a clock that has been set back since."""
    params = {"site": site_id, "now": to_ms(now)}
    if state.value(
        "SELECT EXISTS (SELECT 1 FROM reminders WHERE site_id = :site AND since > :now)", params
    ):
        state.execute(
            "UPDATE reminders SET since = :now WHERE site_id = :site AND since > :now", params
        )


def start_reminders(
    state: State, site_id: str, review_id: str, destinations: Iterable[str], at: datetime
) -> None:
    """Count the reminders of a review from a moment on, where they do not count yet; only while it is open.

    Where our clock was far behind when the alert was sent, they count from the creation of the review.
    """
    state.execute_many(
        "INSERT INTO reminders (site_id, review_id, destination, since)"
        " SELECT site_id, review_id, :destination, CASE WHEN :at < created_at - 86400000 THEN created_at ELSE :at END"
        " FROM reviews WHERE site_id = :site AND review_id = :review AND status = 'open'"
        " ON CONFLICT (site_id, review_id, destination) DO NOTHING",
        [
            {"site": site_id, "review": review_id, "destination": destination, "at": to_ms(at)}
            for destination in destinations
        ],
    )


def note_reminded(
    state: State, site_id: str, review_id: str, destinations: Iterable[str], span: timedelta
) -> None:
    """Note that these destinations get the reminder of a span, and none of a shorter one after it."""
    state.execute_many(
        "UPDATE reminders SET reminded = :span WHERE site_id = :site AND review_id = :review"
        " AND destination = :destination",
        [
            {"site": site_id, "review": review_id, "destination": destination, "span": span // _MS}
            for destination in destinations
        ],
    )


def stop_reminders(state: State, site_id: str, ids: Sequence[str]) -> None:
    """Forget the reminders of reviews that are not open any more."""
    if ids:
        state.execute(
            "DELETE FROM reminders WHERE site_id = ? AND review_id IN (SELECT value FROM json_each(?))",
            [site_id, json.dumps(list(ids))],
        )


def _reminders(row: dict[str, Any]) -> Reminders:
    return Reminders(
        row["review_id"], row["destination"], from_ms(row["since"]), row["reminded"] * _MS
    )
