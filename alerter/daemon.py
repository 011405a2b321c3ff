"""The service: starts rounds, and ends cleanly."""

import asyncio
import logging
import signal
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.store import Holder, Lock, State, outbox
from alerter.systemd import notify
from alerter.tell.dispatch import Why
from alerter.wiring import House, open_house

log = logging.getLogger(__name__)

# Less than the ten seconds in which `run` promises to end.
_GRACE = 8.0
_LOCK_WAIT = 1.0
_SPREAD = 0.05
# A run under cron comes again: what is held back now is due then.
_ONCE = (Why.NOTHING_DUE, Why.HELD_BACK, Why.PARKED, Why.NO_STATE)


@contextmanager
def stopped_by_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or Ctrl-C sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _wait_for_lock(lock: Lock, environ: Mapping[str, str], stop: asyncio.Event) -> bool:
    """Wait while a backfill tells; False where another `run` has the lock."""
    told = False
    while not stop.is_set():
        holder = lock.acquire(Holder.RUN)
        if holder is not Holder.BACKFILL:
            return holder is None
        if not told:
            told = True
            log.info("waits for a backfill that is telling; rounds begin when it is done")
            notify(environ, "READY=1", "STATUS=waiting for a backfill to end")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOCK_WAIT)
    return True


def take_over(state: State, config: Config) -> None:
    """Put in order what the last process left: what was on its way is in doubt, renamed receivers get nothing."""
    if doubtful := outbox.recover(state):
        log.warning("%d messages were on their way when the last process ended; they are settled first", doubtful)
    for name in outbox.cancel_for_others(state, [receiver.name for receiver in config.receivers]):
        log.warning('receiver "%s" is not in the config any more: what waited for it is cancelled', name)


async def serve(config: Config, clock: Clock, environ: Mapping[str, str], *, once: bool) -> bool:
    """Run the daemon, or with `once` one round of it; True where it ended as it should."""
    with stopped_by_signals() as stop, Lock(config.state) as lock:
        holder = lock.acquire(Holder.RUN)
        if holder is not None and once:
            log.warning("another alerter (%s) is at work on this state file; nothing to do", holder)
            return True
        if holder is not None and not await _wait_for_lock(lock, environ, stop):
            log.error("another `alerter run` is at work on %s; this one ends", config.state)
            return False
        if stop.is_set():
            return True
        with State.open(config.state, migrate=True) as state:
            take_over(state, config)
            async with open_house(config, state, clock) as house:
                if once:
                    return await _run_once(config, house)
                await _run_for_ever(config, clock, house, environ, stop)
                return True


async def _run_once(config: Config, house: House) -> bool:
    """One round of everything, then deliver what is due; True where all went well."""
    rounds = await asyncio.gather(*(house.poller.round(site) for site in config.sites))
    delivered = await house.dispatcher.run(_ONCE)
    return all(rounds) and delivered


async def _run_for_ever(
    config: Config, clock: Clock, house: House, environ: Mapping[str, str], stop: asyncio.Event
) -> None:
    """Make rounds and deliver until `stop` is set; then end what is in hand, or leave it safely in the outbox."""
    rounds = Rounds(config, clock, house)
    telling = asyncio.create_task(house.dispatcher.run())
    stopping = asyncio.create_task(stop.wait())
    rounds.start()
    log.info("running: %d sites, %d receivers", len(config.sites), len(config.receivers))
    notify(environ, "READY=1", f"STATUS=watching {len(config.sites)} sites")
    await asyncio.wait({telling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: the work in hand is ended first")
    notify(environ, "STOPPING=1")
    stopping.cancel()
    house.dispatcher.stop()
    await rounds.stop(telling)
    if not telling.cancelled():
        telling.result()


class Rounds:
    """Starts the rounds of every site, each at its own moment of the period."""

    def __init__(self, config: Config, clock: Clock, house: House) -> None:
        self._config = config
        self._clock = clock
        self._house = house
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._timekeeper: asyncio.Task[None]

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

    async def stop(self, telling: asyncio.Task[bool]) -> None:
        """Start no more rounds, and give what is under way a few seconds to end."""
        self._timekeeper.cancel()
        self._scheduler.pause()
        pending = self._under_way | {telling}
        _, late = await asyncio.wait(pending, timeout=_GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        # APScheduler's own wait is not one: it cancels, a turn of the loop later.
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)

    async def _round(self, site: Site) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        await self._house.poller.round(site)
        # Another process may have queued something, or a person unparked a receiver.
        self._house.dispatcher.wake_all()


def _share(site_id: str) -> float:
    """A number from 0 to 1 that is always the same for a site: its place in the period."""
    return zlib.crc32(site_id.encode()) / 0xFFFFFFFF
