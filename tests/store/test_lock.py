"""The lock of a state file: one process dispatches."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alerter.errors import StateError
from alerter.store import Holder, State, lock_of
from alerter.store.marker import Marker
from tests.support.state import TROUBLE, path, reading, scopes

__all__ = ["path"]


# The lock


def test_one_process_sends_at_a_time_and_the_other_learns_which_kind_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with lock_of(path) as first, lock_of(path) as second:
        assert first.acquire(Holder.BACKFILL) is None
        assert second.acquire(Holder.RUN) is Holder.BACKFILL
        first.release()
        assert second.acquire(Holder.RUN) is None
        assert first.acquire(Holder.BACKFILL) is Holder.RUN
    with lock_of(path) as third:
        assert third.acquire(Holder.BACKFILL) is None


def test_a_lock_is_of_one_state_file(tmp_path: Path) -> None:
    with lock_of(tmp_path / "a.db") as one, lock_of(tmp_path / "b.db") as other:
        assert one.acquire(Holder.RUN) is None
        assert other.acquire(Holder.RUN) is None


def test_a_lock_knows_that_it_was_asked_for_until_it_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with lock_of(path) as first, lock_of(path) as second:
        assert first.acquire(Holder.BACKFILL) is None
        assert not first.is_asked_for()
        second.ask()
        assert first.is_asked_for()
        assert second.acquire(Holder.RUN) is Holder.BACKFILL
        first.release()
        assert not first.is_asked_for()
        assert first.acquire(Holder.BACKFILL) is None
        assert not first.is_asked_for()


def test_a_state_file_that_is_replaced_is_not_in_place_any_more(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State.open(path, migrate=True) as state:
        assert state.is_in_place()
        path.rename(tmp_path / "aside.db")
        assert not state.is_in_place()
        State.open(path, migrate=True).close()
        assert not state.is_in_place()


def test_a_lock_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    with (
        lock_of(tmp_path / "none" / "state.db") as lock,
        pytest.raises(StateError, match=r"state\.db\.lock"),
    ):
        lock.acquire(Holder.RUN)


def test_a_linked_state_file_has_one_lock(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.db").symlink_to(tmp_path / "state.db")
    with (
        lock_of(tmp_path / "state.db") as one,
        lock_of(tmp_path / "elsewhere" / "other.db") as other,
    ):
        assert one.acquire(Holder.RUN) is None
        assert other.acquire(Holder.BACKFILL) is Holder.RUN


def test_a_linked_state_file_has_one_marker(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.db").symlink_to(tmp_path / "state.db")
    assert Marker(tmp_path / "state.db", {}).place()
    assert not Marker(tmp_path / "elsewhere" / "other.db", {}).place()


def test_a_deleted_lock_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with lock_of(path) as first, lock_of(path) as second:
        assert first.acquire(Holder.RUN) is None
        path.with_name("state.db.lock").unlink()
        assert first.hold(Holder.RUN)
        assert second.acquire(Holder.BACKFILL) is Holder.RUN
        assert first.hold(Holder.RUN)


def test_a_deleted_lock_file_that_another_process_made_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with lock_of(path) as first, lock_of(path) as second:
        assert first.acquire(Holder.RUN) is None
        path.with_name("state.db.lock").unlink()
        assert second.acquire(Holder.RUN) is None
        assert not first.hold(Holder.RUN)
        assert second.hold(Holder.RUN)


VICTIM = f"""
import pathlib, sys
from alerter.store import Holder, State, lock_of
path = pathlib.Path(sys.argv[1])
lock = lock_of(path)
assert lock.acquire(Holder.BACKFILL) is None
state = State.open(path, migrate=True)
state.execute({TROUBLE!r}, ["site:committed", "r"])
state.execute("BEGIN IMMEDIATE")
state.execute({TROUBLE!r}, ["site:not committed", "r"])
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_its_lock_free_and_what_it_committed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with victim, lock_of(path) as lock:
        try:
            assert victim.stdout
            assert victim.stdout.readline() == "ready\n"
            assert lock.acquire(Holder.RUN) is Holder.BACKFILL
        finally:
            victim.send_signal(signal.SIGKILL)
        victim.wait()
        with reading(path) as reader:
            assert scopes(reader) == ["site:committed"]
        assert lock.acquire(Holder.RUN) is None
        with State.open(path, migrate=True) as state, state.transaction():
            assert scopes(state) == ["site:committed"]
