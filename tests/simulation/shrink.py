"""Makes a failing plan smaller: fewer events, as long as the same promise is broken."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.plan import Event, Plan

Group = tuple[Event, ...]


def shrink(plan: Plan, fails: Callable[[Plan], bool], seconds: float = 120.0) -> Plan:
    """The smallest plan that was found in so many seconds of which `fails` still holds.

    Halves, quarters and so on are left out, down to single ones (delta debugging): first of all
    that happens to one
    review together, then of single events.
    """
    deadline = time.monotonic() + seconds

    def holds(groups: Sequence[Group]) -> bool:
        events = sorted((event for group in groups for event in group), key=lambda event: event.at)
        return time.monotonic() < deadline and fails(plan.with_events(tuple(events)))

    of_reviews: dict[object, list[Event]] = {}
    for number, event in enumerate(plan.events):
        of_reviews.setdefault(event.args.get("review", number), []).append(event)
    groups = _least([tuple(events) for events in of_reviews.values()], holds)
    groups = _least([(event,) for group in groups for event in group], holds)
    return plan.with_events(
        tuple(sorted((event for (event,) in groups), key=lambda event: event.at))
    )


def until(plan: Plan, seconds: float) -> Plan:
    """The same plan without what happens later than that; the run then settles as before."""
    length = min(plan.length, seconds)
    return replace(
        plan, length=length, events=tuple(event for event in plan.events if event.at < length)
    )


def _least(groups: list[Group], holds: Callable[[Sequence[Group]], bool]) -> list[Group]:
    size = max(len(groups) // 2, 1)
    while groups:
        smaller = _without(groups, size, holds)
        if smaller is None and size == 1:
            break
        groups = groups if smaller is None else smaller
        size = max(min(size, len(groups)) // (1 if smaller is not None else 2), 1)
    return groups


def _without(
    groups: list[Group], size: int, holds: Callable[[Sequence[Group]], bool]
) -> list[Group] | None:
    for start in range(0, len(groups), size):
        rest = groups[:start] + groups[start + size :]
        if holds(rest):
            return rest
    return None
