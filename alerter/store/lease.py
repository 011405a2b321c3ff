"""The lease of a job: only while it lasts may its task write and send."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

from alerter.clock import ticks

# A lease is confirmed again before a call if it was not for so long. Less than the time after
# which another worker takes over, without the time between two heartbeats.
_CONFIRMED_FOR = 5_000_000_000  # nanoseconds


class LeaseLost(asyncio.CancelledError):
    """Another worker has taken over: the task that had the lease ends, and decides nothing."""


class Lease:
    """A job of the queue that a worker of it in this process carries out, with its attempt.

    Every transaction of its task confirms it first, and so fences each claim and each mark.
    """

    def __init__(self, job: int, attempt: int, worker: int) -> None:
        self.job = job
        # The lock lets the job end only after the transaction.
        self.query = (
            f"SELECT 1 FROM procrastinate_jobs WHERE id = {job} AND attempts = {attempt}"
            f" AND worker_id = {worker} AND status = 'doing' FOR SHARE"
        )
        self._confirmed_at = ticks()

    def confirm(self, *, is_held: bool) -> None:
        """Record that the queue was asked for it. Raise LeaseLost where it is not held."""
        if not is_held:
            raise LeaseLost("another worker has taken over")
        self._confirmed_at = ticks()

    @property
    def is_confirmed(self) -> bool:
        """Whether it was confirmed a moment ago."""
        return ticks() - self._confirmed_at < _CONFIRMED_FOR


_lease: ContextVar[Lease | None] = ContextVar("lease", default=None)


def get_lease() -> Lease | None:
    """Return the lease under which this task runs; None outside of a cluster."""
    return _lease.get()


def without_lease() -> Context:
    """Return the context of this task without its lease, for a task that may outlive the job."""
    context = copy_context()
    context.run(_lease.set, None)
    return context


@contextmanager
def under(lease: Lease) -> Iterator[None]:
    """Have what this task does run under a lease."""
    token = _lease.set(lease)
    try:
        yield
    finally:
        _lease.reset(token)
