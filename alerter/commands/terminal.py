"""What commands print for people: tables, lengths of time, and text that cannot disturb a terminal."""

import json
import sys
from collections.abc import Sequence
from datetime import timedelta

import click

from alerter.models import Finding
from alerter.render.formatting import cut


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns one below the other."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]


def span(length: timedelta) -> str:
    """A length of time in one unit."""
    seconds = max(int(length.total_seconds()), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def plain_json(value: object) -> str:
    """JSON for machines that is harmless on a terminal: what does not show as itself is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def title(text: str, most: int = 80) -> str:
    """The title of a review, which many customers leave out."""
    return f"“{plain(text, most)}”" if text else "(no title)"


def plain(text: str, most: int) -> str:
    """What a customer wrote, on one line and without what a terminal would obey."""
    return cut("".join(char if char.isprintable() else " " for char in text), most)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a line each, and exit: 0 where all is good, else 1."""
    for finding in findings:
        word = "warn" if finding.ok and finding.warning else "ok  " if finding.ok else "FAIL"
        click.echo(f"{word}  {finding.subject}: {finding.text}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)
