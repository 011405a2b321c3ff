"""What alerter cannot do at present, in the state file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from alerter.models import from_ms, to_ms
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that does not work, since when and why."""

    scope: str
    since: datetime
    reason: str


def known(state: State, scope: str, reason: str) -> bool:
    """Whether a scope is in trouble already; keeps the latest reason. Within a transaction."""
    return bool(state.execute("UPDATE troubles SET reason = ? WHERE scope = ?", [reason, scope]))


def begin(state: State, scope: str, reason: str, now: datetime) -> datetime:
    """Put trouble on record, within a transaction; returns since when it is, which names it for ever."""
    since = to_ms(now)
    state.execute("INSERT INTO troubles (scope, since, reason) VALUES (?, ?, ?)", [scope, since, reason])
    return from_ms(since)


def end(state: State, scopes: Iterable[str]) -> list[Trouble]:
    """Take trouble off the record, within a transaction; returns what there was."""
    names = json.dumps(list(scopes))
    among = "scope IN (SELECT value FROM json_each(?))"
    found = state.rows(f"SELECT * FROM troubles WHERE {among}", [names])
    if found:
        state.execute(f"DELETE FROM troubles WHERE {among}", [names])
    return [Trouble(row["scope"], from_ms(row["since"]), row["reason"]) for row in found]


def told(state: State, key: str) -> list[str]:
    """Cancel an alert of trouble that has not left yet; return the destinations that have it.

    Within a transaction.
    """
    state.execute(
        "UPDATE deliveries SET status = 'cancelled' WHERE status = 'pending' AND message IS NULL"
        " AND alert = (SELECT id FROM alerts WHERE key = ?)",
        [key],
    )
    rows = state.rows(
        "SELECT destination FROM deliveries WHERE status IN ('pending', 'sent')"
        " AND alert = (SELECT id FROM alerts WHERE key = ?)",
        [key],
    )
    return [row["destination"] for row in rows]


def current(state: State) -> list[Trouble]:
    """All open trouble, the oldest first."""
    rows = state.rows("SELECT * FROM troubles ORDER BY since, scope")
    return [Trouble(row["scope"], from_ms(row["since"]), row["reason"]) for row in rows]
