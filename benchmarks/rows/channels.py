"""Two thousand alerts to a hundred channels without limits, beside as many bare connections."""

import asyncio
from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.figures import Figure
from benchmarks.outbox import deliver
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import SECRETS, World

_CHANNELS = 100


def measure(*, quick: bool) -> list[Figure]:
    """Measure alerts of a site for each channel, and the same alerts for all channels."""
    number, runs = (400, 3) if quick else (2000, 7)
    figures = []
    with (
        serving(FastWix) as wix,
        serving(FastSlack) as slack,
        serving(FastSlack, keep=True) as keeping,
    ):
        own = World(wix.url, slack.url, sites=_CHANNELS, channels=_CHANNELS)
        same = World(wix.url, slack.url, channels=0, more=_receivers())
        alone(deliver, World(wix.url, keeping.url), number)
        posts = keeping.ask("posts")
        for name, world, recorded in (
            ("of its own alerts", own, number),
            ("of the same alerts", same, number // _CHANNELS),
        ):
            both = beside(
                runs,
                lambda world=world, recorded=recorded: alone(deliver, world, recorded),
                lambda: alone(_bare, slack.url, posts),
            )
            (ours, bare), (cpu, least) = both.rates(number), both.cpu_ms(number)
            detail = f"{ours:,.0f}/s, bare {bare:,.0f}/s; CPU {cpu:.2f} ms, bare {least:.2f} ms"
            row = f"{_CHANNELS} channels, {name}"
            figures += [
                Figure(row, "alerts/s, of bare", both.speed, "≥", 0.6, "×", detail),
                Figure(row, "CPU an alert, of bare", both.cpu, "≤", 2.5, "×"),
            ]
    return figures


def _receivers() -> str:
    return "".join(
        f'[[receivers]]\nname = "channel {each}"\nslack = "C{each:010}"\n'
        for each in range(_CHANNELS)
    )


async def _bare(meter: Meter, url: str, posts: list[dict[str, Any]]) -> None:
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(
            token=SECRETS["SLACK_BOT_TOKEN"], base_url=url + "/", session=session, retry_handlers=[]
        )

        async def send(some: list[dict[str, Any]]) -> None:
            for post in some:
                await client.chat_postMessage(**post)

        await client.chat_postMessage(**posts[0])
        with meter:
            await asyncio.gather(*(send(posts[each::_CHANNELS]) for each in range(_CHANNELS)))
