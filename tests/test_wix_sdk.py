"""Wix's own parser of webhooks takes what the embedded Wix signs: what alerter is tried with is true to life."""

import asyncio
import json
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from alerter.demo.wix_reviews import completed
from alerter.demo.wix_webhooks import Webhooks
from alerter.watch.wix_event import read_event, read_notice
from tests.conftest import SetClock

# `make wix-sdk` puts it there; it is Wix's, it is large, and nothing but this test needs it.
FOLDER = Path(__file__).parent.parent / ".node"
SCRIPT = """
import { createClient, AppStrategy } from '@wix/sdk';
import { reviews } from '@wix/reviews';
const { publicKey, tokens } = JSON.parse(await new Response(process.stdin).text());
const client = createClient({ auth: AppStrategy({ appId: 'an-app', publicKey }), modules: { reviews } });
const heard = [];
for (const name of ['Created', 'Updated', 'Deleted', 'ModerationStatusChanged', 'Published']) {
  client.reviews[`onReview${name}`]((event) => heard.push({ name, event }));
}
const refused = [];
for (const token of tokens) {
  await client.webhooks.process(token).catch((error) => refused.push(String(error)));
}
console.log(JSON.stringify({ heard, refused }));
"""
SLUGS = ["created", "updated", "deleted", "moderation_status_changed", "review_published"]
NAMES = ["Created", "Updated", "Deleted", "ModerationStatusChanged", "Published"]


def _missing() -> str:
    if not shutil.which("node"):
        return "node is not installed"
    return "" if (FOLDER / "node_modules" / "@wix" / "sdk").is_dir() else "`make wix-sdk` has not been run"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_missing()), reason=f"Wix's own parser cannot be asked: {_missing()}"),
]


async def processed(public_key: str, tokens: list[str]) -> dict[str, list[Any]]:
    process = await asyncio.create_subprocess_exec(
        "node",
        "--input-type=module",
        "-e",
        SCRIPT,
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, errors = await process.communicate(json.dumps({"publicKey": public_key, "tokens": tokens}).encode())
    assert process.returncode == 0, errors.decode()
    return dict(json.loads(out))


@pytest.mark.parametrize("as_base64", [False, True], ids=["PEM", "base64"])
async def test_wixs_own_parser_takes_what_the_embedded_wix_signs(*, as_base64: bool) -> None:
    webhooks = Webhooks("", app_id="an-app")
    now = webhooks._clock.now()
    review = completed({"id": "r1", "content": {"rating": 1, "title": "Stale"}, "revision": "7"}, now)
    data = [
        webhooks.envelope(f"wix.reviews.v1.review_{slug}", webhooks.event(slug, review), "an-instance", "a-site")
        for slug in SLUGS
    ]
    key = b64encode(webhooks.public_key.encode()).decode() if as_base64 else webhooks.public_key
    told = await processed(key, [webhooks.sign(each) for each in data])
    assert told["refused"] == []
    assert [each["name"] for each in told["heard"]] == NAMES
    for slug, each in zip(SLUGS, (each["event"] for each in told["heard"]), strict=True):
        assert each["metadata"]["instanceId"] == "an-instance"
        assert each["metadata"]["entityId"] == "r1"
        assert each["metadata"]["accountInfo"]["siteId"] == "a-site"
        theirs = each["entity"] if "entity" in each else each.get("data", {}).get("review")
        ours = read_event(read_notice(data[SLUGS.index(slug)]))
        assert ours
        assert ours.review_id == each["metadata"]["entityId"]
        assert ours.sequence == int(each["metadata"]["entityEventSequence"])
        if slug == "deleted":
            assert (theirs, ours.review) == (None, None)
        else:
            assert ours.review
            assert (theirs["_id"], theirs["content"]["title"]) == ("r1", ours.review.title)


async def test_wixs_own_parser_refuses_what_is_forged_as_we_do() -> None:
    webhooks, other = Webhooks("", app_id="an-app"), Webhooks("", app_id="an-app")
    long_ago = SetClock(webhooks._clock.now().replace(year=2020))
    expired = Webhooks("", clock=long_ago)
    expired._key = webhooks._key
    tokens = [other.sign("{}"), expired.sign("{}"), webhooks.sign(None)]
    told = await processed(webhooks.public_key, tokens)
    assert len(told["refused"]) == 3
    assert told["heard"] == []
