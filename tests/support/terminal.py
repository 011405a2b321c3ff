"""The real `alerter` process on a terminal of its own."""

import asyncio
import codecs
import fcntl
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.waiting import HANG

CTRL_C = b"\x03"


@dataclass
class Terminal:
    """A process, and the end of its terminal where a person sits.

    `seen` is how much of what is shown was waited for.
    """

    process: asyncio.subprocess.Process
    ours: int
    shown: str = ""
    seen: int = 0
    # A character may arrive in two parts.
    decoder: codecs.IncrementalDecoder = field(
        default_factory=codecs.getincrementaldecoder("utf-8")
    )

    async def read_until(self, text: str) -> str:
        """Return what is shown from the last text that was waited for, until this one."""
        async with asyncio.timeout(HANG):
            while text not in self.shown[self.seen :]:
                assert await self._read(), f"there is no “{text}”: {self.shown}"
        began, self.seen = self.seen, self.shown.index(text, self.seen) + len(text)
        return self.shown[began : self.seen]

    async def _read(self) -> bool:
        """Read more of what is shown; False at the end of the process."""
        try:
            read = await asyncio.to_thread(os.read, self.ours, 4096)
        except OSError:  # Linux has no other sign for it
            read = b""
        self.shown += self.decoder.decode(read)
        return bool(read)

    async def answer(self, question: str, text: str) -> None:
        """Type a line, once a question is shown."""
        await self.read_until(question)
        os.write(self.ours, f"{text}\n".encode())

    async def end(self, typed: bytes = b"") -> int:
        """Type something, and return the exit code.

        A Ctrl-C between a prompt and the blocking read is lost, so it is typed again; not soon, as
        a second one would interrupt the end.
        """
        ending = asyncio.create_task(self.process.wait())
        os.write(self.ours, typed)
        async with asyncio.timeout(HANG):
            while typed == CTRL_C and not (await asyncio.wait({ending}, timeout=10))[0]:
                os.write(self.ours, typed)
            while await self._read():
                pass
            return await ending


@asynccontextmanager
async def on_a_terminal(
    *arguments: str, cwd: Path | None = None, **environ: str
) -> AsyncIterator[Terminal]:
    """Start a command on a terminal."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alerter", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=os.environ | environ,
        start_new_session=True,
        preexec_fn=_own_terminal,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)


def _own_terminal() -> None:
    """In the child: make standard input the terminal whose Ctrl-C ends it.

    A run in the background ignores Ctrl-C, and so would the child.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
