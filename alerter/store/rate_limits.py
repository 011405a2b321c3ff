"""When the next call with each rate key is allowed, for all processes of a cluster."""

from alerter.store.state import State


class StoredRateLimits:
    """Keeps calls with one rate key a second apart, by the clock of the server.

    While the database cannot be used, nothing is sent.
    """

    _PACE = 1000  # milliseconds: Slack takes one message a second in a channel

    def __init__(self, state: State) -> None:
        self._state = state

    def seconds_to_slot(self, rate_key: str | None) -> float:
        """Return the seconds until a call is allowed; 0 or less: now."""
        if rate_key is None:
            return 0.0
        left = self._state.value(
            f"SELECT next_at - {_NOW} FROM rate_limits WHERE rate_key = ?", [rate_key]
        )
        # A server whose clock was set back must not hold up a channel.
        return min(float(left or 0), self._PACE) / 1000

    def take_slot(self, rate_key: str | None) -> None:
        """Allow the next call a second from now."""
        if rate_key is not None:
            self._state.write_relaxed(
                f"INSERT INTO rate_limits (rate_key, next_at) VALUES (?, {_NOW} + {self._PACE})"
                " ON CONFLICT (rate_key) DO UPDATE SET next_at = excluded.next_at",
                [rate_key],
            )


_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
