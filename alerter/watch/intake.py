"""The one door: observed reviews → triage → routing → one transaction → wake the tellers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.counters import counts
from alerter.models import Alert, AlertKind, Closing, Event, Grouping, Known, Review, Status
from alerter.store import State, lifetime, reviews
from alerter.store.reviews import Raised, SiteState
from alerter.store.unrecorded import get_unrecorded, note_unrecorded
from alerter.watch.catalog import Catalog
from alerter.watch.routing import Route, hold, route, route_closing, route_reminder
from alerter.watch.triage import (
    Reason,
    Verdict,
    due_reminder,
    is_anonymized,
    is_behind,
    is_fresh,
    is_old_news,
    is_older,
    lacks_author,
    quietly,
    shows_the_same,
    triage,
    triage_gone,
    without_words,
)

Wake = Callable[[Iterable[str]], None]
_HIGHEST = 5
_AT_ONCE = 1000  # reviews of the past that one transaction tells of


@dataclass(slots=True)
class Changes:
    """What follows from what is seen of a site now, to be written in one transaction; then people are to be told.

    `before` is how far the site had been read until then, `as_of` the moment for which what is seen holds.
    """

    site: Site
    now: datetime
    before: SiteState
    as_of: datetime
    silent: bool = False
    records: list[Known] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    authorless: list[str] = field(default_factory=list)
    authored: list[str] = field(default_factory=list)
    about: list[Review] = field(default_factory=list)
    woken: set[str] = field(default_factory=set)


class Intake:
    """Takes in what was read of a site, whoever read it."""

    def __init__(self, state: State, config: Config, clock: Clock, catalog: Catalog, wake: Wake) -> None:
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
            for review in _newest(page):
                behind = review.id in last and is_behind(last[review.id], review, changes.as_of, changes.now)
                seen[Reason.STALE if behind else self._take_one(changes, review, known.get(review.id))] += 1
            self._write(changes)
            reviews.advance(self._state, site.site_id, checkpoint)
        _count(seen)
        await self.tell(site, changes)
        return seen

    def _begin(self, site: Site, asked_at: datetime | None = None) -> Changes:
        now = self._clock.now()
        return Changes(site, now, reviews.site_state(self._state, site.site_id), min(asked_at or now, now))

    def _take_one(self, changes: Changes, review: Review, known: Known | None, *, forget: bool = False) -> Reason:
        anonymized = forget or is_anonymized(known, review, changes.as_of, self._config.poll.rescan_every)
        lacking = lacks_author(known, review) and not anonymized
        if anonymized:
            review = without_words(review)
        elif known and lacking:
            review = replace(review, author=known.review.author, contact_id=known.review.contact_id)
        verdict = self._judge(changes, review, known)
        if known and verdict.reason is not Reason.STALE and lacking != bool(known.authorless_since):
            (changes.authorless if lacking else changes.authored).append(review.id)
        if verdict.status:
            self._follow_up(changes, verdict, known, _record(review, verdict, known, anonymized=anonymized))
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
                reviews.note_event(self._state, site.site_id, event.review_id, event.at, event.sequence)
        _count({reason: 1})
        return changes

    def _hear(self, changes: Changes, event: Event) -> Reason:
        known = reviews.known_reviews(self._state, changes.site.site_id, [event.review_id]).get(event.review_id)
        if known and is_old_news(known, event):
            if event.anonymized and not known.wordless:  # that holds however old it is
                self._take_one(changes, known.review, known, forget=True)
            return Reason.STALE
        if event.review is None:
            return self._note_gone(changes, event.review_id, known)
        last = None if known else get_unrecorded(self._state, changes.site.site_id, [event.review_id])
        if last and is_old_news(last[event.review_id], event):
            return Reason.STALE
        # Whether it is of the past says the read that comes first: one made since must not be taken for that.
        if self._judge(changes, event.review, known).reason is Reason.BASELINE:
            return Reason.BASELINE
        reason = self._take_one(changes, event.review, known, forget=event.anonymized)
        if reason is Reason.IGNORED:
            note_unrecorded(self._state, changes.site.site_id, event, changes.now)
        return reason

    async def take_gone(self, site: Site, ids: Sequence[str], *, asked_at: datetime | None = None) -> set[str]:
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
            for review_id, number in self.due_reminders(site).items():
                if review_id in wanted:
                    known = reviews.known_reviews(self._state, site.site_id, [review_id])[review_id]
                    changes.raised.append(self._reminder(site, known.review, number))
                    lifetime.reminded(self._state, site.site_id, review_id, number)
            self._write(changes)
        await self.tell(site, changes)

    def due_reminders(self, site: Site) -> dict[str, int]:
        """The open reviews of a site that a reminder is due of, with its number."""
        after, window = self._config.reminders.after, self._config.poll.rescan_window
        if not after:
            return {}
        now = self._clock.now()
        return {
            each.review_id: number
            for each in lifetime.unanswered(self._state, site.site_id, now)
            if (number := due_reminder(now - each.told_at, each.reminded, after, window))
        }

    async def tell_of_past(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        """Raise a `new` alert for each of these reviews that is worth telling of and has none yet.

        `ids` are what was just read of Wix: what is only on record may be gone there. Returns how many were told of.
        """
        starts = range(0, len(ids), _AT_ONCE)
        return sum([await self._tell_some(site, ids[start : start + _AT_ONCE], grouping) for start in starts])

    async def _tell_some(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        with self._state.transaction():
            changes = self._begin(site)
            past = reviews.untold(self._state, site.site_id, ids, self._config.threshold(site))
            for review in past:
                alert = _alert(AlertKind.NEW, site, review, {"backfill": True})
                # A person asked for it now, so it heeds no quiet hours.
                routes = route(review, site.name, self._config.receivers)
                changes.raised.append(Raised(alert, _times(routes), grouping))
            self._write(changes)
            reviews.follow(self._state, site.site_id, [review.id for review in past], changes.now)
        changes.about += past
        await self.tell(site, changes)
        return len(past)

    def _write(self, changes: Changes) -> None:
        site_id = changes.site.site_id
        reviews.put_reviews(self._state, site_id, changes.records, changes.as_of)
        reviews.raise_alerts(self._state, changes.raised, changes.now)
        lifetime.note_authors(self._state, site_id, changes.authorless, changes.authored, changes.as_of)
        if changes.erased:
            lifetime.erase(self._state, site_id, changes.erased)
        changes.woken |= {destination for each in changes.raised for destination, _ in each.routes}
        changes.woken |= lifetime.mark_stale(self._state, site_id, changes.stale)

    async def tell(self, site: Site, *recorded: Changes) -> None:
        """The alerts are safe; give what they are about a name, then wake the tellers."""
        if about := [review for changes in recorded for review in changes.about]:
            await self._catalog.learn(site, about)
        if woken := {destination for changes in recorded for destination in changes.woken}:
            self._wake(woken)
        if any(changes.erased for changes in recorded):
            self._state.scrub()

    def _note_gone(self, changes: Changes, review_id: str, known: Known | None) -> Reason:
        """Gather what follows from a review's end; one never seen is noted, as word of its beginning may still come."""
        if known is None:
            verdict = Verdict(Reason.GONE, Status.CLOSED, closing=Closing.GONE)
            record = _record(Review(review_id, _HIGHEST), verdict, None, anonymized=False)
            self._follow_up(changes, verdict, None, record)
        elif known.closing is not Closing.GONE:
            verdict = triage_gone(known)
            if changes.before.restored:
                verdict = quietly(verdict, known)
            record = _record(without_words(known.review), verdict, known, anonymized=known.anonymized)
            self._follow_up(changes, verdict, known, record)
        return Reason.GONE

    def _judge(self, changes: Changes, review: Review, known: Known | None) -> Verdict:
        before = changes.before
        silent = before.restored or (changes.silent and not (known and known.status is Status.OPEN))
        verdict = triage(
            known,
            review,
            threshold=self._config.threshold(changes.site),
            covered=review.rating <= before.covered_rating and not silent,
            checkpoint=before.checkpoint,
        )
        return quietly(verdict, known) if silent else verdict

    def _follow_up(self, changes: Changes, verdict: Verdict, known: Known | None, record: Known) -> None:
        """Gather what a verdict asks for."""
        review = record.review
        # What is seen for the first time was told to nobody.
        told = known is None or self._take_back(changes.site, review, verdict)
        raised = self._raise(changes, review, verdict)
        changes.raised += raised
        if raised and verdict.closing is not Closing.GONE:
            changes.about.append(review)
        changes.records.append(replace(record, alerted_at=_alerted_at(verdict, known, changes.now, told=told)))
        if known and not (record.closing is known.closing and shows_the_same(known.review, review)):
            changes.stale.append(review.id)
        if known and record.wordless and not known.wordless:
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

    def _raise(self, changes: Changes, review: Review, verdict: Verdict) -> list[Raised]:
        site = changes.site
        if verdict.alert is None:
            return []
        if verdict.reason is Reason.REOPENED:
            everybody = [Route(destination) for destination in self._config.destinations()]
            not_before = dict(self._held(everybody, review.rating))
            if names := reviews.revive(self._state, site.site_id, review.id, not_before):
                changes.woken.update(names)
                return []
        number = 0
        if verdict.alert is not AlertKind.NEW:
            number = 1 + reviews.count_alerts(self._state, site.site_id, review.id, verdict.alert)
        alert = _alert(verdict.alert, site, review, verdict.detail, number)
        if verdict.alert is AlertKind.CLOSED:
            told = lifetime.told(self._state, site.site_id, review.id)
            return [Raised(alert, self._held(route_closing(told, site.name, self._config.receivers), None))]
        return [Raised(alert, self._held(route(review, site.name, self._config.receivers), review.rating))]

    def _reminder(self, site: Site, review: Review, number: int) -> Raised:
        told = lifetime.told(self._state, site.site_id, review.id)
        last = number == len(self._config.reminders.after)
        routes = route_reminder(
            told, site.name, self._config.receivers, escalate_to=self._config.reminders.escalate_to if last else None
        )
        return Raised(_alert(AlertKind.REMINDER, site, review, {}, number), self._held(routes, review.rating))

    def _held(self, routes: Iterable[Route], rating: int | None) -> list[tuple[str, datetime | None]]:
        now, receivers = self._clock.now(), self._config.receivers
        return _times(hold(routes, rating, receivers, now, self._config.timezone))


def _count(seen: Mapping[Reason, int]) -> None:
    for reason, number in seen.items():
        counts[f"reviews_{reason.name.lower()}"] += number


def _times(routes: Iterable[Route]) -> list[tuple[str, datetime | None]]:
    return [(each.destination, each.due_at) for each in routes]


def _newest(page: Sequence[Review]) -> Iterable[Review]:
    """A page that shifted while it was read may hold a review twice; the newer one counts."""
    newest: dict[str, Review] = {}
    for review in page:
        if review.id not in newest or review.revision >= newest[review.id].revision:
            newest[review.id] = review
    return newest.values()


def _alert(kind: AlertKind, site: Site, review: Review, detail: Mapping[str, Any], number: int = 0) -> Alert:
    key = f"{kind}:{site.site_id}:{review.id}" + (f":{number}" if number else "")
    return Alert(key, kind, site.site_id, review.id, detail)


def _record(review: Review, verdict: Verdict, known: Known | None, *, anonymized: bool) -> Known:
    if known:  # one that came without its revision has not gone back to none
        review = replace(review, revision=max(review.revision, known.review.revision))
    return Known(review, verdict.status or Status.BASELINE, closing=verdict.closing, anonymized=anonymized)


def _alerted_at(verdict: Verdict, known: Known | None, now: datetime, *, told: bool) -> datetime | None:
    """When people were to hear of a review: first, or anew, where it was closed in between."""
    still_open = known and known.alerted_at and known.status is Status.OPEN
    if verdict.alert in (AlertKind.NEW, AlertKind.LOWERED) and not still_open:
        return now
    return known.alerted_at if known and told else None
