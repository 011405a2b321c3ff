"""`alerter demo`: the daemon against embedded services."""

import asyncio
import logging
import os
import sys
from pathlib import Path

import click

from alerter.errors import AlerterError
from alerter.logs import log_to_stderr


@click.command()
@click.option(
    "--serve", is_flag=True, help="Keep the embedded services up, and print a config for them."
)
@click.option(
    "--reviews",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Reviews in Wix's JSON, one a line, to begin with.",
)
def command(reviews: Path | None, *, serve: bool) -> None:
    """Show the whole daemon against an embedded Wix, Slack and mailbox.

    Nothing leaves this machine.
    """
    try:
        import aiosmtpd  # noqa: F401, PLC0415 - only whether it is installed
    except ImportError:
        raise AlerterError("the demo needs aiosmtpd: pip install 'alerter[demo]'") from None
    from alerter.demo import story  # noqa: PLC0415 - imports aiosmtpd

    log_to_stderr(logging.WARNING, os.environ)
    play = story.serve if serve else story.play
    sys.exit(0 if asyncio.run(play(reviews, click.echo)) else 1)
