"""Alerts about alerter itself: what it cannot do, notified once when it begins and once when it is over."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config, Receiver
from alerter.models import Alert, AlertKind, Grouping, Medium, from_ms, medium_of, to_ms
from alerter.store import State, blocks, known_sites, raised_alerts, rerouting, troubles
from alerter.store.blocks import Block
from alerter.store.raised_alerts import NewAlert
from alerter.store.troubles import Trouble
from alerter.trouble import rules
from alerter.trouble.rules import Faults
from alerter.trouble.words import describe

log = logging.getLogger(__name__)

# One for all trouble: a review of it reads all, and it is written seldom.
_SCOPE = "trouble:all"


class Troubles:
    """Begins and ends trouble.

    A scope is one of `site:<site id>`, `private:<site id>` (its unpublished reviews),
    `destination:<destination>`, `message:<destination>` (refused ones), `erasure:<destination>`
    (words that still stand on Slack), `addresses:<receiver>`, `service:<name>`,
    `method:<service>:<name>`, `template:<file>`, `job:<name>` (of the daemon's own), `state` (the
    state file could not be written), `start` (alerter did not start without it), `unrouted:<site id>`
    (its alerts), or `config` (one that was not taken over).
    """

    def __init__(
        self, state: State, config: Config, clock: Clock, wake: Callable[[Iterable[str]], None]
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._wake = wake
        # What has waited longest for each destination, and since when nothing has left for it.
        self._waiting: dict[str, tuple[int, float]] = {}

    def begin(self, scope: str, reason: str, began: datetime | None = None) -> None:
        """Put a fault on record and notify people of it, unless that was done; `began` is when, if not just now."""
        now = self._now()
        with self._state.transaction(_SCOPE):
            known = next(iter(troubles.get_troubles_of(self._state, [scope])), None)
            trouble = rules.begun(known, scope, reason, now)
            if rules.is_to_be_notified(trouble, began, now, self._config.poll.trouble_after):
                trouble = self._notify(trouble, now)
            if trouble != known:
                troubles.put_trouble(self._state, trouble)

    def end(self, scopes: Iterable[str]) -> None:
        """End the trouble with these scopes, as something has worked; who was notified of it is notified of that."""
        names = list(scopes)
        for name in names:
            self._waiting.pop(name, None)
        known = [
            each for each in troubles.get_troubles_of(self._state, names) if each.over_at is None
        ]
        if not known:
            return
        now = self._now()
        with self._state.transaction(_SCOPE):
            for trouble in known:
                troubles.cancel_unsent_trouble(self._state, _key(AlertKind.TROUBLE, trouble))
                self._settle(replace(trouble, over_at=now), now)

    def review(self) -> None:
        """Begin, notify and end what follows from how things stand; to be called each minute and at failures."""
        now = self._now()
        with self._state.transaction(_SCOPE):
            standing = blocks.get_blocks(self._state)
            known = [each for each in troubles.get_troubles(self._state) if each.over_at is None]
            found = self._found(standing, [each.scope for each in known], now)
            blocked = {block.scope for block in standing}
            over = [each.scope for each in known if self._is_over(each, found, blocked)]
            for scope, (reason, began) in found.items():
                self.begin(scope, reason, began)
            self.end(over)
            for trouble in troubles.get_troubles(self._state):
                self._follow_up(trouble, now)

    def notice(self, scope: str, since: datetime) -> None:
        """Review how things stand, where a scope has been failing for long and is in no trouble yet."""
        known = [
            each for each in troubles.get_troubles_of(self._state, [scope]) if each.over_at is None
        ]
        if not known and self._clock.now() - since >= self._config.poll.trouble_after:
            self.review()

    def reached(self, scopes: Iterable[str]) -> None:
        """End the trouble of those of these scopes that nothing blocks any more, within a transaction."""
        blocked = {block.scope for block in blocks.get_blocks(self._state)}
        self.end(scope for scope in scopes if scope not in blocked)

    def _found(self, standing: Sequence[Block], known: Collection[str], now: datetime) -> Faults:
        """What is in trouble by what is left alone, and by what waits though nothing is."""
        services = self._services()
        found = rules.lasting(standing, services, known, now, self._config.poll.trouble_after)
        blocked = {block.scope for block in standing}
        waiting, began = (
            troubles.oldest_waiting(self._state, now),
            now - self._config.poll.trouble_after,
        )
        # What is in doubt waits for a look, and that looks are throttled is trouble by itself.
        looks_held = {
            block.scope for block in standing if block.until > now and block.scope.endswith(":look")
        }
        for scope, service in services.items():
            reasons = (blocked & {scope, f"service:{service}"}) | (
                looks_held & {f"method:{service}:look"}
            )
            if self._has_waited(scope, waiting) and not reasons:
                found.setdefault(scope, ("its messages wait, and none has left for a while", began))
        return found

    def _has_waited(self, scope: str, waiting: Mapping[str, int]) -> bool:
        """Whether the same alert has been the oldest for long, and nothing has left meanwhile. No clock is set here."""
        destination, now = scope.partition(":")[2], self._clock.monotonic()
        oldest = waiting.get(destination)
        if oldest is None:
            self._waiting.pop(scope, None)
            return False
        before, since = self._waiting.get(scope, (oldest, now))
        self._waiting[scope] = (oldest, since if before == oldest else now)
        return now - self._waiting[scope][1] >= self._config.poll.trouble_after.total_seconds()

    def _now(self) -> datetime:
        """Now, as the state file keeps it: a trouble's beginning is part of its alert's key."""
        return from_ms(to_ms(self._clock.now()))

    def _is_over(self, trouble: Trouble, found: Collection[str], blocked: Collection[str]) -> bool:
        """Whether nothing speaks for it any more; of what is not named here somebody else says that it is over."""
        kind, _, name = trouble.scope.partition(":")
        if kind == "message":
            return not troubles.has_failures(self._state, name, trouble.since)
        if kind == "method":
            return trouble.scope not in found
        if kind == "unrouted":
            return not rerouting.has_unrouted(self._state, name)
        return kind in ("destination", "service", "addresses") and trouble.scope not in {
            *found,
            *blocked,
        }

    def _follow_up(self, trouble: Trouble, now: datetime) -> None:
        """Notify what had to wait, forget what is over, and notify others where those who were cannot be reached."""
        if rules.is_to_be_notified(trouble, None, now, self._config.poll.trouble_after):
            troubles.put_trouble(self._state, self._notify(trouble, now))
        elif rules.is_recovery_due(trouble, now) or rules.is_forgotten(trouble, now):
            self._settle(trouble, now)
        elif trouble.over_at is None and trouble.notified_at:
            key = _key(AlertKind.TROUBLE, trouble)
            notified, unreachable = (
                troubles.trouble_recipients(self._state, key),
                self._unreachable(),
            )
            if "sent" not in notified.values() and notified.keys() <= unreachable:
                others = recipients_for(trouble.scope, self._config, unreachable)
                troubles.add_recipients(
                    self._state, key, [name for name in others if name not in notified]
                )
                self._wake(others)

    def _unreachable(self) -> set[str]:
        """The destinations that are in trouble, by themselves or with their service."""
        standing = {
            each.scope for each in troubles.get_troubles(self._state) if each.over_at is None
        }
        return {
            destination
            for destination, receiver in self._config.destinations().items()
            if standing & set(self._config.scopes(receiver, destination))
        }

    def _services(self) -> dict[str, str]:
        """The service of each destination, by the destination's scope."""
        its = [
            self._config.scopes(receiver, name)
            for name, receiver in self._config.destinations().items()
        ]
        return {scope: service.partition(":")[2] for scope, service in its}

    def _notify(self, trouble: Trouble, now: datetime) -> Trouble:
        """Notify people that a fault began, within a transaction; returns its record."""
        names = recipients_for(trouble.scope, self._config, self._unreachable())
        if not names:
            log.error(
                "nobody can be notified of this trouble: %s: %s", trouble.scope, trouble.reason
            )
        self._raise(AlertKind.TROUBLE, trouble, names)
        return replace(trouble, notified_at=now)

    def _settle(self, trouble: Trouble, now: datetime) -> None:
        """Notify who was notified of a fault that it is over, if its hour has come, within a transaction."""
        notified = (
            troubles.trouble_recipients(self._state, _key(AlertKind.TROUBLE, trouble))
            if trouble.notified_at
            else {}
        )
        names = [each for each in self._config.destinations() if each in notified]
        if not names:
            trouble = replace(trouble, notified_at=None)
        elif rules.is_recovery_due(trouble, now):
            self._raise(AlertKind.RECOVERED, trouble, names)
            trouble = replace(trouble, notified_at=None, recovered_at=now)
        if rules.is_forgotten(trouble, now):
            troubles.delete_trouble(self._state, trouble.scope)
        else:
            troubles.put_trouble(self._state, trouble)

    def end_of_others(self) -> None:
        """End what this config does not have any more, and with a config that was not taken over."""
        with self._state.transaction(_SCOPE):
            scopes = {trouble.scope for trouble in troubles.get_troubles(self._state)}
            scopes |= {block.scope for block in blocks.get_blocks(self._state)}
            over = [scope for scope in scopes if not _is_known(scope, self._config)]
            blocks.lift_blocks(self._state, over)
            self.end(over)

    def templates(self, faults: Mapping[str, str | None]) -> None:
        """Begin and end the trouble with templates, by what is wrong with each that was rendered (None: nothing)."""
        for name, fault in faults.items():
            if fault:
                self.begin(f"template:{name}", fault)
        self.end(f"template:{name}" for name, fault in faults.items() if not fault)

    def recovered(
        self, scope: str, reason: str, since: datetime, destinations: Collection[str]
    ) -> None:
        """Notify destinations of the end of what they were notified of directly."""
        with self._state.transaction(_SCOPE):
            self._raise(AlertKind.RECOVERED, Trouble(scope, since, reason), destinations)

    def _raise(self, kind: AlertKind, trouble: Trouble, names: Collection[str]) -> None:
        sites = {
            **known_sites.site_names(self._state),
            **{site.site_id: site.name for site in self._config.sites},
        }
        what, remedy = describe(trouble.scope, sites, self._config)
        detail = {
            "what": what,
            "reason": trouble.reason,
            "remedy": remedy,
            "since": trouble.since.isoformat(),
        }
        alert = Alert(_key(kind, trouble), kind, detail=detail)
        new_alerts = NewAlert(alert, [(name, None) for name in names], Grouping.EACH)
        raised_alerts.raise_alerts(self._state, [new_alerts], self._clock.now())
        self._wake(names)


def recipients_for(scope: str, config: Config, unreachable: Collection[str] = ()) -> list[str]:
    """Return the destinations that are notified of trouble.

    These are all that it concerns and that work; where receivers are marked for trouble, theirs. Those that are
    unreachable are left out, unless that leaves none.
    """
    concerned = concerned_by(scope, config)
    marked = [each for each, receiver in concerned.items() if receiver.trouble]
    for choice in (marked, list(concerned)):
        if working := [each for each in choice if each not in unreachable]:
            return working
    return marked or list(concerned)


def concerned_by(scope: str, config: Config) -> dict[str, Receiver]:
    """Return the destinations that trouble concerns: each customer's trouble is its own.

    Trouble with a destination concerns the others that get alerts of one of its sites; if there are none, a single
    refused message concerns the destination itself. Templates concern every receiver.
    """
    kind, _, name = scope.partition(":")
    every = config.destinations()
    if kind == "template":
        return every
    if kind in ("config", "job"):  # what is wrong there may be another customer's business
        everything = {site.name for site in config.sites}
        return {
            each: receiver
            for each, receiver in every.items()
            if config.sites_of(receiver) == everything
        }
    if kind == "method":  # the messages of its service arrive all the same
        service, _, _ = name.rpartition(":")
        return {
            each: receiver
            for each, receiver in every.items()
            if config.service(receiver, medium_of(each)) == service
        }
    if kind == "erasure":
        return _concerned_by_words(name, every, config)
    if kind in ("site", "private", "unrouted"):
        sites = {site.name for site in config.sites if site.site_id == name}
        return {
            each: receiver for each, receiver in every.items() if sites & config.sites_of(receiver)
        }
    broken = {
        each: receiver for each, receiver in every.items() if _breaks(scope, receiver, each, config)
    }
    sites = {site for receiver in broken.values() for site in config.sites_of(receiver)}
    others = {
        each: receiver
        for each, receiver in every.items()
        if each not in broken and sites & config.sites_of(receiver)
    }
    return others or (broken if kind == "message" else {})


def _concerned_by_words(
    name: str, every: Mapping[str, Receiver], config: Config
) -> dict[str, Receiver]:
    """Return the destination whose messages show words, and those marked for trouble that share a site with it."""
    if name not in every:
        return {}
    sites = config.sites_of(every[name])
    return {
        each: receiver
        for each, receiver in every.items()
        if each == name or (receiver.trouble and sites & config.sites_of(receiver))
    }


def _breaks(scope: str, receiver: Receiver, destination: str, config: Config) -> bool:
    """Whether a scope in trouble keeps messages from a destination."""
    if scope == f"addresses:{receiver.name}":
        return medium_of(destination) == Medium.EMAIL
    return scope == f"message:{destination}" or scope in config.scopes(receiver, destination)


def _key(kind: AlertKind, trouble: Trouble) -> str:
    return f"{kind}:{trouble.scope}:{trouble.since.isoformat(timespec='milliseconds')}"


def scope_of(key: str) -> str:
    """Return the scope from the key of an alert of trouble: what stands before its moment, which has three colons."""
    return key.partition(":")[2].rsplit(":", 4)[0]


def _is_known(scope: str, config: Config) -> bool:
    """Whether a config has what a scope is about."""
    kind, _, name = scope.partition(":")
    known = {
        "config": [],
        "site": [site.site_id for site in config.sites],
        "private": [site.site_id for site in config.sites],
        "unrouted": [site.site_id for site in config.sites],
        "destination": config.destinations(),
        "message": config.destinations(),
        "erasure": config.destinations(),
        "addresses": [receiver.name for receiver in config.receivers if receiver.email],
        "service": [
            config.service(receiver, medium)
            for receiver in config.receivers
            for medium in receiver.media
        ],
    }
    return name in known.get(kind, [name])
