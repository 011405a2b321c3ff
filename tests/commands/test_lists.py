"""`alerter sites` and `alerter channels`, against the embedded services."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from tests.support.values import CHANNEL, SECRETS, SITE

ACCOUNT, ACCOUNT_KEY = "account-1", "account-key-2b7e"
OTHER = "22222222-2222-4222-8222-222222222222"
ENVIRON = SECRETS | {"ACCOUNT_KEY": ACCOUNT_KEY}
KEY = ("--wix-api-key", "env:ACCOUNT_KEY")
TOKEN = ("--slack-token", "env:SLACK_BOT_TOKEN")

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix() as wix:
        wix.add_site(SITE, name="Corner Bakery")
        wix.add_site(OTHER, name="A tea house")
        wix.add_account(ACCOUNT, ACCOUNT_KEY, [SITE, OTHER])
        yield wix


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder of its own, beside the services."""
    monkeypatch.chdir(tmp_path)

    async def run(*args: str, **environ: str) -> Result:
        runner = CliRunner(catch_exceptions=False)
        umask = os.umask(0o022)
        try:
            return await asyncio.to_thread(runner.invoke, main, args, env=ENVIRON | environ)
        finally:
            os.umask(umask)

    return run


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    path = write_config(wix, slack, mailbox)
    text = path.read_text().replace("[wix]\n", f'[wix]\naccount_id = "{ACCOUNT}"\n')
    path.write_text(text.replace("env:WIX_API_KEY", "env:ACCOUNT_KEY"))
    return path


# sites


async def test_sites_are_listed_by_name_with_their_ids(run: Run, wix: EmbeddedWix) -> None:
    url = ("--wix-base-url", wix.base_url)
    result = await run("sites", *KEY, "--wix-account-id", ACCOUNT, *url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{OTHER}\tA tea house\n{SITE}\tCorner Bakery\n"


@pytest.mark.usefixtures("config")
async def test_the_config_has_the_key_and_the_account(run: Run, wix: EmbeddedWix) -> None:
    result = await run("sites")
    assert result.stdout == f"{OTHER}\tA tea house\n{SITE}\tCorner Bakery\n"
    assert wix.requests[0].headers["wix-account-id"] == ACCOUNT


@pytest.mark.usefixtures("config")
async def test_a_flag_goes_before_the_config(run: Run, wix: EmbeddedWix) -> None:
    result = await run("sites", "--wix-account-id", "account-2")
    assert result.exit_code == 1
    assert "Wix refuses us" in result.stderr
    assert ACCOUNT_KEY not in result.output


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ((), "give --wix-api-key and --wix-account-id"),
        (KEY, "give --wix-account-id"),
        (("--wix-account-id", ACCOUNT), "give --wix-api-key"),
    ],
)
async def test_what_is_missing_is_named(run: Run, flags: tuple[str, ...], missing: str) -> None:
    result = await run("sites", *flags)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"{missing}\n")


async def test_a_config_that_was_asked_for_has_to_be_there(run: Run) -> None:
    result = await run("sites", "--config", "none.toml")
    assert result.exit_code == 2
    assert "none.toml: there is no such config file" in result.stderr


# Flags with secrets


@pytest.mark.parametrize("command", ["sites", "channels"])
@pytest.mark.parametrize("secret", ["xoxb-1-secret", "token:xoxb-1-secret", "env:", "file:"])
async def test_a_literal_secret_in_a_flag_is_a_fault(run: Run, command: str, secret: str) -> None:
    flag = "--wix-api-key" if command == "sites" else "--slack-token"
    result = await run(command, flag, secret)
    assert result.exit_code == 2
    assert f"'{flag}'" in result.stderr
    assert 'must be "env:NAME"' in result.stderr
    assert "xoxb-1-secret" not in result.output


async def test_a_variable_that_is_not_set_is_a_fault(run: Run) -> None:
    result = await run("channels", "--slack-token", "env:NOT_SET")
    assert result.exit_code == 2
    assert "the environment variable NOT_SET is not set" in result.stderr


async def test_a_secret_may_be_in_a_file(run: Run, slack: EmbeddedSlack, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRETS["SLACK_BOT_TOKEN"])
    url = ("--slack-base-url", slack.base_url)
    result = await run("channels", "--slack-token", "file:token", *url)
    assert result.stdout == f"{CHANNEL}\t#reviews\n"


# channels


async def test_channels_are_listed_by_name_without_archived_ones(
    run: Run, slack: EmbeddedSlack
) -> None:
    slack.add_channel("C3", "all", member=False)
    slack.add_channel("C4", "old", archived=True)
    slack.add_channel("C5", "private", private=True)
    slack.add_channel("C6", "hidden", private=True, member=False)
    result = await run("channels", *TOKEN, "--slack-base-url", slack.base_url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"C3\t#all\nC5\t#private\n{CHANNEL}\t#reviews\n"


@pytest.mark.usefixtures("config")
async def test_the_config_has_the_token(run: Run) -> None:
    assert (await run("channels")).stdout == f"{CHANNEL}\t#reviews\n"


async def test_without_a_token_the_flag_is_named(run: Run) -> None:
    result = await run("channels")
    assert result.exit_code == 2
    assert "give --slack-token" in result.stderr


async def test_a_refused_token_is_an_error(run: Run, slack: EmbeddedSlack) -> None:
    slack.revoke(SECRETS["SLACK_BOT_TOKEN"])
    result = await run("channels", *TOKEN, "--slack-base-url", slack.base_url)
    assert result.exit_code == 1
    assert "Slack refuses the token (token_revoked)" in result.stderr


async def test_the_list_waits_as_long_as_slack_asks(run: Run, slack: EmbeddedSlack) -> None:
    limited = Fault(429, {"Retry-After": "1"}, '{"ok": false, "error": "ratelimited"}')
    slack.faults.add("conversations.list", limited)
    result = await run("channels", *TOKEN, "--slack-base-url", slack.base_url)
    assert result.stdout == f"{CHANNEL}\t#reviews\n"


async def test_columns_are_aligned_on_a_terminal(slack: EmbeddedSlack) -> None:
    slack.add_channel("C3", "all")
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "alerter", "channels", *TOKEN, "--slack-base-url", slack.base_url),
        stdout=slave,
        env=os.environ | ENVIRON,
    )
    os.close(slave)
    assert await process.wait() == 0
    shown = await asyncio.to_thread(os.read, master, 1000)
    os.close(master)
    assert shown.decode().split("\r\n") == ["C3           #all", f"{CHANNEL}  #reviews", ""]
