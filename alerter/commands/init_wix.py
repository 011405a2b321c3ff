"""The part of `alerter init` about Wix: the key, the account, and the sites to watch."""

import asyncio
from collections.abc import Sequence

import click

from alerter.clock import Clock
from alerter.commands.access import GivenSecret, account_sites
from alerter.commands.check import check_site
from alerter.commands.init_answers import WixAnswers
from alerter.commands.init_flags import Flags
from alerter.commands.init_questions import ask, ask_secret, require_good, show_part, until_good
from alerter.config import given
from alerter.config.fields import nearest
from alerter.errors import AlerterError, WixAuthError, WixError
from alerter.models import Finding
from alerter.wix.client import WixClient
from alerter.wix.sites import ListedSite

_MOST_SHOWN = 30
_HELP = """\
  Open https://manage.wix.com/account/api-keys as an owner or co-owner of the account, and choose
  “Generate API Key”. Give the key the permission “Wix Reviews”; with “Wix Stores” too, alerts show
  the names of products. Wix shows the key once. The account ID is on the same page.
"""
_REMEDIES = {
    401: "Wix does not know this key: copy it again, whole",
    403: "the key belongs to another account, or may not list its sites: check the account ID, and"
    " the permissions of the key",
}


def wix_answers(flags: Flags) -> WixAnswers:
    """Return the key, the account and the chosen sites. Raise AlerterError or BadParameter."""
    if not flags.missing_for_wix():
        key, account_id, sites = _account(flags)
        return WixAnswers(key, account_id, _named(flags.site, sites), flags.wix_base_url)
    show_part(1, "Wix: the sites whose reviews are watched", _HELP)
    key, account_id, sites = until_good(lambda: _account(flags))
    return until_good(
        lambda: _readable(WixAnswers(key, account_id, _chosen(flags, sites), flags.wix_base_url))
    )


def _account(flags: Flags) -> tuple[GivenSecret, str | None, list[ListedSite]]:
    """Return the key, the account and its sites; without an account the one site that is named.

    Wix lets not every key list the sites of its account.
    """
    key = flags.wix_api_key or ask_secret("API key")
    answer = flags.wix_account_id or ask("Account ID; Enter to give the id of a site instead", "")
    if not answer:
        site = _ask_site()
        _readable(WixAnswers(key, None, (site,), flags.wix_base_url))
        return key, None, [site]
    account_id = given.account_id(answer)
    try:
        sites = account_sites(key.value, account_id, flags.wix_base_url)
    except WixAuthError as error:
        raise AlerterError(f"{error}; {_REMEDIES[error.status]}") from error
    except WixError as error:
        raise AlerterError(f"{error}; try again later") from error
    if not sites:
        raise AlerterError("the account has no site that the key may see: check the key's sites")
    return key, account_id, sites


def _ask_site() -> ListedSite:
    question = "Site id, from the address of its dashboard: /dashboard/<site id>/…"
    site_id = until_good(lambda: given.site_id(ask(question)))
    return ListedSite(site_id, ask("Its name, for messages"))


def _chosen(flags: Flags, sites: Sequence[ListedSite]) -> tuple[ListedSite, ...]:
    if flags.site:
        return _named(flags.site, sites)
    if len(sites) == 1:
        click.echo(f"One site: {sites[0].name}")
        return (sites[0],)
    click.echo(f"The account has {len(sites)} sites:")
    for number, site in enumerate(sites[:_MOST_SHOWN], 1):
        click.echo(f"  {number:2}  {site.name}")
    if len(sites) > _MOST_SHOWN:
        click.echo(f"  and {len(sites) - _MOST_SHOWN} more, which `alerter sites` lists")
    answer = ask("Which? Numbers or names, separated by commas, or all")
    if answer.casefold() == "all":
        return tuple(sites)
    words = [word.strip() for word in answer.split(",")]
    numbers = {str(number): site.site_id for number, site in enumerate(sites, 1)}
    chosen = _named([numbers.get(word, word) for word in words if word], sites)
    if not chosen:
        raise AlerterError("no site is chosen: give a number")
    return chosen


def _named(names: Sequence[str], sites: Sequence[ListedSite]) -> tuple[ListedSite, ...]:
    """Return the sites with these names or ids, each once. Raise BadParameter."""
    return tuple(dict.fromkeys(_site_named(name, sites) for name in names))


def _site_named(name: str, sites: Sequence[ListedSite]) -> ListedSite:
    found = [site for site in sites if name in (site.name, site.site_id)]
    found = found or [site for site in sites if site.name.casefold() == name.casefold()]
    if len(found) > 1:
        ids = ", ".join(site.site_id for site in found)
        text = f'{len(found)} sites have the name "{name}": give one of their ids ({ids})'
        raise click.BadParameter(text, param_hint="--site")
    if not found:
        near = nearest(name, [site.name for site in sites])
        hint = f'did you mean "{near}"?' if near else "`alerter sites` lists them"
        raise click.BadParameter(f'the account has no site "{name}"; {hint}', param_hint="--site")
    return found[0]


def _readable(answers: WixAnswers) -> WixAnswers:
    """Return the answers if the reviews of each site can be read. Raise AlerterError."""

    async def check() -> list[Finding]:
        wix = WixClient(given.wix_base_url(answers.base_url), Clock())
        sites = [
            given.site(site.name, site.site_id, answers.api_key.value) for site in answers.sites
        ]
        try:
            return await asyncio.gather(*(check_site(wix, site) for site in sites))
        finally:
            await wix.close()

    require_good(asyncio.run(check()))
    return answers
