"""What is computed once for all who ask in the same turn of the loop."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_V = TypeVar("_V")


class TurnCache(Generic[_V]):
    """Keeps values until the turn of the loop ends, and so no text of a review any longer.

    Without a running loop nothing is kept.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[object, _V]] = {}

    def get(self, key: Hashable, source: object, make: Callable[[], _V]) -> _V:
        """Return the value that was made of an equal source in this turn, else a new one.

        `key`: what finds the source again, as that need not have a hash.
        """
        known = self._values.get(key)
        if known and known[0] == source:
            return known[1]
        value = make()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return value
        if not self._values:
            loop.call_soon(self._values.clear)
        self._values[key] = source, value
        return value
