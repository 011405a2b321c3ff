"""A past to be read, and what was recorded and sent of it."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.clock import Clock
from alerter.commands.backfill import BackfillRequest, dry_run
from alerter.config import Config, Site, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.service.runtime import open_runtime
from alerter.store import State
from alerter.watch.backfill import pages_with_retries
from alerter.watch.reader import Reader
from alerter.wix.client import ReviewFilter, WixClient
from tests.support.clock import SetClock
from tests.support.values import OWNER, SECRETS, SITE

QUERY = "/reviews/v1/reviews/query"
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
JULY = datetime(2024, 6, 30, 22, tzinfo=UTC)  # midnight in Berlin
MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        wix.add_product(SITE, "rye", "Rye bread", "https://bakery.example/rye")
        yield wix


@pytest.fixture
def by_mail(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    """A config whose only receiver gets mail, which nothing paces."""
    return load_config(
        write_config(wix, slack, mailbox, receivers=MAIL_ONLY), SECRETS, secrets=True
    )


def put(wix: EmbeddedWix, name: str, *, site_id: str = SITE, rating: int = 1, **more: Any) -> None:
    """Add a review; what datetime calls a span says how long after noon it was created."""
    span = {
        unit: more.pop(unit) for unit in ("days", "hours", "minutes", "seconds") if unit in more
    }
    created = stamp(NOON + timedelta(**span))
    content = {"rating": rating, "title": f"<{name}>"}
    wix.add(
        site_id, {"id": name, "entityId": "rye", "createdDate": created, "content": content} | more
    )


def past(config: Config, since: datetime = JULY, until: datetime | None = None) -> BackfillRequest:
    return BackfillRequest(config.sites, since, until)


async def alertable(config: Config, clock: Clock, request: BackfillRequest) -> dict[str, list[str]]:
    """Return the ids of the reviews that a dry run lists, by site."""
    found = await dry_run(config, clock, request)
    return {name: [each.review.id for each in listed] for name, listed in found.items()}


async def poll(config: Config, clock: Clock) -> None:
    """One round of every site, as the daemon makes them; nothing is sent."""
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, clock) as runtime:
            for site in config.sites:
                assert await runtime.poller.round(site)


def named(text: str) -> list[str]:
    """The reviews that a message names; each has its id for a title."""
    return re.findall(r"<([\w-]+)>", text)


def mailed(mailbox: Mailbox) -> list[list[str]]:
    """The reviews that each mail names, in the order of the mails."""
    return [list(dict.fromkeys(named(mail.text))) for mail in mailbox.mails]


# Patience


@pytest.fixture
async def reader(wix: EmbeddedWix, clock: SetClock) -> AsyncIterator[Reader]:
    client = WixClient(wix.base_url, clock)
    yield Reader(client, clock)
    await client.close()


def a_minute(failing_for: timedelta, retry_after: float | None) -> timedelta:
    return timedelta(seconds=60 if retry_after is None else retry_after)


async def read(reader: Reader, clock: Clock, site: Site, span: ReviewFilter) -> list[str]:
    pages = pages_with_retries(reader, clock, site, span, a_minute)
    return [review.id async for page in pages for review in page.reviews]
