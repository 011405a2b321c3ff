"""Sites in the database: their names, and how far each has been read, rescanned and verified."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import from_ms, to_ms
from alerter.scopes import Scope
from alerter.store.sql import json_values, moment_or_none, ms_or_none
from alerter.store.state import State

# The columns of a site that `as_site_state` takes.
SITE_STATE_COLUMNS = (
    "checkpoint, covered_rating, covered_plain, covered_lists, covered_since, rescanned_at,"
    " last_success, restored, unverified, (SELECT owed FROM scrubs) AS owed"
)
# The scope of a row of `sites`.
SCOPE = f"'{Scope.SITE.of('')}' || sites.site_id"


@dataclass(frozen=True, slots=True)
class KnownSite:
    """A stored site, its last name, and when it left the config (None: the config has it)."""

    site_id: str
    name: str | None
    left_at: datetime | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which ratings of a site's past are on record.

    Up to `plain` all reviews are, up to `rating` those with a topic: by lists of words with the
    mark `lists`, which is empty where `rating` is no more than `plain`. All 0: nothing is yet.
    """

    rating: int = 0
    plain: int = 0
    lists: str = ""


@dataclass(frozen=True, slots=True)
class SiteState:
    """How far a site has been read.

    `restored`: a backup was restored and the site has not been read since; `restored_at` is when,
    None if an older version restored it.
    `unverified`: Wix has not yet been asked for every review whose text the backup contained.
    `scrub_owed`: text that was erased, of any site, was still in the log: see `State.scrub`.
    """

    checkpoint: datetime | None = None
    coverage: Coverage = Coverage()
    covered_since: datetime | None = None
    rescanned_at: datetime | None = None
    last_success: datetime | None = None
    restored: bool = False
    restored_at: datetime | None = None
    unverified: bool = False
    scrub_owed: bool = False

    @property
    def covered_rating(self) -> int:
        """The highest rating that is on record; 0 until the first read is complete."""
        return self.coverage.rating

    def may_be_known(self, created: datetime | None) -> bool:
        """Whether a review of this date may have been alerted after the backup was made."""
        return self.restored and not (created and self.restored_at and created > self.restored_at)


def record_sites(state: State, sites: Mapping[str, str], now: datetime) -> Counter[str]:
    """Record the config's sites (id to name), and that all others left it; within a transaction.

    Cancel the unsent deliveries of the others, except `new` alerts. Return how many were
    cancelled, by the name of the site.
    """
    state.execute_many(
        "INSERT INTO sites (site_id, name) VALUES (:id, :name)"
        " ON CONFLICT (site_id) DO UPDATE SET name = excluded.name, left_at = NULL",
        [{"id": site_id, "name": name} for site_id, name in sites.items()],
    )
    removed = f"site_id NOT IN {json_values()}"
    ids = json.dumps(list(sites))
    state.execute(
        f"UPDATE sites SET failing_since = NULL, left_at = coalesce(left_at, ?) WHERE {removed}",
        [to_ms(now), ids],
    )
    cancelled = state.rows(
        "UPDATE deliveries SET status = 'cancelled' WHERE status IN ('pending', 'failed')"
        " AND (status = 'failed' OR message IS NULL)"
        f" AND EXISTS (SELECT 1 FROM alerts WHERE id = alert AND kind <> 'new' AND {removed})"
        " RETURNING (SELECT coalesce(name, site_id) FROM alerts LEFT JOIN sites USING (site_id)"
        "  WHERE id = alert) AS site",
        [ids],
    )
    return Counter(row["site"] for row in cancelled)


def get_known_sites(state: State) -> list[KnownSite]:
    """Return all stored sites by id, with those that left the config."""
    rows = state.rows("SELECT site_id, name, left_at FROM sites ORDER BY site_id")
    return [KnownSite(row["site_id"], row["name"], moment_or_none(row["left_at"])) for row in rows]


def site_names(state: State) -> dict[str, str]:
    """Return the names of all stored sites by id, with those that left the config."""
    rows = state.rows("SELECT site_id, name FROM sites WHERE name IS NOT NULL")
    return {row["site_id"]: row["name"] for row in rows}


def site_name(state: State, site_id: str) -> str | None:
    """Return the last name of a stored site."""
    name: str | None = state.value("SELECT name FROM sites WHERE site_id = ?", [site_id])
    return name


def get_site_state(state: State, site_id: str) -> SiteState:
    """Return how far a site has been read; the defaults if it was never read."""
    row = state.row(f"SELECT {SITE_STATE_COLUMNS} FROM sites WHERE site_id = ?", [site_id])
    return SiteState() if row is None else as_site_state(row)


def as_site_state(row: Mapping[str, Any]) -> SiteState:
    """Return how far the site of a row has been read."""
    rating, plain = row["covered_rating"], row["covered_plain"]
    return SiteState(
        checkpoint=moment_or_none(row["checkpoint"]),
        coverage=Coverage(rating, rating if plain is None else plain, row["covered_lists"] or ""),
        covered_since=moment_or_none(row["covered_since"]),
        rescanned_at=moment_or_none(row["rescanned_at"]),
        last_success=moment_or_none(row["last_success"]),
        restored=bool(row["restored"]),
        restored_at=from_ms(row["restored"]) if row["restored"] > 1 else None,
        unverified=bool(row["unverified"]),
        scrub_owed=bool(row["owed"]),
    )


def advance_checkpoint(state: State, site_id: str, checkpoint: datetime | None) -> None:
    """Move the checkpoint of a site forwards, never backwards."""
    if checkpoint is not None:
        state.execute(
            "INSERT INTO sites (site_id, checkpoint) VALUES (:site, :checkpoint)"
            " ON CONFLICT (site_id) DO UPDATE SET checkpoint = CASE"
            "  WHEN sites.checkpoint > excluded.checkpoint THEN sites.checkpoint"
            "  ELSE excluded.checkpoint END",
            {"site": site_id, "checkpoint": to_ms(checkpoint)},
        )


def record_coverage(
    state: State, site_id: str, rating: int, plain: int | None = None, lists: str = ""
) -> None:
    """Record which reviews of a site are stored, from the beginning: see `Coverage`.

    Without `plain`, they are all up to the rating.
    """
    with state.transaction(Scope.SITE.of(site_id)):
        state.execute(
            "INSERT INTO sites"
            " (site_id, covered_rating, covered_plain, covered_lists, covered_since)"
            " VALUES (?, ?, ?, ?, 0) ON CONFLICT (site_id)"
            " DO UPDATE SET covered_rating = excluded.covered_rating,"
            " covered_plain = excluded.covered_plain, covered_lists = excluded.covered_lists,"
            " covered_since = 0",
            [site_id, rating, plain, lists or None],
        )


def mark_poll_success(
    state: State, site_id: str, now: datetime, *, sees_private: bool
) -> datetime | None:
    """Record a complete poll, within a transaction.

    Return since when Wix returns only the published reviews of a site, after it returned all.
    """
    state.execute(
        "INSERT INTO sites (site_id, last_success, sees_private) VALUES (:site, :now, :private)"
        " ON CONFLICT (site_id) DO UPDATE SET last_success = excluded.last_success,"
        " sees_private = excluded.sees_private, failing_since = NULL,"
        " restored = CASE WHEN sites.unverified THEN sites.restored ELSE 0 END,"
        " private_lost_at = CASE WHEN excluded.sees_private THEN NULL"
        "  WHEN sites.sees_private OR sites.private_lost_at > excluded.last_success"
        "  THEN excluded.last_success ELSE sites.private_lost_at END",
        {"site": site_id, "now": to_ms(now), "private": sees_private},
    )
    lost_at = state.value("SELECT private_lost_at FROM sites WHERE site_id = ?", [site_id])
    return moment_or_none(lost_at)


def try_mark_success(
    state: State, site_ids: Collection[str], now: datetime, *, sees_private: bool
) -> set[str]:
    """Record complete polls, each after another one, without waiting for the disk.

    Return the sites of which `mark_poll_success` has to record more than the moment; nothing is
    recorded of these. A power failure may set `last_success` back until the next poll.
    """
    given = {"ids": json.dumps(list(site_ids)), "private": sees_private}
    marked = state.write_relaxed(
        f"UPDATE sites SET last_success = :now, sees_private = :private WHERE {_SUCCEEDS_AGAIN}",
        {**given, "now": to_ms(now)},
    )
    if marked == len(site_ids):
        return set()
    rows = state.rows(f"SELECT site_id FROM sites WHERE {_SUCCEEDS_AGAIN}", given)
    return set(site_ids) - {row["site_id"] for row in rows}


# Whether a complete poll of one of these sites changes nothing but its moment.
_SUCCEEDS_AGAIN = (
    f"site_id IN {json_values(':ids')}"
    " AND failing_since IS NULL AND restored = 0 AND private_lost_at IS NULL"
    " AND (sees_private IS NULL OR NOT sees_private OR :private)"
    f" AND NOT EXISTS (SELECT 1 FROM troubles WHERE scope = {SCOPE} AND over_at IS NULL)"
    f" AND NOT EXISTS (SELECT 1 FROM blocks WHERE scope = {SCOPE})"
)


def site_failing_since(state: State, site_id: str) -> datetime | None:
    """Return the first of the present run of failed polls of a site."""
    return moment_or_none(
        state.value("SELECT failing_since FROM sites WHERE site_id = ?", [site_id])
    )


def mark_poll_failure(state: State, site_id: str, now: datetime) -> datetime:
    """Record a failed poll, within a transaction; return the first of the present run of them."""
    state.execute(
        "INSERT INTO sites (site_id, failing_since) VALUES (:site, :now)"
        " ON CONFLICT (site_id) DO UPDATE SET failing_since = CASE"
        "  WHEN sites.failing_since < excluded.failing_since THEN sites.failing_since"
        "  ELSE excluded.failing_since END",
        {"site": site_id, "now": to_ms(now)},
    )
    return site_failing_since(state, site_id) or now


def rescanned_at(state: State, site_id: str) -> datetime | None:
    """Return when a site was last rescanned."""
    return moment_or_none(
        state.value("SELECT rescanned_at FROM sites WHERE site_id = ?", [site_id])
    )


def rescanned_since(state: State, site_id: str) -> datetime | None:
    """Return the creation date from which the last rescan read; None if it is not recorded."""
    return moment_or_none(
        state.value("SELECT rescanned_since FROM sites WHERE site_id = ?", [site_id])
    )


def mark_rescanned(state: State, site_id: str, now: datetime, since: datetime | None) -> None:
    """Record a complete rescan from a creation date on (None: from the same one as before)."""
    state.execute(
        "UPDATE sites SET rescanned_at = ?, rescanned_since = coalesce(?, rescanned_since)"
        " WHERE site_id = ?",
        [to_ms(now), ms_or_none(since), site_id],
    )


def revisited_at(state: State, site_id: str) -> datetime | None:
    """Return when Wix was last asked for old reviews of a site."""
    return moment_or_none(
        state.value("SELECT revisited_at FROM sites WHERE site_id = ?", [site_id])
    )


def mark_revisited(state: State, site_id: str, last: str | None, now: datetime) -> None:
    """Record the last old review that Wix was asked for (None: all of them): the cursor."""
    state.execute(
        "UPDATE sites SET revisited_at = ?, revisited_to = ? WHERE site_id = ?",
        [to_ms(now), last, site_id],
    )


def mark_verified(state: State, site_id: str) -> None:
    """Record that Wix was asked for all reviews of a restored site: they may be sent and shown."""
    state.execute(
        "UPDATE sites SET unverified = FALSE, revisited_to = NULL WHERE site_id = ?", [site_id]
    )


def recorded_sites(state: State) -> dict[str, str]:
    """Return the names of the sites that the last recorded config has, by their ids."""
    rows = state.rows("SELECT site_id, name FROM sites WHERE left_at IS NULL")
    return {row["site_id"]: row["name"] for row in rows}
