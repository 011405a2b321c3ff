"""The mailbox speaks SMTP as strictly as a real server, and fails as it is told to."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any, Literal

import aiosmtplib
import pytest
import trustme

from alerter.demo.mailbox import Mailbox
from tests.support.waiting import HANG, until


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as mailbox:
        yield mailbox


def mail(subject: str = "Hello") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Alerts <alerts@example.com>"
    message["To"] = "ann@example.com, bob@example.com"
    message["Subject"] = subject
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Plain ä\n.\nend")
    message.add_alternative("<p>Rich ä</p>", subtype="html")
    return message


def client(mailbox: Mailbox, **options: Any) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=mailbox.host, port=mailbox.port, timeout=HANG, **{"start_tls": False, **options}
    )


async def send(mailbox: Mailbox, **options: Any) -> dict[str, aiosmtplib.SMTPResponse]:
    async with client(mailbox, **options) as smtp:
        refused, _ = await smtp.send_message(mail())
        return refused


async def test_a_mail_is_kept_as_it_came(mailbox: Mailbox) -> None:
    async with client(mailbox) as smtp:
        await smtp.ehlo()
        assert smtp.supports_extension("smtputf8")
        assert smtp.supports_extension("size")
        assert not smtp.supports_extension("auth")
        refused, answer = await smtp.send_message(mail("Grüße ★"))
    assert refused == {}
    assert answer == "2.0.0 Ok: queued as 1"
    (kept,) = mailbox.mails
    assert kept.sender == "alerts@example.com"
    assert kept.recipients == ("ann@example.com", "bob@example.com")
    assert (kept.subject, kept.message_id) == ("Grüße ★", "<1@example.com>")
    assert kept.text == "Plain ä\n.\nend\n"
    assert kept.html.strip() == "<p>Rich ä</p>"
    assert b"Message-ID: <1@example.com>\r\n" in kept.raw
    assert mailbox.sessions == 1


async def test_a_mail_without_parts_or_headers_is_kept_too(mailbox: Mailbox) -> None:
    async with client(mailbox) as smtp:
        await smtp.sendmail("a@example.com", ["b@example.com"], b"\r\nbody\r\n")
        await smtp.sendmail(
            "a@example.com", ["b@example.com"], b"Content-Type: image/png\r\n\r\nx\r\n"
        )
    assert [(kept.subject, kept.message_id, kept.html) for kept in mailbox.mails] == [
        ("", "", "")
    ] * 2
    assert [kept.text for kept in mailbox.mails] == ["body\n", ""]
    assert mailbox.sessions == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_mail_comes_in_over_tls_with_a_password(
    security: Literal["starttls", "tls"], server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    login: dict[str, Any] = {"username": "alerts", "password": "schlüssel"}
    async with Mailbox(security=security, ssl_context=server_context, **login) as mailbox:
        secure: dict[str, Any] = {
            "tls_context": trusting,
            security.replace("starttls", "start_tls"): True,
        }
        if security == "tls":
            secure = {"tls_context": trusting, "use_tls": True}
        assert await send(mailbox, **secure, **login) == {}
        assert len(mailbox.mails) == 1
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await send(mailbox, **secure)
        assert refused.value.code == 530
        for wrong in ({"password": "wrong"}, {"username": "wrong"}):
            with pytest.raises(aiosmtplib.SMTPAuthenticationError) as denied:
                await send(mailbox, **secure, **{**login, **wrong})
            assert denied.value.code == 535
        assert len(mailbox.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_client_that_does_not_trust_the_certificate_leaves_no_mess(
    security: Literal["starttls", "tls"],
    server_context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secure: dict[str, Any] = {"start_tls": True} if security == "starttls" else {"use_tls": True}
    suspicious = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with Mailbox(security=security, ssl_context=server_context) as mailbox:
        with pytest.raises((ssl.SSLCertVerificationError, aiosmtplib.SMTPConnectError)) as refused:
            await send(mailbox, tls_context=suspicious, **secure)
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.value)
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_starttls_is_asked_for_before_anything_else(server_context: ssl.SSLContext) -> None:
    async with Mailbox(security="starttls", ssl_context=server_context) as mailbox:
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await send(mailbox)
        assert (refused.value.code, "STARTTLS" in refused.value.message) == (530, True)


async def test_a_password_works_in_the_clear_where_there_is_no_tls() -> None:
    async with Mailbox(username="alerts", password="secret") as mailbox:
        assert await send(mailbox, username="alerts", password="secret") == {}
        with pytest.raises(aiosmtplib.SMTPSenderRefused):
            await send(mailbox)


def test_tls_needs_a_context() -> None:
    with pytest.raises(ValueError, match="SSL context"):
        Mailbox(security="tls")


async def test_a_refused_address_is_left_out(mailbox: Mailbox) -> None:
    mailbox.refuse["bob@example.com"] = "550 5.1.1 no such user"
    refused = await send(mailbox)
    assert {address: response.code for address, response in refused.items()} == {
        "bob@example.com": 550
    }
    assert mailbox.mails[0].recipients == ("ann@example.com",)
    mailbox.refuse["ann@example.com"] = "451 4.2.0 later"
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as everybody:
        await send(mailbox)
    assert [each.code for each in everybody.value.recipients] == [451, 550]
    assert len(mailbox.mails) == 1


async def test_a_refused_sender_is_reported(mailbox: Mailbox) -> None:
    mailbox.refuse_sender = "553 5.7.1 not you"
    with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
        await send(mailbox)
    assert refused.value.code == 553


async def test_an_address_beyond_ascii_has_to_say_so(mailbox: Mailbox) -> None:
    async with client(mailbox) as smtp:
        await smtp.ehlo()
        await smtp.mail("a@example.com", options=["SMTPUTF8"], encoding="utf-8")
        assert (await smtp.rcpt("jörg@example.com", encoding="utf-8")).code == 250
        await smtp.rset()
        await smtp.mail("a@example.com")
        with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refused:
            await smtp.rcpt("jörg@example.com", encoding="utf-8")
        assert refused.value.code == 553


async def test_replies_to_data_are_used_up_in_order_and_their_mails_not_kept(
    mailbox: Mailbox,
) -> None:
    mailbox.data_replies.extend(["451 4.3.0 later", "554 5.7.1 spam"])
    for code in (451, 554):
        with pytest.raises(aiosmtplib.SMTPDataError) as refused:
            await send(mailbox)
        assert refused.value.code == code
    assert mailbox.mails == []
    assert await send(mailbox) == {}
    mailbox.always_reply = "452 4.2.2 full"
    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPDataError):
            await send(mailbox)
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(("drop", "kept"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_connection_dropped_at_the_end_leaves_the_client_in_doubt(
    drop: Any, kept: int, secure: bool, server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    context = server_context if secure else None
    async with Mailbox(security="tls" if secure else "none", ssl_context=context) as mailbox:
        mailbox.drop.append(drop)
        options: dict[str, Any] = {"use_tls": True, "tls_context": trusting} if secure else {}
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionError)):
            await send(mailbox, **options)
        assert len(mailbox.mails) == kept
        assert await send(mailbox, **options) == {}


async def test_a_connection_may_be_dropped_or_refused_at_the_start(mailbox: Mailbox) -> None:
    mailbox.drop.append("connect")
    with pytest.raises(
        (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, ConnectionError)
    ):
        await send(mailbox)
    mailbox.greeting = "554 5.3.2 no mail here"
    with pytest.raises(aiosmtplib.SMTPConnectResponseError) as refused:
        await send(mailbox)
    assert refused.value.code == 554
    mailbox.greeting = None
    mailbox.down = True
    with pytest.raises(aiosmtplib.SMTPConnectResponseError) as refused:
        await send(mailbox)
    assert refused.value.code == 421
    mailbox.down = False
    assert await send(mailbox) == {}
    assert mailbox.sessions == 4


async def test_it_can_be_gone_for_a_while(mailbox: Mailbox) -> None:
    async with client(mailbox) as smtp:
        port = mailbox.port
        await mailbox.pause()
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionError)):
            await smtp.send_message(mail())
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await send(mailbox)
    await mailbox.resume()
    assert mailbox.port == port
    assert await send(mailbox) == {}


async def test_it_stops_at_once_with_clients_connected_and_hanging(
    server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    for security in ("none", "starttls", "tls"):
        context = None if security == "none" else server_context
        options: dict[str, Any] = {
            "none": {},
            "starttls": {"start_tls": True, "tls_context": trusting},
            "tls": {"use_tls": True, "tls_context": trusting},
        }[security]
        async with (
            asyncio.timeout(HANG),
            Mailbox(security=security, ssl_context=context) as mailbox,
        ):
            mailbox.hang = 10 * HANG
            idle = client(mailbox, **options)
            await idle.connect()
            hanging = asyncio.create_task(send(mailbox, **options))
            await until(lambda: mailbox.mails)
        with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionError)):
            await hanging
        idle.close()
        gc.collect()
        assert not [task for task in asyncio.all_tasks() if "_handle_client" in repr(task)]


async def test_many_mails_come_in_over_many_connections(mailbox: Mailbox) -> None:
    async def several(number: int) -> None:
        async with client(mailbox) as smtp:
            for _ in range(20):
                await smtp.sendmail(
                    "a@example.com", ["b@example.com"], f"Subject: {number}\r\n\r\nx\r\n".encode()
                )

    await asyncio.gather(*(several(number) for number in range(10)))
    assert (len(mailbox.mails), mailbox.sessions) == (200, 10)


async def test_a_refusal_whose_connection_is_dropped_keeps_no_mail(mailbox: Mailbox) -> None:
    mailbox.data_replies.append("554 5.7.1 spam")
    mailbox.drop.append("after")
    with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionError)):
        await send(mailbox)
    assert mailbox.mails == []
    assert await send(mailbox) == {}
