"""The process: it starts, makes rounds and delivers, reloads, and ends cleanly."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from alerter.clock import Clock
from alerter.config import Config, with_account_sites
from alerter.errors import StateBusy, StateError
from alerter.notify.state_failure import BUSY_FOR, FailureRecord, notify_failed_start
from alerter.notify.worker import IdleReason
from alerter.service.buttons import open_buttons, slack_app, wait_until_known
from alerter.service.ownership import WAIT, is_set_within, keep_lock, take_lock
from alerter.service.reconcile import reconcile
from alerter.service.reload import Reload
from alerter.service.runtime import Runtime, open_destinations, open_runtime
from alerter.service.scheduler import Scheduler, end_tasks
from alerter.service.signals import event_for, stop_signals
from alerter.service.systemd import notify, watchdog
from alerter.slack.app import SlackApp
from alerter.store import Lock, State, lock_of, outbox
from alerter.store.account_sites import get_account_sites
from alerter.store.marker import Marker
from alerter.text import counted
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# Seconds between two messages about the state to systemd, at most.
_REPORT_EVERY = 10.0
# Seconds until a reload is tried again that the database did not let us make.
_RELOAD_AGAIN = 2.0
# Slack takes one message a second in a channel, and the old workers may just have sent one.
_PACE = 1.0
# `run --once` ends at these: cron starts it again, and what is held back now is due then.
_ONCE = (IdleReason.NOTHING_DUE, IdleReason.BACKING_OFF, IdleReason.PARKED, IdleReason.NO_STATE)


@dataclass(frozen=True, slots=True)
class Host:
    """What a process has from its start to its end, whatever the config becomes."""

    clock: Clock
    environ: Mapping[str, str]
    stop: asyncio.Event
    reload: Reload

    def report(self, *states: str) -> None:
        """Send states to systemd."""
        notify(self.environ, *states)

    def report_waiting(self, reason: str) -> None:
        """Report that the start waits for another process, and that this one is alive."""
        self.report("READY=1", f"STATUS=waiting: {reason}")
        if watchdog(self.environ, os.getpid()):
            self.report("WATCHDOG=1")


async def serve(
    config: Config,
    clock: Clock,
    environ: Mapping[str, str],
    *,
    once: bool,
    load: Callable[[], Config] | None = None,
) -> bool:
    """Run the daemon, or with `once` one round of it. Return whether it ended as it should.

    At SIGHUP the daemon goes on with the config that `load` reads. Raise StateError where the
    database cannot be used; people have been notified of that then.
    """
    with (
        stop_signals() as stop,
        event_for(*[signal.SIGHUP] if load else []) as asked,
        lock_of(config.database) as lock,
    ):
        host = Host(clock, environ, stop, Reload(asked, load))
        try:
            return await _serve(config, host, lock, once=once)
        except StateError as error:
            if not (once and isinstance(error, StateBusy)):  # cron starts it again
                await _notify_failed_start(error, config, host)
            raise


async def _serve(config: Config, host: Host, lock: Lock, *, once: bool) -> bool:
    waiting = "a backfill hands over"
    holder = await take_lock(lock, host.stop, lambda: host.report_waiting(waiting), once=once)
    if holder is not None and once:
        log.info("another alerter (%s) is at work on this state file; nothing to do", holder)
        return True
    if holder is not None:
        log.error("another `alerter run` is at work on %s; this one ends", config.database)
        return False
    if host.stop.is_set():
        return True
    opened = await _open_state(config, host, patience=timedelta() if once else BUSY_FOR)
    if opened is None:
        return True
    state, config = opened
    with state:
        failures = FailureRecord(Marker(config.state_file.file, host.environ))
        if failures.notified is None:
            failures.clear()  # a note that had no room for its text
        if once:
            return await _run_once(config, state, host, failures)
        keeping = asyncio.create_task(keep_lock(lock, host.stop))
        requests = asyncio.create_task(host.reload.watch_requests(lock))
        try:
            while changed := await _run_until_reload(config, state, host, failures):
                await host.clock.sleep(_PACE)
                config = _apply_config(state, config, changed, host)
        finally:
            requests.cancel()
            is_ours = keeping.cancel()  # it has ended by itself where the lock was lost
        return is_ours


async def _open_state(
    config: Config, host: Host, *, patience: timedelta
) -> tuple[State, Config] | None:
    """Open the database and reconcile it; wait while another process writes to it.

    Return it, and the config with the sites of its accounts; None where the process was stopped
    meanwhile. Raise StateError, StateBusy after `patience`.
    """
    begun = host.clock.monotonic()
    while not host.stop.is_set():
        try:
            with ExitStack() as stack:
                state = stack.enter_context(State.open(config.database, migrate=True))
                config = with_account_sites(config, get_account_sites(state))
                reconcile(state, config, host.clock)
                state.scrub()  # the last process may have died after erasing and before this
                stack.pop_all()
                return state, config
        except StateBusy:
            if host.clock.monotonic() - begun >= patience.total_seconds():
                raise
        host.report_waiting("another process ends its work on the state file")
        await is_set_within(host.stop, WAIT)
    return None


async def _notify_failed_start(error: StateError, config: Config, host: Host) -> None:
    """Notify people that alerter does not start: once, though systemd starts it every few seconds.

    A file beside the database, or in systemd's runtime folder, remembers that they were notified.
    """
    marker = Marker(config.state_file.file, host.environ)
    try:
        if not marker.place():
            return
    except OSError as fault:
        log.critical(
            "alerter does not start, and notifies no one: each start would do so again: %s", fault
        )
        return
    log.critical("alerter does not start; people are notified once")
    async with open_destinations(config, host.clock) as destinations:
        record = FailureRecord(marker)
        await notify_failed_start(error, config, host.clock, destinations, record)
        for destination in destinations:
            await destination.notifier.close()


def _apply_config(state: State, config: Config, changed: Config, host: Host) -> Config:
    """Return the changed config once it is in force, or the old one where that fails for now."""
    try:
        reconcile(state, changed, host.clock, is_read=host.reload.is_read)
    except StateError as error:
        troubles = Troubles(state, config, host.clock, wake=lambda _: None)
        host.reload.put_off(error, config, host.clock, troubles)
        return config
    host.reload.take()
    return changed


async def _run_once(config: Config, state: State, host: Host, failures: FailureRecord) -> bool:
    """Make one round of everything and deliver what is due.

    Return whether all of it went well; True where the process was stopped. A list that changes the
    sites of the config begins another round, with these sites.
    """
    async with open_runtime(config, state, host.clock, failures) as runtime:
        work = asyncio.create_task(_round_and_deliver(runtime))
        stopping = asyncio.create_task(host.stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if host.stop.is_set():
            runtime.dispatcher.stop()
            await end_tasks({work})
            return True
        good = work.result()
    if good is None:
        config = with_account_sites(config, get_account_sites(state))
        reconcile(state, config, host.clock)
        return await _run_once(config, state, host, failures)
    return good


async def _round_and_deliver(runtime: Runtime) -> bool | None:
    """Return whether all went well; None, before any of it, if the config's sites have changed."""
    listed = await runtime.accounts.round()
    if runtime.accounts.changed.is_set():
        return None
    rounds = await asyncio.gather(*(runtime.poller.round(site) for site in runtime.config.sites))
    if any(rounds):
        runtime.heartbeat.beat()
    await runtime.housekeeping.round()
    await runtime.actions.round()
    await asyncio.gather(*runtime.actions.under_way)
    delivered = await runtime.dispatcher.run(_ONCE)
    await runtime.housekeeping.prune()
    await runtime.heartbeat.settle()
    return listed and all(rounds) and delivered


async def _run_until_reload(
    config: Config, state: State, host: Host, failures: FailureRecord
) -> Config | None:
    """Make rounds and deliver. Return the config to go on with, or None at the end.

    Work in hand is ended first, or stays safely in the outbox.
    """
    app = slack_app(config)
    async with open_runtime(config, state, host.clock, failures, app) as runtime:
        scheduler = Scheduler(runtime)
        async with _listening(runtime, scheduler), open_buttons(runtime, app):
            dispatching = asyncio.create_task(_dispatch(runtime, app))
            scheduler.start()
            sites, receivers = len(config.sites), len(config.receivers)
            log.info("running: %s, %s", counted(sites, "site"), counted(receivers, "receiver"))
            host.report("READY=1", _status(runtime))
            reporting = asyncio.create_task(report_status(host, runtime, scheduler))
            changed = await _next_config(host, runtime, dispatching)
            log.info("%s: the work in hand is ended first", "reloading" if changed else "stopping")
            runtime.dispatcher.stop()
            await scheduler.stop(dispatching)
            reporting.cancel()
            if not dispatching.cancelled():
                dispatching.result()
    return None if host.stop.is_set() else changed


async def _dispatch(runtime: Runtime, app: SlackApp | None) -> bool:
    await wait_until_known(app, runtime.clock)
    return await runtime.dispatcher.run()


@asynccontextmanager
async def _listening(runtime: Runtime, scheduler: Scheduler) -> AsyncIterator[None]:
    """Serve webhooks, health and metrics where the config has [web]."""
    config = runtime.config
    if config.web is None:
        yield
        return
    from alerter.web.pages import open_pages  # noqa: PLC0415 - needs the extra `web`
    from alerter.web.server import open_web  # noqa: PLC0415 - needs the extra `web`

    pages = open_pages(config, runtime.state, runtime.clock, runtime.responder, runtime.actions)
    async with open_web(
        config.web.listen,
        config,
        runtime.state,
        runtime.clock,
        runtime.intake,
        scheduler.finished,
        pages,
    ) as web:
        served = "webhooks, health, metrics and the review page"
        log.info(
            "listening on port %d: %s",
            web.port,
            served if pages else "webhooks, health and metrics",
        )
        yield


async def _next_config(
    host: Host, runtime: Runtime, dispatching: asyncio.Task[bool]
) -> Config | None:
    """Wait for a reload or other sites of accounts, and return the config to go on with.

    None where the process is to end.
    """
    stopping = asyncio.create_task(host.stop.wait())
    while True:
        asked = asyncio.create_task(host.reload.asked.wait())
        listed = asyncio.create_task(runtime.accounts.changed.wait())
        await asyncio.wait(
            {dispatching, stopping, asked, listed}, return_when=asyncio.FIRST_COMPLETED
        )
        asked.cancel()
        listed.cancel()
        if dispatching.done() or stopping.done():
            stopping.cancel()
            host.report("STOPPING=1")
            return None
        microseconds = round(host.clock.monotonic() * 1_000_000)
        host.report("RELOADING=1", f"MONOTONIC_USEC={microseconds}")
        if changed := _changed_config(host, runtime):
            stopping.cancel()
            return changed
        host.report("READY=1")
        if host.reload.late_since is not None:
            await asyncio.wait(
                {dispatching, stopping}, timeout=_RELOAD_AGAIN, return_when=asyncio.FIRST_COMPLETED
            )


def _changed_config(host: Host, runtime: Runtime) -> Config | None:
    """Return the config, read again where that was asked for, with the sites listed last.

    None where it has a fault, or cannot come into force now.
    """
    reload, config, troubles = host.reload, runtime.config, runtime.dispatcher.troubles
    changed: Config | None = config
    if reload.asked.is_set():
        reload.asked.clear()
        changed = reload.read_again(config, troubles)
    if changed is None:
        return None
    try:
        changed = with_account_sites(changed, get_account_sites(runtime.state))
        runtime.state.prove_writable()
    except StateError as error:
        reload.put_off(error, config, host.clock, troubles)
        return None
    return changed


async def report_status(host: Host, runtime: Runtime, scheduler: Scheduler) -> None:
    """Report the status to systemd, and that the process is alive while rounds end or advance.

    Rounds that fail count: a restart would not help them.
    """
    if not host.environ.get("NOTIFY_SOCKET"):
        return
    limit = watchdog(host.environ, os.getpid())
    stuck = False
    while True:
        states = [_status(runtime)]
        if limit and scheduler.idle_for() <= scheduler.patience:
            states.append("WATCHDOG=1")
        elif limit and not stuck:
            stuck = True
            log.critical("rounds do not end any more; systemd will restart alerter")
        host.report(*states)
        await asyncio.sleep(min(limit / 2, _REPORT_EVERY) if limit else _REPORT_EVERY)


def _status(runtime: Runtime) -> str:
    config, now = runtime.config, runtime.clock.now()
    try:
        number = outbox.pending_count(runtime.state, config.destinations(), now)
        waiting = f"{counted(number, 'delivery', 'deliveries')} waiting"
    except StateError:
        waiting = "the state file cannot be read"
    return f"STATUS=watching {counted(len(config.sites), 'site')}, {waiting}"
