"""The flags of `alerter init`, and which of them are missing where no one can be asked."""

from dataclasses import dataclass
from email.utils import parseaddr

from alerter.commands.access import GivenSecret
from alerter.commands.mail_servers import MailServer, server_of, usual_port


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line answers; None or empty for what it does not."""

    wix_api_key: GivenSecret | None = None
    wix_account_id: str | None = None
    site: tuple[str, ...] = ()
    all_sites: bool = False
    slack_token: GivenSecret | None = None
    slack_channel: str | None = None
    smtp_host: str | None = None
    smtp_port: int | None = None
    smtp_security: str | None = None
    smtp_username: str | None = None
    smtp_password: GivenSecret | None = None
    sender: str | None = None
    email: tuple[str, ...] = ()
    wix_base_url: str | None = None
    slack_base_url: str | None = None

    @property
    def with_slack(self) -> bool:
        """Whether a flag is about Slack."""
        return bool(self.slack_token or self.slack_channel)

    @property
    def with_mail(self) -> bool:
        """Whether a flag is about mail."""
        server = (self.smtp_host, self.smtp_port, self.smtp_security)
        login = (self.smtp_username, self.smtp_password)
        return any((self.email, self.sender, *server, *login))

    @property
    def mail_from(self) -> str | None:
        """The sender as given, else the login if that is an address, else the first receiver."""
        is_address = "@" in (self.smtp_username or "")
        usual = self.smtp_username if is_address else next(iter(self.email), None)
        return self.sender or usual

    @property
    def provider(self) -> MailServer | None:
        """The server of the sender's provider, where no other is given and it is known."""
        address = parseaddr(self.mail_from or "")[1]
        return None if self.smtp_host else server_of(address)

    def port_of(self, host: str) -> int:
        """Return the port as given, else the usual one of a provider, a security or a host."""
        if self.provider and not self.smtp_security:
            return self.smtp_port or self.provider.port
        return self.smtp_port or usual_port(host, self.smtp_security)

    def only_urls(self) -> "Flags":
        """Return what is left where the other flags are wrong: a proxy is not asked for."""
        return Flags(wix_base_url=self.wix_base_url, slack_base_url=self.slack_base_url)

    def missing_for_wix(self) -> list[str]:
        """Return the flags that Wix needs."""
        needed = {
            "--wix-api-key": self.wix_api_key,
            "--wix-account-id": self.wix_account_id,
            "--site (or --all-sites)": self.site or self.all_sites,
        }
        return [flag for flag, value in needed.items() if not value]

    def missing_for_mail(self) -> list[str]:
        """Return the flags that mail needs."""
        needed: dict[str, object] = {
            "--email": self.email,
            "--smtp-host": self.smtp_host or self.provider,
        }
        if self.smtp_username or self.provider:
            needed["--smtp-password"] = self.smtp_password
        if self.smtp_password and not (self.smtp_username or self.mail_from):
            needed["--smtp-username"] = None
        return [flag for flag, value in needed.items() if not value]

    def missing_for_slack(self) -> list[str]:
        """Return the flags that Slack needs."""
        needed = {"--slack-token": self.slack_token, "--slack-channel": self.slack_channel}
        return [flag for flag, value in needed.items() if not value]

    def missing(self) -> list[str]:
        """Return all flags without which there is something to ask."""
        missing = self.missing_for_wix()
        if self.with_mail:
            missing += self.missing_for_mail()
        if self.with_slack:
            missing += self.missing_for_slack()
        if not self.with_mail and not self.with_slack:
            missing.append("--email and --smtp-host (or --slack-token and --slack-channel)")
        return missing
