"""What goes wrong with single commands to the mailbox."""

from dataclasses import dataclass
from typing import Literal

from alerter.demo.planned import Planned


@dataclass(frozen=True)
class Reply:
    """How one command is answered.

    `raw`: the reply in place of the usual one, without its last line end; where it begins with 2 or 3 the command is
    carried out. `echo`: the command line stands at its end. `delay`: seconds before the command is carried out. `drop`:
    the connection is closed in place of a reply, before or after the command is carried out. `only`: text that the
    command has to contain, such as an address.
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
        """Return what to answer a command line with; None: as usual."""
        if self.raw is None or not self.echo:
            return self.raw
        return self.raw + b" " + line.encode(errors="surrogateescape")


class Replies(Planned[Reply]):
    """The replies that are still to come, by command.

    The commands are CONNECT (the greeting), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, "." (the end of the mail), RSET,
    NOOP and QUIT.
    """

    def take(self, command: str, text: str) -> Reply | None:
        """Return the reply to a command that holds `text`, and use it up if it was queued."""
        return self.first(lambda match, only: match == command and (only is None or only in text))
