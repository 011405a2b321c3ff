"""Claims and snoozes: no reminder while a review is held, and one after a snooze."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tests.simulation.history import Run
from tests.simulation.oracle.values import MINUTE, Destination, Received, Violation
from tests.simulation.oracle.world import World


@dataclass(frozen=True, slots=True)
class Hold:
    """A claim or a snooze, from when its command had ended until it was over."""

    start: datetime
    end: datetime
    is_snooze: bool
    replaced: bool = False


def holds_of(world: World, review_id: str) -> list[Hold]:
    """Return what people did to hold the reminders of a review."""
    found: list[Hold] = []
    for run in world.h.runs:
        if run.review_id != review_id or run.command not in {"claim", "snooze"} or run.exit_code:
            continue
        found = [_ended(hold, run) for hold in found]
        if run.until and run.end:
            found.append(Hold(run.end, run.until, run.command == "snooze"))
    return found


def _ended(hold: Hold, run: Run) -> Hold:
    """Return a hold as another command left it: each ends the earlier ones of its kind."""
    if hold.is_snooze != (run.command == "snooze") or hold.end <= run.start:
        return hold
    return Hold(hold.start, run.start, hold.is_snooze, replaced=True)


def judge_held(
    world: World, review_id: str, destination: Destination, start: datetime, own: list[Received]
) -> Iterator[Violation]:
    """Judge the reminders that came while a review was held in a period that began at `start`."""
    for hold in holds_of(world, review_id):
        for one in own:
            if not (start < hold.start and hold.start + MINUTE < one.time < hold.end - MINUTE):
                continue
            earlier = hold.start - world.late  # what was under way then may come later
            if (
                world.is_calm(destination, earlier, one.time, review_id)
                and not list(world.faults(("clock_step",), earlier, one.time))
                and not world.is_forgotten(hold.start, one.time)
            ):
                what = f"reminder while it was held until {hold.end:%m-%d %H:%M}"
                concerns = (review_id, *destination)
                yield Violation("reminder_held", "triage", one.time, what, concerns)


def snoozes_of(world: World, review_id: str, start: datetime, end: datetime) -> list[Hold]:
    """Return the snoozes of a period after which a reminder is due: no later one replaced them."""
    return [
        hold
        for hold in holds_of(world, review_id)
        if hold.is_snooze and not hold.replaced and start < hold.start and hold.end < end
    ]


def next_hold(
    world: World, review_id: str, snooze: Hold, due: datetime, latest: datetime
) -> Hold | None:
    """Return what holds the reminder after a snooze, which is due at a time and comes by `latest`.

    Of another snooze the reminder is that which follows it: there is one in all.
    """
    others = [hold for hold in holds_of(world, review_id) if hold != snooze]
    later = [hold for hold in others if hold.start <= latest and hold.end > due]
    return max(later, key=lambda hold: (hold.is_snooze, hold.end), default=None)
