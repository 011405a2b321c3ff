"""`alerter status`: sites, open reviews, deliveries, trouble."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerter.config import Config, Site
from alerter.store import State, blocks, report, troubles
from alerter.store.blocks import Block
from alerter.store.report import SiteReport
from alerter.store.troubles import Trouble


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that `status` tells."""

    sites: list[dict[str, Any]]
    deliveries: dict[str, int]
    receivers: list[dict[str, Any]]
    oldest_pending: str | None
    troubles: list[dict[str, Any]]
    parked: list[dict[str, Any]]

    @property
    def needs_a_person(self) -> bool:
        """Whether there is trouble, or something has failed; never for a review that nobody answered."""
        return bool(
            self.troubles or self.parked or self.deliveries["failed"] or any(site["trouble"] for site in self.sites)
        )


def standing(config: Config, state: State | None, now: datetime) -> Standing:
    """Read how things stand; a state file that is not there yet has nothing in it."""
    found = report.sites(state) if state else {}
    open_troubles = troubles.current(state) if state else []
    reasons = {trouble.scope: trouble.reason for trouble in open_troubles}
    counted = report.deliveries(state) if state else {}
    oldest = report.oldest_pending(state) if state else None
    held = blocks.parked(state) if state else []
    return Standing(
        sites=[
            _site(site, found.get(site.site_id, SiteReport()), reasons.get(f"site:{site.site_id}"), config, now)
            for site in config.sites
        ],
        deliveries=_sums(counted.values()),
        receivers=[{"name": each.name} | _sums([counted.get(each.name, {})]) for each in config.receivers],
        oldest_pending=_iso(oldest),
        troubles=[_trouble(trouble) for trouble in open_troubles],
        parked=[_parked(block) for block in held],
    )


def as_json(standing: Standing) -> str:
    """The same for machines."""
    told = {
        "sites": standing.sites,
        "deliveries": standing.deliveries,
        "receivers": standing.receivers,
        "oldest_pending": standing.oldest_pending,
        "troubles": standing.troubles,
        "parked": standing.parked,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def as_text(standing: Standing, now: datetime) -> str:
    """The same for people."""
    lines = _table(
        ["site", "last read", "open", "trouble"],
        [
            [site["name"], _ago(site["last_success"], now), str(site["open_reviews"]), site["trouble"] or "-"]
            for site in standing.sites
        ],
    )
    lines += [
        "",
        *_table(
            ["receiver", "pending", "sent", "failed"],
            [
                [each["name"], *(str(each[name]) for name in ("pending", "sent", "failed"))]
                for each in standing.receivers
            ],
        ),
    ]
    if standing.oldest_pending:
        lines += ["", f"the oldest pending delivery has waited since {_ago(standing.oldest_pending, now)}"]
    for trouble in standing.troubles:
        if not trouble["scope"].startswith("site:"):
            lines += ["", f"trouble: {trouble['scope']} since {trouble['since']}: {trouble['reason']}"]
    for block in standing.parked:
        lines += [
            "",
            f"parked: {block['scope']} since {block['since']}: {block['reason']}; mend it, then `alerter retry`",
        ]
    if standing.deliveries["failed"]:
        lines += ["", f"{standing.deliveries['failed']} deliveries have failed; `alerter retry` queues them again"]
    return "\n".join(lines)


def _site(site: Site, found: SiteReport, trouble: str | None, config: Config, now: datetime) -> dict[str, Any]:
    if trouble is None and found.last_success is None:
        trouble = "never read yet"
    elif trouble is None and found.last_success and now - found.last_success > config.poll.trouble_after:
        trouble = f"not read for {_span(now - found.last_success)}"
    return {
        "name": site.name,
        "site_id": site.site_id,
        "last_success": _iso(found.last_success),
        "open_reviews": found.open_reviews,
        "published_only": not found.sees_private,
        "trouble": trouble,
    }


def _trouble(trouble: Trouble) -> dict[str, Any]:
    return {"scope": trouble.scope, "since": _iso(trouble.since), "reason": trouble.reason}


def _parked(block: Block) -> dict[str, Any]:
    return {"scope": block.scope, "since": _iso(block.since), "reason": block.reason}


def _sums(counts: Any) -> dict[str, int]:
    names = ("pending", "sent", "failed", "cancelled")
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _ago(moment: str | None, now: datetime) -> str:
    return f"{_span(now - datetime.fromisoformat(moment))} ago" if moment else "never"


def _span(length: timedelta) -> str:
    seconds = max(int(length.total_seconds()), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
