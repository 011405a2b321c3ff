"""Back up the state into a file, and restore a backup."""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from alerter.config.state import PostgresUrl
from alerter.errors import StateError
from alerter.models import to_ms
from alerter.store import actions
from alerter.store.file_lock import real_path
from alerter.store.prune import THESE, drop_alerts
from alerter.store.sql import moment_or_none
from alerter.store.sqlite import BACKUP, Translated, inspect
from alerter.store.stale_messages import mark_stale
from alerter.store.state import State

_RESTORED = "it was being sent when the backup was made, and may have arrived since"


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What `restore` did.

    `as_of`: when the backup last read a site. `cancelled`: the number of cancelled deliveries.
    `replaced`: where the replaced state file is now.
    """

    as_of: datetime | None
    cancelled: int
    replaced: Path | None


def back_up(database: Path | PostgresUrl, target: Path) -> int:
    """Copy the state to a new file of mode 0600, even while it is written; return its size.

    The copy is a file of SQLite, whatever the engine. It appears when it is complete and on disk,
    or not at all. Raise StateError.
    """
    if isinstance(database, Path):
        database = real_path(database)
        _require_content(database, "there is no state file yet")
        inspect(database, migrate=True, check=False)
    if os.path.lexists(target):
        raise StateError(f"{target}: exists already; a backup overwrites nothing")
    with _complete_file(target) as partial:
        if isinstance(database, Path):
            _copy(database, partial, BACKUP)
        else:
            _copy_out(database, partial)
        if os.path.lexists(target):
            raise StateError(f"{target}: exists already; a backup overwrites nothing")
    return target.stat().st_size


def restore(
    source: Path, database: Path | PostgresUrl, now: datetime, *, move: bool = False
) -> RestoreResult:
    """Put a backup in the place of the state, with the lock held.

    An old state file is moved aside; a PostgreSQL database must hold no state yet.
    What may have been sent since the backup was made counts as sent. `move`: nothing was sent
    since. Reviews may have been deleted at Wix since, so Wix is asked for each of them before
    its text is sent or shown. Raise StateError.
    """
    _require_content(source, "there is no such backup")
    inspect(source, migrate=True, backup=True)
    if not isinstance(database, Path):
        return _restore_into(database, source, now, move=move)
    path = real_path(database)
    with _complete_file(path) as partial:
        _copy(source, partial, 0)
        with State.open(partial, migrate=True) as state:
            result = _make_current(state, now, move=move)
        replaced = _move_aside(path, now)
    return replace(result, replaced=replaced)


def _make_current(state: State, now: datetime, *, move: bool) -> RestoreResult:
    """Change the copy of a backup into a state to go on with."""
    as_of = state.value("SELECT max(last_success) FROM sites")
    cancelled = 0 if move else _count_as_sent(state, now)
    with state.transaction():
        actions.erase_words_without_review(state)
        state.execute("UPDATE sites SET unverified = TRUE, revisited_to = NULL")
        state.owe_scrub()  # empties the log, which does not follow a renamed file
    state.scrub()
    return RestoreResult(moment_or_none(as_of), cancelled, None)


def _restore_into(url: PostgresUrl, source: Path, now: datetime, *, move: bool) -> RestoreResult:
    from alerter.store.postgres_copy import copy_in  # noqa: PLC0415 - needs the extra `postgres`

    with tempfile.TemporaryDirectory(prefix="alerter-restore-") as folder:
        partial = Path(folder) / "state.db"
        _copy(source, partial, 0)
        with State.open(partial, migrate=True) as state:
            result = _make_current(state, now, move=move)
            copy_in(state, url)
    return result


def _copy_out(url: PostgresUrl, target: Path) -> None:
    from alerter.store.postgres_copy import copy_out  # noqa: PLC0415 - needs the extra `postgres`

    with State.open(target, migrate=True) as state:
        copy_out(url, state)
    with closing(sqlite3.connect(target)) as db:
        db.execute("PRAGMA journal_mode = DELETE").fetchone()
        db.execute(f"PRAGMA user_version = {BACKUP}")


def _require_content(path: Path, fault: str) -> None:
    with Translated(path):
        if not path.exists() or not path.stat().st_size:
            raise StateError(f"{path}: {fault}")


@contextmanager
def _complete_file(target: Path) -> Iterator[Path]:
    """Yield a new file beside the target, and rename it to the target once it is on disk."""
    with Translated(target):
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
    """Copy a consistent state, without erased text, and set the user_version of the copy."""
    with (
        Translated(source),
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as db,
    ):
        db.execute("VACUUM INTO ?", [str(target)])
    with closing(sqlite3.connect(target)) as db:
        db.execute(f"PRAGMA user_version = {version}")


def _move_aside(path: Path, now: datetime) -> Path | None:
    """Rename a file with its log, which SQLite would otherwise apply to the new file."""
    aside = path.with_name(f"{path.name}.replaced-{now:%Y%m%dT%H%M%SZ}")
    moved = False
    for suffix in ("-shm", "-wal", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
            moved = True
    return aside if moved else None


def _count_as_sent(state: State, now: datetime) -> int:
    """Cancel all unsent deliveries, so that nothing is sent twice; return how many.

    A failed delivery may have been retried since. An open review of which nothing was sent
    becomes a baseline review, which a backfill may alert.
    """
    with state.transaction():
        state.execute(
            "UPDATE sites SET restored = ?, rescanned_at = NULL, failing_since = NULL", [to_ms(now)]
        )
        unsent = json.dumps([[row["site_id"], row["review_id"]] for row in state.rows(_UNSENT)])
        state.execute("UPDATE deliveries SET withdrawn = NULL WHERE withdrawn IS NOT NULL")
        cancelled = state.execute(
            "UPDATE deliveries SET status = 'cancelled' WHERE status IN ('pending', 'failed')"
        )
        state.execute(
            "UPDATE messages SET status = 'failed', error = ?"
            " WHERE status IN ('sending', 'in_doubt')",
            [_RESTORED],
        )
        state.execute(
            f"UPDATE reviews SET status = 'baseline', alerted_at = NULL {THESE}", [unsent]
        )
        for site_id, review_id in actions.settle_restored(state, now):
            mark_stale(state, site_id, [review_id])
        alerts = state.rows(f"SELECT id FROM alerts {THESE}", [unsent])
        drop_alerts(state, json.dumps([row["id"] for row in alerts]))
        state.execute(
            "UPDATE reminders SET reminded = :now - since WHERE reminded < :now - since",
            {"now": to_ms(now)},
        )
        for rows in ("summaries", "cluster_candidates", "blocks WHERE parked"):  # they begin again
            state.execute(f"DELETE FROM {rows}")
        # An alert without recipients gets no `recovered`, which may have been sent since.
        state.execute(_CANCEL_TROUBLE)
    return cancelled


_CANCEL_TROUBLE = """
UPDATE deliveries SET status = 'cancelled' WHERE alert IN
  (SELECT id FROM alerts JOIN troubles
    ON substr(key, 1, length(scope) + 9) = 'trouble:' || scope || ':')
"""
_WITH_DELIVERY = """EXISTS (SELECT 1 FROM alerts JOIN deliveries ON deliveries.alert = alerts.id
  WHERE alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id
  AND {})"""
_UNSENT = f"""
SELECT site_id, review_id FROM reviews WHERE status = 'open'
  AND {_WITH_DELIVERY.format("(status IN ('pending', 'failed') OR withdrawn IS NOT NULL)")}
  AND NOT {_WITH_DELIVERY.format("status = 'sent'")}
"""
