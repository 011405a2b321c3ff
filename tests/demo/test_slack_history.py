"""Finding messages in the embedded Slack: channels, direct messages, threads, pages."""

from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from alerter.demo.slack import EmbeddedSlack
from tests.support.clock import HandClock
from tests.support.demo_slack import ROOM, client, clock, error_of, http, slack

__all__ = ["client", "clock", "http", "slack"]


async def test_a_message_to_a_person_lands_in_their_direct_channel(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    answer = await client.chat_postMessage(channel="U0000000007", text="psst")
    assert answer["channel"] == "D0000000007"
    assert (await client.conversations_open(users="U0000000007"))["channel"]["id"] == "D0000000007"
    assert (await client.conversations_history(channel="D0000000007"))["messages"][0][
        "text"
    ] == "psst"
    assert (
        await error_of(client.chat_update(channel="U0000000007", ts=answer["ts"], text="y"))
        == "channel_not_found"
    )
    await client.chat_update(channel="D0000000007", ts=answer["ts"], text="y")
    assert slack.posts[0].text == "y"
    assert await error_of(client.conversations_open(users="U404")) == "user_not_found"
    assert await error_of(client.api_call("conversations.open")) == "users_list_not_supplied"


async def test_info_says_what_a_channel_is(slack: EmbeddedSlack, client: AsyncWebClient) -> None:
    slack.add_channel("C-old", "old", archived=True, member=False)
    await client.conversations_open(users="U0000000007")
    info = (await client.conversations_info(channel=ROOM))["channel"]
    assert (info["id"], info["name"], info["is_member"], info["is_archived"]) == (
        ROOM,
        "reviews",
        True,
        False,
    )
    info = (await client.conversations_info(channel="C-old"))["channel"]
    assert (info["is_member"], info["is_archived"]) == (False, True)
    info = (await client.conversations_info(channel="D0000000007"))["channel"]
    assert (info["is_im"], info["user"]) == (True, "U0000000007")
    assert await error_of(client.conversations_info(channel="C404")) == "channel_not_found"


async def test_history_has_the_newest_first_and_only_broadcast_replies(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    metadata = {"event_type": "alert", "event_payload": {"uid": "m-1"}}
    parent = (await client.chat_postMessage(channel=ROOM, text="parent", metadata=metadata))["ts"]
    await client.chat_postMessage(channel=ROOM, text="quiet", thread_ts=parent, metadata=metadata)
    loud = await client.chat_postMessage(
        channel=ROOM, text="loud", thread_ts=parent, reply_broadcast=True
    )
    slack.say(ROOM, "thanks")
    history = await client.conversations_history(channel=ROOM)
    assert [message["text"] for message in history["messages"]] == ["thanks", "loud", "parent"]
    assert not any("metadata" in message for message in history["messages"])
    assert history["messages"][1]["subtype"] == "thread_broadcast"
    assert (history["messages"][2]["reply_count"], history["messages"][2]["latest_reply"]) == (
        2,
        loud["ts"],
    )
    told = await client.conversations_history(channel=ROOM, include_all_metadata=True)
    assert told["messages"][2]["metadata"] == metadata
    replies = await client.conversations_replies(channel=ROOM, ts=parent, include_all_metadata=True)
    assert [message["text"] for message in replies["messages"]] == ["parent", "quiet", "loud"]
    assert replies["messages"][1]["metadata"] == metadata
    assert (await client.conversations_replies(channel=ROOM, ts=loud["ts"]))["messages"] == [
        {key: value for key, value in message.items() if key != "metadata"}
        for message in replies["messages"]
    ]
    assert (
        await error_of(client.conversations_replies(channel=ROOM, ts="1700000000.000001"))
        == "thread_not_found"
    )
    nested = client.chat_postMessage(channel=ROOM, text="x", thread_ts=loud["ts"])
    assert await error_of(nested) == "cannot_reply_to_message"
    slack.delete(ROOM, loud["ts"])
    replies = await client.conversations_replies(channel=ROOM, ts=parent)
    assert [message["text"] for message in replies["messages"]] == ["parent", "quiet"]


@pytest.mark.parametrize("method", ["conversations.history", "conversations.replies"])
@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_pages_repeat_and_skip_nothing(
    slack: EmbeddedSlack, client: AsyncWebClient, method: str, limit: int
) -> None:
    parent = slack.say(ROOM, "0")
    thread = parent if method == "conversations.replies" else None
    for number in range(1, 6):
        slack.say(ROOM, str(number), thread_ts=thread)
    seen: list[str] = []
    args: dict[str, Any] = {"channel": ROOM, "ts": parent, "limit": limit}
    while True:
        answer = await client.api_call(method, http_verb="GET", params=args)
        page = [message["text"] for message in answer["messages"]]
        assert len(page) <= limit
        seen += page
        if not answer["has_more"]:
            break
        args["cursor"] = answer["response_metadata"]["next_cursor"]
    assert "response_metadata" not in answer.data
    assert seen == (["0", "1", "2", "3", "4", "5"] if thread else ["5", "4", "3", "2", "1", "0"])


async def test_history_is_bounded_by_times(
    slack: EmbeddedSlack, client: AsyncWebClient, clock: HandClock
) -> None:
    stamps = []
    for clock.seconds in range(5):
        stamps.append(slack.say(ROOM, f"{clock.seconds}"))

    async def between(**bounds: Any) -> str:
        answer = await client.conversations_history(channel=ROOM, **bounds)
        return "".join(message["text"] for message in answer["messages"])

    assert await between(oldest=stamps[1]) == "432"
    assert await between(oldest=stamps[1], inclusive=True) == "4321"
    assert await between(latest=stamps[3]) == "210"
    assert await between(oldest=stamps[1], latest=stamps[3], inclusive=True) == "321"
    assert await between(oldest=stamps[4]) == ""


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({"oldest": "1700000000"}, "invalid_ts_oldest"),
        ({"oldest": "0"}, "invalid_ts_oldest"),
        ({"latest": "now"}, "invalid_ts_latest"),
        ({"cursor": "nonsense"}, "invalid_cursor"),
        ({"cursor": "bm9uc2Vuc2U="}, "invalid_cursor"),
        ({"limit": "many"}, "invalid_arguments"),
        ({"limit": -1}, "invalid_arguments"),
        ({"channel": "C404"}, "channel_not_found"),
    ],
    ids=[
        "whole seconds",
        "zero",
        "word",
        "no base64",
        "no cursor",
        "word as limit",
        "negative limit",
        "channel",
    ],
)
async def test_history_refuses_what_it_cannot_read(
    client: AsyncWebClient, args: dict[str, Any], error: str
) -> None:
    call = client.api_call(
        "conversations.history", http_verb="GET", params={"channel": ROOM} | args
    )
    assert await error_of(call) == error
