"""A mail server that accepts everything immediately."""

import asyncio
import time

_HELLO = b"250-mail.example.com\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_END = b"\r\n.\r\n"


class FastSmtp:
    """Record the time of each mail, and with `keep` its content."""

    def __init__(self, *, keep: bool = False) -> None:
        self.keep = keep
        self.arrived: list[float] = []
        self.kept: list[bytes] = []
        self.opened = 0

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        self.opened += 1
        return _SmtpConnection(self)

    def times(self) -> list[float]:
        """Return the arrival times, in monotonic time."""
        return self.arrived

    def arrivals(self) -> int:
        """Return the number of mails so far."""
        return len(self.arrived)

    def mails(self) -> list[bytes]:
        """Return the recorded mails."""
        return self.kept

    def connections(self) -> int:
        """Return the number of connections."""
        return self.opened


class _SmtpConnection(asyncio.Protocol):
    def __init__(self, server: FastSmtp) -> None:
        self._server = server
        self._buffer = b""
        self._in_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send(b"220 mail.example.com ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            mark = _END if self._in_mail else b"\r\n"
            part, found, rest = self._buffer.partition(mark)
            if not found:
                return
            self._buffer = rest
            self._take(part)

    def _take(self, part: bytes) -> None:
        if self._in_mail:
            self._in_mail = False
            self._server.arrived.append(time.monotonic())
            if self._server.keep:
                self._server.kept.append(part)
            self._send(b"250 2.0.0 taken\r\n")
            return
        verb = part[:4].upper()
        self._in_mail = verb == b"DATA"
        self._send(
            {b"EHLO": _HELLO, b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(
                verb, b"250 ok\r\n"
            )
        )

    def _send(self, line: bytes) -> None:
        self._transport.write(line)
