"""`alerter backfill`: read a chosen past, alert its low-rated reviews, and see them delivered."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, find_site, load_with_sites, parse_day
from alerter.commands.terminal import phrase_product, plain, table, title
from alerter.config import Config, Site
from alerter.logs import log_to_stderr
from alerter.models import Grouping, Product, Review
from alerter.notify.worker import IdleReason
from alerter.render.formatting import stars
from alerter.service.embedded import end_tasks
from alerter.service.membership import refuse_put_back
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime, open_runtime, open_wix, page_wait
from alerter.store import (
    Holder,
    Lock,
    State,
    blocks,
    known_sites,
    lock_of,
    outbox,
    products,
    reviews,
)
from alerter.store.judgements import Source
from alerter.text import counted
from alerter.timezones import local_time
from alerter.watch.backfill import alertable_reviews, pages_with_retries
from alerter.watch.catalog import CatalogReader, product_ids
from alerter.watch.reader import Reader
from alerter.watch.topics import topics_of
from alerter.wix.client import ReviewFilter, WixClient
from alerter.wix.waits import respect_waits

# Seconds between two looks at the outbox, and at the lock.
_LOOK_EVERY = 0.5
# Seconds; the process that asked for the lock tries to take it every second.
_HANDED_OVER = 3.0
# A person waits, so failures are retried until the delivery is sent or needs a person.
_UNTIL = (IdleReason.NOTHING_DUE, IdleReason.PARKED)
_LONGEST = 40
_HEAD = ("date", "stars", "product", "title", "id")


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """The past to read: reviews of these sites created from `since` on and before `until`."""

    sites: Sequence[Site]
    since: datetime
    until: datetime | None

    def low_rated(self, up_to: int) -> ReviewFilter:
        """Return the query for low-rated reviews of this past."""
        return ReviewFilter(up_to, since=self.since, until=self.until)


@dataclass(frozen=True, slots=True)
class PastReview:
    """A review that a backfill would alert, and the product that it is about."""

    review: Review
    product: Product


async def dry_run(
    config: Config, clock: Clock, request: BackfillRequest
) -> dict[str, list[PastReview]]:
    """Return the reviews that a backfill would alert, by the name of their site.

    This only reads, at Wix and in the database.
    """
    with State.read(config.database) as state:
        async with open_wix(config, clock) as wix:
            return {
                site.name: await _alertable(config, clock, request, wix, state, site)
                for site in request.sites
            }


async def _alertable(
    config: Config,
    clock: Clock,
    request: BackfillRequest,
    wix: WixClient,
    state: State,
    site: Site,
) -> list[PastReview]:
    limits = config.limits(site)
    topics = topics_of(config)
    found: dict[str, Review] = {}
    catalog = CatalogReader(clock, wix)
    named = products.named_products(state, site.site_id)
    with _reading(site, request, clock) as reached:
        async for page in pages_with_retries(
            Reader(wix, clock), clock, site, request.low_rated(limits.with_topic), page_wait
        ):
            ids = [review.id for review in page.reviews]
            known = reviews.get_reviews(state, site.site_id, ids)
            alertable = alertable_reviews(page, known, limits, topics)
            found |= {review.id: review for review in alertable}
            fetched, _ = await catalog.fetch(site, product_ids(alertable) - named.keys())
            named |= fetched
            reached(page.newest)
    return [
        PastReview(review, named.get(review.entity_id or "", Product()))
        for review in found.values()
    ]


async def run(
    config: Config, clock: Clock, request: BackfillRequest, grouping: Grouping | None
) -> bool:
    """Read and record the past, alert it, and deliver; with no `grouping`, only record.

    Return whether no delivery has failed or is parked.
    """
    with lock_of(config.database) as lock:
        alone = lock.acquire(Holder.BACKFILL) is None
        with State.open(config.database, migrate=alone) as state:
            refuse_put_back(state, config, os.environ)
            lock.release()  # reading needs no lock, and a daemon may start meanwhile
            async with open_runtime(config, state, clock) as runtime:
                for site in request.sites:
                    if known_sites.get_site_state(state, site.site_id).unverified:
                        async with respect_waits(state, clock, site.site_id):
                            await runtime.poller.verify(site)
                read = [
                    await _record(config, clock, request, runtime, site) for site in request.sites
                ]
                if grouping is None:
                    return True
                alerted = [
                    await runtime.intake.alert_past(site, ids, grouping)
                    for site, ids in zip(request.sites, read, strict=True)
                ]
            click.echo(f"{counted(sum(alerted), 'low-rated, unanswered review')} to alert")
            in_place = await _deliver(config, state, clock, lock)
            return in_place and _report(config, state, clock)


async def _record(
    config: Config, clock: Clock, request: BackfillRequest, runtime: Runtime, site: Site
) -> list[str]:
    """Store the past of a site, and return the ids of its reviews, oldest first."""
    ids: dict[str, None] = {}
    low_rated = request.low_rated(config.limits(site).with_topic)
    asking = partial(respect_waits, runtime.state, clock, site.site_id)
    with _reading(site, request, clock) as reached:
        async for page in pages_with_retries(
            runtime.reader, clock, site, low_rated, page_wait, asking
        ):
            await runtime.intake.record_page(
                site, page.reviews, source=Source.BACKFILL, asked_at=page.asked_at
            )
            ids |= dict.fromkeys(review.id for review in page.reviews)
            reached(page.newest)
    click.echo(f"{site.name}: {counted(len(ids), 'low-rated review')} read")
    return list(ids)


async def _deliver(config: Config, state: State, clock: Clock, lock: Lock) -> bool:
    """Send while this process holds the lock, and wait while another one holds it and sends.

    Return False if the state file was replaced meanwhile, as by `alerter restore`.
    """
    progress = asyncio.create_task(_show_deliveries(config, state, clock))
    try:
        while True:
            alone = lock.acquire(Holder.BACKFILL) is None
            if not state.is_in_place():
                click.echo(
                    f"{config.database} was replaced meanwhile: nothing more is sent;"
                    " run the backfill again"
                )
                return False
            if alone and await _send_until_asked(config, state, clock, lock):
                return True
            if not alone and not outbox.pending_count(state, _unparked(config, state), clock.now()):
                return True
            await asyncio.sleep(_HANDED_OVER if alone else _LOOK_EVERY)
    finally:
        progress.cancel()


async def _send_until_asked(config: Config, state: State, clock: Clock, lock: Lock) -> bool:
    """Send what is due. Return False if another process asked for the lock, which is then free."""
    reconcile(state, config, clock)
    async with open_runtime(config, state, clock) as runtime:
        sending = asyncio.create_task(runtime.dispatcher.run(_UNTIL))
        asked = asyncio.create_task(_wait_until_asked(lock))
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


async def _wait_until_asked(lock: Lock) -> None:
    while not lock.is_asked_for():  # noqa: ASYNC110 - another process asks, through a file
        await asyncio.sleep(_LOOK_EVERY)


async def _show_deliveries(config: Config, state: State, clock: Clock) -> None:
    total = outbox.pending_count(state, _unparked(config, state), clock.now())
    with _bar(total, "sending") as bar:
        while not bar.finished:
            await asyncio.sleep(_LOOK_EVERY)
            bar.update(
                total - outbox.pending_count(state, _unparked(config, state), clock.now()) - bar.pos
            )


def _unparked(config: Config, state: State) -> list[str]:
    """Return the destinations that are not parked."""
    parked = {block.scope for block in blocks.get_parked(state)}
    return [
        destination
        for destination, receiver in config.destinations().items()
        if parked.isdisjoint(config.scopes(receiver, destination))
    ]


def _report(config: Config, state: State, clock: Clock) -> bool:
    """Print what is not delivered. Return whether none of it needs a person."""
    unparked, now = _unparked(config, state), clock.now()
    others = [each for each in config.destinations() if each not in unparked]
    parked = outbox.pending_count(state, others, now)
    failed = outbox.failed_count(state)
    if pending := outbox.pending_count(state, unparked, now):
        click.echo(f"{counted(pending, 'delivery is', 'deliveries are')} not sent yet")
    if parked:
        waiting = counted(parked, "delivery waits", "deliveries wait")
        click.echo(f"{waiting} for a receiver that is parked: see `alerter status`")
    if failed:
        number = counted(failed, "delivery has", "deliveries have")
        click.echo(f"{number} failed: see `alerter status`, then `alerter retry`")
    if not (pending or parked or failed):
        click.echo("everything is delivered")
    return not (parked or failed)


@contextmanager
def _reading(
    site: Site, request: BackfillRequest, clock: Clock
) -> Iterator[Callable[[datetime | None], None]]:
    """Show a progress bar over the days of a past.

    Yield the function that moves it to a date; reviews are read oldest first.
    """
    days = ((request.until or clock.now()) - request.since).days + 1
    with _bar(days, f"{site.name}: reading") as bar:

        def reached(created: datetime | None) -> None:
            if created:
                bar.update(max((created - request.since).days - bar.pos, 0))

        yield reached
        bar.update(max(days - bar.pos, 0))


def _bar(length: int, label: str) -> Any:
    return click.progressbar(
        length=length, label=label, hidden=not sys.stderr.isatty(), file=sys.stderr
    )


@click.command()
@config_option
@click.option(
    "--since",
    required=True,
    metavar="DATE",
    help="The first day to read: 2026-01-31, today, yesterday, or days ago such as 30d.",
)
@click.option(
    "--until", metavar="DATE", help="The day to stop before; without it, today is read too."
)
@click.option(
    "--site", "names", multiple=True, metavar="NAME", help="Only this site; may be repeated."
)
@click.option(
    "--deliver",
    type=click.Choice(["digest", "each", "none"]),
    default="digest",
    show_default=True,
    help="In as few messages as possible, one message a review, or record only.",
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
    config, clock = load_with_sites(path), Clock()
    request = parse_request(config, since, until, names, clock.now())
    if dry:
        for name, found in asyncio.run(dry_run(config, clock, request)).items():
            click.echo(f"{name}: would alert {counted(len(found), 'review')}")
            head = _HEAD if found and sys.stdout.isatty() else ()
            for line in table(head, [_row(config, each) for each in found]):
                click.echo(line)
        return
    grouping = None if deliver == "none" else Grouping(deliver)
    sys.exit(0 if asyncio.run(run(config, clock, request, grouping)) else 1)


def parse_request(
    config: Config, since: str, until: str | None, names: Sequence[str], now: datetime
) -> BackfillRequest:
    """Return what the options ask for. Raise BadParameter."""
    sites = [find_site(config, name) for name in dict.fromkeys(names)]
    begin = parse_day(config, since, "--since", now)
    end = parse_day(config, until, "--until", now) if until else None
    if end and end <= begin:
        raise click.BadParameter("must be a later day than --since", param_hint="--until")
    return BackfillRequest(sites or list(config.sites), begin, end)


def _row(config: Config, found: PastReview) -> list[str]:
    review = found.review
    created = review.created and local_time(review.created, config.timezone)
    return [
        created.date().isoformat() if created else "-",
        stars(review.rating),
        phrase_product(review, found.product, _LONGEST),
        title(review.title, _LONGEST),
        plain(review.id, len(review.id)),
    ]
