"""Connections to PostgreSQL: short waits, errors as StateError, and names of locks."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Self

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumperUnknown

from alerter.clock import ticks
from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy, StateError

PostgresRow = tuple[Any, ...]

# The oldest that is tested: https://www.postgresql.org/support/versioning/
OLDEST_SERVER = 150000
# Every wait blocks the loop; callers retry after StateBusy. In milliseconds.
STATEMENT_TIMEOUT, LOCK_TIMEOUT = 1000, 900
# A process that is frozen within a transaction holds up others; they take over within 30 s.
_IDLE_TIMEOUT = 10_000
# What is raised where the server is away, by a pool of connections too.
UNREACHABLE = (psycopg.Error,)
_SECOND = 1_000_000_000
_CONNECT_LIMIT = _SECOND
# A frozen server heeds no timeout of its own.
_ANSWER_LIMIT = 3 * _SECOND
# What libpq is given beside the address: nothing that is lost on the way is waited for much longer.
_NETWORK: dict[str, Any] = {
    "client_encoding": "utf8",
    "application_name": "alerter",
    "tcp_user_timeout": 3000,
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
# What libpq says where a person has to act; its errors at a start have no code.
_REFUSALS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied",
    "certificate",
)


class PostgresConnection(psycopg.Connection[PostgresRow]):
    """A connection that waits for no answer longer than a few seconds, unless it is `patient`."""

    patient = False

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Any:
        """Connect, within a second for each address of the server; libpq allows two or more."""
        return _limited(super()._connect_gen(conninfo), _CONNECT_LIMIT)

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """Wait for an answer, and close the connection if there is none in time."""
        if self.patient:
            return super().wait(gen, *args, **options)
        try:
            return super().wait(_limited(gen, _ANSWER_LIMIT), *args, **options)
        except errors.ConnectionTimeout:
            self.close()
            raise

    def make_patient(self) -> Self:
        """Let statements take their time, for a command that a person waits for."""
        self.patient = True
        self.execute("SELECT set_config('statement_timeout', '0', false)")
        return self


def _limited(gen: Generator[Any, Any, Any], limit: int) -> Generator[Any, Any, Any]:
    """Pass on what psycopg waits for; it comes back every tenth of a second."""
    deadline = ticks() + limit
    ready = None
    try:
        while True:
            ready = yield gen.send(ready)
            if not ready and ticks() > deadline:
                raise errors.ConnectionTimeout("no answer in time")
    except StopIteration as end:
        return end.value


class _TextDumper(StrDumperUnknown):
    """Writes text without NUL, plain or in JSON, which PostgreSQL cannot hold."""

    def dump(self, obj: str) -> Any:
        if "\0" in obj or "\\u0000" in obj:
            obj = obj.replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\\u0000", "\\ufffd")
        return super().dump(obj)


def connect(url: PostgresUrl, *, read_only: bool = False) -> PostgresConnection:
    """Connect, with short waits, and with each statement committed unless a transaction is open.

    Commits do not wait for the disk, except those of transactions that say so.
    """
    try:
        return _connect(url, read_only=read_only)
    except StateBusy as error:
        error.remedy = "start PostgreSQL there, or correct the address in [state] url"
        raise
    except StateError as error:
        error.remedy = "correct the address in [state] url, or the role and database there"
        raise


def _connect(url: PostgresUrl, *, read_only: bool) -> PostgresConnection:
    if url.fault:
        raise StateError(f"the address of the database is not known: {url.fault}")
    with postgres_errors(str(url)):
        network = _NETWORK if read_only else network_options(url)
        try:
            conn = PostgresConnection.connect(url.url, autocommit=True, **network)
        except psycopg.ProgrammingError:  # its text may hold the password
            raise StateError(f"{url}: is not an address that libpq can read") from None
        conn.adapters.register_dumper(int, Int8Dumper)
        conn.adapters.register_dumper(str, _TextDumper)
        try:
            conn.execute(
                "SELECT set_config('statement_timeout', %s, false),"
                " set_config('lock_timeout', %s, false),"
                " set_config('idle_in_transaction_session_timeout', %s, false),"
                " set_config('default_transaction_read_only', %s, false)",
                [
                    str(STATEMENT_TIMEOUT),
                    str(LOCK_TIMEOUT),
                    str(_IDLE_TIMEOUT),
                    "on" if read_only else "off",
                ],
            )
        except BaseException:
            conn.close()
            raise
    return conn


def network_options(url: PostgresUrl) -> dict[str, Any]:
    """Return what libpq is given beside an address, for a connection that writes."""
    if "target_session_attrs" in url.url:
        return dict(_NETWORK)
    return _NETWORK | {"target_session_attrs": "read-write"}  # no standby


def queue_options(url: PostgresUrl) -> dict[str, Any]:
    """Return the same for connections of the job queue; their commits wait for no disk."""
    given = conninfo_to_dict(url.url).get("options") or ""
    return network_options(url) | {"options": f"{given} -c synchronous_commit=off".lstrip()}


@contextmanager
def postgres_errors(name: str) -> Iterator[None]:
    """Raise errors of PostgreSQL as a StateError that names host and database.

    Only the first line of an error is shown: what follows may hold values of a row.
    """
    try:
        yield
    except psycopg.Error as error:
        text = _phrase(error)
        if isinstance(error, errors.DiskFull):
            raise StateError(f"{name}: {text}") from error
        if error.sqlstate is None and any(refusal in text for refusal in _REFUSALS):
            raise StateError(f"{name}: {text}") from error
        if isinstance(error, psycopg.OperationalError) or needs_reconnect(error):
            raise StateBusy(f"{name}: {text}") from error
        raise StateError(f"{name}: {text}") from error
    except UnicodeEncodeError as error:
        raise StateError(f"{name}: holds no text with half a character") from error


def needs_reconnect(error: psycopg.Error) -> bool:
    """Whether only a new connection helps.

    Another version has changed a table since its statement was prepared, or the server has become
    a standby of another one.
    """
    if isinstance(error, errors.FeatureNotSupported):
        return "cached plan" in str(error)
    return isinstance(error, errors.ReadOnlySqlTransaction)


def _phrase(error: psycopg.Error) -> str:
    if isinstance(error, errors.LockNotAvailable | errors.DeadlockDetected):
        return "is locked by another process"
    if primary := error.diag.message_primary:
        return primary
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def lock_key(schema: str, name: str) -> int:
    """Return the key of an advisory lock, which is known to the whole database."""
    digest = blake2b(f"alerter:{schema}:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
