"""What `alerter check` finds about accounts, and about receivers whose sites are not there."""

import asyncio
from collections.abc import Iterator

from alerter.clock import Clock
from alerter.config import Account, Config, Site, with_account_sites
from alerter.config.receivers import matches
from alerter.errors import WixAuthError, WixError
from alerter.models import Finding
from alerter.service.runtime import open_wix
from alerter.text import counted
from alerter.wix.client import WixClient
from alerter.wix.sites import MOST_LISTED

# Sites of one account that are read; each is one call or more.
MOST_READ = 50


async def check_accounts(config: Config, clock: Clock) -> tuple[Config, list[Finding]]:
    """List the sites of each account; return the config with them.

    An account that cannot be listed keeps the sites that it has in `config`.
    """
    if not config.accounts:
        return config, []
    async with open_wix(config, clock) as wix:
        lists = await asyncio.gather(*(_listed(wix, each) for each in config.accounts))
    sites: dict[str, dict[str, str]] = {}
    findings = []
    for account, (names, finding) in zip(config.accounts, lists, strict=True):
        known = {site.site_id: site.name for site in config.sites if site.account == account.name}
        sites[account.account_id] = known if names is None else names
        findings.append(finding)
    return with_account_sites(config, sites), findings


async def _listed(wix: WixClient, account: Account) -> tuple[dict[str, str] | None, Finding]:
    """Return the names of an account's sites by their ids, and what that says about its key."""
    subject = f"account {account.name}"
    try:
        sites = await wix.account_sites(account.api_key.get_secret_value(), account.account_id)
    except WixAuthError as error:
        remedy = (
            "check its api_key in the config"
            if error.status == 401
            else "check its account_id, and grant its key the permission to list sites"
        )
        return None, Finding(ok=False, subject=subject, text=f"{error}; {remedy}")
    except WixError as error:
        return None, Finding(ok=False, subject=subject, text=f"{error}; try again later")
    number = counted(len(sites), "site")
    fault = None
    if not sites:
        fault = "it has no sites, or its key has access to none of them"
    elif len(sites) == MOST_LISTED:
        fault = f"{number}, the most that Wix lists; name the others in [[sites]]"
    elif len(sites) > MOST_READ:
        number += f", of which {MOST_READ} are read here"
    names = {site.site_id: site.name for site in sites}
    return names, Finding(ok=True, subject=subject, text=fault or number, warning=bool(fault))


def sites_to_read(config: Config) -> Iterator[Site]:
    """Yield the sites whose permissions are checked: each of `[[sites]]`, a few of each account."""
    read = dict.fromkeys((account.name for account in config.accounts), 0)
    for site in config.sites:
        if site.account is not None:
            read[site.account] += 1
        if site.account is None or read[site.account] <= MOST_READ:
            yield site


def check_names(config: Config) -> list[Finding]:
    """Warn of names and patterns in receivers that are those of no site.

    Without any, where the sites of an account are not known yet.
    """
    names = set(config.site_names.values())
    findings: list[Finding] = []
    if not {account.name for account in config.accounts} <= {site.account for site in config.sites}:
        return findings
    for receiver in config.receivers:
        for wanted in receiver.sites or ():
            if wanted not in names and not any(matches(wanted, name) for name in names):
                text = f'no site is called "{wanted}" now'
                subject = f"receiver {receiver.name}"
                findings.append(Finding(ok=True, subject=subject, text=text, warning=True))
    return findings
