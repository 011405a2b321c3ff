"""Record what was read of a site, with its alerts, in one transaction; then wake the workers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.counters import counts
from alerter.models import CloseReason, Event, Grouping, Review, Status, StoredReview
from alerter.scopes import Scope
from alerter.store import (
    State,
    Wake,
    actions,
    holds,
    judgements,
    known_sites,
    raised_alerts,
    reminders,
    reviews,
    stale_messages,
)
from alerter.store.judgements import Source
from alerter.watch.alerts import Alerts, Changes, DueReminders, log_alerts
from alerter.watch.catalog import ProductNames
from alerter.watch.cluster_alerts import ClusterAlerts
from alerter.watch.coverage import is_covered
from alerter.watch.judging import judged_past, judged_states
from alerter.watch.routing import keywords_of
from alerter.watch.topics import judged_topics, topics_of
from alerter.watch.triage import (
    Reason,
    Verdict,
    alerted_at,
    is_anonymized,
    is_behind,
    is_fresh,
    is_older,
    is_stale_event,
    is_tagged_anew,
    lacks_author,
    looks_the_same,
    newest_of,
    redact,
    rests_since,
    triage,
    triage_gone,
    with_revision,
    with_text_again,
    without_alert,
)

_HIGHEST = 5
_AT_ONCE = 1000  # reviews of a backfill in one transaction


class Intake:
    """Records reviews of polls, webhooks and backfills, and raises their alerts."""

    def __init__(
        self, state: State, config: Config, clock: Clock, catalog: ProductNames, wake: Wake
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._catalog = catalog
        self._wake = wake
        self._alerts = Alerts(state, config, clock)
        self._keywords = keywords_of(config.receivers)
        self._topics = topics_of(config)

    async def record_page(
        self,
        site: Site,
        page: Sequence[Review],
        *,
        source: Source = Source.RESCAN,
        checkpoint: datetime | None = None,
        asked_at: datetime | None = None,
        silently: bool = False,
        more: bool = False,
    ) -> Counter[Reason]:
        """Record a page of reviews, raise their alerts and move the checkpoint, in one transaction.

        Triage runs inside it, on the stored rows: a stale page, the same review twice or two
        processes change nothing. `asked_at` is when Wix was asked for the page (None: now), `more`
        says that another follows. With `silently`, only open reviews raise alerts. A backfill
        stores the text of a pruned baseline again. Return how many reviews had each reason.
        """
        seen: Counter[Reason] = Counter()
        if not page and checkpoint is None:
            return seen
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            changes = self._begin(site, source, asked_at)
            changes.silent, changes.more = silently, more
            ids = [review.id for review in page]
            known = reviews.get_reviews(self._state, site.site_id, ids)
            if source is Source.BACKFILL:
                known = {name: with_text_again(each) for name, each in known.items()}
            last = reviews.get_unrecorded(self._state, site.site_id, ids) | known
            for review in newest_of(page):
                stored, before = known.get(review.id), last.get(review.id)
                seen[self._gather_read(changes, review, stored, before)] += 1
            self._write(changes)
            known_sites.advance_checkpoint(self._state, site.site_id, checkpoint)
        _count(seen)
        await self.announce(site, changes)
        return seen

    def _begin(self, site: Site, source: Source, asked_at: datetime | None = None) -> Changes:
        now = self._clock.now()
        before = known_sites.get_site_state(self._state, site.site_id)
        limits = self._config.limits(site)
        return Changes(site, now, before, min(asked_at or now, now), limits, source=source)

    def record_event(self, site: Site, event: Event) -> Changes:
        """Record a webhook in one transaction, committed on return; `announce` must follow.

        The checkpoint stays: polls find what webhooks missed. Raise StateError.
        """
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            changes = self._begin(site, Source.WEBHOOK)
            reason = self._gather_event(changes, event)
            self._write(changes)
            if reason is not Reason.STALE:
                reviews.record_event(
                    self._state, site.site_id, event.review_id, event.at, event.sequence
                )
        _count({reason: 1})
        return changes

    def _gather_read(
        self,
        changes: Changes,
        review: Review,
        known: StoredReview | None,
        last: StoredReview | None,
    ) -> Reason:
        """Gather the changes of a review that was read. `last`: as last seen, stored or not."""
        if last and is_behind(last, review, changes.as_of, changes.now):
            return Reason.STALE
        reason = self._gather(changes, review, known)
        if reason is Reason.IGNORED and changes.source is Source.ACTION:
            seen = Event(review.id, review, changes.as_of)
            reviews.put_unrecorded(self._state, changes.site.site_id, seen, changes.now)
        return reason

    def _gather_event(self, changes: Changes, event: Event) -> Reason:
        site_id, review_id = changes.site.site_id, event.review_id
        known = reviews.get_reviews(self._state, site_id, [review_id]).get(review_id)
        if known and is_stale_event(known, event):
            if event.anonymized and not known.redacted:  # true however old the event is
                self._gather(changes, known.review, known, anonymized=True)
            return Reason.STALE
        if event.review is None:
            return self._gather_gone(changes, review_id, known)
        last = None if known else reviews.get_unrecorded(self._state, site_id, [review_id])
        if last and is_stale_event(last[review_id], event):
            return Reason.STALE
        reason = self._gather(
            changes, event.review, known, anonymized=event.anonymized, from_event=True
        )
        if reason is Reason.IGNORED:
            reviews.put_unrecorded(self._state, site_id, event, changes.now)
        return reason

    async def record_gone(
        self, site: Site, ids: Sequence[str], *, asked_at: datetime | None = None
    ) -> set[str]:
        """Record that Wix does not have these reviews any more, and erase their text.

        Return the ids that were recorded less than five minutes ago: Wix is to be asked for these
        again.
        """
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            changes = self._begin(site, Source.RESCAN, asked_at)
            known = reviews.get_reviews(self._state, site.site_id, ids).values()
            fresh = {each.review.id for each in known if is_fresh(each, changes.now)}
            for each in known:
                if each.review.id not in fresh and not is_older(each, changes.as_of, changes.now):
                    self._gather_gone(changes, each.review.id, each)
            self._write(changes)
        await self.announce(site, changes)
        return fresh

    def find_due_reminders(self, site: Site) -> DueReminders:
        """Return the due reminders of a site; end the claims whose time is over."""
        now = self._clock.now()
        held = holds.correct_holds(self._state, site.site_id, now)
        if any(each.is_claim and each.until <= now for each in held):
            with self._state.transaction(Scope.SITE.of(site.site_id)):
                over = holds.end_claims(self._state, site.site_id, now)
                woken = stale_messages.mark_stale(self._state, site.site_id, over)
            self._wake(woken)
        return self._alerts.find_due_reminders(site, held)

    async def remind(self, site: Site, due: DueReminders) -> None:
        """Raise reminders of reviews that were just read, and may be closed now."""
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            changes = self._begin(site, Source.RESCAN)
            known = reviews.get_reviews(self._state, site.site_id, sorted(due))
            for review_id, record in known.items():
                for span, destinations in due[review_id].items():
                    changes.new_alerts += self._alerts.remind(
                        changes, record.review, span, destinations
                    )
                changes.ratings[review_id] = record.review.rating
            self._write(changes)
        await self.announce(site, changes)

    async def alert_past(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        """Raise a `new` alert for each low-rated, unanswered review that has none yet.

        `ids` were just read from Wix; other recorded reviews may be gone there. Return the number
        of alerts.
        """
        number = 0
        for start in range(0, len(ids), _AT_ONCE):
            with self._state.transaction(Scope.SITE.of(site.site_id)):
                changes = self._begin(site, Source.PAST)
                some = ids[start : start + _AT_ONCE]
                past = reviews.unalerted_reviews(self._state, site.site_id, some, changes.limits)
                changes.new_alerts += [
                    self._alerts.raise_for_past(changes, review, grouping) for review in past
                ]
                changes.judged += judged_past(changes, past)
                self._write(changes)
                followed = [review.id for review in past]
                reviews.mark_open(self._state, site.site_id, followed, changes.now)
            changes.about += past
            changes.ratings |= {review.id: review.rating for review in past}
            await self.announce(site, changes)
            number += len(past)
        return number

    async def announce(self, site: Site, *recorded: Changes) -> None:
        """Log new alerts, fetch the names of their products, then wake their destinations' workers.

        Raise StateError where erased text cannot be overwritten yet.
        """
        for changes in recorded:
            log_alerts(site, changes)
        if about := [review for changes in recorded for review in changes.about]:
            await self._catalog.fetch_products(site, about)
        if woken := {destination for changes in recorded for destination in changes.woken}:
            self._wake(woken)
        if any(changes.erased for changes in recorded):
            self._state.scrub()

    def _write(self, changes: Changes) -> None:
        site_id = changes.site.site_id
        reviews.put_reviews(self._state, site_id, changes.records, changes.as_of)
        judgements.put_judgements(self._state, changes.judged)
        reviews.set_topics(self._state, site_id, changes.topics)
        raised_alerts.raise_alerts(self._state, changes.new_alerts, changes.now)
        reminders.stop_reminders(self._state, site_id, changes.closed)
        if changes.closed:
            actions.end_holds(self._state, site_id, changes.closed, changes.now)
        for review_id, destinations in changes.reopened.items():
            reminders.start_reminders(self._state, site_id, review_id, destinations, changes.now)
        reviews.record_authors(
            self._state, site_id, changes.authorless, changes.authored, changes.as_of
        )
        if changes.erased:
            stale_messages.erase_earlier_text(self._state, site_id, changes.erased)
        if erased := [*changes.erased, *changes.gone_unseen]:
            actions.erase_replies(self._state, site_id, erased, changes.now)
        ClusterAlerts(self._state, self._config, self._alerts).raise_for(changes)
        changes.woken.update(name for each in changes.new_alerts for name, _ in each.routes)
        changes.woken |= stale_messages.mark_stale(self._state, site_id, changes.stale)

    def _gather(
        self,
        changes: Changes,
        review: Review,
        known: StoredReview | None,
        *,
        anonymized: bool = False,
        from_event: bool = False,
        topics: tuple[str, ...] | None = None,
    ) -> Reason:
        """Gather the changes of one review, and return why it was treated so.

        `topics`: those that were found before its words were lost.
        """
        again = self._config.poll.rescan_every
        anonymized = anonymized or is_anonymized(known, review, changes.as_of, again)
        lacking = lacks_author(known, review) and not anonymized
        if anonymized:
            review = redact(review)
        elif known and lacking:
            review = replace(review, author=known.review.author, contact_id=known.review.contact_id)
        if topics is None:
            topics = judged_topics(
                self._topics, review, known, changes.limits, anonymized=anonymized
            )
        if topics != review.topics:
            review = replace(review, topics=topics)
        verdict = self._triage(changes, review, known)
        if from_event and verdict.reason is Reason.BASELINE:
            # The first read of the site decides what its past is; a newer review is none of it.
            return Reason.BASELINE
        if known and verdict.reason is not Reason.STALE and lacking != bool(known.authorless_since):
            (changes.authorless if lacking else changes.authored).append(review.id)
        if verdict.status:
            self._gather_verdict(changes, verdict, known, review, anonymized=anonymized)
        elif known and is_tagged_anew(verdict, known, review):
            changes.topics[review.id] = review.topics
        return verdict.reason

    def _gather_gone(self, changes: Changes, review_id: str, known: StoredReview | None) -> Reason:
        """Gather the changes of a deleted review; an unknown one is recorded too.

        A webhook of its creation may come later.
        """
        if known is None:
            verdict = Verdict(Reason.GONE, Status.CLOSED, closing=CloseReason.GONE)
            self._gather_verdict(changes, verdict, None, Review(review_id, _HIGHEST))
            changes.gone_unseen.append(review_id)
        elif known.closing is not CloseReason.GONE:
            verdict = triage_gone(known)
            if changes.before.may_be_known(known.review.created):
                verdict = without_alert(verdict, known)
            review = redact(known.review)
            self._gather_verdict(changes, verdict, known, review, anonymized=known.anonymized)
        return Reason.GONE

    def _triage(self, changes: Changes, review: Review, known: StoredReview | None) -> Verdict:
        before = changes.before
        silent = before.may_be_known(review.created)
        silent |= changes.silent and not (known and known.status is Status.OPEN)
        verdict = triage(
            known,
            review,
            threshold=changes.limits.of(review.topics),
            covered=not silent and self._is_covered(changes, review),
            checkpoint=before.checkpoint,
        )
        return without_alert(verdict, known) if silent else verdict

    def _is_covered(self, changes: Changes, review: Review) -> bool:
        return is_covered(review, changes.before, changes.limits, self._topics)

    def _gather_verdict(
        self,
        changes: Changes,
        verdict: Verdict,
        known: StoredReview | None,
        review: Review,
        *,
        anonymized: bool = False,
    ) -> None:
        """Gather the changes of a verdict about a review."""
        review = with_revision(review, known)
        # No one was notified of a review that is seen for the first time.
        was_notified = known is None or self._cancel_unsent(changes.site, review, verdict)
        new_alerts = self._alerts.raise_for(changes, review, verdict)
        changes.new_alerts += new_alerts
        changes.ratings[review.id] = review.rating
        if new_alerts and verdict.closing is not CloseReason.GONE:
            changes.about.append(review)
        window = self._config.poll.rescan_window
        record = StoredReview(
            review,
            verdict.status or Status.BASELINE,
            alerted_at(verdict, known, changes.now, was_notified=was_notified),
            verdict.closing,
            anonymized=anonymized,
            as_of=rests_since(verdict, known, review, changes.as_of, window),
        )
        changes.records.append(record)
        changes.judged += judged_states(
            changes, known, record, self._keywords, is_covered=self._is_covered(changes, review)
        )
        if known and not (record.closing is known.closing and looks_the_same(known.review, review)):
            changes.stale.append(review.id)
        if known and known.status is Status.OPEN and record.status is not Status.OPEN:
            changes.closed.append(review.id)
        if known and record.redacted and not known.redacted:
            changes.erased.append(review.id)

    def _cancel_unsent(self, site: Site, review: Review, verdict: Verdict) -> bool:
        """Cancel unsent alerts of a closed review, or the unsent closing of one that is open again.

        Return False where no one was notified of the closed review.
        """
        if verdict.status is Status.CLOSED:
            return raised_alerts.cancel_unsent(self._state, site.site_id, review.id)
        if verdict.status is Status.OPEN:
            raised_alerts.cancel_closing(self._state, site.site_id, review.id)
        return True


def _count(seen: Mapping[Reason, int]) -> None:
    for reason, number in seen.items():
        counts[f"reviews_{reason.name.lower()}"] += number
