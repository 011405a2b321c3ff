"""Copies of the state file: how one is made, and how one is put in its place."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from alerter.errors import StateError
from alerter.models import from_ms, to_ms
from alerter.store.lock import real
from alerter.store.prune import THESE, drop_alerts
from alerter.store.state import BACKUP, State, inspect, translated

_RESTORED = "it was on its way when the backup was made, and may have arrived since"


@dataclass(frozen=True, slots=True)
class Restored:
    """When the backup had last read a site, what was cancelled, and where the file that it replaces is now."""

    as_of: datetime | None
    cancelled: int
    replaced: Path | None


def back_up(path: Path, target: Path) -> int:
    """Copy the state file, whoever writes to it meanwhile, to a new file for its user only; returns its size.

    The copy is there when it is whole and on disk, or not at all. Raises StateError.
    """
    path = real(path)
    _must_hold_something(path, "there is no state file yet")
    inspect(path, migrate=True, check=False)
    if os.path.lexists(target):
        raise StateError(f"{target}: is there already; a backup overwrites nothing")
    with _whole(target) as partial:
        _copy(path, partial, BACKUP)
        if os.path.lexists(target):
            raise StateError(f"{target}: is there already; a backup overwrites nothing")
    return target.stat().st_size


def restore(source: Path, path: Path, now: datetime, *, move: bool = False) -> Restored:
    """Put a copy in the place of the state file, with the lock held; a file that is there is moved aside.

    The copy does not know what was sent since it was made: what may have been sent counts as sent. With `move` nothing
    was: the backup was the last that the old place did. Of what it holds the words of, some may be deleted at Wix by
    now, so each site is to be asked before any of it is sent or shown. Raises StateError.
    """
    path = real(path)
    _must_hold_something(source, "there is no such backup")
    inspect(source, migrate=True, backup=True)
    with _whole(path) as partial:
        _copy(source, partial, 0)
        with State.open(partial, migrate=True) as state:
            as_of = state.value("SELECT max(last_success) FROM sites")
            cancelled = 0 if move else _count_as_sent(state, now)
            with state.transaction():
                state.execute("UPDATE sites SET unverified = 1, revisited_to = NULL")
                state.owe_scrub()  # nothing is left in a log, which would not follow the file to its new name
            state.scrub()
        replaced = _move_aside(path, now)
    return Restored(from_ms(as_of) if as_of is not None else None, cancelled, replaced)


def _must_hold_something(path: Path, fault: str) -> None:
    with translated(path):
        if not path.exists() or not path.stat().st_size:
            raise StateError(f"{path}: {fault}")


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A new file beside the target, which takes its name once it is on disk."""
    with translated(target):
        fd, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(fd)
        try:
            yield Path(name)
            _sync(Path(name))
            Path(name).rename(target)
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                Path(name + suffix).unlink(missing_ok=True)
            raise
        _sync(target.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy(source: Path, target: Path, version: int) -> None:
    """Copy what one transaction sees; nothing of what was erased is in the copy."""
    with (
        translated(source),
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as db,
    ):
        db.execute("VACUUM INTO ?", [str(target)])
    with closing(sqlite3.connect(target)) as db:
        db.execute(f"PRAGMA user_version = {version}")


def _move_aside(path: Path, now: datetime) -> Path | None:
    """Give what is there another name, with its log: SQLite would take the log for that of the new file."""
    aside = path.with_name(f"{path.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    moved = False
    for suffix in ("-shm", "-wal", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
            moved = True
    return aside if moved else None


def _count_as_sent(state: State, now: datetime) -> int:
    """Have nothing be sent a second time; returns how many deliveries are cancelled for it.

    What failed may have been sent by a retry since. A review of which nothing is on record as sent becomes one of the
    past: a backfill may alert of it.
    """
    with state.transaction():
        state.execute(
            "UPDATE sites SET restored = ?, rescanned_at = NULL, failing_since = NULL", [to_ms(now)]
        )
        unsent = json.dumps([[row["site_id"], row["review_id"]] for row in state.rows(_UNSENT)])
        cancelled = state.execute(
            "UPDATE deliveries SET status = 'cancelled' WHERE status IN ('pending', 'failed')"
        )
        state.execute(
            "UPDATE messages SET status = 'failed', error = ? WHERE status IN ('sending', 'in_doubt')",
            [_RESTORED],
        )
        state.execute(
            f"UPDATE reviews SET status = 'baseline', alerted_at = NULL {THESE}", [unsent]
        )
        drop_alerts(
            state,
            json.dumps(
                [row["id"] for row in state.rows(f"SELECT id FROM alerts {THESE}", [unsent])]
            ),
        )
        state.execute(
            "UPDATE reminders SET reminded = :now - since WHERE reminded < :now - since",
            {"now": to_ms(now)},
        )
        state.execute("DELETE FROM summaries")  # each begins anew with the present
        state.execute("DELETE FROM blocks WHERE parked")  # mended since, or it will show
        # Whoever has not heard of trouble does not hear of its end, which may have been told too.
        state.execute(
            "UPDATE deliveries SET status = 'cancelled' WHERE alert IN (SELECT id FROM alerts JOIN troubles"
            " ON substr(key, 1, length(scope) + 9) = 'trouble:' || scope || ':')"
        )
    return cancelled


_UNSENT = """
SELECT site_id, review_id FROM reviews WHERE status = 'open'
  AND EXISTS (SELECT 1 FROM alerts WHERE alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id
    AND EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id AND status IN ('pending', 'failed')))
  AND NOT EXISTS (SELECT 1 FROM alerts WHERE alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id
    AND EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id AND status = 'sent'))
"""
