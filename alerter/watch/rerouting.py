"""Route everything that is pending again, by a config that may have changed."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from alerter.config import Config, Receiver
from alerter.models import Alert, AlertKind, Medium, Review, from_ms, medium_of
from alerter.store import State, destinations, known_sites, rerouting
from alerter.store.destinations import KnownDestination
from alerter.store.rerouting import Queued
from alerter.trouble.recipients import concerned_by
from alerter.trouble.tracker import scope_of
from alerter.watch.routing import Route, apply_quiet_hours, covers, excluded_by, takes_closings
from alerter.watch.topics import topics_of

_AT_ONCE = from_ms(0)
_ALERT = attrgetter("alert")
_OF_REVIEWS = (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER, AlertKind.CLUSTER)


@dataclass(frozen=True, slots=True)
class Rerouted:
    """What was changed: new names by old, and numbers of deliveries by destination.

    `unrouted` counts the alerts of open reviews that have no destination left, by site id.
    """

    renamed: Mapping[str, str]
    cancelled: Counter[str]
    added: Counter[str]
    unrouted: Counter[str]


def reroute(state: State, config: Config, now: datetime) -> Rerouted:
    """Cancel what a destination may not get any more, and offer it to new destinations.

    An alert that had no destination left is offered to all of this config. What quiet hours hold
    gets its time again; an unchanged config changes nothing else. Runs within a transaction.
    """
    return _Rerouting(state, config, now).run()


class _Rerouting:
    """One rerouting, with what it compares: the destinations on record and those of the config."""

    def __init__(self, state: State, config: Config, now: datetime) -> None:
        self._state = state
        self._config = config
        self._now = now
        self._receivers = config.destinations()
        self._names = known_sites.site_names(state) | config.site_names
        self._before = destinations.known_destinations(state)
        self._after = _destinations_of(config)
        # Finding topics takes longer than all else here.
        by_topic = any(each.topics for each in config.receivers)
        self._topics = topics_of(config) if by_topic else None

    def run(self) -> Rerouted:
        pairs = _renamed(self._before, self._after)
        destinations.rename_destinations(self._state, pairs.items())
        there = {name for name, each in self._before.items() if each.present} | set(pairs.values())
        gone = rerouting.queued_for_others(self._state, self._receivers)
        changed = self._changed(pairs)
        its = [site.site_id for site in self._config.sites]
        withdrawn = rerouting.unrouted_deliveries(self._state, its)
        cancelled = [*gone, *self._unfit(rerouting.queued_deliveries(self._state, changed))]
        rerouting.cancel_deliveries(self._state, cancelled)
        rerouting.stop_retrying_addresses(
            self._state, self._unfit(rerouting.partly_delivered(self._state, changed))
        )
        rerouting.freeze_messages_of_others(self._state, self._receivers)
        # Without a record of an earlier config, no destination counts as new.
        new = [name for name in self._after if name not in there] if self._before else []
        # What a worker with an older config raised since, for a destination that was gone already.
        late = [each for each in gone if self._before and each.destination not in there]
        added = self._offered([each for each in cancelled if each not in late], new)
        added += self._offered([*withdrawn, *late], list(self._after))
        rerouting.queue_deliveries(self._state, added)
        self._hold_again()
        destinations.record_destinations(self._state, self._after)
        return Rerouted(
            pairs,
            Counter(each.destination for each in cancelled),
            Counter(each.destination for each in added),
            rerouting.unrouted_counts(self._state, {each.alert for each in cancelled}),
        )

    def _changed(self, pairs: Mapping[str, str]) -> list[str]:
        """Return the destinations that may get other alerts than before."""
        before = {**self._before, **{new: self._before[old] for old, new in pairs.items()}}
        return [
            name
            for name, each in self._after.items()
            if name not in before or before[name].rules != each.rules or name in pairs.values()
        ]

    def _unfit(self, waiting: Sequence[Queued]) -> list[Queued]:
        """Return the deliveries that their destination may not get; cut summaries to fit."""
        unfit: list[Queued] = []
        summaries: list[tuple[Queued, Alert]] = []
        for each, alert, its in self._with_alerts(waiting):
            if not self._may_get(each.destination, alert, its):
                unfit.append(each)
            elif alert.kind is AlertKind.SUMMARY:
                summaries.append((each, alert))
        self._cut_summaries(summaries)
        return unfit

    def _may_get(self, destination: str, alert: Alert, its: Sequence[Review]) -> bool:
        receiver, site = self._receivers[destination], self._site(alert)
        return _may_get(self._config, destination, receiver, alert, its, site) and (
            alert.kind is not AlertKind.SUMMARY or bool(self._sites_in(alert, destination))
        )

    def _offered(self, cancelled: Sequence[Queued], new: Sequence[str]) -> list[Queued]:
        """Return deliveries to these destinations in place of cancelled ones."""
        before = {each.alert: each for each in cancelled}
        recipients = rerouting.destinations_by_alert(self._state, before) if new else {}
        offered: list[Queued] = []
        summaries: list[tuple[Queued, Alert]] = []
        for number, alert, its in self._alerts(cancelled if new else ()):
            have = recipients[number]
            reached = {address for each in have for address in self._addresses(each)}
            for destination in self._recipients(alert, its, new):
                addresses = self._addresses(destination)
                if destination not in have and not addresses <= reached:
                    reached |= addresses
                    due_at = self._due_at(destination, alert, its) or _AT_ONCE
                    offered.append(replace(before[number], destination=destination, due_at=due_at))
                    if alert.kind is AlertKind.SUMMARY:
                        summaries.append((offered[-1], alert))
        self._cut_summaries(summaries)
        return offered

    def _recipients(self, alert: Alert, its: Sequence[Review], new: Sequence[str]) -> list[str]:
        """Return those of these destinations that may get an alert; trouble finds its own."""
        if alert.kind is AlertKind.SUMMARY:
            return [each for each in new if self._may_get(each, alert, its)]
        return [each for each in new if _fits(self._receivers[each], alert, its, self._site(alert))]

    def _hold_again(self) -> None:
        """Give held deliveries their time again, by the quiet hours of this config."""
        waiting = rerouting.held_deliveries(self._state, self._now)
        times = (
            (each, self._due_at(each.destination, alert, its) or self._now)
            for each, alert, its in self._with_alerts(waiting)
        )
        rerouting.reschedule_deliveries(
            self._state, [(each, due_at) for each, due_at in times if due_at != each.due_at]
        )

    def _due_at(self, destination: str, alert: Alert, its: Sequence[Review]) -> datetime | None:
        has_reviews = alert.review_id is not None or alert.kind is AlertKind.CLUSTER
        if not has_reviews or "backfill" in alert.detail:
            return None
        ratings = [each.rating for each in its] if alert.kind is not AlertKind.CLOSED else []
        rating = min(ratings, default=None)
        receiver = self._receivers[destination]
        [route] = apply_quiet_hours(
            [Route(destination)], rating, [receiver], self._now, self._config.timezone
        )
        return route.due_at

    def _alerts(
        self, deliveries: Iterable[Queued]
    ) -> Iterable[tuple[int, Alert, tuple[Review, ...]]]:
        found = rerouting.alerts_with_reviews(self._state, {each.alert for each in deliveries})
        if self._topics is None:
            return found
        tagged = self._topics.tagged
        return ((number, alert, tuple(map(tagged, its))) for number, alert, its in found)

    def _with_alerts(
        self, deliveries: Iterable[Queued]
    ) -> Iterator[tuple[Queued, Alert, tuple[Review, ...]]]:
        """Yield deliveries with their alerts, of which only some are in memory at a time."""
        ordered = sorted(deliveries, key=_ALERT)
        of_alerts = groupby(ordered, key=_ALERT)
        for (_, alert, its), (_, those) in zip(self._alerts(ordered), of_alerts, strict=True):
            for each in those:
                yield each, alert, its

    def _cut_summaries(self, summaries: Iterable[tuple[Queued, Alert]]) -> None:
        """Have summaries show each receiver only its own sites in this config."""
        details: dict[int, dict[str, Any]] = {}
        for each, alert in summaries:
            detail = details.setdefault(
                each.alert, {**alert.detail, "receivers": {**alert.detail["receivers"]}}
            )
            detail["receivers"][self._receivers[each.destination].name] = self._sites_in(
                alert, each.destination
            )
        rerouting.set_details(self._state, details)

    def _sites_in(self, alert: Alert, destination: str) -> list[str]:
        """Return the ids of the sites in a summary that a destination may see."""
        receiver = self._receivers[destination]
        its = self._config.sites_of(receiver)
        shown = alert.detail["receivers"].get(receiver.name, alert.detail["sites"])
        return [site_id for site_id in shown if self._names.get(site_id) in its]

    def _site(self, alert: Alert) -> str:
        return self._names.get(alert.site_id or "", alert.site_id or "")

    def _addresses(self, destination: str) -> frozenset[str]:
        known = self._after.get(destination) or self._before.get(destination)
        return known.addresses if known else frozenset()


def _destinations_of(config: Config) -> dict[str, KnownDestination]:
    """Return every destination of a config, as it is recorded."""
    ids = {site.name: site.site_id for site in config.sites}
    mark = topics_of(config).mark
    return {
        destination: KnownDestination(
            _addresses(receiver, destination), _rules(config, receiver, ids, mark)
        )
        for destination, receiver in config.destinations().items()
    }


def _addresses(receiver: Receiver, destination: str) -> frozenset[str]:
    medium = medium_of(destination)
    return frozenset(
        hashlib.sha256(f"{medium}:{address.casefold()}".encode()).hexdigest()[:32]
        for address in receiver.addresses(medium)
    )


def _rules(config: Config, receiver: Receiver, ids: Mapping[str, str], mark: str) -> str:
    """Return everything that decides what a receiver may get, as JSON; sites by a hash.

    `ids`: the ids of all sites by their names. `mark`: that of the lists of words of topics.
    """
    return json.dumps(
        {
            "sites": None if receiver.covers_all else _hash_of_sites(config, receiver, ids),
            "ratings": [receiver.min_rating, receiver.max_rating],
            "products": receiver.products,
            "keywords": receiver.keywords,
            "topics": receiver.topics and [*receiver.topics, mark],
            "closings": receiver.closings,
            "summaries": sorted(
                each.name for each in config.summaries if receiver.name in each.receivers
            ),
        }
    )


def _hash_of_sites(config: Config, receiver: Receiver, ids: Mapping[str, str]) -> str:
    """Return a hash of the ids of a receiver's sites, of which there may be 100,000."""
    named = receiver.named_sites  # without a look at all sites: receivers may be many, too
    names = config.sites_of(receiver) if named is None else named
    its = sorted(ids[name] for name in names if name in ids)
    return hashlib.sha256("\n".join(its).encode()).hexdigest()


def _renamed(
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


def _may_get(
    config: Config,
    destination: str,
    receiver: Receiver,
    alert: Alert,
    its: Sequence[Review],
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
            medium_of(destination) == Medium.SLACK or takes_closings(receiver, destination)
        )
    if alert.kind is AlertKind.REMINDER or not its:
        return covers(receiver, site)
    return any(excluded_by(receiver, each, site) is None for each in its)


def _fits(receiver: Receiver, alert: Alert, its: Sequence[Review], site: str) -> bool:
    """Return whether a new receiver may take over an alert that was for another."""
    return alert.kind in _OF_REVIEWS and any(
        excluded_by(receiver, each, site) is None for each in its
    )
