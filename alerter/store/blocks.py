"""Scopes that must not be called now: they back off, were throttled, or are parked."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.scopes import Scope, split_scope
from alerter.store.sql import json_values
from alerter.store.state import State

# How often a parked scope is tried, with one message or a look.
TRY_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Block:
    """Why a scope must not be called before `until`.

    A `parked` scope waits for a person; it is tried once at `until`.
    """

    scope: str
    since: datetime
    until: datetime
    parked: bool
    reason: str


def have_blocks(state: State, scopes: list[str]) -> bool:
    """Whether one of these scopes has a block, or one that is over and was not lifted."""
    return bool(
        state.value(
            f"SELECT EXISTS (SELECT 1 FROM blocks WHERE scope IN {json_values()})",
            [json.dumps(scopes)],
        )
    )


def get_block(state: State, scopes: list[str], now: datetime) -> Block | None:
    """Return the block of these scopes that lasts longest, parked ones first; None without any."""
    return get_block_or_try(state, scopes, now)[0]


def get_block_or_try(state: State, scopes: list[str], now: datetime) -> tuple[Block | None, bool]:
    """Return what `get_block` does, and whether one of the scopes is parked and due for a try."""
    rows = _rows(state, scopes)
    block = max(
        (_block(row) for row in rows if _is_in_force(row, now)),
        key=lambda block: (block.parked, block.until),
        default=None,
    )
    return block, any(row["parked"] and not _is_in_force(row, now) for row in rows)


def is_blocked(state: State, scope: str, now: datetime) -> bool:
    """Whether a scope must not be called now."""
    return get_block(state, [scope], now) is not None


def is_parked(state: State, scope: str) -> bool:
    """Whether a scope waits for a person."""
    return bool(state.value("SELECT parked FROM blocks WHERE scope = ?", [scope]))


def blocked_since(state: State, scope: str) -> datetime | None:
    """Return when the present run of failures of a scope began."""
    since = state.value("SELECT since FROM blocks WHERE scope = ?", [scope])
    return from_ms(since) if since is not None else None


def set_block(state: State, scope: str, now: datetime, until: datetime | None, reason: str) -> None:
    """Block a scope until a moment; park it if that is None.

    The beginning of the run of failures is kept, and so is a block that lasts longer.
    """
    with state.transaction():
        state.execute(
            _SET,
            {
                "scope": scope,
                "now": to_ms(now),
                "until": to_ms(until or now + TRY_EVERY),
                "parked": until is None,
                "reason": reason,
            },
        )


def claim_attempt(
    state: State,
    scopes: list[str],
    now: datetime,
    wait: timedelta = TRY_EVERY,
    *,
    parked: bool = True,
) -> list[str]:
    """Claim an attempt at those of these scopes whose block is over; return them.

    Only parked scopes are claimed, or only the others. They stay blocked for `wait`; an attempt
    that succeeds lifts the block.
    """
    due = [
        row["scope"]
        for row in _rows(state, scopes)
        if bool(row["parked"]) == parked and not _is_in_force(row, now)
    ]
    if not due:
        return []
    with state.transaction():
        # Another process may have claimed them since they were read.
        claimed = state.rows(
            "UPDATE blocks SET until = :until,"
            " set_at = CASE WHEN set_at < :now THEN set_at ELSE :now END"
            f" WHERE scope IN {json_values(':scopes')}"
            " AND NOT (set_at <= :now AND :now < coalesce(until, 0)) RETURNING scope",
            {"until": to_ms(now + wait), "now": to_ms(now), "scopes": json.dumps(due)},
        )
    return sorted(row["scope"] for row in claimed)


def ended_blocks(state: State, scopes: list[str], now: datetime) -> list[str]:
    """Return those of these scopes whose block is over and that are not parked."""
    rows = _rows(state, scopes)
    return [row["scope"] for row in rows if not row["parked"] and not _is_in_force(row, now)]


def retry_parked(state: State, scopes: Collection[str] | None = None) -> list[str]:
    """Let parked scopes, or all of them, be tried at once, within a transaction; return them."""
    some = "" if scopes is None else f" AND scope IN {json_values()}"
    given = [] if scopes is None else [json.dumps(list(scopes))]
    rows = state.rows(f"UPDATE blocks SET until = 0 WHERE parked{some} RETURNING scope", given)
    return sorted(row["scope"] for row in rows if not _is_of_addresses(row["scope"]))


def lift_blocks(state: State, scopes: list[str], *, keep_parked: bool = False) -> list[str]:
    """Lift the blocks of scopes, within a transaction; return those that were parked."""
    rows = [row for row in _rows(state, scopes) if not (keep_parked and row["parked"])]
    names = json.dumps([row["scope"] for row in rows])
    state.execute(f"DELETE FROM blocks WHERE scope IN {json_values()}", [names])
    return [row["scope"] for row in rows if row["parked"] and not _is_of_addresses(row["scope"])]


def lift_blocks_before(state: State, scopes: list[str], moment: datetime) -> list[str]:
    """Lift the blocks of scopes that were not set after a moment, within a transaction.

    A call that began at that moment and succeeded proves them wrong. Return the lifted scopes.
    """
    rows = state.rows(
        f"DELETE FROM blocks WHERE scope IN {json_values()} AND set_at <= ? RETURNING scope",
        [json.dumps(scopes), to_ms(moment)],
    )
    return [row["scope"] for row in rows]


def get_blocks(state: State) -> list[Block]:
    """Return every block, the oldest first, with those that are over and were not lifted."""
    return [_block(row) for row in state.rows("SELECT * FROM blocks ORDER BY since, scope")]


def get_parked(state: State) -> list[Block]:
    """Return the blocks of parked destinations and services.

    A mail destination that only some addresses refuse is not among them.
    """
    return [
        block for block in get_blocks(state) if block.parked and not _is_of_addresses(block.scope)
    ]


def _is_of_addresses(scope: str) -> bool:
    return split_scope(scope)[0] == Scope.ADDRESSES


def _rows(state: State, scopes: list[str]) -> list[dict[str, Any]]:
    return state.rows(
        f"SELECT * FROM blocks WHERE scope IN {json_values()} ORDER BY scope",
        [json.dumps(scopes)],
    )


def _is_in_force(row: dict[str, Any], now: datetime) -> bool:
    """Whether a block is not over yet; it ends early if the clock was set back since."""
    return bool(row["set_at"] <= to_ms(now) < (row["until"] or 0))


def _block(row: dict[str, Any]) -> Block:
    return Block(
        scope=row["scope"],
        since=from_ms(row["since"]),
        until=from_ms(row["until"] or 0),
        parked=bool(row["parked"]),
        reason=row["reason"],
    )


# If the clock was set back since, the earlier `until` means nothing.
_SET = """
INSERT INTO blocks (scope, since, set_at, until, parked, reason)
VALUES (:scope, :now, :now, :until, :parked, :reason)
ON CONFLICT (scope) DO UPDATE SET set_at = excluded.set_at,
  since = CASE WHEN blocks.since < excluded.since THEN blocks.since ELSE excluded.since END,
  parked = blocks.parked OR excluded.parked,
  reason = CASE WHEN blocks.parked AND NOT excluded.parked THEN blocks.reason
    ELSE excluded.reason END,
  until = CASE WHEN excluded.parked THEN excluded.until WHEN blocks.parked THEN blocks.until
    WHEN blocks.set_at > excluded.set_at OR blocks.until < excluded.until THEN excluded.until
    ELSE blocks.until END
"""
