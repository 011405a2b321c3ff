"""The database: two engines, one schema, and every query."""

from alerter.store.file_lock import Holder
from alerter.store.lock import Lock, lock_of
from alerter.store.state import State, Wake, is_there

__all__ = ["Holder", "Lock", "State", "Wake", "is_there", "lock_of"]
