"""Mail goes out as it was meant to, and every answer of a mail server means what it should."""

import asyncio
import re
import ssl
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from typing import Any, Literal

import pytest

from alerter.demo.mailbox import Mailbox
from alerter.errors import ErrorKind
from alerter.models import Finding, Thread
from alerter.notify import email as email_module
from alerter.notify.email import EmailNotifier
from tests.support.email import (
    ANN,
    BOB,
    CEM,
    CONTENT,
    PASSWORD,
    ListeningMailbox,
    Open,
    error_of,
    fresh_trust,
    message,
    notifier,
    open_notifier,
)
from tests.support.messages import look_through
from tests.support.waiting import until

__all__ = ["fresh_trust", "notifier", "open_notifier"]


# What goes out


async def test_a_mail_carries_headers_that_keep_machines_from_answering_it(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    receipt = await notifier.send(message(7), CONTENT)
    assert receipt.answer == "250 2.0.0 Ok: queued as 1"
    assert (receipt.to_left, receipt.refused, receipt.slack_ts) == ((), 0, None)
    (mail,) = mailbox.mails
    assert (mail.sender, mail.recipients) == ("alerts@example.com", (ANN, BOB))
    headers = mail.message
    assert headers["From"] == "Review alerts <alerts@example.com>"
    assert headers["To"] == f"{ANN}, {BOB}"
    assert mail.message_id == f"<{7:032x}@example.com>"
    assert headers["Date"].datetime == datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["X-Auto-Response-Suppress"] == "All"
    assert headers["List-Id"] == "Review alerts <alerter.example.com>"
    assert headers["MIME-Version"] == "1.0"


async def test_text_and_html_arrive_in_that_order_and_intact(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    await notifier.send(message(), CONTENT)
    (mail,) = mailbox.mails
    assert [part.get_content_type() for part in mail.message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert mail.text.rstrip("\n") == CONTENT.text
    assert mail.html.rstrip("\n") == CONTENT.html
    assert mail.subject == CONTENT.subject
    assert mail.raw.isascii()
    assert max(len(line) for line in mail.raw.splitlines()) <= 78


async def test_plain_text_goes_out_without_html(notifier: EmailNotifier, mailbox: Mailbox) -> None:
    await notifier.send(message(plain=True), replace(CONTENT, html=""))
    assert mailbox.mails[0].message.get_content_type() == "text/plain"
    assert mailbox.mails[0].text.rstrip("\n") == CONTENT.text


async def test_a_text_of_the_greatest_length_arrives_whole(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    text = "\n".join("ä🥐" * 1500 for _ in range(100))
    await notifier.send(message(), replace(CONTENT, text=text, subject="ä🥐" * 200))
    (mail,) = mailbox.mails
    assert mail.text.rstrip("\n") == text
    assert mail.subject == "ä🥐" * 200
    body = mail.raw.partition(b"\r\n\r\n")[2]
    assert max(len(line) for line in body.splitlines()) <= 76  # RFC 2045, 6.7


async def test_signs_of_the_encoding_arrive_as_they_are(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    text = "=E4=\n--=_alternative\n--=_alternative--\n.\n..\n \n\t\nends \nand\t\n" + "=" * 200
    await notifier.send(message(), replace(CONTENT, text=text, html=f"<pre>{text}</pre>"))
    (mail,) = mailbox.mails
    assert mail.text == f"{text}\n"
    assert mail.html == f"<pre>{text}</pre>\n"


async def test_a_reply_names_its_thread_also_on_a_long_domain(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    uid = f"{1:032x}@{'alerts.' * 9}example.com"
    await notifier.send(message(thread=Thread(1, uid)), CONTENT)
    head = mailbox.mails[0].raw.partition(b"\r\n\r\n")[0].decode()
    assert {f"In-Reply-To: <{uid}>", f"References: <{uid}>"} <= set(head.split("\r\n"))


@pytest.mark.parametrize(
    "subject",
    [
        "📊 Weekly: 8 low-rated reviews · 4 reviews are still open (Corner Bakery, Café)",
        "3 low-rated reviews (" + "Café Zoë, " * 9 + "Zoë)",
        "⚠️ The reviews of " + "Corner Bakery and " * 5 + "Corner Café cannot be read",
        "long and plain " * 9 + "x" * 200,
        "★☆☆☆☆ " + "ÄÖ" * 60,
        "👩‍👩‍👧‍👦 é =?x?= " * 9 + "end",
        "★☆☆☆☆ Box: ‘=?utf-8?q?hello?=’",
        "plain =?utf-8?q?hello?= plain",
        "★ =?utf-8?q?a=0D=0ABcc:_eve=40example.com?= ★",
        "plain =?utf-8?b?YQ0KDQpib2R5?= plain",
    ],
)
async def test_a_subject_arrives_as_it_is_whatever_is_in_it(
    notifier: EmailNotifier, mailbox: Mailbox, subject: str
) -> None:
    await notifier.send(message(), replace(CONTENT, subject=subject))
    (mail,) = mailbox.mails
    assert mail.subject == subject
    assert mail.message["Bcc"] is None
    assert mail.text.rstrip("\n") == CONTENT.text
    assert mail.raw.isascii()
    assert max(len(line) for line in mail.raw.splitlines()) <= 78
    [header] = re.findall(r"\r\nSubject: (.*?)\r\n(?! )", mail.raw.decode(), re.DOTALL)
    for word in header.split():  # each holds whole characters, as RFC 2047 wants it
        if word.startswith("=?"):
            str(make_header(decode_header(word)))


@pytest.mark.parametrize(
    "end",
    ["\r\n", "\n", "\r", "\v", "\x85", "\u2028"],
    ids=["CRLF", "LF", "CR", "vertical tab", "next line", "line separator"],
)
async def test_a_subject_that_would_begin_a_header_is_a_fault_of_the_message(
    notifier: EmailNotifier, mailbox: Mailbox, end: str
) -> None:
    error = await error_of(
        notifier, content=replace(CONTENT, subject=f"Hello{end}Bcc: eve@example.com")
    )
    assert (error.kind, error.in_doubt) == (ErrorKind.MESSAGE, False)
    assert mailbox.mails == []


async def test_control_characters_of_a_subject_do_no_harm(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    await notifier.send(message(), replace(CONTENT, subject="a\x00\x07\x7fb\u202ec"))
    (mail,) = mailbox.mails
    assert mail.message["To"] == f"{ANN}, {BOB}"
    assert mail.text.rstrip("\n") == CONTENT.text


async def test_a_mailbox_cannot_be_searched(notifier: EmailNotifier, mailbox: Mailbox) -> None:
    await notifier.send(message(), CONTENT)
    assert await look_through(notifier, message()) is None


# Connections


async def test_one_connection_serves_a_run_of_mails(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    for number in range(5):
        await notifier.send(message(number), CONTENT)
    assert (len(mailbox.mails), mailbox.sessions) == (5, 1)
    await notifier.close()
    await notifier.send(message(6), CONTENT)
    assert (len(mailbox.mails), mailbox.sessions) == (6, 2)


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    await notifier.send(message(1), CONTENT)
    await mailbox.pause()
    await mailbox.resume()
    while notifier._client and notifier._client.is_connected:
        await asyncio.sleep(0)
    await notifier.send(message(2), CONTENT)
    assert (len(mailbox.mails), mailbox.sessions) == (2, 2)


async def test_closing_twice_or_after_the_server_is_gone_is_no_error(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    await notifier.close()
    await notifier.send(message(), CONTENT)
    await mailbox.pause()
    await notifier.close()
    await notifier.close()


async def test_a_server_that_refuses_one_mail_takes_the_next(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    mailbox.data_replies.append("554 5.7.1 No")
    await error_of(notifier)
    await notifier.send(message(2), CONTENT)
    assert [mail.message_id for mail in mailbox.mails] == [f"<{2:032x}@example.com>"]


# Refusals


async def test_a_wrong_password_is_a_fault_of_the_service(
    mailbox: Mailbox, open_notifier: Open
) -> None:
    wrong = "smtp-wrong-11aa"
    error = await error_of(open_notifier(mailbox, password=wrong))
    assert (error.kind, error.in_doubt) == (ErrorKind.SERVICE, False)
    assert "535" in str(error)
    assert wrong not in "".join(traceback.format_exception(error))
    assert mailbox.mails == []


async def test_a_server_that_refuses_connections_may_be_back_later(
    notifier: EmailNotifier, mailbox: Mailbox
) -> None:
    await mailbox.pause()
    error = await error_of(notifier)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, False)
    await mailbox.resume()
    await notifier.send(message(), CONTENT)
    assert len(mailbox.mails) == 1


Prepare = Callable[[Mailbox], None]


def refusing(code: str, *addresses: str) -> Prepare:
    """RCPT is answered so that the address is quoted, as servers do."""
    return lambda mailbox: mailbox.refuse.update(
        {address: f"{code} 5.0.0 <{address}>: {address} is refused" for address in addresses}
    )


def answering(reply: str) -> Prepare:
    return lambda mailbox: mailbox.data_replies.append(reply)


def dropping(when: Literal["before", "after", "connect"]) -> Prepare:
    return lambda mailbox: mailbox.drop.append(when)


def setting(name: str, value: Any) -> Prepare:
    return lambda mailbox: setattr(mailbox, name, value)


def in_order(*steps: Prepare) -> Prepare:
    def prepare(mailbox: Mailbox) -> None:
        for step in steps:
            step(mailbox)

    return prepare


@pytest.mark.parametrize(
    ("prepare", "kind", "in_doubt", "says"),
    [
        pytest.param(
            setting("down", True), ErrorKind.TRANSIENT, False, "421", id="421 in the greeting"
        ),
        pytest.param(
            setting("greeting", "554 5.7.1 Go away"),
            ErrorKind.SERVICE,
            False,
            "554",
            id="554 in the greeting",
        ),
        pytest.param(
            dropping("connect"),
            ErrorKind.TRANSIENT,
            False,
            "cannot be reached",
            id="hung up at once",
        ),
        pytest.param(
            setting("refuse_sender", "550 5.7.1 <alerts@example.com>: not yours"),
            ErrorKind.SERVICE,
            False,
            "550",
            id="550 sender",
        ),
        pytest.param(
            setting("refuse_sender", "451 4.3.0 Later"),
            ErrorKind.TRANSIENT,
            False,
            "451",
            id="451 sender",
        ),
        pytest.param(
            setting("refuse_sender", "552 5.3.4 Too big"),
            ErrorKind.MESSAGE,
            False,
            "552",
            id="552 size",
        ),
        pytest.param(
            refusing("550", ANN, BOB), ErrorKind.RECEIVER, False, "550", id="every address 550"
        ),
        pytest.param(
            refusing("450", ANN, BOB), ErrorKind.TRANSIENT, False, "450", id="every address 450"
        ),
        pytest.param(
            in_order(refusing("550", ANN), refusing("450", BOB)),
            ErrorKind.TRANSIENT,
            False,
            "no address",
            id="550 and 450",
        ),
        pytest.param(
            answering("451 4.3.0 Later"), ErrorKind.TRANSIENT, False, "451", id="451 after DATA"
        ),
        pytest.param(
            answering("452 4.3.1 Disk full"), ErrorKind.TRANSIENT, False, "452", id="452 after DATA"
        ),
        pytest.param(
            answering("550 5.7.1 Spam"), ErrorKind.MESSAGE, False, "550", id="550 after DATA"
        ),
        pytest.param(
            answering("552 5.3.4 Too big"), ErrorKind.MESSAGE, False, "552", id="552 after DATA"
        ),
        pytest.param(
            answering("554 5.7.1 Spam"), ErrorKind.MESSAGE, False, "554", id="554 after DATA"
        ),
        pytest.param(
            dropping("before"),
            ErrorKind.TRANSIENT,
            True,
            "was lost",
            id="hung up before it had the mail",
        ),
        pytest.param(
            dropping("after"),
            ErrorKind.TRANSIENT,
            True,
            "was lost",
            id="hung up when it had the mail",
        ),
    ],
)
async def test_what_a_refusal_means(
    mailbox: Mailbox,
    notifier: EmailNotifier,
    prepare: Prepare,
    kind: ErrorKind,
    in_doubt: bool,
    says: str,
) -> None:
    prepare(mailbox)
    error = await error_of(notifier)
    assert (error.kind, error.in_doubt, error.retry_after) == (kind, in_doubt, None)
    assert says in str(error)
    assert "\n" not in str(error)


async def test_a_server_that_hangs_at_the_end_of_a_mail_leaves_it_in_doubt(
    mailbox: Mailbox, notifier: EmailNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(email_module, "_TIMEOUT_OF_DATA", 0.2)
    mailbox.hang = 60.0
    error = await error_of(notifier)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)
    assert len(mailbox.mails) == 1


async def test_a_server_that_takes_its_time_with_a_mail_gets_it_once(
    mailbox: Mailbox, notifier: EmailNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(email_module, "_TIMEOUT", 0.2)
    mailbox.hang = 0.5
    await notifier.send(message(), CONTENT)
    assert len(mailbox.mails) == 1


async def test_mails_that_are_sent_at_the_same_time_do_not_mix(
    mailbox: Mailbox, notifier: EmailNotifier
) -> None:
    """A worker's, and the state_failure that the state file cannot be written."""
    mailbox.hang = 0.01
    await asyncio.gather(
        *(notifier.send(message(number), CONTENT) for number in range(5)), notifier.close()
    )
    assert len({mail.message_id for mail in mailbox.mails}) == len(mailbox.mails) == 5


async def test_a_server_that_dies_while_it_hangs_leaves_the_mail_in_doubt(
    mailbox: Mailbox, notifier: EmailNotifier
) -> None:
    mailbox.hang = 60.0
    sending = asyncio.create_task(error_of(notifier))
    await until(lambda: mailbox.mails)
    await mailbox.pause()
    error = await sending
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)


async def test_a_mail_in_doubt_goes_out_again_under_the_same_message_id(
    mailbox: Mailbox, notifier: EmailNotifier
) -> None:
    mailbox.drop.append("after")
    await error_of(notifier, message(3))
    await notifier.send(replace(message(3), attempts=2, lost=1), CONTENT)
    assert [mail.message_id for mail in mailbox.mails] == [f"<{3:032x}@example.com>"] * 2


# Some addresses of several


async def test_an_address_that_may_take_it_later_is_left(
    mailbox: Mailbox, open_notifier: Open
) -> None:
    refusing("450", BOB)(mailbox)
    receipt = await open_notifier(mailbox, ANN, BOB, CEM).send(message(), CONTENT)
    assert (receipt.to_left, receipt.refused) == ((BOB,), 0)
    assert mailbox.mails[0].recipients == (ANN, CEM)


async def test_an_address_that_never_will_is_counted(mailbox: Mailbox, open_notifier: Open) -> None:
    refusing("550", ANN)(mailbox)
    refusing("450", BOB)(mailbox)
    receipt = await open_notifier(mailbox, ANN, BOB, CEM).send(message(), CONTENT)
    assert (receipt.to_left, receipt.refused) == ((BOB,), 1)
    assert mailbox.mails[0].recipients == (CEM,)


async def test_only_those_left_are_tried_again_and_the_mail_is_the_same(
    mailbox: Mailbox, open_notifier: Open
) -> None:
    notifier = open_notifier(mailbox, ANN, BOB, CEM)
    refusing("450", BOB)(mailbox)
    receipt = await notifier.send(message(4), CONTENT)
    mailbox.refuse.clear()
    receipt = await notifier.send(message(4, *receipt.to_left), CONTENT)
    assert (receipt.to_left, receipt.refused) == ((), 0)
    first, second = mailbox.mails
    assert second.recipients == (BOB,)
    assert second.message_id == first.message_id
    assert second.message["To"] == f"{ANN}, {BOB}, {CEM}"


@pytest.mark.parametrize(
    ("code", "kind"),
    [("450", ErrorKind.TRANSIENT), ("550", None)],
    ids=["later again", "refused for good"],
)
async def test_what_becomes_of_the_last_address(
    mailbox: Mailbox, notifier: EmailNotifier, code: str, kind: ErrorKind | None
) -> None:
    refusing(code, BOB)(mailbox)
    if kind:
        assert (await error_of(notifier, message(1, BOB))).kind is kind
    else:
        receipt = await notifier.send(message(1, BOB), CONTENT)
        assert (receipt.to_left, receipt.refused) == ((), 1)
        assert ANN not in receipt.answer
        assert BOB not in receipt.answer
    mailbox.refuse.clear()
    await notifier.send(message(2), CONTENT)
    assert [mail.recipients for mail in mailbox.mails] == [(ANN, BOB)]


async def test_an_address_that_the_config_has_lost_since_is_not_tried_again(
    mailbox: Mailbox, notifier: EmailNotifier
) -> None:
    receipt = await notifier.send(message(1, CEM), CONTENT)
    assert receipt.to_left == ()
    assert mailbox.mails == []


# Checking


def results(findings: Sequence[Finding]) -> list[tuple[bool, str]]:
    return [(finding.ok, finding.text) for finding in findings]


async def test_checking_sends_nothing(mailbox: Mailbox, notifier: EmailNotifier) -> None:
    (finding,) = await notifier.check()
    assert (finding.ok, finding.subject) == (True, "receiver owner")
    assert mailbox.mails == []
    await notifier.send(message(), CONTENT)
    assert [mail.recipients for mail in mailbox.mails] == [(ANN, BOB)]
    assert mailbox.sessions == 1


async def test_checking_names_the_addresses_that_are_refused_by_their_place(
    mailbox: Mailbox, open_notifier: Open
) -> None:
    refusing("550", BOB)(mailbox)
    refusing("550", CEM)(mailbox)
    findings = results(await open_notifier(mailbox, ANN, BOB, CEM).check())
    assert [ok for ok, _ in findings] == [False, False]
    assert "address 2 of 3 is refused: 550" in findings[0][1]
    assert "address 3 of 3 is refused: 550" in findings[1][1]
    assert not any(address in text for _, text in findings for address in (ANN, BOB, CEM))
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        pytest.param(
            setting("refuse_sender", "550 5.7.1 Not yours"),
            "login and sender ([smtp]",
            id="sender refused",
        ),
        pytest.param(setting("down", True), "try again later", id="down"),
        pytest.param(
            setting("password", "another"), "login and sender ([smtp]", id="wrong password"
        ),
        pytest.param(dropping("connect"), "is right, or try again later", id="hung up"),
    ],
)
async def test_checking_says_what_to_do(
    mailbox: Mailbox, notifier: EmailNotifier, prepare: Prepare, says: str
) -> None:
    prepare(mailbox)
    ((ok, text),) = results(await notifier.check())
    assert not ok
    assert says in text
    assert PASSWORD not in text


async def test_checking_finds_a_certificate_that_cannot_be_trusted(
    server_context: ssl.SSLContext, fresh_trust: None, open_notifier: Open
) -> None:
    async with ListeningMailbox(security="tls", ssl_context=server_context) as mailbox:
        ((ok, text),) = results(await open_notifier(mailbox, security="tls").check())
    assert not ok
    assert "cannot be trusted" in text


# Secrets


async def test_no_secret_is_logged(
    mailbox: Mailbox, notifier: EmailNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await notifier.send(message(), CONTENT)
    refusing("550", ANN, BOB)(mailbox)
    await error_of(notifier)
    mailbox.password = "another"
    await notifier.close()
    await error_of(notifier)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("mail.")]
    assert not any(secret in line for line in ours for secret in (PASSWORD, ANN, BOB))
