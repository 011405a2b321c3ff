"""Two thousand alerts by email, beside `EmailMessage` and bare aiosmtplib."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import aiosmtplib

from benchmarks.figures import Figure
from benchmarks.outbox import deliver
from benchmarks.processes import Meter, alone, beside, serving
from benchmarks.servers.smtp import FastSmtp
from benchmarks.servers.wix import FastWix
from benchmarks.world import World

_Content = tuple[dict[str, str], str, str]


def measure(*, quick: bool) -> list[Figure]:
    """Measure alerts per second."""
    number = 300 if quick else 2000
    with (
        serving(FastWix) as wix,
        serving(FastSmtp) as smtp,
        serving(FastSmtp, keep=True) as keeping,
    ):
        alone(deliver, World(wix.url, None, keeping.port), number)
        contents, connections = (
            [_content(raw) for raw in keeping.ask("mails")],
            keeping.ask("connections"),
        )
        both = beside(
            3 if quick else 5,
            lambda: alone(deliver, World(wix.url, None, smtp.port), number),
            lambda: alone(_bare, smtp.port, contents),
        )
    if len(contents) != number:
        raise RuntimeError("every alert has to leave by itself")
    (ours, bare), (cpu, least) = both.rates(number), both.cpu_ms(number)
    detail = f"{ours:,.0f}/s ({cpu:.2f} ms CPU), bare {bare:,.0f}/s ({least:.2f} ms CPU)"
    return [
        Figure("deliver by email", "alerts/s, of bare", both.speed, "≥", 0.7, "×", detail),
        Figure("deliver by email", "connections", connections, "≤", 1, ""),
    ]


def _content(raw: bytes) -> _Content:
    """Return the headers, text and HTML of a mail."""
    mail: Any = email.message_from_bytes(raw, policy=email.policy.SMTP)
    headers = {
        name: str(value)
        for name, value in mail.items()
        if not name.startswith(("Content-", "MIME-"))
    }
    return headers, mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()


async def _bare(meter: Meter, port: int, contents: list[_Content]) -> None:
    async with aiosmtplib.SMTP(
        hostname="127.0.0.1", port=port, start_tls=False, use_tls=False
    ) as client:
        await client.send_message(_build(contents[0]))
        with meter:
            for content in contents:
                await client.send_message(_build(content))


def _build(content: _Content) -> EmailMessage:
    headers, text, html = content
    mail = EmailMessage(policy=email.policy.SMTP)
    for name, value in headers.items():
        mail[name] = value
    mail.set_content(text, cte="quoted-printable")
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    return mail
