"""The servers that mail providers document for sending, by the domain of an address."""

from dataclasses import dataclass

from alerter.config.fields import is_loopback


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server for sending. `hint`: what its users have to know about the password."""

    host: str
    port: int
    hint: str = ""


_APP_LOGIN = "It takes an app password, not that of the account"
_GMAIL = MailServer(
    "smtp.gmail.com",
    587,
    f"{_APP_LOGIN}: https://myaccount.google.com/apppasswords",
)
_OUTLOOK = MailServer(
    "smtp-mail.outlook.com",
    587,
    "Microsoft refuses passwords for more and more accounts; if it does, send from another address",
)
_MICROSOFT_365 = MailServer(
    "smtp.office365.com",
    587,
    "An administrator has to allow SMTP AUTH for the mailbox; Microsoft is about to end passwords",
)
_ICLOUD = MailServer("smtp.mail.me.com", 587, f"{_APP_LOGIN}: https://account.apple.com")
_YAHOO = MailServer(
    "smtp.mail.yahoo.com",
    465,
    f"{_APP_LOGIN}: https://login.yahoo.com/account/security",
)
_GMX_HINT = "First allow POP3 and IMAP in the settings of the mailbox"
_FASTMAIL = MailServer(
    "smtp.fastmail.com",
    465,
    f"{_APP_LOGIN}: https://app.fastmail.com/settings/security",
)
_SERVERS = {
    _GMAIL: ("gmail.com", "googlemail.com"),
    _OUTLOOK: ("outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "hotmail.de"),
    _MICROSOFT_365: ("onmicrosoft.com",),
    _ICLOUD: ("icloud.com", "me.com", "mac.com"),
    _YAHOO: ("yahoo.com", "yahoo.co.uk", "yahoo.de", "yahoo.fr", "yahoo.es", "ymail.com"),
    MailServer("smtp.aol.com", 465, _APP_LOGIN): ("aol.com",),
    MailServer("mail.gmx.net", 587, _GMX_HINT): ("gmx.net", "gmx.de", "gmx.at"),
    MailServer("mail.gmx.com", 587, _GMX_HINT): ("gmx.com",),
    MailServer("smtp.web.de", 587, _GMX_HINT): ("web.de",),
    MailServer("smtp.mail.com", 587, _GMX_HINT): ("mail.com",),
    _FASTMAIL: ("fastmail.com", "fastmail.fm"),
    MailServer("smtp.zoho.com", 465, _APP_LOGIN): ("zoho.com", "zohomail.com"),
    MailServer("securesmtp.t-online.de", 465): ("t-online.de",),
    MailServer("posteo.de", 465): ("posteo.de", "posteo.net"),
    MailServer("smtp.mailbox.org", 465): ("mailbox.org",),
}
_BY_DOMAIN = {domain: server for server, domains in _SERVERS.items() for domain in domains}


def server_of(address: str) -> MailServer | None:
    """Return the server of the provider of a mail address; None for an unknown provider."""
    domain = address.rpartition("@")[2].lower()
    parent = domain.partition(".")[2]
    return _BY_DOMAIN.get(domain) or _BY_DOMAIN.get(parent)


def usual_security(host: str, port: int | None) -> str:
    """Return the security that is usual for a host and a port."""
    if is_loopback(host):
        return "none"
    return "tls" if port == 465 else "starttls"


def usual_port(host: str, security: str | None) -> int:
    """Return the port that is usual for a host and a security."""
    if security == "tls":
        return 465
    return 25 if is_loopback(host) else 587
