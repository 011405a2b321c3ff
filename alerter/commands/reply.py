"""`alerter reply`: the owner's reply to a review, through Wix, and in through the door like any other."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from unicodedata import category, normalize

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, find_site, load
from alerter.commands.terminal import plain, title
from alerter.config import Config, Site
from alerter.errors import AlerterError, StateError, WixAuthError, WixNotFound, WixUnavailable
from alerter.logs import log_to_stderr
from alerter.models import Review
from alerter.render.formatting import stars
from alerter.render.views import dashboard_url
from alerter.service.runtime import open_wix
from alerter.store import State, report
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake

# https://dev.wix.com/docs/rest/business-management/reviews/reviews/set-reply takes the one; its review object holds the
# other.
_LONGEST = 10_000
_SHOWN_WHOLE = 1_000


def checked(message: str | bytes) -> str:
    """A message as it can be sent. Raises click.BadParameter."""
    try:
        text = message.decode("utf-8-sig") if isinstance(message, bytes) else message
        text.encode()
    except UnicodeError:
        raise _fault("is not UTF-8 text") from None
    text = normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if not text:
        raise _fault("is empty")
    if any(category(char) == "Cc" and char not in "\n\t" for char in text):
        raise _fault("has control characters")
    if len(text) > _LONGEST:
        raise _fault(f"has {len(text):,} characters, and Wix takes {_LONGEST:,}")
    return text


def _fault(text: str) -> click.BadParameter:
    return click.BadParameter(f"the reply {text}", param_hint="--message")


def site_of(config: Config, review_id: str) -> Site:
    """The site that has a review on record, or the only one that there is. Raises click.UsageError."""
    if len(config.sites) == 1:
        return config.sites[0]
    if state := State.read(config.state_path):
        with state:
            having = [
                site
                for site in config.sites
                if report.get_review_record(state, site.site_id, review_id)
            ]
        if len(having) == 1:
            return having[0]
        if having:
            names = ", ".join(site.name for site in having)
            raise click.UsageError(
                f"more than one site has that review: name one of them with --site ({names})"
            )
    raise click.UsageError("that review is not on record of any site: name its site with --site")


def run(
    config: Config,
    clock: Clock,
    site: Site,
    review_id: str,
    message: str,
    *,
    replace: bool,
    yes: bool,
) -> None:
    """Read the review anew, show what will be sent, ask, send, and record the answer. Raises AlerterError."""
    if state := State.read(
        config.state_path
    ):  # one that cannot be used is told before anything is sent
        state.close()
    review = asyncio.run(_read(config, clock, site, review_id))
    _show(site, review, message)
    if review.reply and review.reply.message == message:
        click.echo("it has this reply already")
        asyncio.run(_record(config, clock, site, review))
        return
    if review.reply and not replace:
        raise AlerterError("it has a reply already: --replace overwrites it")
    if not yes:
        click.confirm("Send it?", abort=True)
    review = asyncio.run(_send(config, clock, site, review_id, message))
    click.echo("Wix has taken the reply")
    asyncio.run(_record(config, clock, site, review))


async def _read(config: Config, clock: Clock, site: Site, review_id: str) -> Review:
    try:
        async with open_wix(config, clock) as wix:
            return await wix.review(site, review_id)
    except WixNotFound as error:
        raise AlerterError(
            f"{site.name} has no review {plain(review_id, 100)}, or none that we may see"
        ) from error
    except WixAuthError as error:
        raise _refused(site, error) from error


async def _send(config: Config, clock: Clock, site: Site, review_id: str, message: str) -> Review:
    try:
        async with open_wix(config, clock) as wix:
            review = await wix.set_reply(site, review_id, message)
    except WixNotFound as error:
        raise AlerterError(f"{site.name} does not have that review any more") from error
    except WixAuthError as error:
        raise _refused(site, error) from error
    except WixUnavailable as error:
        raise AlerterError(
            f"{error}; the reply may be there all the same: run it again, which looks first"
        ) from error
    if not review.answered:
        raise AlerterError(
            f"Wix's answer does not hold the reply; look for it there: {dashboard_url(site.site_id)}"
        )
    return review


def _refused(site: Site, error: WixAuthError) -> AlerterError:
    return AlerterError(
        f"{error}; to reply from here, grant the key or app Manage Reviews (REVIEWS.SET_REPLY); "
        f"reply in the dashboard: {dashboard_url(site.site_id)}"
    )


def _show(site: Site, review: Review, message: str) -> None:
    """Show what is replied to, the reply that there is, and the one that is to be sent."""
    click.echo(f"{stars(review.rating)}  {title(review.title)} on {site.name}")
    for line in review.body.split("\n") if review.body else ():
        click.echo(f"  > {plain(line, len(line))}")
    if review.reply:
        _quote("its reply now", review.reply.message)
    _quote(f"the reply, {len(message):,} characters", message)
    if len(message) > _SHOWN_WHOLE:
        click.echo(
            f"warning: Wix may show no more than {_SHOWN_WHOLE:,} characters of it", err=True
        )


def _quote(head: str, text: str) -> None:
    click.echo(f"{head}:")
    for line in text.split("\n"):
        click.echo(f"  | {plain(line, len(line))}")


async def _record(config: Config, clock: Clock, site: Site, review: Review) -> None:
    """Take the answered review in; a running daemon tells of what follows with its next round."""
    if not config.state_path.exists():
        return
    try:
        async with open_wix(config, clock) as wix:
            with State.open(config.state_path, migrate=False) as state:
                intake = Intake(
                    state, config, clock, Catalog(state, clock, wix), wake=lambda _: None
                )
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
    help="The site, where more than one has that review or none is known to.",
)
@click.option("--replace", is_flag=True, help="Overwrite the reply that there is.")
@click.option("--yes", is_flag=True, help="Send it without asking.")
def command(
    path: Path | None, review_id: str, message: str, name: str | None, *, replace: bool, yes: bool
) -> None:
    """Reply to a review as the site's owner."""
    log_to_stderr(logging.ERROR, os.environ)
    text = checked(_standard_input() if message == "-" else message)
    if not (yes or (sys.stdin and sys.stdin.isatty())):
        raise click.UsageError("there is no terminal to ask on: --yes sends it without asking")
    config = load(path)
    site = find_site(config, name) if name else site_of(config, review_id)
    run(config, Clock(), site, review_id, text, replace=replace, yes=yes)


def _standard_input() -> bytes:
    return sys.stdin.buffer.read() if sys.stdin else b""
