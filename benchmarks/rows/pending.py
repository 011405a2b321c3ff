"""A hundred thousand deliveries that wait for a receiver that is down."""

import json
import os
import subprocess
import time
from datetime import timedelta

from alerter.clock import Clock
from alerter.config import Config
from alerter.models import Alert, AlertKind, Status, StoredReview
from alerter.store import State, blocks, raised_alerts, reviews
from alerter.store.raised_alerts import NewAlert
from alerter.wix.review import parse_review
from benchmarks.figures import Figure, middle, percentile
from benchmarks.processes import Meter, Usage, alone, serving
from benchmarks.reviews import page_of
from benchmarks.rows.latency import CHANNELS, record, waits
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import SECRETS, World, command, running, worlds

_PAGE = 1000
_DOWN = "email:owner"
_OTHERS = 10_000_000  # numbers of reviews that no later one has


def measure(*, quick: bool) -> list[Figure]:
    """Measure memory, `status`, and the latency of a healthy receiver."""
    number, alerts, runs = (10_000, 200, 1) if quick else (100_000, 500, 3)
    with serving(FastWix) as wix, serving(FastSlack) as slack:
        world = World(wix.url, slack.url, smtp=9, sites=CHANNELS, channels=CHANNELS)
        with worlds(world) as none, worlds(world) as many:
            fill(none.config(), 0)
            fill(many.config(), number)
            without, rss, status = _rss(none), _rss(many), middle(_status(many) for _ in range(3))
        slow, quickly = [], []
        for _ in range(runs):
            quickly.append(percentile(waits(slack, alone(_record, world, 0, alerts)), 0.5))
            slow.append(percentile(waits(slack, alone(_record, world, number, alerts)), 0.5))
    row = f"{number:,} pending"
    healthy = middle(
        with_many / with_none for with_many, with_none in zip(slow, quickly, strict=True)
    )
    detail = f"p50 {middle(slow):.2f} ms, with none {middle(quickly):.2f} ms"
    return [
        Figure(
            row,
            "RSS, of that at none",
            rss / without,
            "≤",
            1.3,
            "×",
            f"{rss:.0f} MB, {without:.0f} MB",
        ),
        Figure(row, "`status`", status, "≤", 1, "s"),
        Figure(row, "a healthy receiver waits, of that at none", healthy, "≤", 1.1, "×", detail),
    ]


def fill(config: Config, number: int) -> None:
    """Add deliveries to the outbox for a receiver that is held back until tomorrow."""
    now = Clock().now()
    with State.open(config.database, migrate=True) as state:
        blocks.set_block(state, f"destination:{_DOWN}", now, now + timedelta(days=1), "it is down")
        for first in range(0, number, _PAGE):
            with state.transaction():
                _fill(state, config.sites[-1].site_id, first)


def _fill(state: State, site_id: str, first: int) -> None:
    now = Clock().now()
    found = [
        parse_review(raw) for raw in json.loads(page_of(_OTHERS + first, _OTHERS + first + _PAGE))
    ]
    reviews.put_reviews(
        state, site_id, [StoredReview(review, Status.OPEN, now) for review in found], now
    )
    alerts = [
        Alert(f"new:{site_id}:{review.id}", AlertKind.NEW, site_id, review.id) for review in found
    ]
    raised_alerts.raise_alerts(state, [NewAlert(alert, [(_DOWN, None)]) for alert in alerts], now)


def _rss(world: World) -> float:
    """Return the memory of the daemon after its first polls."""
    with running(world) as daemon:
        time.sleep(8)
        return Usage.of(daemon.pid).rss


def _status(world: World) -> float:
    began = time.perf_counter()
    # It may exit with 1, because no site was read for a while.
    subprocess.run(
        command(world.folder / "config.toml", "status"),
        env=os.environ | SECRETS,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - began


async def _record(meter: Meter, world: World, pending: int, number: int) -> list[float]:
    with worlds(world) as fresh:
        fill(fresh.config(), pending)
        return await record(meter, fresh, number)
