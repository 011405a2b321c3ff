"""The oracle: judges what happened in a simulated run by the promises of DESIGN.md.

It was written from the design and from the facts about Wix, Slack and mail, not from the code.
Where the design leaves freedom, a rule allows that freedom and no more: what has to be, what may
be and what must not be is decided for each review, destination and kind.
"""

from __future__ import annotations

from tests.simulation.history import History
from tests.simulation.oracle.clusters import judge_clusters
from tests.simulation.oracle.kept import judge_kept
from tests.simulation.oracle.messages import judge_messages
from tests.simulation.oracle.notified import verdicts
from tests.simulation.oracle.status import judge_status
from tests.simulation.oracle.triage import Triage
from tests.simulation.oracle.troubles import judge_troubles
from tests.simulation.oracle.values import Violation
from tests.simulation.oracle.world import World

__all__ = ["Violation", "judge"]


def judge(history: History) -> list[Violation]:
    """Return every violation of the design's promises in a history, by time."""
    world = World(history)
    triage = Triage(world)
    judged = verdicts(world, triage)
    found = [violation for verdict in judged for violation in verdict.violations]
    found += judge_messages(world, judged)
    found += judge_clusters(world)
    found += judge_troubles(world)
    found += judge_status(world, triage)
    found += judge_kept(world, triage)
    return sorted(found, key=lambda violation: (violation.time, violation.rule, violation.concerns))
