"""A mailbox: an SMTP server on loopback that keeps mails and can refuse, hang or disconnect."""

import asyncio
import functools
import hmac
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from alerter.clock import Clock
from alerter.demo.mailbox_faults import Replies, Reply

_HOST = "127.0.0.1"
_NAME = "mailbox.localhost"
_SIZE = 33_554_432
_MECHANISMS = ("LOGIN", "PLAIN")
_Command = Callable[[str | None], Awaitable[None]]

__all__ = ["Mail", "Mailbox", "Reply"]


# aiosmtpd warns at every login of an attribute that it sets itself.
logging.getLogger("mail.log").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Mail:
    """An accepted mail.

    `recipients` are the addresses that were not refused. `at` is monotonic time in seconds.
    """

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes
    at: float

    @property
    def message_id(self) -> str:
        """The Message-ID, with angle brackets."""
        return str(self.message["Message-ID"] or "")

    @property
    def subject(self) -> str:
        """The decoded subject."""
        return str(self.message["Subject"] or "")

    @property
    def text(self) -> str:
        """The plain text; empty if there is none."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """The HTML; empty if there is none."""
        return self._part("html")

    def _part(self, kind: Literal["plain", "html"]) -> str:
        part = self.message.get_body((kind,))
        return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


class Mailbox:
    """The accepted mails, and how the next commands are answered.

    `refuse` maps an address to the reply to RCPT, `refuse_sender` is the reply to MAIL. `greeting`
    replaces the greeting and ends the connection. `data_replies` are the replies to the next DATA
    commands, whose mails are not kept; `always_reply` the same for every DATA. `drop` closes the
    next connections: at connect, or at the end of DATA, before or after the mail is kept. `hang` is
    the seconds between keeping a mail and the reply. `down` greets with 421. `faults` are for
    single commands. `smtputf8` accepts addresses outside ASCII from clients that ask for it. `size`
    is the largest mail in bytes, `mechanisms` are the login methods.
    """

    def __init__(
        self,
        *,
        security: Literal["none", "starttls", "tls"] = "none",
        ssl_context: ssl.SSLContext | None = None,
        username: str | None = None,
        password: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        if (security == "none") != (ssl_context is None):
            raise ValueError("starttls and tls need an SSL context, none does not")
        self.host, self.port = _HOST, 0
        self.security, self.ssl_context = security, ssl_context
        self.username, self.password = username, password
        self.clock = clock or Clock()
        self.mails: list[Mail] = []
        self.sessions = 0
        self.refuse: dict[str, str] = {}
        self.refuse_sender: str | None = None
        self.greeting: str | None = None
        self.data_replies: deque[str] = deque()
        self.always_reply: str | None = None
        self.drop: deque[Literal["before", "after", "connect"]] = deque()
        self.hang = 0.0
        self.down = False
        self.faults = Replies()
        self.smtputf8 = True
        self.size = _SIZE
        self.mechanisms: tuple[str, ...] = _MECHANISMS
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start to listen; after a stop, on the same port."""
        loop = asyncio.get_running_loop()
        implicit = self.ssl_context if self.security == "tls" else None
        self._server = await loop.create_server(self._protocol, _HOST, self.port, ssl=implicit)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and close every connection, even a hanging one; mails are kept."""
        if self._server is not None:
            self._server.close()
            self._server = None
        ended = [connection.hang_up() for connection in self._connections]
        await asyncio.gather(*(task for task in ended if task is not None), return_exceptions=True)

    @property
    def connected(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def pause(self) -> None:
        """Close all connections and refuse new ones until `resume`."""
        await self.stop()

    async def resume(self) -> None:
        """Listen again, on the same port."""
        await self.start()

    def _protocol(self) -> asyncio.BaseProtocol:
        self.sessions += 1
        if self.drop and self.drop[0] == "connect":
            self.drop.popleft()
            return _Rejection(None)
        if self.down or self.greeting:
            return _Rejection(self.greeting or f"421 4.3.2 {_NAME} is not available")
        return _Connection(self, self._connections)

    async def handle_EHLO(  # noqa: N802 - the name is aiosmtpd's
        self, _: SMTP, session: Session, __: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        """Answer EHLO, and offer AUTH only if there is a password."""
        session.host_name = hostname
        hidden = [] if self.username else ["250-AUTH"]
        hidden += [] if self.smtputf8 else ["250-SMTPUTF8"]
        return [reply for reply in replies if not reply.startswith(tuple(hidden))]

    async def handle_MAIL(  # noqa: N802 - the name is aiosmtpd's
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer MAIL."""
        if self.refuse_sender:
            return self.refuse_sender
        if envelope.smtp_utf8 and not self.smtputf8:
            return "555 5.5.4 SMTPUTF8 is not supported"
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 The address needs SMTPUTF8"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        """Answer RCPT."""
        if address in self.refuse:
            return self.refuse[address]
        if not address.isascii() and not envelope.smtp_utf8:
            return "553 5.6.7 The address needs SMTPUTF8"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, _: Session, envelope: Envelope
    ) -> str | bytes:
        """Answer the end of DATA, and keep the mail unless a fault prevents it."""
        fault = self._end_of_data(envelope)
        await asyncio.sleep(fault.delay)
        if fault.drop == "before":
            _abort(server)
        reply = fault.reply_to(".")
        if fault.works:
            self.mails.append(self._mail(envelope))
        await asyncio.sleep(self.hang)
        if fault.drop == "after":
            _abort(server)
        return reply or f"250 2.0.0 Ok: queued as {len(self.mails)}"

    def _end_of_data(self, envelope: Envelope) -> Reply:
        drop = self.drop.popleft() if self.drop and self.drop[0] != "connect" else None
        reply = self.data_replies.popleft() if self.data_replies else self.always_reply
        if drop or reply is not None:
            ending: Literal["before", "after"] | None = (
                "before" if drop == "before" else "after" if drop else None
            )
            return Reply(None if reply is None else reply.encode(), drop=ending)
        content = (envelope.original_content or b"").decode("latin-1")
        return self.faults.take(".", "\n".join([*envelope.rcpt_tos, content])) or Reply()

    def authenticate(
        self, _: SMTP, __: Session, ___: Envelope, ____: str, login: LoginPassword
    ) -> AuthResult:
        """Compare a login with the username and password."""
        right = f"{self.username}\0{self.password}".encode()
        given = b"\0".join((login.login, login.password))
        # aiosmtpd sends the client a reply only to a failure that is not handled.
        return AuthResult(success=hmac.compare_digest(right, given), handled=False)

    def _mail(self, envelope: Envelope) -> Mail:
        raw = envelope.original_content or b""
        message = message_from_bytes(raw, policy=policy.default)
        return Mail(
            envelope.mail_from or "", tuple(envelope.rcpt_tos), message, raw, self.clock.monotonic()
        )


class _Connection(SMTP):
    """The session of one client."""

    def __init__(self, mailbox: Mailbox, connections: set["_Connection"]) -> None:
        starttls = mailbox.security == "starttls"
        super().__init__(
            mailbox,
            hostname=_NAME,
            ident="ESMTP",
            enable_SMTPUTF8=True,
            data_size_limit=mailbox.size,
            tls_context=mailbox.ssl_context if starttls else None,
            require_starttls=starttls,
            auth_require_tls=starttls,
            auth_exclude_mechanism=set(_MECHANISMS) - set(mailbox.mechanisms),
            authenticator=mailbox.authenticate,
            loop=asyncio.get_running_loop(),
        )
        # As an argument, aiosmtpd warns of it unless it starts TLS itself.
        self._auth_required = mailbox.username is not None
        self._smtp_methods = {
            name: self._faulty(name, method) for name, method in self._smtp_methods.items()
        }
        self._faults = mailbox.faults
        self._instead: bytes | None = None
        self._silent = self._once = False
        self._connections = connections
        self._connections.add(self)

    def hang_up(self) -> asyncio.Task[None] | None:
        """End the session, and return the task to wait for."""
        _abort_transport(self)
        if self._handler_coroutine is not None:
            self._handler_coroutine.cancel()
        return self._handler_coroutine

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(error)

    async def _handle_client(self) -> None:
        # A client may leave at any point.
        with suppress(ConnectionError):
            if fault := self._faults.take("CONNECT", ""):
                await asyncio.sleep(fault.delay)
                if fault.drop:
                    _abort(self)
                self._instead = fault.raw
            await super()._handle_client()

    def _faulty(self, name: str, method: _Command) -> _Command:
        """Return a command that applies its faults."""

        @functools.wraps(method)
        async def command(argument: str | None) -> None:
            line = f"{name} {argument or ''}".strip()
            fault = self._faults.take(name, line) or Reply()
            await asyncio.sleep(fault.delay)
            self._instead, self._silent = fault.reply_to(line), fault.drop is not None
            # One reply replaces all lines of EHLO's; after 354 another reply follows.
            self._once = name == "EHLO"
            waits = name == "DATA" and fault.drop  # the client waits for a reply before the mail
            if fault.works and not waits:
                await method(argument)
            elif not fault.drop:
                await self.push("")
            self._instead, self._silent = None, False
            if fault.drop:
                _abort(self)

        return command

    async def push(self, status: str | bytes) -> None:
        """Send a reply, or the reply of a fault instead."""
        if self._silent:
            return
        if self._instead is not None:
            status, self._instead, self._silent = self._instead, None, self._once
        await super().push(status.encode() if isinstance(status, str) else status)


class _Rejection(asyncio.Protocol):
    """Close a connection, after a reply if there is one."""

    def __init__(self, reply: str | None) -> None:
        self._reply = reply

    def connection_made(self, transport: Any) -> None:
        if self._reply is None:
            transport.abort()
        else:
            transport.write(f"{self._reply}\r\n".encode())
            transport.close()


def _abort_transport(server: SMTP) -> None:
    transport: Any = server.transport
    if transport is not None:
        transport.abort()


def _abort(server: SMTP) -> None:
    _abort_transport(server)
    raise ConnectionResetError
