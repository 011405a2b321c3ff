"""What the commands share that respond to a review: finding it, showing it, acting, the outcome."""

import asyncio
import getpass
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

import click

from alerter.actions import Action, ActionKind, ActionStatus, NewAction, Outcome, Person, Through
from alerter.clock import Clock
from alerter.commands.options import find_review_id, find_site, phrase_near_id
from alerter.commands.terminal import plain, title
from alerter.config import Config, Site
from alerter.errors import AlerterError, StateBusy, WixAuthError, WixError, WixNotFound
from alerter.links import reviews_dashboard_url
from alerter.models import Review
from alerter.render.formatting import stars
from alerter.render.language import get_language
from alerter.render.outcomes import describe_action
from alerter.respond.responder import LEASE, Responder
from alerter.service.runtime import open_wix, recorder
from alerter.store import State, is_there, report
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.wix.client import WixClient

_Result = TypeVar("_Result")

# How long a command waits for the database while another process holds it.
_WAITS_FOR_STATE = 15.0
# How long it waits for another process that carries out its action: longer than a lease.
_WAITS_FOR_OTHERS = LEASE.total_seconds() + 15
_BETWEEN_LOOKS = 0.25
_LONGEST_NAME = 100
_LONGEST_ID = 100
_GRANTS = {
    ActionKind.REPLY: "Manage Reviews (REVIEWS.SET_REPLY)",
    ActionKind.PUBLISH: "Manage Reviews",
    ActionKind.REJECT: "Manage Reviews",
}

_NO_TEXTS: Mapping[Outcome, str] = {}

review_argument = click.argument("review_id", metavar="REVIEW_ID")
site_option = click.option(
    "--site",
    "name",
    metavar="NAME",
    help="The site, if several sites have that review, or none has it stored.",
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command needs to respond; `on_record`: other processes see what it records."""

    state: State
    clock: Clock
    wix: WixClient
    responder: Responder
    on_record: bool


@asynccontextmanager
async def open_desk(config: Config, clock: Clock) -> AsyncIterator[Desk]:
    """Open the database and a client of Wix. Raise StateError.

    Without a state what the command does is recorded in memory only.
    """
    database = config.database
    on_record = is_there(database)
    with State.open(database, migrate=False) if on_record else State.in_memory(database) as state:
        async with open_wix(config, clock) as wix:
            intake = Intake(state, config, clock, Catalog(state, clock, wix), _wake_nobody)
            responder = Responder(
                state, config, clock, wix, recorder(intake), _wake_nobody, patience=timedelta()
            )
            yield Desk(state, clock, wix, responder, on_record)


def _wake_nobody(_: object) -> None:
    """The daemon sends what follows with its next round."""


def find_review(
    config: Config, given: str, name: str | None, *, recorded: bool = False
) -> tuple[Site, str]:
    """Return the site and the whole id of a review, and print the id where it was shortened.

    `recorded`: it must be on record; else a site may have it that is named or the only one. Raise
    UsageError, and AlerterError where it must be on record and is not.
    """
    sites = [find_site(config, name)] if name else config.sites
    with State.read(config.database) as state:
        full_id = find_review_id(state, sites, given, "REVIEW_ID")
        if full_id is None and recorded:
            names = ", ".join(site.name for site in sites) or "any site"
            near = phrase_near_id(state, sites, given)
            raise AlerterError(
                f"review {plain(given, _LONGEST_ID)} is not on record of {names}{near}"
            )
        site = _find_site(sites, state, full_id or given)
    if full_id and full_id != given:
        click.echo(f"review {full_id}")
    return site, full_id or given


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
        near = phrase_near_id(state, sites, review_id)
        raise click.UsageError(
            f"that review is not on record of any site: name its site with --site{near}"
        )
    return having[0]


def user_name() -> str:
    """Return the name of the system's user, who acts."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        name = ""
    return plain(name.strip(), _LONGEST_NAME) or f"user {os.getuid()}"


def parse_name(_: click.Context, __: click.Parameter, name: str | None) -> str:
    """Return the name of a person; without one, that of the user. Raise BadParameter."""
    if name is None:
        return user_name()
    stripped = name.strip()
    if not stripped or not stripped.isprintable() or len(stripped) > _LONGEST_NAME:
        raise click.BadParameter(
            f"must be a name on one line, of at most {_LONGEST_NAME} characters"
        )
    return stripped


async def read_review(desk: Desk, site: Site, review_id: str, kind: ActionKind) -> Review:
    """Read a review at Wix. Raise AlerterError with what a person can do."""
    try:
        return await desk.wix.review(site, review_id)
    except WixNotFound as error:
        near = phrase_near_id(desk.state, [site], review_id)
        shown = plain(review_id, _LONGEST_ID)
        raise AlerterError(
            f"{site.name} has no review {shown}, or none that we may see{near}"
        ) from error
    except WixAuthError as error:
        raise AlerterError(f"{error}; {_way_out(site, kind)}") from error
    except WixError as error:
        link = reviews_dashboard_url(site.site_id)
        raise AlerterError(f"{error}; nothing was sent. In the dashboard: {link}") from error


def show_review(site: Site, review: Review) -> None:
    """Print a review and its present reply."""
    for line in review_lines(site, review):
        click.echo(line)


def review_lines(site: Site, review: Review) -> Iterator[str]:
    """Yield the lines that show a review and its present reply."""
    yield f"{stars(review.rating)}  {title(review.title)} on {site.name}"
    yield from _quoted(review.body, ">")
    if review.reply:
        yield "its reply now:"
        yield from _quoted(review.reply.message, "|")


def quote(head: str, text: str) -> None:
    """Print a text below a line that says what it is."""
    click.echo(f"{head}:")
    for line in _quoted(text, "|"):
        click.echo(line)


def _quoted(text: str, mark: str) -> Iterator[str]:
    for line in text.split("\n") if text else ():
        yield f"  {mark} {plain(line, 2 * len(line))}"


def check_terminal(*, yes: bool) -> None:
    """Raise UsageError where a question is due, and there is no terminal to ask on."""
    if not (yes or is_terminal()):
        raise click.UsageError("there is no terminal to ask on: --yes sends it without asking")


def is_terminal() -> bool:
    """Whether a person can answer on standard input."""
    return bool(sys.stdin and sys.stdin.isatty())


@contextmanager
def asking() -> Iterator[None]:
    """Have Ctrl-C end a question: asyncio only cancels the task, which ends no blocking read."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def new_action(
    kind: ActionKind, site: Site, review_id: str, person: str, review: Review | None = None
) -> NewAction:
    """Return an action from the command line on a review, as the person was shown it."""
    return NewAction(
        key=f"command:{uuid4()}",
        kind=kind,
        site_id=site.site_id,
        review_id=review_id,
        person=Person(person),
        through=Through.COMMAND,
        revision=review.revision if review else 0,
        seen=review.text_digest if review else "",
        seen_reply=review.reply_digest if review else "",
    )


async def act(desk: Desk, new: NewAction) -> Action:
    """Record an action, and carry it out until its fate is known. Raise StateError.

    It waits while another process holds the database, or carries out the action or another one
    on the same review.
    """
    action = await _once_free(desk, lambda: desk.responder.request(new))
    deadline = desk.clock.monotonic() + _WAITS_FOR_OTHERS
    try:
        while not action.is_settled and desk.clock.monotonic() < deadline:
            try:
                action = await desk.responder.carry_out(action)
            except StateBusy:
                if desk.clock.monotonic() >= deadline:
                    raise
            if not action.is_settled:
                await desk.clock.sleep(_BETWEEN_LOOKS)
    except asyncio.CancelledError:
        click.echo(_phrase_interrupted(desk, new), err=True)
        raise
    return action


async def _once_free(desk: Desk, write: Callable[[], _Result]) -> _Result:
    """Write to the database once no other process holds it. Raise StateError."""
    deadline = desk.clock.monotonic() + _WAITS_FOR_STATE
    while True:
        try:
            return write()
        except StateBusy:
            if desk.clock.monotonic() >= deadline:
                raise
        await desk.clock.sleep(_BETWEEN_LOOKS)


def _phrase_interrupted(desk: Desk, new: NewAction) -> str:
    if desk.on_record:
        return "interrupted; it is on record: the daemon, or the next `alerter run`, finishes it"
    return (
        "interrupted; Wix may have it nevertheless, look in the dashboard: "
        f"{reviews_dashboard_url(new.site_id)}"
    )


async def print_outcome(
    desk: Desk, action: Action, site: Site, texts: Mapping[Outcome, str] = _NO_TEXTS
) -> None:
    """Print what became of an action; `texts` say so in the words of a command.

    Raise AlerterError, with the link to the dashboard, where it failed or is not settled yet.
    """
    text = describe_action(action, get_language("en"))
    if action.status is ActionStatus.DONE:
        click.echo(texts.get(action.outcome or Outcome.DONE, text))
        return
    link = f"In the dashboard: {reviews_dashboard_url(site.site_id)}"
    if not action.is_settled:
        raise AlerterError(f"{text} Another process carries it out. {link}")
    if action.outcome in (Outcome.OTHER_REPLY, Outcome.OTHER_TEXT):
        show_review(site, await read_review(desk, site, action.new.review_id, action.new.kind))
    if action.outcome is Outcome.OTHER_REPLY:
        text += " --replace overwrites it."
    if action.outcome is Outcome.FORBIDDEN:
        link = _way_out(site, action.new.kind)
    answer = f" ({action.answer})" if action.answer and action.answer not in text else ""
    raise AlerterError(f"{text}{answer} {link}" if action.new.kind.is_call else text)


def _way_out(site: Site, kind: ActionKind) -> str:
    verb = "reply" if kind is ActionKind.REPLY else "moderate"
    return (
        f"to {verb} from here, grant the key or app {_GRANTS[kind]}; "
        f"{verb} in the dashboard: {reviews_dashboard_url(site.site_id)}"
    )
