"""The table [state]: which database holds the state, and for how long it keeps text."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from alerter.config.fields import Duration, RelativePath, check_text, fault
from alerter.config.secrets import read_secret
from alerter.config.table import Problem, Table

KEEP = timedelta(days=400)
_SCHEMES = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The address of a PostgreSQL database; as text it names the host and the database only.

    `fault`: why the address is not known, for a command that calls no service.
    """

    url: str = field(repr=False)
    fault: str = ""

    def __str__(self) -> str:
        """Return the address without user, password and options."""
        parts = urlsplit(self.url)
        hosts = unquote(parts.netloc.rpartition("@")[2])
        if not hosts:
            hosts = ",".join(parse_qs(parts.query).get("host", ["localhost"]))
        return f"postgresql://{hosts}{unquote(parts.path)}"


def _read_database(value: object, info: ValidationInfo) -> PostgresUrl:
    """Read the secret with the address, also for commands that call no service.

    Where such a command does not have it, the database itself is the first to need it.
    """
    context = info.context or {}
    try:
        url = read_secret(value, context | {"secrets": True}).get_secret_value()
    except PydanticCustomError as error:
        if context.get("secrets") or not str(value).startswith(("env:", "file:", "credential:")):
            raise
        return PostgresUrl("", error.message())
    try:
        parts = urlsplit(url)
        good = parts.scheme in _SCHEMES and re.fullmatch(r"\w+://[!-~]+", url)
    except ValueError:
        good = None
    if not good:
        raise fault(
            'the secret must be the address of a PostgreSQL database, such as "postgresql://…"'
        )
    # Read otherwise, a part of the password would be the host, which errors name.
    if set("@/?#") & set(url.partition("://")[2].rpartition("@")[0]):
        raise fault(
            'the secret has "@", "/", "?" or "#" within a name, a password or an option:'
            " write %40, %2F, %3F or %23 instead"
        )
    return PostgresUrl(url)


class StateTable(Table):
    """Which database holds the state: a file of SQLite or, with `url`, PostgreSQL.

    `keep`: how long it keeps the text of reviews at rest.
    """

    file: Annotated[RelativePath, Field(validate_default=True)] = "state.db"  # type: ignore[assignment]  # a Path
    url: Annotated[PostgresUrl, BeforeValidator(_read_database)] | None = None
    keep: Duration = KEEP

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield the faults of `url` beside `file` or without its packages."""
        if "url" not in raw:
            return
        if "file" in raw:
            yield Problem("url", "stands instead of file: remove one of them")
        if not (find_spec("psycopg") and find_spec("procrastinate")):
            yield Problem(
                "url",
                "needs packages that are not installed:"
                " pip install procrastinate 'psycopg[binary]'",
            )

    @property
    def database(self) -> Path | PostgresUrl:
        """The database that holds the state."""
        return self.url or self.file


def state_table(value: object) -> object:
    """Return the table that a bare file name stands for."""
    return value if isinstance(value, dict) else {"file": check_text(value)}
