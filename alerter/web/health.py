"""The health of the process: rounds of sites end, and the database takes writes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.scopes import split_scope
from alerter.store import State, troubles
from alerter.store.troubles import Trouble
from alerter.text import counted

_LATE_AFTER = 3  # polling periods
_MOST_NAMED = 5
# The least time between two test writes, in seconds: anybody may request /healthz.
_TEST_EVERY = 1.0
# Why the process does none of its work, beside what `finished` says.
ProcessFault = Callable[[], str | None]


def no_fault() -> str | None:
    """Return None."""
    return None


class Health:
    """Check the process on request.

    `finished` has the monotonic time at which the last round of each site ended, by site id; it is
    empty for a worker of a cluster, which `fault` is about.
    """

    def __init__(
        self,
        config: Config,
        state: State,
        clock: Clock,
        finished: Mapping[str, float],
        fault: ProcessFault = no_fault,
    ) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._finished = finished
        self._process_fault = fault
        self._what = "state file" if isinstance(state.database, Path) else "database"
        self._fault: str | None = None
        self._tried_at: float | None = None

    def report(self, *, details: bool) -> dict[str, Any]:
        """Return what is wrong with the process (`ok`, `reasons`), and all open troubles.

        Without `details` it names no site, receiver or path, and quotes no service.
        """
        checks = (
            self._process_fault(),
            self._check_rounds(details=details),
            self._check_writes(details=details),
        )
        reasons = [reason for reason in checks if reason]
        try:
            found = [
                _summary(trouble, details=details)
                for trouble in troubles.get_open_troubles(self._state)
            ]
        except StateError as error:
            found = []
            if not reasons:
                text = f"the {self._what} cannot be read"
                reasons.append(_phrase(text, str(error), details=details))
        return {"ok": not reasons, "reasons": reasons, "troubles": found}

    def _check_rounds(self, *, details: bool) -> str | None:
        limit = _LATE_AFTER * self._config.poll.every.total_seconds()
        now = self._clock.monotonic()
        late = [
            site.name
            for site in self._config.sites
            if now - self._finished.get(site.site_id, now) > limit
        ]
        if not late:
            return None
        named = ", ".join(late[:_MOST_NAMED]) + (", …" if len(late) > _MOST_NAMED else "")
        sites = f"{len(late)} of {counted(len(self._config.sites), 'site')}"
        reason = f"no round of {sites} has ended for {limit:.0f} s"
        return _phrase(reason, named, details=details)

    def _check_writes(self, *, details: bool) -> str | None:
        now = self._clock.monotonic()
        if self._tried_at is None or now - self._tried_at >= _TEST_EVERY:
            self._tried_at = now
            try:
                self._state.prove_writable()
                self._fault = None
            except StateError as error:
                self._fault = str(error)
        return (
            _phrase(f"the {self._what} takes no writes", self._fault, details=details)
            if self._fault
            else None
        )


def _phrase(reason: str, detail: str, *, details: bool) -> str:
    return f"{reason}: {detail}" if details else reason


def _summary(trouble: Trouble, *, details: bool) -> dict[str, Any]:
    since = trouble.since.isoformat()
    if not details:
        return {"scope": split_scope(trouble.scope)[0], "since": since}
    return {"scope": trouble.scope, "since": since, "reason": trouble.reason}
