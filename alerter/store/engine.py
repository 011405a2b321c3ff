"""What a database engine does for `State`: one connection to one database."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from alerter.store.sql import Params

if TYPE_CHECKING:
    from alerter.store.progress import Progress


class Engine(Protocol):
    """A connection to a database of one kind. Every error is raised as a StateError.

    `name`: how errors and logs name the database. `relaxes`: whether a transaction can leave the
    wait for the disk to a later one, and only a power failure loses it. `shares_commits`: whether
    the changes of several tasks may be one transaction, as none is under a lease of its own.
    """

    name: str
    relaxes: bool
    shares_commits: bool

    @property
    def changed(self) -> int:
        """How many rows this connection has changed."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def begin(self, scopes: Collection[str], *, relaxed: bool) -> None:
        """Begin a transaction with the locks of these scopes; see `State.transaction`.

        `relaxed` only where the engine `relaxes`.
        """

    def commit(self) -> None:
        """Commit the transaction; roll it back where that fails."""

    def rollback(self) -> None:
        """Roll the transaction back."""

    def rows(self, sql: str, params: Params) -> list[dict[str, Any]]:
        """Return the rows that a query finds."""

    def value(self, sql: str, params: Params) -> Any:
        """Return the first column of the first row, or None."""

    def execute(self, sql: str, params: Params) -> int:
        """Run one statement; return the number of changed rows."""

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of these rows."""

    def write_relaxed(self, sql: str, params: Params) -> int:
        """Run one statement outside a transaction without waiting for the disk."""

    def touch(self) -> None:
        """Write something that changes nothing, within a transaction."""

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call."""

    def guard(self, progress: "Progress") -> None:
        """Use the database only as long as it has what `progress` saw of it. Raise StateError."""

    def is_in_place(self) -> bool:
        """Whether this is still the database that the config names."""

    def empty_log(self, *, wait: bool) -> bool:
        """Remove erased text from the write-ahead log; return False if that is not possible yet."""

    async def rewrite(self) -> None:
        """Remove what the database keeps of erased text in its tables. Raise StateBusy."""

    def close(self) -> None:
        """Close the connection."""
