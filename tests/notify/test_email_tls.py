"""Mail over TLS: whom it trusts, and what follows where it cannot."""

import ssl
from pathlib import Path
from typing import Literal

import pytest
import trustme

from alerter.demo.mailbox import Mailbox
from alerter.errors import ErrorKind
from tests.support.email import (
    CONTENT,
    ListeningMailbox,
    Open,
    error_of,
    fresh_trust,
    message,
    notifier,
    open_notifier,
)

__all__ = ["fresh_trust", "notifier", "open_notifier"]


@pytest.fixture
def trusted(
    authority: trustme.CA, fresh_trust: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_goes_out_over_tls(
    security: Literal["starttls", "tls"],
    server_context: ssl.SSLContext,
    trusted: None,
    open_notifier: Open,
) -> None:
    async with ListeningMailbox(security=security, ssl_context=server_context) as mailbox:
        notifier = open_notifier(mailbox, security=security)
        await notifier.send(message(), CONTENT)
        await notifier.send(message(2), CONTENT)
        await notifier.close()
    assert [mail.subject for mail in mailbox.mails] == [CONTENT.subject] * 2
    assert mailbox.sessions == 1
    assert len(mailbox.logins) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_cannot_be_trusted_is_a_fault_of_the_service(
    security: Literal["starttls", "tls"],
    server_context: ssl.SSLContext,
    fresh_trust: None,
    open_notifier: Open,
) -> None:
    async with ListeningMailbox(security=security, ssl_context=server_context) as mailbox:
        error = await error_of(open_notifier(mailbox, security=security))
    assert (error.kind, error.in_doubt) == (ErrorKind.SERVICE, False)
    assert "cannot be trusted" in str(error)
    assert (mailbox.mails, mailbox.logins) == ([], [])


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_for_another_name_is_a_fault_of_the_service(
    security: Literal["starttls", "tls"], authority: trustme.CA, trusted: None, open_notifier: Open
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.example.org").configure_cert(context)
    async with ListeningMailbox(security=security, ssl_context=context) as mailbox:
        error = await error_of(open_notifier(mailbox, security=security))
    assert error.kind is ErrorKind.SERVICE
    assert (mailbox.mails, mailbox.logins) == ([], [])


async def test_a_server_without_starttls_is_a_fault_of_the_service(
    fresh_trust: None, open_notifier: Open
) -> None:
    async with ListeningMailbox() as mailbox:
        error = await error_of(open_notifier(mailbox, security="starttls"))
    assert error.kind is ErrorKind.SERVICE
    assert "STARTTLS" in str(error)


async def test_a_server_that_takes_no_logins_is_a_fault_of_the_service(open_notifier: Open) -> None:
    async with Mailbox() as mailbox:
        error = await error_of(open_notifier(mailbox))
    assert error.kind is ErrorKind.SERVICE
    assert mailbox.mails == []


async def test_nothing_goes_out_in_clear_where_starttls_is_not_offered(
    fresh_trust: None, open_notifier: Open
) -> None:
    async with ListeningMailbox() as mailbox:
        error = await error_of(open_notifier(mailbox, security="starttls"))
    assert not error.in_doubt
    assert (mailbox.mails, mailbox.logins) == ([], [])


async def test_tls_on_a_plain_port_is_a_fault_of_the_service(
    fresh_trust: None, open_notifier: Open
) -> None:
    async with ListeningMailbox() as mailbox:
        error = await error_of(open_notifier(mailbox, security="tls"))
    assert (error.kind, error.in_doubt) == (ErrorKind.SERVICE, False)
    assert "`security` and `port`" in str(error)
    assert (mailbox.mails, mailbox.logins) == ([], [])
