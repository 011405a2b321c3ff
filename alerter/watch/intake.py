"""The one door: observed reviews → triage → routing → one transaction → wake the tellers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.counters import counts
from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Event,
    Grouping,
    Medium,
    Review,
    Status,
    StoredReview,
    medium_of,
)
from alerter.store import State, lifetime, reminders, reviews
from alerter.store.reviews import NewAlert
from alerter.store.unrecorded import get_unrecorded, note_unrecorded
from alerter.watch.catalog import Catalog
from alerter.watch.changes import Changes, alert_of, alerted_at, newest, record_of
from alerter.watch.routing import Route, apply_quiet_hours, route, route_alerted, route_closing
from alerter.watch.triage import (
    ROUND_AT_LAST,
    Reason,
    Verdict,
    due_reminder,
    is_anonymized,
    is_behind,
    is_fresh,
    is_older,
    is_stale_event,
    lacks_author,
    looks_the_same,
    redact,
    triage,
    triage_gone,
    without_alert,
)

Wake = Callable[[Iterable[str]], None]
_HIGHEST = 5
_AT_ONCE = 1000  # reviews of the past that one transaction tells of


class Intake:
    """Takes in what was read of a site, whoever read it."""

    def __init__(
        self, state: State, config: Config, clock: Clock, catalog: Catalog, wake: Wake
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._catalog = catalog
        self._wake = wake

    async def take(
        self,
        site: Site,
        page: Sequence[Review],
        *,
        checkpoint: datetime | None = None,
        asked_at: datetime | None = None,
        silently: bool = False,
    ) -> Counter[Reason]:
        """Record a page of reviews, raise their alerts and move the checkpoint, in one transaction.

        Triage runs inside it, on the stored rows: a stale page, the same review twice or two processes change nothing.
        `asked_at` is when Wix was asked for the page (None: now); `silently`, what is not open yet raises no alert.
        """
        if not page and checkpoint is None:
            return Counter()
        seen: Counter[Reason] = Counter()
        with self._state.transaction():
            changes = self._begin(site, asked_at)
            changes.silent = silently
            ids = [review.id for review in page]
            known = reviews.known_reviews(self._state, site.site_id, ids)
            last = get_unrecorded(self._state, site.site_id, ids) | known
            for review in newest(page):
                behind = review.id in last and is_behind(
                    last[review.id], review, changes.as_of, changes.now
                )
                seen[
                    Reason.STALE
                    if behind
                    else self._take_one(changes, review, known.get(review.id))
                ] += 1
            self._write(changes)
            reviews.advance(self._state, site.site_id, checkpoint)
        _count(seen)
        await self.tell(site, changes)
        return seen

    def _begin(self, site: Site, asked_at: datetime | None = None) -> Changes:
        now = self._clock.now()
        return Changes(
            site, now, reviews.site_state(self._state, site.site_id), min(asked_at or now, now)
        )

    def _take_one(
        self, changes: Changes, review: Review, known: StoredReview | None, *, forget: bool = False
    ) -> Reason:
        anonymized = forget or is_anonymized(
            known, review, changes.as_of, self._config.poll.rescan_every
        )
        lacking = lacks_author(known, review) and not anonymized
        if anonymized:
            review = redact(review)
        elif known and lacking:
            review = replace(review, author=known.review.author, contact_id=known.review.contact_id)
        verdict = self._judge(changes, review, known)
        if known and verdict.reason is not Reason.STALE and lacking != bool(known.authorless_since):
            (changes.authorless if lacking else changes.authored).append(review.id)
        if verdict.status:
            self._follow_up(
                changes, verdict, known, record_of(review, verdict, known, anonymized=anonymized)
            )
        return verdict.reason

    def hear(self, site: Site, event: Event) -> Changes:
        """Record what a webhook says, in one transaction that is done when this returns; `tell` has to follow.

        Says nothing of how far the site has been read: rounds find what webhooks missed. Raises StateError.
        """
        with self._state.transaction():
            changes = self._begin(site)
            reason = self._hear(changes, event)
            self._write(changes)
            if reason is not Reason.STALE:
                reviews.note_event(
                    self._state, site.site_id, event.review_id, event.at, event.sequence
                )
        _count({reason: 1})
        return changes

    def _hear(self, changes: Changes, event: Event) -> Reason:
        known = reviews.known_reviews(self._state, changes.site.site_id, [event.review_id]).get(
            event.review_id
        )
        if known and is_stale_event(known, event):
            if event.anonymized and not known.redacted:  # that holds however old it is
                self._take_one(changes, known.review, known, forget=True)
            return Reason.STALE
        if event.review is None:
            return self._note_gone(changes, event.review_id, known)
        last = (
            None if known else get_unrecorded(self._state, changes.site.site_id, [event.review_id])
        )
        if last and is_stale_event(last[event.review_id], event):
            return Reason.STALE
        # Whether it is of the past says the read that comes first: one made since must not be taken for that.
        if self._judge(changes, event.review, known).reason is Reason.BASELINE:
            return Reason.BASELINE
        reason = self._take_one(changes, event.review, known, forget=event.anonymized)
        if reason is Reason.IGNORED:
            note_unrecorded(self._state, changes.site.site_id, event, changes.now)
        return reason

    async def record_gone(
        self, site: Site, ids: Sequence[str], *, asked_at: datetime | None = None
    ) -> set[str]:
        """Record that Wix does not have these reviews any more, and forget what they said.

        Returns the ids of those that were recorded less than five minutes ago: these are to be asked for again.
        """
        with self._state.transaction():
            changes = self._begin(site, asked_at)
            known = reviews.known_reviews(self._state, site.site_id, ids).values()
            fresh = {each.review.id for each in known if is_fresh(each, changes.now)}
            for each in known:
                if each.review.id not in fresh and not is_older(each, changes.as_of, changes.now):
                    self._note_gone(changes, each.review.id, each)
            self._write(changes)
        await self.tell(site, changes)
        return fresh

    async def remind(self, site: Site, ids: Iterable[str]) -> None:
        """Raise the reminders that are due of these reviews, where they are still open."""
        wanted = set(ids)
        with self._state.transaction():
            changes = self._begin(site)
            for review_id, due in self.due_reminders(site).items():
                if review_id in wanted:
                    review = reviews.known_reviews(self._state, site.site_id, [review_id])[
                        review_id
                    ].review
                    for span, destinations in due.items():
                        self._remind(changes, review, span, destinations)
            self._write(changes)
        await self.tell(site, changes)

    def due_reminders(self, site: Site) -> dict[str, dict[timedelta, list[str]]]:
        """The open reviews of a site that reminders are due of: of which spans, and for which destinations."""
        after, window, now = (
            self._config.reminders.after,
            self._config.poll.rescan_window,
            self._clock.now(),
        )
        due: dict[str, dict[timedelta, list[str]]] = {}
        if not after:
            return due
        reminders.correct_reminders(self._state, site.site_id, now)
        for each in reminders.get_reminders(
            self._state, site.site_id, now, after, window + ROUND_AT_LAST
        ):
            if span := due_reminder(now - each.since, each.reminded, after, window):
                due.setdefault(each.review_id, {}).setdefault(span, []).append(each.destination)
        return due

    def _remind(
        self, changes: Changes, review: Review, span: timedelta, destinations: list[str]
    ) -> None:
        """Raise the reminder of a span; the last one goes to `escalate_to` too, where that gets none of its own."""
        config, site, site_id = self._config, changes.site, changes.site.site_id
        escalated: list[str] = []
        if span == max(config.reminders.after) and config.reminders.escalate_to:
            counted = {
                each.destination
                for each in reminders.get_reminders_of(self._state, site_id, review.id)
            }
            everybody = (
                each for each in config.receivers if each.name == config.reminders.escalate_to
            )
            escalated = [
                name for each in everybody for name in each.destinations if name not in counted
            ]
            reminders.start_reminders(
                self._state, site_id, review.id, escalated, changes.now - span
            )
        destinations = [*destinations, *escalated]
        reminders.note_reminded(self._state, site_id, review.id, destinations, span)
        if routes := route_alerted(destinations, site.name, config.receivers):
            alert = self._reminder(site, review, {"after": span.total_seconds()})
            changes.new_alerts.append(NewAlert(alert, self._held(routes, review.rating)))

    def _reminder(self, site: Site, review: Review, detail: Mapping[str, Any]) -> Alert:
        number = 1 + reviews.count_alerts(self._state, site.site_id, review.id, AlertKind.REMINDER)
        key = f"{AlertKind.REMINDER}:{site.site_id}:{review.id}:{int(detail.get('after', 0))}:{number}"
        return Alert(key, AlertKind.REMINDER, site.site_id, review.id, detail)

    async def alert_past(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        """Raise a `new` alert for each of these reviews that is worth telling of and has none yet.

        `ids` are what was just read of Wix: what is only on record may be gone there. Returns how many were told of.
        """
        starts = range(0, len(ids), _AT_ONCE)
        return sum(
            [
                await self._alert_some(site, ids[start : start + _AT_ONCE], grouping)
                for start in starts
            ]
        )

    async def _alert_some(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        with self._state.transaction():
            changes = self._begin(site)
            past = reviews.unalerted(self._state, site.site_id, ids, self._config.threshold(site))
            for review in past:
                alert = alert_of(AlertKind.NEW, site, review, {"backfill": True})
                # A person asked for it now, so it heeds no quiet hours.
                routes = route(review, site.name, self._config.receivers)
                changes.new_alerts.append(NewAlert(alert, _times(routes), grouping))
            self._write(changes)
            reviews.follow(self._state, site.site_id, [review.id for review in past], changes.now)
        changes.about += past
        await self.tell(site, changes)
        return len(past)

    def _write(self, changes: Changes) -> None:
        site_id = changes.site.site_id
        reviews.put_reviews(self._state, site_id, changes.records, changes.as_of)
        reviews.raise_alerts(self._state, changes.new_alerts, changes.now)
        reminders.stop_reminders(self._state, site_id, changes.closed)
        for review_id, destinations in changes.reopened.items():
            reminders.start_reminders(self._state, site_id, review_id, destinations, changes.now)
        lifetime.note_authors(
            self._state, site_id, changes.authorless, changes.authored, changes.as_of
        )
        if changes.erased:
            lifetime.erase(self._state, site_id, changes.erased)
        changes.woken |= {
            destination for each in changes.new_alerts for destination, _ in each.routes
        }
        changes.woken |= lifetime.mark_stale(self._state, site_id, changes.stale)

    async def tell(self, site: Site, *recorded: Changes) -> None:
        """The alerts are safe; give what they are about a name, then wake the tellers."""
        if about := [review for changes in recorded for review in changes.about]:
            await self._catalog.fetch_products(site, about)
        if woken := {destination for changes in recorded for destination in changes.woken}:
            self._wake(woken)
        if any(changes.erased for changes in recorded):
            self._state.scrub()

    def _note_gone(self, changes: Changes, review_id: str, known: StoredReview | None) -> Reason:
        """Gather what follows from a review's end; one never seen is noted, as word of its beginning may still come."""
        if known is None:
            verdict = Verdict(Reason.GONE, Status.CLOSED, closing=CloseReason.GONE)
            record = record_of(Review(review_id, _HIGHEST), verdict, None, anonymized=False)
            self._follow_up(changes, verdict, None, record)
        elif known.closing is not CloseReason.GONE:
            verdict = triage_gone(known)
            if changes.before.may_be_known(known.review.created):
                verdict = without_alert(verdict, known)
            record = record_of(redact(known.review), verdict, known, anonymized=known.anonymized)
            self._follow_up(changes, verdict, known, record)
        return Reason.GONE

    def _judge(self, changes: Changes, review: Review, known: StoredReview | None) -> Verdict:
        before = changes.before
        silent = before.may_be_known(review.created)
        silent |= changes.silent and not (known and known.status is Status.OPEN)
        verdict = triage(
            known,
            review,
            threshold=self._config.threshold(changes.site),
            covered=review.rating <= before.covered_rating and not silent,
            checkpoint=before.checkpoint,
        )
        return without_alert(verdict, known) if silent else verdict

    def _follow_up(
        self, changes: Changes, verdict: Verdict, known: StoredReview | None, record: StoredReview
    ) -> None:
        """Gather what a verdict asks for."""
        review = record.review
        # What is seen for the first time was told to nobody.
        told = known is None or self._take_back(changes.site, review, verdict)
        new_alerts = self._raise(changes, review, verdict)
        changes.new_alerts += new_alerts
        if new_alerts and verdict.closing is not CloseReason.GONE:
            changes.about.append(review)
        changes.records.append(
            replace(record, alerted_at=alerted_at(verdict, known, changes.now, told=told))
        )
        if known and not (record.closing is known.closing and looks_the_same(known.review, review)):
            changes.stale.append(review.id)
        if known and known.status is Status.OPEN and record.status is not Status.OPEN:
            changes.closed.append(review.id)
        if known and record.redacted and not known.redacted:
            changes.erased.append(review.id)

    def _take_back(self, site: Site, review: Review, verdict: Verdict) -> bool:
        """Cancel what is unsent of a review that needs nobody any more; False where that means nobody was told.

        Of one that is open again, what would have said that it is closed.
        """
        if verdict.status is Status.CLOSED:
            return reviews.cancel_unsent(self._state, site.site_id, review.id)
        if verdict.status is Status.OPEN:
            reviews.cancel_closing(self._state, site.site_id, review.id)
        return True

    def _raise(self, changes: Changes, review: Review, verdict: Verdict) -> list[NewAlert]:
        site = changes.site
        if verdict.alert is None:
            return []
        if verdict.reason is Reason.REOPENED:
            return self._reopen(changes, review, verdict)
        number = 0
        if verdict.alert is not AlertKind.NEW:
            number = 1 + reviews.count_alerts(self._state, site.site_id, review.id, verdict.alert)
        alert = alert_of(verdict.alert, site, review, verdict.detail, number)
        if verdict.alert is AlertKind.CLOSED:
            told = lifetime.told(self._state, site.site_id, review.id)
            return [
                NewAlert(
                    alert, self._held(route_closing(told, site.name, self._config.receivers), None)
                )
            ]
        return [
            NewAlert(
                alert, self._held(route(review, site.name, self._config.receivers), review.rating)
            )
        ]

    def _reopen(self, changes: Changes, review: Review, verdict: Verdict) -> list[NewAlert]:
        """Ask again for a review that is open again: of each destination by what it was sent of it before.

        Slack shows it in the message that stands there, a mail reminds of it, and where the alert was never sent, it is
        sent now. What was sent of a review that was pruned nobody knows: everybody is reminded of it.
        """
        site, site_id, receivers = changes.site, changes.site.site_id, self._config.receivers
        fitting = route(review, site.name, receivers)
        first = reviews.first_alert(self._state, site_id, review.id)
        if first is None and verdict.alert is AlertKind.NEW:
            return [
                NewAlert(
                    alert_of(AlertKind.NEW, site, review, {}), self._held(fitting, review.rating)
                )
            ]
        again = fitting
        if first is not None:
            alerted = reviews.alerted_destinations(self._state, site_id, review.id)
            unsent = self._held(
                [each for each in fitting if each.destination not in alerted], review.rating
            )
            reviews.queue_alert(self._state, first, unsent)
            changes.woken |= {destination for destination, _ in unsent}
            sent = route_alerted(
                [each for each, is_sent in alerted.items() if is_sent], site.name, receivers
            )
            again = [each for each in sent if medium_of(each.destination) != Medium.SLACK]
            changes.reopened[review.id] = [
                each.destination for each in sent if medium_of(each.destination) == Medium.SLACK
            ]
        if not again:
            return []
        return [
            NewAlert(self._reminder(site, review, verdict.detail), self._held(again, review.rating))
        ]

    def _held(
        self, routes: Iterable[Route], rating: int | None
    ) -> list[tuple[str, datetime | None]]:
        now, receivers = self._clock.now(), self._config.receivers
        return _times(apply_quiet_hours(routes, rating, receivers, now, self._config.timezone))


def _count(seen: Mapping[Reason, int]) -> None:
    for reason, number in seen.items():
        counts[f"reviews_{reason.name.lower()}"] += number


def _times(routes: Iterable[Route]) -> list[tuple[str, datetime | None]]:
    return [(each.destination, each.due_at) for each in routes]
