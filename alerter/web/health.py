"""Whether alerter does its work: rounds end, and the state file takes writes."""

from collections.abc import Mapping
from typing import Any

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.store import State, troubles
from alerter.store.troubles import Trouble

_PERIODS = 3
_MOST_NAMED = 5
# Anybody may ask; the state file is tried no more often than this.
_HOLDS_FOR = 1.0


class Health:
    """Looks when it is asked. `finished` says when a round of each site ended last, by the clock's monotonic time."""

    def __init__(
        self, config: Config, state: State, clock: Clock, finished: Mapping[str, float]
    ) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._finished = finished
        self._fault: str | None = None
        self._tried_at: float | None = None

    def report(self, *, details: bool) -> dict[str, Any]:
        """What is wrong, and all open trouble; `ok` is False where something is wrong with alerter itself.

        Without `details` it names no site, receiver or path, and quotes nothing that a service said.
        """
        reasons = [
            reason
            for reason in (self._rounds(details=details), self._writes(details=details))
            if reason
        ]
        try:
            found = [_shown(trouble, details=details) for trouble in troubles.current(self._state)]
        except StateError as error:
            reasons, found = (
                reasons or [_phrase("the state file cannot be read", str(error), details=details)],
                [],
            )
        return {"ok": not reasons, "reasons": reasons, "troubles": found}

    def _rounds(self, *, details: bool) -> str | None:
        patience = _PERIODS * self._config.poll.every.total_seconds()
        now = self._clock.monotonic()
        late = [
            site.name
            for site in self._config.sites
            if now - self._finished.get(site.site_id, now) > patience
        ]
        if not late:
            return None
        named = ", ".join(late[:_MOST_NAMED]) + (", …" if len(late) > _MOST_NAMED else "")
        reason = f"no round of {len(late)} of {len(self._config.sites)} sites has ended for {patience:.0f} s"
        return _phrase(reason, named, details=details)

    def _writes(self, *, details: bool) -> str | None:
        now = self._clock.monotonic()
        if self._tried_at is None or now - self._tried_at >= _HOLDS_FOR:
            self._tried_at = now
            try:
                self._state.prove_writable()
                self._fault = None
            except StateError as error:
                self._fault = str(error)
        return (
            _phrase("the state file takes no writes", self._fault, details=details)
            if self._fault
            else None
        )


def _phrase(reason: str, detail: str, *, details: bool) -> str:
    return f"{reason}: {detail}" if details else reason


def _shown(trouble: Trouble, *, details: bool) -> dict[str, Any]:
    since = trouble.since.isoformat()
    if not details:
        return {"scope": trouble.scope.partition(":")[0], "since": since}
    return {"scope": trouble.scope, "since": since, "reason": trouble.reason}
