"""Commands with a config whose sites come from an account."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from tests.support.clock import SetClock
from tests.support.values import SECRETS, SITE

TEA, ROOM = (f"{digit * 8}-2222-4222-8222-222222222222" for digit in "23")
KEY = "agency-key-3c1d"
KEYS = SECRETS | {"AGENCY": KEY}
EXTRA = """
[[receivers]]
name = "owner"
email = ["owner@example.com"]
sites = ["Tea *"]

[[accounts]]
name = "Agency"
api_key = "env:AGENCY"
account_id = "agency-1"
"""

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        for site_id, name in ((TEA, "Tea House"), (ROOM, "Tea Room")):
            wix.add_site(site_id, name=name)
        wix.add_account("agency-1", KEY, [TEA, ROOM])
        yield wix


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    """A config with an account and no site."""
    path = write_config(wix, slack, mailbox, extra=EXTRA, receivers="")
    text = path.read_text()
    begin, end = text.index("[[sites]]"), text.index("[smtp]")
    path.write_text(text[:begin] + text[end:])
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return load_config(path, KEYS, secrets=True)


@pytest.fixture
def run(path: Path) -> Run:
    """Run a command in a thread, beside the services."""

    async def run(*args: str) -> Result:
        umask = os.umask(0o022)
        try:
            return await asyncio.to_thread(
                CliRunner(catch_exceptions=False).invoke,
                main,
                [*args, "--config", str(path)],
                env=KEYS,
            )
        finally:
            os.umask(umask)

    return run


async def test_check_lists_the_account_and_reads_its_sites(run: Run) -> None:
    result = await run("check")
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert lines[:2] == ["ok    config: 2 sites, 1 receiver", "ok    account Agency: 2 sites"]
    assert "ok    site Tea House: its reviews can be read, unpublished ones too" in lines
    assert not [line for line in lines if line.startswith(("warn", "FAIL"))]


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("another", "; check its api_key in the config"),
        (KEY, "grant its key the permission to list sites"),
    ],
)
async def test_check_says_what_an_account_that_is_refused_needs(
    run: Run, wix: EmbeddedWix, monkeypatch: pytest.MonkeyPatch, key: str, remedy: str
) -> None:
    monkeypatch.setitem(KEYS, "AGENCY", key)
    wix.forbid(KEY, "SITE_LIST")
    result = await run("check")
    assert result.exit_code == 1
    [line] = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith("FAIL  account Agency: Wix refuses us")
    assert remedy in line


async def test_check_warns_of_unknown_names_and_of_sites_without_receiver(
    run: Run, path: Path
) -> None:
    path.write_text(path.read_text().replace('["Tea *"]', '["Tea Hut", "Coffee *"]'))
    result = await run("check")
    assert result.exit_code == 0
    warnings = [line for line in result.stdout.splitlines() if line.startswith("warn")]
    assert warnings == [
        'warn  receiver owner: no site is called "Tea Hut" now',
        'warn  receiver owner: no site is called "Coffee *" now',
        (
            "warn  account Agency: no receiver gets its reviews with 1 or 2 stars; add one that"
            " does (2 sites, such as Tea House)"
        ),
    ]


async def test_check_reads_a_few_sites_of_a_large_account(run: Run, wix: EmbeddedWix) -> None:
    site_ids = [f"site-{number}" for number in range(70)]
    for number, site_id in enumerate(site_ids):
        wix.add_site(site_id, name=f"Tea {number}")
    wix.add_account("agency-1", KEY, site_ids)
    result = await run("check")
    lines = result.stdout.splitlines()
    assert "ok    account Agency: 70 sites, of which 50 are read here" in lines
    assert sum(line.startswith("ok    site ") for line in lines) == 50


async def test_commands_know_the_sites_without_a_call(
    run: Run, wix: EmbeddedWix, config: Config, clock: SetClock
) -> None:
    wix.add(TEA, {"id": "past", "content": {"rating": 1, "title": "Stale"}})
    assert await serve(config, clock, {}, once=True)
    asked = len(wix.requests)
    status = await run("status", "--json")
    sites = json.loads(status.stdout)["sites"]
    assert [(site["site_id"], site["name"]) for site in sites] == [
        (TEA, "Tea House"),
        (ROOM, "Tea Room"),
    ]
    assert "Tea House" in (await run("explain", "past")).stdout
    forget = await run("forget", "--site", "Tea House")
    assert (forget.exit_code, "the config still has the site" in forget.stderr) == (2, True)
    assert len(wix.requests) == asked


async def test_a_backfill_alerts_the_past_of_a_site_of_an_account(
    run: Run, wix: EmbeddedWix, config: Config, clock: SetClock, mailbox: Mailbox
) -> None:
    wix.add(TEA, {"id": "past", "content": {"rating": 1, "title": "Stale"}})
    assert await serve(config, clock, {}, once=True)
    result = await run("backfill", "--since", "2026-11-01", "--site", "Tea House")
    assert result.exit_code == 0, result.output
    assert "Tea House" in mailbox.mails[-1].subject


async def test_a_test_alert_and_a_preview_need_no_site(
    run: Run, path: Path, mailbox: Mailbox, tmp_path: Path
) -> None:
    assert (await run("check", "--offline")).exit_code == 0
    assert (await run("test")).exit_code == 0
    assert "Corner Bakery" in mailbox.mails[-1].subject
    assert (await run("preview", "--to", str(tmp_path / "out"))).exit_code == 0


async def test_sites_lists_those_of_the_accounts_of_the_config(run: Run) -> None:
    result = await run("sites")
    assert result.stdout == f"{TEA}\tTea House\n{ROOM}\tTea Room\n"
    assert SITE not in result.stdout
