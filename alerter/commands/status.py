"""`alerter status`: sites, open reviews, deliveries, trouble; for people, and as JSON."""

import asyncio
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from alerter.actions import Response
from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites
from alerter.commands.status_report import StatusReport, get_status, shown_scope
from alerter.commands.status_text import as_text
from alerter.commands.terminal import plain_json, redraw, terminal_width
from alerter.config import Config
from alerter.store import State
from alerter.store.cluster import ClusterReport
from alerter.timezones import local_time

_REDRAW_EVERY = 2.0  # seconds


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
            | _shown_response(each.response)
            for each in status.open_reviews
        ],
        "more_open_reviews": status.more_open_reviews,
        "oldest_pending": _iso(status.oldest_pending),
        "troubles": [
            shown_scope(each.scope)
            | {
                "since": _iso(each.since),
                "reason": each.reason,
                "works_since": _iso(each.over_at),
            }
            for each in status.troubles
        ],
        "parked": [
            shown_scope(each.scope) | {"since": _iso(each.since), "reason": each.reason}
            for each in status.parked
        ],
        **_shown_cluster(status.cluster),
    }
    return plain_json(found)


def _shown_cluster(cluster: ClusterReport | None) -> dict[str, Any]:
    """Return what is shown of a cluster; nothing for a state file."""
    if cluster is None:
        return {}
    return {
        "workers": [
            {
                "name": each.name,
                "host": each.host,
                "version": each.version,
                "config": each.config,
                "since": _iso(each.started_at),
                "last_seen": _iso(each.seen_at),
            }
            for each in cluster.workers
        ],
        "newest_config": cluster.newest.number if cluster.newest else None,
        "waiting_jobs": cluster.waiting,
    }


def _shown_response(response: Response) -> dict[str, str | None]:
    return {
        "claimed_by": response.claimed_by or None,
        "claimed_until": _iso(response.claimed_until),
        "snoozed_by": response.snoozed_by or None,
        "snoozed_until": _iso(response.snoozed_until),
        "replying": response.replying or None,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


@click.command()
@config_option
@click.option("--json", "machine", is_flag=True, help="Print JSON.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
def command(path: Path | None, *, machine: bool, watch: bool) -> None:
    """Show sites, open reviews, deliveries and trouble.

    Exit with 1 if something needs a person; open reviews do not.
    """
    config, clock = load_with_sites(path, secrets=False), Clock()
    if machine and watch:
        raise click.UsageError("--watch is for people: leave --json out")
    if watch:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(config, clock))
        return
    now = clock.now()
    with State.read(config.database) as state:
        found = get_status(config, state, now, newest=not machine)
    click.echo(as_json(found) if machine else _styled_text(found, now))
    sys.exit(1 if found.needs_a_person else 0)


async def _watch(config: Config, clock: Clock) -> None:
    while True:
        now = clock.now()
        with State.read(config.database) as state:
            text = _styled_text(get_status(config, state, now, newest=True), now)
        redraw(f"{local_time(now, config.timezone):%H:%M:%S}  (Ctrl-C ends)\n\n{text}")
        await clock.sleep(_REDRAW_EVERY)


def _styled_text(status: StatusReport, now: datetime) -> str:
    return as_text(status, now, terminal_width(), style=click.style)
