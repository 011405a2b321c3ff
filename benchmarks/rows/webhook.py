"""From a signed event to its receiver, 20 a second, beside a bare relay."""

import asyncio
import json
import time

import aiohttp

from alerter.demo.wix_webhooks import Webhooks, free_port
from benchmarks.figures import Figure, percentile
from benchmarks.processes import Serving, serving
from benchmarks.reviews import page_of
from benchmarks.rows.latency import paced
from benchmarks.servers.relay import Relay
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, running, site_id, worlds

_A_SECOND = 20
# Slack gets one message a second in each channel, so there are enough channels for the rate.
_CHANNELS = 2 * _A_SECOND
_LAST = 5.0


def measure(*, quick: bool) -> list[Figure]:
    """Measure the latency at the median and the 99th percentile."""
    number, port, webhooks = 200 if quick else 1000, free_port(), Webhooks("")
    tokens = [_signed(webhooks, turn) for turn in range(number)]
    key = f"[[apps]]\napp_id = \"{webhooks.app_id}\"\npublic_key = '''{webhooks.public_key}'''\n"
    with (
        serving(FastWix) as wix,
        serving(FastSlack) as slack,
        serving(Relay, slack=slack.url) as relay,
    ):
        web = f'[web]\nlisten = "127.0.0.1:{port}"\n{key}'
        world = World(wix.url, slack.url, sites=_CHANNELS, channels=_CHANNELS, more=web)
        with worlds(world) as fresh, running(fresh):
            while wix.ask("sites") < _CHANNELS:
                time.sleep(0.1)
            time.sleep(2)
            ours = _waits(slack, f"http://127.0.0.1:{port}/webhooks/wix", tokens)
        bare = _waits(slack, relay.url, tokens)
    detail = f"a bare relay: {percentile(bare, 0.5):.1f} ms, p99 {percentile(bare, 0.99):.1f} ms"
    return [
        Figure("webhook → received", "p50", percentile(ours, 0.5), "≤", 20, "ms", detail),
        Figure(
            "webhook → received",
            "p99",
            percentile(ours, 0.99),
            "≤",
            100,
            "ms",
            f"{_A_SECOND} a second",
        ),
    ]


def _signed(webhooks: Webhooks, turn: int) -> str:
    (review,) = json.loads(page_of(turn, turn + 1))
    event = webhooks.event("created", review)
    envelope = webhooks.envelope(
        "wix.reviews.v1.review_created", event, None, site_id(turn % _CHANNELS)
    )
    return webhooks.sign(envelope)


def _waits(slack: Serving, url: str, tokens: list[str]) -> list[float]:
    """Return the milliseconds of each; infinite for one that did not arrive."""
    sent = asyncio.run(_send(url, tokens))
    time.sleep(_LAST)
    times = slack.ask("times")
    return [1e3 * (times.get(number, float("inf")) - began) for number, began in enumerate(sent)]


async def _send(url: str, tokens: list[str]) -> list[float]:
    async with aiohttp.ClientSession() as http:

        async def post(turn: int) -> None:
            async with http.post(url, data=tokens[turn]) as response:
                response.raise_for_status()

        return await paced(post, len(tokens), _A_SECOND)
