"""A Slack that never limits and takes everything."""

import asyncio
import json
import re
import time
from typing import Any

from benchmarks.servers.http import HttpConnection

_NUMBER = re.compile(rb"Stale on arrival (\d+)")


class FastSlack:
    """Keeps when each message came, and with `keep` what it was."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._times: dict[int, float] = {}
        self._posted = 0
        self._posts: list[dict[str, Any]] = []

    def connection(self) -> asyncio.Protocol:
        """Serve one more connection."""
        return HttpConnection(self._answer)

    def times(self) -> dict[int, float]:
        """When each review came, by its number and the monotonic clock, since this was last asked."""
        times, self._times = self._times, {}
        return times

    def posts(self) -> list[dict[str, Any]]:
        """What came."""
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
