"""Restores: what was surely written down, what is skipped, and until when a restored site is asked
for its words.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from tests.simulation.oracle.values import INFLIGHT, MINUTE

if TYPE_CHECKING:
    from tests.simulation.oracle.world import World

Span = tuple[datetime, datetime]


def is_kept(world: World, when: datetime, site_id: str) -> bool:
    """Return whether what was read at a time was surely written down."""
    return (
        world.alive_throughout(when, when + INFLIGHT)
        and not any(world.faults(("disk_full", "state_locked"), when - MINUTE, when + INFLIGHT))
        and all(config.site(site_id) is not None for config in world.configs_near(when))
        and not world.is_forgotten(when)
    )


def skips_reminders(world: World, due: datetime, latest: datetime) -> bool:
    """Return whether a restore skipped a reminder that was due, and had not surely come before it:
    since the backup it may have been sent.
    """
    return any(
        run.command == "restore" and not run.move and due <= run.start <= latest
        for run in world.h.runs
    )


def whole_rounds(world: World, site_id: str, start: datetime) -> Iterator[datetime]:
    """Yield when a site was read without hindrance from a time on."""
    for read in world.h.reads:
        if (
            read.by == "daemon"
            and read.site_id == site_id
            and start <= read.time
            and read.arrived
            and not read.wrong
            and is_kept(world, read.time, site_id)
            and world.is_site_calm(site_id, read.time - MINUTE, read.time + INFLIGHT)
        ):
            yield read.time


def unverified_spans(world: World) -> dict[str, list[Span]]:
    """Return for each site the spans from a restore until its next whole round.

    A backup brings deleted words back: a site is asked for all that it holds before any of it is
    sent (promise 9).
    """
    runs = [run for run in world.h.runs if run.command == "restore" and not run.exit_code]
    sites = {site.site_id for _, config in world.in_force for site in config.sites if runs}
    return {
        site_id: [
            (run.start, next(whole_rounds(world, site_id, run.start), world.h.end)) for run in runs
        ]
        for site_id in sites
    }
