"""Work shared with other processes: jobs in PostgreSQL say who does what now.

A job means *now*: due times are columns, and `tick` defers what is due. So no work depends on its
job, and the jobs of a worker that is gone are deleted.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.worker import Worker

from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy, StateError
from alerter.notify.worker import IdleReason
from alerter.service.embedded import end_tasks
from alerter.service.membership import Membership
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime
from alerter.service.shards import Shards
from alerter.service.upkeep import REGULAR_PREFIX, Upkeep
from alerter.store import outbox, queue, rounds
from alerter.store.due import due_destinations
from alerter.store.lease import Lease, under
from alerter.store.postgres_connection import UNREACHABLE, queue_options
from alerter.store.workers import get_workers

log = logging.getLogger(__name__)

# The worker of the queue reports itself so often, and is taken for dead after `ALIVE_FOR`: with the
# time between two sweeps, its work is taken over within 30 seconds.
_HEARTBEAT = 5.0
_CONCURRENCY = 200
_CONNECTIONS = 4
_AGAIN = 1.0  # seconds until the queue is tried again
# A worker of the queue whose row is deleted loses its jobs: not after an outage of the database.
_FORGOTTEN = 86400.0
# Where the database is away, jobs that wait to write an answer get so long.
_DRAIN = 60
# A job ends after so many seconds, for other destinations with its rate key.
_TURN = 30.0
_LOOK_EVERY = 1.0
# The queue works once it was worked for so long without an error.
_STEADY = 10.0
# At these a job ends: another is deferred once there is something to do.
_ENDS = (
    IdleReason.NOTHING_DUE,
    IdleReason.BACKING_OFF,
    IdleReason.PARKED,
    IdleReason.NO_STATE,
    IdleReason.IN_DOUBT,
)

Work = Callable[[], Awaitable[None]]


class _JobManager(JobManager):
    """Ends jobs, if the database has them: another worker may have deleted one that stalled."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """End a job."""
        try:
            await super().finish_job(job, status, delete_job)
        except ProcrastinateException:
            log.debug("the end of a job is not recorded: %s", job.task_name)


class _QueueWorker(Worker):
    """A worker of procrastinate that runs `upkeep` instead of its periodic tasks.

    Those follow the wall clock of this machine: set back, it would stop them. Without any, it would
    not notice a failure of its own heartbeat.
    """

    def __init__(self, app: App, upkeep: Upkeep, **options: object) -> None:
        super().__init__(app, **options)  # type: ignore[arg-type]  # of the library, unpacked
        self._upkeep = upkeep

    async def _periodic_deferrer(self) -> None:
        if self.worker_id is not None:
            await self._upkeep.run(self.worker_id)


class Cluster:
    """Does its share of the work of a cluster; of the same shape as `embedded.Scheduler`.

    `finished` is empty: other workers make rounds as well.
    """

    def __init__(self, runtime: Runtime, membership: Membership, url: PostgresUrl) -> None:
        self.finished: dict[str, float] = {}
        self.patience = 10 * _HEARTBEAT
        self._runtime = runtime
        self._membership = membership
        self._state = runtime.state
        self._clock = runtime.clock
        self._url = url
        self._services = runtime.config.services()
        self._stopping = asyncio.Event()
        self._jobs: dict[asyncio.Task[Any], int] = {}
        self._shards = Shards(runtime, membership, self._stopping)
        self._sending: dict[str, asyncio.Task[Any]] = {}
        # Since when the queue cannot be worked (monotonic).
        self._failing_since: float | None = None
        self._regular_queue = f"{REGULAR_PREFIX}{membership.config}"
        # Jobs of a fixed period, in seconds.
        self._regular: dict[str, tuple[int, Work]] = {
            "tick": (2, self._tick),
            "actions": (5, runtime.actions.round),
            "housekeeping": (60, self._if_newest(self._housekeeping)),
            "accounts": (60, self._if_newest(self._list_accounts)),
            "prune": (3600, self._if_newest(runtime.housekeeping.prune)),
        }
        self._upkeep = Upkeep(
            self._state,
            self._clock,
            self._regular_queue,
            {name: period for name, (period, _) in self._regular.items()},
            self._jobs.values(),
            self._defer_due,
        )

    def start(self) -> None:
        """Do nothing: the work begins with `deliver`."""

    def idle_for(self) -> float:
        """Return the seconds since this process last tried to report itself."""
        return self._clock.monotonic() - self._membership.beat_at

    def fault(self) -> str | None:
        """Return why this process does none of the work; None if it takes its share."""
        if (idle := self.idle_for()) > self.patience:
            return f"this worker has not reported itself for {idle:.0f} s"
        if self._failing_since is not None:
            failing = self._clock.monotonic() - self._failing_since
            if failing > self.patience:
                return f"this worker cannot use the job queue for {failing:.0f} s"
        return None

    async def deliver(self) -> bool:
        """Do jobs of the queue until stopped; begin again whenever the database is back."""
        while not self._stopping.is_set():
            app = self._app()
            steady = asyncio.get_running_loop().call_later(_STEADY, self._note_steady)
            try:
                await self._work(app)
            except (ProcrastinateException, *UNREACHABLE) as error:
                await self._note_failure(error)
            finally:
                steady.cancel()
            if not self._stopping.is_set():
                await asyncio.sleep(_AGAIN)
        return True

    async def _work(self, app: App) -> None:
        """Do jobs until the queue fails.

        Cancelled while it connects, it closes the pool too, whose tasks would never end.
        """
        try:
            await app.open_async()
            await _QueueWorker(
                app,
                self._upkeep,
                queues=[queue.DELIVER, queue.ROUNDS, self._regular_queue],
                concurrency=_CONCURRENCY,
                install_signal_handlers=False,
                fetch_job_polling_interval=_LOOK_EVERY,
                delete_jobs="always",
                update_heartbeat_interval=_HEARTBEAT,
                stalled_worker_timeout=_FORGOTTEN,
                shutdown_graceful_timeout=_DRAIN,
            ).run()  # type: ignore[no-untyped-call]  # the library has no types there
        finally:
            await app.close_async()

    def _note_steady(self) -> None:
        self._failing_since = None

    async def _note_failure(self, error: Exception) -> None:
        """Notify people directly once the queue has failed for long: no job can do so."""
        reason = str(error.__cause__ or error).partition("\n")[0]
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
            log.warning("the job queue cannot be used; tried again: %s", reason)
        fault = StateBusy(f"{self._url}: the job queue cannot be used: {reason}")
        await self._runtime.dispatcher.state_failure.notify(fault)

    async def stop(self, delivering: asyncio.Task[bool]) -> None:
        """Take no more jobs, and give those in hand a few seconds to end."""
        self._stopping.set()
        delivering.cancel()  # it waits for its jobs
        # A job that is cancelled while it waits for its rounds does not end them.
        if tasks := {*self._jobs, *self._shards.under_way, *self._runtime.actions.under_way}:
            await end_tasks(tasks)
        # A connection that is being made just then may swallow that it is cancelled.
        while not delivering.done():
            await asyncio.wait({delivering}, timeout=_AGAIN)
            delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)

    def _app(self) -> App:
        connector = PsycopgConnector(
            conninfo=self._url.url,
            kwargs=queue_options(self._url),
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_HEARTBEAT,
        )
        app = App(connector=connector)
        app.job_manager = _JobManager(connector)
        app.task(name=queue.DELIVER, queue=queue.DELIVER, pass_context=True)(self._deliver)
        app.task(name=queue.ROUNDS, queue=queue.ROUNDS, pass_context=True)(self._rounds)
        for name, (_, work) in self._regular.items():
            app.task(name=name, queue=self._regular_queue, pass_context=True)(
                self._task(name, work)
            )
        return app

    def _task(self, name: str, work: Work) -> Callable[[JobContext], Awaitable[None]]:
        async def run(context: JobContext) -> None:
            with self._job(context):
                try:
                    await work()
                except StateError as error:
                    log.debug("%s: not now: %s", name, error)

        return run

    def _if_newest(self, work: Work) -> Work:
        """Return work that is left to workers with the newest config."""

        async def run() -> None:
            if self._membership.see_newest():
                await work()

        return run

    @contextmanager
    def _job(self, context: JobContext) -> Iterator[asyncio.Task[Any]]:
        """Note a job and its task, to be waited for at the end."""
        task, job = asyncio.current_task(), context.job
        if task is None or job.id is None:
            raise RuntimeError("a job runs in a task, and has an id")
        self._jobs[task] = job.id
        try:
            yield task
        finally:
            del self._jobs[task]

    async def _housekeeping(self) -> None:
        await self._runtime.housekeeping.round()
        alive = [self._membership.name, *self._membership.others()]
        self._runtime.dispatcher.troubles.end_refused(alive)
        self._route_what_is_left()
        rounds.bring_rounds_forward(self._state, self._clock.now(), self._runtime.config.poll.every)

    def _route_what_is_left(self) -> None:
        """Route again what a worker with an older config left for destinations of that config."""
        config = self._runtime.config
        if outbox.has_unknown_destinations(self._state, config.destinations()) and all(
            worker.config >= self._membership.config
            for worker in get_workers(self._state, self._clock.now())
        ):
            reconcile(self._state, config, self._clock, is_read=False, alone=False)

    async def _list_accounts(self) -> None:
        await self._runtime.accounts.round()

    async def _tick(self) -> None:
        self._defer_due()

    def _defer_due(self) -> None:
        """Defer the shards and the destinations that have something due and no job."""
        now = self._clock.now()
        queue.defer_rounds(self._state, rounds.due_shards(self._state, now))
        due = due_destinations(self._state, self._services, now)
        if due:
            due -= queue.queued_destinations(self._state, due)
            self._runtime.dispatcher.wake(due)

    async def _deliver(self, context: JobContext, destination: str) -> None:
        """Send what is due for a destination, as long as no other worker takes over."""
        job = context.job
        if destination not in self._services or job.id is None or job.worker_id is None:
            return  # of a newer config: a worker with it is deferred a job of its own
        with self._job(context) as task, under(Lease(job.id, job.attempts, job.worker_id)):
            if queue.is_sent_to_by_another(self._state, destination, job.id):
                return
            if before := self._sending.get(destination):
                before.cancel()  # its lease was lost while this process was frozen
                await asyncio.gather(before, return_exceptions=True)
            self._sending[destination] = task
            try:
                left = await self._runtime.dispatcher.deliver(destination, _ENDS, _TURN)
            finally:
                if self._sending.get(destination) is task:
                    del self._sending[destination]
        if left is None and not self._stopping.is_set():
            self._runtime.dispatcher.wake([destination])

    async def _rounds(self, context: JobContext, shard: int) -> None:
        with self._job(context):
            await self._shards.make_rounds(shard)
