"""Troubles in the database: what alerter cannot do at present, and who was notified of it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import AlertKind, Grouping, from_ms, to_ms
from alerter.store.outbox import UNSETTLED
from alerter.store.sql import json_values, moment_or_none, ms_or_none
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble, its beginning and its reason.

    `notified_at`: when people were notified of it; None if they were not yet.
    `over_at`: when its cause ended. It is kept until its `recovered` may be sent, and for an hour
    after that (`recovered_at`).
    """

    scope: str
    since: datetime
    reason: str
    notified_at: datetime | None = None
    over_at: datetime | None = None
    recovered_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it lasts, or people were not yet notified that it is over."""
        return self.over_at is None or self.notified_at is not None


def get_troubles(state: State) -> list[Trouble]:
    """Return all stored troubles, the oldest first, with those that are over."""
    return [_trouble(row) for row in state.rows("SELECT * FROM troubles ORDER BY since, scope")]


def get_open_troubles(state: State) -> list[Trouble]:
    """Return all open troubles, the oldest first."""
    return [trouble for trouble in get_troubles(state) if trouble.is_open]


def get_troubles_of(state: State, scopes: Iterable[str]) -> list[Trouble]:
    """Return the stored troubles of these scopes, the oldest first."""
    rows = state.rows(
        f"SELECT * FROM troubles WHERE scope IN {json_values()} ORDER BY since, scope",
        [json.dumps(list(scopes))],
    )
    return [_trouble(row) for row in rows]


def have_faults(state: State, scopes: Iterable[str]) -> bool:
    """Whether one of these scopes has a block, or a trouble that is not over."""
    return bool(state.value(_HAVE_FAULTS, {"scopes": json.dumps(list(scopes))}))


def put_trouble(state: State, trouble: Trouble) -> None:
    """Write a trouble, within a transaction."""
    state.execute(
        "INSERT INTO troubles (scope, since, reason, notified_at, over_at, recovered_at)"
        " VALUES (:scope, :since, :reason, :notified, :over, :recovered)"
        " ON CONFLICT (scope) DO UPDATE"
        " SET since = excluded.since, reason = excluded.reason, notified_at = excluded.notified_at,"
        " over_at = excluded.over_at, recovered_at = excluded.recovered_at",
        {
            "scope": trouble.scope,
            "since": to_ms(trouble.since),
            "reason": trouble.reason,
            "notified": ms_or_none(trouble.notified_at),
            "over": ms_or_none(trouble.over_at),
            "recovered": ms_or_none(trouble.recovered_at),
        },
    )


def delete_trouble(state: State, scope: str) -> None:
    """Delete a trouble, within a transaction."""
    state.execute("DELETE FROM troubles WHERE scope = ?", [scope])


def cancel_unsent_trouble(state: State, key: str) -> None:
    """Cancel the deliveries of this alert that were not sent yet, within a transaction."""
    state.execute(
        "UPDATE deliveries SET status = 'cancelled' WHERE status = 'pending' AND message IS NULL"
        " AND alert = (SELECT id FROM alerts WHERE key = ?)",
        [key],
    )


def trouble_recipients(state: State, key: str) -> dict[str, str]:
    """Return the status of each delivery of this alert by destination, without cancelled ones."""
    rows = state.rows(
        "SELECT destination, status FROM deliveries WHERE status <> 'cancelled'"
        " AND alert = (SELECT id FROM alerts WHERE key = ?)",
        [key],
    )
    return {row["destination"]: row["status"] for row in rows}


def unsent_recoveries(state: State) -> list[tuple[str, str]]:
    """Return the key and the destination of each `recovered` that is not sent yet."""
    rows = state.rows(
        "SELECT alerts.key, deliveries.destination FROM deliveries"
        " JOIN alerts ON alerts.id = deliveries.alert"
        f" WHERE {UNSETTLED} AND deliveries.status = 'pending' AND alerts.kind = ?"
        " ORDER BY alerts.id, deliveries.destination",
        [AlertKind.RECOVERED],
    )
    return [(row["key"], row["destination"]) for row in rows]


def failed_keys(state: State) -> list[str]:
    """Return the keys of the alerts of trouble and of its end that could not be delivered."""
    rows = state.rows(
        "SELECT DISTINCT key FROM alerts JOIN deliveries ON deliveries.alert = alerts.id"
        " WHERE deliveries.status = 'failed' AND kind IN (?, ?) ORDER BY key",
        [AlertKind.TROUBLE, AlertKind.RECOVERED],
    )
    return [row["key"] for row in rows]


def cancel_failed(state: State, keys: Sequence[str]) -> None:
    """Cancel the failed deliveries of these alerts, within a transaction."""
    state.execute(
        "UPDATE deliveries SET status = 'cancelled' WHERE status = 'failed'"
        f" AND alert IN (SELECT id FROM alerts WHERE key IN {json_values()})",
        [json.dumps(list(keys))],
    )


def add_recipients(state: State, key: str, destinations: Iterable[str]) -> None:
    """Queue this alert for more destinations, within a transaction."""
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
        " SELECT id, :destination, 'pending', :grouping, 0 FROM alerts WHERE key = :key"
        " ON CONFLICT (alert, destination) DO NOTHING",
        [
            {"destination": destination, "grouping": Grouping.EACH, "key": key}
            for destination in destinations
        ],
    )


def oldest_waiting(state: State, now: datetime) -> dict[str, int]:
    """Return the id of the oldest alert that is due and not sent, by destination.

    A mail that only some addresses have accepted is left out: it waits for the others by itself.
    So is what waits until a restored site can be read, which is trouble of that site.
    """
    rows = state.rows(
        "SELECT destination, min(alert) AS oldest FROM deliveries"
        f" WHERE {UNSETTLED} AND status = 'pending' AND (due_at <= ? OR message IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM messages"
        "  WHERE messages.id = deliveries.message AND messages.to_left IS NOT NULL)"
        f" AND (NOT EXISTS ({_UNREADABLE}) OR NOT EXISTS ({_OF_UNREADABLE} = deliveries.alert)"
        f"  AND NOT EXISTS ({_OF_UNREADABLE} IN (SELECT alert FROM deliveries AS beside"
        "  WHERE beside.message = deliveries.message)))"
        " GROUP BY destination",
        [to_ms(now)],
    )
    return {row["destination"]: row["oldest"] for row in rows}


def has_failures(state: State, destination: str, since: datetime) -> bool:
    """Whether deliveries to a destination have failed, or were due before a moment and still wait.

    The latter is the case after `alerter retry`.
    """
    return bool(
        state.value(
            "SELECT EXISTS (SELECT 1 FROM deliveries"
            f" WHERE {UNSETTLED} AND destination = :destination AND (status = 'failed'"
            "  OR EXISTS (SELECT 1 FROM alerts WHERE alerts.id = deliveries.alert"
            "   AND raised_at <= :since AND due_at <= :since)))",
            {"destination": destination, "since": to_ms(since)},
        )
    )


_HAVE_FAULTS = (
    f"SELECT EXISTS (SELECT 1 FROM blocks WHERE scope IN {json_values(':scopes')}) OR EXISTS"
    f" (SELECT 1 FROM troubles WHERE over_at IS NULL AND scope IN {json_values(':scopes')})"
)
# A restored site whose reviews Wix cannot be asked for, looked for once; and an alert of one.
_UNREADABLE = "SELECT 1 FROM sites WHERE unverified AND failing_since IS NOT NULL"
_OF_UNREADABLE = (
    "SELECT 1 FROM alerts JOIN sites ON sites.site_id = alerts.site_id"
    " WHERE sites.unverified AND sites.failing_since IS NOT NULL AND alerts.id"
)


def _trouble(row: dict[str, Any]) -> Trouble:
    return Trouble(
        scope=row["scope"],
        since=from_ms(row["since"]),
        reason=row["reason"],
        notified_at=moment_or_none(row["notified_at"]),
        over_at=moment_or_none(row["over_at"]),
        recovered_at=moment_or_none(row["recovered_at"]),
    )
