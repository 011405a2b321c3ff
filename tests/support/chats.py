"""An embedded Discord and Teams, a config whose receivers they are, and what stands there."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.discord import DiscordWebhook, EmbeddedDiscord
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.teams import EmbeddedTeams, Workflow
from alerter.demo.wix import EmbeddedWix
from tests.support.clock import SetClock
from tests.support.values import SECRETS

DISCORD, TEAMS = "discord:guild", "teams:office"
RECEIVERS = """
[[receivers]]
name = "guild"
discord = "env:DISCORD_URL"

[[receivers]]
name = "office"
teams = "env:TEAMS_URL"

[[receivers]]
name = "other guild"
discord = "env:OTHER_DISCORD_URL"
"""


@pytest.fixture
async def discord(clock: SetClock) -> AsyncIterator[EmbeddedDiscord]:
    async with EmbeddedDiscord(clock=clock) as discord:
        yield discord


@pytest.fixture
def webhook(discord: EmbeddedDiscord) -> DiscordWebhook:
    return discord.add_webhook("42")


@pytest.fixture
async def teams(clock: SetClock) -> AsyncIterator[EmbeddedTeams]:
    async with EmbeddedTeams(clock=clock) as teams:
        yield teams


@pytest.fixture
def workflow(teams: EmbeddedTeams) -> Workflow:
    return teams.add_workflow()


@pytest.fixture
def config(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    discord: EmbeddedDiscord,
    webhook: DiscordWebhook,
    teams: EmbeddedTeams,
    workflow: Workflow,
) -> Config:
    """Three receivers, each with one address."""
    secrets = SECRETS | {
        "DISCORD_URL": discord.url(webhook),
        "OTHER_DISCORD_URL": discord.url(discord.add_webhook("43")),
        "TEAMS_URL": teams.url(workflow),
    }
    return load_config(
        write_config(wix, slack, mailbox, receivers=RECEIVERS), secrets, secrets=True
    )


def words_of_message(message: dict[str, Any]) -> str:
    """What people read in a message on Discord."""
    return "\n".join([message["content"], *(each["description"] for each in message["embeds"])])


def words_of_card(card: dict[str, Any]) -> str:
    """Everything in a card, as JSON."""
    return json.dumps(card, ensure_ascii=False)
