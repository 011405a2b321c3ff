"""`alerter moderate`: publish or reject a review."""

import asyncio
import logging
import os
from pathlib import Path

import click

from alerter.actions import ActionKind
from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites
from alerter.commands.responding import (
    act,
    asking,
    check_terminal,
    find_review,
    new_action,
    open_desk,
    print_outcome,
    read_review,
    review_argument,
    show_review,
    site_option,
    user_name,
)
from alerter.config import Config, Site
from alerter.logs import log_to_stderr
from alerter.render.language import get_language
from alerter.render.phrases import describe_moderation

_QUESTIONS = {ActionKind.PUBLISH: "Publish it?", ActionKind.REJECT: "Reject it?"}


async def run(
    config: Config, clock: Clock, site: Site, review_id: str, kind: ActionKind, *, yes: bool
) -> None:
    """Show the review, ask, moderate it, and print what became of it.

    Raise AlerterError, or click.Abort if the answer is no.
    """
    async with open_desk(config, clock) as desk:
        review = await read_review(desk, site, review_id, kind)
        show_review(site, review)
        if status := describe_moderation(review.moderation, get_language("en")):
            click.echo(status)
        if not yes:
            with asking():
                click.confirm(_QUESTIONS[kind], abort=True)
        action = await act(desk, new_action(kind, site, review_id, user_name(), review))
        await print_outcome(desk, action, site)


@click.command()
@config_option
@review_argument
@click.option("--publish", is_flag=True, help="Publish it.")
@click.option("--reject", is_flag=True, help="Reject it, so that Wix does not show it.")
@site_option
@click.option("--yes", is_flag=True, help="Do it without asking.")
def command(
    path: Path | None,
    review_id: str,
    name: str | None,
    *,
    publish: bool,
    reject: bool,
    yes: bool,
) -> None:
    """Publish or reject a review, such as one that waits for moderation."""
    log_to_stderr(logging.ERROR, os.environ)
    if publish == reject:
        raise click.UsageError("say what to do: either --publish or --reject")
    check_terminal(yes=yes)
    config = load_with_sites(path)
    site, full_id = find_review(config, review_id, name)
    kind = ActionKind.PUBLISH if publish else ActionKind.REJECT
    asyncio.run(run(config, Clock(), site, full_id, kind, yes=yes))
