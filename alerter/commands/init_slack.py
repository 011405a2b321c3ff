"""The part of `alerter init` about Slack: the app, and the channel that is alerted."""

import asyncio
import re

import click

from alerter.clock import Clock
from alerter.commands.access import GivenSecret, workspace_channels
from alerter.commands.init_answers import RECEIVER, SlackAnswers
from alerter.commands.init_flags import Flags
from alerter.commands.init_questions import ask, ask_secret, require_good, show_part, until_good
from alerter.config import Slack, given
from alerter.config.fields import nearest
from alerter.errors import AlerterError
from alerter.models import Finding
from alerter.slack import check as slack_check
from alerter.slack.api import SlackApi, open_session
from alerter.slack.channels import ChannelAddress, ListedChannel
from alerter.slack.manifest import app_link
from alerter.store import State
from alerter.store.channels import ChannelIds

_MOST_SHOWN = 20
# Without a digit it is a name in capitals, such as COMPLAINTS.
_CHANNEL_ID = re.compile(r"(?=.*\d)[CGDUW][A-Z0-9]{2,}")
_HELP = """\
  This link fills in an app for you. Choose your workspace, “Create” and “Install to Workspace”,
  and copy the “Bot User OAuth Token” (xoxb-…) from “OAuth & Permissions”:

  {}
"""


def slack_answers(flags: Flags, *, optional: bool) -> SlackAnswers | None:
    """Return the app's token and the channel; None for none. Raise AlerterError."""
    if flags.slack_token and flags.slack_channel:
        return _with_channel(flags, flags.slack_token, flags.slack_channel)
    if optional and not click.confirm("\nAlert a Slack channel?", default=False):
        return None
    show_part(3, "Slack: the channel that is alerted", _HELP.format(app_link()))
    token, channels = until_good(_ask_token, flags)
    own = [f"#{each.name}" for each in channels if each.is_member]
    if own:
        more = f" and {len(own) - _MOST_SHOWN} more" if len(own) > _MOST_SHOWN else ""
        click.echo(f"The app is in {', '.join(own[:_MOST_SHOWN])}{more}.")
    click.echo("The app joins a channel when one of its members writes /invite @alerter there.")
    return until_good(
        lambda flags: _with_channel(flags, token, flags.slack_channel or ask("Channel")), flags
    )


def _ask_token(flags: Flags) -> tuple[GivenSecret, list[ListedChannel]]:
    token = flags.slack_token or ask_secret("Bot User OAuth Token")
    return token, workspace_channels(given.slack(token.value, flags.slack_base_url))


def _with_channel(flags: Flags, token: GivenSecret, written: str) -> SlackAnswers:
    """Return the answers if the app may post to a channel, given by name or id.

    Raise AlerterError.
    """
    slack, written = given.slack(token.value, flags.slack_base_url), written.strip()
    if _CHANNEL_ID.fullmatch(written):
        channel, name = written, ""
    else:
        found = _channel_named(written, workspace_channels(slack))
        channel, name = found.id, f"#{found.name}"
    require_good(asyncio.run(_check(slack, channel)))
    return SlackAnswers(token, channel, name, flags.slack_base_url)


def _channel_named(written: str, channels: list[ListedChannel]) -> ListedChannel:
    name = written.removeprefix("#").casefold()
    for channel in channels:
        if channel.name.casefold() == name:
            return channel
    near = nearest(name, [channel.name for channel in channels])
    hint = f'; did you mean "#{near}"?' if near else ""
    raise AlerterError(
        f"there is no channel #{name} that the app can see; a private one has to invite the app"
        f" first{hint}"
    )


async def _check(slack: Slack, channel: str) -> list[Finding]:
    with State.empty() as state:
        async with open_session() as session:
            api = SlackApi(slack, session, Clock())
            address = ChannelAddress(api, channel, ChannelIds(state, "slack"))
            return await slack_check.check(api, RECEIVER, address)
