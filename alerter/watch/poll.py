"""Poll sites: read new reviews, rescan the recent past, and read what is due for a reminder."""

import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.config import Config, Limits, Site
from alerter.errors import WixError, WixUnavailable
from alerter.scopes import Scope
from alerter.store import State, blocks, known_sites, reviews, rounds
from alerter.store.judgements import Source
from alerter.store.known_sites import Coverage, SiteState
from alerter.store.reminders import ReminderSpans
from alerter.store.rounds import RoundStart
from alerter.text import counted
from alerter.watch.coverage import unread_past, wanted_coverage
from alerter.watch.intake import Intake
from alerter.watch.outcomes import Outcomes
from alerter.watch.reader import Reader
from alerter.watch.topics import topics_of
from alerter.watch.triage import LAST_ROUND, OVERLAP, Reason
from alerter.wix.client import PAGE_SIZE, Page, ReviewFilter, ReviewIds
from alerter.wix.waits import refuse_during_wait

log = logging.getLogger(__name__)

# Each review that is no longer followed is read again once in as many days.
_REVISIT_EVERY = timedelta(days=1)
_REVISIT_SHARES = 30

_MOST_LOOKS = 50  # calls of one round for missing reviews, each for one review

# What is not worth a line in the log.
_IDLE = {
    Reason.IGNORED,
    Reason.STALE,
    Reason.UNCHANGED,
    Reason.RECORDED,
    Reason.BASELINE,
    Reason.IMPORTED,
}


class Poller:
    """Polls sites, and records how that ends in `outcomes`.

    `page_at` is when the last page was read (monotonic).
    """

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        reader: Reader,
        intake: Intake,
        outcomes: Outcomes,
    ) -> None:
        self._state = state
        self._config = config
        self._topics = topics_of(config)
        self._clock = clock
        self._reader = reader
        self._intake = intake
        self.outcomes = outcomes
        window = config.poll.rescan_window + LAST_ROUND
        self._spans = ReminderSpans(config.reminders.after, window)
        self._missing: defaultdict[str, set[str]] = defaultdict(set)
        self.page_at = clock.monotonic()

    def due_rounds(
        self, shard: int, most: int, under_way: Collection[str] = ()
    ) -> dict[str, RoundStart]:
        """Return with what the due rounds of a shard begin, by site; see `rounds.due_rounds`."""
        now = self._clock.now()
        return rounds.due_rounds(self._state, shard, now, most, self._spans, under_way)

    async def round(self, site: Site) -> bool:
        """Poll a site once. Return whether that succeeded; a failure is logged and recorded."""
        return await self.read_site(site) and bool(await self.outcomes.record_success([site]))

    async def read_site(self, site: Site, start: RoundStart | None = None) -> bool:
        """Do what a round does, up to the record of its success; see `round`.

        `start`: what was read of the site right before.
        """
        now = self._clock.now()
        try:
            start = start or rounds.get_start(self._state, site.site_id, now, self._spans)
            if start.has_block and (block := blocks.get_block(self._state, [_scope(site)], now)):
                self.outcomes.note_blocked(site, block.reason)
                return False
            known = start.known
            if known.unverified:
                await self.verify(site)
            await self._read_new(site, known)
            await self._rescan(site, known)
            if start.has_due:
                await self._remind(site)
            await self._look_for_missing(site)
            self.outcomes.note_unread(site, known.last_success)
            if known.scrub_owed:
                self._state.scrub()
        except Exception as error:  # noqa: BLE001 - a defect fails one site, not the others
            await self.outcomes.record_failure(site, error)
            return False
        return True

    async def count(self, site: Site, since: datetime, until: datetime) -> int | None:
        """Return how many reviews a site got in a span; None where Wix does not count them now."""
        if blocks.is_blocked(self._state, _scope(site), self._clock.now()):
            return None
        try:
            return await self._reader.count(site, since, until)
        except WixError as error:
            log.info(
                'site "%s": reviews not counted, so the summary has no share: %s', site.name, error
            )
            if isinstance(error, WixUnavailable) and error.retry_after:
                self.outcomes.put_failure(site, error.text, error)
            return None

    async def _read_new(self, site: Site, known: SiteState) -> None:
        limits = self._config.limits(site)
        wanted = wanted_coverage(limits, self._topics)
        if known.restored:
            log.info(
                'site "%s": restored; reviews since the backup are recorded, not alerted', site.name
            )
        if known.coverage != wanted:
            await self._cover(site, known, wanted, limits)
        if known.covered_rating:
            since = known.checkpoint - OVERLAP if known.checkpoint else None
            wanted_now = ReviewFilter(wanted.rating, since=since)
            await self.read(site, wanted_now, source=Source.POLL, advance=True)

    async def _cover(self, site: Site, known: SiteState, wanted: Coverage, limits: Limits) -> None:
        """Record the past that was not watched so far, without alerts; close what no longer is."""
        now, covered = self._clock.now(), known.covered_rating
        if unread := unread_past(known, wanted, now - self._config.poll.rescan_window):
            # Only a read of all watched ratings may move the checkpoint.
            await self.read(site, unread, source=Source.POLL, advance=covered == 0, silently=True)
        if covered < wanted.rating or known.coverage.plain < wanted.plain:
            low, unanswered = reviews.low_rated_counts(self._state, site.site_id, limits)
            log.info(
                'site "%s": watching; low-rated=%d unanswered=%d; `alerter backfill` alerts these',
                site.name,
                low,
                unanswered,
            )
        else:
            await self._intake.record_page(
                site, reviews.open_reviews_above(self._state, site.site_id, limits.plain)
            )
        known_sites.record_coverage(
            self._state, site.site_id, wanted.rating, wanted.plain, wanted.lists
        )
        now = self._clock.now()
        since = None if covered else now - self._config.poll.rescan_window
        known_sites.mark_rescanned(self._state, site.site_id, now, since)

    async def read(
        self,
        site: Site,
        wanted: ReviewFilter | ReviewIds,
        *,
        source: Source = Source.RESCAN,
        advance: bool = False,
        silently: bool = False,
    ) -> set[str]:
        """Record every page of a query, each before the next is requested. Return the ids found.

        With `advance` each page moves the checkpoint; with `silently`, only open reviews raise
        alerts. Raise WixError and StateError; earlier pages stay recorded.
        """
        seen: Counter[Reason] = Counter()
        ids: set[str] = set()
        async for page in self._pages(site, wanted):
            checkpoint = page.newest if advance else None
            seen += await self._intake.record_page(
                site,
                page.reviews,
                source=source,
                checkpoint=checkpoint,
                asked_at=page.asked_at,
                silently=silently,
                more=page.more,
            )
            ids |= page.ids
            self.page_at = self._clock.monotonic()
        if imported := seen[Reason.IMPORTED]:
            what = counted(imported, "imported review")
            log.info('site "%s": %s recorded, not alerted', site.name, what)
        found = [
            f"{number} {reason.name.lower()}"
            for reason, number in seen.items()
            if reason not in _IDLE
        ]
        log.debug('site "%s": read; %s', site.name, ", ".join(found) or "idle")
        return ids

    async def _pages(self, site: Site, wanted: ReviewFilter | ReviewIds) -> AsyncIterator[Page]:
        """Yield the pages of a query, each unless Wix wants no calls about the site by then.

        The first page is the caller's to ask for: a round looks before its first query.
        """
        async for page in self._reader.pages(site, wanted):
            yield page
            if page.more:
                refuse_during_wait(self._state, site.site_id, self._clock.now())

    async def _rescan(self, site: Site, known: SiteState) -> None:
        """Read the recent past again where that is due: late reviews, and changes of followed ones.

        Wix cannot be asked what changed. Followed reviews outside the window are read by id. What a
        wider window adds is the past, and is recorded silently first.
        """
        now, limits = self._clock.now(), self._config.limits(site)
        last = known.rescanned_at
        if known.coverage != wanted_coverage(
            limits, self._topics
        ):  # what was read for it counts as a rescan
            last = known_sites.rescanned_at(self._state, site.site_id)
        if last and abs(now - last) < self._config.poll.rescan_every and not known.restored:
            return
        refuse_during_wait(self._state, site.site_id, now)
        since = now - self._config.poll.rescan_window
        covered_since = known_sites.rescanned_since(self._state, site.site_id)
        if covered_since and since < covered_since:
            await self.read(
                site,
                ReviewFilter(limits.with_topic, since=since, until=covered_since),
                silently=True,
            )
        found = await self.read(site, ReviewFilter(limits.with_topic, since=since))
        followed = reviews.followed_reviews(self._state, site.site_id, since, limits.plain)
        await self._read_again(
            site, [review_id for review_id in followed if review_id not in found]
        )
        known_sites.mark_rescanned(self._state, site.site_id, now, since)
        await self._revisit(site, now, since)

    async def _revisit(self, site: Site, now: datetime, since: datetime) -> None:
        """Read a share of the reviews no longer followed, once a day, to find deletions."""
        last = known_sites.revisited_at(self._state, site.site_id)
        if last and abs(now - last) < _REVISIT_EVERY:
            return
        ids: list[str] = []
        if last and self._reader.sees_private(site):
            share = -(
                -reviews.old_review_count(self._state, site.site_id, since) // _REVISIT_SHARES
            )
            ids = reviews.old_reviews(self._state, site.site_id, since, share)
            await self._read_again(site, ids)
        known_sites.mark_revisited(self._state, site.site_id, ids[-1] if ids else None, now)

    async def verify(self, site: Site) -> None:
        """Read each review whose text a restored backup holds, before any is sent or shown.

        Raise WixError and StateError; the next call continues where this one stopped.
        """
        while ids := reviews.unverified_reviews(self._state, site.site_id, PAGE_SIZE):
            await self._read_again(site, ids)
            while not self._missing[site.site_id].isdisjoint(ids):
                if not await self._look_for_missing(site):
                    return
            known_sites.mark_revisited(self._state, site.site_id, ids[-1], self._clock.now())
        known_sites.mark_verified(self._state, site.site_id)

    async def _remind(self, site: Site) -> None:
        """Raise due reminders, after reading their reviews again."""
        if due := self._intake.find_due_reminders(site):
            found = await self._read_again(site, list(due))
            await self._intake.remind(site, {each: due[each] for each in found})

    async def _read_again(self, site: Site, ids: Sequence[str]) -> set[str]:
        """Read reviews by id, and return those found; the others are missing."""
        found: set[str] = set()
        for start in range(0, len(ids), PAGE_SIZE):
            some = ids[start : start + PAGE_SIZE]
            refuse_during_wait(self._state, site.site_id, self._clock.now())
            found |= await self.read(site, ReviewIds(tuple(some)))
        self._missing[site.site_id] = (self._missing[site.site_id] | set(ids)) - found
        return found

    async def _look_for_missing(self, site: Site) -> bool:
        """Read missing reviews one by one, and record what is found and what is gone.

        A query that finds nothing may be wrong, and would close every followed review. Without
        permission to see unpublished reviews none counts as gone. Return whether any was decided.
        """
        missing = self._missing[site.site_id]
        before = len(missing)
        if not self._reader.sees_private(site):
            missing.clear()
        for review_id in sorted(missing)[:_MOST_LOOKS]:
            asked_at = self._clock.now()
            refuse_during_wait(self._state, site.site_id, asked_at)
            if page := await self._reader.look(site, review_id):
                await self._intake.record_page(site, page.reviews, asked_at=page.asked_at)
                missing.discard(review_id)
            elif not await self._intake.record_gone(site, [review_id], asked_at=asked_at):
                missing.discard(review_id)
        return len(missing) < before


def _scope(site: Site) -> str:
    return Scope.SITE.of(site.site_id)
