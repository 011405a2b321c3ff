"""`alerter templates export`: the built-in templates, to edit."""

from pathlib import Path

import click

from alerter.commands.preview import export


@click.group()
def command() -> None:
    """Export the templates of messages."""


@command.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def export_templates(folder: Path) -> None:
    """Copy the built-in templates to DIR, for editing; what is there already stays as it is."""
    for line in export(folder):
        click.echo(line)
