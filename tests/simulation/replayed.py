"""The record of a run, repeated with the config that was in force at its end."""

from datetime import datetime, timedelta

from alerter.store import State
from alerter.store.configs import newest_config
from alerter.watch.comparison import Mark, ReplayedLine, compare
from alerter.watch.past import read_past
from alerter.watch.replay import replay
from tests.simulation import world
from tests.simulation.plan import Plan

# What a replay cannot know: which deliveries a restore cancelled, how long a clock was wrong, and
# which answers of Wix lacked a review.
_UNKNOWN = {"restore", "clock_step", "wix_empty", "wix_private_forbidden"}
# From which parts of the time since the last config it is repeated.
_PARTS = (0.0, 0.3, 0.6)


def is_known(plan: Plan) -> bool:
    """Whether all that happens in a plan is on record."""
    found = {event.kind for event in plan.events}
    return not _UNKNOWN & (found | {event.args.get("fault") for event in plan.events})


def replayed_lines(plan: Plan) -> tuple[list[ReplayedLine], list[str]]:
    """Let a plan happen and repeat it; return what was repeated, and where it differs."""
    found: list[ReplayedLine] = []
    differing: list[str] = []

    async def look(at: world.World) -> None:
        now = at.machine.now()
        with State.read(at.load().database) as state:
            newest = newest_config(state)
            assert newest
            for part in _PARTS:
                since = newest.added_at + (now - newest.added_at) * part
                lines = await _lines(state, at, since, now)
                found.extend(lines)
                differing.extend(
                    f"from {since}: {line.mark} {line.alert.key} {line.recipients}"
                    for line in lines
                    if line.mark != Mark.NONE
                )

    world.run(plan, look)
    return found, differing


async def _lines(
    state: State, at: world.World, since: datetime, now: datetime
) -> list[ReplayedLine]:
    config = at.load()
    past = read_past(state, config)
    replayed = await replay(past, config, since, now)
    record = [each for each in past.alerts if each.raised_at >= since]
    return compare(record, replayed, max(2 * config.poll.every, timedelta(hours=1)))
