"""What `alerter status` reads from the state file."""

from dataclasses import dataclass
from datetime import datetime

from alerter.models import from_ms
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class SiteReport:
    """How a site is doing."""

    last_success: datetime | None = None
    open_reviews: int = 0
    sees_private: bool = True


def sites(state: State) -> dict[str, SiteReport]:
    """How each site is doing, by its id."""
    rows = state.rows(
        "SELECT site_id, last_success, sees_private,"
        " (SELECT count(*) FROM reviews WHERE reviews.site_id = sites.site_id AND status = 'open') AS open_reviews"
        " FROM sites"
    )
    return {
        row["site_id"]: SiteReport(
            last_success=from_ms(row["last_success"]) if row["last_success"] is not None else None,
            open_reviews=row["open_reviews"],
            sees_private=row["sees_private"] != 0,
        )
        for row in rows
    }


def deliveries(state: State) -> dict[str, dict[str, int]]:
    """How many deliveries stand where, by receiver."""
    counted: dict[str, dict[str, int]] = {}
    for row in state.rows("SELECT receiver, status, count(*) AS number FROM deliveries GROUP BY receiver, status"):
        counted.setdefault(row["receiver"], {})[row["status"]] = row["number"]
    return counted


def oldest_pending(state: State) -> datetime | None:
    """When the oldest alert was raised that still waits for somebody."""
    ms = state.value(
        "SELECT min(raised_at) FROM alerts WHERE id IN (SELECT alert FROM deliveries WHERE status = 'pending')"
    )
    return from_ms(ms) if ms is not None else None
