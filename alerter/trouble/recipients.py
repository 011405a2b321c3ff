"""Which destinations are notified of trouble: each customer's trouble is its own. Pure."""

from collections.abc import Collection

from alerter.config import Config, Receiver
from alerter.models import Medium, medium_of


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
    kind, _, name = scope.partition(":")
    every = config.destinations()
    if kind == "template":
        return every
    if kind == "erasure":
        return _concerned_by_erasure(name, config)
    if kind == "method":  # messages are still delivered, so its own destinations are notified
        service = name.rpartition(":")[0]
        return {
            each: receiver
            for each, receiver in every.items()
            if config.service(receiver, medium_of(each)) == service
        }
    if kind in ("config", "job"):  # the reason may name another customer
        sites = {site.name for site in config.sites}
        return {
            each: receiver for each, receiver in every.items() if config.sites_of(receiver) == sites
        }
    if kind in ("site", "private", "unrouted"):
        sites = {site.name for site in config.sites if site.site_id == name}
        return {
            each: receiver for each, receiver in every.items() if sites & config.sites_of(receiver)
        }
    return _concerned_by_outage(scope, config)


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
    return others or (broken if scope.startswith("message:") else {})


def _breaks(scope: str, receiver: Receiver, destination: str, config: Config) -> bool:
    """Return whether trouble of a scope keeps messages from a destination."""
    if scope == f"addresses:{receiver.name}":
        return medium_of(destination) == Medium.EMAIL
    return scope == f"message:{destination}" or scope in config.scopes(receiver, destination)
