"""The notifier for email, by SMTP."""

import asyncio
import socket
import ssl
from binascii import b2a_qp
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from email.header import Header
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from functools import cache, lru_cache

import aiosmtplib
from aiosmtplib import SMTPRecipientRefused

from alerter.config import Smtp
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import AlertKind, Content, Finding, Look, Message, Receipt
from alerter.text import clean_reply

_TIMEOUT = 60.0
# RFC 5321, 4.5.3.2.6: with a shorter timeout, a slow server would receive the mail several times.
_TIMEOUT_OF_DATA = 600.0
# The header line with its name has at most 78 characters: RFC 5322, 2.1.1.
_PLAIN_SUBJECT = 69
# Quoted-printable text never holds "=_", so no line of it is this boundary.
_ALTERNATIVE = b'Content-Type: multipart/alternative; boundary="=_alternative"\r\n'
_BOUNDARY, _END = b"\r\n--=_alternative\r\n", b"\r\n--=_alternative--\r\n"
_PART_HEADERS = (
    b'Content-Type: text/%b; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
)


class EmailNotifier:
    """Sends to the addresses of one receiver, over one connection until `close`."""

    # A mail in doubt is sent again under its Message-ID, as no mailbox can be searched for it.
    can_look = False
    keeps_uid = True
    can_check = True
    settle_after = timedelta(0)

    def __init__(self, smtp: Smtp, receiver: str, addresses: Sequence[str]) -> None:
        self._smtp = smtp
        self._receiver = receiver
        self._addresses = tuple(addresses)
        self._secrets = (smtp.password.get_secret_value(),) if smtp.password else ()
        self._sender = parseaddr(smtp.sender)[1]
        self._client: aiosmtplib.SMTP | None = None
        # StateFailure may send while the receiver's worker does.
        self._lock = asyncio.Lock()
        self.domain = self._sender.rpartition("@")[2]

    async def prepare(self) -> None:
        """Do nothing: an address is known."""

    async def send(self, message: Message, content: Content) -> Receipt:
        """Send to the addresses that have not accepted it yet; raise DeliveryError."""
        try:
            mail = build_mail(self._smtp.sender, self._addresses, message, content)
        except ValueError as error:
            raise DeliveryError(f"the mail cannot be built: {error}", ErrorKind.MESSAGE) from error
        left = [address for address in message.to_left if address in self._addresses]
        if message.to_left and not left:
            return Receipt("the addresses that had not accepted it are no longer in the config")
        async with self._lock:
            try:
                return await self._send(mail, left or self._addresses, message)
            except (aiosmtplib.SMTPException, OSError) as error:
                self._disconnect()
                raise _delivery_error(error, self._secrets) from error
            except BaseException:  # a session that was interrupted cannot be used for the next mail
                self._disconnect()
                raise

    async def update(self, message: Message, content: Content) -> None:  # noqa: ARG002 - the other notifier can
        """Raise DeliveryError: a mail that was sent cannot be changed."""
        raise DeliveryError("a mail that was sent cannot be changed", ErrorKind.MESSAGE)

    async def delete(self, message: Message) -> None:  # noqa: ARG002 - the other notifier can
        """Raise DeliveryError: a mail that was sent cannot be deleted."""
        raise DeliveryError("a mail that was sent cannot be deleted", ErrorKind.MESSAGE)

    async def look(self, message: Message) -> Look:  # noqa: ARG002 - the other notifier can look
        """Return that a mailbox cannot be searched."""
        return Look(blind=True)

    def service_time(self, now: datetime) -> datetime | None:  # noqa: ARG002 - Slack's is known
        """Return None: the server's clock is unknown."""
        return None

    async def check(self) -> list[Finding]:
        """Check that the server accepts the sender and each address, without sending."""
        subject = f"receiver {self._receiver}"
        try:
            client = await self._connected()
            await client.mail(self._sender)
            refused = await _send_recipients(client, self._addresses)
            await client.rset()
        except (aiosmtplib.SMTPException, OSError) as error:
            self._disconnect()
            fault = _delivery_error(error, self._secrets)
            return [
                Finding(
                    ok=False, subject=subject, text=f"email: {fault}; {self._remedy(error, fault)}"
                )
            ]
        findings = [
            Finding(
                ok=False,
                subject=subject,
                text=f"email: address {self._addresses.index(each.recipient) + 1} of"
                f" {len(self._addresses)} is refused: {self._answer(each.code, each.message)}; "
                + ("correct it in the config" if each.code >= 500 else "try again later"),
            )
            for each in refused
        ]
        return findings or [
            Finding(ok=True, subject=subject, text=f"email: {self._smtp.host} takes mail for it")
        ]

    def _remedy(self, error: Exception, fault: DeliveryError) -> str:
        if fault.kind is ErrorKind.SERVICE:
            return "check the server, port, security, login and sender ([smtp] in the config)"
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return "try again later"
        return f"check that {self._smtp.host}:{self._smtp.port} is right, or try again later"

    async def close(self) -> None:
        """Close the connection to the server."""
        async with self._lock:
            if self._client is not None and self._client.is_connected:
                with suppress(aiosmtplib.SMTPException, OSError):
                    await self._client.quit()
            self._disconnect()

    async def _send(self, mail: bytes, addresses: Sequence[str], message: Message) -> Receipt:
        client = await self._connected()
        await client.mail(
            self._sender,
            options=[f"size={len(mail)}"] if client.supports_extension("size") else None,
        )
        refused = await _send_recipients(client, addresses)
        later = tuple(each.recipient for each in refused if each.code < 500)
        if len(refused) == len(addresses):
            return await self._handle_all_refused(client, refused, later, message)
        try:
            response = await client.data(mail, timeout=_TIMEOUT_OF_DATA)
        except aiosmtplib.SMTPDataError:
            raise
        except (aiosmtplib.SMTPException, OSError) as error:
            text = "the connection was lost before the server said whether it has the mail"
            raise DeliveryError(text, ErrorKind.TRANSIENT, in_doubt=True) from error
        return Receipt(
            self._answer(response.code, response.message),
            to_left=later,
            refused=len(refused) - len(later),
        )

    async def _handle_all_refused(
        self,
        client: aiosmtplib.SMTP,
        refused: list[SMTPRecipientRefused],
        later: tuple[str, ...],
        message: Message,
    ) -> Receipt:
        said = self._answer(refused[0].code, refused[0].message)
        if later:
            raise DeliveryError(f"no address is accepted for now: {said}", ErrorKind.TRANSIENT)
        if message.to_left:
            await client.rset()
            return Receipt(said, refused=len(refused))
        raise DeliveryError(f"every address is refused: {said}", ErrorKind.RECEIVER)

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is None or not self._client.is_connected:
            smtp = self._smtp
            self._client = aiosmtplib.SMTP(
                hostname=smtp.host,
                port=smtp.port,
                use_tls=smtp.security == "tls",
                # Never None: that would send in clear text to a server without TLS.
                start_tls=smtp.security == "starttls",
                tls_context=None if smtp.security == "none" else _tls_context(),
                local_hostname=socket.gethostname(),
                timeout=_TIMEOUT,
            )
            await self._client.connect()
            if smtp.username and smtp.password:
                await self._client.login(smtp.username, smtp.password.get_secret_value())
        return self._client

    def _answer(self, code: int, text: str) -> str:
        return _reply(code, text, self._secrets)

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def build_mail(sender: str, addresses: Iterable[str], message: Message, content: Content) -> bytes:
    """Return a message as a mail in text and HTML; its headers suppress automatic replies.

    Raise ValueError for what does not fit into a mail.
    """
    domain = message.uid.rpartition("@")[2]
    headers = [
        _folded("From", sender),
        _folded("To", ", ".join(addresses)),
        f"Subject: {_encoded(_subject(message, content))}\r\n",
        f"Date: {format_datetime(message.attempted_at)}\r\n",
        f"Message-ID: <{message.uid}>\r\n",
    ]
    if message.thread:
        headers.append(f"In-Reply-To: <{message.thread.uid}>\r\n")
        headers.append(f"References: <{message.thread.uid}>\r\n")
    headers += [
        "Auto-Submitted: auto-generated\r\n",  # RFC 3834
        "X-Auto-Response-Suppress: All\r\n",
        _folded("List-Id", f"Review alerts <alerter.{domain}>"),
        "MIME-Version: 1.0\r\n",
    ]
    return "".join(headers).encode("ascii") + _body(content)


# Parsed and folded once, as they are equal in many mails; none holds a review's text.
@lru_cache(maxsize=256)
def _folded(name: str, value: str) -> str:
    """Return a header with addresses or a name; raise ValueError for line ends."""
    folded: str = SMTP_POLICY.fold(*SMTP_POLICY.header_store_parse(name, value))
    return folded


def _body(content: Content) -> bytes:
    """Return the text, and the HTML if there is any, after the headers of their own."""
    text = _part("plain", content.text)
    if not content.html:
        return text
    html = _part("html", content.html)
    return b"".join((_ALTERNATIVE, _BOUNDARY, text, _BOUNDARY, html, _END))


def _part(subtype: str, text: str) -> bytes:
    """Return a text in seven bits, so that no server has to convert it, after its headers."""
    lines = b"\r\n".join(text.encode().splitlines())
    return _PART_HEADERS % subtype.encode() + b2a_qp(lines + b"\r\n")


def _subject(message: Message, content: Content) -> str:
    """Return the subject: a closing replies to the first mail, any other alert has its own."""
    if (
        message.thread
        and message.thread.subject
        and message.entries[0].alert.kind is AlertKind.CLOSED
    ):
        return f"Re: {message.thread.subject}"
    return content.subject


def _encoded(subject: str) -> str:
    """Return a subject as a header: folded, in encoded words (RFC 2047) unless short and plain.

    The email package would decode text of a customer that looks like an encoded word, line ends
    included; and its folding loses spaces and splits characters. Raise ValueError for line ends.
    """
    if "".join(subject.splitlines()) != subject:
        raise ValueError("a subject is one line")
    if (
        subject.isascii()
        and subject.isprintable()
        and "=?" not in subject
        and len(subject) <= _PLAIN_SUBJECT
    ):
        return subject
    return Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")


async def _send_recipients(
    client: aiosmtplib.SMTP, addresses: Sequence[str]
) -> list[SMTPRecipientRefused]:
    refused = []
    for address in addresses:
        try:
            await client.rcpt(address)
        except SMTPRecipientRefused as error:
            refused.append(error)
    return refused


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the context of all connections: reading the system's authorities takes 30 ms."""
    return ssl.create_default_context()


def _delivery_error(error: Exception, secrets: Iterable[str]) -> DeliveryError:
    """Return the error for a failure before the end of DATA: the mail was not accepted."""
    if (problem := _tls_problem(error)) is not None:
        return DeliveryError(f"the mail server cannot be trusted: {problem}", ErrorKind.SERVICE)
    # Raised for an extension that the server lacks; the subclasses have other causes.
    if type(error) in (aiosmtplib.SMTPNotSupported, aiosmtplib.SMTPException):
        said = clean_reply(error, secrets=secrets)
        return DeliveryError(
            f"the mail server does not offer what `security` or the login needs: {said}",
            ErrorKind.SERVICE,
        )
    if not isinstance(error, aiosmtplib.SMTPResponseException):
        return DeliveryError(
            f"the mail server cannot be reached ({_name(error)})", ErrorKind.TRANSIENT
        )
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        # A server may repeat the password, so nothing of its answer is kept.
        said = f"{error.code} to the login"
    else:
        said = _reply(error.code, error.message, secrets)
    if error.code < 500:
        return DeliveryError(f"the mail server refuses for now: {said}", ErrorKind.TRANSIENT)
    if isinstance(error, aiosmtplib.SMTPDataError) or error.code == 552:
        return DeliveryError(f"the mail server refuses this mail: {said}", ErrorKind.MESSAGE)
    return DeliveryError(f"the mail server refuses us: {said}", ErrorKind.SERVICE)


def _tls_problem(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return "it does not speak TLS on this port; check `security` and `port`"
        error = error.__cause__
    return None


def _name(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(getattr(cause, "strerror", None) or type(cause).__name__)


def _reply(code: int, text: str, secrets: Iterable[str]) -> str:
    return f"{code} {clean_reply(text, secrets=secrets)}"
