"""An embedded Wix with three sites, and a client of its HTTP."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.wix import App, EmbeddedWix
from tests.support.clock import HandClock
from tests.support.waiting import HANG

QUERY = "/reviews/v1/reviews/query"


COUNT = "/reviews/v1/reviews/count"


SITE = "11111111-1111-4111-8111-111111111111"


OTHER = "22222222-2222-4222-8222-222222222222"


APP_SITE = "33333333-3333-4333-8333-333333333333"


# Reading the certificates of this machine for every client would be most of the time these tests
# take.
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


APP = App("app-id", "app-secret", "instance-1")


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def wix(clock: HandClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock) as wix:
        wix.add_site(SITE, api_key="key")
        wix.add_site(OTHER, api_key="other-key")
        wix.add_site(APP_SITE, app=APP)
        yield wix


@pytest.fixture
async def http(wix: EmbeddedWix) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "key", "wix-site-id": SITE}
    async with httpx.AsyncClient(
        verify=NO_CERTIFICATES, timeout=HANG, base_url=wix.base_url, headers=headers
    ) as http:
        yield http


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [review["id"] for review in answer.json()["reviews"]]


def at(second: int) -> str:
    return f"2026-11-20T10:00:{second:02}.000Z"


def put(wix: EmbeddedWix, name: str, second: int = 0, rating: int = 1, **more: Any) -> None:
    wix.add(SITE, {"id": name, "createdDate": at(second), "content": {"rating": rating}, **more})
