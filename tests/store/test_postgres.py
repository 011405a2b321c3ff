"""PostgreSQL: its locks, its absence, its versions, and the way to it and back."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlite_utils import Database

from alerter.clock import Clock
from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy, StateError
from alerter.models import Status, StoredReview
from alerter.scopes import EVERY_SCOPE, Scope
from alerter.store import Holder, State, backup, is_there, lock_of, reviews
from alerter.store.file_lock import Note
from alerter.store.migrations import migrations, names_of_migrations
from alerter.store.postgres import Postgres
from alerter.store.postgres_connection import queue_options
from alerter.store.postgres_schema import applied_migrations, column_names, table_names
from alerter.store.sql import json_field, json_numbers, json_values, json_without, to_postgres
from tests.support.postgres import Emptied, database_at, new_database
from tests.support.reviews import review
from tests.support.state import TROUBLE, scopes
from tests.support.values import SITE

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PASSWORD = "p4ss-w0rd"
ITEMS = "json_array_elements_text(CAST({} AS json)) AS items (value)"


@pytest.fixture
def url(postgres: Emptied) -> PostgresUrl:
    return postgres.emptied()


@pytest.fixture
def state(url: PostgresUrl) -> Iterator[State]:
    with State.open(url, migrate=True) as state:
        yield state


@pytest.fixture
def bare(postgres: Emptied) -> PostgresUrl:
    """A database without tables."""
    return new_database(postgres.url.url, f"{postgres.name}_bare")


@contextmanager
def connected(url: PostgresUrl) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url.url, autocommit=True) as conn:
        yield conn


@contextmanager
def closed_connections(url: PostgresUrl) -> Iterator[None]:
    """End every other connection, as a server that restarts does."""
    with connected(url) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'alerter'"
        )
        yield


@contextmanager
def silent_server() -> Iterator[PostgresUrl]:
    """A server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield PostgresUrl(f"postgresql://u:{PASSWORD}@127.0.0.1:{server.getsockname()[1]}/db")


# --- statements


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a = ? AND b = :b_1", "a = %s AND b = %(b_1)s"),
        ("key = 'what:ever?' || :x", "key = 'what:ever?' || %(x)s"),
        ("a LIKE 'x%' AND b % 2 = ?", "a LIKE 'x%%' AND b %% 2 = %s"),
        (
            f"IN {json_values(':ids')}",
            f"IN (SELECT value FROM {ITEMS.format('%(ids)s')})",
        ),
        (
            f"IN {json_numbers()}",
            f"IN (SELECT CAST(value AS BIGINT) FROM {ITEMS.format('%s')})",
        ),
        (json_field("content", "$.reply.at"), "(CAST(content AS json) #>> '{reply,at}')"),
        (json_field("value", "$[1]"), "(CAST(value AS json) #>> '{1}')"),
        (
            json_without("detail", "$.before.title", "$.before.body"),
            "CAST(CAST(detail AS jsonb) #- '{before,title}' #- '{before,body}' AS text)",
        ),
    ],
)
def test_a_statement_is_written_as_postgres_takes_it(sql: str, expected: str) -> None:
    assert to_postgres(sql) == expected


def test_text_without_a_place_in_postgres_is_replaced(state: State) -> None:
    known = StoredReview(review("r1", 1, title="a\0b"), Status.BASELINE)
    with state.transaction():
        reviews.put_reviews(state, SITE, [known], NOW)
    assert reviews.get_reviews(state, SITE, ["r1", "\0"])["r1"].review.title == "a\ufffdb"


# --- transactions


def test_what_one_transaction_reads_no_other_of_its_scope_changes(
    state: State, url: PostgresUrl
) -> None:
    with State.open(url, migrate=False) as other:
        with state.transaction("site:a", "trouble:all"):
            with pytest.raises(StateBusy, match="locked"), other.transaction("site:a"):
                pytest.fail("two processes hold one scope")
            with other.transaction("site:b"):
                other.execute(TROUBLE, ["site:b", "r"])
            assert scopes(state) == ["site:b"]
        with other.transaction("site:a"):
            pass


def test_only_the_first_writer_waits_for_a_lock(state: State, url: PostgresUrl) -> None:
    with State.open(url, migrate=False) as other, other.transaction("site:a"):
        waits = []
        for _ in range(2):
            began = Clock().monotonic()
            with suppress(StateBusy), state.transaction("site:a"):
                pytest.fail("two processes hold one scope")
            waits.append(Clock().monotonic() - began)
    assert waits[0] > 0.9 > waits[1]


def test_locks_in_any_order_never_block_each_other_for_ever(state: State, url: PostgresUrl) -> None:
    done: list[int] = []

    def work(*names: str) -> None:
        with State.open(url, migrate=False) as mine:
            for _ in range(50):
                with mine.transaction(*names):
                    done.append(1)

    threads = [
        threading.Thread(target=work, args=names)
        for names in (("site:a", "site:b"), ("site:b", "site:a"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 100


def test_a_statement_that_fails_spoils_its_transaction(state: State) -> None:
    def careless() -> None:
        with state.transaction():
            state.execute(TROUBLE, ["site:a", "r"])
            with suppress(StateError):
                state.execute(TROUBLE, ["site:a", "r"])

    with pytest.raises(StateError, match="a statement of the transaction failed"):
        careless()
    assert scopes(state) == []


def test_an_error_shows_no_value_of_a_row(state: State) -> None:
    state.execute(TROUBLE, ["site:secret", "r"])
    with pytest.raises(StateError) as caught:
        state.execute(TROUBLE, ["site:secret", "r"])
    assert "secret" not in str(caught.value)


# --- a server that is away


def test_a_connection_is_made_again_when_the_server_is_back(state: State, url: PostgresUrl) -> None:
    with closed_connections(url), pytest.raises(StateBusy):
        state.execute(TROUBLE, ["site:a", "r"])
    state.execute(TROUBLE, ["site:b", "r"])
    assert scopes(state) == ["site:b"]


def test_a_connection_lost_within_a_transaction_commits_none_of_it(
    state: State, url: PostgresUrl
) -> None:
    def interrupted() -> None:
        with state.transaction("site:a"):
            state.execute(TROUBLE, ["site:a", "r"])
            with closed_connections(url), pytest.raises(StateBusy):
                state.value("SELECT 1")
            with pytest.raises(StateBusy):
                state.execute(TROUBLE, ["site:b", "r"])

    with pytest.raises(StateBusy):
        interrupted()
    assert scopes(state) == []


def test_a_server_that_says_nothing_costs_a_second_and_then_nothing() -> None:
    with silent_server() as url:
        waits = []
        for _ in range(2):
            began = Clock().monotonic()
            with pytest.raises(StateBusy) as caught:
                State.open(url, migrate=False)
            waits.append(Clock().monotonic() - began)
    assert waits[0] < 10
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).startswith(f"{url}: ")


def test_an_unreachable_server_is_busy_and_named_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = PostgresUrl(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/db?sslmode=disable")
    with pytest.raises(StateBusy, match=f"postgresql://127.0.0.1:{port}/db: .*refused") as caught:
        State.open(url, migrate=True)
    assert PASSWORD not in str(caught.value)


def test_a_server_that_is_not_asked_again_yet_has_the_same_fault() -> None:
    """So that a log has one line about it, not one for each of two that alternate."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    engine = Postgres(PostgresUrl(f"postgresql://127.0.0.1:{port}/db?sslmode=disable"))
    texts = set()
    for _ in range(3):
        with pytest.raises(StateBusy) as caught:
            engine.value("SELECT 1", ())
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_the_job_queue_keeps_the_options_of_the_address(postgres: Emptied) -> None:
    url = postgres.url.url
    given = f"{url}{'&' if '?' in url else '?'}options=-c%20search_path%3Dother"
    names = ("search_path", "synchronous_commit", "application_name")
    with psycopg.connect(given, **queue_options(PostgresUrl(given))) as conn:
        found = [conn.execute(f"SHOW {name}").fetchone() for name in names]
    assert found == [("other",), ("off",), ("alerter",)]


def test_a_server_that_became_a_standby_is_left_for_the_one_that_writes(state: State) -> None:
    state.value("SELECT set_config('default_transaction_read_only', 'on', false)")
    with pytest.raises(StateBusy, match="read-only"):
        state.execute(TROUBLE, ["site:a", "r"])
    state.execute(TROUBLE, ["site:b", "r"])
    assert scopes(state) == ["site:b"]


def test_a_database_that_is_not_there_is_a_fault_of_the_config(postgres: Emptied) -> None:
    url = database_at(postgres.url.url, "nowhere")
    with pytest.raises(StateError, match="does not exist") as caught:
        State.open(url, migrate=True)
    assert not isinstance(caught.value, StateBusy)


# --- tables and versions


def test_the_first_start_makes_the_tables_and_the_next_leaves_them(bare: PostgresUrl) -> None:
    with pytest.raises(StateError, match="there is no state yet"):
        State.open(bare, migrate=False)
    assert not is_there(bare)
    with State.read(bare) as nothing:
        assert scopes(nothing) == []
    for _ in range(2):
        State.open(bare, migrate=True).close()
    assert is_there(bare)


def test_tables_have_the_columns_of_the_state_file(url: PostgresUrl) -> None:
    with connected(url) as conn:
        for table in table_names():
            found = conn.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
                " AND table_schema = current_schema() ORDER BY ordinal_position",
                [table],
            )
            assert [name for (name,) in found] == column_names(table)


def test_tables_of_another_program_are_left_alone(bare: PostgresUrl) -> None:
    with connected(bare) as conn:
        conn.execute("CREATE TABLE reviews (id INTEGER)")
    with pytest.raises(StateError, match="has a table reviews of another program"):
        State.open(bare, migrate=True)


def test_two_processes_bring_a_database_up_at_once(bare: PostgresUrl) -> None:
    faults: list[StateError] = []

    def start() -> None:
        try:
            State.open(bare, migrate=True).close()
        except StateBusy as busy:
            faults.append(busy)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(faults) < len(threads)
    State.open(bare, migrate=True).close()


@pytest.fixture
def a_later_version() -> Iterator[None]:
    """An alerter with one migration more, as the next release may bring."""

    @migrations()
    def a_later_need(db: Database) -> None:
        db.execute("ALTER TABLE reviews ADD COLUMN erase INTEGER NOT NULL DEFAULT 1")
        db.execute("CREATE TABLE later (id INTEGER PRIMARY KEY, at INTEGER, word TEXT) STRICT")

    yield
    with suppress(IndexError):
        if migrations._migrations[-1].name == "a_later_need":
            migrations._migrations.pop()
    table_names.cache_clear()


def test_a_newer_version_migrates_and_an_older_one_says_so(
    bare: PostgresUrl, a_later_version: None
) -> None:
    later = migrations._migrations.pop()
    older = State.open(bare, migrate=True)
    with connected(bare) as conn:
        conn.execute("INSERT INTO sites (site_id) VALUES ('a')")
        migrations._migrations.append(later)
        with pytest.raises(StateError, match="has an older version; restart the service"):
            State.open(bare, migrate=False)
        State.open(bare, migrate=True).close()
        assert applied_migrations(conn) == names_of_migrations()
        assert conn.execute(
            "SELECT data_type FROM information_schema.columns"
            " WHERE table_name = 'reviews' AND column_name = 'erase'"
        ).fetchone() == ("boolean",)
    migrations._migrations.pop()
    with older:
        assert older.value("SELECT count(*) FROM sites") == 1
        with closed_connections(bare), pytest.raises(StateBusy):
            older.value("SELECT 1")
        with pytest.raises(StateError, match="was written by a newer alerter"):
            older.value("SELECT 1")


# --- the lock


def test_one_process_holds_the_lock_and_a_backfill_hands_over(url: PostgresUrl) -> None:
    with lock_of(url) as first, lock_of(url) as second:
        assert first.recorded_holder() is None
        assert first.acquire(Holder.BACKFILL) is None
        assert second.acquire(Holder.RUN) is Holder.BACKFILL
        assert not first.is_asked_for()
        second.ask()
        assert first.is_asked_for()
        first.release()
        assert second.acquire(Holder.RUN) is None
        assert first.acquire(Holder.BACKFILL) is Holder.RUN
        assert first.is_held()


def test_a_lock_whose_connection_is_lost_is_taken_again_or_is_anothers(
    url: PostgresUrl,
) -> None:
    with lock_of(url) as first, lock_of(url) as second:
        assert first.acquire(Holder.RUN) is None
        with closed_connections(url):
            assert first.hold(Holder.RUN)
        with closed_connections(url):
            assert second.acquire(Holder.RUN) is None
            assert not first.hold(Holder.RUN)


def test_a_request_to_reload_and_its_answer_are_beside_the_lock(state: State) -> None:
    with lock_of(state.database) as daemon, lock_of(state.database) as command:
        assert daemon.acquire(Holder.RUN) is None
        daemon.put_note(Note.ANSWER, b"an old one")
        command.put_note(Note.REQUEST, b"17")
        assert (daemon.get_note(Note.REQUEST), command.get_note(Note.ANSWER)) == (b"17", b"")
        daemon.put_note(Note.ANSWER, "Ü".encode())
        assert command.get_note(Note.ANSWER) == "Ü".encode()


# --- there and back


def filled(state: State) -> None:
    known = StoredReview(review("r1", 1, title="words"), Status.OPEN, NOW)
    with state.transaction():
        state.execute("INSERT INTO sites (site_id, last_success) VALUES (?, 1)", [SITE])
        reviews.put_reviews(state, SITE, [known], NOW)
        for number in (7, 8):
            state.execute(
                "INSERT INTO alerts (id, key, kind, site_id, review_id, raised_at, detail)"
                " VALUES (?, ?, 'new', ?, 'r1', 0, '{}')",
                [number, f"k{number}", SITE],
            )
            state.execute(
                "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
                " VALUES (?, 'email:owner', 'pending', 'each', 0)",
                [number],
            )


def content(state: State) -> dict[str, list[dict[str, object]]]:
    """All that is stored, with 0 and 1 for booleans."""
    tables = {table: state.rows(f"SELECT * FROM {table}") for table in table_names()}
    return {
        table: sorted(
            (
                {
                    name: value + 0 if isinstance(value, bool) else value
                    for name, value in row.items()
                }
                for row in rows
            ),
            key=str,
        )
        for table, rows in tables.items()
        if table != "scrubs"
    }


@pytest.mark.parametrize("move", [True, False], ids=["moved", "restored"])
def test_a_state_moves_to_postgres_and_back(
    bare: PostgresUrl, tmp_path: Path, *, move: bool
) -> None:
    with State.open(tmp_path / "state.db", migrate=True) as file:
        filled(file)
    backup.back_up(tmp_path / "state.db", tmp_path / "there.db")
    result = backup.restore(tmp_path / "there.db", bare, NOW, move=move)
    assert result.cancelled == (0 if move else 2)
    assert backup.back_up(bare, tmp_path / "back.db") > 0
    assert (tmp_path / "back.db").stat().st_mode & 0o777 == 0o600
    with State.open(bare, migrate=False) as state:
        before = content(state)
        statuses = {row["status"] for row in state.rows("SELECT status FROM deliveries")}
        assert statuses == ({"pending"} if move else set())
        if move:
            new = state.value(
                "INSERT INTO alerts (key, kind, raised_at, detail) VALUES ('x', 'new', 0, '{}')"
                " RETURNING id"
            )
            assert new == 9
    backup.restore(tmp_path / "back.db", tmp_path / "again.db", NOW, move=True)
    with State.open(tmp_path / "again.db", migrate=False) as again:
        assert content(again) == before


def test_a_restore_replaces_no_state_in_a_database(state: State, tmp_path: Path) -> None:
    filled(state)
    assert isinstance(state.database, PostgresUrl)
    backup.back_up(state.database, tmp_path / "copy.db")
    with pytest.raises(StateError, match="holds a state already"):
        backup.restore(tmp_path / "copy.db", state.database, NOW)
    assert len(state.rows("SELECT * FROM alerts")) == 2


async def test_the_tables_are_vacuumed_after_an_erasure(state: State) -> None:
    await state.engine.rewrite()


def test_a_process_frozen_within_a_transaction_holds_up_others_for_seconds(state: State) -> None:
    asked = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with state.transaction(Scope.SITE.of(SITE)):
        assert state.value(asked) == "10s"
    with state.transaction(EVERY_SCOPE):
        assert state.value(asked) == "1min"  # what it computes takes long for many sites
