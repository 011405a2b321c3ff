"""`alerter reply`: set the owner's reply to a review, and record Wix's answer."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from unicodedata import category, normalize

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, find_review_id, find_site, load_with_sites
from alerter.commands.terminal import plain, title
from alerter.config import Config, Site
from alerter.errors import AlerterError, StateError, WixAuthError, WixNotFound, WixUnavailable
from alerter.links import reviews_dashboard_url
from alerter.logs import log_to_stderr
from alerter.models import Review
from alerter.render.formatting import stars
from alerter.service.runtime import open_wix
from alerter.store import State, report
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.wix.client import WixClient

# Set Reply takes 10,000 characters, while Wix's review object documents 1,000:
# https://dev.wix.com/docs/rest/business-management/reviews/reviews/set-reply
_LONGEST = 10_000
_LONGEST_SHOWN = 1_000
# The longest reply in UTF-8 that is not normalised: a Korean syllable has up to 9 bytes.
_MOST_BYTES = 100_000


def parse_message(message: str | bytes) -> str:
    """Return a message as Wix takes it: NFC, with line feeds only. Raise click.BadParameter."""
    if len(message) > _MOST_BYTES:
        raise _bad_message(f"is too long: Wix takes {_LONGEST:,} characters")
    try:
        text = message.decode("utf-8-sig") if isinstance(message, bytes) else message
        text.encode()
    except UnicodeError:
        raise _bad_message("is not UTF-8 text") from None
    text = normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if not text:
        raise _bad_message("is empty")
    if any(category(char) == "Cc" and char not in "\n\t" for char in text):
        raise _bad_message("has control characters")
    if len(text) > _LONGEST:
        raise _bad_message(f"has {len(text):,} characters, and Wix takes {_LONGEST:,}")
    return text


def _bad_message(text: str) -> click.BadParameter:
    return click.BadParameter(f"the reply {text}", param_hint="--message")


def _find_site(sites: Sequence[Site], state: State, review_id: str) -> Site:
    """Return the only site, or the one that has the review stored. Raise click.UsageError."""
    if len(sites) == 1:
        return sites[0]
    having = [site for site in sites if report.get_review_record(state, site.site_id, review_id)]
    if len(having) > 1:
        names = ", ".join(site.name for site in having)
        raise click.UsageError(
            f"more than one site has that review: name one of them with --site ({names})"
        )
    if not having:
        raise click.UsageError(
            "that review is not on record of any site: name its site with --site"
        )
    return having[0]


async def run(
    config: Config,
    clock: Clock,
    site: Site,
    review_id: str,
    message: str,
    *,
    replace: bool,
    yes: bool,
) -> None:
    """Read the review, show it with the reply, ask, send, and record the answer.

    Raise AlerterError, or click.Abort if the answer is no.
    """
    async with open_wix(config, clock) as wix:
        review = await _read(wix, site, review_id)
        _show(site, review, message)
        if review.reply and review.reply.message == message:
            click.echo("it has this reply already")
        elif review.reply and not replace:
            raise AlerterError("it has a reply already: --replace overwrites it")
        else:
            if not yes:
                _confirm()
            review = await _send(wix, site, review_id, message)
            click.echo("Wix has taken the reply")
        await _record(config, clock, wix, site, review)


async def _read(wix: WixClient, site: Site, review_id: str) -> Review:
    try:
        return await wix.review(site, review_id)
    except WixNotFound as error:
        raise AlerterError(
            f"{site.name} has no review {plain(review_id, 100)}, or none that we may see"
        ) from error
    except WixAuthError as error:
        raise _refused(site, error) from error


def _confirm() -> None:
    """Ask on the terminal. Raise click.Abort for no, and at Ctrl-C."""
    # asyncio only cancels the task at Ctrl-C, which does not end a blocking read.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        click.confirm("Send it?", abort=True)
    finally:
        signal.signal(signal.SIGINT, previous)


async def _send(wix: WixClient, site: Site, review_id: str, message: str) -> Review:
    try:
        review = await wix.set_reply(site, review_id, message)
    except WixNotFound as error:
        raise AlerterError(f"{site.name} does not have that review any more") from error
    except WixAuthError as error:
        raise _refused(site, error) from error
    except WixUnavailable as error:
        raise AlerterError(
            f"{error}; Wix may have the reply nevertheless: run it again, which looks first"
        ) from error
    if not review.answered:
        raise AlerterError(
            "Wix's answer does not contain the reply; look for it in the dashboard: "
            + reviews_dashboard_url(site.site_id)
        )
    return review


def _refused(site: Site, error: WixAuthError) -> AlerterError:
    return AlerterError(
        f"{error}; to reply from here, grant the key or app Manage Reviews (REVIEWS.SET_REPLY); "
        f"reply in the dashboard: {reviews_dashboard_url(site.site_id)}"
    )


def _show(site: Site, review: Review, message: str) -> None:
    """Print the review, its present reply, and the reply to send."""
    click.echo(f"{stars(review.rating)}  {title(review.title)} on {site.name}")
    for line in review.body.split("\n") if review.body else ():
        click.echo(f"  > {plain(line, 2 * len(line))}")
    if review.reply:
        _quote("its reply now", review.reply.message)
    _quote(f"the reply, {len(message):,} characters", message)
    if len(message) > _LONGEST_SHOWN:
        click.echo(
            f"warning: Wix may show no more than {_LONGEST_SHOWN:,} characters of it", err=True
        )


def _quote(head: str, text: str) -> None:
    click.echo(f"{head}:")
    for line in text.split("\n"):
        click.echo(f"  | {plain(line, 2 * len(line))}")


async def _record(config: Config, clock: Clock, wix: WixClient, site: Site, review: Review) -> None:
    """Store the answered review; a running daemon sends what follows with its next round."""
    if not config.state_path.exists():
        return
    try:
        with State.open(config.state_path, migrate=False) as state:
            catalog = Catalog(state, clock, wix)
            intake = Intake(state, config, clock, catalog, wake=lambda _: None)
            await intake.record_page(site, [review])
    except StateError as error:
        click.echo(f"it could not be recorded here ({error}); the next rescan sees it", err=True)


@click.command()
@config_option
@click.argument("review_id", metavar="REVIEW_ID")
@click.option(
    "--message",
    required=True,
    metavar="TEXT",
    help="What to reply; - reads it from standard input.",
)
@click.option(
    "--site",
    "name",
    metavar="NAME",
    help="The site, if several sites have that review, or none has it stored.",
)
@click.option("--replace", is_flag=True, help="Overwrite the reply that there is.")
@click.option("--yes", is_flag=True, help="Send it without asking.")
def command(
    path: Path | None, review_id: str, message: str, name: str | None, *, replace: bool, yes: bool
) -> None:
    """Reply to a review as the site's owner."""
    log_to_stderr(logging.ERROR, os.environ)
    if message == "-":
        text = parse_message(sys.stdin.buffer.read(_MOST_BYTES + 1) if sys.stdin else b"")
    else:
        text = parse_message(message)
    if not (yes or (sys.stdin and sys.stdin.isatty())):
        raise click.UsageError("there is no terminal to ask on: --yes sends it without asking")
    config = load_with_sites(path)
    sites = [find_site(config, name)] if name else config.sites
    # A state file that cannot be used is reported before anything is sent.
    with State.read(config.state_path) as state:
        full_id = find_review_id(state, sites, review_id, "REVIEW_ID") or review_id
        site = _find_site(sites, state, full_id)
    if full_id != review_id:
        click.echo(f"review {full_id}")
    asyncio.run(run(config, Clock(), site, full_id, text, replace=replace, yes=yes))
