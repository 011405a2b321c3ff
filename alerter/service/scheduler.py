"""Start the rounds of each site at its own moment, and end them."""

import asyncio
import logging
import zlib
from datetime import timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from alerter.config import Site
from alerter.service.runtime import Runtime

log = logging.getLogger(__name__)

# Seconds; `run` promises to end within ten.
_GRACE = 8.0
_SPREAD = 0.05
_HOUSEKEEPING_EVERY = 60
_CHECK_CLOCK_EVERY = 60.0
# Seconds; a round in which every call to Wix times out reads its next page sooner than this.
_SLOWEST = 600.0


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
        self._timekeeper: asyncio.Task[None]
        self.finished = {site.site_id: clock.monotonic() for site in config.sites}
        self.patience = max(3 * config.poll.every.total_seconds(), _SLOWEST)

    def start(self) -> None:
        """Start; the first rounds begin at once, spread over a few seconds for many sites."""
        every = self._config.poll.every.total_seconds()
        spread = min(every, _SPREAD * (len(self._config.sites) - 1))
        now = self._clock.now()
        for site in self._config.sites:
            self._scheduler.add_job(
                self._round,
                "interval",
                seconds=every,
                args=[site],
                id=site.site_id,
                next_run_time=now + timedelta(seconds=spread * _share(site.site_id)),
                misfire_grace_time=None,  # a late round is run too
                coalesce=True,
                max_instances=1,
            )
        self._scheduler.add_job(
            self._housekeeping_round,
            "interval",
            seconds=min(every, _HOUSEKEEPING_EVERY),
            id="housekeeping",
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        self._scheduler.add_job(
            self._runtime.housekeeping.prune,
            "interval",
            days=1,
            id="prune",
            next_run_time=now,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        self._scheduler.start()
        self._timekeeper = asyncio.create_task(self._keep_time())

    async def _keep_time(self) -> None:
        """Reschedule when the wall clock is set: APScheduler would wait for the old time.

        It is also woken: a clock that was wrong for a moment may have made it wait for a day.
        """
        every = self._config.poll.every.total_seconds()
        ahead = self._ahead()
        while True:
            await asyncio.sleep(min(every, _CHECK_CLOCK_EVERY))
            self._scheduler.wakeup()
            if abs(self._ahead() - ahead) > every / 2:
                ahead = self._ahead()
                log.info("the clock was set; rounds are rescheduled")
                now = self._clock.now()
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=now + timedelta(seconds=every * _share(job.id)))

    def _ahead(self) -> float:
        """Return how far the wall clock is ahead of the monotonic one."""
        return self._clock.now().timestamp() - self._clock.monotonic()

    def idle_for(self) -> float:
        """Return the seconds since a round ended or read a page: a first read may take long."""
        return self._clock.monotonic() - max(*self.finished.values(), self._runtime.poller.page_at)

    async def stop(self, dispatching: asyncio.Task[bool]) -> None:
        """Start no more rounds, and give the current work a few seconds to end."""
        self._timekeeper.cancel()
        self._scheduler.pause()
        await end_tasks(self._under_way | {dispatching})
        # Its own `wait` does not wait: it cancels jobs in the next turn of the loop.
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)

    async def _housekeeping_round(self) -> None:
        self._note_under_way()
        await self._runtime.housekeeping.round()

    def _note_under_way(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _round(self, site: Site) -> None:
        self._note_under_way()
        try:
            if await self._runtime.poller.round(site):
                self._runtime.heartbeat.beat()
        finally:
            self.finished[site.site_id] = self._clock.monotonic()
        # Another process may have queued deliveries or unparked a receiver.
        self._runtime.dispatcher.wake_all()


async def end_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    """Give tasks a few seconds to end, then cancel them; their work stays in the outbox."""
    _, late = await asyncio.wait(tasks, timeout=_GRACE)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _share(site_id: str) -> float:
    """Return a fixed number from 0 to 1 for a site: its place in the period."""
    return zlib.crc32(site_id.encode()) / 0xFFFFFFFF
