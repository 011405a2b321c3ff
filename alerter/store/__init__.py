"""The SQLite state file: migrations, and every query."""

from alerter.store.lock import Holder, Lock
from alerter.store.state import State, Wake, is_there

__all__ = ["Holder", "Lock", "State", "Wake", "is_there"]
