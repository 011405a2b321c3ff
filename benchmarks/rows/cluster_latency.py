"""From the record of a review by one process to its receiver, sent by three workers."""

import time
from dataclasses import replace

from benchmarks.cluster import workers
from benchmarks.figures import Figure, percentile
from benchmarks.postgres import postgres
from benchmarks.processes import Meter, alone, serving
from benchmarks.rows.latency import CHANNELS, prepare, record, record_reviews, until_sent, waits
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, runtime, worlds

_WORKERS = 3
_SETTLE = 5.0


def measure(*, quick: bool) -> list[Figure]:
    """Measure the latency at the median and the 99th percentile, 50 a second."""
    number = 200 if quick else 1000
    with (
        serving(FastWix) as wix,
        serving(FastSlack) as slack,
        postgres() as server,
        server.database("latency") as url,
    ):
        world = World(wix.url, slack.url, sites=CHANNELS, channels=CHANNELS, every="1h")
        with worlds(world) as fresh:
            embedded = waits(slack, alone(record, fresh, number))
        with worlds(replace(world, database=url)) as fresh:
            fresh.write()
            with workers(fresh, _WORKERS):
                time.sleep(_SETTLE)
                slack.ask("times")
                ours = waits(slack, alone(_record, fresh, number))
    row = f"recorded → received, {_WORKERS} workers"
    return [
        Figure(row, name, percentile(ours, share), "≤", goal, "ms", _beside(embedded, share))
        for name, share, goal in (("p50", 0.5, 50), ("p99", 0.99, 250))
    ]


def _beside(embedded: list[float], share: float) -> str:
    return f"embedded {percentile(embedded, share):.1f} ms; 50 a second"


async def _record(meter: Meter, world: World, number: int) -> list[float]:
    async with runtime(world, "bench") as (config, state, opened):
        prepare(config, state)
        with meter:
            sent = await record_reviews(config, opened, number)
        await until_sent(config, state)
        return sent
