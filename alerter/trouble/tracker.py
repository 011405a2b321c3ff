"""Trouble: alerts about alerter itself, one when a fault begins and one when it is over."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from alerter.clock import Clock
from alerter.config import Config
from alerter.models import Alert, AlertKind, Grouping, from_ms, to_ms
from alerter.scopes import ALL_TROUBLE, Scope, method_scope, split_scope
from alerter.store import State, blocks, known_sites, raised_alerts, rerouting, troubles
from alerter.store.blocks import Block
from alerter.store.raised_alerts import NewAlert
from alerter.store.troubles import Trouble
from alerter.trouble import rules
from alerter.trouble.naming import identify
from alerter.trouble.recipients import recipients_for
from alerter.trouble.rules import Faults

log = logging.getLogger(__name__)


class Waits(Protocol):
    """Since when the oldest alert that waits is the same, by the scope of its destination."""

    def record(self, scope: str, alert: int) -> timedelta:
        """Record the oldest alert of a scope; return for how long it has been the same."""

    def end(self, scopes: Collection[str]) -> None:
        """Forget what waited: something has left, or nothing waits."""


class MemoryWaits:
    """The waits as one process has seen them, by the monotonic clock, which cannot be set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._oldest: dict[str, tuple[int, float]] = {}

    def record(self, scope: str, alert: int) -> timedelta:
        """Record the oldest alert of a scope; return for how long it has been the same."""
        now = self._clock.monotonic()
        before, since = self._oldest.get(scope, (alert, now))
        self._oldest[scope] = (alert, since if before == alert else now)
        return timedelta(seconds=now - self._oldest[scope][1])

    def end(self, scopes: Collection[str]) -> None:
        """Forget what waited: something has left, or nothing waits."""
        for scope in scopes:
            self._oldest.pop(scope, None)


class Troubles:
    """Begins and ends trouble, each of one scope (`scopes.Scope`).

    `waits`: of a cluster, where others judge as well.
    """

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        wake: Callable[[Iterable[str]], None],
        waits: Waits | None = None,
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._wake = wake
        self._waits = waits or MemoryWaits(clock)

    def begin(self, scope: str, reason: str, began: datetime | None = None) -> None:
        """Record a fault, and notify people once; `began`: when the fault began, if before now."""
        now = self._now()
        with self._state.transaction(ALL_TROUBLE):
            known = next(iter(troubles.get_troubles_of(self._state, [scope])), None)
            trouble = rules.begun(known, scope, reason, now)
            if rules.is_to_be_notified(trouble, began, now, self._config.poll.trouble_after):
                trouble = self._notify(trouble, now)
            if trouble != known:
                troubles.put_trouble(self._state, trouble)

    def end(self, scopes: Iterable[str]) -> None:
        """End the trouble of these scopes, and notify those who were notified of it."""
        names = list(scopes)
        self.end_waits(names)
        known = [
            each for each in troubles.get_troubles_of(self._state, names) if each.over_at is None
        ]
        if not known:
            return
        now = self._now()
        with self._state.transaction(ALL_TROUBLE):
            for trouble in known:
                troubles.cancel_unsent_trouble(self._state, _key(AlertKind.TROUBLE, trouble))
                self._close(replace(trouble, over_at=now), now)

    def end_waits(self, scopes: Iterable[str]) -> None:
        """Forget what waited for those of these scopes that are destinations."""
        if waited := [name for name in scopes if split_scope(name)[0] == Scope.DESTINATION]:
            self._waits.end(waited)

    def refresh(self) -> None:
        """Begin, notify and end trouble by what is blocked and what waits; called each minute."""
        now = self._now()
        with self._state.transaction(ALL_TROUBLE):
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

    def begin_if_lasting(self, scope: str, since: datetime) -> None:
        """Refresh if a scope has failed for `trouble_after` and is in no trouble yet."""
        known = [
            each for each in troubles.get_troubles_of(self._state, [scope]) if each.over_at is None
        ]
        if not known and self._clock.now() - since >= self._config.poll.trouble_after:
            self.refresh()

    def end_unblocked(self, scopes: Iterable[str]) -> None:
        """End the trouble of those of these scopes that have no block, within a transaction."""
        blocked = {block.scope for block in blocks.get_blocks(self._state)}
        self.end(scope for scope in scopes if scope not in blocked)

    def wake_service(self, service: str) -> None:
        """Have the destinations of a service read the outbox: it can be called again."""
        self._wake(
            split_scope(scope)[1] for scope, its in self._services().items() if its == service
        )

    def _found(self, standing: Sequence[Block], known: Collection[str], now: datetime) -> Faults:
        """Return the lasting faults: blocks, and destinations without one whose alerts wait."""
        services = self._services()
        found = rules.lasting(standing, services, known, now, self._config.poll.trouble_after)
        blocked = {block.scope for block in standing}
        waiting, began = (
            troubles.oldest_waiting(self._state, now),
            now - self._config.poll.trouble_after,
        )
        # A message in doubt waits for a look; throttled looks are trouble of their own.
        held = {block.scope for block in standing if block.until > now}
        for scope, service in services.items():
            reasons = (blocked & {scope, Scope.SERVICE.of(service)}) | (
                held & {method_scope(service, "look")}
            )
            if self._has_waited(scope, waiting) and not reasons:
                found.setdefault(scope, ("its messages wait, and none has left for a while", began))
        return found

    def _has_waited(self, scope: str, waiting: Mapping[str, int]) -> bool:
        """Record the oldest waiting alert; return whether it has been the same for too long."""
        _, destination = split_scope(scope)
        oldest = waiting.get(destination)
        if oldest is None:
            self._waits.end([scope])
            return False
        return self._waits.record(scope, oldest) >= self._config.poll.trouble_after

    def _now(self) -> datetime:
        """Return now in whole milliseconds, as stored: it becomes part of the alert's key."""
        return from_ms(to_ms(self._clock.now()))

    def _is_over(self, trouble: Trouble, found: Collection[str], blocked: Collection[str]) -> bool:
        """Return whether the cause of a trouble has ended; False for kinds that `end` ends."""
        kind, name = split_scope(trouble.scope)
        if kind == Scope.MESSAGE:
            return not troubles.has_failures(self._state, name, trouble.since)
        if kind == Scope.METHOD:
            return trouble.scope not in found
        if kind == Scope.UNROUTED:
            return not rerouting.has_unrouted(self._state, name)
        is_blockable = kind in (Scope.DESTINATION, Scope.SERVICE, Scope.ADDRESSES)
        # A receiver is not reached either while its service refuses us, which is found alone then.
        service = Scope.SERVICE.of(self._services().get(trouble.scope, ""))
        return is_blockable and {trouble.scope, service}.isdisjoint({*found, *blocked})

    def _follow_up(self, trouble: Trouble, now: datetime) -> None:
        """Send a notification that had to wait; add recipients if all are unreachable."""
        if rules.is_to_be_notified(trouble, None, now, self._config.poll.trouble_after):
            troubles.put_trouble(self._state, self._notify(trouble, now))
        elif rules.is_recovery_due(trouble, now) or rules.is_forgotten(trouble, now):
            self._close(trouble, now)
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
        """Return the destinations that are in trouble, by themselves or with their service."""
        standing = {
            each.scope for each in troubles.get_troubles(self._state) if each.over_at is None
        }
        return {
            destination
            for destination, receiver in self._config.destinations().items()
            if standing & set(self._config.scopes(receiver, destination))
        }

    def _services(self) -> dict[str, str]:
        """Return the service of each destination, by the destination's scope."""
        return {
            Scope.DESTINATION.of(name): service for name, service in self._config.services().items()
        }

    def _notify(self, trouble: Trouble, now: datetime) -> Trouble:
        """Notify people that a fault began, within a transaction; return its record.

        Also those whom its last end has not reached yet: that would be the last that they get.
        """
        names = recipients_for(trouble.scope, self._config, self._unreachable())
        names += [
            destination
            for key, destination in troubles.unsent_recoveries(self._state)
            if scope_of(key) == trouble.scope
        ]
        names = list(dict.fromkeys(names))
        if not names:
            log.error("trouble without recipients: %s: %s", trouble.scope, trouble.reason)
        self._put_alert(AlertKind.TROUBLE, trouble, names)
        return replace(trouble, notified_at=now)

    def _close(self, trouble: Trouble, now: datetime) -> None:
        """Notify the recipients that a fault is over, if that is due, within a transaction."""
        notified = (
            troubles.trouble_recipients(self._state, _key(AlertKind.TROUBLE, trouble))
            if trouble.notified_at
            else {}
        )
        names = [name for name in self._config.destinations() if name in notified]
        if not names:
            trouble = replace(trouble, notified_at=None)
        elif rules.is_recovery_due(trouble, now):
            self._put_alert(AlertKind.RECOVERED, trouble, names)
            trouble = replace(trouble, notified_at=None, recovered_at=now)
        if rules.is_forgotten(trouble, now):
            troubles.delete_trouble(self._state, trouble.scope)
        else:
            troubles.put_trouble(self._state, trouble)

    def end_unknown(self, *, is_read: bool, others: Collection[str] = ()) -> None:
        """End trouble and blocks of what is not in this config.

        Also of a config that was refused, if this one `is_read` from its files; see `end_refused`.
        """
        with self._state.transaction(ALL_TROUBLE):
            scopes = {trouble.scope for trouble in troubles.get_troubles(self._state)}
            scopes |= {block.scope for block in blocks.get_blocks(self._state)}
            known = _known_names(self._config) | {Scope.CONFIG: others}
            over = []
            for scope in scopes:
                kind, name = split_scope(scope)
                if name not in known.get(kind, [name]) and (is_read or kind != Scope.CONFIG):
                    over.append(scope)
            blocks.lift_blocks(self._state, over)
            self.end(over)

    def end_refused(self, others: Collection[str] = ()) -> None:
        """End the trouble of refused configs, but for those of these workers of a cluster."""
        found = [trouble.scope for trouble in troubles.get_troubles(self._state)]
        self.end(
            scope
            for scope, (kind, name) in zip(found, map(split_scope, found), strict=True)
            if kind == Scope.CONFIG and name not in others
        )

    def update_templates(self, faults: Mapping[str, str | None]) -> None:
        """Begin and end the trouble of templates, by the fault of each that was rendered."""
        for name, fault in faults.items():
            if fault:
                self.begin(Scope.TEMPLATE.of(name), fault)
        self.end(Scope.TEMPLATE.of(name) for name, fault in faults.items() if not fault)

    def notify_recovered(
        self, scope: str, reason: str, since: datetime, destinations: Collection[str]
    ) -> None:
        """Notify destinations of the end of a fault that they were notified of directly."""
        with self._state.transaction(ALL_TROUBLE):
            self._put_alert(AlertKind.RECOVERED, Trouble(scope, since, reason), destinations)

    def _put_alert(self, kind: AlertKind, trouble: Trouble, names: Collection[str]) -> None:
        text, name = identify(trouble.scope, self._names_in(trouble.scope), self._config)
        detail = {
            "text": text,
            "name": name,
            "reason": trouble.reason,
            "since": trouble.since.isoformat(),
        }
        if kind is AlertKind.RECOVERED:
            detail["until"] = (trouble.over_at or self._now()).isoformat()
        alert = Alert(_key(kind, trouble), kind, detail=detail)
        new_alerts = NewAlert(alert, [(name, None) for name in names], Grouping.EACH)
        raised_alerts.raise_alerts(self._state, [new_alerts], self._clock.now())
        self._wake(names)

    def _names_in(self, scope: str) -> dict[str, str]:
        """Return the name of the site of a scope by its id, if it is one of a site.

        Of that site alone: there may be 100,000 of them, all in trouble at once.
        """
        _, site_id = split_scope(scope)
        configured = (site.name for site in self._config.sites if site.site_id == site_id)
        name = next(configured, None) or known_sites.site_name(self._state, site_id)
        return {site_id: name} if name else {}


def cancel_outdated(state: State) -> None:
    """Cancel failed messages that are not true any more, within a transaction.

    That is of trouble that is over, and of the end of trouble that people were notified of again.
    """
    standing = {
        each.scope: _key(AlertKind.TROUBLE, each)
        for each in troubles.get_troubles(state)
        if each.over_at is None and each.notified_at
    }
    outdated = [
        key for key in troubles.failed_keys(state) if _is_outdated(key, standing.get(scope_of(key)))
    ]
    troubles.cancel_failed(state, outdated)


def _is_outdated(key: str, standing: str | None) -> bool:
    """Return whether an alert is not true any more; `standing`: that of its scope's trouble now."""
    return standing is not None if key.startswith(AlertKind.RECOVERED) else key != standing


def _key(kind: AlertKind, trouble: Trouble) -> str:
    return f"{kind}:{trouble.scope}:{trouble.since.isoformat(timespec='milliseconds')}"


def scope_of(key: str) -> str:
    """Return the scope in the key of an alert of trouble.

    It stands between the kind and the moment, which has three colons.
    """
    return key.partition(":")[2].rsplit(":", 4)[0]


def _known_names(config: Config) -> dict[str, Collection[str]]:
    """Return what a config has of each kind of scope: sites, receivers and services."""
    site_ids = {site.site_id for site in config.sites}
    return {
        Scope.SOCKET: ["slack"] if config.slack and config.slack.app_token is not None else [],
        Scope.ACCOUNT: [account.account_id for account in config.accounts],
        Scope.SITE: site_ids,
        Scope.PRIVATE: site_ids,
        Scope.PRODUCTS: site_ids,
        Scope.UNROUTED: site_ids,
        Scope.DESTINATION: config.destinations(),
        Scope.MESSAGE: config.destinations(),
        Scope.ERASURE: config.destinations(),
        Scope.ADDRESSES: [receiver.name for receiver in config.receivers if receiver.email],
        Scope.SERVICE: [
            config.service(receiver, medium)
            for receiver in config.receivers
            for medium in receiver.media
        ],
    }
