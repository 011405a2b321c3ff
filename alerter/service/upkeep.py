"""What each worker of a cluster does beside its jobs: defers the regular ones, deletes lost ones.

No job does this: where that one was lost, nothing would come back.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from alerter.clock import Clock
from alerter.errors import StateError
from alerter.store import State, actions, queue
from alerter.store.workers import ALIVE_FOR, delete_dead_workers, get_workers
from alerter.text import counted

log = logging.getLogger(__name__)

# The queues of jobs for workers with one config; each ends with its number.
REGULAR_PREFIX = f"{queue.REGULAR}:"
_LOOK_EVERY = 1.0  # seconds
_SWEEP_EVERY = 3.0
# Without the database for so long, workers are not seen as alive; they report themselves every 5 s.
_OUTAGE, _REPORT_WITHIN = 10.0, 10.0


class Upkeep:
    """Defers the regular jobs of a queue, each once in its period, by the server's clock.

    `periods`: in seconds, by the name of the job. `running`: the ids of the jobs that this process
    carries out now. `took_over` is called after jobs of workers that are gone were deleted.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        queue_name: str,
        periods: Mapping[str, int],
        running: Collection[int],
        took_over: Callable[[], None],
    ) -> None:
        self._state = state
        self._clock = clock
        self._queue = queue_name
        self._periods = periods
        self._running = running
        self._took_over = took_over
        self._deferred: dict[str, int] = {}
        self._own: set[int] = set()
        self._missing: set[int] = set()
        self._logged = ""
        # When the database was last reached, and when the next sweep is due (monotonic).
        self._reached_at: float | None = None
        self._sweep_at = 0.0

    async def run(self, worker: int) -> None:
        """Work until cancelled; what fails is tried again.

        `worker`: the number that this process has in the queue now.
        """
        self._own.add(worker)
        while True:
            try:
                self._defer()
                if self._may_judge():
                    self.sweep()
                    self._sweep_at = self._clock.monotonic() + _SWEEP_EVERY
            except StateError as error:
                if str(error) != self._logged:
                    log.warning("the queue waits: %s", error)
                self._logged = str(error)
            await asyncio.sleep(_LOOK_EVERY)

    def _defer(self) -> None:
        now = int(self._clock.now().timestamp())
        for name, period in self._periods.items():
            moment = now - now % period
            if self._deferred.get(name) != moment:
                queue.defer_periodic(self._state, self._queue, name, moment)
                self._deferred[name] = moment

    def sweep(self) -> None:
        """Delete the jobs of workers that are gone; one that cannot be deleted holds up no other.

        https://github.com/procrastinate-org/procrastinate/issues/1543
        """
        gone = self._delete(queue.stalled_jobs(self._state, ALIVE_FOR))
        gone += self._delete(self._lost())
        for worker in delete_dead_workers(self._state, self._clock.now()):
            log.warning("worker %s is gone; its work is taken over", worker.place)
            actions.end_leases(self._state, worker.name)
        living = get_workers(self._state, self._clock.now())
        queues = {self._queue, *(f"{REGULAR_PREFIX}{worker.config}" for worker in living)}
        queue.delete_queues(self._state, queues, REGULAR_PREFIX)
        if gone:
            log.info("taken over: %s of workers that are gone", counted(gone, "job"))
            self._took_over()

    def _may_judge(self) -> bool:
        """Whether a sweep is due; the database was just reached.

        After an outage, or a freeze of this process, living workers look as if they were gone until
        they have reported themselves again.
        """
        now, before = self._clock.monotonic(), self._reached_at
        self._reached_at = now
        if before is None or now - before > _OUTAGE:
            self._sweep_at = now + _REPORT_WITHIN
        return now >= self._sweep_at

    def _lost(self) -> set[int]:
        """Return the jobs that are this process's in the queue, and that it does not carry out.

        The answer to its question for a job was lost, or its end could not be recorded. Only those
        that were so at the last look too.
        """
        missing = queue.jobs_of(self._state, self._own) - set(self._running)
        lost, self._missing = missing & self._missing, missing
        return lost

    def _delete(self, jobs: Collection[int]) -> int:
        deleted = 0
        for job in sorted(jobs):
            try:
                deleted += queue.delete_job(self._state, job)
            except StateError as error:
                log.warning("a job of a worker that is gone stays for now: %s", error)
        return deleted
