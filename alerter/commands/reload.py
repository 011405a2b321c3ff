"""`alerter reload`: have the running daemon read its config again, and say whether it took it."""

import asyncio
import sys
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load
from alerter.config.state import PostgresUrl
from alerter.errors import AlerterError
from alerter.logs import print_error
from alerter.store import Lock, lock_of
from alerter.store.reload_request import (
    ReloadAnswer,
    get_reload_answer,
    is_daemons,
    request_reload,
)

_LOOK_EVERY = 0.1  # seconds
# A daemon that has not begun by then may have crashed, and left its lock file.
_BEGINS_WITHIN = 5.0
# Work in hand is ended first, and a config of thousands of sites is routed again.
_ENDS_WITHIN = 60.0


async def run(database: Path | PostgresUrl, clock: Clock) -> ReloadAnswer:
    """Ask the daemon on a database to reload, and return its answer. Raise AlerterError."""
    with lock_of(database) as lock:
        if answer := await _ask(lock, clock):
            return answer
    raise AlerterError(
        f"no `alerter run` works on {database}: start it, or give the --config that it has"
    )


async def _ask(lock: Lock, clock: Clock) -> ReloadAnswer | None:
    """Return the answer of the daemon; None where none runs. Raise AlerterError."""
    request, began, was_looked_for = request_reload(lock), clock.monotonic(), False
    while request and is_daemons(lock):
        answer, waited = get_reload_answer(lock, request), clock.monotonic() - began
        if answer and answer.taken is not None:
            return answer
        if waited > _ENDS_WITHIN:
            raise AlerterError(
                f"`alerter run` has not answered for {_ENDS_WITHIN:.0f} s; its log says why"
            )
        if answer is None and waited > _BEGINS_WITHIN and not was_looked_for:
            was_looked_for = True
            if not lock.is_held():
                break
        await clock.sleep(_LOOK_EVERY)
    return None


@click.command()
@config_option
def command(path: Path | None) -> None:
    """Have the running daemon read its config again.

    Exit with 0 once it has the config in force, with 1 if it refuses it or none runs, and with 2 if
    the config has a fault before the daemon is asked.
    """
    config = load(path, secrets=False)
    answer = asyncio.run(run(config.database, Clock()))
    if answer.taken:
        click.echo("the running alerter has taken the config")
        for text in answer.texts:
            click.echo(f"but {text}")
        return
    refusal = "alerter: the running alerter goes on with the old config:"
    print_error(refusal, *(f"  {text}" for text in answer.texts))
    sys.exit(1)
