"""A database that was restored to an earlier state is noticed, and is not used.

It does not know what was sent since, and would have it sent again. The workers count in a note of
the database; one that finds less than it saw knows that the database went back.
"""

from uuid import uuid4

from alerter.errors import StatePutBack
from alerter.store.marker import Marker
from alerter.store.state import State

# The note holds the id of the database, which `alerter restore` changes, and the count.
_ADVANCE = """
INSERT INTO notes (name, value) VALUES ('progress', :new || ' 1')
ON CONFLICT (name) DO UPDATE SET value = split_part(notes.value, ' ', 1) || ' '
  || (CAST(split_part(notes.value, ' ', 2) AS BIGINT) + 1)
WHERE notes.value <> :put_back AND (split_part(notes.value, ' ', 1) <> :database
  OR CAST(split_part(notes.value, ' ', 2) AS BIGINT) >= :count)
RETURNING value
"""
# The file is written once in so many counts.
_KEEP_EVERY = 12


class Progress:
    """How far this process saw the database come; a file keeps it over a restart.

    The last count is left out: a failover to a standby that lags may lose a moment. Who notices
    notes `PUT_BACK` in place of the count, for workers that have seen nothing.
    """

    PUT_BACK = "put back"

    def __init__(self, file: Marker) -> None:
        self._file = file
        self._database, self._count = _parse(file.text())
        self._last = self._count
        self._advanced = 0

    def check(self, found: str, name: str) -> None:
        """Raise StatePutBack if what a database has noted is less than was seen of it."""
        database, count = _parse(found)
        if found == self.PUT_BACK or (database == self._database and count < self._count):
            raise self._went_back(name)

    def advance(self, state: State) -> None:
        """Count. Raise StateError; close the connection too if the database went back."""
        with state.transaction():
            found = state.value(
                _ADVANCE,
                {
                    "new": uuid4().hex,
                    "database": self._database,
                    "count": self._count,
                    "put_back": self.PUT_BACK,
                },
            )
        if found is None:  # `guard` raises
            try:
                state.engine.guard(self)
            finally:
                state.engine.close()
        database, count = _parse(found)
        if database == self._database:
            self._count = self._last
        else:
            self._database, self._count = database, 0
        self._last = count
        if self._advanced % _KEEP_EVERY == 0:
            self._file.write(f"{database} {self._count if self._advanced else count}")
        self._advanced += 1

    def keep(self) -> None:
        """Have the next start find in the file what was seen up to now."""
        if self._database:
            self._file.write(f"{self._database} {self._count}")

    def _went_back(self, name: str) -> StatePutBack:
        self.keep()
        return StatePutBack(
            f"{name}: was put back to an earlier state, which would send again what was sent"
            " since: nothing is sent. Stop all workers, then `alerter backup FILE`, empty the"
            " database, and `alerter restore FILE`; see docs/cluster.md"
        )


def _parse(text: str) -> tuple[str, int]:
    """Return the id of a database and its count; nothing where there is none, or half of it."""
    database, _, count = text.strip().partition(" ")
    return (database, int(count)) if count.isdecimal() else ("", 0)
