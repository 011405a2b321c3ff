"""`alerter retry`: unpark destinations and queue failed deliveries again."""

from pathlib import Path

import click

from alerter.commands.options import config_option, load
from alerter.store import State, outbox


@click.command()
@config_option
def command(path: Path | None) -> None:
    """Unpark receivers and services, and queue failed deliveries again."""
    config = load(path, secrets=False)
    with State.open(config.state_path, migrate=False) as state:
        deliveries, parked = outbox.requeue(state)
    click.echo(
        f"{deliveries} failed deliveries are queued again,"
        f" {parked} parked receivers or services are tried now"
    )
    click.echo(
        "a running daemon sends them within its next round; `alerter run --once` sends them now"
    )
