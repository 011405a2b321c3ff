"""A process that renders an owner's templates, so that none takes the daemon's time and memory.

Jinja's sandbox keeps a template from Python's inside, and bounds nothing else: loops within loops, a text times a
number or a format with a width of a billion take what they need. Limits of the kernel hold whatever a template does.
https://github.com/pallets/jinja/pull/2149
"""

import json
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alerter.errors import RenderError
from alerter.render.templates import fill, folder_state, owners_environment, render_error

_SECONDS = 2.0  # of its CPU for one template, so that a busy machine breaks none
_PATIENCE = 20.0  # seconds until one that uses no CPU is given up
_MEMORY = 200_000_000  # of addresses, those of the interpreter included
_LONGEST = 8_000_000  # bytes of one text: a digest of 1,000 reviews has less than 2 MB
_LONGEST_FAULT = 1000
_LENGTH = 8
_DONE, _FAULT = b"=", b"!"


class _Gone(Exception):
    """The process ended without an answer; it was killed by a signal, or left with an exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TemplateProcess:
    """Renders an owner's templates in a process that is started at the first one, and again where it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._end: Callable[[], Any] = lambda: None
        self._excessive: dict[str, tuple[object, str]] = {}

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """Render one template. Raises RenderError.

        One that took too much is not tried again until somebody changes a template: each try would hold up all else.
        """
        state = folder_state(self._folder)
        then, excess = self._excessive.get(name, (None, ""))
        if excess and then == state:
            raise render_error(name, excess)
        try:
            answer = self._answer(pickle.dumps((name, values)))
        except (_Gone, TimeoutError) as gone:
            self._excessive[name] = state, _excess(gone)
            raise render_error(name, _excess(gone)) from None
        except OSError as cause:
            raise render_error(
                name, f"cannot be rendered in a process of its own: {cause.strerror}"
            ) from cause
        if answer[:1] == _FAULT:
            raise RenderError(*json.loads(answer[1:]))
        return answer[1:].decode()

    def _answer(self, request: bytes) -> bytes:
        """Ask the process; once more where the system ended it meanwhile, as it ends all of a service's."""
        try:
            return self._ask(request)
        except _Gone as gone:
            if gone.status not in (-signal.SIGTERM, -signal.SIGHUP):
                raise
            return self._ask(request)

    def _ask(self, request: bytes) -> bytes:
        process, ours = (
            self._running if self._running and self._running[0].poll() is None else self._start()
        )
        try:
            _send(ours, request)
            return _receive(ours)
        except (ConnectionError, EOFError):
            raise _Gone(process.wait()) from None
        except TimeoutError:
            self._end()
            raise

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        self._end()
        ours, theirs = socket.socketpair()
        ours.settimeout(_PATIENCE)
        path = os.pathsep.join(entry for entry in sys.path if entry)
        command = [
            sys.executable,
            "-B",
            "-P",
            "-m",
            "alerter.render.template_process",
            str(self._folder.absolute()),
        ]
        try:
            with theirs:  # of the environment it gets nothing: there are secrets in it
                process = subprocess.Popen(  # noqa: S603 - ourselves
                    command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
                    env={"PYTHONPATH": path, "PYTHONUTF8": "1"},
                )  # fmt: skip
        except OSError:
            ours.close()
            raise
        self._running = process, ours
        self._end = weakref.finalize(self, _end, process, ours)
        return self._running


def _end(process: subprocess.Popen[bytes], ours: socket.socket) -> None:
    ours.close()
    process.kill()
    process.wait()


def _excess(gone: Exception) -> str:
    if isinstance(gone, TimeoutError):
        return f"takes longer than {_PATIENCE:.0f} s"
    if isinstance(gone, _Gone) and gone.status == -signal.SIGPROF:
        return f"takes longer than {_SECONDS:.0f} s of computing"
    if isinstance(gone, _Gone) and gone.status > 0:
        return f"ends the process that renders it with status {gone.status}"
    return f"takes more than {_MEMORY // 1_000_000} MB of memory"


def _send(sock: socket.socket, message: bytes) -> None:
    sock.sendall(len(message).to_bytes(_LENGTH) + message)


def _receive(sock: socket.socket) -> bytes:
    return _exactly(sock, int.from_bytes(_exactly(sock, _LENGTH)))


def _exactly(sock: socket.socket, length: int) -> bytes:
    """Raises EOFError."""
    parts = []
    while length:
        part = sock.recv(min(length, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _serve(folder: Path) -> None:
    """Render what is asked for, until whoever asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of its processes
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    env = owners_environment(folder)
    with socket.socket(fileno=sys.stdin.fileno()) as sock:
        while True:
            try:
                request = _receive(sock)
            except (EOFError, ConnectionError):
                return
            signal.setitimer(
                signal.ITIMER_PROF, _SECONDS
            )  # its signal ends the process, in the middle of anything
            try:
                answer = _DONE + _text(env, *pickle.loads(request))  # noqa: S301 - from the daemon
            except RenderError as error:
                if isinstance(error.__cause__, MemoryError):
                    return
                said = [text[:_LONGEST_FAULT] for text in (str(error), error.fault)]
                answer = _FAULT + json.dumps(said).encode()
            signal.setitimer(signal.ITIMER_PROF, 0)
            _send(sock, answer)


def _text(env: Any, name: str, values: Mapping[str, Any]) -> bytes:
    try:
        text = fill(env, name, values).encode()
    except UnicodeEncodeError as error:
        raise render_error(name, "makes half a character") from error
    if len(text) > _LONGEST:
        raise render_error(name, f"makes more than {_LONGEST // 1_000_000} MB")
    return text


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
