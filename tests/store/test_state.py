"""The state file itself: opened, refused, locked, and all or nothing."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from alerter.config.state import PostgresUrl
from alerter.counters import counts
from alerter.errors import StateBusy, StateError
from alerter.store import Holder, State, lock_of
from alerter.store.migrations import migrations
from alerter.store.sqlite import Sqlite
from tests.support.state import TROUBLE, path, reading, scopes
from tests.support.state_faults import impatient, locked
from tests.support.waiting import HANG

__all__ = ["path"]
PAGE = 4096


@pytest.fixture
def wide_umask() -> Iterator[None]:
    """Nothing but what alerter does itself keeps its files private."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def a_later_version() -> Iterator[None]:
    """An alerter with one migration more, as the next release may bring."""

    @migrations()
    def a_later_need(db: Database) -> None:
        db.execute("CREATE TABLE later (id INTEGER PRIMARY KEY) STRICT")

    yield
    migrations._migrations.pop()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(sql)


def schema(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as conn:
        return conn.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        ).fetchall()


# Privacy


def test_nobody_else_may_read_the_state_file_nor_what_lies_beside_it(
    tmp_path: Path, wide_umask: None
) -> None:
    path = tmp_path / "state.db"
    with lock_of(path) as lock, State.open(path, migrate=True) as state:
        lock.acquire(Holder.RUN)
        state.execute(TROUBLE, ["site:x", "r"])
        assert {each.name: mode(each) for each in tmp_path.iterdir()} == {
            "state.db": 0o600,
            "state.db-wal": 0o600,
            "state.db-shm": 0o600,
            "state.db.lock": 0o600,
        }


def test_a_state_file_that_others_could_read_is_made_private(path: Path) -> None:
    path.chmod(0o644)
    State.open(path, migrate=True).close()
    assert mode(path) == 0o600


def test_reading_beside_nobody_leaves_nothing_that_others_could_read(
    path: Path, wide_umask: None
) -> None:
    with reading(path):
        pass
    assert {mode(each) for each in path.parent.iterdir()} == {0o600}


def test_what_is_deleted_is_gone_from_the_file(path: Path) -> None:
    text = "a review that its author took back"
    with State.open(path, migrate=True) as state:
        state.execute(TROUBLE, ["site:x", text])
    assert text.encode() in path.read_bytes()
    with State.open(path, migrate=True) as state:
        state.execute("DELETE FROM troubles")
    assert text.encode() not in path.read_bytes()


# Refusals


def of_a_newer_version(path: Path) -> None:
    change(
        path,
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
        " VALUES ('alerter', 'a_later_need', '2099')",
    )


def of_another_program(path: Path) -> None:
    path.unlink()
    change(path, "CREATE TABLE reviews (id INTEGER PRIMARY KEY)")


def no_database(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)


def a_short_text(path: Path) -> None:
    path.write_text("state\n")


def corrupt_in_the_middle(path: Path) -> None:
    content = path.read_bytes()
    assert len(content) > 8 * PAGE
    path.write_bytes(content[: 4 * PAGE] + b"\xa5" * PAGE + content[5 * PAGE :])


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 6 * PAGE])


REFUSED = {
    "no database": (no_database, "is not a state file; name another one in `state`"),
    "a short text": (a_short_text, "is not a state file"),
    "another program's": (of_another_program, "is a database, but not a state file of alerter"),
    "a newer version's": (
        of_a_newer_version,
        "was written by a newer alerter; install that version again",
    ),
    "corrupt": (
        corrupt_in_the_middle,
        "is corrupt .*restore a backup, or move it away to start again",
    ),
    "cut off": (cut_off, "malformed"),
}


@pytest.mark.parametrize("migrate", [True, False], ids=["for the daemon", "beside it"])
@pytest.mark.parametrize(("spoil", "phrase"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_refused_stays_as_it_is(
    path: Path, spoil: Callable[[Path], None], phrase: str, *, migrate: bool
) -> None:
    spoil(path)
    path.chmod(0o640)
    before = path.read_bytes()
    with pytest.raises(StateError, match=f"(?s){phrase}") as caught:
        State.open(path, migrate=migrate)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == before
    assert mode(path) == 0o640


@pytest.mark.parametrize(
    "spoil",
    [no_database, of_another_program, of_a_newer_version, cut_off],
    ids=lambda spoil: spoil.__name__,
)
def test_reading_refuses_the_same_files(path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(StateError):
        State.read(path)
    assert path.read_bytes() == before


def test_an_older_version_is_brought_up_to_date_by_the_daemon_only(
    path: Path, a_later_version: None
) -> None:
    before = path.read_bytes()
    for look in (lambda: State.open(path, migrate=False), lambda: State.read(path)):
        with pytest.raises(StateError, match="has an older version; restart the service"):
            look()
    assert path.read_bytes() == before
    with State.open(path, migrate=True) as state:
        assert state.rows("SELECT * FROM later") == []


def test_a_migration_keeps_what_is_on_record(path: Path, request: pytest.FixtureRequest) -> None:
    with State.open(path, migrate=True) as state:
        state.execute(TROUBLE, ["site:x", "r"])
    request.getfixturevalue("a_later_version")
    with State.open(path, migrate=True) as state:
        assert scopes(state) == ["site:x"]


def test_a_migration_that_fails_leaves_none_of_them(tmp_path: Path) -> None:
    """Nor does a reader see a state file of which only some are made."""

    @migrations()
    def a_need_that_fails(db: Database) -> None:
        db.execute("INSERT INTO nowhere VALUES (1)")

    try:
        with pytest.raises(StateError, match="nowhere"):
            State.open(tmp_path / "state.db", migrate=True)
    finally:
        migrations._migrations.pop()
    with closing(sqlite3.connect(tmp_path / "state.db")) as conn:
        assert conn.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)


def test_an_older_sqlite_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.raises(StateError, match=r"SQLite 3\.39 or later is needed; .* has 3\.38\.5"):
        Sqlite.open(path, migrate=True, sqlite_version=(3, 38, 5))
    assert list(tmp_path.iterdir()) == []
    Sqlite.open(path, migrate=True, sqlite_version=(3, 39, 0)).close()


def test_only_the_daemon_makes_a_state_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.raises(StateError, match="there is no state file yet; `alerter run` creates it"):
        State.open(path, migrate=False)
    assert list(tmp_path.iterdir()) == []


def test_a_state_file_that_is_not_there_yet_reads_as_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State.read(path) as state:
        assert scopes(state) == []
        with pytest.raises(StateError, match=r"read-?only"):
            state.execute(TROUBLE, ["site:1", "r"])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_state_file_yet(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch()
    with State.read(path) as state:
        assert scopes(state) == []
    State.open(path, migrate=True).close()
    with reading(path) as state:
        assert scopes(state) == []


def test_a_start_that_died_before_the_first_table_is_made_good(
    tmp_path: Path,
) -> None:
    change(tmp_path / "state.db", "PRAGMA journal_mode = WAL")
    with State.open(tmp_path / "state.db", migrate=True) as state:
        assert scopes(state) == []


def test_a_start_that_died_before_the_first_migration_is_made_good(
    tmp_path: Path,
) -> None:
    with closing(Database(tmp_path / "state.db")) as db:
        migrations.ensure_migrations_table(db)
    with State.open(tmp_path / "state.db", migrate=True) as state:
        assert scopes(state) == []


def test_a_start_that_died_in_its_first_page_is_made_good(
    tmp_path: Path,
) -> None:
    with closing(sqlite3.connect(tmp_path / "dying.db", isolation_level=None)) as dying:
        dying.execute("PRAGMA cache_size = 1")  # pages are written before the commit
        dying.execute("BEGIN")
        dying.execute("CREATE TABLE half (made)")
        dying.executemany("INSERT INTO half VALUES (?)", [("x" * 4000,)] * 20)
        for end in ("", "-journal"):
            shutil.copy(tmp_path / f"dying.db{end}", tmp_path / f"state.db{end}")
    assert (tmp_path / "state.db").stat().st_size > 0
    with State.open(tmp_path / "state.db", migrate=True) as state:
        assert scopes(state) == []


@pytest.mark.parametrize("where", ["none/state.db", "."], ids=["no folder", "a folder"])
def test_a_place_that_cannot_hold_a_state_file_is_reported(tmp_path: Path, where: str) -> None:
    with pytest.raises(StateError, match=str(tmp_path)):
        State.open(tmp_path / where, migrate=True)


def test_a_place_that_cannot_be_looked_at_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        State.read(tmp_path / ("x" * 300))


# Schema


def test_a_migrated_state_file_is_like_a_fresh_one(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    old, fresh = tmp_path / "old.db", tmp_path / "fresh.db"
    State.open(old, migrate=True).close()
    request.getfixturevalue("a_later_version")
    State.open(old, migrate=True).close()
    State.open(fresh, migrate=True).close()
    assert schema(old) == schema(fresh)
    assert "later" in {name for _, name, _, _ in schema(fresh)}


def test_opening_again_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    State.open(path, migrate=True).close()
    assert path.read_bytes() == before


@pytest.mark.sqlite  # has types only where a table is strict
def test_every_table_is_strict(state: State) -> None:
    tables = state.rows(
        "SELECT name, strict FROM pragma_table_list"
        " WHERE schema = 'main' AND name NOT LIKE '%sqlite%'"
    )
    assert {"sites", "reviews", "alerts", "deliveries", "messages", "blocks", "products"} <= {
        row["name"] for row in tables
    }
    assert [row["name"] for row in tables if not row["strict"]] == []


def test_a_text_is_no_moment(state: State) -> None:
    with pytest.raises(
        StateError,
        match=r"cannot store TEXT value in INTEGER column|invalid input syntax for type bigint",
    ):
        state.execute(
            "INSERT INTO troubles (scope, since, reason) VALUES ('site:x', 'yesterday', 'r')"
        )


def test_a_delivery_needs_its_alert(state: State) -> None:
    with pytest.raises(StateError, match=r"(?i)foreign key"):
        state.execute(
            "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
            " VALUES (1, 'a', 'pending', 'each', 0)"
        )


def waits_for_the_disk(state: State) -> bool:
    """Whether a commit does, by the settings of this moment."""
    if isinstance(state.database, Path):
        # FULL: https://www.sqlite.org/pragma.html#pragma_synchronous
        return bool(state.value("PRAGMA synchronous") == 2)
    return bool(state.value("SELECT current_setting('synchronous_commit')") == "on")


def test_power_may_fail_after_a_commit(state: State) -> None:
    with state.transaction():
        assert waits_for_the_disk(state)
    assert not isinstance(state.database, Path) or state.value("PRAGMA journal_mode") == "wal"


# Transactions


def test_a_transaction_is_all(state: State, database: Path | PostgresUrl) -> None:
    with state.transaction():
        state.execute(TROUBLE, ["site:1", "r"])
        state.execute_many(
            "INSERT INTO troubles (scope, since, reason) VALUES (:scope, 0, 'r')",
            [{"scope": "site:2"}, {"scope": "site:3"}],
        )
    with State.open(database, migrate=False) as other:
        assert scopes(other) == ["site:1", "site:2", "site:3"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt], ids=["an error", "Ctrl-C"])
def test_or_nothing(state: State, error: type[BaseException]) -> None:
    def half() -> None:
        with state.transaction():
            state.execute(TROUBLE, ["site:1", "r"])
            raise error

    with pytest.raises(error):
        half()
    assert scopes(state) == []
    with state.transaction():
        state.execute(TROUBLE, ["site:2", "r"])
    assert scopes(state) == ["site:2"]


def test_a_refused_change_takes_the_whole_transaction_back(state: State) -> None:
    def twice() -> None:
        with state.transaction():
            state.execute(TROUBLE, ["site:1", "r"])
            state.execute(TROUBLE, ["site:1", "r"])

    with pytest.raises(StateError, match=r"(?i)unique"):
        twice()
    assert scopes(state) == []


def test_a_transaction_waits_while_another_process_writes(
    state: State, database: Path | PostgresUrl
) -> None:
    begun = threading.Event()

    def write() -> None:
        with State.open(database, migrate=False) as other, other.transaction("site:1"):
            other.execute(TROUBLE, ["site:1", "r"])
            begun.set()
            threading.Event().wait(0.2)

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(HANG)
    with state.transaction("site:1"):
        assert scopes(state) == ["site:1"]
        state.execute(TROUBLE, ["site:2", "r"])
    thread.join()
    assert scopes(state) == ["site:1", "site:2"]


@pytest.mark.sqlite  # has another limit there: test_postgres.py
def test_a_wait_for_another_process_is_short_for_it_holds_up_the_loop(state: State) -> None:
    assert state.value("PRAGMA busy_timeout") == 2000


def test_a_transaction_that_waited_too_long_is_busy_and_may_be_tried_again(state: State) -> None:
    with locked(impatient(state).database):
        with pytest.raises(StateBusy, match="is locked by another process"), state.transaction():
            state.execute(TROUBLE, ["site:1", "r"])
        with pytest.raises(StateBusy):
            state.execute(TROUBLE, ["site:1", "r"])
    with state.transaction():
        state.execute(TROUBLE, ["site:2", "r"])
    assert scopes(state) == ["site:2"]


# Reading beside a writer


def test_a_reader_sees_what_is_committed_while_the_daemon_writes(state: State) -> None:
    state.execute(TROUBLE, ["site:1", "r"])
    with state.transaction():
        state.execute(TROUBLE, ["site:2", "r"])
        with reading(state.database) as reader:
            assert scopes(reader) == ["site:1"]


def test_a_note_is_kept_and_what_comes_after_it_waits_for_the_disk_again(
    state: State, database: Path | PostgresUrl
) -> None:
    state.execute(TROUBLE, ["site:a", "r"])
    assert state.write_relaxed("UPDATE troubles SET reason = 'noted' WHERE scope = 'site:a'") == 1
    assert state.write_relaxed("UPDATE troubles SET reason = 'noted' WHERE scope = 'site:b'") == 0
    with state.transaction():
        assert waits_for_the_disk(state)
    with State.open(database, migrate=False) as other:
        assert other.value("SELECT reason FROM troubles") == "noted"


@pytest.mark.sqlite  # is the engine that relaxes
def test_a_relaxed_transaction_does_not_wait_for_the_disk_the_next_does(
    state: State,
) -> None:
    normal, full = 1, 2
    with state.transaction(relaxed=True):
        state.execute(TROUBLE, ["site:a", "r"])
        assert state.value("PRAGMA synchronous") == normal
    assert state.value("PRAGMA synchronous") == full
    with pytest.raises(StateError), state.transaction(relaxed=True):
        state.execute(TROUBLE, ["site:a", "r"])
    assert state.value("PRAGMA synchronous") == full
    with state.transaction(), state.transaction(relaxed=True):
        assert state.value("PRAGMA synchronous") == full


def test_a_flush_waits_for_the_disk_where_something_is_not_there_yet(state: State) -> None:
    def flushed() -> bool:
        before = counts["transactions"]
        state.flush()
        return counts["transactions"] > before

    with state.transaction():
        state.execute(TROUBLE, ["site:a", "r"])
    assert not flushed()
    with state.transaction(relaxed=True):
        state.execute(TROUBLE, ["site:b", "r"])
    # One that writes nothing takes nothing to the disk.
    with state.transaction():
        pass
    assert flushed() is state.engine.relaxes
    assert not flushed()


def test_what_another_process_writes_is_noticed_once(
    state: State, database: Path | PostgresUrl
) -> None:
    assert state.changed_elsewhere()
    assert not state.changed_elsewhere()
    state.execute(TROUBLE, ["site:a", "r"])
    assert not state.changed_elsewhere()
    with State.open(database, migrate=False) as other:
        other.execute(TROUBLE, ["site:b", "r"])
        assert state.changed_elsewhere()
        assert not state.changed_elsewhere()


def test_a_reader_cannot_write(state: State) -> None:
    with reading(state.database) as reader, pytest.raises(StateError, match=r"read-?only"):
        reader.execute(TROUBLE, ["site:1", "r"])
    assert scopes(state) == []


# --- scopes


def test_a_transaction_names_known_scopes_only(state: State) -> None:
    with state.transaction("site:a", "destination:slack:support", "trouble:all"):
        pass
    with pytest.raises(ValueError, match="unknown scopes"), state.transaction("sites:a"):
        pass
    assert not state.engine.in_transaction


def test_a_nested_transaction_names_only_scopes_of_the_outer_one(state: State) -> None:
    with state.transaction("destination:slack:support", "service:slack"):
        with state.transaction("service:slack"):
            pass
        with pytest.raises(ValueError, match="does not name"), state.transaction("destination:a"):
            pass
    with state.transaction("destination:a"):
        pass


def test_scopes_are_released_after_a_rollback(state: State) -> None:
    with pytest.raises(ZeroDivisionError), state.transaction("trouble:all"):
        raise ZeroDivisionError
    with state.transaction("site:a"):
        pass
