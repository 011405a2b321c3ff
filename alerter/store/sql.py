"""SQL that each engine writes in its own way, and the values of columns with moments."""

from datetime import datetime

from alerter.models import from_ms, to_ms


def json_values(parameter: str = "?") -> str:
    """Return a subquery whose column `value` has the items of the JSON array that is bound."""
    return f"(SELECT value FROM json_each({parameter}))"


def json_field(column: str, path: str) -> str:
    """Return the SQL for a field of a JSON column; the path is like `$.reply.at`."""
    return f"json_extract({column}, '{path}')"


def json_without(column: str, *paths: str) -> str:
    """Return the SQL for a JSON column without these fields."""
    removed = ", ".join(f"'{path}'" for path in paths)
    return f"json_remove({column}, {removed})"


def moment_or_none(ms: int | None) -> datetime | None:
    """Return the moment of a column that may be NULL."""
    return from_ms(ms) if ms is not None else None


def ms_or_none(moment: datetime | None) -> int | None:
    """Return what to store for a moment that may be None."""
    return to_ms(moment) if moment is not None else None
