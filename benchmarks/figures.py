"""What was measured, beside its goal: as a table and as JSON."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """One number and the goal that it has: at most (`≤`) or at least (`≥`) so much."""

    row: str
    measure: str
    value: float
    sign: str
    goal: float
    unit: str
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the goal is reached."""
        return (operator.le if self.sign == "≤" else operator.ge)(round(self.value, 3), self.goal)

    def told(self) -> dict[str, object]:
        """The same for JSON."""
        return asdict(self) | {"good": self.good}

    def cells(self) -> list[str]:
        """The same as a row of the table."""
        unit = "" if self.unit == "×" else " "
        value, goal = (
            f"{_short(self.value)}{unit}{self.unit}",
            f"{self.sign} {_short(self.goal)}{unit}{self.unit}",
        )
        return [self.row, self.measure, value, goal, "pass" if self.good else "MISS", self.detail]


_HEAD = ["what", "measure", "measured", "goal", "", "detail"]


def table(figures: Iterable[Figure]) -> str:
    """All figures, in Markdown that reads well in a terminal too."""
    rows = [_HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * max(width, 3) for width in widths) + " |")
    return "\n".join(lines)


def _short(number: float) -> str:
    if number and abs(number) < 10:
        return f"{number:.2f}".rstrip("0").rstrip(".")
    return f"{number:,.0f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of all lie at or below."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def middle(values: Iterable[float]) -> float:
    """The median."""
    return float(median(values))
