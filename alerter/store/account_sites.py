"""The sites of Wix accounts in the database, as the last lists had them."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerter.models import to_ms
from alerter.store.sql import json_values, moment_or_none
from alerter.store.state import State

# One wrong list removes no site: it has to be missing in two that are so far apart.
LISTS_APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ListChanges:
    """How many sites of an account a list has added, and so on.

    `changed` are renamed or there again, `missing` are so for the first time.
    """

    added: int
    changed: int
    missing: int
    removed: int

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.missing or self.removed)


def get_account_sites(state: State) -> dict[str, dict[str, str]]:
    """Return the names of the sites of each account by their ids, by the account's id.

    A site that one account does not list any more and another does has moved to the latter.
    """
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    rows = state.rows("SELECT * FROM account_sites ORDER BY account_id, site_id")
    there = {row["site_id"] for row in rows if row["missing_since"] is None}
    for row in rows:
        if row["missing_since"] is None or row["site_id"] not in there:
            found[row["account_id"]][row["site_id"]] = row["name"]
    return dict(found)


def listed_at(state: State, account_id: str) -> datetime | None:
    """Return when the sites of an account were last listed."""
    return moment_or_none(
        state.value("SELECT listed_at FROM accounts WHERE account_id = ?", [account_id])
    )


def last_listed_at(state: State) -> datetime | None:
    """Return when the sites of any account were last listed."""
    return moment_or_none(state.value("SELECT max(listed_at) FROM accounts"))


def list_failing_since(state: State, account_id: str) -> datetime | None:
    """Return the first of the present run of failures to list the sites of an account."""
    return moment_or_none(
        state.value("SELECT failing_since FROM accounts WHERE account_id = ?", [account_id])
    )


def record_list(
    state: State, account_id: str, sites: Mapping[str, str], now: datetime, *, complete: bool
) -> ListChanges:
    """Record a list of an account's sites (id to name), within a transaction.

    A site that is not in a complete one is removed if a list an hour ago or earlier did not have it
    either.
    """
    ms = to_ms(now)
    state.execute(
        "INSERT INTO accounts (account_id, listed_at) VALUES (?, ?) ON CONFLICT (account_id)"
        " DO UPDATE SET listed_at = excluded.listed_at, failing_since = NULL",
        [account_id, ms],
    )
    rows = state.rows("SELECT * FROM account_sites WHERE account_id = ?", [account_id])
    known = {row["site_id"]: row for row in rows}
    there = [
        {"account": account_id, "site": site_id, "name": name}
        for site_id, name in sites.items()
        if site_id not in known
        or known[site_id]["name"] != name
        or known[site_id]["missing_since"] is not None
    ]
    state.execute_many(
        "INSERT INTO account_sites (account_id, site_id, name) VALUES (:account, :site, :name)"
        " ON CONFLICT (account_id, site_id)"
        " DO UPDATE SET name = excluded.name, missing_since = NULL",
        there,
    )
    missing = [site_id for site_id in known if complete and site_id not in sites]
    removed = _record_missing(state, account_id, missing, now)
    added = sum(row["site"] not in known for row in there)
    return ListChanges(
        added=added,
        changed=len(there) - added,
        missing=sum(known[site_id]["missing_since"] is None for site_id in missing),
        removed=removed,
    )


def _record_missing(state: State, account_id: str, site_ids: Sequence[str], now: datetime) -> int:
    """Record that a list does not have these sites; return how many of them that removes."""
    params = [{"now": to_ms(now), "account": account_id, "site": site_id} for site_id in site_ids]
    state.execute_many(
        "UPDATE account_sites SET missing_since = CASE WHEN missing_since < :now"
        " THEN missing_since ELSE :now END WHERE account_id = :account AND site_id = :site",
        params,
    )
    if not site_ids:
        return 0
    return state.execute(
        "DELETE FROM account_sites WHERE account_id = ? AND missing_since <= ?",
        [account_id, to_ms(now - LISTS_APART)],
    )


def mark_list_failure(state: State, account_id: str, now: datetime) -> datetime:
    """Record that an account could not be listed, within a transaction; return since when."""
    state.execute(
        "INSERT INTO accounts (account_id, failing_since) VALUES (:account, :now)"
        " ON CONFLICT (account_id) DO UPDATE SET failing_since = CASE"
        "  WHEN accounts.failing_since < excluded.failing_since THEN accounts.failing_since"
        "  ELSE excluded.failing_since END",
        {"account": account_id, "now": to_ms(now)},
    )
    return list_failing_since(state, account_id) or now


def delete_other_accounts(state: State, account_ids: Collection[str]) -> None:
    """Delete what is recorded about accounts that left the config, within a transaction."""
    for table in ("account_sites", "accounts"):
        state.execute(
            f"DELETE FROM {table} WHERE account_id NOT IN {json_values()}",
            [json.dumps(list(account_ids))],
        )
