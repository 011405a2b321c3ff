"""The part of `alerter init` about Wix: the key, the account, and the sites to watch."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import click

from alerter.clock import Clock
from alerter.commands.access import account_sites
from alerter.commands.account_checks import MOST_READ
from alerter.commands.check import check_site
from alerter.commands.init_answers import WixAnswers
from alerter.commands.init_flags import Flags
from alerter.commands.init_questions import ask, ask_secret, require_good, show_part, until_good
from alerter.config import given
from alerter.config.fields import nearest
from alerter.errors import AlerterError, WixAuthError, WixError
from alerter.models import Finding
from alerter.text import counted
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
        return _chosen(flags, _account(flags))
    show_part(1, "Wix: the sites whose reviews are watched", _HELP)
    found = until_good(_account, flags)
    if found.account_id is None:
        return found
    return until_good(lambda flags: _readable(_chosen(flags, found)), flags)


def _account(flags: Flags) -> WixAnswers:
    """Return the key, the account and its sites; without an account the one site that is named.

    Wix lets not every key list the sites of its account.
    """
    key = flags.wix_api_key or ask_secret("API key")
    answer = flags.wix_account_id or ask("Account ID; Enter to give the id of a site instead", "")
    if not answer:
        return _readable(WixAnswers(key, None, (_ask_site(flags),), flags.wix_base_url))
    account_id = given.account_id(answer)
    try:
        sites = account_sites(key.value, account_id, flags.wix_base_url)
    except WixAuthError as error:
        raise AlerterError(f"{error}; {_REMEDIES[error.status]}") from error
    except WixError as error:
        raise AlerterError(f"{error}; try again later") from error
    if not sites:
        raise AlerterError("the account has no site that the key may see: check the key's sites")
    return WixAnswers(key, account_id, tuple(sites), flags.wix_base_url)


def _ask_site(flags: Flags) -> ListedSite:
    question = "Site id, from the address of its dashboard: /dashboard/<site id>/…"
    site_id = until_good(lambda _: given.site_id(ask(question)), flags)
    return ListedSite(site_id, ask("Its name, for messages"))


def _chosen(flags: Flags, found: WixAnswers) -> WixAnswers:
    """Return the answers with the sites that flags or a person choose. Raise BadParameter."""
    names = () if flags.all_sites else flags.site or _ask_names(found.sites)
    if not names:
        return replace(found, all_sites=True)
    return replace(found, sites=_named(names, found.sites))


def _ask_names(sites: Sequence[ListedSite]) -> Sequence[str]:
    """Return the names or ids of sites; none for all sites."""
    click.echo(f"The account has {counted(len(sites), 'site')}:")
    for number, site in enumerate(sites[:_MOST_SHOWN], 1):
        click.echo(f"  {number:3}  {site.name}")
    if len(sites) > _MOST_SHOWN:
        click.echo(f"       and {len(sites) - _MOST_SHOWN} more, which `alerter sites` lists")
    click.echo("  all  all sites, also those that are added later")
    question = "Which? Numbers or names, separated by commas, or all"
    answer = ask(question, "1" if len(sites) == 1 else None)
    words = [word for word in map(str.strip, answer.split(",")) if word]
    if not words:
        raise AlerterError("no site is chosen: give a number, or all")
    if answer.casefold() == "all":
        return ()
    numbers = {str(number): site.site_id for number, site in enumerate(sites, 1)}
    return [numbers.get(word, word) for word in words]


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
    """Return the answers if the reviews of each site can be read. Raise AlerterError.

    Of all sites of an account a few are read.
    """
    read = answers.sites[:MOST_READ] if answers.all_sites else answers.sites

    async def check() -> list[Finding]:
        wix = WixClient(given.wix_base_url(answers.base_url), Clock())
        sites = [given.site(each.name, each.site_id, answers.api_key.value) for each in read]
        try:
            return await asyncio.gather(*(check_site(wix, site) for site in sites))
        finally:
            await wix.close()

    require_good(asyncio.run(check()))
    return answers
