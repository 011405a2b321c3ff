"""Planned faults: queued for one use each, or permanent until cleared."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class _Plan(Protocol):
    @property
    def only(self) -> str | None:
        """What the plan is limited to; None for everything."""


P = TypeVar("P", bound=_Plan)


class Planned(Generic[P]):
    """Plans that are not used yet, by what they apply to."""

    def __init__(self) -> None:
        self._once: dict[str, deque[P]] = {}
        self._always: dict[tuple[str, str | None], P] = {}

    def add(self, match: str, *plans: P) -> None:
        """Queue plans for the next uses of `match`, one each."""
        self._once.setdefault(match, deque()).extend(plans)

    def always(self, match: str, plan: P) -> None:
        """Use a plan for every `match`, until `clear`."""
        self._always[match, plan.only] = plan

    def clear(self, match: str | None = None) -> None:
        """Remove the plans for `match`, or all plans."""
        self._once = {key: queue for key, queue in self._once.items() if match not in (None, key)}
        self._always = {
            key: plan for key, plan in self._always.items() if match not in (None, key[0])
        }

    def first(self, fits: Callable[[str, str | None], bool]) -> P | None:
        """Return the first plan whose match and `only` fit; remove it if queued."""
        for match, queue in self._once.items():
            for plan in queue:
                if fits(match, plan.only):
                    queue.remove(plan)
                    return plan
        return next((plan for key, plan in self._always.items() if fits(*key)), None)
