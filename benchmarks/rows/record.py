"""Record reviews, their states, alerts and deliveries, beside raw sqlite3 with the same rows."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alerter.store import known_sites
from alerter.wix.review import parse_review
from benchmarks.figures import Figure
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.reviews import page_of
from benchmarks.servers.wix import FastWix
from benchmarks.store import (
    ALERT,
    DELIVERY,
    JUDGEMENT,
    bare_state,
    judgement_row,
    review_row,
    review_sql,
)
from benchmarks.world import World, runtime, site_id, worlds

_PAGE = 100
_NOW = 1_764_000_000_000


def measure(*, quick: bool) -> list[Figure]:
    """Measure reviews per second, 100 in a transaction, with two receivers."""
    pages = 30 if quick else 100
    with serving(FastWix) as wix:
        world = World(wix.url, smtp=9)
        both = beside(
            3 if quick else 7, lambda: alone(_take, world, pages), lambda: alone(_bare, pages)
        )
    ours, bare = both.rates(pages * _PAGE)
    detail = f"{ours:,.0f}/s, raw {bare:,.0f}/s"
    return [
        Figure("record", "reviews/s, of raw sqlite3", both.speed, "≥", 0.5, "×", detail),
        Figure("record", "reviews a CPU second, of raw sqlite3", 1 / both.cpu, "≥", 0.55, "×"),
    ]


async def _take(meter: Meter, world: World, pages: int) -> None:
    with worlds(world) as fresh:
        async with runtime(fresh) as (config, state, opened):
            site = config.sites[0]
            known_sites.record_coverage(state, site.site_id, 2)
            await opened.intake.record_page(site, [parse_review(raw) for raw in _page(-1)])
            for number in range(pages):
                page = [parse_review(raw) for raw in _page(number)]
                with meter:
                    await opened.intake.record_page(site, page, checkpoint=page[-1].created)


async def _bare(meter: Meter, pages: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        contextlib.closing(bare_state(Path(folder))) as conn,
    ):
        sql = review_sql(conn)
        for number in range(pages):
            reviews = [review_row(raw, "open", _NOW) for raw in _page(number)]
            alerts = [
                (number * _PAGE + place, f"new:{row[0]}:{row[1]}", row[0], row[1], _NOW)
                for place, row in enumerate(reviews)
            ]
            deliveries = [
                (alert[0], destination)
                for alert in alerts
                for destination in ("email:owner", "slack:support")
            ]
            judgements = [judgement_row(row, _NOW) for row in reviews]
            with meter, conn:
                conn.executemany(sql, reviews)
                conn.executemany(JUDGEMENT, judgements)
                conn.executemany(ALERT, alerts)
                conn.executemany(DELIVERY, deliveries)
                conn.execute(
                    "INSERT INTO sites (site_id, checkpoint) VALUES (?, ?) ON CONFLICT DO UPDATE"
                    " SET checkpoint = excluded.checkpoint",
                    [site_id(0), reviews[-1][5]],
                )


def _page(number: int) -> Iterator[Any]:
    first = (number + 1) * _PAGE
    yield from json.loads(page_of(first, first + _PAGE))
