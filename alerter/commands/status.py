"""`alerter status`: sites, open reviews, deliveries, trouble."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load
from alerter.commands.terminal import plain_json, table, title
from alerter.config import Config, Site
from alerter.models import medium_of, receiver_of
from alerter.render.formatting import duration, stars
from alerter.scopes import Scope, split_scope
from alerter.store import State, blocks, report, stale_messages, troubles
from alerter.store.blocks import Block
from alerter.store.report import OpenReview, SiteReport
from alerter.store.troubles import Trouble

# The oldest open reviews are listed, and the others counted.
_MOST_OPEN = 20
_TITLE = 40


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
    """An open review, and the receivers that were sent its alert."""

    site: str
    review: OpenReview
    receivers: list[str]


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything that `status` shows. Deliveries are counted by status."""

    sites: list[SiteStatus]
    deliveries: dict[str, int]
    receivers: dict[str, dict[str, int]]
    open_reviews: list[OpenReviewStatus]
    oldest_pending: datetime | None
    troubles: list[Trouble]
    parked: list[Block]

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


def get_status(config: Config, state: State, now: datetime) -> StatusReport:
    """Read the status."""
    reports = report.site_reports(state)
    current = troubles.get_open_troubles(state)
    reasons = {trouble.scope: trouble.reason for trouble in current}
    counted = report.delivery_counts(state)
    oldest = report.oldest_pending(state)
    names = {site.site_id: site.name for site in config.sites}
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
        open_reviews=_open_reviews(state, names),
        oldest_pending=oldest if oldest and oldest <= now else None,
        troubles=current,
        parked=blocks.get_parked(state),
    )


def _site_status(
    site: Site, found: SiteReport, trouble: str | None, earliest: datetime, now: datetime
) -> SiteStatus:
    if trouble is None and found.last_success is None:
        trouble = "never read yet"
    elif trouble is None and found.last_success and found.last_success < earliest:
        trouble = f"not read for {duration(now - found.last_success)}"
    return SiteStatus(
        site.name,
        site.site_id,
        found.last_success,
        found.open_reviews,
        not found.sees_private,
        trouble,
    )


def _open_reviews(state: State, names: Mapping[str, str]) -> list[OpenReviewStatus]:
    return [
        OpenReviewStatus(
            names[each.site_id],
            each,
            sorted(
                {
                    receiver_of(name)
                    for name in stale_messages.alerted_forms(state, each.site_id, each.review_id)
                }
            ),
        )
        for each in report.open_reviews(state, names, _MOST_OPEN)
    ]


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return {name: total[name] for name in ("pending", "sent", "failed", "cancelled")}


def as_json(status: StatusReport) -> str:
    """Return the status as JSON, the keys of which are part of the contract."""
    found = {
        "sites": [
            asdict(site) | {"last_success": _iso(site.last_success)} for site in status.sites
        ],
        "deliveries": status.deliveries,
        "receivers": [{"name": name} | counts for name, counts in status.receivers.items()],
        "open_reviews": [
            {
                "site": each.site,
                "id": each.review.review_id,
                "rating": each.review.rating,
                "title": each.review.title,
                "created": _iso(each.review.created),
                "told": each.receivers,
            }
            for each in status.open_reviews
        ],
        "more_open_reviews": status.more_open_reviews,
        "oldest_pending": _iso(status.oldest_pending),
        "troubles": [
            _scope(each.scope)
            | {
                "since": _iso(each.since),
                "reason": each.reason,
                "works_since": _iso(each.over_at),
            }
            for each in status.troubles
        ],
        "parked": [
            _scope(each.scope) | {"since": _iso(each.since), "reason": each.reason}
            for each in status.parked
        ],
    }
    return plain_json(found)


def as_text(status: StatusReport, now: datetime) -> str:
    """Return the status as tables and paragraphs."""
    sites = [
        [site.name, _ago(site.last_success, now), str(site.open_reviews), site.trouble or "-"]
        for site in status.sites
    ]
    receivers = [
        [name, *(str(counts[each]) for each in ("pending", "sent", "failed"))]
        for name, counts in status.receivers.items()
    ]
    parts = [
        table(["site", "last read", "open", "trouble"], sites),
        table(["receiver", "pending", "sent", "failed"], receivers),
        _open_lines(status, now),
        *([line] for line in _attention_lines(status, now)),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _open_lines(status: StatusReport, now: datetime) -> list[str]:
    if not status.open_reviews:
        return []
    rows = [
        [
            each.review.review_id,
            duration(now - each.review.created),
            stars(each.review.rating),
            each.site,
            ", ".join(each.receivers) or "nobody",
            title(each.review.title, _TITLE),
        ]
        for each in status.open_reviews
    ]
    lines = table(["open review", "age", "stars", "site", "told", "title"], rows)
    if status.more_open_reviews:
        lines.append(f"and {status.more_open_reviews} more")
    return lines


def _attention_lines(status: StatusReport, now: datetime) -> Iterator[str]:
    if status.oldest_pending:
        yield f"the oldest pending delivery has waited since {_ago(status.oldest_pending, now)}"
    for each in status.troubles:
        if split_scope(each.scope)[0] != Scope.SITE:  # the table of sites shows those
            works = f"; it works since {_iso(each.over_at)}" if each.over_at else ""
            scope = _scope(each.scope)["scope"]
            yield f"trouble: {scope} since {_iso(each.since)}: {each.reason}{works}"
    for block in status.parked:
        scope = _scope(block.scope)["scope"]
        since = _iso(block.since)
        yield f"parked: {scope} since {since}: {block.reason}; fix it, then `alerter retry`"
    if failed := status.deliveries["failed"]:
        yield f"{failed} deliveries have failed; `alerter retry` queues them again"


def _scope(scope: str) -> dict[str, str | None]:
    """Return a scope; a destination is shown as its receiver and its medium."""
    kind, name = split_scope(scope)
    if kind not in (Scope.DESTINATION, Scope.MESSAGE):
        return {"scope": scope}
    shown = "receiver" if kind == Scope.DESTINATION else kind
    return {"scope": f"{shown}:{receiver_of(name)}", "medium": medium_of(name)}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{duration(now - moment)} ago" if moment else "never"


@click.command()
@config_option
@click.option("--json", "machine", is_flag=True, help="Print JSON.")
def command(path: Path | None, *, machine: bool) -> None:
    """Show how sites, open reviews and deliveries stand; exit 1 if that needs a person."""
    config = load(path, secrets=False)
    now = Clock().now()
    with State.read(config.state_path) as state:
        found = get_status(config, state, now)
    click.echo(as_json(found) if machine else as_text(found, now))
    sys.exit(1 if found.needs_a_person else 0)
