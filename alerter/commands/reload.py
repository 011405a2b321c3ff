"""`alerter reload`: have what runs read its config again, and say whether it took it."""

import asyncio
import sys
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.cluster_text import phrase_disagreements
from alerter.commands.options import config_option, load
from alerter.config import Config
from alerter.config.state import PostgresUrl
from alerter.errors import AlerterError
from alerter.logs import print_error
from alerter.store import Lock, State, lock_of
from alerter.store.cluster import get_cluster
from alerter.store.reload_request import (
    ReloadAnswer,
    get_reload_answers,
    is_daemons,
    request_reload,
)
from alerter.store.workers import WorkerProcess, get_workers, server_time

_LOOK_EVERY = 0.1  # seconds
# A daemon that has not begun by then may have crashed, and left its lock file.
_BEGINS_WITHIN = 5.0
# Work in hand is ended first, and a config of thousands of sites is routed again.
_ENDS_WITHIN = 60.0
_SILENT = f"has not answered for {_ENDS_WITHIN:.0f} s; its log says why"
_NONE = "no `alerter run` works on {}: start it, or give the --config that it has"


async def run(database: Path | PostgresUrl, clock: Clock) -> ReloadAnswer:
    """Ask the daemon on a database to reload, and return its answer. Raise AlerterError."""
    with lock_of(database) as lock:
        if answer := await _ask(lock, clock):
            return answer
    raise AlerterError(_NONE.format(database))


async def _ask(lock: Lock, clock: Clock) -> ReloadAnswer | None:
    """Return the answer of the daemon; None where none runs. Raise AlerterError."""
    request, began, was_looked_for = request_reload(lock), clock.monotonic(), False
    while request and is_daemons(lock):
        answer = get_reload_answers(lock, request).get("")
        waited = clock.monotonic() - began
        if answer and answer.taken is not None:
            return answer
        if waited > _ENDS_WITHIN:
            raise AlerterError(f"`alerter run` {_SILENT}")
        if answer is None and waited > _BEGINS_WITHIN and not was_looked_for:
            was_looked_for = True
            if not lock.is_held():
                break
        await clock.sleep(_LOOK_EVERY)
    return None


async def ask_workers(url: PostgresUrl, clock: Clock) -> dict[WorkerProcess, ReloadAnswer]:
    """Ask every worker that is alive to reload, and return what each of them answers.

    Workers that end meanwhile are left out. `taken` is None for one that does not answer in time.
    Raise AlerterError.
    """
    with State.read(url) as state, lock_of(url) as lock:
        cluster = get_cluster(state)
        workers = {worker.name: worker for worker in cluster.workers} if cluster else {}
        request = request_reload(lock) if workers else None
        if request is None:
            raise AlerterError(_NONE.format(url))
        began, answers = clock.monotonic(), dict[str, ReloadAnswer]()
        while clock.monotonic() - began < _ENDS_WITHIN:
            await clock.sleep(_LOOK_EVERY)
            answers = get_reload_answers(lock, request)
            done = {name for name, answer in answers.items() if answer.taken is not None}
            alive = {worker.name for worker in get_workers(state, server_time(state))}
            workers = {name: workers[name] for name in workers if name in alive | done}
            if workers.keys() <= done:
                break
        none = ReloadAnswer(request)
        return {worker: answers.get(name, none) for name, worker in workers.items()}


@click.command()
@config_option
def command(path: Path | None) -> None:
    """Have the running daemon, or every worker of a cluster, read its config again.

    Exit with 0 once it has the config in force, with 1 if it refuses it or none runs, and with 2 if
    the config has a fault before the daemon is asked.
    """
    config = load(path, secrets=False)
    if isinstance(config.database, PostgresUrl):
        answers = asyncio.run(ask_workers(config.database, Clock()))
        good = [_show(worker.place, answer) for worker, answer in answers.items()]
        sys.exit(0 if good and all(good) and _agree(config) else 1)
    sys.exit(0 if _show("the running alerter", asyncio.run(run(config.database, Clock()))) else 1)


def _show(name: str, answer: ReloadAnswer) -> bool:
    """Print what a daemon answered. Return whether it has the config in force."""
    if answer.taken is None:
        print_error(f"alerter: {name} {_SILENT}")
    elif answer.taken:
        click.echo(f"{name} has taken the config")
        for text in answer.texts:
            click.echo(f"but {text}")
    else:
        print_error(
            f"alerter: {name} goes on with the old config:",
            *(f"  {text}" for text in answer.texts),
        )
    return bool(answer.taken)


def _agree(config: Config) -> bool:
    """Return whether all workers have the newest config now; print which do not."""
    with State.read(config.database) as state:
        cluster = get_cluster(state)
    if cluster is None or not cluster.outdated:
        return True
    print_error(f"alerter: {next(phrase_disagreements(cluster, config.timezone))}")
    return False
