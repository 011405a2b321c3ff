"""`alerter sites`: list the sites of a Wix account."""

import logging
import os
from pathlib import Path

import click

from alerter.commands.access import GivenSecret, account_sites, wix_options
from alerter.commands.options import config_option, load_if_there
from alerter.commands.terminal import print_rows
from alerter.config import Config
from alerter.logs import log_to_stderr


@click.command()
@config_option
@wix_options
def command(
    path: Path | None,
    wix_api_key: GivenSecret | None,
    wix_account_id: str | None,
    wix_base_url: str | None,
) -> None:
    """List the sites of a Wix account: id and name, one a line.

    The key and the account are those of the config, or of the flags.
    """
    log_to_stderr(logging.ERROR, os.environ)
    key, account_id = wix_api_key and wix_api_key.value, wix_account_id
    if not (key and account_id) and (config := load_if_there(path)):
        key, account_id = key or _api_key(config), account_id or config.wix.account_id
        wix_base_url = wix_base_url or config.wix.base_url
    if not key or not account_id:
        flags = {"--wix-api-key": key, "--wix-account-id": account_id}
        missing = " and ".join(flag for flag, value in flags.items() if not value)
        raise click.UsageError(f"no config has what it needs: give {missing}")
    sites = account_sites(key, account_id, wix_base_url)
    print_rows([(site.site_id, site.name) for site in sites])


def _api_key(config: Config) -> str | None:
    """Return the API key of the first site that has one."""
    keys = (site.api_key for site in config.sites if site.api_key)
    return next((key.get_secret_value() for key in keys), None)
