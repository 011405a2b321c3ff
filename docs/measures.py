"""Write the measures into docs/architecture.md: `python docs/measures.py`.

Sizes are those of `alerter/` without the demo. Each journey runs against the embedded services, and
a file of `alerter/` counts as entered if one of its functions is called meanwhile.
"""

import ast
import asyncio
import io
import re
import sys
import tempfile
import threading
import tokenize
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp

from alerter.clock import Clock
from alerter.commands import reply
from alerter.config import Config, load_config
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks
from alerter.notify.worker import IdleReason
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State
from alerter.web.server import open_web

DOCUMENT = Path(__file__).parent / "architecture.md"
BEGIN, END = "<!-- measures -->", "<!-- end of measures -->"
PACKAGE = Path(__file__).parent.parent / "alerter"
SITE, INSTANCE = "11111111-1111-4111-8111-111111111111", "a-bakery"
SECRETS = {"WIX_API_KEY": "wix-key", "SLACK_BOT_TOKEN": "xoxb-token"}
CONFIG = """
state = "state.db"
[reminders]
after = ["1s"]
[wix]
base_url = "{wix.base_url}"
[slack]
token = "env:SLACK_BOT_TOKEN"
base_url = "{slack.base_url}"
[[sites]]
name = "Corner Bakery"
site_id = "{site}"
api_key = "env:WIX_API_KEY"
instance_id = "{instance}"
[[receivers]]
name = "team"
slack = "C0123456789"
[web]
listen = "127.0.0.1:8080"
[[apps]]
app_id = "{sender.app_id}"
public_key = '''{sender.public_key}'''
"""
# What tokenize yields beside the tokens of the language.
LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
# Config keys whose names have no other meaning in the code.
KEYS = ("closings", "escalate_to", "keywords", "mention_max_rating", "rescan_every")
# The same measures of release 0.1.0.
BEFORE = {
    "files": "78",
    "lines": "10,515",
    "tokens": "69,901",
    "tokens per line": "6.6",
    "line length, 90th percentile": "96",
    "lines under 100 characters": "92 %",
    "private functions with one caller": "215 of 376",
    "files entered by a review": "26",
    "files entered by a webhook": "17",
    "files entered by a reminder": "15",
    "files entered by a reply": "17",
    "files that name a config key": "2 to 5",
}


def sizes(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the measures of the text of the product's files."""
    lengths = sorted(len(line) for text in files.values() for line in text.splitlines())
    tokens = sum(
        token.type not in LAYOUT
        for text in files.values()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
    )
    yield "files", f"{len(files)}"
    yield "lines", f"{len(lengths):,}"
    yield "tokens", f"{tokens:,}"
    yield "tokens per line", f"{tokens / len(lengths):.1f}"
    yield "line length, 90th percentile", f"{lengths[len(lengths) * 9 // 10]}"
    short = sum(length < 100 for length in lengths)
    yield "lines under 100 characters", f"{100 * short / len(lengths):.0f} %"
    counts = [count_private(text) for text in files.values()]
    private, once = (sum(column) for column in zip(*counts, strict=True))
    yield "private functions with one caller", f"{once} of {private}"


def count_private(text: str) -> tuple[int, int]:
    """Return the number of private functions of a file, and of those that it names only once."""
    nodes = list(ast.walk(ast.parse(text)))
    named = Counter(node.id for node in nodes if isinstance(node, ast.Name))
    named.update(node.attr for node in nodes if isinstance(node, ast.Attribute))
    functions = [
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.match("_[^_]", node.name)
    ]
    return len(functions), sum(named[name] == 1 for name in functions)


@contextmanager
def entered() -> Iterator[set[str]]:
    """Collect the files of the product in which a function is called, in any thread."""
    files: set[str] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and frame.f_code.co_name != "<module>" and PACKAGE in path.parents:
            files.add(str(path.relative_to(PACKAGE)))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        files -= {name for name in files if name.startswith("demo")}


async def journeys(folder: Path) -> dict[str, set[str]]:
    """Run each journey once and return the files that it entered."""
    sender = Webhooks("", app_id="an-app")
    async with EmbeddedWix() as wix, EmbeddedSlack() as slack:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"])
        slack.add_channel("C0123456789", "reviews")
        path = folder / "config.toml"
        text = CONFIG.format(wix=wix, slack=slack, sender=sender, site=SITE, instance=INSTANCE)
        path.write_text(text, "utf-8")
        config = load_config(path, SECRETS, secrets=True)
        with State.open(config.database, migrate=True) as state:
            async with open_runtime(config, state, Clock()) as runtime:
                return {
                    "review": await review(config, runtime, wix, slack),
                    "webhook": await webhook(config, state, runtime, sender),
                    "reminder": await reminder(config, runtime, slack),
                    "reply": await answer(config, wix),
                }


async def review(
    config: Config, runtime: Runtime, wix: EmbeddedWix, slack: EmbeddedSlack
) -> set[str]:
    """From the answer of Wix to the message on Slack."""
    await runtime.poller.round(config.sites[0])
    wix.add(SITE, {"id": "r1", "content": {"rating": 1, "title": "Stale on arrival"}})
    with entered() as files:
        await runtime.poller.round(config.sites[0])
        await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
    check(happened=len(slack.posts) == 1)
    return files


async def webhook(config: Config, state: State, runtime: Runtime, sender: Webhooks) -> set[str]:
    """From the request to its answer: then the review, its alert and its delivery are recorded."""
    created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    found: dict[str, Any] = {"id": "r2", "content": {"rating": 1}, "revision": "1"}
    found |= dict.fromkeys(("createdDate", "updatedDate", "reviewDate"), created)
    event = sender.event("created", found | {"entityId": "a-product"})
    data = sender.envelope("wix.reviews.v1.review_created", event, INSTANCE, SITE)
    async with (
        open_web(("127.0.0.1", 0), config, state, Clock(), runtime.intake, {}) as web,
        aiohttp.ClientSession() as client,
    ):
        url = f"http://127.0.0.1:{web.port}/webhooks/wix"
        with entered() as files:
            async with client.post(url, data=sender.sign(data)) as response:
                await response.read()
        check(happened=response.status == 200)
    return files


async def reminder(config: Config, runtime: Runtime, slack: EmbeddedSlack) -> set[str]:
    """From the poll in which it is due to its delivery in the outbox."""
    await asyncio.sleep(1.1)
    posts = len(slack.posts)
    with entered() as files:
        await runtime.poller.round(config.sites[0])
    await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
    check(happened=len(slack.posts) > posts)
    return files


async def answer(config: Config, wix: EmbeddedWix) -> set[str]:
    """From `alerter reply` to the record of the answer of Wix."""
    site, message = config.sites[0], "We are sorry."
    with entered() as files, redirect_stdout(io.StringIO()):
        await reply.run(config, Clock(), site, "r1", reply.Wanted(message, yes=True))
    row = wix.sites[SITE].reviews.get("r1")
    check(happened=bool(row and row.review.get("reply")))
    return files


def check(*, happened: bool) -> None:
    """End the script if a journey did not reach its end."""
    if not happened:
        sys.exit("a journey did not reach its end")


def main() -> None:
    """Print every list of files, and write the table."""
    files = {
        str(path.relative_to(PACKAGE)): path.read_text("utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
        if "demo" not in path.parts
    }
    now = dict(sizes(files))
    with tempfile.TemporaryDirectory() as folder:
        for journey, names in asyncio.run(journeys(Path(folder))).items():
            print(f"{journey}: {', '.join(sorted(names))}")
            now[f"files entered by a {journey}"] = f"{len(names)}"
    naming = [
        sum(re.search(rf"\b{key}\b", text) is not None for text in files.values()) for key in KEYS
    ]
    now["files that name a config key"] = f"{min(naming)} to {max(naming)}"
    rows = ["| measure | 0.1.0 | now |", "| --- | --- | --- |"]
    rows += [f"| {name} | {BEFORE[name]} | {value} |" for name, value in now.items()]
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text("\n".join([f"{before}{BEGIN}", "", *rows, "", f"{END}{after}"]), "utf-8")


if __name__ == "__main__":
    main()
