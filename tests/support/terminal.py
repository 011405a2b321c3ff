"""The real `alerter` process on a terminal of its own."""

import asyncio
import fcntl
import os
import pty
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.waiting import HANG


@dataclass
class Terminal:
    """A process, and the end of its terminal where a person sits."""

    process: asyncio.subprocess.Process
    ours: int
    shown: str = ""

    async def read_until(self, text: str) -> str:
        """Return what is shown from now on, until a text is in it."""
        began = len(self.shown)
        async with asyncio.timeout(HANG):
            while text not in self.shown[began:]:
                self.shown += (await asyncio.to_thread(os.read, self.ours, 4096)).decode()
        return self.shown[began:]

    async def end(self, typed: bytes) -> int:
        """Type something, and return the exit code.

        A Ctrl-C between a prompt and the blocking read is lost, so it is typed again.
        """
        ending = asyncio.create_task(self.process.wait())
        os.write(self.ours, typed)
        async with asyncio.timeout(HANG):
            while typed == b"\x03" and not (await asyncio.wait({ending}, timeout=1))[0]:
                os.write(self.ours, typed)
            return await ending


@asynccontextmanager
async def on_a_terminal(*arguments: str, **environ: str) -> AsyncIterator[Terminal]:
    """Start a command on a terminal."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alerter", *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
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
    """In the child: make standard input the terminal whose Ctrl-C ends it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
