"""Error, age, now → when to try again, or never. Pure."""

from datetime import timedelta
from random import Random

from alerter.errors import ErrorKind

# Services that name no time for a 429 get this long.
UNNAMED_WAIT = timedelta(seconds=30)
_FIRST = timedelta(seconds=2)
_CEILING = timedelta(minutes=1)
_FLOOR = timedelta(milliseconds=100)


def wait(
    kind: ErrorKind, failing_for: timedelta, retry_after: float | None, random: Random
) -> timedelta | None:
    """How long to leave a receiver (or, for a 429, its service) alone; None: until a person has mended something.

    `failing_for` is how long it has failed without a break, so waits double in the mean; full jitter keeps those who
    failed together from coming back together.
    """
    if kind in (ErrorKind.RECEIVER, ErrorKind.SERVICE):
        return None
    if kind is ErrorKind.THROTTLED:
        return timedelta(seconds=retry_after) if retry_after is not None else UNNAMED_WAIT
    longest = min(_CEILING, max(_FIRST, failing_for))
    return max(_FLOOR, longest * random.random())
