"""The page of `alerter demo --serve`: what it shows, what its buttons do, and whom it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from slack_sdk.socket_mode.request import SocketModeRequest

from alerter.demo.daemon import Daemon
from alerter.demo.live_page import LivePage
from alerter.demo.stage import SITE_ID, Stage, open_stage
from alerter.render.buttons import Pressed
from tests.support.slack_app import MODAL, SlackApp, connected_app
from tests.support.waiting import HANG


@dataclass
class Visitor:
    """A browser with the page open."""

    stage: Stage
    http: httpx.AsyncClient
    origin: str

    async def press(self, path: str, body: object = None) -> int:
        headers = {"Origin": self.origin}
        answer = await self.http.post(path, content=json.dumps(body or {}), headers=headers)
        return answer.status_code

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with self.http.stream("GET", "/events") as answer, asyncio.timeout(HANG):
            assert answer.headers["content-type"] == "text/event-stream"
            yield (
                json.loads(line.removeprefix("data: "))
                async for line in answer.aiter_lines()
                if line.startswith("data: ")
            )


@pytest.fixture
async def visitor(tmp_path: Path) -> AsyncIterator[Visitor]:
    async with (
        open_stage(tmp_path, None) as stage,
        LivePage(stage, Daemon(tmp_path / "config.toml")) as page,
        httpx.AsyncClient(base_url=page.url, timeout=HANG) as http,
    ):
        yield Visitor(stage, http, page.url.rstrip("/"))


async def first(events: AsyncIterator[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    """Return the next event with these values."""
    return await anext(event async for event in events if wanted.items() <= event.items())


async def test_the_page_runs_its_own_script_only(visitor: Visitor) -> None:
    page = (await visitor.http.get("/")).text
    assert "default-src &#x27;none&#x27;; script-src &#x27;self&#x27;" in page
    assert page.count("<script") == 1
    script = await visitor.http.get("/live.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "EventSource" in script.text


async def test_a_review_of_any_stars_is_added_and_answered(visitor: Visitor) -> None:
    async with visitor.events() as events:
        assert (await anext(events))["kind"] == "begin"
        assert "None yet" in (await first(events, kind="reviews"))["html"]
        assert await visitor.press("/reviews", {"rating": 2}) == 201
        shown = (await first(events, kind="reviews"))["html"]
        assert "★★☆☆☆" in shown
        assert "Answer it" in shown
        (row,) = visitor.stage.wix.sites[SITE_ID].reviews.keys(None, None, None)
        assert await visitor.press(f"/reviews/{row[1]}/reply") == 204
        assert "✓ answered" in (await first(events, kind="reviews"))["html"]


async def test_a_message_is_shown_as_it_arrives_and_changes(visitor: Visitor) -> None:
    async with (
        visitor.events() as events,
        httpx.AsyncClient(headers={"Authorization": "Bearer xoxb-demo-token"}) as slack,
    ):
        base = visitor.stage.slack.base_url
        message = {"channel": "C0123456789", "text": "Stale &lt;script&gt;"}
        ts = (await slack.post(f"{base}chat.postMessage", json=message)).json()["ts"]
        arrived = await first(events, kind="message", column="posts")
        assert "Stale &lt;script&gt;" in arrived["html"]
        await slack.post(f"{base}chat.update", json=message | {"ts": ts, "text": "Answered"})
        changed = await first(events, kind="message", key=arrived["key"])
        assert "Answered" in changed["html"]
        await slack.post(f"{base}chat.delete", json={"channel": "C0123456789", "ts": ts})
        assert not (await first(events, kind="message", key=arrived["key"]))["html"]


async def test_slack_is_taken_down_and_brought_back(visitor: Visitor) -> None:
    async def status() -> int:
        return (await visitor.http.post(f"{visitor.stage.slack.base_url}auth.test")).status_code

    async with visitor.events() as events:
        assert await visitor.press("/slack", {"down": True}) == 204
        await first(events, kind="state", slackDown=True)
        assert await status() == 503
        assert await visitor.press("/slack", {"down": False}) == 204
        await first(events, kind="state", slackDown=False)
        assert await status() == 200


async def test_the_page_says_whether_alerter_runs(visitor: Visitor) -> None:
    async with visitor.events() as events:
        stopped = await first(events, kind="state")
        assert (stopped["running"], stopped["mayStart"]) == (False, True)
        assert await visitor.press("/daemon") == 204  # its config is missing
        ended = await first(events, kind="state", mayStart=True)
        assert "alerter has ended" in ended["note"]
        await visitor.http.post(
            f"{visitor.stage.wix.base_url}/reviews/v1/reviews/query",
            headers={"Authorization": "demo-api-key", "wix-site-id": SITE_ID},
            json={},
        )
        assert (await first(events, kind="state"))["running"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/reviews", {"rating": 6}, 400),
        ("/reviews", {}, 400),
        ("/reviews/none/reply", {}, 404),
        ("/nothing", {}, 404),
    ],
)
async def test_a_wrong_request_is_refused(
    visitor: Visitor, path: str, body: object, status: int
) -> None:
    assert await visitor.press(path, body) == status


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Host": "elsewhere.example"},
    ],
    ids=["no origin", "another website", "a sandboxed frame", "another name for this address"],
)
async def test_another_website_may_not_press_buttons(
    visitor: Visitor, headers: dict[str, str]
) -> None:
    answer = await visitor.http.post("/reviews", content='{"rating": 1}', headers=headers)
    assert answer.status_code == 403
    assert not len(visitor.stage.wix.sites[SITE_ID].reviews)


@pytest.mark.parametrize("rating", [True, 1.0, "1", [1], {}, None, 0, 6])
async def test_only_whole_stars_from_one_to_five_are_added(
    visitor: Visitor, rating: object
) -> None:
    assert await visitor.press("/reviews", {"rating": rating}) == 400
    assert not visitor.stage.wix.sites[SITE_ID].reviews.keys(None, None, None)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/reviews", "/slack"])
async def test_a_body_that_is_no_object_is_refused(
    visitor: Visitor, path: str, body: bytes
) -> None:
    answer = await visitor.http.post(path, content=body, headers={"Origin": visitor.origin})
    assert (answer.status_code, answer.text) == (400, "a JSON object is expected")


async def test_slack_is_up_or_down_and_nothing_between(visitor: Visitor) -> None:
    assert await visitor.press("/slack", {"down": "no"}) == 400


@pytest.mark.parametrize(
    "review",
    [{"content": {"rating": rating}} for rating in ("1", 1.0, 9, -1, [1])]
    + [{"content": 7}, {"author": [7]}, {"content": {"title": {}}}],
)
async def test_a_strange_review_that_was_added_by_hand_is_shown(
    visitor: Visitor, review: dict[str, Any]
) -> None:
    visitor.stage.wix.sites[SITE_ID].add(review)
    async with visitor.events() as events:
        assert "Answer it" in (await first(events, kind="reviews"))["html"]


async def test_ada_claims_and_replies_from_the_page(visitor: Visitor) -> None:
    slack = visitor.stage.slack
    async with connected_app(slack, "xoxb-demo-token", "xapp-1-A00000001-1-demo") as app:

        async def answer(app: SlackApp, request: SocketModeRequest) -> dict[str, Any] | None:
            if request.payload["type"] == "block_actions":
                trigger_id = request.payload["trigger_id"]
                await app.web.views_open(trigger_id=trigger_id, view=MODAL)
            return None

        buttons = [
            {
                "type": "button",
                "action_id": Pressed.REPLY,
                "text": {"type": "plain_text", "text": "Reply"},
            }
        ]
        await app.web.chat_postMessage(
            channel="C0123456789", text="x", blocks=[{"type": "actions", "elements": buttons}]
        )
        app.answer = answer
        path = f"/posts/{slack.posts[-1].ts}"
        async with visitor.events() as events:
            shown = await first(events, column="posts")
            assert "is on it" not in shown["html"]
            assert f'data-post="{path[1:]}/reply"' in shown["html"]
        assert await visitor.press(f"{path}/reply") == 204
        kinds = [(await app.received.get()).payload["type"] for _ in range(2)]
        assert kinds == ["block_actions", "view_submission"]
        assert await visitor.press(f"{path}/claim") == 409
        assert await visitor.press(f"{path}/other") == 404
        assert await visitor.press("/posts/1.1/reply") == 404
