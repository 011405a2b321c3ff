"""When the rounds of sites are due in a cluster, and what a round begins with."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.store import holds
from alerter.store.known_sites import SCOPE, SITE_STATE_COLUMNS, SiteState, as_site_state
from alerter.store.reminders import ReminderSpans
from alerter.store.sql import json_values, moment_or_none
from alerter.store.state import State

_SLEWED = timedelta(seconds=1)  # a clock that is set right in small steps changes nothing


@dataclass(frozen=True, slots=True)
class RoundStart:
    """What a round has to know of its site: nothing, if the site was never read.

    `has_block`: a block of the site is on record, also one that is over. `has_due`: a reminder is
    due, a claim or a snooze is over, or a wrong clock began one of these.
    """

    known: SiteState = field(default_factory=SiteState)
    has_block: bool = True
    has_due: bool = True


def plan_rounds(
    state: State, shards: Mapping[str, int], first: Mapping[str, datetime], latest: datetime
) -> None:
    """Record the shard of each site, and its first round, in a cluster.

    A site that has a round by `latest` keeps it.
    """
    state.execute_many(
        "UPDATE sites SET shard = :shard,"
        " next_round = CASE WHEN next_round <= :latest THEN next_round ELSE :first END"
        " WHERE site_id = :site",
        [
            {
                "site": site_id,
                "shard": shard,
                "first": to_ms(first[site_id]),
                "latest": to_ms(latest),
            }
            for site_id, shard in shards.items()
        ],
    )


def next_rounds(state: State) -> dict[int, datetime]:
    """Return when the next round of each shard is due; its cost grows with the shards only."""
    rows = state.rows(
        f"{_SHARDS} SELECT shard, (SELECT min(next_round) FROM sites"
        f"  WHERE {_OF_CONFIG} AND sites.shard = shards.shard) AS at"
        " FROM shards WHERE shard IS NOT NULL"
    )
    return {row["shard"]: from_ms(row["at"]) for row in rows if row["at"] is not None}


def due_shards(state: State, now: datetime) -> set[int]:
    """Return the shards with a site whose round is due."""
    return {shard for shard, at in next_rounds(state).items() if at <= now}


def next_round(state: State, shard: int) -> datetime | None:
    """Return when the next round of a shard is due; None if it has no sites."""
    return moment_or_none(
        state.value(f"SELECT min(next_round) FROM sites WHERE {_OF_CONFIG} AND shard = ?", [shard])
    )


def due_rounds(
    state: State,
    shard: int,
    now: datetime,
    most: int,
    spans: ReminderSpans,
    under_way: Collection[str] = (),
) -> dict[str, RoundStart]:
    """Return with what the due rounds of a shard begin, by the ids of sites, the latest first.

    Those that are `under_way` are left out.
    """
    rows = state.rows(
        f"SELECT site_id, {_start(spans)} FROM (SELECT * FROM sites WHERE {_OF_CONFIG}"
        "  AND shard = :shard AND next_round <= :now"
        f"  AND site_id NOT IN {json_values(':under_way')}"
        "  ORDER BY next_round LIMIT :most) AS sites ORDER BY next_round",
        {
            "shard": shard,
            "most": most,
            "under_way": json.dumps(list(under_way)),
            **spans.moments(now),
            **holds.moments(now),
        },
    )
    return {row["site_id"]: _start_of(row) for row in rows}


def get_start(state: State, site_id: str, now: datetime, spans: ReminderSpans) -> RoundStart:
    """Return with what a round of a site begins."""
    row = state.row(
        f"SELECT {_start(spans)} FROM sites WHERE site_id = :site",
        {"site": site_id, **spans.moments(now), **holds.moments(now)},
    )
    return RoundStart() if row is None else _start_of(row)


def schedule_rounds(
    state: State, site_ids: Collection[str], now: datetime, every: timedelta
) -> None:
    """Plan the next rounds of sites whose round has ended, without waiting for the disk.

    Each keeps its moment of the period, unless it is behind by more than one. Where another worker
    has made the same round, it has planned the next one.
    """
    state.write_relaxed(
        "UPDATE sites SET next_round = CASE WHEN next_round + :every > :now"
        " THEN next_round + :every ELSE :now + :every END"
        f" WHERE site_id IN {json_values(':ids')} AND next_round <= :now",
        {
            "every": round(every.total_seconds() * 1000),
            "now": to_ms(now),
            "ids": json.dumps(list(site_ids)),
        },
    )


def bring_rounds_forward(state: State, now: datetime, every: timedelta) -> None:
    """Plan rounds again that are later than the next period: the server's clock was set back.

    Each keeps its moment of the period, so that not all of them are due at once.
    """
    state.write_relaxed(
        "UPDATE sites SET next_round = :now + (next_round - :now) % :every"
        f" WHERE {_OF_CONFIG} AND next_round > :latest",
        {
            "now": to_ms(now),
            "every": round(every.total_seconds() * 1000),
            "latest": to_ms(now + every + _SLEWED),
        },
    )


def _start(spans: ReminderSpans) -> str:
    return (
        f"{SITE_STATE_COLUMNS}, EXISTS (SELECT 1 FROM blocks WHERE scope = {SCOPE}) AS has_block,"
        f" EXISTS (SELECT 1 FROM actions WHERE actions.site_id = sites.site_id AND {holds.IS_OVER})"
        " OR EXISTS (SELECT 1 FROM reminders WHERE reminders.site_id = sites.site_id"
        f"  AND ({spans.is_due} OR since > :now)) AS has_due"
    )


def _start_of(row: Mapping[str, Any]) -> RoundStart:
    return RoundStart(as_site_state(row), bool(row["has_block"]), bool(row["has_due"]))


_OF_CONFIG = "sites.left_at IS NULL"
# Steps from each shard to the next in the index; DISTINCT would read every site.
_SHARDS = (
    f"WITH RECURSIVE shards(shard) AS (SELECT min(shard) FROM sites WHERE {_OF_CONFIG}"
    f" UNION ALL SELECT (SELECT min(sites.shard) FROM sites WHERE {_OF_CONFIG}"
    "  AND sites.shard > shards.shard) FROM shards WHERE shard IS NOT NULL)"
)
