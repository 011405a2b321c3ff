"""What is read of a state file from outside."""

from pathlib import Path

import pytest

from alerter.store import State

TROUBLE = "INSERT INTO troubles (scope, since, reason) VALUES (?, 0, ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file of the present version that nobody has open."""
    path = tmp_path / "state.db"
    State.open(path, migrate=True).close()
    return path


def scopes(state: State) -> list[str]:
    return [row["scope"] for row in state.rows("SELECT scope FROM troubles ORDER BY scope")]


def reading(path: Path) -> State:
    state = State.read(path)
    assert state
    return state
