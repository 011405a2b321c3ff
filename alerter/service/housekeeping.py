"""Jobs of the daemon beside its rounds: summaries, lasting trouble, and pruning."""

import logging
from collections.abc import Awaitable, Callable

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError, phrase_defect
from alerter.notify.state_failure import StateFailure
from alerter.scopes import Scope
from alerter.store import State
from alerter.store.erasure import rebuild
from alerter.store.prune import prune
from alerter.summary import Summaries
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)


class Housekeeping:
    """Runs these jobs. One that fails is trouble, and keeps no other from running."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        summaries: Summaries,
        troubles: Troubles,
        state_failure: StateFailure,
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._summaries = summaries
        self._troubles = troubles
        self._state_failure = state_failure
        self._failing: set[str] = set()

    async def round(self) -> None:
        """Run the jobs of each minute."""
        await self._do("summaries", self._summaries.round)
        await self._do("trouble", self._review)
        await self._do("scrubbing", self._scrub)

    async def prune(self) -> None:
        """Prune what is older than `keep`; what cannot be erased now is erased another day."""
        await self._do("pruning", self._prune)

    async def _do(self, job: str, work: Callable[[], Awaitable[None]]) -> None:
        scope = Scope.JOB.of(job)
        try:
            try:
                await work()
            except StateError:
                raise
            except Exception as error:
                if job not in self._failing:
                    log.exception("%s: a defect of alerter", job)
                    self._failing.add(job)
                reason = phrase_defect(error)
                self._troubles.begin(scope, reason)
            else:
                self._failing.discard(job)
                self._troubles.end([scope])
        except StateError as error:
            await self._state_failure.notify(error)

    async def _review(self) -> None:
        self._troubles.refresh()
        if notified := self._state_failure.get_recovered():
            self._troubles.notify_recovered(
                notified.scope, notified.reason, notified.since, notified.destinations
            )
            self._state_failure.clear()

    async def _scrub(self) -> None:
        self._state.scrub()

    async def _prune(self) -> None:
        config = self._config
        keep, window, names = (
            config.state_file.keep,
            config.poll.rescan_window,
            config.destinations(),
        )
        try:
            if pruned := await prune(
                self._state, self._clock.now(), keep, window=window, destinations=names
            ):
                log.info("reviews pruned: reviews=%d", pruned)
            if not (await rebuild(self._state) and self._state.scrub()):
                log.info("another process keeps erased text in the database")
        except StateError as error:
            log.warning("old reviews are not pruned yet: %s", error)
