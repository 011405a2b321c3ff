"""`alerter test`: send a sample alert."""

import asyncio
import logging
import os
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.check import send_samples
from alerter.commands.options import config_option, load_with_sites, unknown_name
from alerter.commands.terminal import print_findings
from alerter.logs import log_to_stderr


@click.command()
@config_option
@click.argument("receivers", nargs=-1, metavar="[RECEIVER]...")
def command(path: Path | None, receivers: tuple[str, ...]) -> None:
    """Send a sample alert, marked as a test, to every receiver or the named ones."""
    log_to_stderr(logging.ERROR, os.environ)
    config = load_with_sites(path)
    known = [receiver.name for receiver in config.receivers]
    for name in receivers:
        if name not in known:
            raise unknown_name("receiver", name, known)
    print_findings(asyncio.run(send_samples(config, Clock(), receivers or known)))
