"""`alerter restore`: put a backup in the place of the state."""

from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, file_argument, load
from alerter.config import Config
from alerter.errors import AlerterError
from alerter.store import Holder, State, backup, lock_of
from alerter.store.backup import RestoreResult
from alerter.store.cluster import get_cluster
from alerter.text import counted


def run(config: Config, clock: Clock, file: Path, *, move: bool) -> RestoreResult:
    """Restore a backup, which no other process may use meanwhile. Raise AlerterError."""
    with lock_of(config.database) as lock:
        if lock.acquire(Holder.RUN) is not None:
            raise AlerterError(_phrase_users(config))
        return backup.restore(file, config.database, clock.now(), move=move)


def _phrase_users(config: Config) -> str:
    with State.read(config.database) as state:
        cluster = get_cluster(state)
    if cluster and cluster.workers:
        workers = counted(len(cluster.workers), "worker uses", "workers use")
        return f"{workers} {config.database}; stop all workers first"
    return f"another alerter uses {config.database}; stop it first"


def phrase_restore(config: Config, file: Path, restored: RestoreResult, *, move: bool) -> list[str]:
    """Return what was done, and what to do next."""
    since = f"{restored.as_of.astimezone(config.timezone):%Y-%m-%d}" if restored.as_of else "DATE"
    lines = [f"the replaced file is now {restored.replaced}"] if restored.replaced else []
    lines.append(
        f"{config.database} is restored from {file}, which had last read a site on {since}"
    )
    if move:
        lines.append(
            "the next round sends waiting deliveries, once Wix has said which reviews still exist"
        )
        return lines
    if restored.cancelled:
        unsent = counted(restored.cancelled, "delivery was", "deliveries were")
        lines.append(f"{unsent} not sent then and may have been sent since: cancelled")
    lines.append("the next round records what has changed since then, and alerts nobody of it")
    lines.append(
        f"`alerter backfill --since {since} --dry-run` then lists the reviews"
        " that are unanswered and were perhaps not alerted"
    )
    return lines


@click.command()
@config_option
@file_argument
@click.option(
    "--move",
    is_flag=True,
    help="Cancel nothing: making the backup was the last step on the old machine.",
)
def command(path: Path | None, file: Path, *, move: bool) -> None:
    """Put the backup FILE in the place of the state; no alert is repeated."""
    config = load(path, secrets=False)
    restored = run(config, Clock(), file, move=move)
    for line in phrase_restore(config, file, restored, move=move):
        click.echo(line)
