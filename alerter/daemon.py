"""The service: starts rounds, and ends cleanly."""

import asyncio
import logging
import os
import signal
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.errors import StateError
from alerter.reload import read_again
from alerter.store import Holder, Lock, State, outbox, roster
from alerter.systemd import notify, watchdog
from alerter.tell.dispatch import Why
from alerter.trouble import Troubles
from alerter.wiring import House, open_house

log = logging.getLogger(__name__)

# Less than the ten seconds in which `run` promises to end.
_GRACE = 8.0
_LOCK_WAIT = 1.0
_SPREAD = 0.05
_BEAT = 10.0
# A channel on Slack hears at most one message in this time, whoever sends it.
_PACE = 1.0
# Longer than a round can take without getting a page further, while every call to Wix runs into its timeout.
_SLOWEST = 600.0
# A run under cron comes again: what is held back now is due then.
_ONCE = (Why.NOTHING_DUE, Why.HELD_BACK, Why.PARKED, Why.NO_STATE)


@dataclass(frozen=True, slots=True)
class Orders:
    """What a running daemon is told from outside: to stop, or to go on with the config that `load` reads."""

    stop: asyncio.Event
    reload: asyncio.Event
    load: Callable[[], Config] | None


@contextmanager
def stopped_by_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or Ctrl-C sets."""
    with _set_by(signal.SIGTERM, signal.SIGINT) as stop:
        yield stop


@contextmanager
def _set_by(*numbers: signal.Signals) -> Iterator[asyncio.Event]:
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in numbers:
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
        if watchdog(environ, os.getpid()):
            notify(environ, "WATCHDOG=1")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOCK_WAIT)
    return True


def take_over(state: State, config: Config, clock: Clock) -> None:
    """Put in order what the last process or the last config left.

    What was on its way is in doubt. Of receivers and sites that the config does not have any more, what waits is
    cancelled (new reviews of a site still go out), and their trouble is over.
    """
    with state.transaction():
        doubtful = outbox.recover(state)
        receivers = outbox.cancel_for_others(state, [receiver.name for receiver in config.receivers])
        sites = roster.note(state, {site.site_id: site.name for site in config.sites})
        Troubles(state, config, clock, wake=lambda _: None).end_of_others()
    if doubtful:
        log.warning("%d messages were on their way when the last process ended; they are settled first", doubtful)
    for name in receivers:
        log.warning('receiver "%s" is not in the config any more: what waited for it is cancelled', name)
    for name, number in sites.items():
        log.warning(
            'site "%s" is not in the config any more: %d deliveries, none of them new, are cancelled', name, number
        )


async def serve(
    config: Config, clock: Clock, environ: Mapping[str, str], *, once: bool, load: Callable[[], Config] | None = None
) -> bool:
    """Run the daemon, or with `once` one round of it; True where it ended as it should.

    At SIGHUP the daemon goes on with the config that `load` reads.
    """
    with stopped_by_signals() as stop, _set_by(*[signal.SIGHUP] if load else []) as reload, Lock(config.state) as lock:
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
            take_over(state, config, clock)
            if once:
                return await _run_once(config, state, clock)
            orders = Orders(stop, reload, load)
            while changed := await _run_for_ever(config, state, clock, environ, orders):
                await clock.sleep(_PACE)
                config = _taken_over(state, config, changed, clock)
            return True


def _taken_over(state: State, config: Config, changed: Config, clock: Clock) -> Config:
    try:
        take_over(state, changed, clock)
    except StateError as error:
        log.error("the changed config is not taken over, the old one stays in force: %s", error)  # noqa: TRY400
        return config
    return changed


async def _run_once(config: Config, state: State, clock: Clock) -> bool:
    """One round of everything, then deliver what is due; True where all went well."""
    async with open_house(config, state, clock) as house:
        rounds = await asyncio.gather(*(house.poller.round(site) for site in config.sites))
        delivered = await house.dispatcher.run(_ONCE)
        return all(rounds) and delivered


async def _run_for_ever(
    config: Config, state: State, clock: Clock, environ: Mapping[str, str], orders: Orders
) -> Config | None:
    """Make rounds and deliver until there is a config to go on with, or to the end (None).

    What is in hand then is ended first, or left safely in the outbox.
    """
    async with open_house(config, state, clock) as house:
        rounds = Rounds(config, clock, house)
        telling = asyncio.create_task(house.dispatcher.run())
        rounds.start()
        log.info("running: %d sites, %d receivers", len(config.sites), len(config.receivers))
        notify(environ, "READY=1", _status(config, state))
        beating = asyncio.create_task(beat(config, state, environ, rounds))
        changed = await _obey(config, clock, environ, orders, house, telling)
        log.info("%s: the work in hand is ended first", "reloading" if changed else "stopping")
        house.dispatcher.stop()
        await rounds.stop(telling)
        beating.cancel()
        if not telling.cancelled():
            telling.result()
    return None if orders.stop.is_set() else changed


async def _obey(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    orders: Orders,
    house: House,
    telling: asyncio.Task[bool],
) -> Config | None:
    """Wait until told to go on with another config, which is returned, or to end."""
    stopping = asyncio.create_task(orders.stop.wait())
    while True:
        asked = asyncio.create_task(orders.reload.wait())
        await asyncio.wait({telling, stopping, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if telling.done() or stopping.done() or orders.load is None:
            stopping.cancel()
            notify(environ, "STOPPING=1")
            return None
        orders.reload.clear()
        notify(environ, "RELOADING=1", f"MONOTONIC_USEC={round(clock.monotonic() * 1_000_000)}")
        if changed := read_again(config, orders.load, house.dispatcher.troubles):
            stopping.cancel()
            return changed
        notify(environ, "READY=1")


async def beat(config: Config, state: State, environ: Mapping[str, str], rounds: "Rounds") -> None:
    """Tell systemd how things stand, and that we are alive for as long as rounds get anywhere, even if they fail."""
    if not environ.get("NOTIFY_SOCKET"):
        return
    limit = watchdog(environ, os.getpid())
    stuck = False
    while True:
        signs = [_status(config, state)]
        if limit and rounds.idle_for() <= rounds.patience:
            signs.append("WATCHDOG=1")
        elif limit and not stuck:
            stuck = True
            log.critical("rounds do not come to an end any more; systemd is left to restart alerter")
        notify(environ, *signs)
        await asyncio.sleep(min(limit / 2, _BEAT) if limit else _BEAT)


def _status(config: Config, state: State) -> str:
    try:
        waiting = f"{outbox.pending(state, [receiver.name for receiver in config.receivers])} deliveries waiting"
    except StateError:
        waiting = "the state file cannot be read"
    return f"STATUS=watching {len(config.sites)} sites, {waiting}"


class Rounds:
    """Starts the rounds of every site, each at its own moment of the period."""

    def __init__(self, config: Config, clock: Clock, house: House) -> None:
        self._config = config
        self._clock = clock
        self._house = house
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._timekeeper: asyncio.Task[None]
        # By the clock that nobody sets: when a round last ended, however badly.
        self.finished_at = clock.monotonic()
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
        return self._clock.monotonic() - max(self.finished_at, self._house.poller.page_at)

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
        try:
            await self._house.poller.round(site)
        finally:
            self.finished_at = self._clock.monotonic()
        # Another process may have queued something, or a person unparked a receiver.
        self._house.dispatcher.wake_all()


def _share(site_id: str) -> float:
    """A number from 0 to 1 that is always the same for a site: its place in the period."""
    return zlib.crc32(site_id.encode()) / 0xFFFFFFFF
