"""How long a webhook waits for its answer: `python -m tests.webhook_load [PER SECOND] [SECONDS]`.

A real daemon, and new low-rated reviews only: each is checked, written, alerted and sent to two
receivers.
"""

import asyncio
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

import aiohttp

from alerter.demo.stage import PRODUCT_ID, SITE_ID, Stage, open_stage
from alerter.demo.wix_reviews import completed
from alerter.demo.wix_webhooks import Webhooks, free_port
from tests.support.process import listening


async def main(rate: int, seconds: int) -> None:
    """Measure, and print what was measured."""
    with tempfile.TemporaryDirectory(prefix="alerter-load-") as folder:
        async with open_stage(Path(folder), None) as stage:
            webhooks = Webhooks("")
            port = free_port()
            config = stage.folder / "config.toml"
            config.write_text(stage.config(every="60s") + listening(port, webhooks))
            with (stage.folder / "log").open("wb") as log:
                daemon = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "alerter",
                    "run",
                    "--config",
                    str(config),
                    stderr=log,
                    env=os.environ,
                )
            try:
                async with asyncio.timeout(20):
                    while not stage.wix.queries():
                        await asyncio.sleep(0.1)
                await asyncio.sleep(1)
                await _load(stage, webhooks, f"http://127.0.0.1:{port}", rate, seconds)
            finally:
                daemon.terminate()
                await daemon.wait()


async def _load(stage: Stage, webhooks: Webhooks, url: str, rate: int, seconds: int) -> None:
    now = stage.wix.clock.now()
    tokens = []
    for number in range(rate * seconds):
        words = {"rating": 1, "title": f"Review {number}", "body": "Hard as stone. " * 20}
        review = completed(
            {"content": words, "entityId": PRODUCT_ID, "author": {"authorName": "Robin"}}, now
        )
        event = webhooks.event("created", review)
        tokens.append(
            webhooks.sign(webhooks.envelope("wix.reviews.v1.review_created", event, None, SITE_ID))
        )
    waits: list[float] = []
    answers: Counter[int] = Counter()

    async def post(http: aiohttp.ClientSession, token: str) -> None:
        begun = perf_counter()
        async with http.post(f"{url}/webhooks/wix", data=token) as response:
            answers[response.status] += 1
        waits.append(perf_counter() - begun)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        begun, sent = perf_counter(), []
        for number, token in enumerate(tokens):
            await asyncio.sleep(begun + number / rate - perf_counter())
            sent.append(asyncio.create_task(post(http, token)))
        await asyncio.gather(*sent)
        took = perf_counter() - begun
        async with http.get(f"{url}/healthz") as response:
            health = response.status
    waits.sort()
    middle, most, longest = (1000 * waits[int(part * (len(waits) - 1))] for part in (0.5, 0.99, 1))
    print(
        f"{len(waits)} webhooks in {took:.1f} s ({len(waits) / took:.0f}/s): {dict(answers)}; "
        f"healthz {health}"
    )
    print(
        f"answered after {middle:.0f} ms (median), {most:.0f} ms (99 %), {longest:.0f} ms (longest)"
    )


if __name__ == "__main__":
    asyncio.run(main(*(int(each) for each in [*sys.argv[1:], *("200", "10")[len(sys.argv) - 1 :]])))
