"""Decide what a changed config means for destinations and their deliveries. Pure."""

import hashlib
import json
from collections.abc import Mapping

from alerter.config import Config, Receiver
from alerter.models import Alert, AlertKind, Medium, Review, medium_of
from alerter.store.destinations import KnownDestination
from alerter.trouble.recipients import concerned_by
from alerter.trouble.tracker import scope_of
from alerter.watch.routing import covers, excluded_by


def destinations_of(config: Config) -> dict[str, KnownDestination]:
    """Return every destination of a config, as it is recorded."""
    return {
        destination: KnownDestination(_addresses(receiver, destination), _rules(config, receiver))
        for destination, receiver in config.destinations().items()
    }


def _addresses(receiver: Receiver, destination: str) -> frozenset[str]:
    medium = medium_of(destination)
    return frozenset(
        hashlib.sha256(f"{medium}:{address.casefold()}".encode()).hexdigest()[:32]
        for address in receiver.addresses(medium)
    )


def _rules(config: Config, receiver: Receiver) -> str:
    """Return everything that decides what a receiver may get, as JSON."""
    ids = {site.name: site.site_id for site in config.sites}
    return json.dumps(
        {
            "sites": None
            if receiver.sites is None
            else sorted(ids[name] for name in receiver.sites),
            "ratings": [receiver.min_rating, receiver.max_rating],
            "products": receiver.products,
            "keywords": receiver.keywords,
            "closings": receiver.closings,
            "summaries": sorted(
                each.name for each in config.summaries if receiver.name in each.receivers
            ),
        }
    )


def renamed(
    before: Mapping[str, KnownDestination], now: Mapping[str, KnownDestination]
) -> dict[str, str]:
    """Return the new destinations with the address of a removed one, by its name."""
    new = {
        name: each for name, each in now.items() if name not in before or not before[name].present
    }
    gone = [name for name in before if name not in now]
    gone.sort(key=lambda name: not before[name].present)
    pairs: dict[str, str] = {}
    for old in gone:
        same = [
            name
            for name, each in new.items()
            if _leads_to_same_place((old, before[old]), (name, each))
        ]
        if same:
            pairs[old] = same[0]
    return pairs


def _leads_to_same_place(
    one: tuple[str, KnownDestination], other: tuple[str, KnownDestination]
) -> bool:
    return one[1].addresses == other[1].addresses and medium_of(one[0]) == medium_of(other[0])


def may_get(
    config: Config,
    destination: str,
    receiver: Receiver,
    alert: Alert,
    review: Review | None,
    site: str,
) -> bool:
    """Return whether a pending alert may still go to its destination."""
    if alert.kind in (AlertKind.TROUBLE, AlertKind.RECOVERED):
        return destination in concerned_by(scope_of(alert.key), config)
    if alert.kind is AlertKind.SUMMARY:
        name = alert.detail.get("name")
        return any(
            each.name == name and receiver.name in each.receivers for each in config.summaries
        )
    if alert.kind is AlertKind.CLOSED:
        return covers(receiver, site) and (
            receiver.closings or medium_of(destination) != Medium.EMAIL
        )
    if alert.kind is AlertKind.REMINDER or review is None:
        return covers(receiver, site)
    return excluded_by(receiver, review, site) is None


def fits(receiver: Receiver, alert: Alert, review: Review | None, site: str) -> bool:
    """Return whether a new receiver may take over an alert that was for another."""
    if alert.kind not in (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER) or review is None:
        return False
    return excluded_by(receiver, review, site) is None
