"""Since when the oldest alert that waits for each destination is the same, for a whole cluster."""

import json
from collections.abc import Collection
from datetime import timedelta

from alerter.clock import Clock
from alerter.models import to_ms
from alerter.store.sql import json_values
from alerter.store.state import State


class StoredWaits:
    """Keeps it in the database: each minute another worker may judge.

    By the server's clock; one that was set back begins again.
    """

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def record(self, scope: str, alert: int) -> timedelta:
        """Record the oldest alert of a scope; return for how long it has been the same."""
        now = to_ms(self._clock.now())
        since = self._state.value(
            "INSERT INTO waits (scope, alert, since) VALUES (:scope, :alert, :now)"
            " ON CONFLICT (scope) DO UPDATE SET alert = excluded.alert, since = CASE"
            "  WHEN waits.alert = excluded.alert AND waits.since < excluded.since"
            "  THEN waits.since ELSE excluded.since END RETURNING since",
            {"scope": scope, "alert": alert, "now": now},
        )
        return timedelta(milliseconds=now - since)

    def end(self, scopes: Collection[str]) -> None:
        """Forget what waited: something has left, or nothing waits."""
        self._state.execute(
            f"DELETE FROM waits WHERE scope IN {json_values()}", [json.dumps(sorted(scopes))]
        )
