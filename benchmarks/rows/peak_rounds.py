"""Polls per second of one process, beside bare httpx at its best concurrency."""

import asyncio
import time

import httpx

from benchmarks.figures import Figure
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.rows.idle_round import post
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, runtime, site_id, worlds

_CONCURRENCIES = (1, 2, 5, 10, 20)
_PROBE = 300


def measure(*, quick: bool) -> list[Figure]:
    """Measure polls per second."""
    sites = 300 if quick else 2000
    with serving(FastWix) as wix:
        both = beside(
            3 if quick else 5,
            lambda: alone(_rounds, World(wix.url, sites=sites)),
            lambda: alone(_bare, wix.url, sites),
        )
    (ours, bare), (cpu, _) = both.rates(sites), both.cpu_ms(sites)
    detail = (
        f"{ours:,.0f}/s ({cpu:.2f} ms CPU), bare {bare:,.0f}/s at {both.bare[0].value} connections"
    )
    return [
        Figure("peak rounds", "rounds/s, of bare httpx", both.speed, "≥", 0.8, "×", detail),
        Figure("peak rounds", "sites at 60 s on half a core", 30_000 / cpu, "≥", 10_000, "sites"),
    ]


async def _rounds(meter: Meter, world: World) -> None:
    with worlds(world) as fresh:
        async with runtime(fresh) as (config, _, opened):
            await asyncio.gather(*(opened.poller.round(site) for site in config.sites))
            with meter:
                await asyncio.gather(*(opened.poller.round(site) for site in config.sites))


async def _bare(meter: Meter, url: str, number: int) -> int:
    took = {concurrency: await _all(url, _PROBE, concurrency) for concurrency in _CONCURRENCIES}
    best = min(took, key=lambda concurrency: took[concurrency])
    await _all(url, number, best, meter)
    return best


async def _all(url: str, number: int, concurrency: int, meter: Meter | None = None) -> float:
    async with httpx.AsyncClient(timeout=httpx.Timeout(30, pool=None)) as client:
        sites = iter(range(number))

        async def work() -> None:
            for site in sites:
                await post(client, url, {"Authorization": "wix-key", "wix-site-id": site_id(site)})

        await asyncio.gather(
            *(post(client, url, {"wix-site-id": site_id(0)}) for _ in range(concurrency))
        )
        began = time.perf_counter()
        with meter or Meter():
            await asyncio.gather(*(work() for _ in range(concurrency)))
        return time.perf_counter() - began
