"""A Slack that accepts everything without limits."""

import asyncio
import json
import re
import time
from typing import Any

from benchmarks.servers.http import HttpConnection

_NUMBER = re.compile(rb"Stale on arrival (\d+)")


class FastSlack:
    """Record the time of each message, and with `keep` its content."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._times: dict[int, float] = {}
        self._posted = 0
        self._posts: list[dict[str, Any]] = []

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return HttpConnection(self._answer)

    def times(self) -> dict[int, float]:
        """Return and clear the arrival times by review number, in monotonic time."""
        times, self._times = self._times, {}
        return times

    def arrivals(self) -> int:
        """Return the number of messages so far."""
        return self._posted

    def posts(self) -> list[dict[str, Any]]:
        """Return the recorded messages."""
        return self._posts

    def _answer(self, head: bytes, body: bytes) -> bytes:
        del head
        self._posted += 1
        if found := _NUMBER.search(body):
            self._times[int(found[1])] = time.monotonic()
        if self._keep:
            self._posts.append(json.loads(body))
        return b'{"ok": true, "channel": "C0123456789", "ts": "%d.%06d"}' % divmod(
            self._posted, 1000
        )
