"""Draw what `alerter replay` prints, for docs/replay.md; `docs/pictures.py` writes it."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from alerter.clock import Clock
from alerter.commands.replay import cells_of, summary_of
from alerter.commands.terminal import table
from alerter.config import Config, Site, load_config
from alerter.models import Review
from alerter.store import State, known_sites
from alerter.watch.comparison import compare
from alerter.watch.intake import Intake
from alerter.watch.past import read_past
from alerter.watch.replay import replay

SITE = "11111111-1111-4111-8111-111111111111"
CONFIG = f"""
state = "state.db"
timezone = "Europe/Berlin"

[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:UNUSED"

[slack]
token = "env:UNUSED"

[smtp]
host = "127.0.0.1"
port = 25
security = "none"
from = "alerts@example.com"

[[receivers]]
name = "team"
slack = "C0123456789"
"""
NEW = """
quiet = {from = "20:00", to = "08:00"}
urgent_max_rating = 1

[[receivers]]
name = "owner"
email = ["owner@example.com"]
max_rating = 1
"""
START = datetime(2026, 11, 16, tzinfo=UTC)
REVIEWS = (
    ("4c1d7a90-5e0b", 2, 9.2),
    ("b7730f1e-93c4", 1, 21.5),
    ("09ee52d8-1f77", 2, 44.8),
    ("e2c4418a-6d05", 1, 61.3),
)
COMMAND = "$ alerter replay --since 10d --config new.toml"
STYLE = """
  rect { fill: #f6f8fa; stroke: #d1d9e0; }
  text { font: 13px ui-monospace, monospace; fill: #1f2328; white-space: pre; }
  .added { fill: #1a7f37; }
  .removed { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    rect { fill: #151b23; stroke: #3d444d; }
    text { fill: #f0f6fc; }
    .added { fill: #3fb950; }
    .removed { fill: #f85149; }
  }
"""
_TITLE = "What a new receiver and quiet hours would have changed, line by line"
_LINE = 20
_CLASSES = {"+": "added", "-": "removed"}


class _Moment(Clock):
    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment


class _NoProducts:
    async def fetch_products(self, site: Site, reviews: Iterable[Review]) -> None:
        """Do nothing."""


def _load(folder: Path, text: str) -> Config:
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return load_config(path, {}, secrets=False)


async def _printed(folder: Path) -> list[str]:
    before, clock = _load(folder, CONFIG), _Moment()
    with State.in_memory(folder) as state:
        known_sites.record_coverage(state, SITE, 2)
        intake = Intake(state, before, clock, _NoProducts(), lambda _: None)
        for review_id, rating, hours in REVIEWS:
            clock.moment = START + timedelta(hours=hours)
            review = Review(review_id, rating, clock.moment, revision=1)
            await intake.record_page(before.sites[0], [review])
        clock.moment += timedelta(hours=30)
        config = _load(folder, CONFIG + NEW)
        past = read_past(state, config)
    replayed = await replay(past, config, START, clock.moment)
    lines = compare(past.alerts, replayed, timedelta())
    rows = [cells_of(config, past, line) for line in lines]
    return [*table((), rows), summary_of(lines)]


def draw_replay() -> str:
    """Return the picture as SVG."""
    with TemporaryDirectory() as folder:
        printed = [COMMAND, *asyncio.run(_printed(Path(folder)))]
    height = _LINE * (len(printed) + 1)
    drawn = "\n".join(
        f'<text class="{_CLASSES.get(line[:1], "same")}" x="16" y="{_LINE * number + 26}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(printed)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {height + 8}" width="860"'
        f' role="img" aria-label="{_TITLE}">\n<title>{_TITLE}</title>\n<style>{STYLE}</style>\n'
        f'<rect x="1" y="1" width="858" height="{height + 6}" rx="8"/>\n{drawn}\n</svg>\n'
    )
