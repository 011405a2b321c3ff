"""`alerter init` on a terminal: a real process that is answered by hand, and interrupted."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alerter.config import load_config
from alerter.demo.stage import ACCOUNT_ID, SITE_ID, Stage, open_stage
from tests.support.terminal import CTRL_C, Terminal, on_a_terminal

KEY, TOKEN, PASSWORD = "demo-api-key", "xoxb-demo-token", "demo-password"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    (tmp_path / "stage").mkdir()
    async with open_stage(tmp_path / "stage", None) as stage:
        yield stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
async def terminal(stage: Stage, folder: Path) -> AsyncIterator[Terminal]:
    urls = ("--wix-base-url", stage.wix.base_url, "--slack-base-url", stage.slack.base_url)
    async with on_a_terminal("init", *urls, cwd=folder) as terminal:
        yield terminal


@pytest.mark.slow
async def test_every_question_is_asked_again_until_its_answer_is_right(
    terminal: Terminal, stage: Stage, folder: Path
) -> None:
    await terminal.answer("API key (not shown)", "wrong")
    await terminal.answer("Account ID", ACCOUNT_ID)
    await terminal.read_until("copy it again, whole")
    await terminal.answer("API key (not shown)", KEY)
    await terminal.answer("Account ID", ACCOUNT_ID)
    await terminal.answer("or all", "Bakery")
    await terminal.read_until('did you mean "Corner Bakery"?')
    await terminal.answer("or all", "1")
    await terminal.answer("Addresses", "owner")
    await terminal.read_until("must be a mail address")
    await terminal.answer("Addresses", "owner@example.com, boss@example.com")
    await terminal.answer("From [owner@example.com]", "alerts@example.com")
    await terminal.answer("Mail server:", stage.mailbox.host)
    await terminal.answer("Port", str(stage.mailbox.port))
    await terminal.answer("User name", "alerts")
    await terminal.answer("Password (not shown)", "wrong")
    await terminal.read_until("535 to the login")
    await terminal.answer("Mail server [127.0.0.1]", "")
    await terminal.answer(f"Port [{stage.mailbox.port}]", "")
    await terminal.answer("User name (- for none) [alerts]", "")
    await terminal.answer("Password (not shown)", PASSWORD)
    await terminal.answer("Alert a Slack channel?", "y")
    await terminal.read_until("https://api.slack.com/apps?new_app=1&manifest_json=%7B")
    await terminal.answer("Bot User OAuth Token (not shown)", "xoxb-wrong")
    await terminal.read_until("invalid_auth")
    await terminal.answer("Bot User OAuth Token (not shown)", TOKEN)
    await terminal.read_until("The app is in #reviews.")
    await terminal.answer("Channel:", "revews")
    await terminal.read_until('did you mean "#reviews"?')
    await terminal.answer("Channel:", "reviews")
    await terminal.answer("Send a test alert now?", "y")
    assert await terminal.end() == 0
    assert "Start alerter: alerter run --config config.toml" in terminal.shown
    assert not any(secret in terminal.shown for secret in (KEY, TOKEN, PASSWORD))
    assert (len(stage.mailbox.mails), len(stage.slack.posts)) == (1, 1)

    files = {path.name: path for path in folder.iterdir()}
    assert files.keys() == {"config.toml", "wix-api-key", "smtp-password", "slack-token"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    config = load_config(files["config.toml"], {}, secrets=True)
    assert [site.site_id for site in config.sites] == [SITE_ID]
    assert config.receivers[0].email == ("owner@example.com", "boss@example.com")
    assert config.slack
    assert config.slack.token.get_secret_value() == TOKEN


@pytest.mark.slow
async def test_where_wix_lists_no_sites_the_id_of_one_is_enough(
    terminal: Terminal, stage: Stage, folder: Path
) -> None:
    stage.wix.forbid(KEY, "SITE_LIST")
    await terminal.answer("API key (not shown)", KEY)
    await terminal.answer("Account ID", ACCOUNT_ID)
    await terminal.read_until("may not list its sites")
    await terminal.answer("API key (not shown)", KEY)
    await terminal.answer("Enter to give the id of a site instead", "")
    await terminal.answer("Site id", "corner-bakery")
    await terminal.answer("Site id", SITE_ID)
    await terminal.answer("Its name", "Our bakery")
    await terminal.answer("Addresses", "")
    await terminal.answer("Bot User OAuth Token (not shown)", TOKEN)
    await terminal.answer("Channel:", "C0123456789")
    await terminal.read_until("Send a test alert now?")
    assert await terminal.end(CTRL_C) == 1
    assert "alerter run" in terminal.shown.rpartition("Send a test alert now?")[2]
    config = load_config(folder / "config.toml", {}, secrets=True)
    assert [(site.name, site.site_id) for site in config.sites] == [("Our bakery", SITE_ID)]
    assert config.wix.account_id is None


@pytest.mark.slow
async def test_a_wrong_flag_is_asked_for_and_all_sites_may_be_chosen(
    stage: Stage, folder: Path
) -> None:
    urls = ("--wix-base-url", stage.wix.base_url, "--slack-base-url", stage.slack.base_url)
    flags = ("--wix-api-key", "env:KEY", "--wix-account-id", ACCOUNT_ID, "--slack-token", "env:KEY")
    async with on_a_terminal("init", *flags, *urls, cwd=folder, KEY="wrong") as terminal:
        await terminal.read_until("copy it again, whole")
        await terminal.answer("API key (not shown)", KEY)
        await terminal.answer("Account ID", ACCOUNT_ID)
        await terminal.read_until("all  all sites, also those that are added later")
        await terminal.answer("or all", "all")
        await terminal.answer("Addresses", "")
        await terminal.read_until("invalid_auth")
        await terminal.answer("Bot User OAuth Token (not shown)", TOKEN)
        await terminal.answer("Channel:", "#reviews")
        await terminal.read_until("account Wix: 2 sites")
        await terminal.answer("Send a test alert now?", "y")
        assert await terminal.end() == 0
    assert len(stage.slack.posts) == 1
    config = load_config(folder / "config.toml", {}, secrets=True)
    assert config.sites == ()
    assert [account.api_key.get_secret_value() for account in config.accounts] == [KEY]


@pytest.mark.slow
async def test_ctrl_c_leaves_nothing_behind(terminal: Terminal, folder: Path) -> None:
    await terminal.answer("API key (not shown)", KEY)
    await terminal.answer("Account ID", ACCOUNT_ID)
    await terminal.answer("or all", "all")
    await terminal.read_until("Addresses")
    assert await terminal.end(CTRL_C) == 1
    assert "Nothing is written." in terminal.shown
    assert list(folder.iterdir()) == []


@pytest.mark.slow
async def test_flags_answer_their_questions_and_mail_is_optional(
    stage: Stage, folder: Path
) -> None:
    flags = [word for line in stage.init_flags()[:1] for word in line.split()]
    urls = ("--wix-base-url", stage.wix.base_url, "--slack-base-url", stage.slack.base_url)
    async with on_a_terminal("init", *flags, *urls, "--yes", cwd=folder) as terminal:
        await terminal.answer("or all", "Tea House")
        await terminal.answer("Addresses", "")
        await terminal.answer("Bot User OAuth Token (not shown)", TOKEN)
        await terminal.answer("Channel:", "#reviews")
        assert await terminal.end() == 0
    assert "API key" not in terminal.shown
    assert "test alert" not in terminal.shown
    config = load_config(folder / "config.toml", {}, secrets=True)
    assert [site.name for site in config.sites] == ["Tea House"]
    assert config.receivers[0].email is None


@pytest.mark.slow
async def test_a_typed_site_that_cannot_be_read_is_asked_for_again(
    terminal: Terminal, stage: Stage
) -> None:
    await terminal.answer("API key (not shown)", KEY)
    await terminal.answer("Enter to give the id of a site instead", "")
    await terminal.answer("Site id", ACCOUNT_ID)
    await terminal.answer("Its name", "  ")
    await terminal.answer("Its name", "Our bakery")
    await terminal.read_until("Wix refuses us: 403")
    await terminal.answer("API key (not shown)", KEY)
    await terminal.answer("Account ID", ACCOUNT_ID)
    await terminal.answer("or all", ",")
    await terminal.read_until("no site is chosen")
    await terminal.answer("or all", "1")
    await terminal.read_until("Addresses")
    assert await terminal.end(CTRL_C) == 1
