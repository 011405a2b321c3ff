"""Makes a failing plan smaller: fewer events, as long as the same promise is broken."""

import time
from collections.abc import Callable, Sequence

from tests.simulation.plan import Event, Plan


def shrink(plan: Plan, fails: Callable[[Plan], bool], seconds: float = 120.0) -> Plan:
    """The smallest plan that was found in so many seconds of which `fails` still holds.

    Halves, quarters and so on are left out, down to single events (delta debugging).
    """
    deadline = time.monotonic() + seconds

    def holds(events: Sequence[Event]) -> bool:
        return time.monotonic() < deadline and fails(plan.with_events(tuple(events)))

    events = _without_the_end(list(plan.events), holds)
    size = max(len(events) // 2, 1)
    while events and time.monotonic() < deadline:
        smaller = _without(events, size, holds)
        if smaller is None and size == 1:
            break
        events = smaller if smaller is not None else events
        size = max(min(size, len(events)) // (1 if smaller is not None else 2), 1)
    return plan.with_events(tuple(events))


def _without_the_end(events: list[Event], holds: Callable[[Sequence[Event]], bool]) -> list[Event]:
    """Leave out what comes after the violation."""
    low, high = 0, len(events)
    while low < high:
        middle = (low + high) // 2
        if holds(events[:middle]):
            high = middle
        else:
            low = middle + 1
    return events[:high]


def _without(events: list[Event], size: int, holds: Callable[[Sequence[Event]], bool]) -> list[Event] | None:
    for start in range(0, len(events), size):
        rest = events[:start] + events[start + size :]
        if holds(rest):
            return rest
    return None
