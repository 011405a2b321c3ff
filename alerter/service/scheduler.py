"""Starts rounds, each site's at its own moment, and ends them."""

import asyncio
import logging
import zlib
from datetime import timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.service.runtime import Runtime

log = logging.getLogger(__name__)

# Less than the ten seconds in which `run` promises to end.
_GRACE = 8.0
_SPREAD = 0.05
_HOUSEKEEPING_EVERY = 60
# Longer than a round can take without getting a page further, while every call to Wix runs into its timeout.
_SLOWEST = 600.0


class Scheduler:
    """Starts the rounds of every site, each at its own moment of the period.

    `finished` says when a round of each site ended last, however badly, by the clock's monotonic time.
    """

    def __init__(self, config: Config, clock: Clock, runtime: Runtime) -> None:
        self._config = config
        self._clock = clock
        self._runtime = runtime
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._timekeeper: asyncio.Task[None]
        self.finished = {site.site_id: clock.monotonic() for site in config.sites}
        self.patience = max(3 * config.poll.every.total_seconds(), _SLOWEST)

    def start(self) -> None:
        """Begin; the first rounds are at once, spread out where there are many sites."""
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
                misfire_grace_time=None,  # a round that is late is made all the same
                coalesce=True,
                max_instances=1,
            )
        self._scheduler.add_job(
            self._housekeeping_round,
            "interval",
            seconds=min(every, _HOUSEKEEPING_EVERY),
            id="house",
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
        """Begin the rounds anew when the clock is set: the scheduler goes by it, and would wait for it to come back."""
        every = self._config.poll.every.total_seconds()
        ahead = self._ahead()
        while True:
            await asyncio.sleep(every)
            if abs(self._ahead() - ahead) > every / 2:
                ahead = self._ahead()
                log.warning("the clock was set; rounds begin anew")
                now = self._clock.now()
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=now + timedelta(seconds=every * _share(job.id)))

    def _ahead(self) -> float:
        """How far the wall clock is ahead of the one that nobody sets."""
        return self._clock.now().timestamp() - self._clock.monotonic()

    def idle_for(self) -> float:
        """Seconds since a round ended, or got a page further: a first read may take long."""
        return self._clock.monotonic() - max(*self.finished.values(), self._runtime.poller.page_at)

    async def stop(self, telling: asyncio.Task[bool]) -> None:
        """Start no more rounds, and give what is under way a few seconds to end."""
        self._timekeeper.cancel()
        self._scheduler.pause()
        await end_tasks(self._under_way | {telling})
        # APScheduler's own wait is not one: it cancels, a turn of the loop later.
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
        # Another process may have queued something, or a person unparked a receiver.
        self._runtime.dispatcher.wake_all()


async def end_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    """Give what is under way a few seconds to end; what takes longer stays safely in the outbox."""
    _, late = await asyncio.wait(tasks, timeout=_GRACE)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _share(site_id: str) -> float:
    """A number from 0 to 1 that is always the same for a site: its place in the period."""
    return zlib.crc32(site_id.encode()) / 0xFFFFFFFF
