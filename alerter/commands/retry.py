"""`alerter retry`: unpark destinations and queue failed deliveries again."""

from pathlib import Path

import click

from alerter.commands.options import config_option, load
from alerter.store import State, outbox
from alerter.text import counted
from alerter.trouble.tracker import cancel_outdated


@click.command()
@config_option
def command(path: Path | None) -> None:
    """Unpark receivers and services, and queue failed deliveries again."""
    config = load(path, secrets=False)
    with State.open(config.database, migrate=False) as state, state.transaction():
        cancel_outdated(state)
        deliveries, parked = outbox.requeue(state)
    queued = counted(deliveries, "failed delivery is", "failed deliveries are")
    tried = counted(parked, "parked receiver or service is", "parked receivers or services are")
    click.echo(f"{queued} queued again, {tried} tried now")
    click.echo(
        "a running daemon sends within its next round; without one, `alerter run --once` sends"
    )
