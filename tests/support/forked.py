"""Starts real `alerter` processes, each in a tenth of the time that a new interpreter takes."""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[2]


@cache
def _server() -> socket.socket:
    """Start the server of this process, which ends with it, or when the socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


class Process:
    """One `alerter` process, with what tests need of asyncio's `Process`."""

    returncode: int | None = None

    def __init__(
        self, pid: int, status: asyncio.StreamReader, out: asyncio.StreamReader | None
    ) -> None:
        self.pid = pid
        self.stdout = out
        self._ended = asyncio.create_task(self._wait(status))

    async def _wait(self, status: asyncio.StreamReader) -> int:
        self.returncode = int(await status.read())
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def communicate(self) -> tuple[bytes, None]:
        out = await self.stdout.read() if self.stdout else b""
        await self.wait()
        return out, None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader


async def start_alerter(
    *arguments: str,
    environ: Mapping[str, str],
    folder: Path | None = None,
    out: IO[bytes] | None = None,
    before: Sequence[str] = (),
) -> Process | asyncio.subprocess.Process:
    """Start a command that writes to a file, or to the process's `stdout`.

    With words of a command line that stand before it, it is a new interpreter.
    """
    if before:
        return await asyncio.create_subprocess_exec(
            *(*before, sys.executable, "-m", "alerter", *arguments),
            stdout=out or asyncio.subprocess.PIPE,
            stderr=out or asyncio.subprocess.STDOUT,
            env=environ,
            cwd=folder,
        )
    request = {
        "arguments": arguments,
        "environ": dict(environ),
        "folder": str(folder or Path.cwd()),
    }
    status, theirs = os.pipe()
    ours, output = (None, out.fileno()) if out else os.pipe()
    try:
        socket.send_fds(_server(), [json.dumps(request).encode()], [output, theirs])
    finally:
        os.close(theirs)
        if ours is not None:
            os.close(output)
    told = await _reader(status)
    pid = int(await told.readline())
    return Process(pid, told, None if ours is None else await _reader(ours))
