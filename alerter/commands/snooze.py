"""`alerter snooze`: hold the reminders of a review until a moment."""

import asyncio
import logging
import os
from dataclasses import replace
from datetime import datetime
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
    print_outcome,
    review_argument,
    site_option,
    user_name,
)
from alerter.config import Config, Site
from alerter.logs import log_to_stderr
from alerter.respond.snoozing import parse_until


async def run(config: Config, clock: Clock, site: Site, review_id: str, until: datetime) -> None:
    """Snooze a review, and print until when. Raise AlerterError."""
    async with open_desk(config, clock) as desk:
        new = new_action(ActionKind.SNOOZE, site, review_id, user_name())
        action = await act(desk, replace(new, until=until))
        done = f"its reminders wait until {phrase_time(config, until)}; then one is sent"
        await print_outcome(desk, action, site, {Outcome.DONE: done})


@click.command()
@config_option
@review_argument
@click.argument("until", metavar="UNTIL")
@site_option
def command(path: Path | None, review_id: str, until: str, name: str | None) -> None:
    """Hold the reminders of a review until a moment, at which one follows.

    UNTIL is a date (9:00 then), a date and time such as 2026-01-31T14:00+01:00, a span such as 2h
    or 3d, or tomorrow.
    """
    log_to_stderr(logging.ERROR, os.environ)
    config, clock = load_with_sites(path), Clock()
    try:
        moment = parse_until(until, clock.now(), config.timezone)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="UNTIL") from None
    site, full_id = find_review(config, review_id, name, recorded=True)
    asyncio.run(run(config, clock, site, full_id, moment))
