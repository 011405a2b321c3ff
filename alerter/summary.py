"""Summaries: alerts about a day or a week once it is over."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from alerter.clock import Clock
from alerter.config import Config, Receiver, Site, Summary
from alerter.config.fields import TimeOfWeek
from alerter.errors import StateError
from alerter.models import Alert, AlertKind, Grouping
from alerter.scopes import Scope
from alerter.store import State, known_sites, raised_alerts, summaries, troubles
from alerter.store.raised_alerts import NewAlert
from alerter.store.summaries import LowRated
from alerter.text import counted

log = logging.getLogger(__name__)

# Returns the number of reviews of any rating of a site in a span; None if Wix does not say.
Count = Callable[[Site, datetime, datetime], Awaitable[int | None]]

_WEEK = timedelta(days=7)
_OFTEN = 3  # low-rated reviews of a product in a week
_MOST_OPEN = 20  # as many as a person would read; the others are counted only


@dataclass(frozen=True, slots=True)
class Period:
    """The span of one summary, and its name."""

    name: str
    since: datetime
    until: datetime


def last_period(at: TimeOfWeek, now: datetime, timezone: tzinfo) -> Period:
    """Return the newest period that is over, in local time. Pure.

    A local time that does not exist (spring) counts as an hour later; of one that exists twice
    (autumn) the first counts.
    """
    today = now.astimezone(timezone).date()
    days = (today - timedelta(days=back) for back in range(15))
    over = [
        (moment, day)
        for day in days
        if at.weekday in (None, day.weekday())
        and (moment := datetime.combine(day, at.time, timezone).astimezone(UTC)) <= now
    ]
    (until, day), (since, _) = over[:2]
    year, week, _ = day.isocalendar()
    name = day.isoformat() if at.weekday is None else f"{year}-W{week:02}"
    return Period(name, since, until)


def figures(
    low: Sequence[LowRated],
    week: Sequence[LowRated],
    still_open: Sequence[LowRated],
    total: int | None,
) -> dict[str, Any]:
    """Return the figures of one site, as the detail of the alert holds them. Pure.

    `low`: reviews created in the period. `week`: those of the seven days before its end. `total`:
    how many reviews of any rating the period has, if Wix says so.
    """
    waits = sorted(
        max((each.answered_at - each.created).total_seconds(), 0)
        for each in low
        if each.answered and each.answered_at
    )
    return {
        **count_ratings(low, total),
        "products": _products(low),
        "often": [product for product in _products(week) if product["number"] >= _OFTEN],
        "answered": sum(each.answered for each in low),
        "waits": waits,
        "open": [
            {
                "rating": each.rating,
                "created": each.created.isoformat(),
                "claimed_by": each.claimed_by,
                **_what(each),
            }
            for each in still_open[:_MOST_OPEN]
        ],
        "open_number": len(still_open),
    }


def count_ratings(low: Sequence[LowRated], total: int | None) -> dict[str, Any]:
    """Return how many reviews a site had in a period: of each low rating, and topic. Pure."""
    by_rating = sorted(Counter(each.rating for each in low).items())
    by_topic = sorted(Counter(topic for each in low for topic in each.topics).items())
    return {
        "total": total,
        "stars": {str(rating): number for rating, number in by_rating},
        "topics": dict(by_topic),
    }


def _products(low: Iterable[LowRated]) -> list[dict[str, Any]]:
    """Return the reviewed products, those with the most reviews first."""
    groups: dict[str | None, list[LowRated]] = {}
    for each in low:
        groups.setdefault(each.entity_id, []).append(each)
    found = [{**_what(its[0]), "number": len(its)} for its in groups.values()]
    return sorted(found, key=lambda product: (-product["number"], product["what"], product["id"]))


def _what(each: LowRated) -> dict[str, str | None]:
    """Return the name of what was reviewed (empty if unknown), its id and its page."""
    name = each.product.name or ""
    return {"what": name, "id": each.entity_id or "", "url": each.product.url}


class Summaries:
    """Alerts receivers of the summaries that are due."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        count: Count,
        wake: Callable[[Iterable[str]], None],
        state_failed: Callable[[StateError], Awaitable[None]],
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._count = count
        self._wake = wake
        self._state_failed = state_failed

    async def round(self) -> None:
        """Raise the alert of every summary that is due; of several missed ones the newest."""
        try:
            for summary in self._config.summaries:
                if period := self._due_period(summary):
                    await self._raise(summary, period)
        except StateError as error:
            await self._state_failed(error)

    def _due_period(self, summary: Summary) -> Period | None:
        """Return the period that is over and not reported yet, once all sites were read since."""
        now = self._clock.now()
        reported_until = summaries.start_summary(self._state, summary.name, str(summary.at), now)
        period = last_period(summary.at, now, self._config.timezone)
        if period.until <= reported_until:
            return None
        # A site in trouble is not waited for.
        for site in self._sites(summary):
            if not self._is_read(site, period) and not self._is_in_trouble(site):
                return None
        return period

    def _is_read(self, site: Site, period: Period) -> bool:
        last = known_sites.get_site_state(self._state, site.site_id).last_success
        return last is not None and last >= period.until

    def _is_in_trouble(self, site: Site) -> bool:
        return any(
            trouble.scope == Scope.SITE.of(site.site_id)
            for trouble in troubles.get_open_troubles(self._state)
        )

    async def _raise(self, summary: Summary, period: Period) -> None:
        sites = self._sites(summary)
        before = period.since - (period.until - period.since)
        totals = await asyncio.gather(
            *(self._count(site, period.since, period.until) for site in sites),
            *(self._count(site, before, period.since) for site in sites),
        )
        receivers = self._receivers(summary)
        with self._state.transaction():
            found = {
                site.site_id: self._figures(site, period, total)
                | {
                    "before": count_ratings(
                        self._low_rated(site, before, period.since), total_before
                    )
                }
                for site, total, total_before in zip(
                    sites, totals[: len(sites)], totals[len(sites) :], strict=True
                )
            }
            local = period.until.astimezone(self._config.timezone)
            key = f"{AlertKind.SUMMARY}:{summary.name}:{local:%Y-%m-%dT%H:%M}"
            alert = Alert(key, AlertKind.SUMMARY, detail=self._detail(summary, period, found))
            routes = [(each, None) for receiver in receivers for each in receiver.destinations]
            new_alerts = raised_alerts.raise_alerts(
                self._state, [NewAlert(alert, routes, Grouping.EACH)], self._clock.now()
            )
            summaries.mark_summary_sent(self._state, summary.name, period.until)
        # None is new if the same local time was already reported in another timezone.
        if new_alerts:
            log.info(
                'summary "%s" of %s: queued for %s',
                summary.name,
                period.name,
                counted(len(receivers), "receiver"),
            )
            self._wake(destination for destination, _ in routes)

    def _figures(self, site: Site, period: Period, total: int | None) -> dict[str, Any]:
        now, site_id = self._clock.now(), site.site_id
        followed_since = now - self._config.poll.rescan_window
        found = figures(
            self._low_rated(site, period.since, period.until),
            self._low_rated(site, period.until - _WEEK, period.until),
            summaries.followed_open_reviews(self._state, site_id, followed_since, now),
            total,
        )
        answers = summaries.answers_by_person(self._state, site_id, period.since, period.until)
        return found | {"answers": answers, "unread": not self._is_read(site, period)}

    def _low_rated(self, site: Site, since: datetime, until: datetime) -> list[LowRated]:
        limits = self._config.limits(site)
        return summaries.low_rated_between(self._state, site.site_id, since, until, limits)

    def _detail(self, summary: Summary, period: Period, found: dict[str, Any]) -> dict[str, Any]:
        """Return the detail of the alert: figures of each site, and the sites of each receiver."""
        ids = {site.name: site.site_id for site in self._config.sites}
        return {
            "name": summary.name,
            "since": period.since.isoformat(),
            "until": period.until.isoformat(),
            "receivers": {
                receiver.name: [site_id for name, site_id in ids.items() if receiver.covers(name)]
                for receiver in self._receivers(summary)
            },
            "sites": found,
        }

    def _receivers(self, summary: Summary) -> list[Receiver]:
        return [
            receiver for receiver in self._config.receivers if receiver.name in summary.receivers
        ]

    def _sites(self, summary: Summary) -> list[Site]:
        names = {
            name
            for receiver in self._receivers(summary)
            for name in self._config.sites_of(receiver)
        }
        return [site for site in self._config.sites if site.name in names]
