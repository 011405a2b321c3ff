"""The retry policy: when a destination or service that failed is called again. Pure."""

from datetime import timedelta
from random import Random

from alerter.errors import ErrorKind

# The wait after a 429 that has no Retry-After.
UNNAMED_WAIT = timedelta(seconds=30)
_FIRST = timedelta(seconds=2)
_CEILING = timedelta(minutes=1)
_FLOOR = timedelta(milliseconds=100)
# A shorter Retry-After, or a date that is over, must not become calls in a loop.
_SHORTEST_NAMED = 1.0


def wait(
    kind: ErrorKind, failing_for: timedelta, retry_after: float | None, random: Random
) -> timedelta | None:
    """Return the wait before the next call; None: until a person has corrected the fault.

    `failing_for`: how long it has failed without a success, so that the mean wait doubles each
    time. `retry_after` (seconds) is what the service asked for with a 429; less than a second is a
    failure like others. Full jitter keeps destinations that failed together from being retried
    together.
    """
    if kind in (ErrorKind.RECEIVER, ErrorKind.SERVICE):
        return None
    named = timedelta()
    if kind is ErrorKind.THROTTLED:
        named = timedelta(seconds=retry_after) if retry_after is not None else UNNAMED_WAIT
        if named.total_seconds() >= _SHORTEST_NAMED:
            return named
    longest = min(_CEILING, max(_FIRST, failing_for))
    return max(_FLOOR, named, longest * random.random())
