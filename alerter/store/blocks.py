"""What must not be called at present: waits that a service asked for or that failures earned, and what is parked."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.store.state import State

# What is parked is tried with one message or a look this often.
TRY_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Block:
    """Why a scope is not called before `until`; one that is `parked` waits for a person, and is tried once then."""

    scope: str
    since: datetime
    until: datetime
    parked: bool
    reason: str


def of(state: State, scopes: list[str], now: datetime) -> Block | None:
    """The block that holds longest of those that lie on any of these scopes now."""
    held = [_block(row) for row in _rows(state, scopes) if _holds(row, now)]
    return max(held, key=lambda block: (block.parked, block.until), default=None)


def held_back(state: State, scope: str, now: datetime) -> bool:
    """Whether a scope is to be left alone now."""
    return of(state, [scope], now) is not None


def failing_since(state: State, scope: str) -> datetime | None:
    """When the present run of failures of a scope began."""
    since = state.value("SELECT since FROM blocks WHERE scope = ?", [scope])
    return from_ms(since) if since is not None else None


def hold_back(state: State, scope: str, now: datetime, until: datetime | None, reason: str) -> None:
    """Leave a scope alone until a moment; None: park it.

    Keeps when the run of failures began, and whatever holds for longer: a parking, or a wait that was asked for before.
    """
    with state.transaction():
        state.execute(
            "INSERT INTO blocks (scope, since, set_at, until, parked, reason)"
            " VALUES (:scope, :now, :now, :until, :parked, :reason)"
            " ON CONFLICT (scope) DO UPDATE SET set_at = excluded.set_at, since = min(since, excluded.since),"
            " parked = max(parked, excluded.parked),"
            " reason = CASE WHEN parked AND NOT excluded.parked THEN reason ELSE excluded.reason END,"
            " until = CASE WHEN excluded.parked THEN excluded.until WHEN parked THEN until"
            "  WHEN set_at > excluded.set_at THEN excluded.until"  # the clock was set back: the old one means nothing
            "  ELSE max(until, excluded.until) END",
            {
                "scope": scope,
                "now": to_ms(now),
                "until": to_ms(until or now + TRY_EVERY),
                "parked": until is None,
                "reason": reason,
            },
        )


def claim_try(
    state: State,
    scopes: list[str],
    now: datetime,
    wait: timedelta = TRY_EVERY,
    *,
    parked: bool = True,
) -> list[str]:
    """Take the try of those of these scopes that are parked (or not) and held no longer; returns them.

    Nothing else calls them for a while: a try that succeeds lifts the block, one that fails leaves it.
    """
    due = [
        row["scope"]
        for row in _rows(state, scopes)
        if bool(row["parked"]) == parked and not _holds(row, now)
    ]
    if due:
        with state.transaction():
            state.execute(
                "UPDATE blocks SET until = :until, set_at = min(set_at, :now)"
                " WHERE scope IN (SELECT value FROM json_each(:scopes))",
                {"until": to_ms(now + wait), "now": to_ms(now), "scopes": json.dumps(due)},
            )
    return due


def try_soon(state: State) -> list[str]:
    """Have everything that is parked be tried at once, within a transaction; returns what that is."""
    rows = state.rows("UPDATE blocks SET until = 0 WHERE parked RETURNING scope")
    return sorted(row["scope"] for row in rows if not _is_of_addresses(row["scope"]))


def lift(state: State, scopes: list[str], *, but_parked: bool = False) -> list[str]:
    """Let scopes be called again, within a transaction; returns those that were parked."""
    rows = [row for row in _rows(state, scopes) if not (but_parked and row["parked"])]
    names = json.dumps([row["scope"] for row in rows])
    state.execute("DELETE FROM blocks WHERE scope IN (SELECT value FROM json_each(?))", [names])
    return [row["scope"] for row in rows if row["parked"] and not _is_of_addresses(row["scope"])]


def lift_before(state: State, scopes: list[str], moment: datetime) -> None:
    """Lift what a call proves wrong that began at a moment, within a transaction; what was set since then holds."""
    state.execute(
        "DELETE FROM blocks WHERE scope IN (SELECT value FROM json_each(?)) AND set_at <= ?",
        [json.dumps(scopes), to_ms(moment)],
    )


def every(state: State) -> list[Block]:
    """Every block, whether it holds or is to be tried."""
    return [_block(row) for row in state.rows("SELECT * FROM blocks ORDER BY since, scope")]


def parked(state: State) -> list[Block]:
    """The receivers and services that wait for a person; of a receiver with bad addresses the others are reached."""
    return [block for block in every(state) if block.parked and not _is_of_addresses(block.scope)]


def _is_of_addresses(scope: str) -> bool:
    return scope.startswith("addresses:")


def _rows(state: State, scopes: list[str]) -> list[dict[str, Any]]:
    return state.rows(
        "SELECT * FROM blocks WHERE scope IN (SELECT value FROM json_each(?)) ORDER BY scope",
        [json.dumps(scopes)],
    )


def _holds(row: dict[str, Any], now: datetime) -> bool:
    """A clock that was set back since must not make anybody wait for longer than was meant."""
    return bool(row["set_at"] <= to_ms(now) < (row["until"] or 0))


def _block(row: dict[str, Any]) -> Block:
    return Block(
        scope=row["scope"],
        since=from_ms(row["since"]),
        until=from_ms(row["until"] or 0),
        parked=bool(row["parked"]),
        reason=row["reason"],
    )
