"""The embedded Discord takes, refuses and limits what Discord does."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.discord import EmbeddedDiscord, rate_limited
from alerter.demo.faults import Fault, redirect
from tests.support.clock import SetClock

HELLO = {"content": "Hello", "allowed_mentions": {"parse": []}}


@pytest.fixture
async def discord(clock: SetClock) -> AsyncIterator[EmbeddedDiscord]:
    async with EmbeddedDiscord(clock=clock) as discord:
        yield discord


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield http


def code(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json()["code"]


async def test_a_message_is_confirmed_only_where_the_call_waits(
    discord: EmbeddedDiscord, http: httpx.AsyncClient
) -> None:
    url = discord.url(discord.add_webhook("1"))
    unconfirmed = await http.post(url, json=HELLO)
    assert (unconfirmed.status_code, unconfirmed.content) == (204, b"")
    answer = await http.post(f"{url}?wait=true", json=HELLO)
    assert answer.status_code == 200
    assert [each["id"] for each in discord.messages][1] == answer.json()["id"]


async def test_a_message_is_edited_and_deleted_by_its_webhook_only(
    discord: EmbeddedDiscord, http: httpx.AsyncClient
) -> None:
    url, other = (discord.url(discord.add_webhook("1")) for _ in range(2))
    message = (await http.post(f"{url}?wait=true", json=HELLO)).json()["id"]
    assert code(await http.patch(f"{other}/messages/{message}", json=HELLO)) == (404, 10008)
    edited = await http.patch(f"{url}/messages/{message}", json={"content": "Gone"})
    assert (edited.status_code, discord.messages[0]["content"]) == (200, "Gone")
    assert code(await http.patch(f"{url}/messages/{message}", json={"content": ""})) == (400, 50006)
    assert (await http.delete(f"{url}/messages/{message}")).status_code == 204
    assert discord.messages == []
    assert code(await http.delete(f"{url}/messages/{message}")) == (404, 10008)


async def test_a_webhook_is_described_to_who_has_its_address(
    discord: EmbeddedDiscord, http: httpx.AsyncClient
) -> None:
    webhook = discord.add_webhook("42")
    assert (await http.get(discord.url(webhook))).json()["channel_id"] == "42"
    assert code(await http.get(discord.url(webhook) + "x")) == (401, 50027)
    webhook.deleted = True
    assert code(await http.get(discord.url(webhook))) == (404, 10015)
    assert code(await http.post(discord.url(webhook), json=HELLO)) == (404, 10015)


async def test_a_forum_takes_messages_in_threads_only(
    discord: EmbeddedDiscord, http: httpx.AsyncClient
) -> None:
    url = discord.url(discord.add_webhook("1", forum=True))
    assert code(await http.post(url, json=HELLO)) == (400, 220001)
    message = (await http.post(f"{url}?wait=true&thread_id=7", json=HELLO)).json()["id"]
    assert code(await http.patch(f"{url}/messages/{message}", json=HELLO)) == (404, 10008)
    edited = await http.patch(f"{url}/messages/{message}?thread_id=7", json=HELLO)
    assert edited.status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * 2001},
        {"content": "😀" * 1001},
        {"content": 7},
        {"embeds": [{"title": "x" * 257}]},
        {"embeds": [{"description": "x" * 4097}]},
        {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]},
        {"embeds": [{"title": "x"}] * 11},
        {"embeds": [{"fields": [{"name": "x", "value": "y"}] * 26}]},
        {"embeds": [{"fields": [{"name": "x", "value": " "}]}]},
        {"embeds": [{"fields": [{"name": "x" * 257, "value": "y"}]}]},
        {"embeds": [{"fields": [{"name": "x", "value": "y" * 1025}]}]},
        {"embeds": [{"footer": {"text": "x" * 2049}}]},
        {"embeds": [{"title": "x", "url": "www.example.com"}]},
        {"embeds": [{"title": "x", "thumbnail": {"url": "ftp://example.com/x"}}]},
        {"embeds": [{"title": "x", "color": -1}]},
        {"embeds": ["x"]},
        {"content": "x", "allowed_mentions": {"parse": ["all"]}},
    ],
)
async def test_a_message_beyond_a_limit_is_an_invalid_form_body(
    discord: EmbeddedDiscord, http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    url = discord.url(discord.add_webhook("1"))
    assert code(await http.post(url, json=body)) == (400, 50035)
    assert discord.messages == []


@pytest.mark.parametrize("body", [{}, {"content": " \n"}, {"embeds": []}])
async def test_an_empty_message_is_refused(
    discord: EmbeddedDiscord, http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    url = discord.url(discord.add_webhook("1"))
    assert code(await http.post(url, json=body)) == (400, 50006)
    assert code(await http.post(url, content=b"{")) == (400, 50109)
    headers = {"Content-Type": "application/json"}
    assert code(await http.post(url, content=b"[]", headers=headers)) == (400, 50109)


@pytest.mark.parametrize(
    ("allowed", "pinged"),
    [
        (None, ["@everyone", "<@1>", "<@&2>"]),
        ({"parse": ["users"]}, ["<@1>"]),
        ({"parse": []}, []),
    ],
)
async def test_mentions_notify_unless_they_are_forbidden(
    discord: EmbeddedDiscord, http: httpx.AsyncClient, allowed: Any, pinged: list[str]
) -> None:
    url = discord.url(discord.add_webhook("1"))
    body = {"content": "@everyone <@1> <@&2>", "embeds": [{"title": "@here"}]}
    await http.post(url, json=body | ({"allowed_mentions": allowed} if allowed else {}))
    assert discord.pinged == pinged


async def test_five_calls_in_two_seconds_are_the_most_of_a_webhook(
    discord: EmbeddedDiscord, http: httpx.AsyncClient, clock: SetClock
) -> None:
    first, second = (discord.url(discord.add_webhook(str(number))) for number in (1, 2))
    left = [(await http.post(first, json=HELLO)).headers["X-RateLimit-Remaining"] for _ in "12345"]
    assert left == ["4", "3", "2", "1", "0"]
    clock.advance(seconds=1.25)
    limited = await http.post(first, json=HELLO)
    assert limited.status_code == 429
    assert limited.json() == {
        "message": "You are being rate limited.",
        "retry_after": 0.75,
        "global": False,
    }
    assert limited.headers["Retry-After"] == "1"
    assert (await http.post(second, json=HELLO)).status_code == 204
    clock.advance(seconds=2)
    assert (await http.post(first, json=HELLO)).status_code == 204


async def test_thirty_messages_a_minute_are_the_most_of_a_channel(
    discord: EmbeddedDiscord, http: httpx.AsyncClient, clock: SetClock
) -> None:
    urls = [discord.url(discord.add_webhook("1")) for _ in range(2)]
    for number in range(30):
        clock.advance(seconds=1)
        assert (await http.post(urls[number % 2], json=HELLO)).status_code == 204
    limited = await http.post(urls[0], json=HELLO)
    assert (limited.status_code, limited.headers["X-RateLimit-Scope"]) == (429, "shared")


def test_a_global_limit_says_so_in_the_header_and_the_body() -> None:
    error = rate_limited(64.2, scope="global")
    assert error.headers == {
        "Retry-After": "65",
        "X-RateLimit-Scope": "global",
        "X-RateLimit-Global": "true",
    }
    assert error.body["global"] is True


async def test_discord_fails_as_it_is_asked_to_for_one_webhook(
    discord: EmbeddedDiscord, http: httpx.AsyncClient
) -> None:
    webhook, other = discord.add_webhook("1"), discord.add_webhook("2")
    discord.faults.add(
        webhook.token,
        Fault(drop="after", only=webhook.id),
        redirect("https://elsewhere.example/x", only=webhook.id),
        Fault(status=429, headers={"Retry-After": "7"}, body="error code: 1015"),
    )
    assert (await http.post(discord.url(other), json=HELLO)).status_code == 204
    with pytest.raises(httpx.TransportError):
        await http.post(discord.url(webhook), json=HELLO)
    assert len(webhook.messages) == 1
    assert (await http.post(discord.url(webhook), json=HELLO)).status_code == 307
    assert (await http.post(discord.url(webhook), json=HELLO)).text == "error code: 1015"
    assert [call.status for call in discord.requests] == [204, None, 307, 429]
