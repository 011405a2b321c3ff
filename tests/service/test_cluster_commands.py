"""Commands beside the workers of a cluster."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.config.state import PostgresUrl
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from tests.support.values import OWNER, SECRETS, SITE
from tests.support.workers import Workers

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
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
