"""What is posted on Discord, what its answers mean, and how a message is changed or deleted."""

import json
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from alerter.demo.discord import DiscordWebhook, EmbeddedDiscord
from alerter.demo.faults import NONSENSE, Fault, redirect
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Form, Message
from alerter.notify.discord import DiscordNotifier
from alerter.notify.http_address import HttpAddress
from tests.support.chats import discord, webhook
from tests.support.clock import SetClock

__all__ = ["discord", "webhook"]

DRAWN = {"content": "★☆☆☆☆ Box @everyone", "embeds": [{"description": "> Stale"}]}
CONTENT = Content("Stale", "Stale", blocks=(DRAWN,))
GONE = Content("Gone", "Gone", blocks=({"content": "Gone", "embeds": []},))


@pytest.fixture
def message(clock: SetClock) -> Message:
    return Message(1, "9f2c@alerter", "discord:guild", Form.ALERT, (), clock.now())


def notifier_of(url: str, clock: SetClock) -> DiscordNotifier:
    return DiscordNotifier("guild", HttpAddress(url, clock))


@pytest.fixture
async def notifier(
    discord: EmbeddedDiscord, webhook: DiscordWebhook, clock: SetClock
) -> AsyncIterator[DiscordNotifier]:
    notifier = notifier_of(discord.url(webhook), clock)
    yield notifier
    await notifier.close()


async def error_of(call: Any, webhook: DiscordWebhook) -> DeliveryError:
    """What a call fails with; the address stands nowhere in it."""
    with pytest.raises(DeliveryError) as caught:
        await call
    said = "".join(traceback.format_exception(caught.value))
    assert webhook.token not in said
    assert webhook.id not in said
    assert str(caught.value).isprintable()
    return caught.value


async def sent(notifier: DiscordNotifier, message: Message) -> Message:
    receipt = await notifier.send(message, CONTENT)
    return replace(message, slack_channel=receipt.slack_channel, slack_ts=receipt.slack_ts)


async def test_a_post_waits_until_it_is_saved_and_notifies_nobody(
    discord: EmbeddedDiscord, notifier: DiscordNotifier, message: Message
) -> None:
    receipt = await notifier.send(message, CONTENT)
    (call,) = discord.requests
    assert call.query == {"wait": "true"}
    assert call.body == {**DRAWN, "allowed_mentions": {"parse": []}}
    assert discord.pinged == []
    assert (receipt.slack_ts, receipt.answer) == (
        discord.messages[0]["id"],
        f"ok, id {discord.messages[0]['id']}",
    )


async def test_the_query_of_the_address_is_kept(
    discord: EmbeddedDiscord, clock: SetClock, message: Message
) -> None:
    forum = discord.add_webhook("7", forum=True)
    notifier = notifier_of(f"{discord.url(forum)}?thread_id=99", clock)
    posted = await sent(notifier, message)
    await notifier.update(posted, GONE)
    assert discord.messages[0]["content"] == "Gone"
    await notifier.delete(posted)
    assert discord.messages == []
    assert [call.query for call in discord.requests] == [
        {"thread_id": "99", "wait": "true"},
        {"thread_id": "99"},
        {"thread_id": "99"},
    ]
    await notifier.close()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 50035, ErrorKind.MESSAGE),
        (400, 50006, ErrorKind.MESSAGE),
        (400, 220001, ErrorKind.RECEIVER),
        (400, 99999, ErrorKind.RECEIVER),
        (401, 50027, ErrorKind.RECEIVER),
        (403, 50013, ErrorKind.RECEIVER),
        (404, 10015, ErrorKind.RECEIVER),
        (410, 0, ErrorKind.RECEIVER),
        (500, 0, ErrorKind.TRANSIENT),
    ],
)
async def test_a_refusal_is_of_its_kind_and_names_its_code(
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    notifier: DiscordNotifier,
    message: Message,
    status: int,
    code: int,
    kind: ErrorKind,
) -> None:
    body = json.dumps({"message": f"No {webhook.token} here", "code": code})
    discord.faults.add(webhook.token, Fault(status=status, body=body))
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.in_doubt) == (kind, False)
    assert str(status) in str(error)
    assert str(code) in str(error)


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({}, '{"message": "slow", "retry_after": 64.57, "global": false}', 64.57),
        ({}, '{"message": "slow", "retry_after": 3, "global": true}', 3.0),
        ({"Retry-After": "65"}, "error code: 1015", 65.0),
        ({"Retry-After": "Tue, 24 Nov 2026 12:01:00 GMT"}, "", 60.0),
        ({"Retry-After": "1"}, '{"retry_after": 30.5}', 30.5),
        ({"Retry-After": "40"}, '{"retry_after": 0.25}', 40.0),
        ({"Retry-After": "2"}, '{"retry_after": "soon"}', 2.0),
        ({"Retry-After": "2"}, '{"retry_after": NaN}', 2.0),
        ({"Retry-After": "2"}, '{"retry_after": -5}', 2.0),
        ({}, '{"retry_after": 1e300}', 86400.0),
        ({}, f'{{"retry_after": {"9" * 400}}}', 86400.0),
        ({}, '{"retry_after": true}', None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "9.5"}, "", 9.5),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset-After": "9.5"}, "", None),
        ({}, "[]", None),
        ({}, "", None),
    ],
)
async def test_the_longer_of_two_waits_counts(
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    notifier: DiscordNotifier,
    message: Message,
    headers: dict[str, str],
    body: str,
    wait: float | None,
) -> None:
    discord.faults.add(webhook.token, Fault(status=429, headers=headers, body=body))
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.retry_after) == (ErrorKind.THROTTLED, wait)


async def test_the_limits_of_a_webhook_are_waited_for(
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    notifier: DiscordNotifier,
    message: Message,
    clock: SetClock,
) -> None:
    for _ in range(5):
        await notifier.send(message, CONTENT)
    clock.advance(seconds=0.5)
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.retry_after) == (ErrorKind.THROTTLED, 1.5)
    assert len(discord.requests) == 5  # Discord said that no call is left
    clock.advance(seconds=1.5)
    await notifier.send(message, CONTENT)
    assert [call.status for call in discord.requests] == [200] * 6


async def test_a_limit_that_another_used_up_is_waited_for(
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    notifier: DiscordNotifier,
    message: Message,
    clock: SetClock,
) -> None:
    other = notifier_of(discord.url(webhook), clock)
    for _ in range(5):
        await other.send(message, CONTENT)
    clock.advance(seconds=0.5)
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.retry_after) == (ErrorKind.THROTTLED, 2.0)
    await other.close()


async def test_a_lost_answer_leaves_the_message_in_doubt(
    discord: EmbeddedDiscord, webhook: DiscordWebhook, notifier: DiscordNotifier, message: Message
) -> None:
    discord.faults.add(webhook.token, Fault(drop="after"))
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)
    assert len(discord.messages) == 1


@pytest.mark.parametrize(
    "name",
    ["html", "list", "number", "text", "null", "cut off", "5000 digits", "deep list", "not UTF-8"],
)
async def test_an_answer_that_is_none_of_discords_proves_nothing(
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    notifier: DiscordNotifier,
    message: Message,
    name: str,
) -> None:
    discord.faults.add(webhook.token, Fault(body=NONSENSE[name]))
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)


@pytest.mark.parametrize("name", ["empty", "NaN", "400 digits", "lone surrogate"])
async def test_a_message_without_an_id_is_accepted_and_never_changed(
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    notifier: DiscordNotifier,
    message: Message,
    name: str,
) -> None:
    discord.faults.add(webhook.token, Fault(body=NONSENSE[name]))
    receipt = await notifier.send(message, CONTENT)
    assert (receipt.answer, receipt.slack_ts) == ("200", None)


async def test_a_redirect_is_not_followed(
    discord: EmbeddedDiscord, webhook: DiscordWebhook, notifier: DiscordNotifier, message: Message
) -> None:
    discord.faults.add(webhook.token, redirect(f"{discord.url(webhook)}?wait=true"))
    error = await error_of(notifier.send(message, CONTENT), webhook)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, False)
    assert discord.messages == []


# What was posted changes


async def test_a_message_is_replaced_and_deleted_in_place(
    discord: EmbeddedDiscord, notifier: DiscordNotifier, message: Message
) -> None:
    posted = await sent(notifier, message)
    await notifier.update(posted, GONE)
    assert [each["content"] for each in discord.messages] == ["Gone"]
    assert discord.messages[0]["embeds"] == []
    assert discord.requests[-1].body["allowed_mentions"] == {"parse": []}
    await notifier.delete(posted)
    assert discord.messages == []
    await notifier.delete(posted)


async def test_a_message_that_people_deleted_holds_no_words(
    discord: EmbeddedDiscord, webhook: DiscordWebhook, notifier: DiscordNotifier, message: Message
) -> None:
    posted = await sent(notifier, message)
    webhook.messages.clear()
    await notifier.update(replace(posted, erase=True), GONE)
    error = await error_of(notifier.update(posted, GONE), webhook)
    assert error.kind is ErrorKind.MESSAGE


async def test_words_that_another_webhook_posted_are_not_taken_for_gone(
    discord: EmbeddedDiscord, notifier: DiscordNotifier, message: Message, clock: SetClock
) -> None:
    posted = replace(await sent(notifier, message), erase=True)
    other = discord.add_webhook("42")
    successor = notifier_of(discord.url(other), clock)
    for call in (successor.update(posted, GONE), successor.delete(posted)):
        error = await error_of(call, other)
        assert (error.kind, "another" in str(error)) == (ErrorKind.MESSAGE, True)
    assert len(discord.messages) == 1
    await successor.close()


async def test_words_in_another_thread_are_not_taken_for_gone(
    discord: EmbeddedDiscord, clock: SetClock, message: Message
) -> None:
    forum = discord.add_webhook("7", forum=True)
    first, second = (
        notifier_of(f"{discord.url(forum)}?thread_id={each}", clock) for each in (1, 2)
    )
    posted = replace(await sent(first, message), erase=True)
    error = await error_of(second.update(posted, GONE), forum)
    assert error.kind is ErrorKind.MESSAGE
    for each in (first, second):
        await each.close()


# Is it there?


async def test_a_check_asks_for_the_webhook_and_posts_nothing(
    discord: EmbeddedDiscord, webhook: DiscordWebhook, notifier: DiscordNotifier
) -> None:
    (good,) = await notifier.check()
    webhook.deleted = True
    (bad,) = await notifier.check()
    assert (good.ok, good.subject) == (True, "receiver guild")
    assert (bad.ok, "404" in bad.text, "10015" in bad.text) == (False, True, True)
    assert webhook.token not in f"{good} {bad}"
    assert discord.messages == []
