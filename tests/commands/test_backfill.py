"""What `alerter backfill --dry-run` prints."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerter.cli import main
from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Product
from alerter.store import State, products
from tests.support.backfill import put, wix
from tests.support.values import SECRETS, SITE

__all__ = ["wix"]

V3 = "/stores/v3/products/rye"


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Iterator[Path]:
    umask = os.umask(0o022)
    yield write_config(wix, slack, mailbox)
    os.umask(umask)


def load(path: Path) -> Config:
    return load_config(path, SECRETS, secrets=True)


async def dry_run(path: Path, *args: str) -> list[str]:
    """Run the command in a thread, so that the embedded Wix can answer; return its lines."""
    command = ["backfill", "--config", str(path), "--dry-run", *args]
    result = await asyncio.to_thread(CliRunner().invoke, main, command, env=SECRETS)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


async def test_a_dry_run_prints_date_stars_product_title_and_id(
    path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "first", hours=11)
    put(wix, "second", rating=2, days=1, entityId="unknown", content={"rating": 2})
    put(wix, "third", days=2, entityId=None, content={"rating": 1, "title": "a\x1b[31m\u202eb\nc"})
    assert await dry_run(path, "--since", "2024-07-01") == [
        "Corner Bakery: would alert 3 reviews",
        "2024-07-02  ★☆☆☆☆  Rye bread        “<first>”    first",
        "2024-07-02  ★★☆☆☆  product unknown  (no title)   second",
        "2024-07-03  ★☆☆☆☆  the site         “a[31m b c”  third",
    ]
    assert not load(path).database.exists()


async def test_a_dry_run_reads_no_product_twice_and_none_whose_name_is_stored(
    path: Path, wix: EmbeddedWix
) -> None:
    for index in range(120):
        put(wix, f"r{index}", minutes=index)
    listed = await dry_run(path, "--since", "2024-07-01")
    assert sum("  Rye bread  " in line for line in listed) == 120
    assert [request.path for request in wix.requests].count(V3) == 1

    with State.open(load(path).database, migrate=True) as state:
        products.put_products(state, SITE, {"rye": Product("Rye loaf")}, Clock().now())
    wix.requests.clear()
    assert "  Rye loaf  " in (await dry_run(path, "--since", "2024-07-01"))[1]
    assert [request.path for request in wix.requests].count(V3) == 0


async def test_a_dry_run_takes_relative_days(path: Path, wix: EmbeddedWix) -> None:
    put(wix, "old")
    assert await dry_run(path, "--since", "30d") == ["Corner Bakery: would alert 0 reviews"]
    assert len(await dry_run(path, "--since", "9999d", "--until", "yesterday")) == 2
