"""The process: it starts, makes rounds and delivers, reloads, and ends cleanly."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from alerter.clock import Clock, ServerClock
from alerter.config import Config, with_account_sites
from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy, StateError
from alerter.notify.state_failure import BUSY_FOR, FailureRecord, notify_failed_start
from alerter.notify.worker import IdleReason
from alerter.scopes import ALL_TROUBLE
from alerter.service.buttons import open_buttons, slack_app, wait_until_known
from alerter.service.destinations import open_destinations
from alerter.service.embedded import Scheduler, end_tasks
from alerter.service.host import Host, phrase_status, report_status
from alerter.service.membership import Membership, guard_state
from alerter.service.ownership import WAIT, is_set_within, keep_lock, take_lock
from alerter.service.reconcile import reconcile
from alerter.service.reload import Reload
from alerter.service.runtime import Runtime, open_runtime
from alerter.service.signals import event_for, stop_signals
from alerter.slack.app import SlackApp
from alerter.store import Holder, Lock, State, blocks, lock_of
from alerter.store.account_sites import get_account_sites
from alerter.store.marker import Marker
from alerter.text import counted
from alerter.trouble.tracker import Troubles

if TYPE_CHECKING:
    from alerter.service.cluster import Cluster

log = logging.getLogger(__name__)

# Seconds until a reload is tried again that the database did not let us make.
_RELOAD_AGAIN = 2.0
# Slack takes one message a second in a channel, and the old workers may just have sent one.
_PACE = 1.0
# `run --once` ends at these: cron starts it again, and what is held back now is due then.
_ONCE = (IdleReason.NOTHING_DUE, IdleReason.BACKING_OFF, IdleReason.PARKED, IdleReason.NO_STATE)


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
        if isinstance(config.database, PostgresUrl) and not once:
            host = replace(host, clock=ServerClock(), kind=Holder.WORKER)
        try:
            return await _serve(config, host, lock, once=once)
        except StateError as error:
            if not (once and isinstance(error, StateBusy)):  # cron starts it again
                await _notify_failed_start(error, config, host)
            raise


async def _serve(config: Config, host: Host, lock: Lock, *, once: bool) -> bool:
    holder = await take_lock(lock, host.kind, host.stop, host.report_waiting, once=once)
    if holder is not None and once:
        log.info("another alerter (%s) is at work on %s; nothing to do", holder, config.database)
        return True
    if holder is not None:
        log.error("another `alerter run` is at work on %s; this one ends", config.database)
        return False
    if host.stop.is_set():
        return True
    if host.kind is Holder.WORKER:
        host.reload.ignore_requests_until_now(lock)
    opened = await _open_state(config, host, patience=timedelta() if once else BUSY_FOR)
    if opened is None:
        return True
    state, config, member = opened
    with state:
        failures = FailureRecord(Marker(config.state_file.file, host.environ))
        if failures.notified is None:
            failures.clear()  # a note that had no room for its text
        if once:
            return await _run_once(config, state, host, failures)
        keeping = asyncio.create_task(keep_lock(lock, host.kind, host.stop, host.clock))
        requests = asyncio.create_task(host.reload.watch_requests(lock, host.clock))
        try:
            while changed := await _run_until_reload(config, state, host, failures, member):
                await host.clock.sleep(_PACE)
                config = _apply_config(state, config, changed, host, member)
        finally:
            if member:
                member.leave()
            requests.cancel()
            is_ours = keeping.cancel()  # it has ended by itself where the lock was lost
        return is_ours


async def _open_state(
    config: Config, host: Host, *, patience: timedelta
) -> tuple[State, Config, Membership | None] | None:
    """Open the database and reconcile it; wait while another process writes to it.

    Return it, the config with the sites of its accounts, and this worker's place in a cluster; None
    where the process was stopped meanwhile. Raise StateError, StateBusy after `patience`.
    """
    begun = host.clock.monotonic()
    while not host.stop.is_set():
        try:
            with ExitStack() as stack:
                state = stack.enter_context(State.open(config.database, migrate=True))
                progress = guard_state(state, config, host.environ)
                config = with_account_sites(config, get_account_sites(state))
                member = None
                if isinstance(host.clock, ServerClock):
                    member = Membership(state, host.clock, progress)
                    host.reload.worker = member.name
                    stack.callback(member.leave)
                _bring_in_line(state, config, host, member, is_read=True, is_asked=False)
                state.scrub()  # the last process may have died after erasing and before this
                stack.pop_all()
                return state, config, member
        except StateBusy:
            if host.clock.monotonic() - begun >= patience.total_seconds():
                raise
        host.report_waiting("another process ends its work on the database")
        await is_set_within(host.stop, WAIT)
    return None


def _bring_in_line(
    state: State,
    config: Config,
    host: Host,
    member: Membership | None,
    *,
    is_read: bool,
    is_asked: bool,
) -> None:
    """Bring the database in line with a config; in a cluster, where no other worker does.

    `is_read`: whether it was read from its files; `is_asked`: whether a person asked for that with
    a reload. Raise StateError.
    """
    if member is None:
        reconcile(state, config, host.clock, is_read=is_read)
        return
    others = member.others()
    if member.join(config, is_asked=is_asked):
        reconcile(state, config, host.clock, is_read=is_read, alone=False, others=others)
    else:
        with state.transaction(ALL_TROUBLE):
            blocks.retry_parked(state)
            if is_read:
                troubles = Troubles(state, config, host.clock, wake=lambda _: None)
                troubles.end_refused(others)
    member.report()


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


def _apply_config(
    state: State, config: Config, changed: Config, host: Host, member: Membership | None
) -> Config:
    """Return the changed config once it is in force, or the old one where that fails for now."""
    try:
        is_read = host.reload.is_read
        _bring_in_line(state, changed, host, member, is_read=is_read, is_asked=is_read)
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
    config: Config,
    state: State,
    host: Host,
    failures: FailureRecord,
    member: Membership | None,
) -> Config | None:
    """Make rounds and deliver. Return the config to go on with, or None at the end.

    Work in hand is ended first, or stays safely in the outbox.
    """
    app = slack_app(config)
    name = member.name if member else None
    async with open_runtime(config, state, host.clock, failures, app, name) as runtime:
        scheduler = _scheduler(runtime, member)
        async with (
            _reporting(runtime, member),
            _listening(runtime, scheduler),
            open_buttons(runtime, app),
        ):
            dispatching = asyncio.create_task(_dispatch(runtime, scheduler, app))
            scheduler.start()
            sites, receivers = len(config.sites), len(config.receivers)
            log.info("running: %s, %s", counted(sites, "site"), counted(receivers, "receiver"))
            host.report("READY=1", phrase_status(runtime))
            reporting = asyncio.create_task(report_status(host, runtime, scheduler))
            changed = await _next_config(host, runtime, dispatching)
            log.info("%s: the work in hand is ended first", "reloading" if changed else "stopping")
            runtime.dispatcher.stop()
            await scheduler.stop(dispatching)
            reporting.cancel()
            if not dispatching.cancelled():
                dispatching.result()
    return None if host.stop.is_set() else changed


async def _dispatch(
    runtime: Runtime, scheduler: "Scheduler | Cluster", app: SlackApp | None
) -> bool:
    await wait_until_known(app, runtime.clock)
    return await scheduler.deliver()


def _scheduler(runtime: Runtime, member: Membership | None) -> "Scheduler | Cluster":
    url = runtime.config.database
    if member is None or not isinstance(url, PostgresUrl):
        return Scheduler(runtime)
    from alerter.service.cluster import Cluster  # noqa: PLC0415 - needs the extra `postgres`

    return Cluster(runtime, member, url)


@asynccontextmanager
async def _reporting(runtime: Runtime, member: Membership | None) -> AsyncIterator[None]:
    """Report this worker as alive, in a cluster."""
    if member is None:
        yield
        return
    notify = runtime.dispatcher.state_failure.notify
    task = asyncio.create_task(
        member.keep_reporting(runtime.config, runtime.accounts.changed, notify)
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _listening(runtime: Runtime, scheduler: "Scheduler | Cluster") -> AsyncIterator[None]:
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
        scheduler.fault,
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
        changed = with_account_sites(changed, get_account_sites(runtime.state), config)
        runtime.state.prove_writable()
    except StateError as error:
        reload.put_off(error, config, host.clock, troubles)
        return None
    return changed
