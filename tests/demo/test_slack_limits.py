"""The embedded Slack is as limited, and can be as wrong, as Slack: limits, deleted messages,
refusals, cookies.
"""

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack
from tests.support.clock import SetClock
from tests.support.demo_slack import http

__all__ = ["http"]

ROOM = "C0000000001"
OTHER = "C0000000002"
BOT, SAME_BOT, OTHER_BOT = "xoxb-1", "xoxb-1b", "xoxb-2"


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(BOT)
        slack.add_channel(ROOM, "reviews")
        slack.add_channel(OTHER, "other")
        yield slack


@pytest.fixture
def client(slack: EmbeddedSlack, http: aiohttp.ClientSession) -> AsyncWebClient:
    return AsyncWebClient(token=BOT, base_url=slack.base_url, session=http, retry_handlers=[])


async def refusal(call: Any) -> Any:
    with pytest.raises(SlackApiError) as caught:
        await call
    return caught.value.response


async def error_of(call: Any) -> str:
    return str((await refusal(call))["error"])


async def test_an_app_outside_the_marketplace_reads_fifteen_messages_a_minute(
    slack: EmbeddedSlack, client: AsyncWebClient, clock: SetClock
) -> None:
    slack.tokens[BOT].limited_history = True
    parent = slack.say(ROOM, "0")
    for number in range(1, 20):
        slack.say(ROOM, str(number))
        slack.say(ROOM, str(number), thread_ts=parent)
    page = await client.conversations_history(channel=ROOM, limit=200)
    assert [message["text"] for message in page["messages"]] == [
        str(number) for number in range(19, 4, -1)
    ]
    clock.advance(seconds=20.5)
    answer = await refusal(client.conversations_history(channel=OTHER))
    assert (answer.status_code, answer["error"], answer.headers["Retry-After"]) == (
        429,
        "ratelimited",
        "40",
    )
    thread = await client.conversations_replies(channel=ROOM, ts=parent)
    assert (len(thread["messages"]), thread["has_more"]) == (15, True)
    await client.chat_postMessage(channel=ROOM, text="x")
    clock.advance(seconds=39.5)
    cursor = page["response_metadata"]["next_cursor"]
    page = await client.conversations_history(channel=ROOM, limit=200, cursor=cursor)
    assert [message["text"] for message in page["messages"]] == ["4", "3", "2", "1", "0"]


async def test_tokens_of_one_app_share_its_limits_and_others_have_their_own(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    for token, bot in ((BOT, "B1"), (SAME_BOT, "B1"), (OTHER_BOT, "B2")):
        slack.add_token(token, bot_id=bot, limited_history=True)
    await client.conversations_history(channel=ROOM)
    assert (
        await error_of(client.conversations_history(channel=ROOM, token=SAME_BOT)) == "ratelimited"
    )
    await client.conversations_history(channel=ROOM, token=OTHER_BOT)


async def test_one_method_can_be_throttled_for_a_day(
    slack: EmbeddedSlack, client: AsyncWebClient, clock: SetClock
) -> None:
    slack.throttle("chat.postMessage", 86_400)
    clock.advance(hours=1)
    answer = await refusal(client.chat_postMessage(channel=ROOM, text="x"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "82800")
    await client.conversations_history(channel=ROOM)
    clock.advance(hours=23)
    await client.chat_postMessage(channel=ROOM, text="x")


async def test_history_with_oldest_alone_may_begin_at_the_oldest(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    stamps = [slack.say(ROOM, str(number)) for number in range(5)]

    async def pages(**bounds: Any) -> list[str]:
        seen, more = [], {}
        while not seen or more:
            page = await client.conversations_history(channel=ROOM, limit=2, **bounds, **more)
            seen.append("".join(message["text"] for message in page["messages"]))
            more = {"cursor": page["response_metadata"]["next_cursor"]} if page["has_more"] else {}
        return seen

    assert await pages(oldest=stamps[0]) == ["43", "21"]
    slack.oldest_first = True
    assert await pages(oldest=stamps[0]) == ["21", "43"]
    assert await pages(oldest=stamps[0], latest=stamps[4]) == ["32", "1"]
    assert await pages() == ["43", "21", "0"]


async def test_dates_and_message_ids_are_by_slacks_clock(
    slack: EmbeddedSlack, client: AsyncWebClient, clock: SetClock
) -> None:
    slack.skew = -90
    answer = await client.chat_postMessage(channel=ROOM, text="x")
    date = parsedate_to_datetime(answer.headers["Date"])
    assert (clock.now() - date).total_seconds() == 90
    assert float(answer["ts"]) == date.timestamp()


async def test_a_reply_to_a_deleted_message_is_posted_in_the_channel(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    parent = (await client.chat_postMessage(channel=ROOM, text="parent"))["ts"]
    living = await client.chat_postMessage(channel=ROOM, text="in the thread", thread_ts=parent)
    assert living["message"]["thread_ts"] == parent
    slack.delete(ROOM, parent)
    stray = await client.chat_postMessage(
        channel=ROOM, text="stray", thread_ts=parent, reply_broadcast=True
    )
    assert "thread_ts" not in stray["message"]
    assert "subtype" not in stray["message"]
    history = await client.conversations_history(channel=ROOM)
    assert [message["text"] for message in history["messages"]] == ["stray"]
    assert (
        await error_of(client.conversations_replies(channel=ROOM, ts=parent)) == "thread_not_found"
    )


async def test_a_bot_deletes_its_own_messages_only(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.add_token(OTHER_BOT, bot_id="B2")
    ts = (await client.chat_postMessage(channel=ROOM, text="mine"))["ts"]
    theirs = slack.say(ROOM, "theirs")
    assert await error_of(client.chat_delete(channel=ROOM, ts=theirs)) == "cant_delete_message"
    assert (
        await error_of(client.chat_delete(channel=ROOM, ts=ts, token=OTHER_BOT))
        == "cant_delete_message"
    )
    assert await error_of(client.chat_delete(channel=OTHER, ts=ts)) == "message_not_found"
    assert await error_of(client.chat_delete(channel="C404", ts=ts)) == "channel_not_found"
    assert await error_of(client.chat_delete(channel=ROOM, ts="")) == "invalid_arguments"
    answer = await client.chat_delete(channel=ROOM, ts=ts)
    assert (answer["channel"], answer["ts"]) == (ROOM, ts)
    assert slack.posts[0].deleted
    assert await error_of(client.chat_delete(channel=ROOM, ts=ts)) == "message_not_found"


async def test_a_method_or_a_channel_can_be_refused_with_any_error(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.refuse["chat.postMessage", ROOM] = "no_permission"
    slack.refuse["chat.update", "*"] = "update_failed"
    slack.refuse["*", OTHER] = "\x1b[2J\nforged \ud800"
    assert await error_of(client.chat_postMessage(channel=ROOM, text="x")) == "no_permission"
    assert await error_of(client.chat_update(channel=ROOM, ts="1", text="x")) == "update_failed"
    assert (
        await error_of(client.chat_postMessage(channel=OTHER, text="x")) == "\x1b[2J\nforged \ud800"
    )
    await client.conversations_history(channel=ROOM)
    slack.refuse.clear()
    await client.chat_postMessage(channel=ROOM, text="x")


async def test_one_channel_or_one_token_can_have_a_fault(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.add_token(OTHER_BOT, bot_id="B2")
    slack.faults.always("chat.postMessage", Fault(status=503, only=OTHER))
    slack.faults.add("auth.test", Fault(status=500, only=OTHER_BOT))
    await client.chat_postMessage(channel=ROOM, text="x")
    assert (await refusal(client.chat_postMessage(channel=OTHER, text="x"))).status_code == 503
    await client.auth_test()
    assert (await refusal(client.auth_test(token=OTHER_BOT))).status_code == 500
    await client.auth_test(token=OTHER_BOT)


async def test_names_of_teams_and_channels_come_as_they_are(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.tokens[BOT].team = "Evil \x1b[31m\nok forged"
    slack.channels[ROOM].name = "rev\x1b]0;x\x07iews \ud800"
    assert (await client.auth_test())["team"] == "Evil \x1b[31m\nok forged"
    info = await client.conversations_info(channel=ROOM)
    assert info["channel"]["name"] == "rev\x1b]0;x\x07iews \ud800"


async def test_cookies_are_set_for_each_token_and_those_sent_are_kept(
    slack: EmbeddedSlack, http: aiohttp.ClientSession
) -> None:
    slack.tokens[BOT].cookie = "d=one; Path=/"
    slack.add_token(OTHER_BOT, bot_id="B2", cookie="d=two; Path=/")
    for token, sent in ((BOT, {}), (OTHER_BOT, {"Cookie": "d=one"})):
        headers = {"Authorization": f"Bearer {token}", **sent}
        async with http.post(f"{slack.base_url}auth.test", headers=headers) as answer:
            assert answer.headers["Set-Cookie"] == slack.tokens[token].cookie
    assert [(call.token, call.cookie) for call in slack.requests] == [
        (BOT, None),
        (OTHER_BOT, "d=one"),
    ]


@pytest.mark.parametrize(
    ("user", "direct"), [("U0000000007", "D0000000007"), ("W0000000007", "DW0000000007")]
)
async def test_people_of_an_enterprise_grid_are_written_to_as_others_are(
    slack: EmbeddedSlack, client: AsyncWebClient, user: str, direct: str
) -> None:
    slack.add_user("U0000000007")
    slack.add_user("W0000000007")
    answer = await client.chat_postMessage(channel=user, text="psst")
    assert (
        answer["channel"]
        == direct
        == (await client.conversations_open(users=user))["channel"]["id"]
    )
    assert slack.channels[direct].user == user
    assert (
        await error_of(client.chat_update(channel=user, ts=answer["ts"], text="y"))
        == "channel_not_found"
    )
    await client.chat_update(channel=direct, ts=answer["ts"], text="y")
