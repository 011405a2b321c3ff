"""From the record of a review to its receiver, 50 a second, beside the bare client."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from alerter.clock import Clock
from alerter.config import Config
from alerter.models import Medium, Product, destination_of
from alerter.service.runtime import Runtime
from alerter.store import State, known_sites, outbox, products
from alerter.wix.review import parse_review
from benchmarks.figures import Figure, middle, percentile
from benchmarks.processes import Cost, Meter, Serving, alone, serving
from benchmarks.reviews import PRODUCT, page_of
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import CHANNEL, SECRETS, World, runtime, worlds

_A_SECOND = 50
# Slack gets one message a second in each channel, so there are enough channels for the rate.
CHANNELS = 2 * _A_SECOND


def measure(*, quick: bool) -> list[Figure]:
    """Measure the time beyond the bare client's, at the median and the 99th percentile."""
    number, runs = (200, 1) if quick else (1000, 3)
    with serving(FastWix) as wix, serving(FastSlack) as slack:
        world = World(wix.url, slack.url, sites=CHANNELS, channels=CHANNELS)
        both = [
            (
                waits(slack, alone(_record, world, number)),
                waits(slack, alone(_bare, slack.url, number)),
            )
            for _ in range(runs)
        ]
    over = {
        share: middle(percentile(mine, share) - percentile(bare, share) for mine, bare in both)
        for share in (0.5, 0.99)
    }
    ours, bare = (
        middle(percentile(waits, 0.5) for waits in each) for each in zip(*both, strict=True)
    )
    detail = f"{ours:.1f} ms, bare {bare:.1f} ms"
    return [
        Figure("recorded → received", "p50 over bare", over[0.5], "≤", 3, "ms", detail),
        Figure(
            "recorded → received",
            "p99 over bare",
            over[0.99],
            "≤",
            10,
            "ms",
            f"{_A_SECOND} a second",
        ),
    ]


def waits(slack: Serving, cost: Cost) -> list[float]:
    """Return the milliseconds of each."""
    times = slack.ask("times")
    return [1e3 * (times[number] - sent) for number, sent in enumerate(cost.value)]


async def _record(meter: Meter, world: World, number: int) -> list[float]:
    with worlds(world) as fresh:
        return await record(meter, fresh, number)


async def record(meter: Meter, world: World, number: int) -> list[float]:
    """Record reviews at a steady rate while the dispatcher runs; return their times."""
    async with runtime(world) as (config, state, opened):
        prepare(config, state)
        dispatching = asyncio.create_task(opened.dispatcher.run())
        with meter:
            sent = await record_reviews(config, opened, number)
        await until_sent(config, state)
        opened.dispatcher.stop()
        await dispatching
        return sent


def prepare(config: Config, state: State) -> None:
    """Record that the sites were read, and the name of their product."""
    for site in config.sites:
        known_sites.record_coverage(state, site.site_id, 2)
        products.put_products(
            state, site.site_id, {PRODUCT: Product("Croissant box")}, Clock().now()
        )


async def record_reviews(config: Config, opened: Runtime, number: int) -> list[float]:
    """Record reviews at a steady rate, each of another site; return their times."""

    async def take(turn: int) -> None:
        (raw,) = json.loads(page_of(turn, turn + 1))
        await opened.intake.record_page(config.sites[turn % len(config.sites)], [parse_review(raw)])

    return await paced(take, number)


async def until_sent(config: Config, state: State) -> None:
    """Wait until no delivery to Slack is pending."""
    destinations = [
        destination_of(receiver.name, Medium.SLACK)
        for receiver in config.receivers
        if receiver.slack
    ]
    while outbox.pending_count(state, destinations, Clock().now()):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0.1)


async def paced(
    work: Callable[[int], Awaitable[None]], number: int, a_second: float = _A_SECOND
) -> list[float]:
    """Start some work at a steady rate, and return the start times."""
    began, sent = time.monotonic(), []
    async with asyncio.TaskGroup() as group:
        for turn in range(number):
            await asyncio.sleep(max(began + turn / a_second - time.monotonic(), 0))
            sent.append(time.monotonic())
            group.create_task(work(turn))
    return sent


async def _bare(meter: Meter, url: str, number: int) -> list[float]:
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(
            token=SECRETS["SLACK_BOT_TOKEN"], base_url=url + "/", session=session, retry_handlers=[]
        )

        async def post(turn: int) -> None:
            await client.chat_postMessage(channel=CHANNEL, text=f"Stale on arrival {turn}")

        await post(number)
        with meter:
            return await paced(post, number)
