"""`alerter backfill`: read a chosen past, decide, and see what was decided through to people."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, find_site, load, parse_day
from alerter.config import Config, Site
from alerter.logs import log_to_stderr
from alerter.models import Grouping
from alerter.notify.idle import IdleReason
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime, open_runtime, open_wix, page_wait
from alerter.service.scheduler import end_tasks
from alerter.store import Holder, Lock, State, blocks, known_sites, outbox, reviews
from alerter.watch.backfill import alertable_ids, pages_with_retries
from alerter.watch.reader import Reader
from alerter.wix.client import ReviewFilter

_LOOK_EVERY = 0.5
# The process that asked for the lock looks for it every second.
_HANDED_OVER = 3.0
# A person waits, so what fails is tried again until it has gone or waits for a person.
_PATIENT = (IdleReason.NOTHING_DUE, IdleReason.PARKED)


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """What a backfill was asked to read: these sites, from one moment on until before another."""

    sites: Sequence[Site]
    since: datetime
    until: datetime | None

    def span(self, threshold: int) -> ReviewFilter:
        """The same as a query of low-rated reviews."""
        return ReviewFilter(threshold, since=self.since, until=self.until)


async def dry_run(config: Config, clock: Clock, past: BackfillRequest) -> dict[str, list[str]]:
    """The ids that a backfill would tell of, by site name; reads, and sends and stores nothing."""
    found: dict[str, list[str]] = {}
    state = State.read(config.state_path)
    try:
        async with open_wix(config, clock) as wix:
            reader = Reader(wix, clock)
            for site in past.sites:
                found[site.name] = await _would_tell(config, clock, past, reader, state, site)
    finally:
        if state:
            state.close()
    return found


async def _would_tell(
    config: Config,
    clock: Clock,
    past: BackfillRequest,
    reader: Reader,
    state: State | None,
    site: Site,
) -> list[str]:
    threshold = config.threshold(site)
    ids: dict[str, None] = {}
    with _reading(site, past, clock) as reached:
        async for page in pages_with_retries(reader, clock, site, past.span(threshold), page_wait):
            names = [review.id for review in page.reviews]
            known = reviews.get_reviews(state, site.site_id, names) if state else {}
            ids |= dict.fromkeys(alertable_ids(page, known, threshold))
            reached(page.newest)
    return list(ids)


async def run(
    config: Config, clock: Clock, past: BackfillRequest, grouping: Grouping | None
) -> bool:
    """Read and record, decide, and deliver (`grouping` None: record only); True where nothing was left undone."""
    with Lock(config.state_path) as lock:
        alone = lock.acquire(Holder.BACKFILL) is None
        with State.open(config.state_path, migrate=alone) as state:
            lock.release()  # reading needs no lock: a daemon may begin meanwhile
            async with open_runtime(config, state, clock) as runtime:
                for site in past.sites:
                    if known_sites.get_site_state(state, site.site_id).unverified:
                        await runtime.poller.verify(site)
                read = [await _record(config, clock, past, runtime, site) for site in past.sites]
                if grouping is None:
                    return True
                told = [
                    await runtime.intake.alert_past(site, ids, grouping)
                    for site, ids in zip(past.sites, read, strict=True)
                ]
            click.echo(f"{sum(told)} low-rated, unanswered reviews to tell of")
            in_place = await _deliver(config, state, clock, lock)
            return in_place and _nothing_left(config, state, clock)


async def _record(
    config: Config, clock: Clock, past: BackfillRequest, runtime: Runtime, site: Site
) -> list[str]:
    """Put what Wix has of a site's past on record; returns the ids, oldest first."""
    ids: dict[str, None] = {}
    with _reading(site, past, clock) as reached:
        async for page in pages_with_retries(
            runtime.reader, clock, site, past.span(config.threshold(site)), page_wait
        ):
            await runtime.intake.record_page(site, page.reviews, asked_at=page.asked_at)
            ids |= dict.fromkeys(review.id for review in page.reviews)
            reached(page.newest)
    click.echo(f"{site.name}: {len(ids)} low-rated reviews read")
    return list(ids)


async def _deliver(config: Config, state: State, clock: Clock, lock: Lock) -> bool:
    """Send while the lock is ours, and wait while the process that has it sends.

    False where another file has taken the place of the state file meanwhile, as a restore does.
    """
    progress = asyncio.create_task(_show_deliveries(config, state, clock))
    try:
        while True:
            alone = lock.acquire(Holder.BACKFILL) is None
            if not state.is_in_place():
                click.echo(
                    f"{config.state_path} was replaced meanwhile: run the backfill again, for nothing more is sent"
                )
                return False
            if alone and await _send_until_asked(config, state, clock, lock):
                return True
            if not alone and not outbox.pending_count(
                state, _reachable(config, state), clock.now()
            ):
                return True
            await asyncio.sleep(_HANDED_OVER if alone else _LOOK_EVERY)
    finally:
        progress.cancel()


async def _send_until_asked(config: Config, state: State, clock: Clock, lock: Lock) -> bool:
    """Send what is due; False where another process asked for the lock first, which then is free."""
    reconcile(state, config, clock)
    async with open_runtime(config, state, clock) as runtime:
        sending = asyncio.create_task(runtime.dispatcher.run(_PATIENT))
        asked = asyncio.create_task(_is_asked_for(lock))
        try:
            await asyncio.wait({sending, asked}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
                return True
            runtime.dispatcher.stop()
            await end_tasks({sending})
        finally:
            sending.cancel()
            asked.cancel()
    lock.release()
    return False


async def _is_asked_for(lock: Lock) -> None:
    while True:
        if lock.is_asked_for():
            return
        await asyncio.sleep(_LOOK_EVERY)


async def _show_deliveries(config: Config, state: State, clock: Clock) -> None:
    total = outbox.pending_count(state, _reachable(config, state), clock.now())
    with _bar(total, "telling") as bar:
        while not bar.finished:
            await asyncio.sleep(_LOOK_EVERY)
            bar.update(
                total
                - outbox.pending_count(state, _reachable(config, state), clock.now())
                - bar.pos
            )


def _reachable(config: Config, state: State) -> list[str]:
    """The destinations that nothing but time stands between."""
    parked = {block.scope for block in blocks.get_parked(state)}
    return [
        destination
        for destination, receiver in config.destinations().items()
        if parked.isdisjoint(config.scopes(receiver, destination))
    ]


def _nothing_left(config: Config, state: State, clock: Clock) -> bool:
    """Say what has not been delivered; True where nothing waits for a person."""
    reachable, now = _reachable(config, state), clock.now()
    parked = outbox.pending_count(
        state, [each for each in config.destinations() if each not in reachable], now
    )
    failed = outbox.failed_count(state)
    if pending := outbox.pending_count(state, reachable, now):
        click.echo(f"{pending} deliveries are still on their way")
    if parked:
        click.echo(f"{parked} deliveries wait for a receiver that is parked: see `alerter status`")
    if failed:
        click.echo(f"{failed} deliveries have failed: see `alerter status`, then `alerter retry`")
    if not pending + parked + failed:
        click.echo("everything is delivered")
    return not parked + failed


@contextmanager
def _reading(
    site: Site, past: BackfillRequest, clock: Clock
) -> Iterator[Callable[[datetime | None], None]]:
    """A progress bar over the days of a past; reviews come oldest first, so their dates say how far it is."""
    days = ((past.until or clock.now()) - past.since).days + 1
    with _bar(days, f"{site.name}: reading") as bar:

        def reached(created: datetime | None) -> None:
            if created:
                bar.update(max((created - past.since).days - bar.pos, 0))

        yield reached
        bar.update(max(days - bar.pos, 0))


def _bar(length: int, label: str) -> Any:
    return click.progressbar(
        length=length, label=label, hidden=not sys.stderr.isatty(), file=sys.stderr
    )


@click.command()
@config_option
@click.option(
    "--since", required=True, metavar="DATE", help="The first day to read, such as 2026-01-31."
)
@click.option(
    "--until", metavar="DATE", help="The day to stop before; today's reviews too if left out."
)
@click.option(
    "--site", "names", multiple=True, metavar="NAME", help="Only this site; may be repeated."
)
@click.option(
    "--deliver",
    type=click.Choice(["digest", "each", "none"]),
    default="digest",
    show_default=True,
    help="As few messages as fit, one a review, or record only.",
)
@click.option("--dry-run", "dry", is_flag=True, help="Only print which reviews would be alerted.")
def command(
    path: Path | None,
    since: str,
    until: str | None,
    names: tuple[str, ...],
    deliver: str,
    *,
    dry: bool,
) -> None:
    """Read the past once, and alert its low-rated, unanswered reviews."""
    log_to_stderr(logging.WARNING, os.environ)
    config = load(path)
    past = _past(config, since, until, names)
    if dry:
        for name, ids in asyncio.run(dry_run(config, Clock(), past)).items():
            click.echo(f"{name}: would tell of {len(ids)} reviews")
            for review_id in ids:
                click.echo(review_id)
        return
    grouping = None if deliver == "none" else Grouping(deliver)
    sys.exit(0 if asyncio.run(run(config, Clock(), past, grouping)) else 1)


def _past(config: Config, since: str, until: str | None, names: tuple[str, ...]) -> BackfillRequest:
    sites = [find_site(config, name) for name in dict.fromkeys(names)]
    begin = parse_day(config, since, "--since")
    end = parse_day(config, until, "--until") if until else None
    if end and end <= begin:
        raise click.BadParameter("must be a later day than --since", param_hint="--until")
    return BackfillRequest(sites or list(config.sites), begin, end)
