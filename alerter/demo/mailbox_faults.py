"""Faults of single SMTP commands."""

from dataclasses import dataclass
from typing import Literal

from alerter.demo.planned import Planned


@dataclass(frozen=True)
class Reply:
    """The answer to one command.

    `raw` replaces the usual reply, without its last line end; the command is carried out if it
    begins with 2 or 3. `echo` appends the command line to it. `delay` is in seconds, before the
    command is carried out. `drop` closes the connection instead of a reply, before or after that.
    `only` is text that the command must contain, such as an address.
    """

    raw: bytes | None = None
    echo: bool = False
    delay: float = 0.0
    drop: Literal["before", "after"] | None = None
    only: str | None = None

    @property
    def works(self) -> bool:
        """Whether the command is carried out."""
        return self.drop != "before" and (self.raw is None or self.raw[:1] in (b"2", b"3"))

    def reply_to(self, line: str) -> bytes | None:
        """Return the reply to a command line; None for the usual one."""
        if self.raw is None or not self.echo:
            return self.raw
        return self.raw + b" " + line.encode(errors="surrogateescape")


class Replies(Planned[Reply]):
    """Planned replies, by command.

    The commands are CONNECT (the greeting), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, "." (the end of
    the mail), RSET, NOOP and QUIT.
    """

    def take(self, command: str, text: str) -> Reply | None:
        """Return the reply to a command that holds `text`; remove it if queued."""
        return self.first(lambda match, only: match == command and (only is None or only in text))
