"""The changes of a read or a webhook, and the alerts that they raise for which destinations."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Limits, Receiver, Site
from alerter.models import (
    Alert,
    AlertKind,
    Grouping,
    Medium,
    Review,
    StoredReview,
    medium_of,
)
from alerter.store import State, holds, raised_alerts, reminders, stale_messages
from alerter.store.holds import Hold
from alerter.store.judgements import Judgement, Source
from alerter.store.known_sites import SiteState
from alerter.store.raised_alerts import NewAlert
from alerter.watch.routing import (
    Route,
    apply_quiet_hours,
    covers,
    route,
    route_alerted,
    route_closing,
    route_cluster,
)
from alerter.watch.triage import (
    LAST_ROUND,
    Reason,
    Verdict,
    due_reminder,
    ended_snoozes,
    is_first_low,
)

log = logging.getLogger(__name__)

# The destinations of due reminders, by review id and span.
DueReminders = dict[str, dict[timedelta, list[str]]]
# The span of the reminder that follows a snooze; it goes to each destination that was alerted.
AFTER_SNOOZE = timedelta()


@dataclass(slots=True)
class Changes:
    """Changes of one site, to be written in one transaction; then `woken` is woken.

    `before` is how far the site had been read, `as_of` the time for which the read holds. `judged`
    are the states of `records` for `alerter replay`. `about` are the reviews whose products need
    names, `ratings` those of alerted reviews by id, `topics` those that changed of unchanged
    reviews, `woken` the destinations with new deliveries. `low_rated` are the reviews that may
    begin or join a cluster, `more` says that another page of the same read follows, and `clusters`
    are new alerts of them. `receivers`: those of the site, once they are needed.
    """

    site: Site
    now: datetime
    before: SiteState
    as_of: datetime
    limits: Limits
    silent: bool = False
    source: Source = Source.POLL
    records: list[StoredReview] = field(default_factory=list)
    judged: list[Judgement] = field(default_factory=list)
    new_alerts: list[NewAlert] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    gone_unseen: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    reopened: dict[str, list[str]] = field(default_factory=dict)
    topics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    authorless: list[str] = field(default_factory=list)
    authored: list[str] = field(default_factory=list)
    about: list[Review] = field(default_factory=list)
    ratings: dict[str, int] = field(default_factory=dict)
    woken: set[str] = field(default_factory=set)
    low_rated: list[Review] = field(default_factory=list)
    more: bool = False
    clusters: list[Alert] = field(default_factory=list)
    receivers: list[Receiver] | None = None


class Alerts:
    """Builds the alerts of reviews, within the transaction that writes them."""

    def __init__(self, state: State, config: Config, clock: Clock) -> None:
        self._state = state
        self._config = config
        self._clock = clock

    def raise_for(self, changes: Changes, review: Review, verdict: Verdict) -> list[NewAlert]:
        """Return the alert of a verdict with its destinations; empty where it raises none."""
        site = changes.site
        if is_first_low(verdict) and changes.source is not Source.BACKFILL:
            changes.low_rated.append(review)
        if verdict.alert is None:
            return []
        if verdict.reason is Reason.REOPENED:
            return self._reopen(changes, review, verdict)
        number = 0
        if verdict.alert is not AlertKind.NEW:
            number = 1 + raised_alerts.count_alerts(
                self._state, site.site_id, review.id, verdict.alert
            )
        alert = _alert_of(verdict.alert, site, review, verdict.detail, number)
        if verdict.alert is AlertKind.CLOSED:
            alerted = stale_messages.alerted_forms(self._state, site.site_id, review.id)
            routes = route_closing(alerted, site.name, self._receivers(changes))
            return [NewAlert(alert, self._held(changes, routes, None))]
        routes = route(review, site.name, self._receivers(changes))
        return [NewAlert(alert, self._held(changes, routes, review.rating))]

    def route_cluster(
        self, changes: Changes, members: Sequence[Review]
    ) -> list[tuple[str, datetime | None]]:
        """Return the destinations of a cluster; it is urgent if one of its reviews is."""
        routes = route_cluster(members, changes.site.name, self._receivers(changes))
        return self._held(changes, routes, min((each.rating for each in members), default=None))

    def _reopen(self, changes: Changes, review: Review, verdict: Verdict) -> list[NewAlert]:
        """Alert a review that is open again, each destination by what it was sent before.

        Slack's message is updated, a mail is followed by a reminder, and an alert that was not sent
        is queued again. Of a pruned review nothing is known: each destination gets a reminder.
        """
        site, site_id, receivers = changes.site, changes.site.site_id, self._receivers(changes)
        fitting = route(review, site.name, receivers)
        first = raised_alerts.first_alert(self._state, site_id, review.id)
        if first is None and verdict.alert is AlertKind.NEW:
            alert = _alert_of(AlertKind.NEW, site, review, {})
            return [NewAlert(alert, self._held(changes, fitting, review.rating))]
        again = fitting
        if first is not None:
            alerted = raised_alerts.alerted_destinations(self._state, site_id, review.id)
            unsent = [each for each in fitting if each.destination not in alerted]
            queued = self._held(changes, unsent, review.rating)
            raised_alerts.queue_alert(self._state, first, queued)
            changes.woken |= {destination for destination, _ in queued}
            names = [destination for destination, is_sent in alerted.items() if is_sent]
            sent = [each.destination for each in route_alerted(names, site.name, receivers)]
            changes.reopened[review.id] = [each for each in sent if medium_of(each) == Medium.SLACK]
            again = [Route(each) for each in sent if medium_of(each) != Medium.SLACK]
        if not again:
            return []
        reminder = self._reminder(site, review, verdict.detail)
        return [NewAlert(reminder, self._held(changes, again, review.rating))]

    def raise_for_past(self, changes: Changes, review: Review, grouping: Grouping) -> NewAlert:
        """Return the `new` alert of a backfill; a person asked for it, so no quiet hours apply."""
        alert = _alert_of(AlertKind.NEW, changes.site, review, {"backfill": True})
        routes = route(review, changes.site.name, self._receivers(changes))
        return NewAlert(alert, _times(routes), grouping)

    def find_due_reminders(self, site: Site, held: Sequence[Hold]) -> DueReminders:
        """Return the due reminders of a site; restart those that a wrong clock started too late.

        `held`: the claims and snoozes of its reviews.
        """
        after, window = self._config.reminders.after, self._config.poll.rescan_window
        now = self._clock.now()
        due: DueReminders = {
            review_id: {AFTER_SNOOZE: []} for review_id in ended_snoozes(held, now)
        }
        if not after:
            return due
        reminders.correct_reminders(self._state, site.site_id, now)
        running = reminders.get_reminders(
            self._state, site.site_id, now, after, window + LAST_ROUND
        )
        for each in running:
            if span := due_reminder(now - each.since, each.reminded, after, window):
                due.setdefault(each.review_id, {}).setdefault(span, []).append(each.destination)
        return due

    def remind(
        self, changes: Changes, review: Review, span: timedelta, destinations: list[str]
    ) -> list[NewAlert]:
        """Record and return the reminder of a span for the destinations where it is still due.

        The last one goes to `escalate_to` as well.
        """
        if span == AFTER_SNOOZE:
            return self._remind_after_snooze(changes, review)
        site, site_id = changes.site, changes.site.site_id
        reminded = reminders.claim_reminders(
            self._state, site_id, review.id, destinations, span, changes.now
        )
        if reminded and span == max(self._config.reminders.after):
            reminded += self._escalate(site_id, review.id, changes.now)
        routes = route_alerted(reminded, site.name, self._receivers(changes))
        if not routes:
            return []
        alert = self._reminder(site, review, {"after": span.total_seconds()})
        return [NewAlert(alert, self._held(changes, routes, review.rating))]

    def _remind_after_snooze(self, changes: Changes, review: Review) -> list[NewAlert]:
        """Record and return the one reminder that follows a snooze.

        It stands for those that fell due meanwhile, the last one for `escalate_to` as well.
        """
        site, site_id, now = changes.site, changes.site.site_id, changes.now
        if not holds.end_snooze(self._state, site_id, review.id, now):
            return []
        changes.stale.append(review.id)
        running = reminders.get_reminders_of(self._state, site_id, review.id)
        alerted = raised_alerts.alerted_destinations(self._state, site_id, review.id)
        names = {name for name, is_sent in alerted.items() if is_sent}
        names |= {each.destination for each in running}
        last = max(self._config.reminders.after, default=None)
        if last and any(each.reminded < last <= now - each.since for each in running):
            names |= set(self._escalate(site_id, review.id, now))
        for span in self._config.reminders.after:
            reminders.pass_reminders(self._state, site_id, review.id, span, now)
        routes = route_alerted(names, site.name, self._receivers(changes))
        if not routes:
            return []
        alert = self._reminder(site, review, {"snoozed": True})
        return [NewAlert(alert, self._held(changes, routes, review.rating))]

    def _escalate(self, site_id: str, review_id: str, now: datetime) -> list[str]:
        """Record that `escalate_to` gets the last reminder; return its destinations."""
        span = max(self._config.reminders.after)
        escalated = self._escalated(site_id, review_id)
        reminders.start_reminders(
            self._state, site_id, review_id, escalated, now - span, reminded=span
        )
        return escalated

    def _escalated(self, site_id: str, review_id: str) -> list[str]:
        """Return the destinations of `escalate_to` that get no reminders of their own.

        Where the alert itself still waits, its own reminders follow once it was sent.
        """
        own = {
            each.destination for each in reminders.get_reminders_of(self._state, site_id, review_id)
        }
        alerted = raised_alerts.alerted_destinations(self._state, site_id, review_id)
        own |= {destination for destination, is_sent in alerted.items() if not is_sent}
        return [
            destination
            for each in self._config.receivers
            if each.name == self._config.reminders.escalate_to
            for destination in each.destinations
            if destination not in own
        ]

    def _reminder(self, site: Site, review: Review, detail: Mapping[str, Any]) -> Alert:
        number = 1 + raised_alerts.count_alerts(
            self._state, site.site_id, review.id, AlertKind.REMINDER
        )
        span = int(detail.get("after", 0))
        key = f"{AlertKind.REMINDER}:{site.site_id}:{review.id}:{span}:{number}"
        return Alert(key, AlertKind.REMINDER, site.site_id, review.id, detail)

    def _receivers(self, changes: Changes) -> list[Receiver]:
        """Return the receivers of the site, which are looked for once for all of its reviews."""
        if changes.receivers is None:
            name = changes.site.name
            changes.receivers = [each for each in self._config.receivers if covers(each, name)]
        return changes.receivers

    def _held(
        self, changes: Changes, routes: Iterable[Route], rating: int | None
    ) -> list[tuple[str, datetime | None]]:
        now, receivers = self._clock.now(), self._receivers(changes)
        return _times(apply_quiet_hours(routes, rating, receivers, now, self._config.timezone))


def _times(routes: Iterable[Route]) -> list[tuple[str, datetime | None]]:
    return [(each.destination, each.due_at) for each in routes]


def _alert_of(
    kind: AlertKind, site: Site, review: Review, detail: Mapping[str, Any], number: int = 0
) -> Alert:
    """Return an alert about a review; `number` distinguishes later ones of a kind."""
    key = f"{kind}:{site.site_id}:{review.id}" + (f":{number}" if number else "")
    return Alert(key, kind, site.site_id, review.id, detail)


def log_alerts(site: Site, changes: Changes) -> None:
    """Log each alert that was raised."""
    for alert in (each.alert for each in changes.new_alerts):
        log.info(
            'site "%s": alert raised: kind=%s stars=%d review=%s',
            site.name,
            alert.kind,
            changes.ratings[alert.review_id or ""],
            alert.review_id,
        )
    for alert in changes.clusters:
        log.info(
            'site "%s": alert raised: kind=%s reviews=%d',
            site.name,
            alert.kind,
            alert.detail["number"],
        )
