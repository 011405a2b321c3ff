"""`alerter restore`: a backup in the place of the state file, and what that means for a person."""

from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, file_argument, load
from alerter.config import Config
from alerter.errors import AlerterError
from alerter.store import Holder, Lock, backup


def run(config: Config, clock: Clock, file: Path, *, move: bool) -> list[str]:
    """Restore a backup, and return what to say of it. Raises AlerterError."""
    with Lock(config.state_path) as lock:
        if lock.acquire(Holder.RUN) is not None:
            raise AlerterError(f"alerter is at work on {config.state_path}; stop it first")
        restored = backup.restore(file, config.state_path, clock.now(), move=move)
    since = f"{restored.as_of.astimezone(config.timezone):%Y-%m-%d}" if restored.as_of else "DATE"
    lines = [f"what was there is now {restored.replaced}"] if restored.replaced else []
    lines.append(
        f"{config.state_path} is restored from {file}, which had last read a site on {since}"
    )
    if move:
        return [
            *lines,
            "what waits is sent once Wix was asked which reviews are still there: with the next round",
        ]
    if restored.cancelled:
        lines.append(
            f"{restored.cancelled} deliveries had not arrived then and may have since: they are cancelled"
        )
    return [
        *lines,
        "what has happened since then is recorded by the next round, and nobody is notified, as people may know it",
        f"`alerter backfill --since {since} --dry-run` then lists what is unanswered and not known to be told",
    ]


@click.command()
@config_option
@file_argument
@click.option(
    "--move",
    is_flag=True,
    help="The backup was the last that the old place did: nothing is cancelled.",
)
def command(path: Path | None, file: Path, *, move: bool) -> None:
    """Put the backup FILE in the place of the state file; no alert is repeated for it."""
    for line in run(load(path, secrets=False), Clock(), file, move=move):
        click.echo(line)
