"""`alerter export`: write reviews, their alerts and the times to answer to standard output."""

import csv
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites, parse_day
from alerter.models import AlertKind
from alerter.store import State
from alerter.store.export import ExportedReview, exported_reviews

COLUMNS = (
    "site",
    "review_id",
    "created_at",
    "rating",
    "title",
    "body",
    "author",
    "product",
    "topics",
    "moderation",
    "status",
    "closing",
    "alerted_at",
    "alerts",
    "reminders",
    "new_at",
    "lowered_at",
    "reminded_at",
    "closed_at",
    "answered",
    "answered_at",
    "answered_by",
    "seconds_to_answer",
)
# Spreadsheets run a cell that begins with one of these as a formula, some of them also in another
# width and after spaces or quotes: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = frozenset("=+-@\N{MINUS SIGN}")
_QUOTES = frozenset("\"'`")
# The kinds of alerts in the order of their columns, from `new_at` on.
_KINDS = (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER, AlertKind.CLOSED)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _Utf8:
    """Takes text for a binary file: a locale with another encoding makes no difference."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "replace"))


def row_of(found: ExportedReview, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a line, by column; `names` are those of sites, by id."""
    review = found.review
    values = (
        names.get(found.site_id, found.site_id),
        review.id,
        found.created_at,
        review.rating,
        review.title,
        review.body,
        review.author,
        found.product,
        review.topics,
        review.moderation,
        str(found.status),
        str(found.closing or ""),
        found.alerted_at,
        found.alerts,
        found.reminders,
        *(found.newest.get(kind) for kind in _KINDS),
        found.answered,
        found.answered_at,
        found.answered_by,
        found.seconds_to_answer,
    )
    return dict(zip(COLUMNS, map(_plain_value, values), strict=True))


def _plain_value(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def write_csv(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    """Write a line of names, and one line for each row; no cell is a formula or has lines."""
    writer = csv.writer(_Utf8(file), lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = ", ".join(value)
    text = "" if value is None else str(value)
    text = f"'{text}" if _is_formula(text) else text
    return text if text.isprintable() else _CONTROL.sub(" ", text)


def _is_formula(text: str) -> bool:
    """Whether the first character that a spreadsheet may look at begins a formula."""
    for char in text:
        if char not in _QUOTES and unicodedata.category(char)[0] not in "CZ":
            return unicodedata.normalize("NFKC", char)[0] in _FORMULA
    return False


def write_json(rows: Iterable[Mapping[str, Any]], file: BinaryIO) -> None:
    """Write one JSON object a line; characters that control a terminal are escaped."""
    out = _Utf8(file)
    for row in rows:
        line = json.dumps(row, ensure_ascii=False)
        if not line.isprintable():
            line = _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], line)
        out.write(f"{line}\n")


@click.command()
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json"]),
    required=True,
    help="csv with a line of names, or one JSON object a line.",
)
@click.option(
    "--since",
    metavar="DATE",
    help="Only reviews created on this day or later: a date, today, yesterday or 30d.",
)
def command(path: Path | None, form: str, since: str | None) -> None:
    """Write the recorded reviews, one a line: its alerts, who answered, and after how long."""
    config = load_with_sites(path, secrets=False)
    start = parse_day(config, since, "--since", Clock().now()) if since else None
    names = config.site_names
    with State.read(config.database) as state:
        found = exported_reviews(state, list(names), start)
        rows = (row_of(each, names) for each in found)
        write = write_csv if form == "csv" else write_json
        write(rows, sys.stdout.buffer)
        sys.stdout.buffer.flush()
