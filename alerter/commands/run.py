"""`alerter run`: the daemon."""

import asyncio
import logging
import os
import sys
from functools import partial
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, config_path, load
from alerter.logs import FORMATS, LEVELS, log_to_stderr
from alerter.service.daemon import serve


@click.command()
@config_option
@click.option(
    "--once",
    is_flag=True,
    help="Make one round of everything, deliver what is due, and end (for cron).",
)
@click.option(
    "--log-format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="The format of the log.",
)
@click.option(
    "--log-level",
    "level",
    type=click.Choice(LEVELS),
    default="info",
    show_default=True,
    help="The lowest level that is logged.",
)
def command(path: Path | None, *, once: bool, form: str, level: str) -> None:
    """Run the daemon."""
    log_to_stderr(logging.getLevelNamesMapping()[level.upper()], os.environ, form=form)
    # A reload reads the same file, whatever a relative path or the default would mean by then.
    reload = partial(load, config_path(path).absolute())
    good = asyncio.run(
        serve(reload(), Clock(), os.environ, once=once, load=None if once else reload)
    )
    sys.exit(0 if good else 1)
