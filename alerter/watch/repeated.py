"""An intake that records what was judged before, at a time that is set."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.models import CloseReason, Review
from alerter.scopes import Scope
from alerter.store import State, reviews
from alerter.store.judgements import Judgement, SilentRead
from alerter.store.known_sites import SiteState
from alerter.watch.alerts import Changes
from alerter.watch.intake import Intake
from alerter.watch.judging import site_state_of


class Moment(Clock):
    """The time of what is repeated."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """Return the moment that was set last."""
        return self.moment


class _NoProducts:
    """Fetches no names: nobody reads what is repeated."""

    async def fetch_products(self, site: Site, reviews: Iterable[Review]) -> None:
        """Do nothing."""


class RepeatedIntake(Intake):
    """Records states that were judged before as if they came now."""

    def __init__(self, state: State, config: Config, clock: Clock) -> None:
        super().__init__(state, config, clock, _NoProducts(), lambda _: None)

    def judge_again(self, site: Site, page: Sequence[Judgement], now: datetime) -> None:
        """Record the states of a page, in one transaction as they were then."""
        limits = self._config.limits(site)
        changes = Changes(site, now, SiteState(), now, limits, source=page[0].source)
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            known = reviews.get_reviews(
                self._state, site.site_id, [each.record.review.id for each in page]
            )
            for judged in page:
                record, before = judged.record, known.get(judged.record.review.id)
                changes.before = site_state_of(judged)
                changes.silent = judged.silence is SilentRead.PAST
                if record.closing is CloseReason.GONE:
                    self._gather_gone(changes, record.review.id, before)
                else:
                    found = None if judged.has_words else record.review.topics
                    self._gather(
                        changes, record.review, before, anonymized=record.anonymized, topics=found
                    )
            self._write(changes)
