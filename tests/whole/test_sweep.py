"""A few points of the sweep; `make torture` goes through all of them."""

from pathlib import Path

import pytest

from tests import sweep
from tests.support.world import Outcome

fault = sweep.why_not()
with_strace = pytest.mark.skipif(fault is not None, reason=str(fault))


@with_strace
@pytest.mark.slow
@pytest.mark.parametrize(
    ("scenario", "call", "number"),
    [("the first start", "fdatasync", 4), ("an everyday round", "fdatasync", 9)],
    ids=["while the state file is made", "between a claim and its answer"],
)
async def test_a_daemon_killed_at_a_commit_and_in_its_recovery_repeats_nothing(
    tmp_path: Path, scenario: str, call: str, number: int
) -> None:
    """Nothing is lost either."""
    outcome = await sweep.kill_at(
        tmp_path / "point", sweep.SCENARIOS[scenario], call, number, most=2
    )
    assert (outcome.lost, outcome.repeated, outcome.pending, outcome.kills) == ([], [], [], 2)


def test_the_sweep_says_where_harm_was_done() -> None:
    swept = sweep.Sweep()
    swept.add("an everyday round: sends", 7, Outcome(kills=3, deliveries=9))
    swept.add(
        "an everyday round: sends",
        8,
        Outcome(kills=2, deliveries=9, lost=["Review 00001. by mail"]),
    )
    swept.add("an everyday round: sends", 9, Outcome(deliveries=9))
    report = sweep.report(swept)
    assert report.startswith("2 points, 5 kills, 27 deliveries\n")
    assert "an everyday round: sends, killed at 8: lost ['Review 00001. by mail']" in report
    assert report.endswith("1 points at which something was lost, repeated or left")
