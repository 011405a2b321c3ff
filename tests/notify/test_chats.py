"""Alerts on Discord and Teams from the outbox to the message, whatever the services do."""

import json
import logging
from typing import Any

import pytest

from alerter.config import Config
from alerter.demo.discord import DiscordWebhook, EmbeddedDiscord
from alerter.demo.faults import Fault
from alerter.demo.teams import EmbeddedTeams, Workflow
from alerter.models import Alert, AlertKind, CloseReason, Review, Status, StoredReview
from alerter.scopes import method_scope
from alerter.store import State, stale_messages
from alerter.store.raised_alerts import NewAlert, raise_alerts
from alerter.store.reviews import put_reviews
from alerter.trouble.naming import identify
from tests.support.chats import (
    DISCORD,
    TEAMS,
    config,
    discord,
    teams,
    webhook,
    words_of_card,
    words_of_message,
    workflow,
)
from tests.support.clock import SetClock
from tests.support.desk import Desk, Start, blocked, deliveries, desk, many, queue, start
from tests.support.values import SITE

__all__ = ["config", "desk", "discord", "start", "teams", "webhook", "workflow"]


def queue_titled(state: State, *ids: str, receivers: tuple[str, ...], **fields: Any) -> None:
    queue(state, *ids, receivers=receivers, body="Cold, late and dear.", **fields)


async def test_an_alert_arrives_on_both_as_a_message_of_its_own(
    state: State, desk: Desk, discord: EmbeddedDiscord, teams: EmbeddedTeams
) -> None:
    queue_titled(state, "r1", receivers=(DISCORD, TEAMS))
    await desk.work(DISCORD)
    await desk.work(TEAMS)
    (message,), (card,) = discord.messages, teams.posts
    for words in (words_of_message(message), words_of_card(card)):
        assert "Cold, late and dear." in words
        assert "Corner Bakery" in words
        assert "Reply in the dashboard" in words
    assert deliveries(state, DISCORD) == deliveries(state, TEAMS) == {"sent": 1}


async def test_thirty_alerts_are_few_messages_and_each_review_is_named(
    state: State, desk: Desk, discord: EmbeddedDiscord, teams: EmbeddedTeams, workflow: Workflow
) -> None:
    ids = many(30)
    words = "Sehr *trocken*, _kalt_ und zu spät! " * 20
    queue(state, *ids, receivers=(DISCORD, TEAMS), body=words)
    await desk.work(DISCORD)
    await desk.work(TEAMS)
    assert 2 <= len(discord.messages) <= 12
    assert 2 <= len(teams.posts) <= 12
    assert workflow.fails == []
    for found in (
        [words_of_message(each) for each in discord.messages],
        [words_of_card(each) for each in teams.posts],
    ):
        assert all(sum(f"{each}>" in text for text in found) == 1 for each in ids)
    assert deliveries(state, DISCORD) == deliveries(state, TEAMS) == {"sent": 30}
    assert max(call.size for call in teams.requests) <= 28_000
    assert all(call.status == 200 for call in discord.requests)


async def test_a_rate_limit_holds_up_its_own_address_only(
    state: State,
    desk: Desk,
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    clock: SetClock,
) -> None:
    body = json.dumps({"message": "slow", "retry_after": 64.5, "global": True})
    discord.faults.add(webhook.token, Fault(status=429, body=body))
    queue_titled(state, "r1", receivers=(DISCORD, "discord:other guild"))
    assert await desk.step(DISCORD) is None
    assert blocked(state, clock.now()) == {f"service:{DISCORD}": pytest.approx(64.5, abs=0.1)}
    await desk.work("discord:other guild", within=10.0)
    assert deliveries(state, "discord:other guild") == {"sent": 1}
    await desk.work(DISCORD)
    assert deliveries(state, DISCORD) == {"sent": 1}
    first, second = (call for call in discord.requests if webhook.token in call.path)
    assert second.at - first.at >= 64.5


async def test_a_webhook_that_is_gone_parks_its_receiver_only(
    state: State,
    desk: Desk,
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    clock: SetClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "alerter")
    webhook.deleted = True
    queue_titled(state, "r1", receivers=(DISCORD, "discord:other guild"))
    await desk.work(DISCORD, within=60.0)
    await desk.work("discord:other guild", within=60.0)
    assert blocked(state, clock.now()) == {f"destination:{DISCORD}": None}
    alerted, told = (words_of_message(each) for each in discord.messages)
    assert "Cold, late and dear." in alerted
    assert "10015" in told  # the other receiver is notified of the trouble
    reasons = str([dict(row) for row in state.rows("SELECT * FROM troubles")])
    assert "404" in reasons
    assert webhook.token not in caplog.text + reasons
    webhook.deleted = False
    clock.advance(hours=1)
    await desk.work(DISCORD)
    assert deliveries(state, DISCORD) == {"sent": 1}


@pytest.mark.parametrize("destination", [DISCORD, TEAMS])
async def test_what_was_in_doubt_is_repeated_once_and_says_so(
    state: State, desk: Desk, discord: EmbeddedDiscord, teams: EmbeddedTeams, destination: str
) -> None:
    discord.faults.add("", Fault(drop="after"))
    teams.faults.add("", Fault(drop="after"))
    queue_titled(state, "r1", receivers=(destination,))
    await desk.work(destination)
    found = [
        *(words_of_message(each) for each in discord.messages),
        *(words_of_card(each) for each in teams.posts),
    ]
    assert ["may be a repeat" in each for each in found] == [False, True]
    assert deliveries(state, destination) == {"sent": 1}


async def test_only_a_message_ends_the_parking_of_a_webhook_that_discord_knows(
    state: State, desk: Desk, discord: EmbeddedDiscord, webhook: DiscordWebhook, clock: SetClock
) -> None:
    webhook.forum = True
    queue_titled(state, "r1", receivers=(DISCORD,))
    await desk.work(DISCORD, within=60.0)
    state.execute("UPDATE deliveries SET status = 'cancelled' WHERE destination = ?", [DISCORD])
    clock.advance(hours=1)
    await desk.work(DISCORD, within=60.0)
    assert blocked(state, clock.now()) == {f"destination:{DISCORD}": None}
    assert [call.method for call in discord.requests] == ["POST"]


@pytest.mark.parametrize("destination", [DISCORD, TEAMS])
async def test_what_is_never_answered_fails_after_a_repeat(
    state: State, desk: Desk, discord: EmbeddedDiscord, teams: EmbeddedTeams, destination: str
) -> None:
    discord.faults.always("", Fault(drop="after"))
    teams.faults.always("", Fault(drop="after"))
    queue_titled(state, "r1", receivers=(destination,))
    await desk.work(destination)
    assert len(discord.messages) + len(teams.posts) == 2
    assert deliveries(state, destination) == {"failed": 1}


async def test_a_digest_that_discord_refuses_is_tried_in_pieces(
    state: State, desk: Desk, discord: EmbeddedDiscord, webhook: DiscordWebhook
) -> None:
    refused = json.dumps({"message": "Invalid Form Body", "code": 50035})
    discord.faults.add(webhook.token, *[Fault(status=400, body=refused)] * 3)
    ids = many(12)
    queue_titled(state, *ids, receivers=(DISCORD,))
    await desk.work(DISCORD)
    found = [words_of_message(each) for each in discord.messages]
    assert all(sum(f"{each}>" in text for text in found) == 1 for each in ids)
    assert deliveries(state, DISCORD) == {"sent": 12}


async def test_words_that_are_erased_vanish_from_discord(
    state: State, desk: Desk, discord: EmbeddedDiscord
) -> None:
    queue_titled(state, "r1", receivers=(DISCORD,))
    await desk.work(DISCORD)
    assert "Cold, late and dear." in words_of_message(discord.messages[0])
    gone = StoredReview(Review("r1", 1), Status.OPEN, closing=CloseReason.GONE)
    with state.transaction():
        put_reviews(state, SITE, [gone], desk.clock.now())
        stale_messages.erase_earlier_text(state, SITE, ["r1"])
        assert stale_messages.mark_stale(state, SITE, ["r1"]) == {DISCORD}
    await desk.work(DISCORD)
    (message,) = discord.messages
    assert "Cold, late and dear." not in words_of_message(message)
    assert "edited_timestamp" in message


async def test_many_closings_leave_as_a_digest_where_there_are_no_threads(
    state: State, start: Start, discord: EmbeddedDiscord, clock: SetClock
) -> None:
    desk = await start(burst=3)
    ids = many(3)
    queue_titled(state, *ids, receivers=(DISCORD,))
    await desk.work(DISCORD)
    assert len(discord.messages) == 3
    more = many(4, "s")
    queue_titled(state, *more, receivers=(DISCORD,))
    await desk.work(DISCORD)
    closed = [
        NewAlert(
            Alert(f"closed:{SITE}:{each}", AlertKind.CLOSED, SITE, each, {"reason": "answered"}),
            [(DISCORD, None)],
        )
        for each in (*ids, *more)
    ]
    with state.transaction():
        raise_alerts(state, closed, clock.now())
    await desk.work(DISCORD)
    assert len(discord.messages) == 3 + 1 + 1
    assert all(f"{each}>" in words_of_message(discord.messages[-1]) for each in (*ids, *more))


async def test_a_throttled_change_is_trouble_of_the_address(
    state: State, desk: Desk, discord: EmbeddedDiscord, webhook: DiscordWebhook, config: Config
) -> None:
    scope = method_scope(DISCORD, "update")
    assert identify(scope, {}, config) == ("service:address", DISCORD)
    queue_titled(state, "r1", receivers=(DISCORD,))
    await desk.work(DISCORD)
    desk.clock.advance(seconds=2)
    limit = Fault(status=429, body='{"retry_after": 7.5}')
    discord.faults.add(f"/messages/{discord.messages[0]['id']}", limit)
    with state.transaction():
        stale_messages.mark_stale(state, SITE, ["r1"])
    assert await desk.step(DISCORD) is None
    assert blocked(state, desk.clock.now()) == {scope: pytest.approx(7.5, abs=0.1)}
    await desk.work(DISCORD)
    assert "edited_timestamp" in discord.messages[0]
