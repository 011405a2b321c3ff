"""Repeat the recorded past with a config: by the same triage, routing, quiet hours and reminders.

It happens in a database in memory, which begins with what was on record at a moment.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import heappop, heappush
from itertools import count
from typing import Any

from alerter.config import Config
from alerter.models import AlertKind, Form, Grouping, Receipt, Status
from alerter.scopes import Scope
from alerter.store import State, clusters, messages, outbox, raised_alerts, reminders, reviews
from alerter.store.holds import hold_back_reminders
from alerter.store.judgements import Judgement, Source
from alerter.store.recorded import (
    RecordedAlert,
    RecordedDelivery,
    RecordedHold,
    alert_ids,
    put_holds,
    recorded_alerts,
    waiting_deliveries,
)
from alerter.watch.alerts import AFTER_SNOOZE
from alerter.watch.past import RecordedPast, ReviewKey
from alerter.watch.reminders_then import RecordedReminders, reminders_then
from alerter.watch.repeated import Moment, RepeatedIntake

# What happens at one moment comes in this order: a round reads before it reminds.
_JUDGED, _HELD, _ROUND = range(3)


async def replay(
    past: RecordedPast,
    config: Config,
    since: datetime,
    until: datetime,
    advance: Callable[[], object] = lambda: None,
) -> list[RecordedAlert]:
    """Return the alerts that a config would have raised, had it come into force at `since`.

    `advance` is called after each state of a review.
    """
    with State.in_memory(config.database) as state:
        return await _Replay(state, past, config, since, until, advance).run()


class _Replay:
    """One repetition: what is still to happen, soonest first, and what became of it on record."""

    def __init__(
        self,
        state: State,
        past: RecordedPast,
        config: Config,
        since: datetime,
        until: datetime,
        advance: Callable[[], object],
    ) -> None:
        self._state = state
        self._past = past
        self._config = config
        self._since = since
        self._until = until
        self._advance = advance
        self._clock = Moment(since)
        self._sites = {site.site_id: site for site in config.sites}
        self._intake = RepeatedIntake(state, config, self._clock)
        self._events: list[tuple[datetime, int, int, Any]] = []
        self._order = count()
        self._rounds: set[tuple[datetime, ReviewKey]] = set()
        self._uids = count()
        self._fates = {
            (recorded.alert.key, each.destination): each
            for recorded in past.alerts
            for each in recorded.deliveries.values()
            if not each.is_withdrawn
        }
        # When deliveries leave, soonest first; some that were cancelled since are still here.
        self._departures: list[tuple[datetime, ReviewKey]] = []
        self._reminders = RecordedReminders(past, config.reminders.after)

    async def run(self) -> list[RecordedAlert]:
        """Repeat everything, and return the alerts that were raised since the start."""
        self._begin()
        while self._events and self._events[0][0] <= self._until:
            at = self._events[0][0]
            if self._send(at):  # it may have started reminders that are due sooner
                continue
            _, rank, _, event = heappop(self._events)
            self._clock.moment = at
            if rank == _JUDGED:
                await self._judge([event, *self._others_of_page(at, event)])
            elif rank == _HELD:
                self._hold(event)
            else:
                await self._remind(event)
        self._send(self._until)
        found = recorded_alerts(self._state, list(self._sites))
        return [each for each in found if each.raised_at >= self._since]

    # What is to happen

    def _begin(self) -> None:
        """Put what was on record at the start in place, and gather all that happened since."""
        known: dict[ReviewKey, Judgement] = {}
        for key, states in self._past.states.items():
            if key[0] not in self._sites:  # the config does not have it
                continue
            before = self._gather(states)
            # A cluster is judged by all that its product got before.
            has_part = self._config.alerts.cluster or before[-1:] != states[-1:]
            if before and (has_part or _is_open(before[-1])):
                known[key] = before[-1]
        with self._state.transaction(*{Scope.SITE.of(site_id) for site_id, _ in known}):
            for (site_id, _), judged in known.items():
                reviews.put_reviews(self._state, site_id, [judged.record], self._since)
        self._repeat_alerts(known)
        for hold in self._past.holds:
            self._gather_hold(hold)
        for recorded in self._past.alerts:
            if recorded.alert.kind is AlertKind.REMINDER:
                self._plan_round(_key(recorded), recorded.raised_at)
        self._close_above(known)

    def _gather(self, states: list[Judgement]) -> list[Judgement]:
        """Gather the states of a review since the start; return those before it."""
        before, at = [], states[0].judged_at
        for each in states:
            at = max(at, each.judged_at)  # our clock may have been set back
            if at < self._since:
                before.append(each)
            else:
                self._plan(at, _JUDGED, each)
        return before

    def _plan(self, at: datetime, rank: int, event: Any) -> None:
        heappush(self._events, (at, rank, next(self._order), event))

    def _gather_hold(self, hold: RecordedHold) -> None:
        begun = replace(hold, ended_at=None)
        self._plan(max(hold.at, self._since), _HELD, begun)
        if hold.ended_at:
            self._plan(max(hold.ended_at, self._since), _HELD, hold)

    def _plan_round(self, key: ReviewKey, at: datetime) -> None:
        if at >= self._since and (at, key) not in self._rounds:
            self._rounds.add((at, key))
            self._plan(at, _ROUND, key)

    def _plan_next_round(self, key: ReviewKey, due: datetime) -> None:
        """Plan the round after a moment: at the latest, or once its site was read again."""
        spans = self._past.unread.get(key[0], ())
        over = next((until for since, until in spans if since <= due < until), None)
        self._plan_round(key, over or due + self._config.poll.every)

    def _plan_reminders(self, key: ReviewKey) -> None:
        for each in reminders.get_reminders_of(self._state, *key):
            for span in self._config.reminders.after:
                if span > each.reminded:
                    self._plan_next_round(key, each.since + span)

    # What was on record at the start

    def _repeat_alerts(self, known: dict[ReviewKey, Judgement]) -> None:
        """Raise and send what was raised and sent before the start, about these reviews."""
        before: dict[ReviewKey, list[RecordedAlert]] = {key: [] for key in known}
        for each in self._past.alerts:
            if each.raised_at >= self._since:
                continue
            if each.alert.kind is AlertKind.CLUSTER:
                self._raise_cluster_again(each, known)
            elif _key(each) in known:
                before[_key(each)].append(each)
                self._raise_again(each, known[_key(each)])
        for key in before:
            self._look_ahead(key)
        self._send(self._since)
        for key, judged in known.items():
            if _is_open(judged):
                self._restart_reminders(key, judged, before[key])

    def _raise_again(self, recorded: RecordedAlert, judged: Judgement) -> None:
        """Raise an alert that was, with the deliveries that were not cancelled by the start."""
        alerted_at = judged.record.alerted_at
        stands = _is_open(judged) and alerted_at and recorded.raised_at >= alerted_at
        routes = [
            (each.destination, each.at)
            for each in recorded.deliveries.values()
            if not each.is_cancelled or (stands and not each.is_withdrawn)
        ]
        with self._state.transaction():
            again = raised_alerts.NewAlert(recorded.alert, routes)
            raised_alerts.raise_alerts(self._state, [again], recorded.raised_at)

    def _raise_cluster_again(
        self, recorded: RecordedAlert, known: dict[ReviewKey, Judgement]
    ) -> None:
        """Raise a cluster that was, so that later reviews join it."""
        site_id, _ = _key(recorded)
        members = [each for each in recorded.reviews if (site_id, each) in known]
        with self._state.transaction():
            again = raised_alerts.NewAlert(recorded.alert, ())
            raised_alerts.raise_alerts(self._state, [again], recorded.raised_at)
            [number] = alert_ids(self._state, [recorded.alert.key])
            clusters.add_reviews(self._state, number, site_id, members)

    def _restart_reminders(
        self, key: ReviewKey, judged: Judgement, alerts: list[RecordedAlert]
    ) -> None:
        site_id, review_id = key
        after = self._config.reminders.after
        with self._state.transaction(Scope.SITE.of(site_id)):
            reminders.stop_reminders(self._state, site_id, [review_id])
            for destination, (start, reminded) in reminders_then(
                alerts, judged.record.alerted_at or judged.judged_at, self._since, after
            ).items():
                reminders.start_reminders(
                    self._state, site_id, review_id, [destination], start, reminded=reminded
                )
        self._plan_reminders(key)

    def _close_above(self, known: dict[ReviewKey, Judgement]) -> None:
        """Close what the config's thresholds leave out, as the daemon does once they change."""
        for site in self._sites.values():
            threshold = self._config.threshold(site)
            for review in reviews.open_reviews_above(self._state, site.site_id, threshold):
                before = known[site.site_id, review.id]
                again = replace(before, covered=True, silence=None)
                self._intake.judge_again(site, [again], self._since)

    # What happens

    def _others_of_page(self, at: datetime, first: Judgement) -> Iterator[Judgement]:
        """Take and yield what was judged at the same moment, of other reviews in the same read."""
        ids = {first.record.review.id}
        while self._events and self._events[0][:2] == (at, _JUDGED):
            judged = self._events[0][-1]
            same = (judged.site_id, judged.source) == (first.site_id, first.source)
            if not same or judged.record.review.id in ids:
                return
            ids.add(judged.record.review.id)
            yield heappop(self._events)[-1]

    async def _judge(self, page: Sequence[Judgement]) -> None:
        site, source = self._sites[page[0].site_id], page[0].source
        ids = [each.record.review.id for each in page]
        if source is Source.PAST:
            await self._intake.alert_past(site, ids, Grouping.DIGEST)
        elif source is Source.RECORD:  # what it was before it was pruned
            with self._state.transaction(Scope.SITE.of(site.site_id)):
                records = [each.record for each in page]
                reviews.put_reviews(self._state, site.site_id, records, page[0].judged_at)
        else:
            self._intake.judge_again(site, page, self._clock.moment)
        if self._config.alerts.cluster:
            self._look_ahead((site.site_id, ""))
        for review_id in ids:
            self._look_ahead((site.site_id, review_id))
            self._plan_reminders((site.site_id, review_id))
            self._advance()

    def _hold(self, hold: RecordedHold) -> None:
        with self._state.transaction(Scope.SITE.of(hold.site_id)):
            if hold.ended_at is None:
                hold_back_reminders(self._state, hold.site_id, hold.review_id)
            put_holds(self._state, [hold])
        self._plan_next_round((hold.site_id, hold.review_id), hold.ended_at or hold.until)

    async def _remind(self, key: ReviewKey) -> None:
        """Remind of a review, but no one who was reminded by a later round on record."""
        (site_id, review_id), now = key, self._clock.moment
        since = {
            each.destination: each.since for each in reminders.get_reminders_of(self._state, *key)
        }
        due = self._intake.find_due_reminders(self._sites[site_id]).get(review_id, {})
        spans = {
            span: [
                each
                for each in its
                if not self._reminders.is_later(key, each, since[each], span, now)
            ]
            for span, its in due.items()
        }
        if now < self._reminded_at(key, now):
            spans.pop(AFTER_SNOOZE, None)
        if spans:
            await self._intake.remind(self._sites[site_id], {review_id: spans})
            self._look_ahead(key)
            self._plan_reminders(key)

    def _reminded_at(self, key: ReviewKey, now: datetime) -> datetime:
        """Return when the reminder of a review's snooze came on record; `now` for none."""
        snoozes = [
            each
            for each in self._past.holds
            if (each.site_id, each.review_id) == key and each.kind == "snooze" and each.at <= now
        ]
        return (snoozes[-1].reminded_at if snoozes else None) or now

    # What is sent

    def _look_ahead(self, review: ReviewKey) -> None:
        """Note when the deliveries of a review leave."""
        for *_, at in self._leaving(review):
            heappush(self._departures, (at, review))

    def _leaving(
        self, review: ReviewKey
    ) -> list[tuple[str, str, RecordedDelivery | None, datetime]]:
        """Return what of a review leaves sometime, where to, what is on record of it, and when."""
        found = []
        for key, destination, due in waiting_deliveries(self._state, *review):
            fate = self._fates.get((key, destination))
            if at := _leaves_at(due, fate):
                found.append((key, destination, fate, at))
        return found

    def _send(self, until: datetime) -> bool:
        """Send what leaves until a moment; return whether there was anything."""
        about: set[ReviewKey] = set()
        while self._departures and self._departures[0][0] <= until:
            about.add(heappop(self._departures)[1])
        groups: dict[tuple[datetime, str, int], list[tuple[str, ReviewKey]]] = defaultdict(list)
        forms: dict[tuple[datetime, str, int], Form] = {}
        for review in sorted(about):
            for key, destination, fate, at in self._leaving(review):
                if at <= until:
                    message = fate.message if fate and fate.message else 0
                    together = (at, destination, message)
                    groups[together].append((key, review))
                    if fate and message:
                        forms[together] = fate.form
        for together, members in sorted(groups.items()):
            at, destination, _ = together
            is_digest = len(members) > self._config.alerts.burst
            form = forms.get(together) or (Form.DIGEST if is_digest else Form.ALERT)
            self._send_message(at, destination, form, members)
        for review in about:
            self._look_ahead(review)
        return bool(about)

    def _send_message(
        self, at: datetime, destination: str, form: Form, members: list[tuple[str, ReviewKey]]
    ) -> None:
        """Send some alerts as one digest, or each by itself."""
        if form is Form.ALERT and len(members) > 1:
            for each in members:
                self._send_message(at, destination, form, [each])
            return
        ids = alert_ids(self._state, [key for key, _ in members])
        message = outbox.claim(self._state, destination, form, ids, str(next(self._uids)), at)
        if message:
            messages.mark_sent(self._state, message, Receipt(""))
        for _, review in members:
            self._plan_reminders(review)


def _leaves_at(due: datetime, fate: RecordedDelivery | None) -> datetime | None:
    """Return when a delivery leaves that is due at a moment; None where it never does.

    What was sent late on record is late again; what was not sent then is not sent now.
    """
    if fate is None:
        return due
    if fate.sent_at is None:
        return None if due == fate.at else due
    return max(due, due + (fate.sent_at - fate.at))


def _key(recorded: RecordedAlert) -> ReviewKey:
    return recorded.alert.site_id or "", recorded.alert.review_id or ""


def _is_open(judged: Judgement) -> bool:
    return judged.record.status is Status.OPEN
