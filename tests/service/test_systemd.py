"""What systemd hears, on a real socket."""

import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from alerter.service.systemd import notify, watchdog


@pytest.mark.parametrize("abstract", [False, True], ids=["a path", "an abstract name"])
def test_states_arrive_in_one_datagram(tmp_path: Path, *, abstract: bool) -> None:
    name = f"@alerter-test-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        notify({"NOTIFY_SOCKET": name}, "READY=1", "STATUS=watching 3 sites")
        assert systemd.recv(1024) == b"READY=1\nSTATUS=watching 3 sites"


def test_without_systemd_nothing_happens() -> None:
    notify({}, "READY=1")


def test_a_socket_that_is_gone_is_no_reason_to_stop(tmp_path: Path) -> None:
    notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")


def test_a_reader_that_hangs_costs_a_moment_and_no_cpu(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                while filler.sendto(b"x" * 1000, str(tmp_path / "notify")):
                    pass
        before = time.thread_time()
        notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "WATCHDOG=1")
        assert time.thread_time() - before < 0.1


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0", "WATCHDOG_PID": "42"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "42"}, None),
    ],
    ids=str,
)
def test_a_watchdog_is_meant_for_us_where_it_says_so(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog(environ, 42) == seconds
