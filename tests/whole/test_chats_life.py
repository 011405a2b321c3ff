"""A review's life on Discord and in Teams, with one daemon and over restarts."""

from pathlib import Path

import pytest

from alerter.demo.discord import EmbeddedDiscord
from alerter.demo.teams import EmbeddedTeams
from tests.support.chats import discord, teams, words_of_card, words_of_message
from tests.support.lifecycle import REMINDERS, Begin, Life, begin, slack, wix
from tests.support.values import SITE

__all__ = ["begin", "discord", "slack", "teams", "wix"]

RECEIVERS = """
[[receivers]]
name = "guild"
discord = "file:discord-url"
{more}

[[receivers]]
name = "office"
teams = "file:teams-url"

[[receivers]]
name = "manager"
email = ["manager@example.com"]
max_rating = 1
"""


@pytest.fixture
async def life(
    begin: Begin, tmp_path: Path, discord: EmbeddedDiscord, teams: EmbeddedTeams
) -> Life:
    (tmp_path / "discord-url").write_text(discord.url(discord.add_webhook("1")))
    (tmp_path / "teams-url").write_text(teams.url(teams.add_workflow()))
    return await begin(REMINDERS, RECEIVERS.format(more=""))


def on_discord(discord: EmbeddedDiscord) -> list[str]:
    return [words_of_message(each) for each in discord.messages]


async def test_an_answer_shows_on_discord_where_the_alert_was(
    life: Life, discord: EmbeddedDiscord, teams: EmbeddedTeams
) -> None:
    life.put()
    await life.round()
    (alert,) = on_discord(discord)
    assert "Title of r1" in alert
    life.wix.change(SITE, "r1", reply={"message": "We are sorry."})
    await life.round(hours=2)
    (answered,) = on_discord(discord)
    assert "✅ Answered" in answered
    assert "We are sorry." in answered
    assert len(teams.posts) == 1


async def test_a_reminder_is_a_message_of_its_own(
    life: Life, discord: EmbeddedDiscord, teams: EmbeddedTeams
) -> None:
    life.put()
    await life.round()
    await life.round(hours=25)
    assert ["Still unanswered" in each for each in on_discord(discord)] == [False, True]
    assert ["Still unanswered" in words_of_card(each) for each in teams.posts] == [False, True]


async def test_what_is_deleted_is_gone_on_discord_and_stays_in_teams(
    life: Life, discord: EmbeddedDiscord, teams: EmbeddedTeams
) -> None:
    life.put()
    await life.round()
    life.wix.delete(SITE, "r1")
    await life.round(hours=2)
    (left,) = on_discord(discord)
    assert "of r1" not in left
    assert "Robin" not in left
    assert "Body of r1" in words_of_card(teams.posts[0])


async def test_closings_that_were_asked_for_are_messages_too(
    begin: Begin, tmp_path: Path, discord: EmbeddedDiscord, teams: EmbeddedTeams
) -> None:
    (tmp_path / "discord-url").write_text(discord.url(discord.add_webhook("1")))
    (tmp_path / "teams-url").write_text(teams.url(teams.add_workflow()))
    life = await begin(receivers=RECEIVERS.format(more="closings = true"))
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", reply={"message": "We are sorry."})
    await life.round(hours=2)
    assert ["✅ Answered" in each for each in on_discord(discord)] == [True, True]
    assert len(teams.posts) == 1
