"""`alerter demo --serve`: the embedded services, a config for them, and a page to try them on."""

import asyncio
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from alerter.demo.arrivals import Arrivals
from alerter.demo.daemon import Daemon
from alerter.demo.live_page import LivePage
from alerter.demo.stage import APP, APP_SITE_ID, SITE_ID, Say, Stage, open_stage
from alerter.service.signals import stop_signals

_LOOK_EVERY = 0.05


async def serve(reviews: Path | None, say: Say) -> bool:
    """Run the services until a signal arrives, and print a config for them.

    All that is printed together is a TOML document, for what is no config is a comment.
    """
    with (
        tempfile.TemporaryDirectory(prefix="alerter-demo-") as folder,
        stop_signals() as stop,
    ):
        async with open_stage(Path(folder), reviews) as stage, _webhooks(stage) as web:
            config = stage.config(every="5s") + web
            path = stage.folder / "config.toml"
            path.write_text(config, "utf-8")
            daemon = Daemon(path)
            async with LivePage(stage, daemon) as page:
                say(_guide(stage, page), "note")
                say(config, "note")
                printing = asyncio.create_task(_print_arrivals(stage, say))
                await stop.wait()
                printing.cancel()
            await daemon.stop()
            mails, posts = len(stage.mailbox.mails), len(stage.slack.posts)
            say(f"# {mails} mails, {posts} Slack messages", "result")
    return True


async def _print_arrivals(stage: Stage, say: Say) -> None:
    arrivals = Arrivals(stage.mailbox.mails, stage.slack.posts)
    while True:
        for arrival in arrivals.new():
            say(f"# {arrival.line}", "message")
        await asyncio.sleep(_LOOK_EVERY)


@asynccontextmanager
async def _webhooks(stage: Stage) -> AsyncIterator[str]:
    """Yield the config of webhooks, and send them; empty without the extra `web`."""
    if not (find_spec("jwt") and find_spec("cryptography") and find_spec("prometheus_client")):
        yield ""
        return
    from alerter.demo.wix_webhooks import Webhooks, free_port  # noqa: PLC0415 - extra `web`

    port = free_port()
    async with Webhooks(f"http://127.0.0.1:{port}/webhooks/wix", app_id=APP.app_id) as webhooks:
        webhooks.watch(stage.wix.sites[SITE_ID], "demo-instance-of-the-bakery")
        webhooks.watch(stage.wix.sites[APP_SITE_ID], APP.instance_id)
        yield f"""
# The embedded Wix sends webhooks here; mails link to the review page; /healthz and /metrics answer.
[web]
listen = "127.0.0.1:{port}"
{stage.link_keys(port)}

[[apps]]
app_id = "{webhooks.app_id}"
public_key = "{b64encode(webhooks.public_key.encode()).decode()}"
"""


def _guide(stage: Stage, page: LivePage) -> str:
    init = " \\\n#     ".join(stage.init_flags())
    reviews = f"{stage.wix.base_url}/demo/reviews"
    return f"""# An embedded Wix, Slack and mailbox run until Ctrl-C. This page shows what arrives:
#   {page.url}
# Or save this as config.toml, then in another terminal:
#   alerter check
#   alerter backfill --since 2018-01-01 --dry-run
#   alerter run
# Or have a config made: by these flags, or without those that alerter shall ask for:
#   alerter init \\
#     {init}
# Add a review while it runs, to the first site or to the second:
#   curl -d '{{"content": {{"rating": 1, "title": "Stale"}}}}' {reviews}
#   curl -d '{{"content": {{"rating": 1, "title": "Cold"}}}}' {reviews}?site={APP_SITE_ID}
"""
