"""What goes wrong with single commands to the mailbox."""

from collections import deque
from dataclasses import dataclass
from typing import Literal


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


class Replies:
    """The replies that are still to come, by command.

    The commands are CONNECT (the greeting), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, "." (the end of the mail), RSET,
    NOOP and QUIT.
    """

    def __init__(self) -> None:
        self._once: dict[str, deque[Reply]] = {}
        self._always: dict[tuple[str, str | None], Reply] = {}

    def add(self, command: str, *replies: Reply) -> None:
        """Answer the next commands of that name so, one reply each, in order."""
        self._once.setdefault(command, deque()).extend(replies)

    def always(self, command: str, reply: Reply) -> None:
        """Answer every command of that name so, until `clear`."""
        self._always[command, reply.only] = reply

    def clear(self, command: str | None = None) -> None:
        """Forget the replies to `command`, or all of them."""
        self._once = {key: queue for key, queue in self._once.items() if command not in (None, key)}
        self._always = {key: reply for key, reply in self._always.items() if command not in (None, key[0])}

    def take(self, command: str, text: str) -> Reply | None:
        """Return the reply to a command that holds `text`, and use it up if it was queued."""
        queue = self._once.get(command, deque())
        for reply in queue:
            if reply.only is None or reply.only in text:
                queue.remove(reply)
                return reply
        for (name, only), reply in self._always.items():
            if name == command and (only is None or only in text):
                return reply
        return None
