"""`alerter backup`: copy the state."""

from pathlib import Path

import click

from alerter.commands.options import config_option, file_argument, load
from alerter.store.backup import back_up


@click.command()
@config_option
@file_argument
def command(path: Path | None, file: Path) -> None:
    """Copy the state to FILE, also beside a running daemon."""
    config = load(path, secrets=False)
    click.echo(f"{config.database} is saved in {file} ({back_up(config.database, file)} bytes)")
