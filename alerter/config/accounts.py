"""The sites of `[[accounts]]`: how they are added to a config. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from alerter.config.receivers import Receiver
from alerter.config.schema import Config
from alerter.config.sites import Site

# How a name is written, from the shortest form on; the last is unique.
_FORMS: tuple[Callable[[str, str], str], ...] = (
    lambda name, _: name,
    lambda name, site_id: f"{name} ({site_id[:8]})",
    lambda name, site_id: f"{name} ({site_id})",
)


def with_account_sites(
    config: Config, listed: Mapping[str, Mapping[str, str]], before: Config | None = None
) -> Config:
    """Return the config with the sites of its accounts in place of those that it had.

    `listed`: the names of each account's sites by their ids, by the account's id. A site of
    `[[sites]]` keeps its entry; one that two accounts list belongs to the first of them. A site
    that stays as it was `before` (None: in the config) is the same object: there may be 100,000.
    """
    if not config.accounts:
        return config
    own = [site for site in config.sites if site.account is None]
    configured = {site.site_id.lower(): site.name for site in own}
    owners: dict[str, str] = {}
    found: dict[str, str] = {}
    of_accounts: dict[str, set[str]] = {account.name: set() for account in config.accounts}
    for account in config.accounts:
        for site_id, name in listed.get(account.account_id, {}).items():
            if site_id.lower() in configured:
                of_accounts[account.name].add(configured[site_id.lower()])
            elif site_id not in owners:
                owners[site_id] = account.name
                found[site_id] = name
    keys = {
        account.name: Site.model_construct(name="", site_id="", api_key=account.api_key)
        for account in config.accounts
    }
    known = {site.site_id: site for site in (before or config).sites if site.account}
    sites = []
    for site_id, name in _unique_names(found, configured.values()).items():
        owner, site = owners[site_id], known.get(site_id)
        as_it_was = site and (site.name, site.account) == (name, owner)
        if site is None or not as_it_was or site.api_key != keys[owner].api_key:
            site = keys[owner].listed_as(site_id, name, owner)
        sites.append(site)
        of_accounts[owner].add(name)
    receivers = tuple(_with_sites_of(receiver, of_accounts) for receiver in config.receivers)
    return config.model_copy(update={"sites": (*own, *sites), "receivers": receivers})


def _with_sites_of(receiver: Receiver, of_accounts: Mapping[str, Collection[str]]) -> Receiver:
    """Return a receiver with the names of the sites of its accounts."""
    if not receiver.accounts:
        return receiver
    names = (of_accounts[name] for name in receiver.accounts)
    return receiver.with_sites_of_accounts(frozenset[str]().union(*names))


def _unique_names(names: Mapping[str, str], taken: Collection[str]) -> dict[str, str]:
    """Return a name for each site id; where several are equal, with a piece of the id."""
    unique = dict(names)
    used = set(taken)
    left = dict(names)
    for form in _FORMS:
        written = {site_id: form(name, site_id) for site_id, name in left.items()}
        times = Counter(written.values())
        clear = {
            site_id for site_id, name in written.items() if times[name] == 1 and name not in used
        }
        unique |= written
        used |= times.keys()
        left = {site_id: name for site_id, name in left.items() if site_id not in clear}
    return unique
