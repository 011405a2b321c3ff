"""Ask for an answer on the terminal, and ask again while it is wrong."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from alerter.commands.access import GivenSecret
from alerter.commands.init_flags import Flags
from alerter.errors import AlerterError
from alerter.models import Finding

_T = TypeVar("_T")


def ask(question: str, default: str | None = None) -> str:
    """Return what a person answers, without spaces around it; nothing at all only by default."""
    while True:
        answer: str = click.prompt(question, default=default, show_default=bool(default)).strip()
        if answer or default is not None:
            return answer or str(default)


def ask_secret(question: str, *, in_header: bool = True) -> GivenSecret:
    """Return a secret, which is not shown while it is typed. Raise AlerterError."""
    secret: str = click.prompt(f"{question} (not shown)", hide_input=True).strip()
    if not secret.isprintable() or (in_header and not secret.isascii()):
        raise AlerterError("that has a character that no secret has: copy it again")
    return GivenSecret(secret)


def show_part(number: int, heading: str, help_text: str = "") -> None:
    """Show what the next questions are about, and what to do for the answers."""
    click.secho(f"\n{number}. {heading}", bold=True)
    if help_text:
        click.echo(f"\n{help_text}")


def until_good(answer: Callable[[Flags], _T], flags: Flags) -> _T:
    """Return the first result without an error; after an error, the flags are asked for too."""
    while True:
        try:
            return answer(flags)
        except AlerterError as error:
            click.secho(f"✗ {error}", fg="red")
        except click.BadParameter as error:
            click.secho(f"✗ {error.message}", fg="red")
        flags = flags.only_urls()


def require_good(findings: Sequence[Finding]) -> None:
    """Raise AlerterError for the first finding that has failed."""
    for finding in findings:
        if not finding.ok:
            raise AlerterError(finding.text)
