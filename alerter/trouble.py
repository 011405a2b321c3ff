"""Alerts about alerter itself: what it cannot do, told once when it begins and once when it is over."""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config, Receiver
from alerter.models import Alert, AlertKind, Grouping
from alerter.store import State, blocks, reviews, roster, troubles
from alerter.store.reviews import Raised

log = logging.getLogger(__name__)


class Troubles:
    """Begins and ends trouble.

    A scope is `site:<site id>`, `receiver:<name>`, `addresses:<name>` (of a receiver), `service:<name>`,
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
            names = [receiver.name for receiver in who_hears(scope, self._config)]
            self._raise(AlertKind.TROUBLE, scope, since, reason, names)
        if not names:
            log.error("nobody can be told of this trouble: %s: %s", scope, reason)

    def end(self, scopes: Iterable[str]) -> None:
        """End the trouble with these scopes; whoever was told of it hears that it is over."""
        with self._state.transaction():
            for trouble in troubles.end(self._state, scopes):
                told = troubles.told(self._state, _key(AlertKind.TROUBLE, trouble.scope, trouble.since))
                names = [receiver.name for receiver in self._config.receivers if receiver.name in told]
                self._raise(AlertKind.RECOVERED, trouble.scope, trouble.since, trouble.reason, names)

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

    def failed(self, receiver: str, keys: Iterable[str], reason: str) -> None:
        """Tell that alerts to a receiver were given up; there is no end to hear of."""
        with self._state.transaction():
            since = self._clock.now()
            scope = f"message:{receiver}"
            names = [each.name for each in who_hears(f"receiver:{receiver}", self._config)] or [receiver]
            self._raise(AlertKind.TROUBLE, scope, since, f"{reason} ({', '.join(keys)})", names)

    def _raise(self, kind: AlertKind, scope: str, since: datetime, reason: str, names: Iterable[str]) -> None:
        sites = {**roster.names(self._state), **{site.site_id: site.name for site in self._config.sites}}
        what, remedy = _described(scope, sites, self._config)
        detail = {"what": what, "reason": reason, "remedy": remedy, "since": since.isoformat()}
        alert = Alert(_key(kind, scope, since), kind, detail=detail)
        reviews.raise_alerts(
            self._state, [Raised(alert, [(name, None) for name in names], Grouping.EACH)], self._clock.now()
        )
        self._wake(names)


def who_hears(scope: str, config: Config) -> list[Receiver]:
    """Who is told of trouble: those marked for it among the receivers that it concerns, else all that it concerns.

    Trouble with a receiver concerns the others that hear of one of its sites: each customer's trouble is its own.
    Templates concern everybody.
    """
    kind, _, name = scope.partition(":")
    if kind == "template":
        return [receiver for receiver in config.receivers if receiver.trouble] or list(config.receivers)
    broken = {
        receiver.name: config.sites_of(receiver)
        for receiver in config.receivers
        if scope in (f"receiver:{receiver.name}", f"service:{config.service(receiver)}", f"addresses:{receiver.name}")
    }
    if kind == "config":  # what is wrong with it may be another customer's business
        everything = {site.name for site in config.sites}
        concerned = [each for each in config.receivers if config.sites_of(each) == everything]
    else:
        sites = (
            {site.name for site in config.sites if site.site_id == name}
            if kind == "site"
            else {site for its in broken.values() for site in its}
        )
        concerned = [each for each in config.receivers if each.name not in broken and sites & config.sites_of(each)]
    return [receiver for receiver in concerned if receiver.trouble] or concerned


def _key(kind: AlertKind, scope: str, since: datetime) -> str:
    return f"{kind}:{scope}:{since.isoformat(timespec='milliseconds')}"


def _is_known(scope: str, config: Config) -> bool:
    """Whether a config has what a scope is about."""
    kind, _, name = scope.partition(":")
    known = {
        "config": [],
        "site": [site.site_id for site in config.sites],
        "receiver": [receiver.name for receiver in config.receivers],
        "addresses": [receiver.name for receiver in config.receivers if receiver.email],
        "service": [config.service(receiver) for receiver in config.receivers],
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
        return f"an alert to {name} was refused for good", "see `alerter status`, then `alerter retry`"
    if kind == "addresses":
        return f"some addresses of {name} refuse our mail", "correct the addresses in the config"
    if kind == "template":
        what = f"the template {name} does not work, and the built-in one is used instead"
        return what, "run `alerter check`, which names what breaks, and mend the file"
    if kind == "receiver":
        return f"receiver {name} cannot be reached", "mend what it says, then run `alerter retry`"
    return f"{_medium(name, config)} refuses us", "mend what it says, then run `alerter retry`"


def _medium(service: str, config: Config) -> str:
    if service in ("slack", "smtp"):
        return "Slack" if service == "slack" else "the mail server"
    names = [receiver.name for receiver in config.receivers if config.service(receiver) == service]
    return f"the Slack workspace of {', '.join(names) or service}"
