"""`alerter templates export`: copy the built-in templates, for editing."""

from collections.abc import Iterator
from pathlib import Path

import click

from alerter.errors import AlerterError
from alerter.render.templates import builtin_names, builtin_templates


@click.group()
def command() -> None:
    """Export the templates of messages."""


@command.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def export_templates(folder: Path) -> None:
    """Copy the built-in templates to DIR, for editing.

    What is there already stays as it is.
    """
    for line in _export(folder):
        click.echo(line)


def _export(folder: Path) -> Iterator[str]:
    """Copy the built-in templates and yield a line for each. Raise AlerterError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in builtin_names():
            own, builtin = folder / name, (builtin_templates() / name).read_text("utf-8")
            if not own.exists():
                with own.open("x", encoding="utf-8") as file:  # "x" overwrites no file
                    file.write(builtin)
                yield f"copied  {own}"
            elif own.read_bytes() == builtin.encode():
                yield f"same    {own}"
            else:
                yield f"kept    {own}: differs from the built-in one"
    except OSError as error:
        raise AlerterError(
            f"{error.filename or folder}: cannot be written: {error.strerror}"
        ) from error
