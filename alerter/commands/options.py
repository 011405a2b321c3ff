"""Options that several commands share, and the parsing of their values."""

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import click

from alerter.config import Config, Site, given, load_config, with_account_sites
from alerter.config.fields import nearest
from alerter.store import State, report
from alerter.store.account_sites import get_account_sites
from alerter.timezones import local_time

_MOST_CANDIDATES = 10
_MOST_COMPARED = 500  # ids
SYSTEM_CONFIG = Path("/etc/alerter/config.toml")

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The config file.  [default: $ALERTER_CONFIG, ./config.toml, /etc/alerter/config.toml]",
)
file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def load(path: Path | None, *, secrets: bool = True) -> Config:
    """Load the config. Raise ConfigError."""
    return load_config(config_path(path), os.environ, secrets=secrets)


def load_with_sites(path: Path | None, *, secrets: bool = True) -> Config:
    """Load the config, with the sites of its accounts as the daemon listed them last.

    Raise ConfigError and StateError.
    """
    config = load(path, secrets=secrets)
    if not config.accounts:
        return config
    with State.read(config.database) as state:
        return with_account_sites(config, get_account_sites(state))


def with_some_site(config: Config) -> Config:
    """Return a config that has a site for samples: a made-up one if it knows none yet."""
    made_up = given.site("Corner Bakery", "11111111-1111-4111-8111-111111111111", "")
    return config if config.sites else config.model_copy(update={"sites": (made_up,)})


def load_if_there(path: Path | None) -> Config | None:
    """Load the config; None where there is none in the default places. Raise ConfigError."""
    if path is None and not config_path(None).exists() and "ALERTER_CONFIG" not in os.environ:
        return None
    return load(path)


def config_path(given: Path | None) -> Path:
    """Return the path of the config: `--config`, else $ALERTER_CONFIG, else a default."""
    if named := given or os.environ.get("ALERTER_CONFIG"):
        return Path(named)
    here = Path("config.toml")
    return here if here.exists() or not SYSTEM_CONFIG.exists() else SYSTEM_CONFIG


def find_site(config: Config, name: str) -> Site:
    """Return the site with a name. Raise BadParameter."""
    known = {site.name: site for site in config.sites}
    if name not in known:
        raise unknown_name("site", name, known, "--site")
    return known[name]


def unknown_name(
    noun: str, name: str, known: Iterable[str], option: str | None = None
) -> click.BadParameter:
    """Return the error for an unknown name, with the nearest known name or all of them."""
    known = list(known)
    near = nearest(name, known)
    hint = f'did you mean "{near}"?' if near else f"there are: {', '.join(known) or 'none'}"
    return click.BadParameter(f'there is no {noun} "{name}"; {hint}', param_hint=option)


def find_review_id(
    state: State, sites: Sequence[Site] | None, given: str, option: str
) -> str | None:
    """Return the stored id that is `given`, or the only one that begins with it; None for none.

    `sites`: only reviews of these sites. Raise BadParameter if several ids begin with it.
    """
    if not given:
        raise click.BadParameter("an id cannot be empty", param_hint=option)
    try:
        given.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("is not UTF-8 text", param_hint=option) from None
    site_ids = None if sites is None else [site.site_id for site in sites]
    found = report.ids_beginning(state, given, site_ids, _MOST_CANDIDATES + 1)
    if not found:
        return None
    if len(found) == 1 or found[0] == given:
        return found[0]
    candidates = ", ".join(found[:_MOST_CANDIDATES])
    if len(found) > _MOST_CANDIDATES:
        candidates += ", …"
    raise click.BadParameter(
        f'"{given}" is the beginning of several ids: {candidates}', param_hint=option
    )


def phrase_near_id(state: State, sites: Sequence[Site] | None, given: str) -> str:
    """Return a question that names another open review whose id is like `given`, or nothing."""
    site_ids = [site.site_id for site in sites] if sites is not None else report.site_reports(state)
    known = report.open_reviews(state, site_ids, _MOST_COMPARED, newest=True)
    near = nearest(given, {each.review_id for each in known} - {given})
    return f'; did you mean "{near}"?' if near else ""


def phrase_time(config: Config, moment: datetime) -> str:
    """Return a moment in the config's timezone."""
    return f"{local_time(moment, config.timezone):%Y-%m-%d %H:%M %Z}"


def parse_day(config: Config, text: str, option: str, now: datetime) -> datetime:
    """Return the start of a day in the config's timezone, in UTC. Raise BadParameter.

    `text` is a date, `today`, `yesterday`, or a number of days ago such as `30d`.
    """
    try:
        today = now.astimezone(config.timezone).date()
        if text == "today":
            day = today
        elif text == "yesterday":
            day = today - timedelta(days=1)
        elif re.fullmatch(r"[0-9]{1,9}d", text):
            day = today - timedelta(days=int(text[:-1]))
        else:
            day = datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a day has no timezone
        return datetime.combine(day, time(), config.timezone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f'"{text}" is not a day such as 2026-01-31, today, yesterday or 30d', param_hint=option
        ) from None
