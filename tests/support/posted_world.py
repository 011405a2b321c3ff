"""The world of the crash harness with receivers that have an address, one for each medium."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alerter.demo.discord import EmbeddedDiscord
from alerter.demo.ntfy import EmbeddedNtfy
from alerter.demo.teams import EmbeddedTeams
from alerter.demo.webhook import EmbeddedWebhook
from tests.support.world import SECRETS, Outcome, World, find_titles

_RECEIVERS = """
[[receivers]]
name = "desk"
webhook = "env:HOOK_URL"
webhook_secret = "env:HOOK_SECRET"

[[receivers]]
name = "phone"
ntfy = "env:NTFY_URL"

[[receivers]]
name = "guild"
discord = "env:DISCORD_URL"

[[receivers]]
name = "office"
teams = "env:TEAMS_URL"
"""
_REPEAT = "This may be a repeat"


class PostedWorld(World):
    """The world, with a receiver for each medium that posts to an address."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hooks, self.ntfy = EmbeddedWebhook(), EmbeddedNtfy()
        self.discord = EmbeddedDiscord(limited=False)
        self.teams = EmbeddedTeams(limited=False)
        self.services: dict[
            str, EmbeddedWebhook | EmbeddedNtfy | EmbeddedDiscord | EmbeddedTeams
        ] = {
            "webhook:desk": self.hooks,
            "ntfy:phone": self.ntfy,
            "discord:guild": self.discord,
            "teams:office": self.teams,
        }

    @asynccontextmanager
    async def up(self) -> AsyncIterator["PostedWorld"]:
        """Start the services and write the config."""
        async with self.hooks, self.ntfy, self.discord, self.teams:
            hook = self.hooks.add("desk", query="token=t")
            self.secrets = SECRETS | {
                "HOOK_URL": hook.url,
                "HOOK_SECRET": hook.secret,
                "NTFY_URL": self.ntfy.url("phone"),
                "DISCORD_URL": self.discord.url(self.discord.add_webhook("1")),
                "TEAMS_URL": self.teams.url(self.teams.add_workflow()),
            }
            async with super().up():
                yield self

    def clear(self) -> None:
        """Let nothing have happened yet."""
        super().clear()
        for hook in self.hooks.hooks.values():
            hook.events.clear()
            hook.repeats.clear()
        self.ntfy.published.clear()
        self.discord.posted.clear()
        for workflow in self.teams.workflows.values():
            workflow.posts.clear()

    def calm(self) -> None:
        """Let all that is still to go wrong be well."""
        super().calm()
        for service in self.services.values():
            service.faults.clear()

    def _toml(self) -> str:
        return super()._toml() + _RECEIVERS

    def times_received(self, destination: str) -> Counter[str]:
        """How often each review arrived, but for repeats that are recognized as such."""
        if destination == "webhook:desk":
            events = self.hooks.hooks["desk"].events
            return Counter(event.review["title"] for event in events if event.type == "review.new")
        messages = self._texts_at(destination)
        fresh = [text for text in messages if _REPEAT not in text]
        again = {title for text in messages for title in find_titles(text)}
        times = Counter(title for text in fresh for title in find_titles(text))
        return times + Counter(again - times.keys())

    def _texts_at(self, destination: str) -> list[str]:
        """What was posted to a destination, as it was posted."""
        if destination == "ntfy:phone":
            return [each.message for each in self.ntfy.published]
        found = self.discord.posted if destination == "discord:guild" else self.teams.posts
        return [json.dumps(each) for each in found]

    def arrived_everywhere(self) -> set[str]:
        """The reviews that have reached everybody, but for what was given up."""
        received = [
            self.times_received(name).keys() | self.given_up(name) for name in self.services
        ]
        return super().arrived_everywhere().intersection(*received)

    def count(self, outcome: Outcome) -> None:
        """Compare what arrived with what was to arrive."""
        super().count(outcome)
        wanted = Counter(self.titles)
        for name in self.services:
            times, given_up = self.times_received(name), self.given_up(name)
            outcome.deliveries += len(self.titles)
            outcome.given_up += len(given_up)
            outcome.lost += [
                f"{title} at {name}" for title in wanted - times if title not in given_up
            ]
            outcome.repeated += [f"{title} at {name}" for title in times - wanted]
