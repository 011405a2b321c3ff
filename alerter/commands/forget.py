"""`alerter forget`: erase the text of a customer whose site has left the config."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites, unknown_name
from alerter.config import Config
from alerter.config.state import PostgresUrl
from alerter.errors import AlerterError
from alerter.store import Holder, State, erasure, is_there, known_sites, lock_of
from alerter.store.file_lock import real_path
from alerter.store.known_sites import KnownSite
from alerter.text import counted

_OPTION = "--site"


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """What `forget` did.

    `reviews`: how many were erased. `is_clean`: the database holds no text of them any more.
    `copies`: replaced state files, which keep their content.
    """

    reviews: int
    is_clean: bool
    copies: list[Path]


async def run(config: Config, clock: Clock, name: str) -> ForgetResult:
    """Erase the text of a site, given by its name or id.

    This works beside a running daemon whose config has the site no more. Raise AlerterError or
    click.BadParameter.
    """
    if any(name in (site.name, site.site_id) for site in config.sites):
        raise click.BadParameter(
            f'the config still has the site "{name}": remove it and reload the service first',
            param_hint=_OPTION,
        )
    with lock_of(config.database) as lock:
        alone = lock.acquire(Holder.BACKFILL) is None
        with State.open(config.database, migrate=alone and is_there(config.database)) as state:
            site = _find_former_site(config, state, name)
            if not alone and site.left_at is None:
                raise AlerterError(f"the running alerter still watches {name}: reload it first")
            reviews = erasure.erase_site(state, site.site_id, clock.now())
            is_clean = await erasure.rebuild(state) and state.scrub(wait=True)
    return ForgetResult(reviews, is_clean, _replaced_files(config.database))


def _replaced_files(database: Path | PostgresUrl) -> list[Path]:
    if not isinstance(database, Path):
        return []
    file = real_path(database)
    replaced = sorted(file.parent.glob(f"{file.name}.replaced-*"))
    return [each for each in replaced if not each.name.endswith("-shm")]


def _find_former_site(config: Config, state: State, name: str) -> KnownSite:
    watched = {site.site_id for site in config.sites}
    former = [site for site in known_sites.get_known_sites(state) if site.site_id not in watched]
    found = [site for site in former if name in (site.site_id, site.name)]
    if len(found) > 1:
        ids = ", ".join(site.site_id for site in found)
        raise click.BadParameter(
            f'more than one site had the name "{name}": give one of their ids ({ids})',
            param_hint=_OPTION,
        )
    if not found:
        names = [site.name for site in former if site.name]
        raise unknown_name("stored site", name, names, _OPTION)
    return found[0]


@click.command()
@config_option
@click.option(_OPTION, "name", required=True, metavar="NAME", help="Its last name, or its id.")
def command(path: Path | None, name: str) -> None:
    """Erase all text of a customer whose site has left the config."""
    done = asyncio.run(run(load_with_sites(path, secrets=False), Clock(), name))
    click.echo(
        f"{name}: the text of {counted(done.reviews, 'review')} is erased, with every message about"
        " them"
    )
    if not done.is_clean:
        click.echo(
            "the database still holds some text, as another process uses it;"
            " the daemon removes it within a day"
        )
    click.echo("mails and Slack messages remain; backups keep their content: delete old ones")
    for copy in done.copies:
        click.echo(f"{copy} keeps its content too")
