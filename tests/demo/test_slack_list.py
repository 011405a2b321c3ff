"""The embedded Slack lists channels as Slack does: page by page, and those that the bot may see."""

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from alerter.demo.slack import EmbeddedSlack
from tests.support.demo_slack import ROOM, TOKEN, client, clock, error_of, http, slack

__all__ = ["client", "clock", "http", "slack"]

ALL = "public_channel,private_channel"


@pytest.fixture(autouse=True)
def channels(slack: EmbeddedSlack) -> None:
    slack.add_channel("C0000000002", "support", member=False)
    slack.add_channel("C0000000003", "old", archived=True)
    slack.add_channel("C0000000004", "secret", private=True)
    slack.add_channel("C0000000005", "hidden", private=True, member=False)


async def names(client: AsyncWebClient, **arguments: str | int | bool) -> list[str]:
    found, cursor = [], ""
    while True:
        page = await client.conversations_list(**arguments, cursor=cursor)
        found += [channel["name"] for channel in page["channels"]]
        cursor = page["response_metadata"]["next_cursor"]
        if not cursor:
            return found


async def test_public_channels_are_listed_and_private_ones_of_members(
    client: AsyncWebClient,
) -> None:
    assert await names(client) == ["reviews", "support", "old"]
    assert await names(client, types=ALL) == ["reviews", "support", "old", "secret"]
    assert await names(client, types="private_channel") == ["secret"]
    assert await names(client, exclude_archived=True) == ["reviews", "support"]


async def test_pages_are_cut_before_they_are_filtered(client: AsyncWebClient) -> None:
    assert await names(client, types=ALL, limit=1) == ["reviews", "support", "old", "secret"]
    page = await client.conversations_list(types="private_channel", limit=2)
    assert page["channels"] == []
    assert page["response_metadata"]["next_cursor"]


async def test_a_channel_is_shown_as_by_conversations_info(client: AsyncWebClient) -> None:
    page = await client.conversations_list(types=ALL)
    info = await client.conversations_info(channel=ROOM)
    assert page["channels"][0] == info["channel"]
    shown = {each["name"]: each for each in page["channels"]}
    assert shown["support"]["is_member"] is False
    assert shown["old"]["is_archived"] is True
    assert shown["secret"]["is_private"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"types": "public"}, "invalid_types"),
        ({"limit": 1000}, "invalid_limit"),
        ({"limit": -1}, "invalid_limit"),
        ({"cursor": "x"}, "invalid_cursor"),
        ({"cursor": "dGVhbTpD"}, "invalid_cursor"),
    ],
)
async def test_wrong_arguments_are_refused(
    client: AsyncWebClient, arguments: dict[str, str], error: str
) -> None:
    assert await error_of(client.conversations_list(**arguments)) == error


async def test_each_type_needs_its_scope(slack: EmbeddedSlack, client: AsyncWebClient) -> None:
    slack.add_token(TOKEN, scopes=["channels:read"])
    assert await names(client) == ["reviews", "support", "old"]
    with pytest.raises(SlackApiError) as caught:
        await client.conversations_list(types=ALL)
    assert caught.value.response["error"] == "missing_scope"
    assert caught.value.response["needed"] == "groups:read"
