"""What alerter cannot do at present, and what people were notified of, in the state file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import Grouping, from_ms, to_ms
from alerter.store.outbox import UNSETTLED
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that does not work, since when and why.

    `notified_at` is when people were notified that it began (None: not yet), `over_at` when its cause ended. One that
    is over is kept until its `recovered` may be sent, and for an hour after that (`recovered_at`).
    """

    scope: str
    since: datetime
    reason: str
    notified_at: datetime | None = None
    over_at: datetime | None = None
    recovered_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lasts, or people still take it to last."""
        return self.over_at is None or self.notified_at is not None


def every(state: State) -> list[Trouble]:
    """All trouble on record, the oldest first, with what is over and remembered."""
    return [_trouble(row) for row in state.rows("SELECT * FROM troubles ORDER BY since, scope")]


def current(state: State) -> list[Trouble]:
    """All open trouble, the oldest first."""
    return [trouble for trouble in every(state) if trouble.is_open]


def named(state: State, scopes: Iterable[str]) -> list[Trouble]:
    """What is on record of these scopes."""
    rows = state.rows(
        "SELECT * FROM troubles WHERE scope IN (SELECT value FROM json_each(?)) ORDER BY since, scope",
        [json.dumps(list(scopes))],
    )
    return [_trouble(row) for row in rows]


def put(state: State, trouble: Trouble) -> None:
    """Write a trouble as it is now, within a transaction."""
    state.execute(
        "INSERT INTO troubles (scope, since, reason, notified_at, over_at, recovered_at)"
        " VALUES (:scope, :since, :reason, :notified, :over, :recovered) ON CONFLICT (scope) DO UPDATE"
        " SET since = excluded.since, reason = excluded.reason, notified_at = excluded.notified_at,"
        " over_at = excluded.over_at, recovered_at = excluded.recovered_at",
        {
            "scope": trouble.scope,
            "since": to_ms(trouble.since),
            "reason": trouble.reason,
            "notified": _ms(trouble.notified_at),
            "over": _ms(trouble.over_at),
            "recovered": _ms(trouble.recovered_at),
        },
    )


def delete(state: State, scope: str) -> None:
    """Take a trouble off the record, within a transaction."""
    state.execute("DELETE FROM troubles WHERE scope = ?", [scope])


def cancel_unsent(state: State, key: str) -> None:
    """Cancel the deliveries of an alert that have not left yet, within a transaction."""
    state.execute(
        "UPDATE deliveries SET status = 'cancelled' WHERE status = 'pending' AND message IS NULL"
        " AND alert = (SELECT id FROM alerts WHERE key = ?)",
        [key],
    )


def recipients(state: State, key: str) -> dict[str, str]:
    """The status of each delivery of an alert, by destination; but for those that were cancelled."""
    rows = state.rows(
        "SELECT destination, status FROM deliveries WHERE status <> 'cancelled'"
        " AND alert = (SELECT id FROM alerts WHERE key = ?)",
        [key],
    )
    return {row["destination"]: row["status"] for row in rows}


def add_recipients(state: State, key: str, destinations: Iterable[str]) -> None:
    """Deliver an alert to further destinations, within a transaction."""
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
        " SELECT id, :destination, 'pending', :grouping, 0 FROM alerts WHERE key = :key ON CONFLICT DO NOTHING",
        [
            {"destination": destination, "grouping": Grouping.EACH, "key": key}
            for destination in destinations
        ],
    )


def oldest_waiting(state: State, now: datetime) -> dict[str, int]:
    """The oldest alert that is due and has not left, by destination.

    A mail that some addresses have taken is left out: it waits for the others by itself.
    """
    rows = state.rows(
        f"SELECT destination, min(alert) AS oldest FROM deliveries WHERE {UNSETTLED} AND status = 'pending'"
        " AND (due_at <= ? OR message IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM messages"
        "  WHERE messages.id = deliveries.message AND messages.to_left IS NOT NULL) GROUP BY destination",
        [to_ms(now)],
    )
    return {row["destination"]: row["oldest"] for row in rows}


def has_failures(state: State, destination: str, since: datetime) -> bool:
    """Whether deliveries to a destination have failed, or wait that were due before a moment, as after a retry."""
    return bool(
        state.value(
            f"SELECT EXISTS (SELECT 1 FROM deliveries WHERE {UNSETTLED} AND destination = :destination"
            " AND (status = 'failed' OR EXISTS (SELECT 1 FROM alerts WHERE alerts.id = deliveries.alert"
            "  AND raised_at <= :since AND due_at <= :since)))",
            {"destination": destination, "since": to_ms(since)},
        )
    )


def _ms(moment: datetime | None) -> int | None:
    return to_ms(moment) if moment is not None else None


def _moment(ms: int | None) -> datetime | None:
    return from_ms(ms) if ms is not None else None


def _trouble(row: dict[str, Any]) -> Trouble:
    return Trouble(
        scope=row["scope"],
        since=from_ms(row["since"]),
        reason=row["reason"],
        notified_at=_moment(row["notified_at"]),
        over_at=_moment(row["over_at"]),
        recovered_at=_moment(row["recovered_at"]),
    )
