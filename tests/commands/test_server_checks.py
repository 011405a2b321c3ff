"""What `alerter check` says of a PostgreSQL server, and of what is none."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from alerter.cli import main
from alerter.clock import Clock
from alerter.commands.server_checks import check_server
from alerter.config.state import PostgresUrl
from alerter.store import State
from tests.support.config import LEAST
from tests.support.postgres import Emptied, database_at, new_database

# Messages of the protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
READY = b"Z\0\0\0\5I"
DONE = b"1\0\0\0\0042\0\0\0\4n\0\0\0\4C\0\0\0\rSELECT 0\0" + READY
SETTINGS = {
    "server_version": "14.9",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "default_transaction_read_only": "off",
    "in_hot_standby": "off",
}


@pytest.fixture
def url(postgres: Emptied) -> PostgresUrl:
    return postgres.emptied()


@pytest.fixture
def bare(postgres: Emptied) -> PostgresUrl:
    """A database without tables."""
    return new_database(postgres.url.url, f"{postgres.name}_bare")


@pytest.fixture
def role(postgres: Emptied) -> Iterator[str]:
    """A role without rights."""
    name = f"{postgres.name}_reader"
    with psycopg.connect(postgres.url.url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name}")
        yield name
        conn.execute(f"DROP OWNED BY {name}")
        conn.execute(f"DROP ROLE {name}")


def as_role(url: PostgresUrl, role: str) -> PostgresUrl:
    separator = "&" if "?" in url.url else "?"
    return PostgresUrl(f"{url.url}{separator}options=-c%20role%3D{role}")


def failure(url: PostgresUrl) -> str:
    [found] = check_server(url, Clock())
    assert not found.ok
    return found.text


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4) + body


@contextmanager
def server_that_sends(first: bytes, after_each: bytes = b"") -> Iterator[PostgresUrl]:
    """A server that begins with these bytes, and repeats others after whatever it receives."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                conn, _ = server.accept()
                with conn:
                    conn.recv(4096)
                    conn.sendall(first)
                    while conn.recv(4096):
                        conn.sendall(after_each)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        yield PostgresUrl(f"postgresql://u@127.0.0.1:{port}/db?sslmode=disable&gssencmode=disable")
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_what_the_server_is_and_what_is_missing(bare: PostgresUrl, url: PostgresUrl) -> None:
    [new] = check_server(bare, Clock())
    assert new.ok
    assert "the first start creates its tables" in new.text
    [there] = check_server(url, Clock())
    assert "can be written, its clock is +0.0 s from ours" in there.text.replace("-0.0", "+0.0")


def test_a_clock_that_is_off_is_a_warning(url: PostgresUrl) -> None:
    class Late(Clock):
        def now(self) -> datetime:
            return super().now() - timedelta(minutes=1)

    [found] = check_server(url, Late())
    assert found.warning
    assert "its clock is +60.0 s from ours" in found.text


def test_a_role_that_may_not_create_tables_is_shown_the_grant(bare: PostgresUrl, role: str) -> None:
    text = failure(as_role(bare, role))
    assert "may not create tables and functions" in text
    with psycopg.connect(bare.url, autocommit=True) as conn:
        grant = text[text.index("GRANT") : text.index(", or name")]
        conn.execute(grant)
        State.open(as_role(bare, role), migrate=True).close()
        [good] = check_server(as_role(bare, role), Clock())
        assert "can be written" in good.text
        conn.execute(f"DROP OWNED BY {role} CASCADE")


def test_a_role_that_does_not_own_the_tables_may_use_all_or_none(
    url: PostgresUrl, role: str
) -> None:
    reader = as_role(url, role)
    assert "may not use all tables there" in failure(reader)
    with psycopg.connect(url.url, autocommit=True) as conn:
        conn.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
        assert "may not use all tables there" in failure(reader)  # nor count changes
        conn.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
        good, warning = check_server(reader, Clock())
        conn.execute(f"REVOKE SELECT ON procrastinate_jobs FROM {role}")
        assert "may not use all tables there" in failure(reader)
    assert "can be written" in good.text
    assert warning.warning
    assert "does not own the tables" in warning.text


def test_an_address_without_the_database_says_what_to_correct(postgres: Emptied) -> None:
    text = failure(database_at(postgres.url.url, "no_such_database"))
    assert 'database "no_such_database" does not exist' in text
    assert "correct the address" in text


def test_an_address_without_a_server_says_what_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    text = failure(PostgresUrl(f"postgresql://u:p4ss@127.0.0.1:{port}/db"))
    assert "Connection refused; start PostgreSQL there" in text
    assert "p4ss" not in text


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "reload",
        "retry",
        "backup copy.db",
        "export --format csv",
        "explain 5f",
        "run --once",
    ],
)
def test_a_command_without_its_server_says_what_to_do(tmp_path: Path, command: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(LEAST.replace('state = "state.db"', "") + '[state]\nurl = "env:DATABASE_URL"\n')
    environ = {"WIX": "k", "SLACK": "x", "DATABASE_URL": "postgresql://u:p4ss@127.0.0.1:1/db"}
    result = CliRunner().invoke(main, [*command.split(), "--config", str(path)], env=environ)
    assert result.exit_code == 1
    assert "Connection refused; start PostgreSQL there, or correct the address" in result.stderr
    assert "p4ss" not in result.output


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0" * 99])
def test_an_address_of_something_else_is_no_server(answer: bytes) -> None:
    with server_that_sends(answer) as url:
        assert "start PostgreSQL there" in failure(url)


def test_an_address_that_libpq_cannot_read_is_not_shown() -> None:
    text = failure(PostgresUrl("postgresql://u:p4ss@127.0.0.1/db?bogus=1"))
    assert "is not an address that libpq can read" in text
    assert "p4ss" not in text


def test_a_server_that_is_too_old_is_named() -> None:
    greeting = _message(b"R", bytes(4)) + b"".join(
        _message(b"S", f"{name}\0{value}\0".encode()) for name, value in SETTINGS.items()
    )
    with server_that_sends(greeting + READY, DONE) as url:
        assert "PostgreSQL 15 or later is needed; this is 14" in failure(url)
