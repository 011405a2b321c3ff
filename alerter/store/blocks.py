"""Who must not be called at present: waits that a service asked for or that failures earned, and parked receivers."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class Block:
    """Why a scope is left alone: until a moment, or, `parked`, until a person has mended something."""

    scope: str
    since: datetime
    until: datetime | None
    parked: bool
    reason: str


def of(state: State, scopes: list[str], now: datetime) -> Block | None:
    """The block that holds longest of those that lie on any of these scopes now."""
    rows = state.rows(f"SELECT * FROM blocks WHERE scope IN ({','.join('?' * len(scopes))})", scopes)
    held = [block for row in rows if (block := _held(row, now))]
    return max(held, key=lambda block: (block.parked, block.until or now), default=None)


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
            " ON CONFLICT DO UPDATE SET set_at = excluded.set_at, since = min(since, excluded.since),"
            " parked = max(parked, excluded.parked), reason = iif(parked, reason, excluded.reason),"
            " until = CASE WHEN parked OR excluded.parked THEN NULL"
            "  WHEN set_at > excluded.set_at THEN excluded.until"  # the clock was set back: the old one means nothing
            "  ELSE max(until, excluded.until) END",
            {
                "scope": scope,
                "now": to_ms(now),
                "until": to_ms(until) if until else None,
                "parked": until is None,
                "reason": reason,
            },
        )


def lift_parked(state: State, scopes: list[str]) -> list[str]:
    """Let scopes be called again that wait for a person, within a transaction; returns those that did."""
    names = json.dumps(scopes)
    among = "parked AND scope IN (SELECT value FROM json_each(?))"
    found = state.rows(f"SELECT scope FROM blocks WHERE {among} ORDER BY scope", [names])
    state.execute(f"DELETE FROM blocks WHERE {among}", [names])
    return [row["scope"] for row in found]


def parked(state: State) -> list[Block]:
    """Everything that waits for a person."""
    return [_block(row) for row in state.rows("SELECT * FROM blocks WHERE parked ORDER BY since")]


def _held(row: dict[str, Any], now: datetime) -> Block | None:
    block = _block(row)
    if block.until is None:
        return block
    # A clock that was set back since must not make anybody wait for longer than was meant.
    return block if from_ms(row["set_at"]) <= now < block.until else None


def _block(row: dict[str, Any]) -> Block:
    return Block(
        scope=row["scope"],
        since=from_ms(row["since"]),
        until=from_ms(row["until"]) if row["until"] is not None else None,
        parked=bool(row["parked"]),
        reason=row["reason"],
    )
