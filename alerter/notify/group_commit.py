"""One transaction, and one wait for the disk, for what several workers write at the same time."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from alerter.scopes import EVERY_SCOPE
from alerter.store import State

_T = TypeVar("_T")
_Change = tuple[Callable[[], Any], "asyncio.Future[Any]", bool]


class GroupCommit:
    """Commits together what is written in the same turn of the loop.

    A worker continues once that is on the disk, so no call begins before its claim is. Where other
    processes write too, each change is a transaction of its own, under the lease of its task.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._waiting: list[_Change] = []

    async def run(self, change: Callable[[], _T], *, relaxed: bool = False) -> _T:
        """Make a change of the database and return its result, or raise its error.

        A change that fails undoes no other. `relaxed`: it need not wait for the disk.
        """
        if not self._state.engine.shares_commits:
            return change()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._commit)
        self._waiting.append((change, done, relaxed))
        return await done

    def _commit(self) -> None:
        """Make the changes that wait; those of tasks that were cancelled since are dropped."""
        group = [each for each in self._waiting if not each[1].cancelled()]
        self._waiting = []
        try:
            with self._state.transaction(EVERY_SCOPE, relaxed=all(each[2] for each in group)):
                results = [self._made(change, alone=len(group) == 1) for change, _, _ in group]
        except BaseException as failure:  # noqa: BLE001 - each of the tasks that wait raises it
            results = [(None, failure)] * len(group)
        for (_, done, _), (value, error) in zip(group, results, strict=True):
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

    def _made(self, change: Callable[[], Any], *, alone: bool) -> tuple[Any, BaseException | None]:
        if alone:
            return change(), None
        try:
            with self._state.savepoint():
                return change(), None
        except Exception as error:
            if not self._state.engine.in_transaction:  # SQLite has undone the others as well
                raise
            return None, error
