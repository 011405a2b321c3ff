"""Single commands to the mailbox are answered with anything, late, or not at all."""

import asyncio
import base64
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest

from alerter.demo.mailbox import Mailbox, Reply
from tests.support.waiting import HANG, until

COMMANDS = ["EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as mailbox:
        yield mailbox


def mail(subject: str = "Hello") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Alerts <alerts@example.com>"
    message["To"] = "ann@example.com, bob@example.com"
    message["Subject"] = subject
    message["Message-ID"] = f"<{subject}@example.com>"
    message.set_content("Plain")
    return message


def client(mailbox: Mailbox, **options: Any) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname=mailbox.host, port=mailbox.port, timeout=HANG, start_tls=False, **options
    )


async def send(mailbox: Mailbox, subject: str = "Hello", **options: Any) -> Any:
    async with client(mailbox, **options) as smtp:
        return await smtp.send_message(mail(subject))


async def conversation(mailbox: Mailbox) -> dict[str, bytes]:
    """Say each command to the mailbox, and return the first line that came back."""
    reader, writer = await asyncio.open_connection(mailbox.host, mailbox.port)
    lines = {"CONNECT": await reader.readline()}
    said = [
        "EHLO me",
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<b@example.com>",
        "DATA",
        ".",
        "NOOP",
        "RSET",
        "QUIT",
    ]
    for line in said:
        writer.write(f"{line}\r\n".encode())
        name = line.split()[0]
        lines[name] = (await reader.readline()).partition(b": queued")[0]
        while (
            name == "EHLO" and lines[name][3:4] == b"-" and (await reader.readline())[3:4] == b"-"
        ):
            pass
    writer.close()
    return lines


@pytest.mark.parametrize(
    "command", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", ".", "NOOP", "RSET", "QUIT"]
)
async def test_any_command_is_answered_with_any_bytes(mailbox: Mailbox, command: str) -> None:
    usual = await conversation(mailbox)
    raw = usual[command][:3] + b" caf\xe9 \x1b[2J \xff"
    mailbox.faults.add(command, Reply(raw))
    assert await conversation(mailbox) == usual | {command: raw + b"\r\n"}
    assert await conversation(mailbox) == usual


async def test_a_mail_whose_250_is_not_utf8_is_kept(mailbox: Mailbox) -> None:
    mailbox.faults.add(".", Reply(b"250 2.0.0 re\xe7u \xff"))
    await send(mailbox)
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [("MAIL", 452), ("MAIL", 550), ("RCPT", 451), ("DATA", 451), ("DATA", 554), (".", 552)],
)
async def test_a_refused_command_is_not_carried_out(
    mailbox: Mailbox, command: str, code: int
) -> None:
    mailbox.faults.always(command, Reply(f"{code}-one\r\n{code} two".encode()))
    with pytest.raises(aiosmtplib.SMTPException) as refused:
        await send(mailbox)
    recipients = getattr(refused.value, "recipients", [refused.value])
    assert {(each.code, each.message) for each in recipients} == {(code, "one\ntwo")}
    assert mailbox.mails == []
    mailbox.faults.clear(command)
    await send(mailbox)
    assert len(mailbox.mails) == 1


async def test_a_reply_may_be_very_long(mailbox: Mailbox) -> None:
    lines = b"\r\n".join([b"250-" + b"x" * 500] * 60 + [b"250 end"])
    mailbox.faults.add(".", Reply(lines))
    _, answer = await send(mailbox)
    assert len(answer) > 30_000


async def test_one_address_or_one_mail_is_refused(mailbox: Mailbox) -> None:
    mailbox.faults.always("RCPT", Reply(b"550 5.1.1 gone", only="bob@"))
    mailbox.faults.always(".", Reply(b"554 5.7.1 not this one", only="<bad@example.com>"))
    refused, _ = await send(mailbox, "good")
    assert list(refused) == ["bob@example.com"]
    with pytest.raises(aiosmtplib.SMTPDataError):
        await send(mailbox, "bad")
    assert [each.subject for each in mailbox.mails] == ["good"]


async def test_a_refused_login_may_echo_the_password() -> None:
    async with Mailbox(username="alerts", password="s3cret") as mailbox:
        mailbox.mechanisms = ("PLAIN",)
        mailbox.faults.always("AUTH", Reply(b"535 5.7.8 rejected:", echo=True))
        with pytest.raises(aiosmtplib.SMTPAuthenticationError) as denied:
            await send(mailbox, username="alerts", password="s3cret")
        secret = base64.b64encode(b"\0alerts\0s3cret").decode()
        assert denied.value.message == f"5.7.8 rejected: AUTH PLAIN {secret}"


@pytest.mark.parametrize("drop", ["before", "after"])
async def test_connections_are_dropped_for_as_long_as_asked(mailbox: Mailbox, drop: Any) -> None:
    mailbox.faults.add(".", *[Reply(drop=drop)] * 3)
    for _ in range(3):
        with pytest.raises((aiosmtplib.SMTPException, ConnectionError)):
            await send(mailbox)
    await send(mailbox)
    assert len(mailbox.mails) == (4 if drop == "after" else 1)
    for command in ["CONNECT", *COMMANDS[:-1]]:
        mailbox.faults.always(command, Reply(drop=drop))
        for _ in range(2):
            with pytest.raises((aiosmtplib.SMTPException, ConnectionError)):
                await send(mailbox)
        mailbox.faults.clear()
    await send(mailbox)


@pytest.mark.parametrize("command", ["CONNECT", *COMMANDS[:-1]])
async def test_any_command_may_hang(mailbox: Mailbox, command: str) -> None:
    mailbox.faults.add(command, Reply(delay=10 * HANG))
    sending = asyncio.create_task(send(mailbox))
    await until(lambda: not any(mailbox.faults._once.values()))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not sending.done()
    sending.cancel()
    assert mailbox.mails == []
    await send(mailbox)


async def test_addresses_beyond_ascii_need_a_server_that_takes_them(mailbox: Mailbox) -> None:
    mailbox.smtputf8 = False
    async with client(mailbox) as smtp:
        await smtp.ehlo()
        assert not smtp.supports_extension("smtputf8")
        with pytest.raises(aiosmtplib.SMTPSenderRefused):
            await smtp.mail("a@example.com", options=["SMTPUTF8"], encoding="utf-8")
        with pytest.raises(aiosmtplib.SMTPSenderRefused):
            await smtp.mail("jörg@example.com", encoding="utf-8")
        await smtp.mail("a@example.com")
        with pytest.raises(aiosmtplib.SMTPRecipientRefused):
            await smtp.rcpt("jörg@example.com", encoding="utf-8")
        assert (await smtp.rcpt("b@xn--bcher-kva.example")).code == 250


async def test_a_mail_beyond_the_size_limit_is_refused(mailbox: Mailbox) -> None:
    mailbox.size = 100
    async with client(mailbox) as smtp:
        await smtp.ehlo()
        assert smtp.esmtp_extensions["size"] == "100"
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
            await smtp.mail("a@example.com", options=["SIZE=101"])
        assert refused.value.code == 552
        await smtp.mail("a@example.com")
        await smtp.rcpt("b@example.com")
        with pytest.raises(aiosmtplib.SMTPDataError) as too_large:
            await smtp.data(b"x" * 120)
        assert too_large.value.code == 552
    assert mailbox.mails == []
