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

    The accounts are those of the config, or the one of the flags.
    """
    log_to_stderr(logging.ERROR, os.environ)
    key, account_id = wix_api_key and wix_api_key.value, wix_account_id
    if not (key and account_id) and (config := load_if_there(path)):
        wix_base_url = wix_base_url or config.wix.base_url
        if not (key or account_id) and config.accounts:
            for account in config.accounts:
                _print(account.api_key.get_secret_value(), account.account_id, wix_base_url)
            return
        key, account_id = key or _api_key(config), account_id or config.wix.account_id
    if not key or not account_id:
        flags = {"--wix-api-key": key, "--wix-account-id": account_id}
        missing = " and ".join(flag for flag, value in flags.items() if not value)
        raise click.UsageError(f"no config has what it needs: give {missing}")
    _print(key, account_id, wix_base_url)


def _print(api_key: str, account_id: str, base_url: str | None) -> None:
    sites = account_sites(api_key, account_id, base_url)
    print_rows([(site.site_id, site.name) for site in sites])


def _api_key(config: Config) -> str | None:
    """Return the API key of the first account or site that has one."""
    keys = [account.api_key for account in config.accounts]
    keys += [site.api_key for site in config.sites if site.api_key]
    return keys[0].get_secret_value() if keys else None
