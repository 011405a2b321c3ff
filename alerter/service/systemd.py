"""Report states to systemd.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import socket
from collections.abc import Mapping

_PATIENCE = 1.0


def notify(environ: Mapping[str, str], *states: str) -> None:
    """Send states such as `READY=1`; do nothing without systemd, or where it does not listen."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_PATIENCE)  # a reader that hangs must not hold us up
        try:
            # Only a connected socket waits for a full queue; another tries again and again.
            sock.connect(address)
            sock.send("\n".join(states).encode())
        except OSError:
            return


def watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Return after how many seconds without `WATCHDOG=1` systemd restarts us; None for never.

    https://www.freedesktop.org/software/systemd/man/latest/sd_watchdog_enabled.html
    """
    asked = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not asked.isdecimal():
        return None
    return int(asked) / 1_000_000 or None
