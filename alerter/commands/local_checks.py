"""What `alerter check` finds in the files that `alerter run` needs: state, secrets, templates."""

import errno
import getpass
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from alerter.config import Config
from alerter.config.fields import nearest
from alerter.config.files import included_files, secret_files
from alerter.errors import StateBusy, StateError
from alerter.models import Finding
from alerter.render.templates import template_names
from alerter.store import lock_of
from alerter.store.file_lock import real_path
from alerter.store.reload_request import is_daemons
from alerter.store.sqlite import inspect

# Files of SQLite and of alerter beside the state file.
_BESIDE = ("", "-wal", "-shm", ".lock")
_REMEDY = "give it to the user that runs alerter, and check as that user"
_MOST_NAMED = 3
_LARGEST_TEMPLATE = 256_000


def check_files(path: Path, config: Config) -> list[Finding]:
    """Check the files that a config, read from `path`, names."""
    return [
        *([check_state(config.database)] if isinstance(config.database, Path) else ()),
        *_check_listen(config),
        *_check_include(path, config),
        *_check_secret_files(path),
        *(_check_template_names(config.templates) if config.templates else ()),
    ]


def check_state(path: Path) -> Finding:
    """Check that `alerter run` can create the state file, or open and write it."""
    try:
        fault = _state_fault(path)
    except StateBusy as error:
        return Finding(ok=True, subject="state", text=f"{error}; try again", warning=True)
    except StateError as error:
        fault = str(error)
    except OSError as error:
        fault = f"{path}: {error.strerror}; {_REMEDY}"
    if fault:
        return Finding(ok=False, subject="state", text=fault)
    text = "can be written" if path.exists() else "the first start creates it"
    return Finding(ok=True, subject="state", text=f"{path}: {text}")


def _state_fault(path: Path) -> str | None:
    """Return what keeps `alerter run` from its state file. Raise StateError or OSError."""
    file = real_path(path)
    folder = file.parent
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        is_folder = False
    if not is_folder:
        return f"there is no folder {folder}: create it, owned by the user that runs alerter"
    beside = [file.with_name(file.name + ending) for ending in _BESIDE]
    for each in (folder, *(each for each in beside if each.exists())):
        if not _is_writable(each):
            return f"{each} cannot be written by the user {_user()}; {_REMEDY}"
    if file.exists() and file.stat().st_size:
        inspect(file, migrate=True, check=False)
    return None


def _is_writable(path: Path) -> bool:
    needed = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
    return os.access(path, needed, effective_ids=os.access in os.supports_effective_ids)


def _check_listen(config: Config) -> Iterator[Finding]:
    """Check that [web] can listen, unless a daemon does so now."""
    if config.web is None or (is_running := _is_running(config)):
        return
    host, port = config.web.listen
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tried.bind(address)
    except OSError as error:
        if is_running is None and error.errno == errno.EADDRINUSE:
            text = (
                f"something listens on {host}:{port}; if it is not `alerter run`, name another"
                " place (the database cannot be asked now)"
            )
            yield Finding(ok=True, subject="web.listen", text=text, warning=True)
            return
        text = f"cannot listen on {host}:{port}: {error.strerror}; name another place"
        yield Finding(ok=False, subject="web.listen", text=text)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return str(os.getuid())


def _is_running(config: Config) -> bool | None:
    """Return whether a daemon works on the database; None if it cannot be asked."""
    with suppress(StateError), lock_of(config.database) as lock:
        return is_daemons(lock)
    return None


def _check_include(path: Path, config: Config) -> Iterator[Finding]:
    if config.include and not included_files(path):
        text = f'no file matches "{config.include}", so nothing is included'
        yield Finding(ok=True, subject="include", text=text, warning=True)


def _check_secret_files(path: Path) -> Iterator[Finding]:
    """Warn of files with secrets that every user of this machine can read."""
    exposed = [each for each in secret_files(path) if _is_exposed(each)]
    if exposed:
        named = [str(each) for each in exposed[:_MOST_NAMED]]
        if more := len(exposed) - len(named):
            named.append(f"{more} more")
        listed = ", ".join(named[:-1]) + (" and " if named[1:] else "") + named[-1]
        text = (
            f"every user of this machine can read {listed}: `chmod 600` and give"
            f" {'them' if exposed[1:] else 'it'} to the user that runs alerter"
        )
        yield Finding(ok=True, subject="secrets", text=text, warning=True)


def _is_exposed(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _check_template_names(folder: Path) -> Iterator[Finding]:
    """Warn of files that look like templates, and that nothing uses."""
    known = template_names()
    texts = {file.name: _text(file) for file in sorted(folder.iterdir()) if _is_template(file)}
    for name in texts.keys() - known:
        if not any(name in text for other, text in texts.items() if other != name):
            near = nearest(name, known)
            hint = f"did you mean {near}?" if near else "docs/templates.md lists the names"
            text = f"{folder / name} replaces no template; {hint}"
            yield Finding(ok=True, subject="templates", text=text, warning=True)


def _is_template(file: Path) -> bool:
    return file.suffix in (".txt", ".html", ".json") and file.is_file()


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_LARGEST_TEMPLATE).decode(errors="replace")
