"""Erase the text of one site: reviews, messages, names; and what the file keeps of erased text."""

import json
from datetime import datetime
from typing import Any

from alerter.errors import StateBusy
from alerter.models import AlertKind, receiver_of
from alerter.scopes import ALL_TROUBLE, Scope
from alerter.store.prune import AT_ONCE, drop_alerts, prune_reviews
from alerter.store.sql import json_values
from alerter.store.state import State


def erase_site(state: State, site_id: str, now: datetime) -> int:
    """Erase the text of a site's reviews, their alerts, and every name; return how many reviews.

    Ids, dates and ratings stay, as in pruned reviews, and so does how far the site was read.
    """
    number = 0
    while some := _erase_some(state, site_id, now):
        number += some
    with state.transaction(Scope.SITE.of(site_id), ALL_TROUBLE):
        left = state.rows("SELECT id FROM alerts WHERE site_id = ?", [site_id])
        drop_alerts(state, json.dumps([row["id"] for row in left]))
        name = state.value("SELECT name FROM sites WHERE site_id = ?", [site_id])
        for table in ("products", "actions", "orders", "order_access"):
            state.execute(f"DELETE FROM {table} WHERE site_id = ?", [site_id])
        for table in ("troubles", "blocks"):
            state.execute(
                f"DELETE FROM {table} WHERE scope IN (?, ?)",
                [Scope.SITE.of(site_id), Scope.PRIVATE.of(site_id)],
            )
        _erase_mentions(state, site_id, name or site_id)
        state.execute("UPDATE sites SET name = NULL WHERE site_id = ?", [site_id])
        state.owe_scrub()
    return number


async def rebuild(state: State) -> bool:
    """Have the engine remove what is left of erased text; return False if it cannot do so yet.

    Where SQLite moves rows, copies of them stay in the unused part of pages, and `secure_delete`
    does not overwrite these. `State.scrub` has to follow. Never call it within a transaction.
    """
    if not (owed := state.value("SELECT rebuilds_owed FROM scrubs")):
        return True
    try:
        await state.engine.rewrite()
        state.write_relaxed(
            "UPDATE scrubs SET owed = owed + 1, rebuilds_owed ="
            " CASE WHEN rebuilds_owed > :done THEN rebuilds_owed - :done ELSE 0 END",
            {"done": owed},
        )
    except StateBusy:
        return False
    return True


def _erase_some(state: State, site_id: str, now: datetime) -> int:
    """Erase the next few reviews of a site; return how many, 0 at the end."""
    with state.transaction(Scope.SITE.of(site_id)):
        rows = state.rows(
            "SELECT site_id, review_id FROM reviews"
            " WHERE site_id = ? AND pruned_at IS NULL LIMIT ?",
            [site_id, AT_ONCE],
        )
        prune_reviews(state, rows, now)
    return len(rows)


def _erase_mentions(state: State, site_id: str, name: str) -> None:
    """Erase a site from summaries, and the whole detail of other alerts that mention it."""
    named = (site_id, json.dumps(name, ensure_ascii=False)[1:-1])
    for row in state.rows(
        "SELECT id, key, kind, detail FROM alerts WHERE review_id IS NULL AND detail <> '{}'"
    ):
        if not any(each in row["key"] + row["detail"] for each in named):
            continue
        is_summary = row["kind"] == AlertKind.SUMMARY
        detail = _without_site(json.loads(row["detail"]), site_id) if is_summary else {}
        receivers = [name for name, sites in detail.get("receivers", {}).items() if sites]
        _cancel_for_others(state, row["id"], receivers)
        state.execute(
            "UPDATE alerts SET detail = ? WHERE id = ?",
            [json.dumps(detail, ensure_ascii=False), row["id"]],
        )


def _without_site(summary: dict[str, Any], site_id: str) -> dict[str, Any]:
    receivers = {
        receiver: [each for each in sites if each != site_id]
        for receiver, sites in summary["receivers"].items()
    }
    return summary | {
        "receivers": receivers,
        "sites": {each: figures for each, figures in summary["sites"].items() if each != site_id},
    }


def _cancel_for_others(state: State, alert: int, receivers: list[str]) -> None:
    """Cancel the unsent deliveries of an alert to other receivers, and erase their subjects."""
    rows = state.rows("SELECT destination FROM deliveries WHERE alert = ?", [alert])
    names = [row["destination"] for row in rows if receiver_of(row["destination"]) not in receivers]
    of_these = f"alert = ? AND destination IN {json_values()}"
    params = [alert, json.dumps(names)]
    carried = f"id IN (SELECT message FROM deliveries WHERE {of_these})"
    state.execute(f"UPDATE messages SET subject = NULL, error = NULL WHERE {carried}", params)
    state.execute(
        "UPDATE messages SET status = 'failed'"
        f" WHERE status IN ('sending', 'in_doubt') AND {carried}",
        params,
    )
    state.execute(
        "UPDATE deliveries SET status = 'cancelled'"
        f" WHERE status IN ('pending', 'failed') AND {of_these}",
        params,
    )
