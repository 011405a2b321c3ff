"""Runs `alerter` in forks of a process that has imported it, which saves most of a start's time.

A request comes as JSON with two descriptors: where the command writes to, and a socket that gets
its process id and, in the end, its exit code, each as a line.
"""

import gc
import importlib
import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from alerter.cli import COMMANDS, main

IMPORTED_LATE = ("alerter.notify.email", "alerter.notify.slack", "alerter.web.server")
LONGEST_REQUEST = 1 << 20


def _become(request: dict[str, Any], output: int) -> None:
    """Give this process the command line, the environment and the output of another."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = ["alerter", *request["arguments"]]


def _is_command(request: dict[str, Any], output: int, status: int) -> bool:
    """Fork a process for the command, and return True in it; report its end, and end as well."""
    pid = os.fork()
    if not pid:
        os.close(status)
        _become(request, output)
        return True
    os.close(output)
    os.write(status, b"%d\n" % pid)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, b"%d\n" % code)
    os._exit(0)


def _forget_ended() -> None:
    """Take note of the processes that have ended, so that the system may forget them."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def serve(requests: socket.socket) -> None:
    """Return in each process that is to run a command; exit at the end of the requests."""
    while True:
        text, descriptors, *_ = socket.recv_fds(requests, LONGEST_REQUEST, 2)
        _forget_ended()
        if not text:
            sys.exit()
        if not os.fork():
            requests.close()
            if _is_command(json.loads(text), *descriptors):
                return
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    for module in (*(f"alerter.commands.{name}" for name in COMMANDS), *IMPORTED_LATE):
        importlib.import_module(module)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    main(prog_name="alerter")
