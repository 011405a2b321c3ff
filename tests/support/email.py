"""A notifier that sends mail to the embedded mailbox."""

import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from alerter.config import Smtp
from alerter.demo.mailbox import Mailbox
from alerter.errors import DeliveryError
from alerter.models import Content, Form, Message
from alerter.notify import email as email_module
from alerter.notify.email import EmailNotifier
from tests.support.values import SECRETS

ANN, BOB, CEM = "ann@example.com", "bob@example.com", "cem@example.com"
PASSWORD = SECRETS["SMTP_PASSWORD"]
CONTENT = Content(
    "★☆☆☆☆ Stale 🥐 (Grüße)", "Sehr trocken 🥐\n.\nund … zäh", "<p>Sehr <b>trocken</b> 🥐</p>"
)
Security = Literal["none", "starttls", "tls"]
Open = Callable[..., EmailNotifier]


def message(number: int = 1, *to_left: str, **fields: Any) -> Message:
    """A message in hand; what it is about stands in its content."""
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    return Message(
        number, f"{number:032x}@example.com", "owner", Form.ALERT, (), at, to_left=to_left, **fields
    )


def smtp(mailbox: Mailbox, security: Security = "none", password: str = PASSWORD) -> Smtp:
    return Smtp.model_construct(
        host=mailbox.host,
        port=mailbox.port,
        security=security,
        username="alerts",
        password=SecretStr(password),
        sender="Review alerts <alerts@example.com>",
    )


@pytest.fixture
async def open_notifier() -> AsyncIterator[Open]:
    """Makes notifiers, and says goodbye for them in the end."""
    async with AsyncExitStack() as stack:

        def make(
            mailbox: Mailbox, *addresses: str, security: Security = "none", password: str = PASSWORD
        ) -> EmailNotifier:
            notifier = EmailNotifier(
                smtp(mailbox, security, password), "owner", addresses or (ANN, BOB)
            )
            stack.push_async_callback(notifier.close)
            return notifier

        yield make


@pytest.fixture
def notifier(open_notifier: Open, mailbox: Mailbox) -> EmailNotifier:
    return open_notifier(mailbox)


async def error_of(
    notifier: EmailNotifier, sent: Message | None = None, content: Content = CONTENT
) -> DeliveryError:
    """What sending fails with; neither an address nor the password stands anywhere in it."""
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(sent or message(), content)
    for secret in (ANN, BOB, CEM, "alerts@example.com", PASSWORD):
        assert secret not in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.fixture
def fresh_trust() -> Iterator[None]:
    """The TLS context is made once for a process: tests of trust need one of their own."""
    email_module._tls_context.cache_clear()
    yield
    email_module._tls_context.cache_clear()


class ListeningMailbox(Mailbox):
    """A mailbox that remembers who tried to log in, over TLS or in clear."""

    def __init__(self, **options: Any) -> None:
        super().__init__(username="alerts", password=PASSWORD, **options)
        self.logins: list[bool] = []

    def authenticate(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        mechanism: str,
        login: LoginPassword,
    ) -> AuthResult:
        self.logins.append(session.ssl is not None)
        return super().authenticate(server, session, envelope, mechanism, login)
