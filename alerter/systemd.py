"""Tells systemd how the service is doing.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import socket
from collections.abc import Mapping


def notify(environ: Mapping[str, str], *states: str) -> None:
    """Send states such as `READY=1`; without systemd, or while it does not listen, nothing happens."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(states).encode(), address)
        except OSError:
            return
