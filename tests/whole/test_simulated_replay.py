"""A replay with the config in force reproduces what simulated runs have on record."""

import pytest

from tests.simulation.plan import make
from tests.simulation.replayed import is_known, replayed_lines

# With changed configs, faults, kills, claims, quiet hours and reminders.
_SEEDS = (51, 94, 178, 192, 267)


@pytest.mark.slow
@pytest.mark.parametrize("seed", _SEEDS)
def test_the_record_of_a_run_is_reproduced_alert_for_alert(seed: int) -> None:
    plan = make(seed, short=True)
    assert is_known(plan)

    found, differing = replayed_lines(plan)
    assert found
    assert differing == []
