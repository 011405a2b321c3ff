"""Alerts about alerter itself: what it cannot do, told once when it begins and once when it is over."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config, Receiver
from alerter.models import Alert, AlertKind, Grouping, Medium, medium_of, phrase_destination
from alerter.store import State, blocks, reviews, roster, troubles
from alerter.store.reviews import Raised

log = logging.getLogger(__name__)


class Troubles:
    """Begins and ends trouble.

    A scope is `site:<site id>`, `destination:<destination>`, `addresses:<receiver>`, `service:<name>`,
    `template:<file>`, or `config`: one that was not taken over.
    """

    def __init__(self, state: State, config: Config, clock: Clock, wake: Callable[[Iterable[str]], None]) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._wake = wake

    def begin(self, scope: str, reason: str) -> None:
        """Put trouble on record and tell of it, unless it is known."""
        with self._state.transaction():
            if troubles.known(self._state, scope, reason):
                return
            since = troubles.begin(self._state, scope, reason, self._clock.now())
            destinations = recipients_for(scope, self._config)
            self._raise(AlertKind.TROUBLE, scope, since, reason, destinations)
        if not destinations:
            log.error("nobody can be told of this trouble: %s: %s", scope, reason)

    def end(self, scopes: Iterable[str]) -> None:
        """End the trouble with these scopes; whoever was told of it hears that it is over."""
        with self._state.transaction():
            for trouble in troubles.end(self._state, scopes):
                told = troubles.told(self._state, _key(AlertKind.TROUBLE, trouble.scope, trouble.since))
                there = [each for each in self._config.destinations() if each in told]
                self._raise(AlertKind.RECOVERED, trouble.scope, trouble.since, trouble.reason, there)

    def end_of_others(self) -> None:
        """End the trouble with what this config does not have any more, and with a config that was not taken over."""
        with self._state.transaction():
            scopes = [trouble.scope for trouble in troubles.current(self._state)]
            scopes += [block.scope for block in blocks.parked(self._state)]
            over = [scope for scope in scopes if not _is_known(scope, self._config)]
            blocks.lift_parked(self._state, over)
            self.end(over)

    def templates(self, faults: Mapping[str, str | None]) -> None:
        """Begin and end the trouble with templates, by what is wrong with each that was rendered (None: nothing)."""
        for name, fault in faults.items():
            if fault:
                self.begin(f"template:{name}", fault)
        self.end(f"template:{name}" for name, fault in faults.items() if not fault)

    def failed(self, destination: str, keys: Iterable[str], reason: str) -> None:
        """Notify people that alerts to a destination were given up; that has no end."""
        with self._state.transaction():
            since = self._clock.now()
            scope = f"message:{destination}"
            others = recipients_for(f"destination:{destination}", self._config) or [destination]
            self._raise(AlertKind.TROUBLE, scope, since, f"{reason} ({', '.join(keys)})", others)

    def _raise(self, kind: AlertKind, scope: str, since: datetime, reason: str, destinations: Collection[str]) -> None:
        sites = {**roster.names(self._state), **{site.site_id: site.name for site in self._config.sites}}
        what, remedy = _described(scope, sites, self._config)
        detail = {"what": what, "reason": reason, "remedy": remedy, "since": since.isoformat()}
        alert = Alert(_key(kind, scope, since), kind, detail=detail)
        reviews.raise_alerts(
            self._state, [Raised(alert, [(name, None) for name in destinations], Grouping.EACH)], self._clock.now()
        )
        self._wake(destinations)


def recipients_for(scope: str, config: Config) -> list[str]:
    """Return the destinations that are notified of trouble.

    These are all that it concerns and that work; where receivers are marked for trouble, theirs.
    Trouble with a destination concerns the others that get alerts of one of its sites, so that
    each customer's trouble is its own. Templates concern every receiver.
    """
    receivers = config.destinations()
    if scope.startswith("template:"):
        concerned = receivers
    else:
        broken = {each: receiver for each, receiver in receivers.items() if _breaks(scope, receiver, each, config)}
        concerned = {
            each: receiver
            for each, receiver in receivers.items()
            if each not in broken and _concerns(scope, receiver, broken.values(), config)
        }
    marked = [each for each, receiver in concerned.items() if receiver.trouble]
    return marked or list(concerned)


def _breaks(scope: str, receiver: Receiver, destination: str, config: Config) -> bool:
    """Whether a scope in trouble keeps messages from a destination."""
    if scope == f"addresses:{receiver.name}":
        return medium_of(destination) == Medium.EMAIL
    return scope in config.scopes(receiver, destination)


def _concerns(scope: str, receiver: Receiver, broken: Collection[Receiver], config: Config) -> bool:
    kind, _, name = scope.partition(":")
    its = config.sites_of(receiver)
    if kind == "config":  # what is wrong with it may be another customer's business
        return its == {site.name for site in config.sites}
    if kind == "site":
        return any(site.name in its for site in config.sites if site.site_id == name)
    return any(its & config.sites_of(other) for other in broken)


def _key(kind: AlertKind, scope: str, since: datetime) -> str:
    return f"{kind}:{scope}:{since.isoformat(timespec='milliseconds')}"


def _is_known(scope: str, config: Config) -> bool:
    """Whether a config has what a scope is about."""
    kind, _, name = scope.partition(":")
    known = {
        "config": [],
        "site": [site.site_id for site in config.sites],
        "destination": config.destinations(),
        "addresses": [receiver.name for receiver in config.receivers if receiver.email],
        "service": [config.service(receiver, medium) for receiver in config.receivers for medium in receiver.media],
    }
    return name in known.get(kind, [name])


def _described(scope: str, sites: Mapping[str, str], config: Config) -> tuple[str, str]:
    """What does not work, and what to do about it."""
    kind, _, name = scope.partition(":")
    if kind == "config":
        return "the changed config is not in force", "correct it (`alerter check`), then reload the service again"
    if kind == "site":
        what = f"the reviews of {sites.get(name, name)} cannot be read"
        return what, "run `alerter check`; if Wix refuses us, look at the site's key or app and its permissions"
    if kind == "message":
        return (
            f"an alert to {phrase_destination(name)} was refused for good",
            "see `alerter status`, then `alerter retry`",
        )
    if kind == "addresses":
        return f"some addresses of {name} refuse our mail", "correct the addresses in the config"
    if kind == "template":
        what = f"the template {name} does not work, and the built-in one is used instead"
        return what, "run `alerter check`, which names what breaks, and mend the file"
    if kind == "destination":
        return f"receiver {phrase_destination(name)} cannot be reached", "mend what it says, then run `alerter retry`"
    return f"{_medium(name, config)} refuses us", "mend what it says, then run `alerter retry`"


def _medium(service: str, config: Config) -> str:
    if service in ("slack", "smtp"):
        return "Slack" if service == "slack" else "the mail server"
    names = [receiver.name for receiver in config.receivers if config.service(receiver, Medium.SLACK) == service]
    return f"the Slack workspace of {', '.join(names) or service}"
