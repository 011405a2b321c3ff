"""When the next call with each rate key is allowed, for all processes of a cluster."""

from alerter.store.state import State

_PACE = 1000  # milliseconds: Slack takes one message a second in a channel


class StoredRateLimits:
    """Keeps calls with one rate key a second apart, by the clock of the server.

    While the database cannot be used, nothing is sent.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def claim_slot(self, rate_key: str | None) -> float:
        """Take the slot if a call is allowed now; else return the seconds until one is."""
        if rate_key is None or self._state.write_relaxed(f"{_TAKE} WHERE {_FREE}", [rate_key]):
            return 0.0
        left = self._state.value(
            f"SELECT next_at - {_NOW} FROM rate_limits WHERE rate_key = ?", [rate_key]
        )
        return min(max(float(left or 0), 1), _PACE) / 1000

    def take_slot(self, rate_key: str | None) -> None:
        """Allow the next call a second from now."""
        if rate_key is not None:
            self._state.write_relaxed(_TAKE, [rate_key])


_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
_TAKE = (
    f"INSERT INTO rate_limits (rate_key, next_at) VALUES (?, {_NOW} + {_PACE})"
    " ON CONFLICT (rate_key) DO UPDATE SET next_at = excluded.next_at"
)
# Of what another process has taken meanwhile, too. A server whose clock was set back must not hold
# up a channel.
_FREE = f"rate_limits.next_at <= {_NOW} OR rate_limits.next_at > {_NOW} + {_PACE}"
