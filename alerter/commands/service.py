"""`alerter service`: put the systemd units in place, or take them away."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import click

import alerter
from alerter.commands.options import SYSTEM_CONFIG
from alerter.errors import AlerterError

_UNITS = ("alerter.service", "alerter-once.service", "alerter-once.timer")
_CONTROL = "alerterctl"
# What the units in the checkout name.
_PROGRAM = "/opt/alerter/bin/alerter"
_CREDENTIALS = Path("/etc/alerter/credentials")
_STATE = Path("/var/lib/alerter")
_SYSTEM = Path("/etc/systemd/system")
# `systemctl enable` makes these.
_ENABLED = ("multi-user.target.wants/alerter.service", "timers.target.wants/alerter-once.timer")
# The service's sandbox cannot read these (ProtectHome).
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


@dataclass(frozen=True, slots=True)
class _File:
    """A file to install: where, what, and with which mode."""

    path: Path
    text: str
    mode: int

    def is_same(self) -> bool:
        return self.path.read_bytes() == self.text.encode()


def deploy_folder() -> Path:
    """Return the folder of the units: inside an installed package, in a checkout beside it."""
    package = Path(alerter.__file__).parent
    inside = package / "deploy"
    return inside if inside.is_dir() else package.parent / "deploy"


def _files(root: Path, program: str) -> list[_File]:
    folder = deploy_folder()
    found = [
        _File(_below(root, _SYSTEM) / name, (folder / name).read_text("utf-8"), 0o644)
        for name in _UNITS
    ]
    found.append(
        _File(
            _below(root, Path("/usr/local/bin")) / _CONTROL,
            (folder / _CONTROL).read_text("utf-8"),
            0o755,
        )
    )
    return [_File(each.path, each.text.replace(_PROGRAM, program), each.mode) for each in found]


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def fault_of_program(program: Path, python: Path) -> str | None:
    """Return why the service's user could not run alerter; None if it can."""
    advice = "install it as docs/deploy.md shows: python3 -m venv /opt/alerter"
    for each in (program, python):
        if any(each.is_relative_to(home) for home in _HOMES):
            return f"the service cannot run {each}, which is in a home directory: {advice}"
    if not re.fullmatch(r"[\w./+-]+", str(program)):
        return f"systemd would not understand the path {program}: {advice}"
    return None


def install(root: Path, program: str, *, replace: bool) -> Iterator[str]:
    """Write the units, and yield a line for each file and for what to do next."""
    for file in _files(root, program):
        if not file.path.exists():
            _write(file)
            yield f"wrote     {file.path}"
        elif file.is_same():
            yield f"same      {file.path}"
        elif replace:
            old = _set_aside(file.path)
            _write(file)
            yield f"replaced  {file.path}, which had changed and is now {old}"
        else:
            yield f"kept      {file.path}, which has changed: --replace writes the new one"
    credentials = _below(root, _CREDENTIALS)
    if not credentials.exists():
        _make_folder(credentials.parent)
        credentials.mkdir(mode=0o700)
        yield f"made      {credentials}, for secrets: a file NAME is credential:alerter_NAME"
    config = _below(root, SYSTEM_CONFIG)
    if config.exists() and not config.stat().st_mode & 0o004:
        config.chmod(0o644)
        yield f"opened    {config}: the service's user can read it now; it holds no secret"
    yield from _next_steps(config)


def _next_steps(config: Path) -> Iterator[str]:
    if not config.exists():
        yield f"next: alerter init --systemd --config {config}"
    yield "next: systemctl daemon-reload && alerterctl check"
    yield "next: systemctl enable --now alerter  # or alerter-once.timer: a poll every five minutes"


def uninstall(root: Path) -> Iterator[str]:
    """Remove the units, and yield a line for each file and for what stays. Raise AlerterError."""
    for name in _ENABLED:
        if (_below(root, _SYSTEM) / name).is_symlink():
            unit = Path(name).name
            raise AlerterError(f"{unit} is enabled: run `systemctl disable --now {unit}` first")
    for file in _files(root, _installed_program(root)):
        if not file.path.exists():
            continue
        if file.is_same():
            file.path.unlink()
            yield f"removed  {file.path}"
        else:
            yield f"removed  {file.path}, which had changed and is now {_set_aside(file.path)}"
    for path in (SYSTEM_CONFIG.parent, _STATE, _SYSTEM / "alerter.service.d"):
        if _below(root, path).exists():
            yield f"left     {_below(root, path)}"
    yield "next: systemctl daemon-reload"


def _installed_program(root: Path) -> str:
    """Return the program that the installed unit starts."""
    unit = _below(root, _SYSTEM) / _UNITS[0]
    text = unit.read_text("utf-8", "replace") if unit.exists() else ""
    found = re.search(r"(?m)^ExecStart=(\S+) run$", text)
    return found[1] if found else _PROGRAM


def _write(file: _File) -> None:
    _make_folder(file.path.parent)
    new = file.path.with_name(f".{file.path.name}.new")
    new.write_text(file.text, "utf-8")
    new.chmod(file.mode)
    new.replace(file.path)


def _make_folder(folder: Path) -> None:
    """Make a folder that everybody can read; `main` has set a umask for secrets."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def _set_aside(path: Path) -> Path:
    return Path(shutil.move(path, path.with_name(f"{path.name}.old")))


def _warnings(program: Path) -> Iterator[str]:
    """Yield what keeps the service from its work on this machine."""
    if fault := fault_of_program(program, Path(sys.executable).resolve()):
        yield f"warn: {fault}, and install the service from there"
    if not Path("/run/systemd/system").is_dir():
        yield "warn: systemd does not run here; docs/deploy.md shows a container, and cron"


def _run(lines: Iterator[str], root: Path) -> None:
    """Print the lines as the files are written. Raise AlerterError."""
    if root == Path("/") and os.geteuid():
        raise AlerterError("only root may write the units: run it with sudo")
    try:
        for line in lines:
            click.echo(line)
    except OSError as error:
        raise AlerterError(f"{error.filename}: {error.strerror}") from error


_root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    help="Work below this folder, to build a package.",
)


@click.group()
def command() -> None:
    """Put the systemd units in place, or take them away."""


@command.command("install")
@click.option("--replace", is_flag=True, help="Replace files that have changed; keep the old ones.")
@_root_option
def install_service(root: Path, *, replace: bool) -> None:
    """Write the systemd units and alerterctl.

    It prints each file that it writes, and what to do next. Needs root.
    """
    program = Path(sys.executable).with_name("alerter")
    warnings = _warnings(program) if root == Path("/") else ()
    _run(chain(install(root, str(program), replace=replace), warnings), root)


@command.command("uninstall")
@_root_option
def uninstall_service(root: Path) -> None:
    """Remove the systemd units and alerterctl.

    Config, secrets and state stay. Needs root.
    """
    _run(uninstall(root), root)
