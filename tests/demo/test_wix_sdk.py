"""Wix's own client works with the embedded Wix, and its parser takes its webhooks."""

import asyncio
import json
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alerter.demo.faults import Loopback
from alerter.demo.wix import App, EmbeddedWix
from alerter.demo.wix_reviews import completed
from alerter.demo.wix_webhooks import Webhooks
from alerter.wix.event import parse_envelope, parse_event
from tests.support.clock import SetClock
from tests.support.values import SITE
from tests.support.waiting import HANG, until

# `make wix-sdk` puts it there; it is Wix's, it is large, and nothing but this test needs it.
FOLDER = Path(__file__).parents[2] / ".node"
SCRIPT = """
import { createClient, AppStrategy } from '@wix/sdk';
import { reviews } from '@wix/reviews';
const { publicKey, tokens } = JSON.parse(await new Response(process.stdin).text());
const auth = AppStrategy({ appId: 'an-app', publicKey });
const client = createClient({ auth, modules: { reviews } });
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
    return (
        ""
        if (FOLDER / "node_modules" / "@wix" / "sdk").is_dir()
        else "`make wix-sdk` has not been run"
    )


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_missing()), reason=f"Wix's own parser cannot be asked: {_missing()}"),
]


async def node(script: str, told: dict[str, Any]) -> dict[str, Any]:
    """Run a script with Wix's packages at hand; what it reads is JSON, and so is what it prints."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "--input-type=module",
        "-e",
        script,
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(HANG):
        out, errors = await process.communicate(json.dumps(told).encode())
    assert process.returncode == 0, errors.decode()
    return dict(json.loads(out))


async def processed(public_key: str, tokens: list[str]) -> dict[str, list[Any]]:
    return await node(SCRIPT, {"publicKey": public_key, "tokens": tokens})


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    """A site of five reviews that may be read by key and changed by an app."""
    async with EmbeddedWix() as wix:
        site = wix.add_site(SITE, api_key="a-key", app=App("an-app", "a-secret", "an-instance"))
        wix.forbid("a-key", "SET_REPLY")
        for number, rating in enumerate((1, 1, 3, 5, 1)):
            created = f"2026-11-20T10:00:0{number}.000Z"
            status = "IN_MODERATION" if number == 1 else "APPROVED"
            review = {"id": f"r{number}", "createdDate": created, "content": {"rating": rating}}
            site.add(review | {"moderation": {"moderationStatus": status}})
        yield wix


async def calls(wix: EmbeddedWix) -> dict[str, Any]:
    """Have Wix's client make every call of the script."""
    app = {"appId": "an-app", "appSecret": "a-secret", "instanceId": "an-instance"}
    told = {"base": wix.base_url, "siteId": SITE, "apiKey": "a-key", "app": app}
    bounds = {"since": "2026-11-20T10:00:01.000Z", "until": "2026-11-20T10:00:04.000Z"}
    return await node((Path(__file__).parent / "wix_sdk_calls.mjs").read_text(), told | bounds)


async def test_wixs_own_client_reads_the_embedded_wix(wix: EmbeddedWix) -> None:
    said = await calls(wix)
    assert said["two"] == ["r1"]
    filters = [each.body["query"].get("filter") for each in wix.queries()]
    dates = [
        {"createdDate": {"$gte": "2026-11-20T10:00:01.000Z"}},
        {"createdDate": {"$lt": "2026-11-20T10:00:04.000Z"}},
    ]
    assert filters[0] == {"$and": [*dates, {"content.rating": {"$lte": 2}}]}
    assert said["in"] == ["r1", "r4"]
    assert said["pages"] == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert said["or"] == ["r0", "r3"]
    assert said["not"] == ["r2", "r3", "r4"]
    assert said["public"] == ["r0", "r2", "r3", "r4"]
    assert (said["one"]["_id"], said["one"]["moderation"]["moderationStatus"]) == (
        "r1",
        "IN_MODERATION",
    )
    assert said["missing"]["code"] == "REVIEW_NOT_FOUND"
    assert said["count"] == {"count": 3}


async def test_wixs_own_client_changes_reviews_of_the_embedded_wix(wix: EmbeddedWix) -> None:
    said = await calls(wix)
    assert said["replied"]["review"]["reply"]["message"] == "Sorry"
    assert "reply" not in said["unreplied"]["review"]
    assert said["moderated"]["review"]["moderation"] == {
        "moderationStatus": "REJECTED",
        "manuallyChanged": True,
    }
    assert [said[each]["review"]["revision"] for each in ("replied", "unreplied", "moderated")] == [
        "2",
        "3",
        "4",
    ]
    assert said["refused"]["code"] == "PERMISSION_DENIED"
    writes = [
        each for each in wix.requests if each.method in {"PATCH", "DELETE"} and each.status == 200
    ]
    assert ["X-Wix-Consistent" in each.headers for each in writes] == [False, True, True]


async def test_wixs_own_client_gets_tokens_of_the_embedded_wix(wix: EmbeddedWix) -> None:
    said = await calls(wix)
    assert "error" in said["wrongSecret"]
    assert [each.status for each in wix.requests if each.path == "/oauth2/token"] == [200, 401]
    token = said["token"]
    assert token["active"]
    assert (token["clientId"], token["siteId"], token["instanceId"]) == (
        "an-app",
        SITE,
        "an-instance",
    )
    assert token["exp"] - token["iat"] == 14_400


async def test_wixs_own_parser_takes_the_webhooks_of_what_wixs_own_client_does(
    wix: EmbeddedWix,
) -> None:
    tokens: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        tokens.append(await request.text())
        return web.Response()

    def build() -> web.Application:
        app = web.Application()
        app.router.add_post("/", receive)
        return app

    receiver = Loopback(build)
    await receiver.start()
    async with Webhooks(receiver.url, app_id="an-app") as webhooks:
        webhooks.watch(wix.sites[SITE], "an-instance")
        await calls(wix)
        wix.delete(SITE, "r0")
        await until(lambda: len(tokens) == 4)
    await receiver.stop()
    told = await processed(webhooks.public_key, tokens)
    assert told["refused"] == []
    assert sorted(each["name"] for each in told["heard"]) == [
        "Deleted",
        "ModerationStatusChanged",
        "Updated",
        "Updated",
    ]
    assert {each["event"]["metadata"]["entityId"] for each in told["heard"]} == {"r0"}


@pytest.mark.parametrize("as_base64", [False, True], ids=["PEM", "base64"])
async def test_wixs_own_parser_takes_what_the_embedded_wix_signs(*, as_base64: bool) -> None:
    webhooks = Webhooks("", app_id="an-app")
    now = webhooks._clock.now()
    review = completed(
        {"id": "r1", "content": {"rating": 1, "title": "Stale"}, "revision": "7"}, now
    )
    data = [
        webhooks.envelope(
            f"wix.reviews.v1.review_{slug}", webhooks.event(slug, review), "an-instance", "a-site"
        )
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
        ours = parse_event(parse_envelope(data[SLUGS.index(slug)]))
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
