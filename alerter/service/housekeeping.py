"""What the daemon does beside its rounds: summaries, a look at what lasts, and erasing what is old."""

import logging
from collections.abc import Awaitable, Callable

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.notify.state_failure import StateFailure
from alerter.store import State
from alerter.store.prune import prune
from alerter.summary import Summaries
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)


class Housekeeping:
    """Does these jobs; one that fails is trouble, and keeps no other from being done."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        summaries: Summaries,
        troubles: Troubles,
        alarm: StateFailure,
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._summaries = summaries
        self._troubles = troubles
        self._alarm = alarm
        self._failing: set[str] = set()

    async def round(self) -> None:
        """To be called at least once a minute."""
        await self._do("summaries", self._summaries.round)
        await self._do("trouble", self._review)
        await self._do("scrubbing", self._scrub)

    async def prune(self) -> None:
        """Erase what nobody needs any more; what cannot be erased now is erased another day."""
        await self._do("pruning", self._prune)

    async def _do(self, job: str, work: Callable[[], Awaitable[None]]) -> None:
        scope = f"job:{job}"
        try:
            try:
                await work()
            except StateError:
                raise
            except Exception as error:
                if job not in self._failing:
                    log.exception("%s: a fault of alerter itself", job)
                    self._failing.add(job)
                reason = (
                    f"a fault of alerter itself ({type(error).__name__}); its log has the details"
                )
                self._troubles.begin(scope, reason)
            else:
                self._failing.discard(job)
                self._troubles.end([scope])
        except StateError as error:
            await self._alarm.notify(error)

    async def _review(self) -> None:
        self._troubles.review()
        if notified := self._alarm.over():
            self._troubles.recovered(
                "state", notified.reason, notified.since, notified.destinations
            )
            self._alarm.clear()

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
                log.info(
                    "the words of %d reviews that have been at rest for long are erased", pruned
                )
            if not self._state.scrub():
                log.warning(
                    "the write-ahead log still holds erased words: another process reads the state file"
                )
        except StateError as error:
            log.warning("the words of old reviews are not erased yet: %s", error)
