"""A minimal HTTP server with persistent connections."""

import asyncio
import re
import time
from collections.abc import Callable
from email.utils import formatdate

Answer = Callable[[bytes, bytes], bytes]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class HttpConnection(asyncio.Protocol):
    """Answer each request, given as head and body, with a JSON body, some seconds `after` it."""

    def __init__(self, answer: Answer, after: float = 0.0) -> None:
        self._answer = answer
        self._after = after
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self._buffer += data
        while True:
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            response = _response(self._answer(head, rest[:length]))
            if self._after:
                loop = asyncio.get_running_loop()
                loop.call_later(self._after, self._transport.write, response)
            else:
                self._transport.write(response)


def _response(body: bytes) -> bytes:
    return _head(int(time.time())) % len(body) + body


def _head(second: int, kept: dict[int, bytes] = {}) -> bytes:  # noqa: B006 - a cache of the head of this second
    if second not in kept:
        kept.clear()
        kept[second] = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Date: {formatdate(second, usegmt=True)}\r\n"
            "x-wix-request-id: 1763980000.123456789012\r\nServer: Pepyaka\r\n"
            "Cache-Control: no-cache\r\nContent-Length: %d\r\n\r\n"
        ).encode()
    return kept[second]
