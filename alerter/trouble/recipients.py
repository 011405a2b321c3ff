"""Which destinations are notified of trouble: each customer's trouble is its own. Pure."""

from collections.abc import Collection

from alerter.config import Config, Receiver
from alerter.models import Medium, medium_of
from alerter.scopes import Scope, split_method, split_scope


def recipients_for(scope: str, config: Config, unreachable: Collection[str] = ()) -> list[str]:
    """Return the destinations that are notified of trouble.

    These are the reachable ones that it concerns: those of receivers marked for trouble, else all
    of them. If none is reachable, the unreachable ones are returned.
    """
    concerned = concerned_by(scope, config)
    marked = [each for each, receiver in concerned.items() if receiver.trouble]
    for choice in (marked, list(concerned)):
        if reachable := [each for each in choice if each not in unreachable]:
            return reachable
    return marked or list(concerned)


def concerned_by(scope: str, config: Config) -> dict[str, Receiver]:
    """Return the destinations that trouble concerns; trouble with a template concerns all."""
    kind, name = split_scope(scope)
    every = config.destinations()
    if kind == Scope.TEMPLATE:
        return every
    if kind == Scope.ERASURE:
        return _concerned_by_erasure(name, config)
    if kind == Scope.METHOD:  # messages are still delivered, so its own destinations are notified
        service, _ = split_method(name)
        return {
            each: receiver
            for each, receiver in every.items()
            if config.service(receiver, medium_of(each)) == service
        }
    if kind == Scope.SOCKET:
        return _concerned_by_buttons(config)
    if kind in (Scope.CONFIG, Scope.JOB):  # the reason may name another customer
        sites = {site.name for site in config.sites}
        return {
            each: receiver for each, receiver in every.items() if config.sites_of(receiver) == sites
        }
    if kind in (Scope.SITE, Scope.PRIVATE, Scope.UNROUTED):
        sites = {site.name for site in config.sites if site.site_id == name}
        return {
            each: receiver
            for each, receiver in every.items()
            if any(receiver.covers(site) for site in sites)
        }
    if kind == Scope.ACCOUNT:
        return _concerned_by_account(name, config)
    return _concerned_by_outage(scope, config)


def _concerned_by_account(account_id: str, config: Config) -> dict[str, Receiver]:
    """Return the destinations that get every site of an account, those to come too.

    Without any, these are the destinations for trouble.
    """
    every = config.destinations()
    names = [account.name for account in config.accounts if account.account_id == account_id]
    whole = {
        each: receiver
        for each, receiver in every.items()
        if any(receiver.covers_account(name) for name in names)
    }
    return whole or {each: receiver for each, receiver in every.items() if receiver.trouble}


def _concerned_by_buttons(config: Config) -> dict[str, Receiver]:
    """Return the destinations whose messages have buttons, and those that share a site."""
    every = config.destinations()
    sites = {
        site
        for receiver in config.receivers
        if receiver.slack and receiver.token is None
        for site in config.sites_of(receiver)
    }
    return {each: receiver for each, receiver in every.items() if sites & config.sites_of(receiver)}


def _concerned_by_erasure(destination: str, config: Config) -> dict[str, Receiver]:
    """Return the destination that shows erased text, and those for trouble that share a site."""
    every = config.destinations()
    if destination not in every:
        return {}
    sites = config.sites_of(every[destination])
    return {
        each: receiver
        for each, receiver in every.items()
        if each == destination or (receiver.trouble and sites & config.sites_of(receiver))
    }


def _concerned_by_outage(scope: str, config: Config) -> dict[str, Receiver]:
    """Return the destinations that share a site with those that trouble cuts off.

    Without any, a refused message concerns its own destination, which still receives others.
    """
    every = config.destinations()
    broken = {
        each: receiver for each, receiver in every.items() if _breaks(scope, receiver, each, config)
    }
    sites = {site for receiver in broken.values() for site in config.sites_of(receiver)}
    others = {
        each: receiver
        for each, receiver in every.items()
        if each not in broken and sites & config.sites_of(receiver)
    }
    kind, _ = split_scope(scope)
    return others or (broken if kind == Scope.MESSAGE else {})


def _breaks(scope: str, receiver: Receiver, destination: str, config: Config) -> bool:
    """Return whether trouble of a scope keeps messages from a destination."""
    if scope == Scope.ADDRESSES.of(receiver.name):
        return medium_of(destination) == Medium.EMAIL
    return scope == Scope.MESSAGE.of(destination) or scope in config.scopes(receiver, destination)
