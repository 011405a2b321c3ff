"""The ids of Slack channels that the config names, as they were last found."""

from contextlib import suppress

from alerter.errors import StateError
from alerter.scopes import Scope
from alerter.store.state import State


class ChannelIds:
    """The ids of channels by their names, in one Slack workspace.

    A database that takes no writes now remembers nothing.
    """

    def __init__(self, state: State, workspace: str) -> None:
        self._state = state
        self._workspace = workspace

    def get(self, name: str) -> str | None:
        """Return the id that a name was last found with."""
        found = None
        with suppress(StateError):
            found = self._state.value(
                "SELECT channel_id FROM channels WHERE workspace = ? AND name = ?",
                [self._workspace, name],
            )
        return found

    def put(self, name: str, channel_id: str) -> None:
        """Record the id that a name was found with."""
        if self.get(name) != channel_id:
            self._write(
                "INSERT INTO channels (workspace, name, channel_id) VALUES (?, ?, ?)"
                " ON CONFLICT (workspace, name) DO UPDATE SET channel_id = excluded.channel_id",
                [self._workspace, name, channel_id],
            )

    def delete(self, name: str) -> None:
        """Delete what is recorded about a name."""
        self._write(
            "DELETE FROM channels WHERE workspace = ? AND name = ?", [self._workspace, name]
        )

    def _write(self, sql: str, params: list[str]) -> None:
        scope = Scope.SERVICE.of(self._workspace)
        with suppress(StateError), self._state.transaction(scope):
            self._state.execute(sql, params)
