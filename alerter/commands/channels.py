"""`alerter channels`: list the channels of a Slack workspace."""

import logging
import os
from pathlib import Path

import click

from alerter.commands.access import GivenSecret, slack_options, workspace_channels
from alerter.commands.options import config_option, load_if_there
from alerter.commands.terminal import print_rows
from alerter.config import Config, Slack, given
from alerter.logs import log_to_stderr


@click.command()
@config_option
@slack_options
def command(path: Path | None, slack_token: GivenSecret | None, slack_base_url: str | None) -> None:
    """List the channels of a Slack workspace: id and name, one a line.

    The token is that of the config, or of the flag. Archived channels are left out, and private
    ones that the app is not in.
    """
    log_to_stderr(logging.ERROR, os.environ)
    if slack_token:
        workspaces = [given.slack(slack_token.value, slack_base_url)]
    else:
        workspaces = _workspaces(load_if_there(path), slack_base_url)
    for slack in workspaces:
        print_rows([(each.id, f"#{each.name}") for each in workspace_channels(slack)])


def _workspaces(config: Config | None, base_url: str | None) -> list[Slack]:
    """Return the Slack workspaces of a config. Raise UsageError if there is none."""
    named = (config.slack, *map(config.workspace, config.receivers)) if config else ()
    found = {slack.token.get_secret_value(): base_url or slack.base_url for slack in named if slack}
    if not found:
        raise click.UsageError("no config has a Slack token: give --slack-token")
    return [given.slack(token, url) for token, url in found.items()]
