"""The sites of an account, written into a database as if they had been polled, and workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from alerter.models import to_ms
from alerter.scopes import EVERY_SCOPE
from alerter.store import State
from benchmarks.postgres import query
from benchmarks.world import World, started

ACCOUNT = """
[[receivers]]
name = "bakeries"
slack = "C0000000002"
sites = ["Corner *"]
[[receivers]]
name = "agency"
slack = "C0000000003"
accounts = ["Agency"]
[[accounts]]
name = "Agency"
api_key = "env:WIX_API_KEY"
account_id = "agency"
"""
_NUMBERS = (
    "WITH RECURSIVE numbers(number) AS"
    " (SELECT 0 UNION ALL SELECT number + 1 FROM numbers WHERE number + 1 < {})"
)
_NAMES = (
    "'11111111-1111-4111-8111-' || substr(CAST(1000000000000 + number AS TEXT), 2),"
    " 'Corner Bakery ' || number"
)


def record_account(world: World, number: int) -> None:
    """Record the sites of an account, each polled, rescanned and revisited a moment ago."""
    now = datetime.now(UTC)
    since, numbers = to_ms(now - timedelta(hours=1)), _NUMBERS.format(number)
    with (
        State.open(world.config().database, migrate=True) as state,
        state.transaction(EVERY_SCOPE),
    ):
        state.execute(
            "INSERT INTO accounts (account_id, listed_at) VALUES ('agency', ?)", [to_ms(now)]
        )
        state.execute(
            f"{numbers} INSERT INTO account_sites (account_id, site_id, name)"
            f" SELECT 'agency', {_NAMES} FROM numbers"
        )
        state.execute(
            f"{numbers} INSERT INTO sites (site_id, name, covered_rating, covered_since,"
            " checkpoint, rescanned_since, rescanned_at, revisited_at, last_success,"
            f" sees_private) SELECT {_NAMES}, 2, 0, {since}, {since}, :now, :now, :now, TRUE"
            " FROM numbers",
            {"now": to_ms(now)},
        )
    if world.database:
        query(world.database, "ANALYZE")


@contextmanager
def workers(world: World, number: int) -> Iterator[list[int]]:
    """Run workers of a cluster whose config is written; yield the ids of their processes."""
    if number == 0:
        yield []
        return
    with (
        started(world, f"worker-{number}") as last,
        workers(world, number - 1) as others,
    ):
        yield [*others, last.pid]
