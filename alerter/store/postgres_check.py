"""What `alerter check` asks a PostgreSQL server."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerter.clock import Clock
from alerter.config.state import PostgresUrl
from alerter.store.migrations import names_of_migrations
from alerter.store.postgres_connection import connect, postgres_errors
from alerter.store.postgres_schema import (
    CHANGES,
    OWN_TABLES,
    applied_migrations,
    require_usable,
    table_names,
)
from alerter.store.sqlite import check_version

# What the role may do there, and whether it owns all tables, as a new version and a VACUUM need.
_RIGHTS = f"""
SELECT current_user, current_schema(),
 has_schema_privilege(current_schema(), 'CREATE') AND EXISTS (SELECT 1 FROM pg_language
  WHERE lanname = 'plpgsql' AND has_language_privilege(oid, 'USAGE')),
 coalesce(bool_and(CASE relkind WHEN 'S' THEN has_sequence_privilege(oid, 'SELECT')
   AND has_sequence_privilege(oid, 'USAGE')
  ELSE has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
   AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE') END), TRUE),
 coalesce(bool_and(pg_has_role(relowner, 'USAGE')), TRUE)
FROM pg_class WHERE relnamespace = current_schema()::regnamespace
 AND (relkind = 'r' AND (relname = ANY(%s) OR starts_with(relname::text, 'procrastinate_'))
  OR relkind = 'S' AND relname = '{CHANGES}')
"""
_IS_ENCRYPTED = """
SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), FALSE)
 OR coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', TRUE)
"""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a role may do in a schema: create tables and functions, write and own what is there."""

    role: str
    schema: str
    may_create: bool
    may_write: bool
    is_owner: bool


@dataclass(frozen=True, slots=True)
class ServerReport:
    """A server that can hold the state, and what the first start has to do there.

    `ahead`: how far its clock is ahead of ours. `missing`: the number of migrations that are not
    made yet, as far as the role may see that; `is_new`: there are no tables at all.
    `is_encrypted`: the connection is, or stays on this machine.
    """

    version: str
    is_encrypted: bool
    ahead: timedelta
    is_new: bool
    missing: int
    rights: Rights


def ask_server(url: PostgresUrl, clock: Clock) -> ServerReport:
    """Ask a server what it is, and what its role may do. Raise StateError where it will not do."""
    with connect(url) as conn, postgres_errors(str(url)):
        require_usable(conn, str(url))
        [encrypted] = conn.execute(_IS_ENCRYPTED).fetchone() or [False]
        [*found] = conn.execute(_RIGHTS, [[*table_names(), *OWN_TABLES]]).fetchone() or []
        rights = Rights(*found)
        applied = applied_migrations(conn) if rights.may_write else names_of_migrations()
        check_version(str(url), applied, migrate=True)
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
        rights=rights,
    )
