"""The database: two engines, one schema, and every query."""

from alerter.store.lock import Holder, Lock
from alerter.store.sqlite import is_there
from alerter.store.state import State, Wake

__all__ = ["Holder", "Lock", "State", "Wake", "is_there"]
