"""What `alerter status` shows: sites, open reviews, deliveries and trouble, as they stand."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from alerter.actions import NO_RESPONSE, Response
from alerter.commands.terminal import words_for
from alerter.config import Config, Site
from alerter.models import medium_of, receiver_of
from alerter.scopes import Scope, split_scope
from alerter.store import State, actions, blocks, report, stale_messages, troubles
from alerter.store.blocks import Block
from alerter.store.cluster import ClusterReport, get_cluster
from alerter.store.report import OpenReview, SiteReport
from alerter.store.troubles import Trouble

# So many open reviews are listed, and the others counted.
_MOST_OPEN = 20
# Characters of an id that are shown: enough among millions of GUIDs.
_SHORT_ID = 8


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """A site: when it was last read, and its trouble, if any."""

    name: str
    site_id: str
    last_success: datetime | None
    open_reviews: int
    published_only: bool
    trouble: str | None


@dataclass(frozen=True, slots=True)
class OpenReviewStatus:
    """An open review, the shortest name that it has here, and who was sent its alert.

    `response`: what people do about it at present.
    """

    site: str
    review: OpenReview
    short_id: str
    receivers: list[str]
    response: Response


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything that `status` shows. Deliveries are counted by status.

    `timezone`: that of the moments that people are shown. `cluster`: None for a state file.
    """

    sites: list[SiteStatus]
    deliveries: dict[str, int]
    receivers: dict[str, dict[str, int]]
    open_reviews: list[OpenReviewStatus]
    oldest_pending: datetime | None
    troubles: list[Trouble]
    parked: list[Block]
    timezone: tzinfo
    cluster: ClusterReport | None

    @property
    def more_open_reviews(self) -> int:
        """Return the number of open reviews that are not listed."""
        return sum(site.open_reviews for site in self.sites) - len(self.open_reviews)

    @property
    def needs_a_person(self) -> bool:
        """Return whether there is trouble or a failed delivery; open reviews do not count."""
        return bool(
            self.troubles
            or self.parked
            or self.deliveries["failed"]
            or any(site.trouble for site in self.sites)
        )


def get_status(
    config: Config, state: State, now: datetime, *, newest: bool = False
) -> StatusReport:
    """Read the status, with the oldest or the newest open reviews."""
    reports = report.site_reports(state)
    current = troubles.get_open_troubles(state)
    reasons = {trouble.scope: trouble.reason for trouble in current}
    counted = report.delivery_counts(state)
    oldest = report.oldest_pending(state)
    names = config.site_names
    # One poll may fail, however rare polls are.
    patience = max(config.poll.trouble_after, 2 * config.poll.every)
    return StatusReport(
        sites=[
            _site_status(
                site,
                reports.get(site.site_id, SiteReport()),
                reasons.get(Scope.SITE.of(site.site_id)),
                now - patience,
                now,
            )
            for site in config.sites
        ],
        deliveries=_sums(counted.values()),
        receivers={each.name: _sums([counted.get(each.name, {})]) for each in config.receivers},
        open_reviews=_open_reviews(state, names, now, newest=newest),
        oldest_pending=oldest if oldest and oldest <= now else None,
        troubles=current,
        parked=blocks.get_parked(state),
        timezone=config.timezone,
        cluster=get_cluster(state),
    )


def _site_status(
    site: Site, found: SiteReport, trouble: str | None, earliest: datetime, now: datetime
) -> SiteStatus:
    if trouble is None and found.last_success is None:
        trouble = "never read yet"
    elif trouble is None and found.last_success and found.last_success < earliest:
        trouble = f"not read for {words_for(now - found.last_success)}"
    return SiteStatus(
        site.name,
        site.site_id,
        found.last_success,
        found.open_reviews,
        not found.sees_private,
        trouble,
    )


def _open_reviews(
    state: State, names: Mapping[str, str], now: datetime, *, newest: bool
) -> list[OpenReviewStatus]:
    found = report.open_reviews(state, names, _MOST_OPEN, newest=newest)
    pairs = [(each.site_id, each.review_id) for each in found]
    responses = actions.get_responses(state, pairs, now)
    beginnings = {each.review_id[:_SHORT_ID] for each in found}
    unique = report.unique_beginnings(state, beginnings, _SHORT_ID)
    return [
        OpenReviewStatus(
            names[each.site_id],
            each,
            _short_id(each, unique),
            _alerted_receivers(state, each),
            responses.get((each.site_id, each.review_id), NO_RESPONSE),
        )
        for each in found
    ]


def _short_id(review: OpenReview, unique: Collection[str]) -> str:
    """Return the beginning of an id that is enough for a command; the whole id where it is not."""
    beginning = review.review_id[:_SHORT_ID]
    return beginning if beginning in unique else review.review_id


def _alerted_receivers(state: State, review: OpenReview) -> list[str]:
    forms = stale_messages.alerted_forms(state, review.site_id, review.review_id)
    return sorted({receiver_of(name) for name in forms})


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return {name: total[name] for name in ("pending", "sent", "failed", "cancelled")}


def shown_scope(scope: str) -> dict[str, str | None]:
    """Return a scope; a destination is shown as its receiver and its medium."""
    kind, name = split_scope(scope)
    if kind not in (Scope.DESTINATION, Scope.MESSAGE):
        return {"scope": scope}
    shown = "receiver" if kind == Scope.DESTINATION else kind
    return {"scope": f"{shown}:{receiver_of(name)}", "medium": medium_of(name)}
