"""Print tables, JSON and customers' text on a terminal that none of it can control."""

import json
import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from unicodedata import combining, east_asian_width

import click

from alerter.models import Finding, Product, Review
from alerter.render.formatting import cut

_FINDINGS: dict[str, dict[str, Any]] = {
    "ok  ": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "FAIL": {"fg": "red", "bold": True},
}
NARROWEST = 80  # columns
# In seconds; a length is said in the largest unit of which it has two.
_UNITS = {"year": 31_536_000, "month": 2_592_000, "day": 86_400, "hour": 3_600, "minute": 60}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose columns are aligned; without a head if it is empty."""
    shown = [head, *rows] if head else [*rows]
    widths = [max(map(wide, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - wide(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in shown
    ]


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns on a terminal, else with a tab between their cells."""
    lines = table((), rows) if sys.stdout.isatty() else map("\t".join, rows)
    for line in lines:
        click.echo(line)


def wide(text: str) -> int:
    """Return how many columns of a terminal a text takes; styles take none."""
    return sum(
        2 if east_asian_width(char) in "WF" else 0 if combining(char) else 1
        for char in click.unstyle(text)
    )


def terminal_width() -> int:
    """Return the columns to fill: those of the terminal, at least 80; 80 where there is none."""
    return max(shutil.get_terminal_size((NARROWEST, 24)).columns, NARROWEST)


def redraw(text: str) -> None:
    """Show a text in place of what a terminal shows, as far as it has lines; else just print it."""
    if sys.stdout.isatty():
        lines = text.splitlines()
        most = shutil.get_terminal_size().lines - 1
        shown = lines if len(lines) <= most else [*lines[: most - 1], "…"]
        text = "\n".join(shown)
        sys.stdout.write("\x1b[H\x1b[J")  # home, and clear to the end; click strips it off colours
    click.echo(text)


def words_for(span: timedelta) -> str:
    """Return a length of time as a person would say it, such as `8 years`."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < 60:
        return "under a minute"
    for unit, length in _UNITS.items():
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}s"
    return "1 minute"


def plain_json(value: object) -> str:
    """Return a value as JSON in which every character that is not printable is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def title(text: str, most: int = 80) -> str:
    """Return the title of a review in quotation marks, or a note that it has none.

    It takes at most `most` columns.
    """
    return f"“{plain(text, most - 2)}”" if text else "(no title)"


def plain(text: str, most: int) -> str:
    """Return a customer's text on one line of at most `most` columns, all of it printable."""
    text = cut("".join(char if char.isprintable() else " " for char in text), most)
    while wide(text) > most and len(text) > 1:
        text = cut(text, len(text) - 1)
    return text


def phrase_product(review: Review, product: Product, most: int) -> str:
    """Return the product that a review is about, or `the site`."""
    name = product.name or (f"product {review.entity_id}" if review.entity_id else "the site")
    return plain(name, most)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print one line for each finding, and exit: with 1 if one has failed, else with 0."""
    sys.exit(0 if show_findings(findings) else 1)


def show_findings(findings: Sequence[Finding]) -> bool:
    """Print one line for each finding; return whether none has failed."""
    for finding in findings:
        word = "warn" if finding.ok and finding.warning else "ok  " if finding.ok else "FAIL"
        shown = click.style(word, **_FINDINGS[word])
        click.echo(f"{shown}  {finding.subject}: {finding.text}")
    return all(finding.ok for finding in findings)
