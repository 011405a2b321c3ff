"""A backfill of a million reviews, 5 % of them low-rated, beside bare httpx and sqlite3."""

import contextlib
import io
import sqlite3
import tempfile
from datetime import UTC, datetime
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import httpx

from alerter.clock import Clock
from alerter.commands import backfill
from alerter.counters import counts
from benchmarks.figures import Figure, middle
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.rows.idle_round import post
from benchmarks.servers.wix import FastWix
from benchmarks.store import bare_state, insert_reviews
from benchmarks.world import World, site_id, worlds

_LOW_RATED = 0.05
_PAGE = 100


def measure(*, quick: bool) -> list[Figure]:
    """Measure reviews per second, queries, and growth of memory."""
    reviews = 100_000 if quick else 1_000_000
    low_rated, few = int(_LOW_RATED * reviews), int(_LOW_RATED * reviews / 10)
    with serving(FastWix, low_rated=low_rated) as wix, serving(FastWix, low_rated=few) as small:
        both = beside(
            3 if quick else 5,
            lambda: alone(_backfill, World(wix.url)),
            lambda: alone(_bare, wix.url),
        )
        short = middle(alone(_backfill, World(small.url)).rss for _ in range(3))
    ours, bare = both.rates(reviews)
    rss = middle(cost.rss for cost in both.ours)
    row = f"backfill of {reviews:,}"
    detail = f"{ours:,.0f}/s, bare {bare:,.0f}/s; by CPU {1 / both.cpu:.2f}×"
    return [
        Figure(row, "reviews/s, of bare", both.speed, "≥", 0.6, "×", detail),
        Figure(row, "queries", both.ours[0].value, "≤", ceil(low_rated / _PAGE), ""),
        Figure(
            row,
            "RSS, of that at a tenth",
            rss / short,
            "≤",
            1.2,
            "×",
            f"{rss:.0f} MB, {short:.0f} MB",
        ),
    ]


async def _backfill(meter: Meter, world: World) -> int:
    """Run `alerter backfill --deliver none` without its start; return the number of queries."""
    import_module("alerter.notify.slack")  # the import belongs to the start
    with worlds(world) as fresh, contextlib.redirect_stdout(io.StringIO()):
        config = fresh.config()
        past = backfill.BackfillRequest(config.sites, datetime(2019, 12, 31, tzinfo=UTC), None)
        with meter:
            await backfill.run(config, Clock(), past, None)
        return counts["wix_calls_200"]


async def _bare(meter: Meter, url: str) -> None:
    headers = {"Authorization": "wix-key", "wix-site-id": site_id(0)}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        contextlib.closing(bare_state(Path(folder))) as conn,
    ):
        async with httpx.AsyncClient(timeout=30) as client:
            with meter:
                await _fetch(client, url, headers, conn)


async def _fetch(
    client: httpx.AsyncClient, url: str, headers: dict[str, str], conn: sqlite3.Connection
) -> None:
    query: dict[str, Any] = {"cursorPaging": {"limit": _PAGE}}
    while True:
        answer = await post(client, url, headers, {"query": query, "returnPrivateReviews": True})
        with conn:
            insert_reviews(conn, answer["reviews"])
        if not (cursor := answer["metadata"]["cursors"]["next"]):
            return
        query = {"cursorPaging": {"limit": _PAGE, "cursor": cursor}}
