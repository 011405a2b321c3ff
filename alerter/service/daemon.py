"""The service: its lock, signals and reloads; it ends cleanly."""

import asyncio
import itertools
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateBusy, StateError
from alerter.models import phrase_destination
from alerter.notify.idle import IdleReason
from alerter.notify.state_failure import BUSY_FOR, FailureRecord, StateFailure
from alerter.service.reload import Reload, read_again
from alerter.service.reroute import reroute
from alerter.service.runtime import Runtime, open_destinations, open_runtime
from alerter.service.scheduler import Scheduler, end_tasks
from alerter.service.systemd import notify, watchdog
from alerter.store import Holder, Lock, State, blocks, known_sites, marker, messages, outbox
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

_LOCK_WAIT = 1.0
# A run under cron comes again; a backfill that hands over has done so by then.
_ONCE_TRIES = 20
# How often a running daemon looks whether its lock file is still there.
_LOCK_LOOK = 5.0
_BEAT = 10.0
# How soon a reload is tried again that the state file kept from being made.
_RELOAD_AGAIN = 2.0
# A channel on Slack hears at most one message in this time, whoever sends it.
_PACE = 1.0
# A run under cron comes again: what is held back now is due then.
_ONCE = (IdleReason.NOTHING_DUE, IdleReason.BACKING_OFF, IdleReason.PARKED, IdleReason.NO_STATE)


@dataclass(frozen=True, slots=True)
class Control:
    """What goes on over a reload: what a daemon is asked for, and what people were notified of directly."""

    stop: asyncio.Event
    reload: Reload
    failures: FailureRecord = field(default_factory=FailureRecord)


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


async def _take_lock(
    lock: Lock, environ: Mapping[str, str], stop: asyncio.Event, *, once: bool
) -> Holder | None:
    """Take the lock, from a backfill too: asked for it, that hands it over within seconds.

    Returns what kind of process keeps the lock; None where it is ours, or where we are to stop.
    """
    for tries in itertools.count():
        holder = lock.acquire(Holder.RUN)
        if holder is not Holder.BACKFILL or (once and tries == _ONCE_TRIES):
            return holder
        if not tries:
            log.info("a backfill is sending; rounds begin as soon as it has handed over")
            notify(environ, "READY=1", "STATUS=waiting for a backfill to hand over")
        lock.ask()
        if watchdog(environ, os.getpid()):
            notify(environ, "WATCHDOG=1")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOCK_WAIT)
        if stop.is_set():
            break
    return None


def reconcile(state: State, config: Config, clock: Clock) -> None:
    """Put in order what the last process or the last config left.

    What was on its way is in doubt. Everything that waits is routed again. Of sites that the config does not have any
    more, what waits is cancelled but for new reviews; their trouble and that of removed receivers is over. What is
    parked is tried once.
    """
    with state.transaction():
        doubtful = messages.recover(state)
        outbox.name_media(state, {each.name: each.media[0] for each in config.receivers})
        rerouted = reroute(state, config, clock.now())
        sites = known_sites.note(
            state, {site.site_id: site.name for site in config.sites}, clock.now()
        )
        troubles = Troubles(state, config, clock, wake=lambda _: None)
        troubles.end_of_others()
        for site in config.sites:
            if number := rerouted.unrouted[site.site_id]:
                troubles.begin(
                    f"unrouted:{site.site_id}",
                    f"{number} alerts were for receivers that may not get them now",
                )
        blocks.try_soon(state)
    if doubtful:
        log.warning(
            "%d messages were on their way when the last process ended; they are settled first",
            doubtful,
        )
    for old, new in rerouted.renamed.items():
        log.info(
            "%s is %s now, and gets what waited for it",
            phrase_destination(old),
            phrase_destination(new),
        )
    for destination, number in rerouted.cancelled.items():
        log.warning(
            "%s may not get them any more by this config: deliveries cancelled=%d",
            phrase_destination(destination),
            number,
        )
    for destination, number in rerouted.added.items():
        log.info(
            "%s: gets %d alerts that waited for others", phrase_destination(destination), number
        )
    for name, number in sites.items():
        log.warning(
            'site "%s" is not in the config any more: %d deliveries, none of them new, are cancelled',
            name,
            number,
        )


async def serve(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    *,
    once: bool,
    load: Callable[[], Config] | None = None,
) -> bool:
    """Run the daemon, or with `once` one round of it; True where it ended as it should.

    At SIGHUP the daemon goes on with the config that `load` reads. Raises StateError where the state file cannot be
    used; people have been told of that then.
    """
    try:
        return await _serve(config, clock, environ, once=once, load=load)
    except StateError as error:
        if not (once and isinstance(error, StateBusy)):  # cron comes again
            await _tell_of(error, config, clock, environ)
        raise


async def _serve(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    *,
    once: bool,
    load: Callable[[], Config] | None,
) -> bool:
    with (
        stopped_by_signals() as stop,
        _set_by(*[signal.SIGHUP] if load else []) as reload,
        Lock(config.state_path) as lock,
    ):
        holder = await _take_lock(lock, environ, stop, once=once)
        if holder is not None and once:
            log.warning("another alerter (%s) is at work on this state file; nothing to do", holder)
            return True
        if holder is not None:
            log.error("another `alerter run` is at work on %s; this one ends", config.state_path)
            return False
        if stop.is_set():
            return True
        state = await _opened(
            config, clock, environ, stop, patience=timedelta() if once else BUSY_FOR
        )
        if state is None:
            return True
        with state:
            marker.remove(config.state_path, environ)
            if once:
                return await _run_once(config, state, clock, stop)
            orders = Control(stop, Reload(reload, load))
            keeping = asyncio.create_task(keep_lock(lock, stop))
            try:
                while changed := await _run_for_ever(config, state, clock, environ, orders):
                    await clock.sleep(_PACE)
                    config = _reconciled(state, config, changed, clock, orders.reload)
            finally:
                is_ours = keeping.cancel()  # it has ended by itself where the lock was lost
            return is_ours


async def keep_lock(lock: Lock, stop: asyncio.Event) -> None:
    """Take the lock again where its file was deleted; stop where another process was faster, so that one sends."""
    while _is_held(lock):  # noqa: ASYNC110 - nothing says that a file was deleted
        await asyncio.sleep(_LOCK_LOOK)
    log.critical(
        "the lock file was deleted and another alerter has taken the lock since; this one ends"
    )
    stop.set()


def _is_held(lock: Lock) -> bool:
    try:
        return lock.hold(Holder.RUN)
    except StateError as error:
        log.error("the lock file is gone and cannot be made again yet: %s", error)  # noqa: TRY400
        return True


async def _opened(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    stop: asyncio.Event,
    *,
    patience: timedelta,
) -> State | None:
    """Open the state file and put it in order; while another process writes to it, wait, until stopped (None)."""
    begun = clock.monotonic()
    while not stop.is_set():
        try:
            with ExitStack() as stack:
                state = stack.enter_context(State.open(config.state_path, migrate=True))
                reconcile(state, config, clock)
                state.scrub()  # the last process may have died between erasing and this
                stack.pop_all()
                return state
        except StateBusy:
            if clock.monotonic() - begun >= patience.total_seconds():
                raise
        notify(
            environ,
            "READY=1",
            "STATUS=waiting for another process to end its work on the state file",
        )
        if watchdog(environ, os.getpid()):
            notify(environ, "WATCHDOG=1")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOCK_WAIT)
    return None


async def _tell_of(
    error: StateError, config: Config, clock: Clock, environ: Mapping[str, str]
) -> None:
    """Tell people that alerter does not start: once, though systemd starts it again every few seconds."""
    try:
        if not marker.place(config.state_path, environ):
            return
    except OSError as fault:
        log.critical(
            "nobody is told that alerter does not start, for each start would tell again: %s", fault
        )
        return
    log.critical("alerter does not start; people are told once")
    async with open_destinations(config, clock) as destinations:
        told = await StateFailure(config, clock, destinations).notify_at_start(error)
        for destination in destinations:
            await destination.notifier.close()
    if not told:
        marker.remove(config.state_path, environ)


def _reconciled(
    state: State, config: Config, changed: Config, clock: Clock, reload: Reload
) -> Config:
    """Take the changed config over and return it; where that fails, the old one stays in force for now."""
    try:
        reconcile(state, changed, clock)
    except StateError as error:
        reload.put_off(error, config, clock, Troubles(state, config, clock, wake=lambda _: None))
        return config
    reload.late_since = None
    return changed


async def _run_once(config: Config, state: State, clock: Clock, stop: asyncio.Event) -> bool:
    """One round of everything, then deliver what is due; True where all went well, or where it was told to end."""
    async with open_runtime(config, state, clock) as runtime:
        work = asyncio.create_task(_round_and_deliver(config, runtime))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not stop.is_set():
            return work.result()
        runtime.dispatcher.stop()
        await end_tasks({work})
        return True


async def _round_and_deliver(config: Config, runtime: Runtime) -> bool:
    rounds = await asyncio.gather(*(runtime.poller.round(site) for site in config.sites))
    if any(rounds):
        runtime.heartbeat.beat()
    await runtime.housekeeping.round()
    delivered = await runtime.dispatcher.run(_ONCE)
    await runtime.housekeeping.prune()
    await runtime.heartbeat.settle()
    return all(rounds) and delivered


@asynccontextmanager
async def _listening(
    config: Config, state: State, clock: Clock, runtime: Runtime, rounds: Scheduler
) -> AsyncIterator[None]:
    """Serve webhooks, health and metrics where the config has [web]; its packages are an extra."""
    if config.web is None:
        yield
        return
    from alerter.web.server import open_web  # noqa: PLC0415

    async with open_web(
        config.web.listen, config, state, clock, runtime.intake, rounds.finished
    ) as web:
        log.info("listening on port %d: webhooks, health and metrics", web.port)
        yield


async def _run_for_ever(
    config: Config, state: State, clock: Clock, environ: Mapping[str, str], orders: Control
) -> Config | None:
    """Make rounds and deliver until there is a config to go on with, or to the end (None).

    What is in hand then is ended first, or left safely in the outbox.
    """
    async with open_runtime(config, state, clock, orders.failures) as runtime:
        rounds = Scheduler(config, clock, runtime)
        async with _listening(config, state, clock, runtime, rounds):
            telling = asyncio.create_task(runtime.dispatcher.run())
            rounds.start()
            log.info("running: %d sites, %d receivers", len(config.sites), len(config.receivers))
            notify(environ, "READY=1", _status(config, state, clock.now()))
            beating = asyncio.create_task(beat(config, state, clock, environ, rounds))
            changed = await _follow_control(config, state, clock, environ, orders, runtime, telling)
            log.info("%s: the work in hand is ended first", "reloading" if changed else "stopping")
            runtime.dispatcher.stop()
            await rounds.stop(telling)
            beating.cancel()
            if not telling.cancelled():
                telling.result()
    return None if orders.stop.is_set() else changed


async def _follow_control(
    config: Config,
    state: State,
    clock: Clock,
    environ: Mapping[str, str],
    orders: Control,
    runtime: Runtime,
    telling: asyncio.Task[bool],
) -> Config | None:
    """Wait until told to go on with another config, which is returned, or to end."""
    stopping = asyncio.create_task(orders.stop.wait())
    reload, troubles = orders.reload, runtime.dispatcher.troubles
    while True:
        asked = asyncio.create_task(reload.asked.wait())
        await asyncio.wait({telling, stopping, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if telling.done() or stopping.done() or reload.load is None:
            stopping.cancel()
            notify(environ, "STOPPING=1")
            return None
        reload.asked.clear()
        notify(environ, "RELOADING=1", f"MONOTONIC_USEC={round(clock.monotonic() * 1_000_000)}")
        if changed := read_again(config, reload.load, troubles):
            try:
                state.prove_writable()
            except StateError as error:
                reload.put_off(error, config, clock, troubles)
            else:
                stopping.cancel()
                return changed
        else:
            reload.late_since = None
        notify(environ, "READY=1")
        if reload.late_since is not None:
            await asyncio.wait(
                {telling, stopping}, timeout=_RELOAD_AGAIN, return_when=asyncio.FIRST_COMPLETED
            )


async def beat(
    config: Config, state: State, clock: Clock, environ: Mapping[str, str], rounds: Scheduler
) -> None:
    """Tell systemd how things stand, and that we are alive for as long as rounds get anywhere, even if they fail."""
    if not environ.get("NOTIFY_SOCKET"):
        return
    limit = watchdog(environ, os.getpid())
    stuck = False
    while True:
        signs = [_status(config, state, clock.now())]
        if limit and rounds.idle_for() <= rounds.patience:
            signs.append("WATCHDOG=1")
        elif limit and not stuck:
            stuck = True
            log.critical(
                "rounds do not come to an end any more; systemd is left to restart alerter"
            )
        notify(environ, *signs)
        await asyncio.sleep(min(limit / 2, _BEAT) if limit else _BEAT)


def _status(config: Config, state: State, now: datetime) -> str:
    try:
        waiting = f"{outbox.pending(state, config.destinations(), now)} deliveries waiting"
    except StateError:
        waiting = "the state file cannot be read"
    return f"STATUS=watching {len(config.sites)} sites, {waiting}"
