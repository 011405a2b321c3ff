"""`alerter claim`: take a review on, which holds its reminders, or give it back."""

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

import click

from alerter.actions import ActionKind, Outcome
from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites, phrase_time
from alerter.commands.responding import (
    act,
    find_review,
    new_action,
    open_desk,
    parse_name,
    print_outcome,
    review_argument,
    site_option,
)
from alerter.config import Config, Site
from alerter.logs import log_to_stderr
from alerter.store.actions import get_responses


async def run(
    config: Config, clock: Clock, site: Site, review_id: str, person: str, *, release: bool
) -> None:
    """Claim a review for a person, or release it, and print what follows. Raise AlerterError."""
    kind = ActionKind.RELEASE if release else ActionKind.CLAIM
    until = None if release else clock.now() + config.reminders.claimed_for
    async with open_desk(config, clock) as desk:
        pair = site.site_id, review_id
        before = get_responses(desk.state, [pair], clock.now()).get(pair)
        if release and not (before and before.claimed_by):
            click.echo("it is not claimed")
            return
        new = replace(new_action(kind, site, review_id, person), until=until)
        action = await act(desk, new)
        done = "the claim has ended and holds no reminders any more"
        if until is not None:
            done = f"{person} is on it: its reminders wait until {phrase_time(config, until)}"
        if action.outcome is Outcome.DONE and action.answer:
            done += f" ({action.answer} was on it until now)"
        await print_outcome(desk, action, site, {Outcome.DONE: done})


@click.command()
@config_option
@review_argument
@click.option(
    "--by",
    "person",
    metavar="NAME",
    callback=parse_name,
    help="Who takes it on.  [default: the name of the system's user]",
)
@click.option("--release", is_flag=True, help="End the claim, also that of another person.")
@site_option
def command(
    path: Path | None, review_id: str, person: str, name: str | None, *, release: bool
) -> None:
    """Claim a review, which holds its reminders for a while."""
    log_to_stderr(logging.ERROR, os.environ)
    config = load_with_sites(path)
    site, full_id = find_review(config, review_id, name, recorded=True)
    asyncio.run(run(config, Clock(), site, full_id, person, release=release))
