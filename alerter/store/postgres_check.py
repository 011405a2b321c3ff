"""What `alerter check` asks a PostgreSQL server."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerter.clock import Clock
from alerter.config.state import PostgresUrl
from alerter.store.migrations import names_of_migrations
from alerter.store.postgres_connection import connect, postgres_errors
from alerter.store.postgres_schema import applied_migrations, require_usable
from alerter.store.sqlite import check_version


@dataclass(frozen=True, slots=True)
class ServerReport:
    """A server that can hold the state, and what the first start has to do there.

    `ahead`: how far its clock is ahead of ours. `missing`: the number of migrations that are not
    made yet; `is_new`: there are no tables at all. `may_create`, `may_write`: the rights of the
    role. `is_encrypted`: the connection is, or stays on this machine.
    """

    version: str
    is_encrypted: bool
    ahead: timedelta
    is_new: bool
    missing: int
    may_create: bool
    may_write: bool


def ask_server(url: PostgresUrl, clock: Clock) -> ServerReport:
    """Ask a server what it is, and what its role may do. Raise StateError where it will not do."""
    with connect(url) as conn, postgres_errors(str(url)):
        require_usable(conn, str(url))
        applied = applied_migrations(conn)
        check_version(str(url), applied, migrate=True)
        [encrypted, may_create] = conn.execute(
            "SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), FALSE)"
            " OR coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1',"
            "  TRUE),"
            " has_schema_privilege(current_schema(), 'CREATE')"
        ).fetchone() or [False, False]
        [may_write] = conn.execute(
            "SELECT coalesce(bool_and(has_table_privilege(quote_ident(tablename),"
            " 'SELECT, INSERT, UPDATE, DELETE')), TRUE) FROM pg_tables"
            " WHERE schemaname = current_schema() AND tablename IN ('reviews', 'deliveries')"
        ).fetchone() or [False]
        asked = clock.now()
        [epoch] = conn.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone() or [0]
        answered = clock.now()
        version = ".".join(map(str, divmod(conn.info.server_version, 10000)))
    server_time = datetime.fromtimestamp(float(epoch), UTC)
    return ServerReport(
        version=version,
        is_encrypted=bool(encrypted),
        ahead=server_time - (asked + (answered - asked) / 2),
        is_new=not applied,
        missing=len(names_of_migrations() - applied),
        may_create=bool(may_create),
        may_write=bool(may_write),
    )
