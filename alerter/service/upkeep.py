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
HOUSE = f"{queue.REGULAR}:"
_LOOK_EVERY = 1.0  # seconds
_SWEEP_EVERY = 5


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
        # Since when the database could be reached without an error (monotonic).
        self._reached_since: float | None = None

    async def run(self, worker: int) -> None:
        """Work until cancelled; what fails is tried again.

        `worker`: the number that this process has in the queue now.
        """
        self._own.add(worker)
        looks = 0
        while True:
            try:
                self._defer()
                if self._reached_since is None:
                    self._reached_since = self._clock.monotonic()
                if looks % _SWEEP_EVERY == 0 and self._may_judge():
                    self.sweep()
            except StateError as error:
                self._reached_since = None
                if str(error) != self._logged:
                    log.warning("the queue waits: %s", error)
                self._logged = str(error)
            looks += 1
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
            log.warning("worker %s is gone; its work is taken over", worker.name)
            actions.end_leases(self._state, worker.name)
        living = get_workers(self._state, self._clock.now())
        queues = {self._queue, *(f"{HOUSE}{worker.config}" for worker in living)}
        queue.delete_queues(self._state, queues, HOUSE)
        if gone:
            log.info("taken over: %s of workers that are gone", counted(gone, "job"))
            self._took_over()

    def _may_judge(self) -> bool:
        """Whether the database was there for long enough for every living worker to report itself.

        After an outage all of them look as if they were gone.
        """
        if self._reached_since is None:
            return False
        return self._clock.monotonic() - self._reached_since >= ALIVE_FOR.total_seconds()

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
