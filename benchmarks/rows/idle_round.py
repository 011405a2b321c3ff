"""A poll of one site that finds nothing new, beside the bare request and its JSON."""

from typing import Any

import httpx

from alerter.counters import counts
from benchmarks.figures import Figure
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, runtime, site_id, worlds

_WARM_UP = 30
QUERY = {
    "query": {
        "filter": {
            "$and": [
                {"content.rating": {"$lte": 2}},
                {"createdDate": {"$gte": "2026-11-24T11:55:00.000Z"}},
            ]
        },
        "sort": [{"fieldName": "createdDate", "order": "ASC"}],
        "cursorPaging": {"limit": 100},
    },
    "returnPrivateReviews": True,
}


def measure(*, quick: bool) -> list[Figure]:
    """Measure CPU and requests per poll."""
    rounds = 300 if quick else 2000
    with serving(FastWix) as wix:
        both = beside(
            3 if quick else 5,
            lambda: alone(_rounds, World(wix.url), rounds),
            lambda: alone(_bare, wix.url, rounds),
        )
    ours, bare = both.cpu_ms(rounds)
    return [
        Figure(
            "idle round",
            "CPU, of bare httpx",
            both.cpu,
            "≤",
            1.5,
            "×",
            f"{ours:.2f} ms, bare {bare:.2f} ms",
        ),
        Figure("idle round", "requests", both.ours[0].value, "≤", 1, ""),
    ]


async def _rounds(meter: Meter, world: World, number: int) -> float:
    with worlds(world) as fresh:
        async with runtime(fresh) as (config, _, opened):
            for _ in range(_WARM_UP):
                await opened.poller.round(config.sites[0])
            before = counts["wix_calls_200"]
            with meter:
                for _ in range(number):
                    await opened.poller.round(config.sites[0])
            return (counts["wix_calls_200"] - before) / number


async def _bare(meter: Meter, url: str, number: int) -> None:
    headers = {"Authorization": "wix-key", "wix-site-id": site_id(0)}
    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(_WARM_UP):
            await post(client, url, headers)
        with meter:
            for _ in range(number):
                await post(client, url, headers)


async def post(
    client: httpx.AsyncClient, url: str, headers: dict[str, str], query: Any = QUERY
) -> dict[str, Any]:
    """Send a request with bare httpx, and return its JSON."""
    response = await client.post(f"{url}/reviews/v1/reviews/query", json=query, headers=headers)
    answer: dict[str, Any] = response.json()
    return answer
