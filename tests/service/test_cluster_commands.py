"""Commands beside the workers of a cluster."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.config import load_config
from alerter.config.state import PostgresUrl
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from tests.support.values import OWNER, SECRETS, SITE
from tests.support.waiting import until
from tests.support.workers import Workers

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
CAFE = "22222222-2222-4222-8222-222222222222"
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    return write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra='[poll]\nevery = "1s"')


@pytest.fixture
def other(path: Path) -> Path:
    """The config on another machine."""
    other = path.with_name("other.toml")
    other.write_text(path.read_text())
    return other


@pytest.fixture
async def workers(database: PostgresUrl, tmp_path: Path) -> AsyncIterator[Workers]:
    workers = Workers(database, tmp_path)
    yield workers
    try:
        codes = await workers.stop()
    finally:
        workers.kill()
    assert set(codes) <= {0}


@pytest.fixture
def run(path: Path) -> Run:
    async def run(*args: str | Path) -> Result:
        command = [*map(str, args), "--config", str(path)]
        return await asyncio.to_thread(CliRunner().invoke, main, command, env=SECRETS)

    return run


def put(wix: EmbeddedWix, name: str) -> None:
    wix.add(SITE, {"id": name, "content": {"rating": 1, "title": name}})


def received(mailbox: Mailbox, title: str) -> int:
    return sum(title in str(mail.message["Subject"]) for mail in mailbox.mails)


@pytest.mark.slow(9)
async def test_a_reload_reaches_every_worker(
    workers: Workers, run: Run, path: Path, other: Path
) -> None:
    await workers.start(path, path, other)
    places = [worker.place for worker in workers.report().workers]
    text = path.read_text()
    changed = text.replace('name = "owner"', 'name = "the owner"')
    path.write_text(changed)
    other.write_text(text.replace("env:SMTP_PASSWORD", "env:OTHER"))
    refused = await run("reload")
    assert refused.exit_code == 1
    assert refused.stdout.count("has taken the config") == 2
    assert "goes on with the old config:\n  smtp.password: the environment" in refused.stderr

    other.write_text(changed)
    taken = await run("reload")
    assert taken.exit_code == 0, taken.output
    assert {line.split()[0] for line in taken.stdout.splitlines()} == set(places)
    assert {worker.config for worker in workers.report().workers} == {2}


async def test_a_reload_says_where_workers_have_other_files(
    workers: Workers, run: Run, path: Path, other: Path
) -> None:
    await workers.start(path, other)
    path.write_text(path.read_text().replace('name = "owner"', 'name = "the owner"'))
    result = await run("reload")
    assert result.exit_code == 1
    assert result.stdout.count("has taken the config") == 2
    assert "workers disagree about the config" in result.stderr


async def test_a_reload_is_not_made_again_by_a_worker_that_starts_later(
    workers: Workers, run: Run, path: Path
) -> None:
    await workers.start(path)
    assert (await run("reload")).exit_code == 0
    await workers.start(path)
    assert (await run("reload")).exit_code == 0
    assert [workers.log(number).count("reloading") for number in (0, 1)] == [2, 1]


async def test_a_reload_without_a_worker_says_so(run: Run, database: PostgresUrl) -> None:
    result = await run("reload")
    assert result.exit_code == 1
    assert f"no `alerter run` works on {database}: start it" in result.output


async def test_a_restore_waits_for_nobody_and_names_the_workers(
    workers: Workers, run: Run, path: Path, tmp_path: Path
) -> None:
    await workers.start(path, path)
    assert (await run("backup", tmp_path / "copy.db")).exit_code == 0
    refused = await run("restore", tmp_path / "copy.db")
    assert refused.exit_code == 1
    assert re.search("2 workers use .*; stop all workers first", refused.output)


async def test_one_round_beside_workers_has_nothing_to_do(
    workers: Workers, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await workers.start(path)
    caplog.set_level(logging.INFO, "alerter")
    assert await serve(load_config(path, SECRETS, secrets=True), Clock(), {}, once=True)
    assert "is at work on postgresql://" in caplog.text
    assert "nothing to do" in caplog.text


async def test_workers_deliver_what_a_backfill_and_a_retry_queue(
    workers: Workers, run: Run, path: Path, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for name in ("first", "second"):
        put(wix, name)
    await workers.start(path, path)
    await until(lambda: "watching" in workers.logs())
    mailbox.data_replies.extend(["554 5.7.1 Spam"] * 2)
    filled = await run("backfill", "--since", "2015-01-01", "--deliver", "each")
    assert "1 delivery has failed" in filled.output
    assert "1 failed delivery is queued again" in (await run("retry")).output
    await until(lambda: all(received(mailbox, title) == 1 for title in ("first", "second")))


async def test_a_backfill_without_a_worker_delivers_by_itself(
    workers: Workers, run: Run, path: Path, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    put(wix, "first")
    await workers.start(path)
    await until(lambda: "watching" in workers.logs())
    await workers.stop()
    filled = await run("backfill", "--since", "2015-01-01")
    assert "everything is delivered" in filled.output
    assert len(mailbox.mails) == 1


async def test_a_reply_from_the_command_line_closes_a_review_for_all(
    workers: Workers, run: Run, path: Path, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    await workers.start(path, path)
    await until(lambda: "watching" in workers.logs())
    put(wix, "first")
    await until(lambda: len(mailbox.mails) == 1)
    replied = await run("reply", "first", "--message", "Thank you.", "--yes")
    assert "Wix has taken the reply" in replied.output, replied.output
    explained = await run("explain", "first")
    assert "answered" in explained.output


async def test_a_site_is_forgotten_beside_workers_once_they_are_reloaded(
    workers: Workers, run: Run, path: Path, wix: EmbeddedWix
) -> None:
    await workers.start(path, path)
    wix.add_site(CAFE, api_key=SECRETS["WIX_API_KEY"])
    text = path.read_text().replace('name = "Corner Bakery"', 'name = "Café"')
    path.write_text(text.replace(SITE, CAFE))
    early = await run("forget", "--site", "Corner Bakery")
    assert "still watches Corner Bakery: reload it first" in early.output
    assert (await run("reload")).exit_code == 0
    assert (await run("forget", "--site", "Corner Bakery")).exit_code == 0
