"""The commands. Whatever is heavy is imported inside them, so that `--help` is instant."""

import logging
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alerter import __version__
from alerter.errors import AlerterError, ConfigError
from alerter.logs import FORMATS, LEVELS, complain, log_to_stderr

if TYPE_CHECKING:
    from alerter.backfill import Past
    from alerter.config import Config, Site
    from alerter.models import Finding

_SYSTEM_CONFIG = Path("/etc/alerter/config.toml")


class _Commands(click.Group):
    """Turns what alerter raises into a message and an exit code: 1 a person is needed, 2 the config is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            number = len(error.problems)
            faults = f"alerter: {number} {'fault' if number == 1 else 'faults'} in the config:"
            complain(faults, *(f"  {problem}" for problem in error.problems))
            ctx.exit(2)
        except AlerterError as error:
            complain(f"alerter: {error}")
            ctx.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alerter")
def main() -> None:
    """Watch the reviews of Wix sites, and tell their owners about every low-rated one."""
    os.umask(0o077)


def _config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The config file.  [default: $ALERTER_CONFIG, ./config.toml, /etc/alerter/config.toml]",
    )(command)


def _load(path: Path | None, *, secrets: bool = True) -> "Config":
    from alerter.config import load_config

    config = load_config(_path(path), os.environ, secrets=secrets)
    if secrets and config.web:
        from alerter.web.signature import Signatures

        Signatures(config.apps)
    return config


def _path(given: Path | None) -> Path:
    if named := given or os.environ.get("ALERTER_CONFIG"):
        return Path(named)
    return Path("config.toml") if Path("config.toml").exists() or not _SYSTEM_CONFIG.exists() else _SYSTEM_CONFIG


@main.command()
@_config_option
@click.option("--once", is_flag=True, help="Make one round of everything, deliver what is due, and end (for cron).")
@click.option("--log-format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="How to log.")
@click.option(
    "--log-level", "level", type=click.Choice(LEVELS), default="info", show_default=True, help="From where on."
)
def run(path: Path | None, *, once: bool, form: str, level: str) -> None:
    """Run the daemon."""
    import asyncio
    from functools import partial

    from alerter.clock import Clock
    from alerter.daemon import serve

    log_to_stderr(logging.getLevelNamesMapping()[level.upper()], os.environ, form=form)
    load = partial(_load, _path(path).absolute())  # at a reload it is the same file, whatever was put elsewhere since
    sys.exit(0 if asyncio.run(serve(load(), Clock(), os.environ, once=once, load=None if once else load)) else 1)


@main.command()
@_config_option
@click.option("--since", required=True, metavar="DATE", help="The first day to read, such as 2026-01-31.")
@click.option("--until", metavar="DATE", help="The day to stop before; today's reviews too if left out.")
@click.option("--site", "names", multiple=True, metavar="NAME", help="Only this site; may be repeated.")
@click.option(
    "--deliver",
    type=click.Choice(["digest", "each", "none"]),
    default="digest",
    show_default=True,
    help="As few messages as fit, one a review, or record only.",
)
@click.option("--dry-run", is_flag=True, help="Only print how many reviews would be told of, and their ids.")
def backfill(
    path: Path | None, since: str, until: str | None, names: tuple[str, ...], deliver: str, *, dry_run: bool
) -> None:
    """Read the past once, and tell of its low-rated, unanswered reviews."""
    import asyncio

    from alerter import backfill as command
    from alerter.clock import Clock
    from alerter.models import Grouping

    log_to_stderr(logging.WARNING, os.environ)
    config = _load(path)
    past = _past(config, since, until, names)
    if dry_run:
        for name, ids in asyncio.run(command.dry_run(config, Clock(), past)).items():
            click.echo(f"{name}: would tell of {len(ids)} reviews")
            for review_id in ids:
                click.echo(review_id)
        return
    grouping = None if deliver == "none" else Grouping(deliver)
    sys.exit(0 if asyncio.run(command.run(config, Clock(), past, grouping)) else 1)


def _past(config: "Config", since: str, until: str | None, names: tuple[str, ...]) -> "Past":
    from alerter.backfill import Past

    sites = [_site(config, name) for name in dict.fromkeys(names)]
    begin = _midnight(config, since, "--since")
    end = _midnight(config, until, "--until") if until else None
    if end and end <= begin:
        raise click.BadParameter("must be a later day than --since", param_hint="--until")
    return Past(sites or list(config.sites), begin, end)


def _site(config: "Config", name: str) -> "Site":
    import difflib

    known = {site.name: site for site in config.sites}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known)}"
        raise click.BadParameter(f'there is no site "{name}"; {hint}', param_hint="--site")
    return known[name]


def _midnight(config: "Config", text: str, option: str) -> datetime:
    from datetime import UTC

    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=config.timezone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f'"{text}" is not a day such as 2026-01-31', param_hint=option) from None


@main.command()
@_config_option
@click.option("--offline", is_flag=True, help="Look at the config and the templates only.")
def check(path: Path | None, *, offline: bool) -> None:
    """Check the config, then each site, permission, token and receiver, without sending anything."""
    import asyncio

    from alerter import check as command
    from alerter.clock import Clock
    from alerter.models import Finding
    from alerter.wiring import open_outlets, open_wix

    log_to_stderr(logging.ERROR, os.environ)
    config, clock = _load(path), Clock()
    sizes = f"{len(config.sites)} sites, {len(config.receivers)} receivers"
    findings = [Finding(ok=True, subject="config", text=sizes)]
    findings += command.check_config(config, clock)

    async def ask() -> list[Finding]:
        async with open_wix(config, clock) as wix, open_outlets(config, clock) as outlets:
            return await command.check_services(config, clock, wix, outlets, mended)

    mended = command.template_scopes() if all(finding.ok for finding in findings) else []
    if not offline:
        findings += asyncio.run(ask())
    _print_findings(findings)


@main.command()
@_config_option
@click.argument("receivers", nargs=-1, metavar="[RECEIVER]...")
def test(path: Path | None, receivers: tuple[str, ...]) -> None:
    """Send a sample alert, marked as a test, to every receiver or the named ones."""
    import asyncio

    from alerter import check as command
    from alerter.clock import Clock

    log_to_stderr(logging.ERROR, os.environ)
    config = _load(path)
    known = [receiver.name for receiver in config.receivers]
    for name in receivers:
        if name not in known:
            raise click.BadParameter(f'there is no receiver "{name}"; there are: {", ".join(known)}')
    _print_findings(asyncio.run(command.send_samples(config, Clock(), receivers or known)))


def _print_findings(findings: "list[Finding]") -> None:
    for finding in findings:
        word = "warn" if finding.ok and finding.warning else "ok  " if finding.ok else "FAIL"
        click.echo(f"{word}  {finding.subject}: {finding.text}")
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@main.command()
@_config_option
@click.argument("kind", required=False, metavar="[KIND]")
@click.option("--receiver", metavar="NAME", help="As this receiver would get it: by email, or on Slack.")
@click.option("--review", "review_id", metavar="ID", help="Of this review on record, instead of a made-up one.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write to; a new one if left out.",
)
def preview(
    path: Path | None, kind: str | None, receiver: str | None, review_id: str | None, folder: Path | None
) -> None:
    """Write messages to files, as they would look, and print their paths.

    KIND is new, lowered, reminder, closed, digest, summary, trouble or recovered; every kind if left out.
    """
    from alerter import preview as command
    from alerter.clock import Clock

    config = _load(path, secrets=False)
    kinds = command.kinds(kind, of_review=review_id is not None)
    known = {each.name: each for each in config.receivers}
    if receiver is not None and receiver not in known:
        raise click.BadParameter(f'there is no receiver "{receiver}"; there are: {", ".join(known)}')
    of = command.find(config, review_id) if review_id is not None else None
    good = True
    for written in command.write(config, Clock(), kinds, known.get(receiver or ""), of, folder):
        good = good and not isinstance(written, AlerterError)
        click.echo(written, err=isinstance(written, AlerterError))
    sys.exit(0 if good else 1)


@main.group()
def templates() -> None:
    """What messages say: the templates of their words."""


@templates.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def export(folder: Path) -> None:
    """Copy the built-in templates to DIR, for editing; what is there already stays as it is."""
    from alerter import preview as command

    for line in command.export(folder):
        click.echo(line)


@main.command()
@_config_option
@click.option("--json", "machine", is_flag=True, help="Print JSON.")
def status(path: Path | None, *, machine: bool) -> None:
    """Tell how sites, open reviews and deliveries stand; exit 1 if that needs a person."""
    from alerter import status as command
    from alerter.clock import Clock
    from alerter.store import State

    config = _load(path, secrets=False)
    now, state = Clock().now(), State.read(config.state)
    try:
        standing = command.standing(config, state, now)
    finally:
        if state:
            state.close()
    click.echo(command.as_json(standing) if machine else command.as_text(standing, now))
    sys.exit(1 if standing.needs_a_person else 0)


@main.command()
@_config_option
@click.argument("review_id", metavar="REVIEW_ID")
@click.option("--site", "name", metavar="NAME", help="Only this site, where more than one has that review.")
def explain(path: Path | None, review_id: str, name: str | None) -> None:
    """Tell why a review was alerted or not, to whom, and what comes next; exit 1 if it is not on record."""
    from alerter import explain as command
    from alerter.clock import Clock
    from alerter.store import State

    config = _load(path, secrets=False)
    sites = [_site(config, name)] if name else config.sites
    state = State.read(config.state)
    try:
        found = command.explain(config, state, sites, review_id, Clock().now())
        lines = found or command.not_on_record(config, state, sites, review_id)
    finally:
        if state:
            state.close()
    click.echo("\n".join(lines))
    sys.exit(0 if found else 1)


@main.command()
@_config_option
@click.argument("review_id", metavar="REVIEW_ID")
@click.option("--message", required=True, metavar="TEXT", help="What to reply; - reads it from standard input.")
@click.option(
    "--site", "name", metavar="NAME", help="The site, where more than one has that review or none is known to."
)
@click.option("--replace", is_flag=True, help="Overwrite the reply that there is.")
@click.option("--yes", is_flag=True, help="Send it without asking.")
def reply(path: Path | None, review_id: str, message: str, name: str | None, *, replace: bool, yes: bool) -> None:
    """Reply to a review as the site's owner."""
    from alerter import reply as command
    from alerter.clock import Clock

    log_to_stderr(logging.ERROR, os.environ)
    text = command.checked((sys.stdin.buffer.read() if sys.stdin else b"") if message == "-" else message)
    if not (yes or (sys.stdin and sys.stdin.isatty())):
        raise click.UsageError("there is no terminal to ask on: --yes sends it without asking")
    config = _load(path)
    site = _site(config, name) if name else command.site_of(config, review_id)
    command.run(config, Clock(), site, review_id, text, replace=replace, yes=yes)


@main.command()
@_config_option
def retry(path: Path | None) -> None:
    """Unpark receivers and services, and queue failed deliveries again."""
    from alerter.store import State, outbox

    config = _load(path, secrets=False)
    with State.open(config.state, migrate=False) as state:
        deliveries, parked = outbox.requeue(state)
    click.echo(f"{deliveries} failed deliveries are queued again, {parked} parked receivers or services are tried now")
    click.echo("a running daemon sends them within its next round; `alerter run --once` sends them now")


_FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@main.command()
@_config_option
@_FILE
def backup(path: Path | None, file: Path) -> None:
    """Copy the state file to FILE, also beside a running daemon."""
    from alerter.store.backup import back_up

    config = _load(path, secrets=False)
    click.echo(f"{config.state} is saved in {file} ({back_up(config.state, file)} bytes)")


@main.command()
@_config_option
@_FILE
@click.option("--move", is_flag=True, help="The backup was the last that the old place did: nothing is cancelled.")
def restore(path: Path | None, file: Path, *, move: bool) -> None:
    """Put the backup FILE in the place of the state file; no alert is repeated for it."""
    from alerter import restore as command
    from alerter.clock import Clock

    for line in command.run(_load(path, secrets=False), Clock(), file, move=move):
        click.echo(line)


@main.command()
@_config_option
@click.option("--site", "name", required=True, metavar="NAME", help="The name that it had, or its id.")
def forget(path: Path | None, name: str) -> None:
    """Erase all words of a customer whose site has left the config."""
    from alerter import forget as command
    from alerter.clock import Clock

    for line in command.run(_load(path, secrets=False), Clock(), name):
        click.echo(line)


@main.command()
@click.option("--serve", is_flag=True, help="Keep the embedded services up, and print a config for them.")
@click.option(
    "--reviews",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Reviews in Wix's JSON, one a line, to begin with.",
)
def demo(reviews: Path | None, *, serve: bool) -> None:
    """Show the whole daemon against an embedded Wix, Slack and mailbox; nothing leaves this machine."""
    try:
        import aiosmtpd  # noqa: F401 - only whether it is there
    except ImportError:
        raise AlerterError("the demo needs aiosmtpd: pip install 'alerter[demo]'") from None
    import asyncio

    from alerter.demo import story

    log_to_stderr(logging.WARNING, os.environ)
    sys.exit(0 if asyncio.run(story.serve(reviews, click.echo) if serve else story.play(reviews, click.echo)) else 1)
