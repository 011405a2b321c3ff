"""`alerter replay`: what a config would have alerted in the recorded past, beside what was."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load_with_sites, parse_day, phrase_time
from alerter.commands.terminal import plain, print_rows
from alerter.config import Config, Site
from alerter.errors import AlerterError, ConfigError
from alerter.models import phrase_destination
from alerter.service.membership import config_digest
from alerter.store import State, is_there, known_sites
from alerter.store.configs import ConfigRecord, all_configs
from alerter.store.recorded import kept_since, pruned_until
from alerter.text import counted
from alerter.watch.comparison import Mark, ReplayedLine, compare
from alerter.watch.past import RecordedPast, read_past
from alerter.watch.replay import replay
from alerter.watch.topics import topics_of

_LEAST_TOLERANCE = timedelta(hours=1)
_SHOWN_OF_ID = 8
_LONGEST_NAME = 40
_COLOURS = {Mark.ADDED: "green", Mark.REMOVED: "red"}


@click.command()
@config_option
@click.option(
    "--since",
    metavar="DATE",
    required=True,
    help="As if the config had come into force then: a date, today, yesterday or 90d.",
)
def command(path: Path | None, since: str) -> None:
    """Show what the config would have alerted in the recorded past, beside what was.

    Lines that only the config has begin with +, those that only the record has with -. Nothing is
    sent or changed. To try a change, copy the config, change the copy and name it with --config.
    """
    config = load_with_sites(path, secrets=False)
    now = Clock().now()
    start = parse_day(config, since, "--since", now)
    if start > now:
        raise click.BadParameter("is in the future", param_hint="--since")
    if not is_there(config.database):
        raise ConfigError([f"state: there is none at {config.database}; {_SAME_STATE}"])
    with State.read(config.database) as state:
        begun = _kept_since(state, config)
        past = read_past(state, config)
        notes = list(_notes(state, config, past, start, begun))
    start = max(start, begun)
    with _progress(past) as advance:
        replayed = asyncio.run(replay(past, config, start, now, advance))
    record = [each for each in past.alerts if each.raised_at >= start]
    lines = compare(record, replayed, max(2 * config.poll.every, _LEAST_TOLERANCE))
    print_rows([_coloured(line, cells_of(config, past, line)) for line in lines])
    for note in [*notes, summary_of(lines)]:
        click.echo(note)


_SAME_STATE = "a config that is tried has to name the state of the config in force"


def _kept_since(state: State, config: Config) -> datetime:
    """Return since when states are kept. Raise AlerterError for none, or not of these sites."""
    known = known_sites.site_names(state).keys()
    if not known & {site.site_id for site in config.sites}:
        raise ConfigError(
            [f"state: {config.database} has none of the sites of this config; {_SAME_STATE}"]
        )
    begun = kept_since(state)
    if begun is None:
        raise AlerterError("nothing is on record yet that can be replayed; start the daemon")
    return begun


def _notes(
    state: State, config: Config, past: RecordedPast, start: datetime, begun: datetime
) -> Iterator[str]:
    """Yield what the record does not hold, and since when the config is in force."""
    if begun > start:
        shown = phrase_time(config, begun)
        yield f"From {shown} on, and complete since then: nothing earlier can be replayed."
    pruned = pruned_until(state, [site.site_id for site in config.sites])
    if pruned and pruned >= max(start, begun):
        shown = phrase_time(config, pruned)
        yield f"Complete from {shown} on: earlier reviews were pruned after `state.keep`."
    configs = all_configs(state)
    yield from _unread(config, configs, start)
    unknown = sum(any(each.judged_at >= start for each in past.states[key]) for key in past.unknown)
    if unknown:
        yield (
            f"Words of {counted(unknown, 'review')} are not on record any more, and this config"
            " looks for others than those of then: only what was found then counts here."
        )
    newest = configs[-1]
    if newest.digest != config_digest(config):
        yield "This config is not the one in force."
    elif newest.added_at > max(start, begun):
        shown = phrase_time(config, newest.added_at)
        yield f"This config is in force since {shown}; before that, another one decided."


def _unread(config: Config, configs: Sequence[ConfigRecord], start: datetime) -> Iterator[str]:
    """Yield which ratings that this config watches were not all read, and until when."""
    found: dict[str, tuple[datetime | None, int]] = {}
    for number, each in enumerate(configs):
        ends = configs[number + 1].added_at if number + 1 < len(configs) else None
        if each.scope is None or (ends and ends <= start):
            continue
        scope = json.loads(each.scope)
        sites = Counter(_unread_of(config, site, scope) for site in config.sites)
        found |= {what: (ends, its) for what, its in sites.items() if what}
    for what, (until, its) in found.items():
        when = f"until {phrase_time(config, until)}" if until else "by the config in force"
        yield (
            f"Reviews rated above {what} were not read {when} ({counted(its, 'site')}):"
            " what this config would have alerted of them is not known;"
            " `alerter backfill --dry-run` with this config lists them."
        )


def _unread_of(config: Config, site: Site, scope: dict[str, Any]) -> str | None:
    """Return above which rating a config with a scope did not read all that this one watches."""
    now = config.limits(site)
    plain = scope["thresholds"].get(site.site_id, scope["threshold"])
    with_topic = max(plain, scope.get("topics_up_to", 0))
    if now.plain > plain:
        return f"{plain} without a topic" if with_topic > plain else str(plain)
    if now.with_topic > with_topic:
        return str(with_topic)
    if now.with_topic > now.plain and topics_of(config).mark != scope.get("topics"):
        return f"{now.plain} without a topic of then"
    return None


def summary_of(lines: Sequence[ReplayedLine]) -> str:
    """Return the sentence that counts the lines."""
    number = Counter(line.mark for line in lines)
    same = counted(number[Mark.NONE], "alert")
    if number[Mark.ADDED] or number[Mark.REMOVED]:
        return (
            f"{same} as on record; this config adds {number[Mark.ADDED]} (+)"
            f" and takes away {number[Mark.REMOVED]} (-)."
        )
    return f"{same}, all as on record: this config changes nothing."


def cells_of(config: Config, past: RecordedPast, line: ReplayedLine) -> list[str]:
    """Return the cells of a line: its mark, time, kind, stars, review, site and receivers.

    A cluster has the number of its reviews in place of stars, and all their ids.
    """
    alert = line.alert
    ids = [plain(each, 100)[:_SHOWN_OF_ID] for each in line.reviews]
    name = past.names.get(alert.site_id or "", alert.site_id or "")
    return [
        str(line.mark),
        phrase_time(config, line.at),
        str(alert.kind),
        counted(_rating(past, line), "star") if alert.review_id else counted(len(ids), "review"),
        ", ".join(ids),
        plain(name, _LONGEST_NAME),
        ", ".join(_recipients(config, line)),
    ]


def _coloured(line: ReplayedLine, cells: list[str]) -> list[str]:
    colour = _COLOURS.get(line.mark)
    return [click.style(cell, fg=colour) for cell in cells] if colour else cells


def _recipients(config: Config, line: ReplayedLine) -> Iterator[str]:
    """Yield who gets an alert; the time too where it is later than for the first."""
    for destination, at in sorted(line.recipients.items(), key=lambda each: (each[1], each[0])):
        name = plain(phrase_destination(destination), _LONGEST_NAME)
        yield name if at == line.at else f"{name} at {phrase_time(config, at)}"


def _rating(past: RecordedPast, line: ReplayedLine) -> int:
    """Return the rating of a review when an alert of it was raised."""
    states = past.states.get((line.alert.site_id or "", line.alert.review_id or ""), [])
    then = [each for each in states if each.judged_at <= line.raised_at] or states
    return then[-1].record.review.rating if then else 0


@contextmanager
def _progress(past: RecordedPast) -> Iterator[Callable[[], None]]:
    """Yield what moves a bar on a terminal by one state."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    total = sum(map(len, past.states.values()))
    with click.progressbar(length=total, label="replaying", file=sys.stderr) as bar:
        yield lambda: bar.update(1)
