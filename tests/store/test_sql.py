"""The SQL of the store stays in the subset that SQLite and PostgreSQL share."""

import re
from pathlib import Path

import pytest

import alerter.store

# Opening, migrating and copying are of one engine; `sql.py` writes what differs.
OF_ONE_ENGINE = {"backup.py", "migrations.py", "schema.py", "sql.py", "sqlite.py"}
OF_POSTGRES = "postgres"
SHARED = sorted(
    path
    for path in Path(alerter.store.__file__).parent.glob("*.py")
    if path.name not in OF_ONE_ENGINE and not path.name.startswith(OF_POSTGRES)
)
SQLITE_ONLY = {
    "ifnull and iif": r"\b(ifnull|iif)\(",
    "json_each, json_extract, json_remove": r"\bjson_(each|extract|remove)\b",
    "INDEXED BY": r"\bINDEXED\b",
    "INSERT OR": r"\bINSERT OR\b",
    "ON CONFLICT without columns": r"\bON CONFLICT\b(?!\"?\s*\"? ?\()",
    "IS with a value": r"\bIS (NOT )?(?!NULL|DISTINCT|NOT )[a-z:?']",
    "unary plus": r"\s\+[a-z]",
    "max and min of two values": r"= ?(max|min)\([a-z_.]+, ",
    "numbers as booleans": r"\b(answered|rejected|anonymized|erase|parked|present|unverified"
    r"|sees_private|plain|builtin) (=|<>) ?[01]\b",
    "the next id": r"max\(id\)[^,]*\+ 1",
    "rowid": r"\browid\b",
}


@pytest.mark.parametrize("construct", SQLITE_ONLY)
def test_no_statement_uses_what_only_sqlite_has(construct: str) -> None:
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in SHARED
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(SQLITE_ONLY[construct], line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("construct", "sql"),
    [
        ("ifnull and iif", "SELECT ifnull(a, 0)"),
        ("json_each, json_extract, json_remove", "IN (SELECT value FROM json_each(?))"),
        ("INDEXED BY", "FROM reviews INDEXED BY reviews_open"),
        ("INSERT OR", "INSERT OR IGNORE INTO a"),
        ("ON CONFLICT without columns", "ON CONFLICT DO NOTHING"),
        ("IS with a value", "closing IS NOT 'gone'"),
        ("IS with a value", "closing IS ?"),
        ("unary plus", "WHERE +status = 'sent'"),
        ("max and min of two values", "since = min(since, excluded.since)"),
        ("numbers as booleans", "unverified = 1"),
        ("the next id", "SELECT max(id) + 1"),
        ("rowid", "ORDER BY rowid"),
    ],
)
def test_the_patterns_match_what_they_are_named_for(construct: str, sql: str) -> None:
    assert re.search(SQLITE_ONLY[construct], sql)
