"""Build what runs from a config: pollers, notifiers, and their connections."""

import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from types import ModuleType
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Receiver, Site
from alerter.errors import ErrorKind, StateError
from alerter.models import Content, Medium, Message, Review, destination_of
from alerter.notify import backoff
from alerter.notify.destination import Destination, Notifier
from alerter.notify.dispatch import Dispatcher
from alerter.notify.state_failure import FailureRecord
from alerter.render.renderer import Links, Renderer
from alerter.respond.responder import DAEMON, PendingActions, Record, Responder
from alerter.service.heartbeat import Heartbeat
from alerter.service.housekeeping import Housekeeping
from alerter.slack.app import SlackApp
from alerter.store import State, Wake, known_sites
from alerter.store.channels import ChannelIds
from alerter.store.rate_limits import StoredRateLimits
from alerter.store.waits import StoredWaits
from alerter.summary import Summaries
from alerter.watch.accounts import AccountLists
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.watch.poll import Poller
from alerter.watch.quiet import quiet_until
from alerter.watch.reader import Reader
from alerter.wix.client import WixClient

log = logging.getLogger(__name__)

# Reviews in a digest. Slack takes what fits into its blocks; Gmail folds a mail past 102 kB.
_SLACK_DIGEST = 90
# Characters in the blocks of a message. Slack refused 11,341, an undocumented limit:
# https://github.com/slackapi/bolt-js/issues/2867
_SLACK_BUDGET = 9000
_MAIL_DIGEST = 1000


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
        yield _assembled(config, dispatcher, state, clock, wix, heartbeat, worker or DAEMON)


def _assembled(
    config: Config,
    dispatcher: Dispatcher,
    state: State,
    clock: Clock,
    wix: WixClient,
    heartbeat: Heartbeat,
    owner: str,
) -> Runtime:
    reader, wake = Reader(wix, clock), dispatcher.wake
    intake = Intake(state, config, clock, Catalog(state, clock, wix), wake)
    troubles, failure = dispatcher.troubles, dispatcher.state_failure
    accounts = AccountLists(state, config, clock, wix, troubles, failure.notify)
    poller = Poller(state, config, clock, reader, intake, troubles, failure.notify)
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
        await intake.record_page(site, [review])

    return record


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


@asynccontextmanager
async def open_destinations(
    config: Config, clock: Clock, state: State | None = None, app: SlackApp | None = None
) -> AsyncIterator[list[Destination]]:
    """Yield the destinations, each with its renderer and notifier.

    `state` has the names of sites that left the config, and the ids of Slack channels; without one
    none of them are known. `app`: the one whose messages have buttons while it is connected, if
    this process is there when people press them.
    """
    async with AsyncExitStack() as stack:
        recorded = state or stack.enter_context(State.empty())
        slack_there = any(
            config.workspace(receiver) for receiver in config.receivers if receiver.slack
        )
        session = await stack.enter_async_context(_slack().open_session()) if slack_there else None
        names = known_sites.site_names(recorded) | config.site_names
        renderer = Renderer(config.templates, config.timezone, names, host=socket.gethostname())
        destinations = []
        for receiver in config.receivers:
            if receiver.email and config.smtp:
                destinations.append(_email_destination(config, receiver, renderer))
            if receiver.slack and session and (workspace := config.workspace(receiver)):
                known = ChannelIds(recorded, config.service(receiver, Medium.SLACK))
                own = app if receiver.token is None else None
                notifier = _slack().SlackNotifier(
                    workspace, receiver.name, receiver.slack, session, clock, known, own
                )
                destinations.append(_slack_destination(config, receiver, notifier, renderer, own))
        yield destinations


@asynccontextmanager
async def open_recorded_destinations(
    config: Config, clock: Clock
) -> AsyncIterator[list[Destination]]:
    """Yield the destinations for a command; it reads the database, if there is one."""
    try:
        state = State.read(config.database)
    except StateError:
        state = State.empty()
    with state:
        async with open_destinations(config, clock, state) as destinations:
            yield destinations


def _email_destination(config: Config, receiver: Receiver, renderer: Renderer) -> Destination:
    destination = destination_of(receiver.name, Medium.EMAIL)
    service = config.service(receiver, Medium.EMAIL)
    notifier = _email().EmailNotifier(config.smtp, receiver.name, receiver.email)
    return Destination(
        destination,
        service,
        notifier,
        partial(renderer.mail, language=receiver.language, links=_mail_links(config, receiver)),
        _MAIL_DIGEST,
        refuse=partial(renderer.refuse, ".html"),
        faults=renderer.faults,
        held_until=_held_until(config, receiver),
    )


def _mail_links(config: Config, receiver: Receiver) -> Links | None:
    """Return the links of a receiver's mails to the review page; None without one."""
    if config.web is None or config.web.public_url is None:
        return None
    from alerter.web.signed_links import MailLinks, get_signer  # needs the extra `web`

    signer = get_signer(config)
    return MailLinks(signer, config, receiver) if signer else None


def _slack_destination(
    config: Config,
    receiver: Receiver,
    notifier: Notifier,
    renderer: Renderer,
    app: SlackApp | None,
) -> Destination:
    service = config.service(receiver, Medium.SLACK)

    def render(message: Message, *, test: bool = False) -> Content:
        return renderer.slack(
            message,
            test=test,
            language=receiver.language,
            mention=receiver.mention,
            mention_max_rating=receiver.mention_max_rating,
            buttons=app is not None and app.has_buttons,
        )

    return Destination(
        destination_of(receiver.name, Medium.SLACK),
        service,
        notifier,
        render,
        _SLACK_DIGEST,
        rate_key=f"{service}:{receiver.slack}",
        budget=_SLACK_BUDGET,
        refuse=partial(renderer.refuse, ".slack.json"),
        faults=renderer.faults,
        held_until=_held_until(config, receiver),
    )


def _held_until(config: Config, receiver: Receiver) -> Callable[[datetime], datetime | None] | None:
    """Return the function from a moment to the end of the quiet hours that it lies in."""
    quiet = receiver.quiet
    if quiet is None:
        return None
    return lambda now: quiet_until(quiet, now, config.timezone)


def _slack() -> ModuleType:
    """Import the Slack notifier where the config has Slack: its client takes 12 MB."""
    from alerter.notify import slack

    return slack


def _email() -> ModuleType:
    from alerter.notify import email

    return email


def page_wait(failing_for: timedelta, retry_after: float | None) -> timedelta:
    """Return how long a backfill waits after a page that could not be read."""
    kind = ErrorKind.TRANSIENT if retry_after is None else ErrorKind.THROTTLED
    return backoff.wait(kind, failing_for, retry_after, _random) or timedelta()


_random = random.Random()  # noqa: S311 - jitter
