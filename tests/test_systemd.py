"""What systemd hears, on a real socket."""

import socket
from pathlib import Path

import pytest

from alerter.systemd import notify


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
