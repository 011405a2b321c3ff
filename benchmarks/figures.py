"""Measured figures and their goals, as a table and as JSON."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and its goal: at most (`≤`) or at least (`≥`) the value of `goal`."""

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

    def as_json(self) -> dict[str, object]:
        """Return the figure for JSON."""
        return asdict(self) | {"good": self.good}

    def cells(self) -> list[str]:
        """Return the figure as a row of the table."""
        unit = "" if self.unit == "×" else " "
        value, goal = (
            f"{_short(self.value)}{unit}{self.unit}",
            f"{self.sign} {_short(self.goal)}{unit}{self.unit}",
        )
        return [self.row, self.measure, value, goal, "pass" if self.good else "MISS", self.detail]


_HEAD = ["what", "measure", "measured", "goal", "", "detail"]


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as an aligned Markdown table."""
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
    """Return the value that this share (0 to 1) of the values do not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def middle(values: Iterable[float]) -> float:
    """Return the median."""
    return float(median(values))
