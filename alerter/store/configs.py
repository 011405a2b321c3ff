"""The configs that came into force in a cluster, in order: the newest decides."""

from datetime import datetime

from alerter.models import to_ms
from alerter.scopes import EVERY_SCOPE
from alerter.store.state import State
from alerter.store.workers import newest_config_of_workers


def newest_config(state: State) -> tuple[int, str]:
    """Return the number of the newest config, and its digest; 0 and none before the first."""
    newest = state.row("SELECT id, digest FROM configs ORDER BY id DESC LIMIT 1")
    return (newest["id"], newest["digest"]) if newest else (0, "")


def register_config(state: State, digest: str, now: datetime, *, is_asked: bool) -> int:
    """Return the number of a config, which is a new one where the config is the newest by it.

    A config that is known, but not the newest, keeps its number at a start while a worker with a
    newer one is alive: a worker that is restarted undoes no change. `is_asked`: a person asked for
    the config with a reload, and so it is the newest.
    """
    with state.transaction(EVERY_SCOPE):
        newest = state.row("SELECT id, digest FROM configs ORDER BY id DESC LIMIT 1")
        if newest and newest["digest"] == digest:
            return int(newest["id"])
        known = state.value("SELECT max(id) FROM configs WHERE digest = ?", [digest])
        if known and not is_asked and newest_config_of_workers(state, now) > known:
            return int(known)
        return int(
            state.value(
                "INSERT INTO configs (digest, added_at) VALUES (?, ?) RETURNING id",
                [digest, to_ms(now)],
            )
        )
