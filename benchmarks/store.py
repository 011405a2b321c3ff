"""Write the state file with raw sqlite3: the same tables, rows and `synchronous`."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from alerter.store import State
from benchmarks.world import site_id

_REVIEW = (
    "site_id", "review_id", "revision", "rating", "status", "created_at", "answered", "rejected",
    "alerted_at", "entity_id", "contact_id", "content",
)  # fmt: skip
ALERT = (
    "INSERT INTO alerts (id, key, kind, site_id, review_id, raised_at, detail)"
    " VALUES (?, ?, 'new', ?, ?, ?, '{}')"
)
DELIVERY = (
    "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
    " VALUES (?, ?, 'pending', 'burst', 0)"
)
# What `alerter replay` needs of each review, in a table of its own: see `judgement_row`.
JUDGEMENT = (
    "INSERT INTO judgements (site_id, review_id, number, judged_at, source, status, alerted_at,"
    " anonymized, rating, revision, created_at, written_at, answered, moderation, entity_id,"
    " covered, edited, replied, topics)"
    " VALUES (?, ?, 1, ?, 'rescan', 'open', ?, 0, ?, ?, ?, ?, 0, 'APPROVED', ?, 1, 1, 1, ?)"
)
_TOPICS = '["delivery", "quality", "service", "taste"]'


def bare_state(folder: Path) -> sqlite3.Connection:
    """Return a connection to a new state file, with alerter's pragmas."""
    path = folder / "bare.db"
    State.open(path, migrate=True).close()
    conn = sqlite3.connect(path)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "secure_delete = ON",
        "foreign_keys = ON",
    ):
        conn.execute(f"PRAGMA {pragma}").fetchall()
    return conn


def insert_reviews(conn: sqlite3.Connection, found: Iterable[Mapping[str, Any]]) -> None:
    """Insert a page of reviews from Wix's JSON."""
    conn.executemany(review_sql(conn), [review_row(raw) for raw in found])


def review_sql(conn: sqlite3.Connection) -> str:
    """Return the SQL to insert a review; other required columns are 0."""
    columns = conn.execute(
        "SELECT name FROM pragma_table_info('reviews') WHERE \"notnull\" AND dflt_value IS NULL"
    )
    others = [name for (name,) in columns if name not in _REVIEW]
    values = ["?"] * len(_REVIEW) + ["0"] * len(others)
    return f"INSERT INTO reviews ({', '.join([*_REVIEW, *others])}) VALUES ({', '.join(values)})"


def review_row(
    raw: Mapping[str, Any], status: str = "baseline", alerted_at: int | None = None
) -> tuple[Any, ...]:
    """Return the row of a review."""
    content = raw["content"]
    text = {
        "created": raw["createdDate"],
        "updated": raw["updatedDate"],
        "written": raw["reviewDate"],
        "title": content["title"],
        "body": content["body"],
        "author": raw["author"]["authorName"],
        "namespace": raw["namespace"],
        "moderation": raw["moderation"]["moderationStatus"],
        "verified": raw["verified"],
        "origin": raw["origin"]["type"],
    }
    return (
        site_id(0),
        raw["id"],
        int(raw["revision"]),
        content["rating"],
        status,
        round(datetime.fromisoformat(raw["createdDate"]).timestamp() * 1000),
        "reply" in raw,
        raw["moderation"]["moderationStatus"] == "REJECTED",
        alerted_at,
        raw["entityId"],
        raw["author"]["contactId"],
        json.dumps(text, ensure_ascii=False),
    )


def judgement_row(row: tuple[Any, ...], judged_at: int) -> tuple[Any, ...]:
    """Return the row of the state that was judged of a low-rated review, by its own row."""
    stored = dict(zip(_REVIEW, row, strict=True))
    moments = judged_at, stored["alerted_at"]
    standing = stored["rating"], stored["revision"], stored["created_at"], stored["created_at"]
    its = stored["site_id"], stored["review_id"]
    return (*its, *moments, *standing, stored["entity_id"], _TOPICS)
