"""The configs that came into force in a cluster, in order: the newest decides."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.scopes import EVERY_SCOPE
from alerter.store.state import State
from alerter.store.workers import newest_config_of_workers


@dataclass(frozen=True, slots=True)
class ConfigRecord:
    """A config that came into force: its number, its digest, and since when.

    `scope`: what it reads and looks for, as JSON; None before states were kept.
    """

    number: int
    digest: str
    added_at: datetime
    scope: str | None = None


def newest_config(state: State) -> ConfigRecord | None:
    """Return the newest config; None before the first."""
    row = state.row("SELECT * FROM configs ORDER BY id DESC LIMIT 1")
    return _record(row) if row else None


def all_configs(state: State) -> list[ConfigRecord]:
    """Return every config that came into force, the oldest first."""
    return [_record(row) for row in state.rows("SELECT * FROM configs ORDER BY id")]


def _record(row: Mapping[str, Any]) -> ConfigRecord:
    return ConfigRecord(row["id"], row["digest"], from_ms(row["added_at"]), row["scope"])


def register_config(state: State, digest: str, scope: str, now: datetime, *, is_asked: bool) -> int:
    """Return the number of a config, which is a new one where the config is the newest by it.

    A config that is known, but not the newest, keeps its number at a start while a worker with a
    newer one is alive: a worker that is restarted undoes no change. `is_asked`: a person asked for
    the config with a reload, and so it is the newest. `scope`: what it reads and looks for.
    """
    with state.transaction(EVERY_SCOPE):
        newest = newest_config(state)
        if newest and newest.digest == digest:
            return newest.number
        known = state.value("SELECT max(id) FROM configs WHERE digest = ?", [digest])
        if known and not is_asked and newest_config_of_workers(state, now) > known:
            return int(known)
        return int(
            state.value(
                "INSERT INTO configs (digest, scope, added_at) VALUES (?, ?, ?) RETURNING id",
                [digest, scope, to_ms(now)],
            )
        )
