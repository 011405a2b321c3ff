"""The part of `alerter init` about mail: who gets it, and through which server."""

import asyncio
from dataclasses import replace
from email.utils import parseaddr

import click

from alerter.commands.init_answers import RECEIVER, MailAnswers
from alerter.commands.init_flags import Flags
from alerter.commands.init_questions import ask, ask_secret, require_good, show_part, until_good
from alerter.commands.mail_servers import server_of, usual_security
from alerter.config import given
from alerter.models import Finding
from alerter.notify.email import EmailNotifier

_SERVER_HELP = """\
  The help of your mail provider names its server for sending (SMTP). For an address of your own
  domain it is smtp.gmail.com with Google Workspace, and smtp.office365.com with Microsoft 365.
"""


def mail_answers(flags: Flags, *, optional: bool) -> MailAnswers | None:
    """Return who gets mail through which server; None without mail. Raise AlerterError."""
    if flags.with_mail and not flags.missing_for_mail():
        return _checked(_from_flags(flags))
    show_part(2, "Mail: who is alerted by mail")
    addresses = until_good(lambda flags: flags.email or _ask_addresses(optional=optional), flags)
    if not addresses:
        return None
    usual = flags.mail_from or addresses[0]
    sender = until_good(lambda flags: flags.sender or given.sender(ask("From", usual)), flags)
    if not flags.smtp_host and server_of(parseaddr(sender)[1]) is None:
        click.echo(_SERVER_HELP)
    tried: MailAnswers | None = None

    def attempt(flags: Flags) -> MailAnswers:
        nonlocal tried
        tried = _ask_server(replace(flags, email=addresses, sender=sender), tried)
        return _checked(tried)

    return until_good(attempt, flags)


def _ask_addresses(*, optional: bool) -> tuple[str, ...]:
    question = "Addresses, separated by commas" + ("; Enter for none" if optional else "")
    answer = ask(question, default="" if optional else None)
    return tuple(given.address(word) for word in answer.replace(",", " ").split())


def _from_flags(flags: Flags) -> MailAnswers:
    """Return what the flags answer, and what is usual for what they do not."""
    sender = flags.mail_from or ""
    host = flags.provider.host if flags.provider else flags.smtp_host or ""
    port = flags.port_of(host)
    username = flags.smtp_username or (parseaddr(sender)[1] if flags.smtp_password else None)
    security = flags.smtp_security or usual_security(host, port)
    return MailAnswers(host, port, security, sender, flags.email, username, flags.smtp_password)


def _ask_server(flags: Flags, tried: MailAnswers | None) -> MailAnswers:
    """Ask for what neither flags nor the provider answer; `tried` is what did not work."""
    sender = flags.mail_from or ""
    known = flags.provider
    if known and (tried is None or tried.host == known.host):
        click.echo(f"Mails go through {known.host}. {known.hint}".rstrip())
        host, port = known.host, flags.port_of(known.host)
    else:
        host = flags.smtp_host or ask("Mail server", tried.host if tried else None)
        usual = tried.port if tried else flags.port_of(host)
        port = flags.smtp_port or given.port(ask("Port", str(usual)))
    security = flags.smtp_security or usual_security(host, port)
    before = (tried.username or "-") if tried else parseaddr(sender)[1]
    username = flags.smtp_username or ask("User name (- for none)", before)
    if username == "-":
        return MailAnswers(host, port, security, sender, flags.email)
    password = flags.smtp_password or ask_secret("Password", in_header=False)
    return MailAnswers(host, port, security, sender, flags.email, username, password)


def _checked(mail: MailAnswers) -> MailAnswers:
    """Return the answers if the server takes mail for the addresses. Raise AlerterError."""
    password = mail.password.value if mail.password else None
    smtp = given.smtp(mail.host, mail.port, mail.security, mail.sender, mail.username, password)

    async def check() -> list[Finding]:
        notifier = EmailNotifier(smtp, RECEIVER, mail.addresses)
        try:
            return await notifier.check()
        finally:
            await notifier.close()

    require_good(asyncio.run(check()))
    return mail
