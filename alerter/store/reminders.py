"""The reminders of open reviews: when they started for each destination, and the last one sent."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.store.holds import HELD
from alerter.store.sql import json_values
from alerter.store.state import State

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Reminders:
    """When the reminders of a review started for a destination, and the longest span so far."""

    review_id: str
    destination: str
    since: datetime
    reminded: timedelta


@dataclass(frozen=True, slots=True)
class ReminderSpans:
    """After which spans reminders are due. Those that started before `window` are over."""

    after: Sequence[timedelta]
    window: timedelta

    @property
    def is_due(self) -> str:
        """Whether a row of `reminders` is due, with the parameters `moments`: a condition in SQL.

        Those of a claimed or snoozed review wait.
        """
        due = " OR ".join(f"(since <= :now - :{name} AND reminded < :{name})" for name in self._ms)
        return f"since >= :earliest AND since <= :latest AND ({due or 'FALSE'}) AND NOT {HELD}"

    def moments(self, now: datetime) -> dict[str, int]:
        """Return the parameters of `is_due`."""
        return {
            "now": to_ms(now),
            "earliest": to_ms(now - self.window),
            "latest": to_ms(now - min(self.after, default=timedelta())),
            **self._ms,
        }

    @property
    def _ms(self) -> dict[str, int]:
        return {f"span{number}": span // _MS for number, span in enumerate(self.after)}


def get_reminders(
    state: State, site_id: str, now: datetime, after: Sequence[timedelta], window: timedelta
) -> list[Reminders]:
    """Return the reminders of a site for which one of these spans is due, the oldest first."""
    spans = ReminderSpans(after, window)
    rows = state.rows(
        f"SELECT * FROM reminders WHERE site_id = :site AND {spans.is_due} ORDER BY since",
        {"site": site_id, **spans.moments(now)},
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
    """Restart the reminders that started in the future, because the clock was set back since."""
    params = {"site": site_id, "now": to_ms(now)}
    if state.value(
        "SELECT EXISTS (SELECT 1 FROM reminders WHERE site_id = :site AND since > :now)", params
    ):
        state.execute(
            "UPDATE reminders SET since = :now WHERE site_id = :site AND since > :now", params
        )


def start_reminders(
    state: State,
    site_id: str,
    review_id: str,
    destinations: Iterable[str],
    at: datetime,
    *,
    reminded: timedelta = timedelta(),
) -> None:
    """Start the reminders of an open review for destinations where they have not started yet.

    `reminded`: the span of the reminder that they get with the start. If our clock was more than a
    day behind when the alert was sent, they start when the review was created.
    """
    state.execute_many(
        "INSERT INTO reminders (site_id, review_id, destination, since, reminded)"
        " SELECT site_id, review_id, :destination,"
        " CASE WHEN :at < created_at - 86400000 THEN created_at ELSE :at END, :reminded"
        " FROM reviews WHERE site_id = :site AND review_id = :review AND status = 'open'"
        " ON CONFLICT (site_id, review_id, destination) DO NOTHING",
        [
            {
                "site": site_id,
                "review": review_id,
                "destination": destination,
                "at": to_ms(at),
                "reminded": reminded // _MS,
            }
            for destination in destinations
        ],
    )


def claim_reminders(
    state: State,
    site_id: str,
    review_id: str,
    destinations: Iterable[str],
    span: timedelta,
    now: datetime,
) -> list[str]:
    """Record that these destinations get the reminder for a span, and none for a shorter one.

    Return those for which it is still due: the review may have been closed, reopened, claimed or
    snoozed, or another process may have recorded it.
    """
    rows = state.rows(
        "UPDATE reminders SET reminded = :span WHERE site_id = :site AND review_id = :review"
        f" AND destination IN {json_values(':destinations')}"
        f" AND reminded < :span AND since <= :latest AND NOT {HELD} RETURNING destination",
        {
            "site": site_id,
            "review": review_id,
            "destinations": json.dumps(list(destinations)),
            "span": span // _MS,
            "latest": to_ms(now - span),
            "now": to_ms(now),
        },
    )
    return sorted(row["destination"] for row in rows)


def pass_reminders(
    state: State, site_id: str, review_id: str, span: timedelta, now: datetime
) -> None:
    """Leave out the reminders of a review for a span that have fallen due; in a transaction."""
    state.execute(
        "UPDATE reminders SET reminded = :span WHERE site_id = :site AND review_id = :review"
        " AND reminded < :span AND since <= :latest",
        {
            "site": site_id,
            "review": review_id,
            "span": span // _MS,
            "latest": to_ms(now - span),
        },
    )


def stop_reminders(state: State, site_id: str, ids: Sequence[str]) -> None:
    """Delete the reminders of reviews that are not open any more."""
    if ids:
        state.execute(
            f"DELETE FROM reminders WHERE site_id = ? AND review_id IN {json_values()}",
            [site_id, json.dumps(list(ids))],
        )


def _reminders(row: dict[str, Any]) -> Reminders:
    return Reminders(
        row["review_id"], row["destination"], from_ms(row["since"]), row["reminded"] * _MS
    )
