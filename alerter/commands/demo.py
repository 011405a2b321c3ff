"""`alerter demo`: the daemon against embedded services."""

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from alerter.errors import AlerterError
from alerter.logs import log_to_stderr

_STYLES: Mapping[str, Mapping[str, Any]] = {
    "step": {"bold": True},
    "message": {"fg": "green"},
    "result": {"bold": True},
}


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
        raise AlerterError("the demo needs aiosmtpd: pip install aiosmtpd") from None
    from alerter.demo.live import serve as run  # noqa: PLC0415 - imports aiosmtpd
    from alerter.demo.story import play  # noqa: PLC0415 - imports aiosmtpd

    log_to_stderr(logging.WARNING, os.environ)
    sys.exit(0 if asyncio.run((run if serve else play)(reviews, _say)) else 1)


def _say(text: str, kind: Literal["step", "message", "note", "result"]) -> None:
    click.echo(click.style(text, **_STYLES.get(kind, {})))
