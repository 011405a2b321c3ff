"""Build what runs from a config: pollers, notifiers, and their connections."""

import logging
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.errors import ErrorKind, StateError
from alerter.models import Review
from alerter.notify import backoff
from alerter.notify.destination import Destination
from alerter.notify.dispatch import Dispatcher
from alerter.notify.state_failure import FailureRecord
from alerter.respond.responder import DAEMON, PendingActions, Record, Responder
from alerter.service.destinations import open_destinations
from alerter.service.heartbeat import Heartbeat
from alerter.service.housekeeping import Housekeeping
from alerter.slack.app import SlackApp
from alerter.store import State, Wake
from alerter.store.judgements import Source
from alerter.store.rate_limits import StoredRateLimits
from alerter.store.waits import StoredWaits
from alerter.summary import Summaries
from alerter.watch.accounts import AccountLists
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.watch.orders import Orders
from alerter.watch.outcomes import Outcomes
from alerter.watch.poll import Poller
from alerter.watch.reader import Reader
from alerter.wix.client import WixClient

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """One config, and its running parts."""

    config: Config
    state: State
    clock: Clock
    reader: Reader
    intake: Intake
    accounts: AccountLists
    poller: Poller
    summaries: Summaries
    housekeeping: Housekeeping
    dispatcher: Dispatcher
    heartbeat: Heartbeat
    responder: Responder
    actions: PendingActions


@asynccontextmanager
async def open_runtime(
    config: Config,
    state: State,
    clock: Clock,
    failures: FailureRecord | None = None,
    app: SlackApp | None = None,
    worker: str | None = None,
) -> AsyncIterator[Runtime]:
    """Build the parts, and close their connections at the end.

    `failures` is what people were notified of directly before a reload; for `app` see below.
    `worker`: the name of this process in a cluster, where others send as well.
    """
    async with (
        open_wix(config, clock) as wix,
        open_destinations(config, clock, state, app) as destinations,
        _open_heartbeat(config, clock) as heartbeat,
    ):
        shared = _shared(state, clock, destinations) if worker else {}
        dispatcher = Dispatcher(state, config, clock, destinations, failures, **shared)
        async with _open_intake(config, state, clock, wix, dispatcher.wake) as intake:
            yield _assembled(
                config, dispatcher, state, intake, clock, wix, heartbeat, worker or DAEMON
            )


def _assembled(
    config: Config,
    dispatcher: Dispatcher,
    state: State,
    intake: Intake,
    clock: Clock,
    wix: WixClient,
    heartbeat: Heartbeat,
    owner: str,
) -> Runtime:
    reader, wake = Reader(wix, clock), dispatcher.wake
    troubles, failure = dispatcher.troubles, dispatcher.state_failure
    accounts = AccountLists(state, config, clock, wix, troubles, failure.notify)
    outcomes = Outcomes(state, config, clock, reader, troubles, failure.notify)
    poller = Poller(state, config, clock, reader, intake, outcomes)
    summaries = Summaries(state, config, clock, poller.count, wake, failure.notify)
    housekeeping = Housekeeping(state, config, clock, summaries, troubles, failure)
    responder = Responder(state, config, clock, wix, recorder(intake), wake, owner=owner)
    return Runtime(
        config,
        state,
        clock,
        reader,
        intake,
        accounts,
        poller,
        summaries,
        housekeeping,
        dispatcher,
        heartbeat,
        responder,
        PendingActions(state, clock, responder),
    )


def _shared(state: State, clock: Clock, destinations: Iterable[Destination]) -> dict[str, Any]:
    """Return what the dispatcher of a worker shares with those of the others in a cluster."""
    return {
        "limits": StoredRateLimits(state),
        "wake": _wake_by_jobs(state, destinations),
        "waits": StoredWaits(state, clock),
    }


def _wake_by_jobs(state: State, destinations: Iterable[Destination]) -> Wake:
    """Return what has a worker send to destinations: a job for each, in the open transaction."""
    from alerter.store.queue import defer_deliveries  # needs the extra `postgres`

    locks = {each.name: each.rate_key or each.name for each in destinations}

    def wake(names: Iterable[str]) -> None:
        try:
            defer_deliveries(state, {name: locks[name] for name in names if name in locks})
        except StateError:
            if state.engine.in_transaction:
                raise
            log.debug("a job is deferred by the next tick")

    return wake


def recorder(intake: Intake) -> Record:
    """Return the function that records what Wix returned about one review."""

    async def record(site: Site, review: Review) -> None:
        await intake.record_page(site, [review], source=Source.ACTION)

    return record


@asynccontextmanager
async def _open_intake(
    config: Config, state: State, clock: Clock, wix: WixClient, wake: Wake
) -> AsyncIterator[Intake]:
    """Yield the intake; its look-ups of orders end with it."""
    catalog = Catalog(state, clock, wix)
    if not config.alerts.orders:
        yield Intake(state, config, clock, catalog, wake)
        return
    orders = Orders(state, clock, wix, wake, catalog)
    try:
        yield Intake(state, config, clock, orders, wake)
    finally:
        await orders.close()


@asynccontextmanager
async def open_wix(config: Config, clock: Clock) -> AsyncIterator[WixClient]:
    """Yield a client for the Wix API."""
    wix = WixClient(config.wix.base_url, clock)
    try:
        yield wix
    finally:
        await wix.close()


@asynccontextmanager
async def _open_heartbeat(config: Config, clock: Clock) -> AsyncIterator[Heartbeat]:
    heartbeat = Heartbeat(
        config.heartbeat.url.get_secret_value() if config.heartbeat else None, clock
    )
    try:
        yield heartbeat
    finally:
        await heartbeat.stop()


def page_wait(failing_for: timedelta, retry_after: float | None) -> timedelta:
    """Return how long a backfill waits after a page that could not be read."""
    kind = ErrorKind.TRANSIENT if retry_after is None else ErrorKind.THROTTLED
    return backoff.wait(kind, failing_for, retry_after, _random) or timedelta()


_random = random.Random()  # noqa: S311 - jitter
