"""Two thousand alerts to a Slack without limits, beside the bare client."""

from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.figures import Figure
from benchmarks.outbox import deliver
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import SECRETS, World


def measure(*, quick: bool) -> list[Figure]:
    """Measure alerts per second, and CPU per alert."""
    number = 300 if quick else 2000
    with (
        serving(FastWix) as wix,
        serving(FastSlack) as slack,
        serving(FastSlack, keep=True) as keeping,
    ):
        alone(deliver, World(wix.url, keeping.url), number)
        posts = keeping.ask("posts")
        both = beside(
            3 if quick else 7,
            lambda: alone(deliver, World(wix.url, slack.url), number),
            lambda: alone(_bare, slack.url, posts),
        )
    if len(posts) != number:
        raise RuntimeError("every alert has to leave by itself")
    (ours, bare), (cpu, least) = both.rates(number), both.cpu_ms(number)
    return [
        Figure(
            "deliver to Slack",
            "alerts/s, of bare",
            both.speed,
            "≥",
            0.6,
            "×",
            f"{ours:,.0f}/s, bare {bare:,.0f}/s",
        ),
        Figure(
            "deliver to Slack",
            "CPU an alert, of bare",
            both.cpu,
            "≤",
            2.5,
            "×",
            f"{cpu:.2f} ms, bare {least:.2f} ms",
        ),
    ]


async def _bare(meter: Meter, url: str, posts: list[dict[str, Any]]) -> None:
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(
            token=SECRETS["SLACK_BOT_TOKEN"], base_url=url + "/", session=session, retry_handlers=[]
        )
        await client.chat_postMessage(**posts[0])
        with meter:
            for post in posts:
                await client.chat_postMessage(**post)
