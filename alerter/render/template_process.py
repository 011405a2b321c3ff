"""A process that renders an owner's templates and canned replies, with limits on time and memory.

Jinja's sandbox blocks access to Python's internals and limits nothing else: nested loops, a
multiplied text or a format with a width of a billion use all that there is. The kernel's limits
hold for any template. https://github.com/pallets/jinja/pull/2149
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

from jinja2 import Environment

from alerter.errors import RenderError
from alerter.render.language import get_language
from alerter.render.templates import (
    folder_state,
    owners_environment,
    render_error,
    render_template,
    reply_environment,
)

_CPU_SECONDS = 2.0  # for one template; CPU time, so that a busy machine makes none fail
_TIMEOUT = 20.0  # seconds, for a template that uses no CPU
_MEMORY = 200_000_000  # bytes of address space, with the interpreter's
_LONGEST = 8_000_000  # bytes of one text; a digest of 1,000 reviews has less than 2 MB
_LONGEST_FAULT = 1000  # characters
_HEADER = 8  # bytes of the length before each message
_DONE, _FAULT = b"=", b"!"


class _ProcessEnded(Exception):
    """The process ended without an answer; `status` is as in `Popen.returncode`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TemplateProcess:
    """Renders an owner's templates in a process that is started when it is needed.

    `folder` has those that are files.
    """

    def __init__(self, folder: Path = Path()) -> None:
        self._folder = folder
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._end: Callable[[], Any] = lambda: None
        self._excessive: dict[str, tuple[object, str]] = {}

    def render(
        self, name: str, values: Mapping[str, Any], language: str, source: str | None = None
    ) -> str:
        """Render one template in a language, by its code. Raise RenderError.

        With a `source` it is that of a canned reply, which `name` names in faults.

        A template that exceeded a limit is not rendered again until a file of the folder is
        changed, because each attempt blocks the daemon for seconds.
        """
        state = folder_state(self._folder) if source is None else source
        then, excess = self._excessive.get(name, (None, ""))
        if excess and then == state:
            raise render_error(name, excess)
        try:
            answer = self._answer(pickle.dumps((language, name, values, source)))
        except (_ProcessEnded, TimeoutError) as error:
            self._excessive[name] = state, _excess(error)
            raise render_error(name, _excess(error)) from None
        except OSError as cause:
            raise render_error(
                name, f"cannot be rendered in a process of its own: {cause.strerror}"
            ) from cause
        if answer[:1] == _FAULT:
            raise RenderError(*json.loads(answer[1:]))
        return answer[1:].decode()

    def _answer(self, request: bytes) -> bytes:
        """Send a request; again if a signal to all processes of the service ended the process."""
        try:
            return self._ask(request)
        except _ProcessEnded as error:
            if error.status not in (-signal.SIGTERM, -signal.SIGHUP):
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
            raise _ProcessEnded(process.wait()) from None
        except TimeoutError:
            self._end()
            raise

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        self._end()
        ours, theirs = socket.socketpair()
        ours.settimeout(_TIMEOUT)
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
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    # Not the daemon's environment, which has secrets.
                    env={"PYTHONPATH": path, "PYTHONUTF8": "1"},
                )
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


def _excess(error: Exception) -> str:
    """Return which limit a template exceeded."""
    if isinstance(error, TimeoutError):
        return f"takes longer than {_TIMEOUT:.0f} s"
    if isinstance(error, _ProcessEnded) and error.status == -signal.SIGPROF:
        return f"takes longer than {_CPU_SECONDS:.0f} s of computing"
    if isinstance(error, _ProcessEnded) and error.status > 0:
        return f"ends the process that renders it with status {error.status}"
    return f"takes more than {_MEMORY // 1_000_000} MB of memory"


def _send(sock: socket.socket, message: bytes) -> None:
    sock.sendall(len(message).to_bytes(_HEADER) + message)


def _receive(sock: socket.socket) -> bytes:
    return _exactly(sock, int.from_bytes(_exactly(sock, _HEADER)))


def _exactly(sock: socket.socket, length: int) -> bytes:
    """Receive a number of bytes. Raise EOFError if the other end closes first."""
    parts = []
    while length:
        part = sock.recv(min(length, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _serve(folder: Path) -> None:
    """Render what is requested, until the daemon closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    environments: dict[str, Environment] = {}
    with socket.socket(fileno=sys.stdin.fileno()) as sock:
        while True:
            try:
                request = _receive(sock)
            except (EOFError, ConnectionError):
                return
            # SIGPROF ends the process, whatever it does.
            signal.setitimer(signal.ITIMER_PROF, _CPU_SECONDS)
            answer = answer_request(request, folder, environments)
            if answer is None:
                return
            signal.setitimer(signal.ITIMER_PROF, 0)
            _send(sock, answer)


def answer_request(
    request: bytes, folder: Path, environments: dict[str, Environment]
) -> bytes | None:
    """Return the answer to a request; None where a template uses all memory.

    `environments` holds those that were made before, by language.
    """
    language, name, values, source = pickle.loads(request)  # noqa: S301 - from the daemon
    try:
        if source is not None:
            return _DONE + _text(reply_environment(), name, values, source)
        if language not in environments:
            environments[language] = owners_environment(folder, get_language(language))
        return _DONE + _text(environments[language], name, values)
    except RenderError as error:
        if isinstance(error.__cause__, MemoryError):
            return None
        texts = [text[:_LONGEST_FAULT] for text in (str(error), error.fault)]
        return _FAULT + json.dumps(texts).encode()


def _text(
    env: Environment, name: str, values: Mapping[str, Any], source: str | None = None
) -> bytes:
    try:
        text = render_template(env, name, values, source).encode()
    except UnicodeEncodeError as error:
        raise render_error(name, "makes half a character") from error
    if len(text) > _LONGEST:
        raise render_error(name, f"makes more than {_LONGEST // 1_000_000} MB")
    return text


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
