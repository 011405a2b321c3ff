"""Which faults are in force at a moment, and whether one hits a certain call."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.simulation.history import Fault


@dataclass
class Active:
    """A fault of the plan while it is in force; `left` counts the calls that it still hits (None:
    all).
    """

    kind: str
    start: datetime
    end: datetime
    scope: dict[str, Any]
    code: str = ""
    share: float = 1.0
    left: int | None = None
    retry_after: float | None = None
    hits: int = 0

    def written(self) -> Fault:
        """The same as the history has it."""
        wait = None if self.retry_after is None else timedelta(seconds=self.retry_after)
        return Fault(
            self.kind,
            self.start,
            self.end,
            retry_after=wait,
            code=self.code or None,
            intermittent=self.share < 1.0 or self.left is not None,
            **self.scope,
        )


class ActiveFaults:
    """Every fault that began; the past ones stay, for the history."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.now: list[Active] = []
        self.past: list[Active] = []

    def begin(self, fault: Active) -> Active:
        """Let a fault begin."""
        self.now.append(fault)
        return fault

    def end(self, fault: Active, at: datetime) -> None:
        """Let a fault end, unless it has."""
        if fault in self.now:
            self.now.remove(fault)
            fault.end = at
            self.past.append(fault)

    def hit(self, kind: str, **what: Any) -> Active | None:
        """The fault of this kind that hits a call with these particulars, which is counted."""
        for fault in self.now:
            if fault.kind != kind or fault.left == 0:
                continue
            if any(
                value is not None and value not in _each(what.get(name))
                for name, value in fault.scope.items()
            ):
                continue
            if fault.share < 1.0 and self._random.random() >= fault.share:
                continue
            if fault.left is not None:
                fault.left -= 1
            fault.hits += 1
            return fault
        return None

    def written(self) -> list[Fault]:
        """All of them, as the history has them."""
        found = [fault.written() for fault in (*self.past, *self.now)]
        return sorted(found, key=lambda fault: (fault.start, fault.kind))


def _each(value: Any) -> Any:
    return value if isinstance(value, list | tuple | set) else (value,)
