"""`alerter reply`: set the owner's reply to a review."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from alerter.actions import MOST_SHOWN, ActionKind, Outcome
from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites, unknown_name
from alerter.commands.responding import (
    Desk,
    act,
    asking,
    check_terminal,
    find_review,
    is_terminal,
    new_action,
    open_desk,
    print_outcome,
    quote,
    read_review,
    review_argument,
    review_lines,
    show_review,
    site_option,
    user_name,
)
from alerter.config import Config, Site
from alerter.errors import AlerterError
from alerter.logs import log_to_stderr
from alerter.models import Alert, AlertKind, MessageItem, Product, Review
from alerter.render.canned import CannedReplies
from alerter.respond.rules import (
    MOST_CHARACTERS,
    InvalidReply,
    is_same_reply,
    parse_reply,
)
from alerter.store import report

# The longest reply in UTF-8 that is not normalised: a Korean syllable has up to 9 bytes.
_MOST_BYTES = 100_000
_FAULTS = {
    "empty": "is empty",
    "not text": "is not UTF-8 text",
    "control characters": "has control characters",
}
_TEXTS = {
    Outcome.DONE: "Wix has taken the reply",
    Outcome.ALREADY: "it has this reply already",
}
ENDS_HERE = "# Write the reply above. This line and everything below it are left out."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to reply: a message, the name of a canned reply, or what a person writes in an editor.

    `replace`: overwrite the reply that there is. `yes`: send it without asking.
    """

    message: str | None = None
    canned: str | None = None
    replace: bool = False
    yes: bool = False


def parse_message(message: str | bytes) -> str:
    """Return a message as Wix takes it: NFC, with line feeds only. Raise click.BadParameter."""
    if len(message) > _MOST_BYTES:
        raise _bad_message(f"is too long: Wix takes {MOST_CHARACTERS:,} characters")
    try:
        text = message.decode("utf-8-sig") if isinstance(message, bytes) else message
        return parse_reply(text)
    except UnicodeDecodeError:
        raise _bad_message(_FAULTS["not text"]) from None
    except InvalidReply as error:
        too_long = f"has {error.length:,} characters, and Wix takes {MOST_CHARACTERS:,}"
        raise _bad_message(_FAULTS.get(error.fault, too_long)) from None


def _bad_message(text: str) -> click.BadParameter:
    return click.BadParameter(f"the reply {text}", param_hint="--message")


async def run(config: Config, clock: Clock, site: Site, review_id: str, wanted: Wanted) -> None:
    """Show the review with the reply, ask, send, and print what became of it.

    Raise AlerterError, or click.Abort if the answer is no.
    """
    async with open_desk(config, clock) as desk:
        review = await read_review(desk, site, review_id, ActionKind.REPLY)
        show_review(site, review)
        text = _first_text(config, desk, site, review, wanted)
        if not is_same_reply(review.reply, text):
            _check_replaces(review, wanted)
            text = _confirmed(site, review, text, yes=wanted.yes)
        new = replace(
            new_action(ActionKind.REPLY, site, review_id, user_name(), review),
            reply=text,
            replace=wanted.replace,
        )
        action = await act(desk, new)
        await print_outcome(desk, action, site, _TEXTS)


def _check_replaces(review: Review, wanted: Wanted) -> None:
    if review.reply and not wanted.replace:
        raise AlerterError("it has a reply already: --replace overwrites it")


def _first_text(config: Config, desk: Desk, site: Site, review: Review, wanted: Wanted) -> str:
    """Return the reply that was asked for, or what a person writes now."""
    if wanted.message is not None:
        return wanted.message
    if wanted.canned is None:
        _check_replaces(review, wanted)
        return _edited(site, review, "")
    record = report.get_review_record(desk.state, site.site_id, review.id)
    alert = Alert(f"new:{site.site_id}:{review.id}", AlertKind.NEW, site.site_id, review.id)
    item = MessageItem(alert, review, record.product if record else Product())
    return CannedReplies(config.replies, parse_reply).text(wanted.canned, item, site.name)


def _confirmed(site: Site, review: Review, text: str, *, yes: bool) -> str:
    """Show a reply, and ask; return it as the person may have changed it. Raise click.Abort."""
    while True:
        quote(f"the reply, {len(text):,} characters", text)
        if len(text) > MOST_SHOWN:
            warning = f"warning: Wix may show no more than {MOST_SHOWN:,} characters of it"
            click.echo(warning, err=True)
        if yes:
            return text
        answer = _ask()
        if answer == "n":
            raise click.Abort
        if answer == "y":
            return text
        text = _edited(site, review, text)


def _ask() -> str:
    with asking():
        answer: str = click.prompt(
            "Send it? [y/N, e to edit]",
            type=click.Choice(["y", "n", "e"], case_sensitive=False),
            default="n",
            show_choices=False,
            show_default=False,
        )
    return answer


def _edited(site: Site, review: Review, text: str) -> str:
    """Have a person write the reply, until Wix takes it. Raise click.Abort for no reply."""
    while True:
        text = _written(site, review, text)
        if not text:
            click.echo("nothing was written, and nothing is sent", err=True)
            raise click.Abort
        try:
            return parse_message(text)
        except click.BadParameter as error:
            click.echo(error.message, err=True)
        with asking():
            click.confirm("Edit it again?", default=True, abort=True)


def _written(site: Site, review: Review, text: str) -> str:
    """Open an editor with a text, and the review below it; return what stands above it then."""
    below = "\n".join(f"# {line}".rstrip() for line in review_lines(site, review))
    with _editor_has_terminal():
        try:
            written = click.edit(f"{text}\n\n{ENDS_HERE}\n{below}\n", extension=".txt")
        except UnicodeDecodeError:
            raise _bad_message(_FAULTS["not text"]) from None
    return text if written is None else written.split(ENDS_HERE)[0].strip()


@contextmanager
def _editor_has_terminal() -> Iterator[None]:
    """Leave Ctrl-C to the editor, for which it may be a command; asyncio would end this process."""
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _read_message(message: str | None) -> str | None:
    if message == "-":
        return parse_message(sys.stdin.buffer.read(_MOST_BYTES + 1) if sys.stdin else b"")
    return None if message is None else parse_message(message)


@click.command()
@config_option
@review_argument
@click.option(
    "--message",
    metavar="TEXT",
    help="What to reply; - reads it from standard input. Without it an editor is opened.",
)
@click.option("--canned", metavar="NAME", help="Reply with this one of [[replies]].")
@site_option
@click.option("--replace", is_flag=True, help="Overwrite the reply that there is.")
@click.option("--yes", is_flag=True, help="Send it without asking.")
def command(
    path: Path | None,
    review_id: str,
    message: str | None,
    canned: str | None,
    name: str | None,
    *,
    replace: bool,
    yes: bool,
) -> None:
    """Reply to a review as the site's owner.

    Without a message, it opens $VISUAL or $EDITOR.
    """
    log_to_stderr(logging.ERROR, os.environ)
    if message is not None and canned is not None:
        raise click.UsageError("--message and --canned exclude each other")
    text = _read_message(message)
    if text is None and canned is None and not is_terminal():
        raise click.UsageError(
            "there is no terminal to write on: say what to reply with --message or --canned"
        )
    check_terminal(yes=yes)
    config = load_with_sites(path)
    known = [reply.name for reply in config.replies]
    if canned is not None and canned not in known:
        raise unknown_name("canned reply", canned, known, "--canned")
    site, full_id = find_review(config, review_id, name)
    wanted = Wanted(text, canned, replace=replace, yes=yes)
    asyncio.run(run(config, Clock(), site, full_id, wanted))
