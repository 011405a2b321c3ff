"""`alerter status`: sites, open reviews, deliveries, trouble."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load
from alerter.commands.terminal import span, table, title
from alerter.config import Config, Site
from alerter.models import medium_of, receiver_of
from alerter.render.formatting import stars
from alerter.store import State, blocks, lifetime, report, troubles
from alerter.store.blocks import Block
from alerter.store.report import OpenReview, SiteReport
from alerter.store.troubles import Trouble

# The oldest open reviews are named, and the others counted.
_MOST_OPEN = 20
_TITLE = 40


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that `status` tells."""

    sites: list[dict[str, Any]]
    deliveries: dict[str, int]
    receivers: list[dict[str, Any]]
    open_reviews: list[dict[str, Any]]
    oldest_pending: str | None
    troubles: list[dict[str, Any]]
    parked: list[dict[str, Any]]

    @property
    def more_open_reviews(self) -> int:
        """How many open reviews there are beyond those that are named."""
        return sum(int(site["open_reviews"]) for site in self.sites) - len(self.open_reviews)

    @property
    def needs_a_person(self) -> bool:
        """Whether there is trouble, or something has failed; never for a review that nobody answered."""
        return bool(
            self.troubles
            or self.parked
            or self.deliveries["failed"]
            or any(site["trouble"] for site in self.sites)
        )


def standing(config: Config, state: State | None, now: datetime) -> Standing:
    """Read how things stand; a state file that is not there yet has nothing in it."""
    found = report.sites(state) if state else {}
    open_troubles = troubles.current(state) if state else []
    reasons = {trouble.scope: trouble.reason for trouble in open_troubles}
    counted = report.deliveries(state) if state else {}
    oldest = report.oldest_pending(state) if state else None
    held = blocks.parked(state) if state else []
    names = {site.site_id: site.name for site in config.sites}
    oldest_open = report.open_reviews(state, names, _MOST_OPEN) if state else []
    return Standing(
        sites=[
            _site(
                site,
                found.get(site.site_id, SiteReport()),
                reasons.get(f"site:{site.site_id}"),
                config,
                now,
            )
            for site in config.sites
        ],
        deliveries=_sums(counted.values()),
        receivers=[
            {"name": each.name} | _sums([counted.get(each.name, {})]) for each in config.receivers
        ],
        open_reviews=[_open(state, each, names) for each in oldest_open] if state else [],
        oldest_pending=_iso(oldest) if oldest and oldest <= now else None,
        troubles=[_trouble(trouble) for trouble in open_troubles],
        parked=[_parked(block) for block in held],
    )


def as_json(standing: Standing) -> str:
    """The same for machines."""
    told = {
        "sites": standing.sites,
        "deliveries": standing.deliveries,
        "receivers": standing.receivers,
        "open_reviews": standing.open_reviews,
        "more_open_reviews": standing.more_open_reviews,
        "oldest_pending": standing.oldest_pending,
        "troubles": standing.troubles,
        "parked": standing.parked,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_text(standing: Standing, now: datetime) -> str:
    """The same for people."""
    lines = table(
        ["site", "last read", "open", "trouble"],
        [
            [
                site["name"],
                _ago(site["last_success"], now),
                str(site["open_reviews"]),
                site["trouble"] or "-",
            ]
            for site in standing.sites
        ],
    )
    lines += [
        "",
        *table(
            ["receiver", "pending", "sent", "failed"],
            [
                [each["name"], *(str(each[name]) for name in ("pending", "sent", "failed"))]
                for each in standing.receivers
            ],
        ),
    ]
    lines += _open_lines(standing, now)
    if standing.oldest_pending:
        lines += [
            "",
            f"the oldest pending delivery has waited since {_ago(standing.oldest_pending, now)}",
        ]
    for trouble in standing.troubles:
        if not trouble["scope"].startswith("site:"):
            works = f"; it works since {trouble['works_since']}" if trouble["works_since"] else ""
            lines += [
                "",
                f"trouble: {trouble['scope']} since {trouble['since']}: {trouble['reason']}{works}",
            ]
    for block in standing.parked:
        lines += [
            "",
            f"parked: {block['scope']} since {block['since']}: {block['reason']}; mend it, then `alerter retry`",
        ]
    if standing.deliveries["failed"]:
        lines += [
            "",
            f"{standing.deliveries['failed']} deliveries have failed; `alerter retry` queues them again",
        ]
    return "\n".join(lines)


def _site(
    site: Site, found: SiteReport, trouble: str | None, config: Config, now: datetime
) -> dict[str, Any]:
    if trouble is None and found.last_success is None:
        trouble = "never read yet"
    elif trouble is None and found.last_success and now - found.last_success > _patience(config):
        trouble = f"not read for {span(now - found.last_success)}"
    return {
        "name": site.name,
        "site_id": site.site_id,
        "last_success": _iso(found.last_success),
        "open_reviews": found.open_reviews,
        "published_only": not found.sees_private,
        "trouble": trouble,
    }


def _patience(config: Config) -> timedelta:
    """After how long a site that was not read needs somebody: one round may fail, however seldom rounds are."""
    return max(config.poll.trouble_after, 2 * config.poll.every)


def _open(state: State, found: OpenReview, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "site": names[found.site_id],
        "id": found.review_id,
        "rating": found.rating,
        "title": found.title,
        "created": _iso(found.created),
        "told": sorted(
            {receiver_of(each) for each in lifetime.told(state, found.site_id, found.review_id)}
        ),
    }


def _open_lines(standing: Standing, now: datetime) -> list[str]:
    """The oldest open reviews, and how many more there are."""
    if not standing.open_reviews:
        return []
    rows = [
        [
            each["id"],
            span(now - datetime.fromisoformat(each["created"])),
            stars(each["rating"]),
            each["site"],
            ", ".join(each["told"]) or "nobody",
            title(each["title"], _TITLE),
        ]
        for each in standing.open_reviews
    ]
    more = standing.more_open_reviews
    return [
        "",
        *table(["open review", "age", "stars", "site", "told", "title"], rows),
        *[f"and {more} more"] * (more > 0),
    ]


def _trouble(trouble: Trouble) -> dict[str, Any]:
    found = {
        "since": _iso(trouble.since),
        "reason": trouble.reason,
        "works_since": _iso(trouble.over_at),
    }
    return _scope(trouble.scope) | found


def _scope(scope: str) -> dict[str, Any]:
    """Return what is at fault: of a destination its receiver and its medium."""
    kind, _, name = scope.partition(":")
    if kind not in ("destination", "message"):
        return {"scope": scope}
    shown = "receiver" if kind == "destination" else kind
    return {"scope": f"{shown}:{receiver_of(name)}", "medium": medium_of(name)}


def _parked(block: Block) -> dict[str, Any]:
    return _scope(block.scope) | {"since": _iso(block.since), "reason": block.reason}


def _sums(counts: Any) -> dict[str, int]:
    names = ("pending", "sent", "failed", "cancelled")
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _ago(moment: str | None, now: datetime) -> str:
    return f"{span(now - datetime.fromisoformat(moment))} ago" if moment else "never"


@click.command()
@config_option
@click.option("--json", "machine", is_flag=True, help="Print JSON.")
def command(path: Path | None, *, machine: bool) -> None:
    """Show how sites, open reviews and deliveries stand; exit 1 if that needs a person."""
    config = load(path, secrets=False)
    now, state = Clock().now(), State.read(config.state_path)
    try:
        found = standing(config, state, now)
    finally:
        if state:
            state.close()
    click.echo(as_json(found) if machine else as_text(found, now))
    sys.exit(1 if found.needs_a_person else 0)
