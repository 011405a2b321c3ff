"""A client of the embedded Wix, and what it reads."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Site
from alerter.demo.faults import Fault
from alerter.demo.wix import App, EmbeddedWix, Request
from alerter.errors import (
    WixError,
)
from alerter.models import Review
from alerter.wix.client import Page, ReviewFilter, WixClient
from tests.support.clock import SetClock
from tests.support.values import SECRETS, SITE

QUERY = "/reviews/v1/reviews/query"
TOKEN = "/oauth2/token"
APP_SITE = "33333333-3333-4333-8333-333333333333"
OTHER_APP_SITE = "44444444-4444-4444-8444-444444444444"
KEY = SECRETS["WIX_API_KEY"]
APP_SECRET = "app-secret-40be"
LOW = ReviewFilter(2)


def site_of(**fields: str) -> Site:
    """A site as the config makes it, its secrets fetched."""
    environ = {
        "KEY": KEY,
        "APP_SECRET": APP_SECRET,
        "WRONG": "wrong-secret-9d1c",
        "UMLAUT": "schlüssel-7f3a",
    }
    context = {"secrets": True, "folder": Path(), "environ": environ}
    return Site.model_validate({"name": "Corner Bakery", "site_id": SITE} | fields, context=context)


def app_site(site_id: str = APP_SITE, variable: str = "APP_SECRET") -> Site:
    instance = f"instance of {site_id}"
    return site_of(
        site_id=site_id, app_id="app-1", app_secret=f"env:{variable}", instance_id=instance
    )


BY_KEY = site_of(api_key="env:KEY")
BY_APP = app_site()


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=KEY)
        for site_id in (APP_SITE, OTHER_APP_SITE):
            wix.add_site(site_id, app=App("app-1", APP_SECRET, f"instance of {site_id}"))
        yield wix


@pytest.fixture
async def client(wix: EmbeddedWix, clock: SetClock) -> AsyncIterator[WixClient]:
    client = WixClient(wix.base_url, clock)
    yield client
    await client.close()


async def read(
    client: WixClient, site: Site = BY_KEY, span: ReviewFilter = LOW, *, private: bool = True
) -> list[Review]:
    return [
        review
        async for page in client.pages(site, span, private=private)
        for review in page.reviews
    ]


async def pages(client: WixClient, most: int) -> list[Page]:
    """The pages of a site, but no more of them than a test can wait for."""
    found: list[Page] = []
    async for page in client.pages(BY_KEY, LOW, private=True):
        found.append(page)
        if len(found) == most:
            break
    return found


async def failure(client: WixClient, site: Site = BY_KEY) -> WixError:
    with pytest.raises(WixError) as caught:
        await read(client, site)
    return caught.value


def fill(wix: EmbeddedWix, number: int, site_id: str = SITE) -> None:
    for index in range(number):
        created = f"2024-07-01T{index // 3600:02}:{index // 60 % 60:02}:{index % 60:02}.000Z"
        wix.add(
            site_id,
            {"id": f"r{index}", "createdDate": created, "content": {"rating": 1 + index % 2}},
        )


def sent_headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def answer(*reviews: Any, cursor: object = None) -> Fault:
    return Fault(
        body=json.dumps({"reviews": list(reviews), "metadata": {"cursors": {"next": cursor}}})
    )


def said(error: BaseException | None) -> Iterator[str]:
    """Everything that a log or a traceback could print of an error and of what led to it."""
    while error:
        yield from (str(error), repr(error))
        error = error.__cause__ or error.__context__
