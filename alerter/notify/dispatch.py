"""Runs a worker for each destination."""

import asyncio
from collections.abc import Iterable, Sequence

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.notify.destination import Destination
from alerter.notify.idle import IdleReason
from alerter.notify.state_failure import FailureRecord, StateFailure
from alerter.notify.worker import Worker
from alerter.store import State
from alerter.trouble.tracker import Troubles


class Dispatcher:
    """Runs a worker for each destination."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        destinations: Sequence[Destination],
        *,
        pace: float = 1.0,
        failures: FailureRecord | None = None,
    ) -> None:
        turns: dict[str, float] = {}
        self._state = state
        self.troubles = Troubles(state, config, clock, self.wake)
        self.state_failure = StateFailure(config, clock, destinations, state, failures)
        self._workers = {
            destination.name: Worker(
                state,
                clock,
                destination,
                self.troubles,
                self.state_failure,
                burst=config.alerts.burst,
                pace=pace,
                turns=turns,
            )
            for destination in destinations
        }

    def wake(self, destinations: Iterable[str]) -> None:
        """Have the workers of these destinations look at the outbox."""
        for destination in destinations:
            if worker := self._workers.get(destination):
                worker.awake.set()

    def wake_all(self) -> None:
        """Wake every worker where another process has changed something."""
        try:
            changed = self._state.changed_elsewhere()
        except StateError:
            changed = True  # the workers say what is wrong with it
        if changed:
            self.wake(self._workers)

    async def run(self, ends_at: Sequence[IdleReason] = ()) -> bool:
        """Send until every worker has a pause for one of these reasons; for ever where there is none.

        Returns whether nothing that was due is left.
        """
        while True:
            async with asyncio.TaskGroup() as workers:
                rests = [workers.create_task(each.run(ends_at)) for each in self._workers.values()]
            # One that had ended may have been woken since, to send another's trouble.
            if not any(
                each.awake.is_set() and not each.stopping for each in self._workers.values()
            ):
                return all(rest.result() is IdleReason.NOTHING_DUE for rest in rests)

    def stop(self) -> None:
        """Let each worker end the message in hand, and no other."""
        for worker in self._workers.values():
            worker.stopping = True
            worker.awake.set()
