"""`alerter init` by its flags, against the embedded services."""

import asyncio
import os
import shlex
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.commands.new_files import free_path, write_new_files
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.stage import open_stage
from alerter.demo.wix import EmbeddedWix
from alerter.errors import AlerterError
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

ACCOUNT, ACCOUNT_KEY = "account-1", "account-key-2b7e"
OTHER, THIRD = "22222222-2222-4222-8222-222222222222", "33333333-3333-4333-8333-333333333333"
ENVIRON = SECRETS | {"ACCOUNT_KEY": ACCOUNT_KEY}
CONFIG = "config.toml"

Run = Callable[..., Awaitable[Result]]
Flags = dict[str, str]


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix() as wix:
        wix.add_site(SITE, name="Corner Bakery")
        wix.add_site(OTHER, name='The "Tea" house')
        wix.add_site(THIRD, name="Corner Bakery 2")
        wix.add_account(ACCOUNT, ACCOUNT_KEY, [SITE, OTHER, THIRD])
        yield wix


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Run `alerter init` in an empty folder, without a terminal."""

    async def run(flags: Flags | None = None, *more: str) -> Result:
        args = [word for pair in (flags or {}).items() for word in pair]
        runner = CliRunner(catch_exceptions=False)
        umask = os.umask(0o022)
        try:
            return await asyncio.to_thread(runner.invoke, main, ["init", *args, *more], env=ENVIRON)
        finally:
            os.umask(umask)

    return run


@pytest.fixture
def for_wix(wix: EmbeddedWix) -> Flags:
    return {
        "--wix-api-key": "env:ACCOUNT_KEY",
        "--wix-account-id": ACCOUNT,
        "--wix-base-url": wix.base_url,
        "--site": "Corner Bakery",
    }


@pytest.fixture
def for_slack(slack: EmbeddedSlack) -> Flags:
    return {
        "--slack-token": "env:SLACK_BOT_TOKEN",
        "--slack-channel": "#reviews",
        "--slack-base-url": slack.base_url,
    }


@pytest.fixture
def for_mail(mailbox: Mailbox) -> Flags:
    return {
        "--email": OWNER,
        "--smtp-host": mailbox.host,
        "--smtp-port": str(mailbox.port),
        "--smtp-username": "alerts",
        "--smtp-password": "env:SMTP_PASSWORD",
        "--from": "Review alerts <alerts@example.com>",
    }


def written(folder: Path) -> Config:
    return load_config(folder / CONFIG, ENVIRON, secrets=True)


def assert_nothing_is_written(folder: Path) -> None:
    assert list(folder.iterdir()) == []


# What is written


async def test_flags_make_a_config_that_is_checked(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags, for_mail: Flags, mailbox: Mailbox
) -> None:
    result = await run(for_wix | for_slack | for_mail, "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "ok    config: 1 site, 1 receiver"
    assert lines[2:6] == [
        "ok    templates: every kind of message renders",
        "ok    site Corner Bakery: its reviews can be read, unpublished ones too",
        "ok    receiver owner: email: 127.0.0.1 takes mail for it",
        "ok    receiver owner: slack: reviews in Embedded",
    ]
    assert lines[-1] == "Start alerter: alerter run --config config.toml"
    assert [path.name for path in folder.iterdir()] == [CONFIG]
    assert stat.S_IMODE((folder / CONFIG).stat().st_mode) == 0o600
    assert mailbox.mails == []

    config, text = written(folder), (folder / CONFIG).read_text()
    assert [(site.name, site.site_id) for site in config.sites] == [("Corner Bakery", SITE)]
    [receiver] = config.receivers
    assert (receiver.email, receiver.slack) == ((OWNER,), CHANNEL)
    assert f'slack = "{CHANNEL}"                   # #reviews' in text
    for reference in ("env:ACCOUNT_KEY", "env:SLACK_BOT_TOKEN", "env:SMTP_PASSWORD"):
        assert f'"{reference}"' in text
    assert not any(secret in text for secret in ENVIRON.values())


async def test_mail_alone_will_do(run: Run, folder: Path, for_wix: Flags, for_mail: Flags) -> None:
    assert (await run(for_wix | for_mail)).exit_code == 0
    config = written(folder)
    assert (config.slack, config.receivers[0].slack) == (None, None)
    assert config.smtp
    assert config.smtp.sender == "Review alerts <alerts@example.com>"


async def test_slack_alone_will_do(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    assert (await run(for_wix | for_slack)).exit_code == 0
    config = written(folder)
    assert (config.smtp, config.receivers[0].email) == (None, None)


async def test_sites_are_named_by_name_or_id_and_written_once(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    more = ("--site", OTHER, "--site", "corner bakery 2", "--site", SITE)
    assert (await run(for_wix | for_slack, *more)).exit_code == 0
    assert [(site.name, site.site_id) for site in written(folder).sites] == [
        ("Corner Bakery", SITE),
        ('The "Tea" house', OTHER),
        ("Corner Bakery 2", THIRD),
    ]


async def test_all_sites_of_an_account_are_one_entry(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    del for_wix["--site"]
    result = await run(for_wix | for_slack, "--all-sites")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:2] == [
        "ok    config: 3 sites, 1 receiver",
        "ok    account Wix: 3 sites",
    ]
    text = (folder / CONFIG).read_text()
    assert '[[accounts]]\nname = "Wix"' in text
    assert 'api_key = "env:ACCOUNT_KEY"' in text
    config = written(folder)
    assert (config.sites, config.wix.account_id) == ((), None)
    assert [account.account_id for account in config.accounts] == [ACCOUNT]


async def test_all_sites_and_some_sites_do_not_go_together(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    result = await run(for_wix | for_slack, "--all-sites")
    assert result.exit_code == 2
    assert "--site and --all-sites do not go together" in result.stderr
    assert_nothing_is_written(folder)


async def test_several_addresses_get_the_mails(
    run: Run, folder: Path, for_wix: Flags, for_mail: Flags
) -> None:
    assert (await run(for_wix | for_mail, "--email", "two@example.com")).exit_code == 0
    assert written(folder).receivers[0].email == (OWNER, "two@example.com")


async def test_a_channel_may_be_given_by_its_id(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    assert (await run(for_wix | for_slack | {"--slack-channel": CHANNEL})).exit_code == 0
    assert written(folder).receivers[0].slack == CHANNEL


async def test_a_name_in_capitals_is_a_channel_and_no_id(
    run: Run, folder: Path, slack: EmbeddedSlack, for_wix: Flags, for_slack: Flags
) -> None:
    slack.add_channel("C0000000001", "complaints")
    named = for_wix | for_slack | {"--slack-channel": " COMPLAINTS "}
    assert (await run(named)).exit_code == 0
    assert written(folder).receivers[0].slack == "C0000000001"


async def test_a_server_without_a_login_is_asked_for_none(
    run: Run, folder: Path, for_wix: Flags
) -> None:
    async with Mailbox() as mailbox:
        flags = {"--email": OWNER, "--smtp-host": mailbox.host, "--smtp-port": str(mailbox.port)}
        result = await run(for_wix | flags)
    assert result.exit_code == 0, result.output
    smtp = written(folder).smtp
    assert smtp
    assert (smtp.security, smtp.username, smtp.sender) == ("none", None, OWNER)


async def test_with_systemd_secrets_become_credentials(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    result = await run(for_wix | for_slack, "--systemd", "--config", "etc/config.toml")
    assert result.exit_code == 0, result.output
    credentials = folder / "etc" / "credentials"
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o700
    assert stat.S_IMODE(credentials.parent.stat().st_mode) == 0o755
    kept = {path.name: path for path in credentials.iterdir()}
    assert kept.keys() == {"wix-api-key", "slack-token"}
    assert kept["wix-api-key"].read_text() == ACCOUNT_KEY
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.values()} == {0o600}
    text = (folder / "etc" / "config.toml").read_text()
    assert 'api_key = "credential:alerter_wix-api-key"' in text
    assert 'token = "credential:alerter_slack-token"' in text
    assert 'state = "/var/lib/alerter/state.db"' in text
    assert "service" in result.stdout.splitlines()[-1]


async def test_the_example_config_is_printed(run: Run, folder: Path) -> None:
    result = await run(None, "--example")
    example = Path(__file__).parents[2] / "config.example.toml"
    assert (result.exit_code, result.stdout) == (0, example.read_text("utf-8"))
    assert_nothing_is_written(folder)


# What is refused


async def test_a_file_is_never_overwritten(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    (folder / CONFIG).write_text("mine")
    result = await run(for_wix | for_slack)
    assert result.exit_code == 2
    assert "config.toml is there, and is not overwritten" in result.stderr
    assert (folder / CONFIG).read_text() == "mine"


async def test_a_folder_that_is_missing_is_named(
    run: Run, folder: Path, for_wix: Flags, for_slack: Flags
) -> None:
    result = await run(for_wix | for_slack, "--config", "nowhere/config.toml")
    assert result.exit_code == 2
    says = f"nowhere/config.toml cannot be written: {folder}/nowhere is missing or protected"
    assert says in result.stderr
    assert_nothing_is_written(folder)


FOR_WIX = ("--wix-api-key", "--wix-account-id", "--site (or --all-sites)")
MISSING = {
    "nothing": (
        {},
        ", ".join([*FOR_WIX, "--email and --smtp-host (or --slack-token and --slack-channel)"]),
    ),
    "half of Slack": ({"--slack-channel": "x"}, "--slack-token"),
    "half of mail": ({"--smtp-host": "mail.example.com"}, "--email"),
    "an unknown provider": ({"--email": OWNER}, "--smtp-host"),
    "the password of a known provider": ({"--email": "me@gmail.com"}, "--smtp-password"),
    "the password of a login": (
        {"--email": OWNER, "--smtp-host": "mail.example.com", "--smtp-username": "me"},
        "--smtp-password",
    ),
    "both media": (
        {"--email": "me@gmail.com", "--slack-channel": "x"},
        "--smtp-password, --slack-token",
    ),
}


@pytest.mark.parametrize(("flags", "missing"), MISSING.values(), ids=MISSING.keys())
async def test_without_a_terminal_all_missing_flags_are_named(
    run: Run, folder: Path, for_wix: Flags, flags: Flags, missing: str
) -> None:
    result = await run((for_wix if flags else {}) | flags)
    assert result.exit_code == 2
    assert result.stderr.endswith(f"give {missing}\n")
    assert_nothing_is_written(folder)


WRONG = {
    "a literal secret": ({"--wix-api-key": "IST.abc"}, 2, "not the secret itself"),
    "a literal password": ({"--smtp-password": "hunter2"}, 2, "not the secret itself"),
    "no such site": ({"--site": "Corner"}, 2, 'did you mean "Corner Bakery"?'),
    "no address": ({"--email": "owner"}, 2, "must be a mail address"),
    "no sender": ({"--from": "owner"}, 2, "must be a mail address"),
    "no such security": ({"--smtp-security": "ssl"}, 2, "is not one of"),
    "plain HTTP": ({"--wix-base-url": "http://wix.example"}, 2, "must be https://"),
    "another account": ({"--wix-account-id": "account-2"}, 1, "check the account ID"),
    "another key": ({"--wix-api-key": "env:SLACK_BOT_TOKEN"}, 1, "copy it again"),
    "another token": ({"--slack-token": "env:ACCOUNT_KEY"}, 1, "invalid_auth"),
    "no such channel": ({"--slack-channel": "revews"}, 1, 'did you mean "#reviews"?'),
    "another password": ({"--smtp-password": "env:ACCOUNT_KEY"}, 1, "535 to the login"),
    "an unprintable login": ({"--smtp-username": "al\x01"}, 2, "username: must be a text"),
}


@pytest.mark.parametrize(("flags", "code", "says"), WRONG.values(), ids=WRONG.keys())
async def test_nothing_is_written_where_a_flag_is_wrong(
    run: Run,
    folder: Path,
    for_wix: Flags,
    for_slack: Flags,
    for_mail: Flags,
    flags: Flags,
    code: int,
    says: str,
) -> None:
    result = await run(for_wix | for_slack | for_mail | flags)
    assert result.exit_code == code
    assert says in result.stderr
    assert "IST.abc" not in result.output
    assert "hunter2" not in result.output
    assert_nothing_is_written(folder)


async def test_nothing_is_written_where_a_site_cannot_be_read(
    run: Run, folder: Path, wix: EmbeddedWix, for_wix: Flags, for_slack: Flags
) -> None:
    wix.forbid(ACCOUNT_KEY, "READ_REVIEWS")
    result = await run(for_wix | for_slack)
    assert result.exit_code == 1
    assert "FAIL  site Corner Bakery" in result.stdout
    assert "nothing is written" in result.stderr
    assert_nothing_is_written(folder)


async def test_nothing_is_written_where_the_app_is_not_in_the_channel(
    run: Run, folder: Path, slack: EmbeddedSlack, for_wix: Flags, for_slack: Flags
) -> None:
    slack.channels[CHANNEL].member = False
    result = await run(for_wix | for_slack)
    assert result.exit_code == 1
    assert "not a member of reviews; invite the app to it" in result.output
    assert_nothing_is_written(folder)


async def test_nothing_is_written_while_a_service_is_down(
    run: Run, folder: Path, wix: EmbeddedWix, for_wix: Flags, for_slack: Flags
) -> None:
    wix.faults.always("/sites/query", Fault(status=503))
    result = await run(for_wix | for_slack)
    assert result.exit_code == 1
    assert "try again later" in result.stderr
    assert_nothing_is_written(folder)


async def test_two_sites_of_one_name_differ_by_their_ids(
    run: Run, folder: Path, wix: EmbeddedWix, for_wix: Flags, for_slack: Flags
) -> None:
    wix.sites[THIRD].name = "Corner Bakery"
    result = await run(for_wix | for_slack)
    assert result.exit_code == 2
    assert f'2 sites have the name "Corner Bakery": give one of their ids ({SITE}, {THIRD})' in (
        result.stderr
    )
    result = await run(for_wix | for_slack | {"--site": SITE}, "--site", THIRD)
    assert result.exit_code == 0, result.output
    assert [site.name for site in written(folder).sites] == [
        "Corner Bakery (11111111)",
        "Corner Bakery (33333333)",
    ]


# Files


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(AlerterError, match="there cannot be written: File exists"):
        write_new_files([(tmp_path / "a", "x"), (there, "y"), (tmp_path / "b", "z")])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert there.read_text() == "mine"


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert free_path(tmp_path / "key") == tmp_path / "key"
    (tmp_path / "key").write_text("")
    (tmp_path / "key-2").symlink_to("nowhere")
    assert free_path(tmp_path / "key") == tmp_path / "key-3"


async def test_the_demo_prints_the_flags_for_its_services(
    run: Run, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with open_stage(tmp_path_factory.mktemp("stage"), None) as stage:
        result = await run(None, *shlex.split(" ".join(stage.init_flags())))
    assert result.exit_code == 0, result.output
    assert [site.name for site in written(folder).sites] == ["Corner Bakery"]
