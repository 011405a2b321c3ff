"""Alerts about alerter itself: what it cannot do, told once when it begins and once when it is over."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config, Receiver
from alerter.models import Alert, AlertKind, Grouping
from alerter.store import State, reviews, troubles
from alerter.store.reviews import Raised

log = logging.getLogger(__name__)


class Troubles:
    """Begins and ends trouble.

    A scope is `site:<site id>`, `receiver:<name>`, `addresses:<name>` (of a receiver) or `service:<name>`.
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
                names = troubles.told(self._state, _key(AlertKind.TROUBLE, trouble.scope, trouble.since))
                self._raise(AlertKind.RECOVERED, trouble.scope, trouble.since, trouble.reason, names)

    def failed(self, receiver: str, keys: Iterable[str], reason: str) -> None:
        """Tell that alerts to a receiver were given up; there is no end to hear of."""
        with self._state.transaction():
            since = self._clock.now()
            scope = f"message:{receiver}"
            names = [each.name for each in who_hears(f"receiver:{receiver}", self._config)] or [receiver]
            self._raise(AlertKind.TROUBLE, scope, since, f"{reason} ({', '.join(keys)})", names)

    def _raise(self, kind: AlertKind, scope: str, since: datetime, reason: str, names: Iterable[str]) -> None:
        what, remedy = _described(scope, self._config)
        detail = {"what": what, "reason": reason, "remedy": remedy, "since": since.isoformat()}
        alert = Alert(_key(kind, scope, since), kind, detail=detail)
        reviews.raise_alerts(
            self._state, [Raised(alert, [(name, None) for name in names], Grouping.EACH)], self._clock.now()
        )
        self._wake(names)


def who_hears(scope: str, config: Config) -> list[Receiver]:
    """Who is told of trouble: those marked for it among the receivers that it concerns, else all that it concerns.

    Trouble with a receiver concerns the others that hear of one of its sites: each customer's trouble is its own.
    """
    kind, _, name = scope.partition(":")
    broken = [
        receiver
        for receiver in config.receivers
        if scope in (f"receiver:{receiver.name}", f"service:{config.service(receiver)}", f"addresses:{receiver.name}")
    ]
    sites = (
        {site.name for site in config.sites if site.site_id == name}
        if kind == "site"
        else {site for receiver in broken for site in config.sites_of(receiver)}
    )
    concerned = [
        receiver for receiver in config.receivers if receiver not in broken and sites & config.sites_of(receiver)
    ]
    return [receiver for receiver in concerned if receiver.trouble] or concerned


def _key(kind: AlertKind, scope: str, since: datetime) -> str:
    return f"{kind}:{scope}:{since.isoformat(timespec='milliseconds')}"


def _described(scope: str, config: Config) -> tuple[str, str]:
    """What does not work, and what to do about it."""
    kind, _, name = scope.partition(":")
    if kind == "site":
        names = [site.name for site in config.sites if site.site_id == name]
        what = f"the reviews of {names[0] if names else name} cannot be read"
        return what, "run `alerter check`; if Wix refuses us, look at the site's key or app and its permissions"
    if kind == "message":
        return f"an alert to {name} was refused for good", "see `alerter status`, then `alerter retry`"
    if kind == "addresses":
        return f"some addresses of {name} refuse our mail", "correct the addresses in the config"
    if kind == "receiver":
        return f"receiver {name} cannot be reached", "mend what it says, then run `alerter retry`"
    return f"{_medium(name, config)} refuses us", "mend what it says, then run `alerter retry`"


def _medium(service: str, config: Config) -> str:
    if service in ("slack", "smtp"):
        return "Slack" if service == "slack" else "the mail server"
    names = [receiver.name for receiver in config.receivers if config.service(receiver) == service]
    return f"the Slack workspace of {', '.join(names) or service}"
