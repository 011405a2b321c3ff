"""`alerter init`: make a config from flags and answers, and check it before it is written."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

import alerter
from alerter.clock import Clock
from alerter.commands.access import PASSWORD, REFERENCE, Checked, slack_options, wix_options
from alerter.commands.account_checks import check_accounts
from alerter.commands.check import check_config, check_online, send_samples, size_of
from alerter.commands.init_answers import RECEIVER, Answers, config_text
from alerter.commands.init_flags import Flags
from alerter.commands.init_mail import mail_answers
from alerter.commands.init_slack import slack_answers
from alerter.commands.init_wix import wix_answers
from alerter.commands.local_checks import check_state
from alerter.commands.new_files import free_path, write_new_files
from alerter.commands.options import SYSTEM_CONFIG
from alerter.commands.terminal import show_findings
from alerter.config import Config, given, load_config
from alerter.errors import AlerterError
from alerter.logs import log_to_stderr
from alerter.models import Finding

_SYSTEM_STATE = "/var/lib/alerter/state.db"


@click.command()
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: $ALERTER_CONFIG, ./config.toml]",
)
@wix_options
@click.option("--site", multiple=True, metavar="NAME", help="A site's name or id; repeatable.")
@click.option("--all-sites", is_flag=True, help="All, also those that are added later.")
@slack_options
@click.option("--slack-channel", metavar="NAME", help="The channel's name or id.")
@click.option("--smtp-host", metavar="HOST", help="The mail server; known for common providers.")
@click.option(
    "--smtp-port", type=click.IntRange(1, 65535), metavar="PORT", help="587, 465 or another."
)
@click.option(
    "--smtp-security",
    type=click.Choice(["starttls", "tls", "none"]),
    help="By default what is usual for the port.",
)
@click.option("--smtp-username", metavar="NAME", help="For a server that needs a login.")
@click.option(
    "--smtp-password", type=PASSWORD, metavar=REFERENCE, help="For a server that needs a login."
)
@click.option("--from", "sender", type=Checked("ADDRESS", given.sender), help="Of the mails.")
@click.option(
    "--email",
    multiple=True,
    type=Checked("ADDRESS", given.address),
    help="Who is alerted by mail; repeatable.",
)
@click.option("--systemd", is_flag=True, help="Keep the secrets as credentials of the service.")
@click.option("--example", is_flag=True, help="Print a config with every key, and end.")
@click.option("--yes", is_flag=True, help="Send no test alert, and do not ask about it.")
def command(path: Path | None, *, systemd: bool, example: bool, yes: bool, **flags: Any) -> None:
    """Make a config: ask, check each answer, and write it.

    Every question has a flag. Without a terminal nothing is asked. Nothing is written where a
    service refuses, and never over a file.
    """
    log_to_stderr(logging.ERROR, os.environ)
    if example:
        click.echo(_example(), nl=False)
        return
    if flags["site"] and flags["all_sites"]:
        raise click.UsageError("--site and --all-sites do not go together: give one of them")
    asks = sys.stdin.isatty()
    target = _target(path, systemd=systemd)
    try:
        answers = _answers(Flags(**flags), asks=asks, systemd=systemd)
        config, findings = _checked(_draft(answers, target), systemd=systemd)
        if not show_findings(findings):
            raise AlerterError("nothing is written: correct what has failed, and start again")
        _write(answers, target, systemd=systemd)
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nNothing is written.")
        raise
    good = True
    try:
        if asks and not yes and click.confirm("\nSend a test alert now?", default=True):
            good = show_findings(asyncio.run(send_samples(config, Clock(), [RECEIVER])))
    finally:  # also after Ctrl-C, as the config is written
        _print_start(target, systemd=systemd)
    sys.exit(0 if good else 1)


def _target(path: Path | None, *, systemd: bool) -> Path:
    """Return the file to write, which must not be there. Raise UsageError."""
    default = SYSTEM_CONFIG if systemd else Path("config.toml")
    target = path or Path(os.environ.get("ALERTER_CONFIG") or default)
    if os.path.lexists(target):
        raise click.UsageError(
            f"{target} is there, and is not overwritten: remove it, or name another with --config"
        )
    folder = target.absolute().parent
    while systemd and not folder.exists():  # it is made then
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise click.UsageError(f"{target} cannot be written: {folder} is missing or protected")
    return target


def _answers(flags: Flags, *, asks: bool, systemd: bool) -> Answers:
    missing = flags.missing()
    if missing and not asks:
        raise click.UsageError(f"there is no terminal to ask on: give {', '.join(missing)}")
    if missing:
        click.echo(
            "Nothing is written before the end. Ctrl-C ends this, and leaves nothing behind."
        )
    wix = wix_answers(flags)
    mail = slack = None
    # Flags that leave nothing to ask are all: who gives mail alone means mail alone.
    if flags.with_mail or missing:
        mail = mail_answers(flags, optional=not flags.with_mail)
    if flags.with_slack or missing:
        slack = slack_answers(flags, optional=mail is not None and not flags.with_slack)
    return Answers(wix, mail, slack, _SYSTEM_STATE if systemd else "state.db", _local_timezone())


def _draft(answers: Answers, target: Path) -> Config:
    """Return the config before it is written, with the secrets in memory. Raise ConfigError."""
    variables = {name: f"INIT_{number}" for number, name in enumerate(answers.secrets())}
    environ = {variables[name]: secret.value for name, secret in answers.secrets().items()}
    text = config_text(answers, {name: f"env:{each}" for name, each in variables.items()})
    return load_config(target, environ, secrets=True, text=text)


def _checked(config: Config, *, systemd: bool) -> tuple[Config, list[Finding]]:
    """Check a config, and the services that it names; return it with the sites of its account."""
    clock = Clock()
    config, listed = asyncio.run(check_accounts(config, clock))
    # systemd makes the state folder when the service starts for the first time.
    local = [size_of(config), *listed, *([] if systemd else [check_state(config.state_file.file)])]
    online = asyncio.run(check_online(config, clock))
    return config, [*local, *check_config(config, clock), *online]


def _write(answers: Answers, target: Path, *, systemd: bool) -> None:
    """Write the config, and the secrets that it has no reference to. Raise AlerterError."""
    folder = target.parent / "credentials" if systemd else target.parent
    if systemd:
        _make_folders(folder)
    references: dict[str, str] = {}
    files: list[tuple[Path, str]] = []
    for name, secret in answers.secrets().items():
        if secret.reference and not systemd:
            references[name] = secret.reference
        else:
            file = free_path(folder / name)
            files.append((file, secret.value))
            references[name] = f"credential:alerter_{file.name}" if systemd else f"file:{file.name}"
    write_new_files([*files, (target, config_text(answers, references))])
    beside = f", and the secrets to {', '.join(str(file) for file, _ in files)}" if files else ""
    click.echo(f"\nThe config is written to {target}{beside}.")


def _make_folders(credentials: Path) -> None:
    """Make the folder of the config, which the service's user reads, and that of the secrets."""
    if not credentials.parent.exists():
        credentials.parent.mkdir(parents=True)
        credentials.parent.chmod(0o755)
    credentials.mkdir(mode=0o700, exist_ok=True)


def _print_start(target: Path, *, systemd: bool) -> None:
    if systemd:
        click.echo("Start alerter, as root: alerter service install")
    else:
        click.echo(f"Start alerter: alerter run --config {target}")


def _local_timezone() -> str | None:
    """Return the timezone of this machine; None where it has no name."""
    name = os.environ.get("TZ") or os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    try:
        return ZoneInfo(name).key if name else None
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None


def _example() -> str:
    """Return the example config: it is in the wheel, and in a checkout above the package."""
    package = Path(alerter.__file__).parent
    found = package / "config.example.toml"
    return (found if found.exists() else package.parent / found.name).read_text("utf-8")
