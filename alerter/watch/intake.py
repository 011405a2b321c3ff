"""The one door: observed reviews → triage → routing → one transaction → wake the tellers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.models import Alert, AlertKind, Grouping, Known, Review, Status
from alerter.store import State, reviews
from alerter.store.reviews import Raised, SiteState
from alerter.watch.catalog import Catalog
from alerter.watch.routing import route
from alerter.watch.triage import Reason, Verdict, triage

Wake = Callable[[Iterable[str]], None]
_AT_ONCE = 1000  # reviews of the past that one transaction tells of


class Intake:
    """Takes in what was read of a site, whoever read it."""

    def __init__(self, state: State, config: Config, clock: Clock, catalog: Catalog, wake: Wake) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._catalog = catalog
        self._wake = wake

    async def take(self, site: Site, page: Sequence[Review], *, checkpoint: datetime | None = None) -> Counter[Reason]:
        """Record a page of reviews, raise their alerts and move the checkpoint, in one transaction.

        Triage runs inside it, on the stored rows: a stale page, the same review twice or two processes change nothing.
        """
        now = self._clock.now()
        seen: Counter[Reason] = Counter()
        with self._state.transaction():
            before = reviews.site_state(self._state, site.site_id)
            known = reviews.known_reviews(self._state, site.site_id, (review.id for review in page))
            records: list[Known] = []
            raised: list[Raised] = []
            for review in _newest(page):
                verdict = self._judge(site, review, known.get(review.id), before)
                seen[verdict.reason] += 1
                if verdict.status is None:
                    continue
                told = self._take_back(site, review, verdict)
                raised += self._raise(site, review, verdict)
                records.append(_record(review, verdict, known.get(review.id), now, told=told))
            reviews.put_reviews(self._state, site.site_id, records, now)
            reviews.raise_alerts(self._state, raised, now)
            reviews.advance(self._state, site.site_id, checkpoint)
        await self._told(site, raised, page)
        return seen

    async def tell_of_past(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        """Raise a `new` alert for each of these reviews that is worth telling of and has none yet.

        `ids` are what was just read of Wix: what is only on record may be gone there. Returns how many were told of.
        """
        return sum([await self._tell_some(site, some, grouping) for some in _batched(ids, _AT_ONCE)])

    async def _tell_some(self, site: Site, ids: Sequence[str], grouping: Grouping) -> int:
        now = self._clock.now()
        with self._state.transaction():
            past = reviews.untold(self._state, site.site_id, ids, self._config.threshold(site))
            raised = [
                Raised(
                    _alert(AlertKind.NEW, site, review, {"backfill": True}),
                    self._routes(AlertKind.NEW, review, site),
                    grouping,
                )
                for review in past
            ]
            reviews.raise_alerts(self._state, raised, now)
            reviews.follow(self._state, site.site_id, [review.id for review in past], now)
        await self._told(site, raised, past)
        return len(past)

    async def _told(self, site: Site, raised: Sequence[Raised], page: Sequence[Review]) -> None:
        """The alerts are safe; give what they are about a name, then wake the tellers."""
        if raised:
            ids = {each.alert.review_id for each in raised}
            await self._catalog.learn(site, [review for review in page if review.id in ids])
            self._wake({receiver for each in raised for receiver, _ in each.routes})

    def _judge(self, site: Site, review: Review, known: Known | None, before: SiteState) -> Verdict:
        return triage(
            known,
            review,
            threshold=self._config.threshold(site),
            covered=review.rating <= before.covered_rating,
            checkpoint=before.checkpoint,
        )

    def _take_back(self, site: Site, review: Review, verdict: Verdict) -> bool:
        """Cancel what is unsent of a review that needs nobody any more; False where that means nobody was told."""
        return verdict.status is not Status.CLOSED or reviews.cancel_unsent(self._state, site.site_id, review.id)

    def _raise(self, site: Site, review: Review, verdict: Verdict) -> list[Raised]:
        if verdict.alert is None:
            return []
        if verdict.reason is Reason.REOPENED and (names := reviews.revive(self._state, site.site_id, review.id)):
            self._wake(names)
            return []
        number = 0
        if verdict.alert is not AlertKind.NEW:
            number = 1 + reviews.count_alerts(self._state, site.site_id, review.id, verdict.alert)
        alert = _alert(verdict.alert, site, review, verdict.detail, number)
        return [Raised(alert, self._routes(verdict.alert, review, site))]

    def _routes(self, kind: AlertKind, review: Review, site: Site) -> list[tuple[str, datetime | None]]:
        return [(each.receiver, each.due_at) for each in route(kind, review, site.name, self._config.receivers)]


def _newest(page: Sequence[Review]) -> Iterable[Review]:
    """A page that shifted while it was read may hold a review twice; the newer one counts."""
    newest: dict[str, Review] = {}
    for review in page:
        if review.id not in newest or review.revision >= newest[review.id].revision:
            newest[review.id] = review
    return newest.values()


def _batched(ids: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _alert(kind: AlertKind, site: Site, review: Review, detail: Mapping[str, Any], number: int = 0) -> Alert:
    key = f"{kind}:{site.site_id}:{review.id}" + (f":{number}" if number else "")
    return Alert(key, kind, site.site_id, review.id, detail)


def _record(review: Review, verdict: Verdict, known: Known | None, now: datetime, *, told: bool) -> Known:
    alerted_at = known.alerted_at if known and told else None
    if alerted_at is None and verdict.alert in (AlertKind.NEW, AlertKind.LOWERED):
        alerted_at = now
    if known:  # one that came without its revision has not gone back to none
        review = replace(review, revision=max(review.revision, known.review.revision))
    return Known(review, verdict.status or Status.BASELINE, alerted_at)
