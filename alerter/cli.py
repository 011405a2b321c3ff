"""The command line: one group, whose commands are imported when they run or show their help."""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from alerter import __version__
from alerter.errors import AlerterError, ConfigError, StateError
from alerter.logs import print_error

# The module of each command in `alerter.commands` has its name and defines `command`. The help is
# here, so that `alerter --help` imports none of them.
COMMANDS = {
    "init": "Make a config: ask, check each answer, and write it.",
    "sites": "List the sites of a Wix account with their ids.",
    "channels": "List the channels of a Slack workspace with their ids.",
    "run": "Run the daemon.",
    "check": "Check config, files, sites, permissions, tokens and receivers.",
    "test": "Send a sample alert, marked as a test.",
    "status": "Show sites, open reviews, deliveries and trouble.",
    "reload": "Have the running daemon read its config again.",
    "explain": "Show why a review was alerted or not, to whom, and what is next.",
    "reply": "Reply to a review as the site's owner.",
    "moderate": "Publish or reject a review.",
    "claim": "Claim a review, which holds its reminders for a while.",
    "snooze": "Hold the reminders of a review until a moment.",
    "export": "Write reviews, alerts and times to answer as CSV or JSON.",
    "replay": "Show what a config would have alerted in the past, beside what was.",
    "backfill": "Read the past once, and alert its low-rated, unanswered reviews.",
    "retry": "Unpark receivers and services, and queue failed deliveries again.",
    "preview": "Write messages to files, as they would look.",
    "templates": "Export the templates of messages.",
    "backup": "Copy the state to a file, also beside a running daemon.",
    "restore": "Put a backup in the place of the state.",
    "forget": "Erase all text of a customer whose site has left the config.",
    "service": "Put the systemd units in place, or take them away.",
    "demo": "Show the whole daemon against an embedded Wix, Slack and mailbox.",
}


class _LazyCommands(Mapping[str, click.Command]):
    """The commands by name; looking one up imports its module."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in COMMANDS:
            raise KeyError(name)
        command: click.Command = import_module(f"alerter.commands.{name}").command
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(click.Group):
    """Print the errors of commands and set the exit code.

    1: something failed or needs a person; 2: the usage or the config is wrong.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            number = len(error.problems)
            faults = f"alerter: {number} {'fault' if number == 1 else 'faults'} in the config:"
            print_error(faults, *(f"  {problem}" for problem in error.problems))
            ctx.exit(2)
        except AlerterError as error:
            text = error.advice if isinstance(error, StateError) else str(error)
            print_error(f"alerter: {text}")
            ctx.exit(1)


@click.group(
    cls=_Commands,
    commands=_LazyCommands(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="alerter")
def main() -> None:
    """Watch the reviews of Wix sites, and alert their owners about every low-rated one."""
    os.umask(0o077)
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        click.get_current_context().color = False
