"""Print tables, JSON and customers' text on a terminal that none of it can control."""

import json
import sys
from collections.abc import Sequence

import click

from alerter.models import Finding, Product, Review
from alerter.render.formatting import cut


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose columns are aligned; without a head if it is empty."""
    shown = [head, *rows] if head else [*rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in aligned columns on a terminal, else with a tab between their cells."""
    lines = table((), rows) if sys.stdout.isatty() else map("\t".join, rows)
    for line in lines:
        click.echo(line)


def plain_json(value: object) -> str:
    """Return a value as JSON in which every character that is not printable is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def title(text: str, most: int = 80) -> str:
    """Return the title of a review in quotation marks, or a note that it has none."""
    return f"“{plain(text, most)}”" if text else "(no title)"


def plain(text: str, most: int) -> str:
    """Return a customer's text on one line of at most `most` characters, all of them printable."""
    return cut("".join(char if char.isprintable() else " " for char in text), most)


def phrase_product(review: Review, product: Product, most: int) -> str:
    """Return the product that a review is about, or `the site`."""
    name = product.name or (f"product {review.entity_id}" if review.entity_id else "the site")
    return plain(name, most)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print one line for each finding, and exit: with 1 if one has failed, else with 0."""
    for finding in findings:
        word = "warn" if finding.ok and finding.warning else "ok  " if finding.ok else "FAIL"
        click.echo(f"{word}  {finding.subject}: {finding.text}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)
