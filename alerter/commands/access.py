"""How commands reach Wix and Slack without a config: their flags, and lists of what is there."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from alerter.clock import Clock
from alerter.config import Slack, given
from alerter.errors import ConfigError
from alerter.slack.api import SlackApi, open_session
from alerter.slack.channels import ListedChannel, list_channels
from alerter.wix.client import WixClient
from alerter.wix.sites import ListedSite

_Command = TypeVar("_Command", bound=Callable[..., Any])
REFERENCE = "env:NAME"
_SOURCES = ("env", "file", "credential")


@dataclass(frozen=True, slots=True)
class GivenSecret:
    """A secret, and how a config refers to it; one that was typed has no reference yet."""

    value: str = field(repr=False)
    reference: str | None = None


class _SecretFlag(click.ParamType[GivenSecret]):
    """A reference to a secret; a command line is no place for the secret itself."""

    name = REFERENCE

    def __init__(self, *, in_header: bool) -> None:
        self._in_header = in_header

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> GivenSecret:
        if isinstance(value, GivenSecret):
            return value
        source, _, name = str(value).partition(":")
        if source not in _SOURCES or not name:
            self.fail(
                'must be "env:NAME" or "file:PATH", not the secret itself: others can read a'
                " command line",
                param,
                ctx,
            )
        try:
            secret = given.secret(value, Path.cwd(), os.environ, in_header=self._in_header)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        return GivenSecret(secret, f"file:{Path(name).absolute()}" if source == "file" else value)


class Checked(click.ParamType[Any]):
    """A value that is checked by a function of `given`."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the checked value; a fault is one of usage."""
        try:
            return self._check(value) if isinstance(value, str) else value
        except ConfigError as error:
            self.fail(str(error), param, ctx)


IN_HEADER, PASSWORD = _SecretFlag(in_header=True), _SecretFlag(in_header=False)
URL = Checked("URL", given.base_url)


def _decorated(options: Sequence[Callable[[_Command], _Command]], command: _Command) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def wix_options(command: _Command) -> _Command:
    """Add the flags that say how Wix is reached."""
    options = (
        click.option(
            "--wix-api-key",
            type=IN_HEADER,
            metavar=REFERENCE,
            help="The API key of a Wix account.",
        ),
        click.option(
            "--wix-account-id",
            type=Checked("ID", given.account_id),
            help="The account's id, from Wix's API Keys Manager.",
        ),
        click.option("--wix-base-url", type=URL, help="Only to go through a proxy."),
    )
    return _decorated(options, command)


def slack_options(command: _Command) -> _Command:
    """Add the flags that say how Slack is reached."""
    options = (
        click.option(
            "--slack-token",
            type=IN_HEADER,
            metavar=REFERENCE,
            help="The bot token of a Slack app.",
        ),
        click.option("--slack-base-url", type=URL, help="Only to go through a proxy."),
    )
    return _decorated(options, command)


def account_sites(api_key: str, account_id: str, base_url: str | None) -> list[ListedSite]:
    """List the sites of a Wix account by name. Raises WixError."""

    async def read() -> list[ListedSite]:
        wix = WixClient(given.wix_base_url(base_url), Clock())
        try:
            return await wix.account_sites(api_key, account_id)
        finally:
            await wix.close()

    return sorted(asyncio.run(read()), key=lambda site: (site.name.casefold(), site.site_id))


def workspace_channels(slack: Slack) -> list[ListedChannel]:
    """List the channels that a Slack app can see by name, without archived ones.

    Raises DeliveryError.
    """

    async def read() -> list[ListedChannel]:
        async with open_session() as session:
            api = SlackApi(slack, session, Clock())
            return [each async for each in list_channels(api) if not each.is_archived]

    return sorted(asyncio.run(read()), key=lambda channel: channel.name.casefold())
