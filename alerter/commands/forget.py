"""`alerter forget`: erases all words of a customer whose site has left the config."""

import difflib
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load
from alerter.config import Config
from alerter.errors import AlerterError
from alerter.store import Holder, Lock, State, erasure, known_sites
from alerter.store.known_sites import KnownSite
from alerter.store.lock import real


def run(config: Config, clock: Clock, name: str) -> list[str]:
    """Erase what is on record of a site that is named by its name or id, and return what to say of it.

    Works beside a running daemon that has let go of the site. Raises AlerterError and click.BadParameter.
    """
    if any(name in (site.name, site.site_id) for site in config.sites):
        raise _fault(
            f'the config still has the site "{name}": take it out first, and reload the service'
        )
    with Lock(config.state_path) as lock:
        alone = lock.acquire(Holder.BACKFILL) is None
        with State.open(config.state_path, migrate=alone and config.state_path.exists()) as state:
            site = _find(config, state, name)
            if not alone and site.left_at is None:
                raise AlerterError(f"the running alerter still watches {name}: reload it first")
            reviews = erasure.erase_site(state, site.site_id, clock.now())
            is_clean = state.scrub(wait=True)
    lines = [f"{name}: the words of {reviews} reviews are erased, with what was sent of them"]
    if not is_clean:
        lines.append(
            "the write-ahead log still holds some: another process reads the state file; the daemon empties it"
        )
    lines.append(
        "mails and messages on Slack stay where they are; backups keep what they hold: delete old ones"
    )
    return lines + [f"{old} keeps what it holds, too" for old in sorted(_replaced(config))]


def _find(config: Config, state: State, name: str) -> KnownSite:
    watched = {site.site_id for site in config.sites}
    known = [site for site in known_sites.sites(state) if site.site_id not in watched]
    found = [site for site in known if name in (site.site_id, site.name)]
    if len(found) > 1:
        raise _fault(
            f'"{name}" was the name of more than one site: give one of their ids ({_ids(found)})'
        )
    if found:
        return found[0]
    names = [site.name for site in known if site.name]
    near = difflib.get_close_matches(name, names, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(names) or 'none'}"
    raise _fault(f'there is no site "{name}" on record; {hint}')


def _ids(sites: list[KnownSite]) -> str:
    return ", ".join(site.site_id for site in sites)


def _replaced(config: Config) -> list[str]:
    """What a restore has moved aside."""
    state = real(config.state_path)
    return [
        str(path)
        for path in state.parent.glob(f"{state.name}.replaced-*")
        if not path.name.endswith("-shm")
    ]


def _fault(text: str) -> click.BadParameter:
    return click.BadParameter(text, param_hint="--site")


@click.command()
@config_option
@click.option(
    "--site", "name", required=True, metavar="NAME", help="The name that it had, or its id."
)
def command(path: Path | None, name: str) -> None:
    """Erase all words of a customer whose site has left the config."""
    for line in run(load(path, secrets=False), Clock(), name):
        click.echo(line)
