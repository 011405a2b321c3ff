"""Measure rows, print a table and write it as JSON: `python -m benchmarks [ROW]…`."""

import argparse
import importlib
import json
import pkgutil
import platform
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import rows
from benchmarks.figures import Figure, table
from benchmarks.processes import load

_ROWS = [
    "idle_round", "peak_rounds", "record", "backfill", "slack", "channels", "email", "mailboxes",
    "alertmanager", "latency", "webhook",
    "pending", "start", "at_rest", "many_sites", "account",
    "cluster_rounds", "cluster_alerts", "cluster_latency", "cluster_takeover", "cluster_million",
]  # fmt: skip
_BEGIN, _END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def main() -> None:
    """Measure the rows of the command line, or all."""
    options = _options()
    began, about = time.monotonic(), _about()
    print(about)
    figures: list[Figure] = []
    for name in options.rows or _ROWS:
        row_began = time.monotonic()
        found = importlib.import_module(f"benchmarks.rows.{name}").measure(quick=options.quick)
        figures += found
        print(f"{name}: {time.monotonic() - row_began:.0f} s\n{table(found)}", flush=True)
    minutes = (time.monotonic() - began) / 60
    about += f"; {minutes:.0f} min; load at its end {load().partition('load ')[2]}"
    print(f"\n{about}\n\n{table(figures)}")
    missed = sum(not figure.good for figure in figures)
    print(f"\n{len(figures) - missed} of {len(figures)} goals reached")
    options.json.write_text(
        json.dumps({"about": about, "figures": [each.as_json() for each in figures]}, indent=2)
        + "\n"
    )
    if options.into:
        _replace_figures(options.into, f"{about}\n\n{table(figures)}\n")


def _options() -> argparse.Namespace:
    known = sorted(module.name for module in pkgutil.iter_modules(rows.__path__))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", choices=[[], *known], metavar="ROW", help=", ".join(_ROWS)
    )
    parser.add_argument("--quick", action="store_true", help="measure less of everything")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks.json"), help="the file for the figures"
    )
    parser.add_argument(
        "--into",
        type=Path,
        help="a document to write the table into, such as docs/performance.md",
    )
    return parser.parse_args()


def _about() -> str:
    python = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {sys.platform}"
    return f"{datetime.now(UTC):%Y-%m-%d}, {python}, {load()} at its start"


def _replace_figures(document: Path, text: str) -> None:
    before, _, rest = document.read_text("utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    document.write_text(f"{before}{_BEGIN}{text}{_END}{after}", "utf-8")


if __name__ == "__main__":
    main()
