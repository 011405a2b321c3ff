"""The embedded Slack takes what Slack takes, and refuses what Slack refuses, in Slack's words."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack
from tests.support.clock import HandClock
from tests.support.demo_slack import ROOM, TOKEN, client, clock, error_of, http, slack
from tests.support.waiting import HANG, until

__all__ = ["client", "clock", "http", "slack"]


def plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


HEADER = {"type": "header", "text": plain("Title")}


async def test_bad_blocks_are_answered_with_the_place(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(
            channel=ROOM, text="x", blocks=[{"type": "section", "text": plain("")}]
        )
    answer = caught.value.response
    assert answer.status_code == 200
    fault = "must be more than 0 characters [json-pointer:/blocks/0/text/text]"
    assert (answer["error"], answer["errors"]) == ("invalid_blocks", [fault])
    assert answer["response_metadata"]["messages"] == [f"[ERROR] {fault}"]


async def test_the_text_of_all_blocks_together_is_limited(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    blocks = [{"type": "section", "text": plain("x" * 2268)}] * 5
    await client.chat_postMessage(channel=ROOM, text="x", blocks=blocks)
    blocks = [*blocks, {"type": "section", "text": plain("x")}]
    assert (
        await error_of(client.chat_postMessage(channel=ROOM, text="x", blocks=blocks))
        == "msg_blocks_too_long"
    )
    slack.blocks_error = "invalid_blocks"
    assert (
        await error_of(client.chat_postMessage(channel=ROOM, text="x", blocks=blocks))
        == "invalid_blocks"
    )
    slack.blocks_limit = 13_200
    await client.chat_postMessage(channel=ROOM, text="x", blocks=blocks)


async def test_a_post_is_kept_as_it_came(
    slack: EmbeddedSlack, client: AsyncWebClient, clock: HandClock
) -> None:
    clock.seconds = 1.5
    metadata = {"event_type": "alert", "event_payload": {"uid": "m-1"}}
    answer = await client.chat_postMessage(
        channel=ROOM, text="hello", blocks=[{"type": "divider"}], metadata=metadata
    )
    assert (answer["channel"], answer["ts"]) == (ROOM, "1795435201.500000")
    assert answer["message"]["metadata"] == metadata
    assert answer.headers["x-oauth-scopes"].startswith("chat:write,")
    (post,) = slack.posts
    assert (post.channel, post.channel_name, post.ts, post.at) == (
        ROOM,
        "reviews",
        answer["ts"],
        1.5,
    )
    assert (post.text, post.blocks, post.metadata) == ("hello", [{"type": "divider"}], metadata)
    assert post.args["text"] == "hello"
    assert [(call.method, call.status, call.error) for call in slack.requests] == [
        ("chat.postMessage", 200, None)
    ]


async def test_every_message_has_a_later_ts_even_where_the_clock_stands(
    client: AsyncWebClient,
) -> None:
    stamps = [(await client.chat_postMessage(channel=ROOM, text="x"))["ts"] for _ in range(3)]
    assert stamps == ["1795435200.000000", "1795435200.000001", "1795435200.000002"]


async def test_forms_and_json_say_the_same(
    slack: EmbeddedSlack, http: aiohttp.ClientSession
) -> None:
    blocks, metadata = [{"type": "divider"}], {"event_type": "alert", "event_payload": {}}
    form = {
        "channel": ROOM,
        "text": "ä 1",
        "blocks": json.dumps(blocks),
        "metadata": json.dumps(metadata),
    }
    async with http.post(
        f"{slack.base_url}chat.postMessage", data={**form, "token": TOKEN}
    ) as answer:
        assert (await answer.json())["ok"]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with http.post(f"{slack.base_url}chat.postMessage", json=form, headers=headers) as answer:
        assert (await answer.json())["ok"]
    assert [(post.text, post.blocks, post.metadata) for post in slack.posts] == [
        ("ä 1", blocks, metadata)
    ] * 2
    async with http.post(
        f"{slack.base_url}chat.postMessage", json={**form, "token": TOKEN}
    ) as answer:
        assert (await answer.json())["error"] == "not_authed"


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[]", "application/json", "json_not_object"),
        (b'{"text": NaN}', "application/json", "invalid_json"),
        (b'{"text": "\\ud83d"}', "application/json", "invalid_json"),
        (b'{"text": "\xff"}', "application/json", "invalid_json"),
        (b"<x/>", "text/xml", "invalid_post_type"),
        (b"text=%ff", "application/x-www-form-urlencoded", "invalid_charset"),
        (
            b"channel=C0000000001&blocks=[",
            "application/x-www-form-urlencoded",
            "invalid_blocks_format",
        ),
        (
            b"channel=C0000000001&blocks={}",
            "application/x-www-form-urlencoded",
            "invalid_blocks_format",
        ),
        (
            b'channel=C0000000001&blocks=["%5cud83d"]',
            "application/x-www-form-urlencoded",
            "invalid_blocks_format",
        ),
        (
            b"channel=C0000000001&text=x&metadata=[",
            "application/x-www-form-urlencoded",
            "invalid_metadata_format",
        ),
    ],
    ids=[
        "json",
        "list",
        "NaN",
        "surrogate",
        "bytes",
        "xml",
        "charset",
        "blocks",
        "object",
        "half pair",
        "metadata",
    ],
)
async def test_what_cannot_be_read_is_refused(
    slack: EmbeddedSlack, http: aiohttp.ClientSession, body: bytes, kind: str, error: str
) -> None:
    headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
    async with http.post(f"{slack.base_url}chat.postMessage", data=body, headers=headers) as answer:
        assert (await answer.json())["error"] == error
    assert slack.requests[-1].error == error


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"channel": "C404"}, "channel_not_found"),
        ({"channel": None}, "invalid_arguments"),
        ({"channel": "U404"}, "channel_not_found"),
        ({"channel": "C-out"}, "not_in_channel"),
        ({"channel": "C-old"}, "is_archived"),
        ({"channel": "C-hidden"}, "channel_not_found"),
        ({"text": None}, "no_text"),
        ({"text": " "}, "no_text"),
        ({"text": 1}, "invalid_arguments"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": "[{"}, "invalid_blocks_format"),
        ({"blocks": {}}, "invalid_blocks_format"),
        ({"metadata": "x"}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "a"}}, "invalid_metadata_schema"),
        (
            {"metadata": {"event_type": "a", "event_payload": {"x": "y" * 8000}}},
            "metadata_too_large",
        ),
        ({"thread_ts": "1700000000"}, "invalid_thread_ts"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_post_that_slack_would_refuse_is_refused(
    slack: EmbeddedSlack, client: AsyncWebClient, change: dict[str, Any], error: str
) -> None:
    slack.add_channel("C-out", "out", member=False)
    slack.add_channel("C-old", "old", archived=True)
    slack.add_channel("C-hidden", "hidden", member=False, private=True)
    arguments = {"channel": ROOM, "text": "x"} | change
    call = client.api_call(
        "chat.postMessage",
        json={key: value for key, value in arguments.items() if value is not None},
    )
    assert await error_of(call) == error
    assert slack.posts == []
    assert slack.requests[-1].error == error


async def test_a_post_holds_40000_characters_and_an_update_4000(
    client: AsyncWebClient,
) -> None:
    ts = (await client.chat_postMessage(channel=ROOM, text="x" * 40_000))["ts"]
    await client.chat_update(channel=ROOM, ts=ts, text="x" * 4000)
    assert (
        await error_of(client.chat_update(channel=ROOM, ts=ts, text="x" * 4001)) == "msg_too_long"
    )


async def test_tokens_open_what_they_are_for(slack: EmbeddedSlack, client: AsyncWebClient) -> None:
    assert (await client.auth_test())["bot_id"] == "B00000001"
    client.token = ""
    assert await error_of(client.auth_test()) == "not_authed"
    client.token = "xoxb-unknown"
    with pytest.raises(SlackApiError) as caught:
        await client.auth_test()
    assert caught.value.response["error"] == "invalid_auth"
    assert "x-oauth-scopes" not in caught.value.response.headers
    client.token = TOKEN
    slack.tokens[TOKEN].inactive = True
    assert await error_of(client.auth_test()) == "account_inactive"
    slack.revoke(TOKEN)
    assert await error_of(client.auth_test()) == "token_revoked"


SCOPES: dict[str, tuple[str, dict[str, str], str]] = {
    "post": ("chat.postMessage", {"channel": ROOM, "text": "x"}, "chat:write"),
    "update": ("chat.update", {"channel": ROOM, "ts": "1"}, "chat:write"),
    "delete": ("chat.delete", {"channel": ROOM, "ts": "1"}, "chat:write"),
    "public history": ("conversations.history", {"channel": ROOM}, "channels:history"),
    "private history": ("conversations.history", {"channel": "C-private"}, "groups:history"),
    "direct history": ("conversations.history", {"channel": "D0000000007"}, "im:history"),
    "replies": ("conversations.replies", {"channel": ROOM, "ts": "1"}, "channels:history"),
    "public info": ("conversations.info", {"channel": ROOM}, "channels:read"),
    "private info": ("conversations.info", {"channel": "C-private"}, "groups:read"),
    "direct info": ("conversations.info", {"channel": "D0000000007"}, "im:read"),
    "open": ("conversations.open", {"users": "U0000000007"}, "im:write"),
}


@pytest.mark.parametrize(("method", "args", "scope"), SCOPES.values(), ids=SCOPES)
async def test_every_method_needs_its_scope(
    slack: EmbeddedSlack, client: AsyncWebClient, method: str, args: dict[str, str], scope: str
) -> None:
    slack.add_channel("C-private", "private", private=True)
    await client.conversations_open(users="U0000000007")
    token = slack.tokens[TOKEN]
    token.scopes = tuple(each for each in token.scopes if each != scope)
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(method, json=args)
    answer = caught.value.response
    assert answer["error"] == "missing_scope"
    assert scope in answer["needed"].split(",")
    assert answer["provided"] == answer.headers["x-oauth-scopes"] == ",".join(token.scopes)


async def test_a_public_channel_takes_posts_of_those_who_may_write_anywhere(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.channels[ROOM].member = False
    slack.tokens[TOKEN].scopes += ("chat:write.public",)
    await client.chat_postMessage(channel=ROOM, text="x")
    assert await error_of(client.conversations_history(channel=ROOM)) == "not_in_channel"


async def test_one_channel_takes_a_post_a_second(
    slack: EmbeddedSlack, client: AsyncWebClient, clock: HandClock
) -> None:
    slack.pace = 1.0
    slack.add_channel("C-other", "other")
    await client.chat_postMessage(channel=ROOM, text="1")
    clock.seconds = 0.97
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=ROOM, text="2")
    answer = caught.value.response
    assert (answer.status_code, answer["error"], answer.headers["Retry-After"]) == (
        429,
        "ratelimited",
        "1",
    )
    await client.chat_postMessage(channel="C-other", text="3")
    clock.seconds = 0.985
    await client.chat_postMessage(channel=ROOM, text="4")
    assert [post.text for post in slack.posts] == ["1", "3", "4"]


async def test_an_update_replaces_what_the_message_said_and_keeps_the_rest(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    metadata = {"event_type": "alert", "event_payload": {"uid": "m-1"}}
    sent = await client.chat_postMessage(
        channel=ROOM, text="1", blocks=[{"type": "divider"}], metadata=metadata
    )
    post = slack.posts[0]
    without_text = {"channel": ROOM, "ts": sent["ts"], "blocks": [HEADER]}
    await client.api_call("chat.update", json=without_text)
    assert (post.text, post.blocks, post.metadata) == ("1", [HEADER], metadata)
    await client.chat_update(channel=ROOM, ts=sent["ts"], text="2")
    assert (post.text, post.blocks, post.metadata) == ("2", [], metadata)
    await client.chat_update(channel=ROOM, ts=sent["ts"], text="3", metadata={})
    assert (post.text, post.metadata) == ("3", None)
    assert [edit.text for edit in post.edits] == ["1", "1", "2"]
    assert [len(edit.blocks) for edit in post.edits] == [1, 1, 0]
    assert len(slack.posts) == 1


async def test_an_update_that_slack_would_refuse_is_refused(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    ts = (await client.chat_postMessage(channel=ROOM, text="mine"))["ts"]
    theirs = slack.say(ROOM, "theirs")
    slack.add_token("xoxb-2", bot_id="B00000002")

    async def refusal(**args: Any) -> str:
        return await error_of(
            client.api_call("chat.update", json={"channel": ROOM, "ts": ts, "text": "x"} | args)
        )

    assert await refusal(ts="1700000000.000001") == "message_not_found"
    assert await refusal(ts=theirs) == "cant_update_message"
    assert await refusal(channel="C404") == "channel_not_found"
    assert await refusal(text="") == "no_text"
    assert await refusal(blocks=[{"type": "x"}]) == "invalid_blocks"
    assert await refusal(ts="") == "invalid_arguments"
    client.token = "xoxb-2"
    assert await refusal() == "cant_update_message"
    client.token = TOKEN
    slack.channels[ROOM].archived = True
    assert await refusal() == "is_inactive"
    slack.channels[ROOM].archived = False
    slack.delete(ROOM, ts)
    assert await refusal() == "message_not_found"
    assert slack.posts[0].deleted
    assert slack.posts[0].edits == []


async def test_an_unknown_method_is_refused(client: AsyncWebClient) -> None:
    assert await error_of(client.api_call("chat.shout")) == "unknown_method"


async def test_a_fault_answers_for_slack(slack: EmbeddedSlack, client: AsyncWebClient) -> None:
    slack.faults.add(
        "chat.postMessage", Fault(status=429, headers={"Retry-After": "30"}, body='{"ok": false}')
    )
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=ROOM, text="x")
    assert caught.value.response.headers["Retry-After"] == "30"
    slack.faults.add(
        "chat.postMessage", Fault(body='{"ok": false, "error": "fatal_error"}', done=True)
    )
    assert await error_of(client.chat_postMessage(channel=ROOM, text="y")) == "fatal_error"
    assert [post.text for post in slack.posts] == ["y"]
    assert [call.status for call in slack.requests] == [429, 200]
    await client.auth_test()


@pytest.mark.parametrize(("drop", "posted"), [("before", 0), ("after", 1)])
async def test_a_lost_answer_may_stand_for_a_message_that_was_posted(
    slack: EmbeddedSlack, client: AsyncWebClient, drop: Any, posted: int
) -> None:
    slack.faults.add("chat.postMessage", Fault(drop=drop))
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel=ROOM, text="x")
    assert len(slack.posts) == posted
    assert len(slack.requests) == 1
    assert slack.requests[0].args["text"] == "x"
    assert slack.requests[0].status is None


async def test_a_late_answer_stands_for_a_message_that_was_posted(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.faults.add("chat.postMessage", Fault(delay=10 * HANG))
    posting = asyncio.create_task(client.chat_postMessage(channel=ROOM, text="x"))
    await until(lambda: slack.posts)
    assert not posting.done()
    posting.cancel()
    assert [post.text for post in slack.posts] == ["x"]


async def test_a_thousand_posts_are_all_kept(
    slack: EmbeddedSlack, http: aiohttp.ClientSession
) -> None:
    parent = slack.say(ROOM, "parent")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    blocks = [HEADER, {"type": "section", "text": plain("x" * 500)}]
    for number in range(1000):
        body = {"channel": ROOM, "text": f"{number}", "blocks": blocks, "thread_ts": parent}
        async with http.post(
            f"{slack.base_url}chat.postMessage", json=body, headers=headers
        ) as answer:
            assert answer.status == 200
    assert len(slack.posts) == 1000
