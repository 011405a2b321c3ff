"""SQL that each engine writes in its own way, and the values of columns with moments.

Statements are written as SQLite takes them, in the subset that PostgreSQL shares, with what differs
from the functions here. `to_postgres` turns a whole statement into what PostgreSQL takes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from alerter.models import from_ms, to_ms

Params = Mapping[str, Any] | Sequence[Any]

# A function that PostgreSQL lacks, or a text, a placeholder, or a sign with a meaning to psycopg.
_PART = re.compile(
    r"json_each\((?P<each>[?:\w]+)\)"
    r"|json_extract\((?P<field>[\w.]+), '\$(?P<path>[^']+)'\)"
    r"|json_remove\((?P<column>[\w.]+), (?P<removed>[^)]+)\)"
    r"|'[^']*'|::|:(?P<name>\w+)|(?P<mark>\?)|(?P<percent>%)"
)


def json_values(parameter: str = "?") -> str:
    """Return a subquery whose column `value` has the texts of the JSON array that is bound."""
    return f"(SELECT value FROM json_each({parameter}))"


def json_numbers(parameter: str = "?") -> str:
    """Return a subquery whose column has the whole numbers of the JSON array that is bound."""
    return f"(SELECT CAST(value AS BIGINT) FROM json_each({parameter}))"


def json_field(column: str, path: str) -> str:
    """Return the SQL for a field of a JSON column; the path is like `$.reply.at`.

    PostgreSQL returns a number as text.
    """
    return f"json_extract({column}, '{path}')"


def json_without(column: str, *paths: str) -> str:
    """Return the SQL for a JSON column without these fields."""
    removed = ", ".join(f"'{path}'" for path in paths)
    return f"json_remove({column}, {removed})"


@lru_cache(maxsize=1000)
def to_postgres(sql: str) -> str:
    """Return a statement as psycopg and PostgreSQL take it."""
    return _PART.sub(_part_of_postgres, sql)


def _part_of_postgres(part: re.Match[str]) -> str:
    if each := part["each"]:
        array = to_postgres(each)
        return f"json_array_elements_text(CAST({array} AS json)) AS items (value)"
    if part["field"]:
        return f"(CAST({part['field']} AS json) #>> '{_keys(part['path'])}')"
    if column := part["column"]:
        paths = (path.strip(" '$") for path in part["removed"].split(","))
        without = " ".join(f"#- '{_keys(path)}'" for path in paths)
        return f"CAST(CAST({column} AS jsonb) {without} AS text)"
    if part["name"]:
        return f"%({part['name']})s"
    if part["mark"]:
        return "%s"
    return part[0].replace("%", "%%")


def _keys(path: str) -> str:
    """Return the keys of a path such as `.reply.at` or `[0]` as an array of PostgreSQL."""
    return "{" + ",".join(re.findall(r"\w+", path)) + "}"


@lru_cache(maxsize=1000)
def json_or_none(names: tuple[str, ...]) -> str | None:
    """Return these names as a JSON array, or None without any; the same ones come often."""
    return json.dumps(names, ensure_ascii=False) if names else None


def moment_or_none(ms: int | None) -> datetime | None:
    """Return the moment of a column that may be NULL."""
    return from_ms(ms) if ms is not None else None


def ms_or_none(moment: datetime | None) -> int | None:
    """Return what to store for a moment that may be None."""
    return to_ms(moment) if moment is not None else None
