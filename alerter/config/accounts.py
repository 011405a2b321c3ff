"""The sites of `[[accounts]]`: how they are added to a config. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping

from alerter.config.schema import Config
from alerter.config.sites import Site

# How a name is written, from the shortest form on; the last is unique.
_FORMS: tuple[Callable[[str, str], str], ...] = (
    lambda name, _: name,
    lambda name, site_id: f"{name} ({site_id[:8]})",
    lambda name, site_id: f"{name} ({site_id})",
)


def with_account_sites(config: Config, listed: Mapping[str, Mapping[str, str]]) -> Config:
    """Return the config with the sites of its accounts in place of those that it had.

    `listed`: the names of each account's sites by their ids, by the account's id. A site of
    `[[sites]]` keeps its entry; one that two accounts list belongs to the first of them.
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
    sites = []
    for site_id, name in _unique_names(found, configured.values()).items():
        account_name = owners[site_id]
        sites.append(keys[account_name].listed_as(site_id, name, account_name))
        of_accounts[account_name].add(name)
    receivers = tuple(
        receiver.with_sites_of_accounts(
            frozenset[str]().union(*(of_accounts[name] for name in receiver.accounts))
        )
        if receiver.accounts
        else receiver
        for receiver in config.receivers
    )
    return config.model_copy(update={"sites": (*own, *sites), "receivers": receivers})


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
