"""The dispatcher: one worker for each destination."""

import asyncio
from collections.abc import Iterable, Sequence

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.notify.destination import Destination
from alerter.notify.group_commit import GroupCommit
from alerter.notify.sender import MemoryRateLimits, RateLimits
from alerter.notify.state_failure import FailureRecord, StateFailure
from alerter.notify.worker import IdleReason, Worker
from alerter.store import State, Wake
from alerter.trouble.tracker import Troubles, Waits


class Dispatcher:
    """Runs a worker for each destination."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        destinations: Sequence[Destination],
        failures: FailureRecord | None = None,
        *,
        limits: RateLimits | None = None,
        wake: Wake | None = None,
        waits: Waits | None = None,
    ) -> None:
        """Take `limits`, `wake` and `waits` where other processes send too."""
        limits = limits or MemoryRateLimits(clock)
        self._state = state
        self._stopping = False
        self._wake = wake or self._wake_workers
        self.troubles = Troubles(state, config, clock, self.wake, waits)
        self.state_failure = StateFailure(config, clock, destinations, state, failures)
        commits = GroupCommit(state)
        self._workers = {
            destination.name: Worker(
                state,
                commits,
                clock,
                destination,
                self.troubles,
                self.state_failure,
                limits,
                burst=config.alerts.burst,
            )
            for destination in destinations
        }

    def wake(self, destinations: Iterable[str]) -> None:
        """Have the workers of these destinations read the outbox; unknown names are ignored."""
        self._wake(destinations)

    def _wake_workers(self, destinations: Iterable[str]) -> None:
        for destination in destinations:
            if worker := self._workers.get(destination):
                worker.awake.set()

    def wake_all(self) -> None:
        """Wake every worker if another process has changed the database."""
        try:
            changed = self._state.changed_elsewhere()
        except StateError:
            changed = True  # the workers report the error
        if changed:
            self.wake(self._workers)

    async def run(self, ends_at: Sequence[IdleReason] = ()) -> bool:
        """Send until every worker is idle for one of these reasons; without any, until stopped.

        Return whether nothing that is due was left.
        """
        while True:
            async with asyncio.TaskGroup() as workers:
                runs = [workers.create_task(each.run(ends_at)) for each in self._workers.values()]
            # A worker that has ended may have been woken since, to send trouble of another.
            if not any(
                each.awake.is_set() and not each.stopping for each in self._workers.values()
            ):
                return all(run.result() is IdleReason.NOTHING_DUE for run in runs)

    async def deliver(
        self, destination: str, ends_at: Sequence[IdleReason], turn: float
    ) -> IdleReason | None:
        """Send to one destination until its worker is idle for one of these reasons.

        Return None after so many seconds (`turn`), with what is left. What a process that is gone
        was sending is in doubt.
        """
        worker = self._workers[destination]
        worker.recover()
        timer = asyncio.get_running_loop().call_later(turn, worker.stop)
        try:
            return await worker.run(ends_at)
        finally:
            timer.cancel()
            worker.stopping = self._stopping

    def stop(self) -> None:
        """Have each worker stop after its current message."""
        self._stopping = True
        for worker in self._workers.values():
            worker.stop()
