"""Rounds of a site against the embedded Wix, and the rows that they wrote."""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.config import Config, Site
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State
from tests.support.clock import SetClock
from tests.support.life import wix
from tests.support.values import SITE

__all__ = ["wix"]

QUERY = "/reviews/v1/reviews/query"
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
BOTH = ("email:owner", "slack:support")


@pytest.fixture
async def runtime(config: Config, state: State, clock: SetClock) -> AsyncIterator[Runtime]:
    async with open_runtime(config, state, clock) as runtime:
        yield runtime


@pytest.fixture
async def watching(runtime: Runtime, site: Site, wix: EmbeddedWix) -> Runtime:
    """A house whose site has had its first read, of a single old review."""
    put(wix, "old", days=-10)
    assert await runtime.poller.round(site)
    wix.requests.clear()
    return runtime


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="alerter")
    return caplog


def put(
    wix: EmbeddedWix,
    name: str,
    *,
    site_id: str = SITE,
    rating: int = 1,
    visible_after: float = 0,
    **more: Any,
) -> None:
    """Add a review; what datetime calls a span says how long after noon it was created."""
    span = {
        unit: more.pop(unit) for unit in ("days", "hours", "minutes", "seconds") if unit in more
    }
    created = stamp(NOON + timedelta(**span))
    review = {"id": name, "entityId": None, "createdDate": created, "content": {"rating": rating}}
    wix.add(site_id, review | more, visible_after=visible_after)


def keys(state: State) -> list[str]:
    """The alerts of reviews on record, without the site that they share."""
    rows = state.rows("SELECT key FROM alerts WHERE review_id IS NOT NULL ORDER BY id")
    return [row["key"].replace(f":{SITE}", "") for row in rows]


def deliveries(state: State) -> list[tuple[str, str, str]]:
    rows = state.rows(
        "SELECT review_id, destination, status FROM deliveries JOIN alerts ON id = alert "
        "ORDER BY alert, destination"
    )
    return [(row["review_id"], row["destination"], row["status"]) for row in rows]


def checkpoint(state: State) -> datetime | None:
    ms = state.value("SELECT checkpoint FROM sites")
    return datetime.fromtimestamp(ms / 1000, UTC) if ms is not None else None


def statuses(state: State) -> Counter[str]:
    return Counter(row["status"] for row in state.rows("SELECT status FROM reviews"))


def said(log: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        r.getMessage() for r in log.records if r.name.startswith("alerter") and r.levelno >= level
    ]
