"""Start the rounds of each site at its own moment, and end them."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from alerter.config import Site
from alerter.service.rounds import first_rounds_within, share_of
from alerter.service.runtime import Runtime

log = logging.getLogger(__name__)

# Seconds; `run` promises to end within ten.
_GRACE = 8.0
# Parts of the period; the rounds of the sites in one part begin together.
_SLOTS = 1000
_HOUSEKEEPING_EVERY = 60
_ACCOUNTS_EVERY = 60  # a list that is due, or that failed
_ACTIONS_EVERY = 5  # those that another process recorded
_CHECK_CLOCK_EVERY = 60.0
_SLEWED = timedelta(seconds=1)  # a clock that is set right in small steps reschedules nothing
# Jobs beside the rounds run at multiples of so many seconds, as what else is done again and again.
_TOGETHER = 5.0
# Seconds; a round in which every call to Wix times out reads its next page sooner than this.
_SLOWEST = 600.0


class _Interval(IntervalTrigger):  # type: ignore[misc]  # of the library, which has no types
    """An interval whose next moment is never in the past.

    APScheduler lists every moment up to now before it runs a job: millions where the clock was set
    ahead by years.
    """

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> Any:
        """Return the first moment after both, in step with the previous one."""
        if previous_fire_time and previous_fire_time < now:
            previous_fire_time += (now - previous_fire_time) // self.interval * self.interval
        return super().get_next_fire_time(previous_fire_time, now)


class Scheduler:
    """Starts the rounds of every site, each at its own moment of the period.

    `finished` is when the last round of each site ended, well or not (monotonic).
    """

    def __init__(self, runtime: Runtime) -> None:
        self._config = config = runtime.config
        self._clock = clock = runtime.clock
        self._runtime = runtime
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._in_round: set[str] = set()
        self._timekeeper: asyncio.Task[None]
        self.finished = {site.site_id: clock.monotonic() for site in config.sites}
        self.patience = max(3 * config.poll.every.total_seconds(), _SLOWEST)

    def start(self) -> None:
        """Start; the first rounds begin at once, spread over a few seconds for many sites."""
        every = self._config.poll.every.total_seconds()
        spread = first_rounds_within(self._config).total_seconds()
        now = self._clock.now()
        for number, sites in self._slots().items():
            begin = now + timedelta(seconds=spread * number / _SLOTS)
            self._add(partial(self._begin_rounds, sites), f"rounds {number}", begin, seconds=every)
        last = now - timedelta(seconds=_TOGETHER - self._clock.until_next(_TOGETHER))
        if self._config.accounts:
            self._add(self._accounts_round, "accounts", last, seconds=_ACCOUNTS_EVERY)
        often = min(every, _HOUSEKEEPING_EVERY)
        self._add(
            self._housekeeping_round, "housekeeping", last + timedelta(seconds=often), seconds=often
        )
        self._add(self._runtime.housekeeping.prune, "prune", now, days=1)
        self._add(self._runtime.actions.round, "actions", last, seconds=_ACTIONS_EVERY)
        self._scheduler.start()
        self._timekeeper = asyncio.create_task(self._keep_time())

    def _add(
        self, work: Callable[[], Awaitable[None]], name: str, begin: datetime, **every: float
    ) -> None:
        """Have a job run again and again; a late run is made too, but never two at once."""
        self._scheduler.add_job(
            work,
            _Interval(**every, timezone="UTC"),
            id=name,
            next_run_time=begin,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )

    def _slots(self) -> Mapping[int, list[Site]]:
        """Return the sites of each part of the period: a job for each site would take 4 kB."""
        slots: defaultdict[int, list[Site]] = defaultdict(list)
        for site in self._config.sites:
            slots[int(share_of(site.site_id) * _SLOTS)].append(site)
        return slots

    async def _keep_time(self) -> None:
        """Reschedule what would wait for longer than its interval: the wall clock was set back.

        APScheduler waits for moments of that clock, which may have been wrong when it chose them.
        It is also woken: it may have chosen how long to sleep by the same clock.
        """
        every = self._config.poll.every.total_seconds()
        while True:
            await asyncio.sleep(self._clock.until_next(min(every, _CHECK_CLOCK_EVERY)))
            self._scheduler.wakeup()
            now = self._clock.now()
            too_late = [
                job
                for job in self._scheduler.get_jobs()
                if job.next_run_time - now > job.trigger.interval + _SLEWED
            ]
            if too_late:
                log.info("the clock was set; rounds are rescheduled")
            for job in too_late:
                job.modify(next_run_time=now + job.trigger.interval * share_of(job.id))

    def fault(self) -> str | None:
        """Return None: `finished` says which rounds do not end."""
        return None

    def idle_for(self) -> float:
        """Return the seconds since a round ended or read a page: a first read may take long."""
        if not self.finished:
            return 0.0  # the sites of an account are not listed yet
        return self._clock.monotonic() - max(*self.finished.values(), self._runtime.poller.page_at)

    async def deliver(self) -> bool:
        """Send until stopped."""
        return await self._runtime.dispatcher.run()

    async def stop(self, dispatching: asyncio.Task[bool]) -> None:
        """Start no more rounds, and give the current work a few seconds to end."""
        self._timekeeper.cancel()
        self._scheduler.pause()
        await end_tasks({*self._under_way, *self._runtime.actions.under_way, dispatching})
        # Its own `wait` does not wait: it cancels jobs in the next turn of the loop.
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)

    async def _housekeeping_round(self) -> None:
        self._note_under_way()
        await self._runtime.housekeeping.round()

    async def _accounts_round(self) -> None:
        self._note_under_way()
        await self._runtime.accounts.round(at_start=True)

    def _note_under_way(self) -> None:
        if task := asyncio.current_task():
            self._note(task)

    def _note(self, task: asyncio.Task[Any]) -> None:
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _begin_rounds(self, sites: Sequence[Site]) -> None:
        """Begin a round of each of these sites whose last one has ended."""
        for site in sites:
            if site.site_id not in self._in_round:
                self._in_round.add(site.site_id)
                self._note(asyncio.create_task(self._round(site)))

    async def _round(self, site: Site) -> None:
        try:
            if await self._runtime.poller.round(site):
                self._runtime.heartbeat.beat()
        finally:
            self._in_round.discard(site.site_id)
            self.finished[site.site_id] = self._clock.monotonic()
        # Another process may have queued deliveries or unparked a receiver.
        self._runtime.dispatcher.wake_all()


async def end_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    """Give tasks a few seconds to end, then cancel them; their work stays in the outbox."""
    _, late = await asyncio.wait(tasks, timeout=_GRACE)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
