"""Secrets: where a config says that they are, and how they are read."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from alerter.config.fields import address_of, fault

_LARGEST_FILE = 64 * 1024
# What is pasted in place of a name may be the secret itself. Random words mix letters and digits, or cases.
_NAME = re.compile(r"[A-Z]?[a-z]{0,24}|[A-Z]{1,24}[0-9]?|[0-9]{1,4}")
_LONGEST_NAME = 80
_PATH = re.compile(r"(/[A-Za-z0-9._ -]{1,40}){2,20}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an included file says that a secret is.

    `folder` is that of the file, which holds all files that it may name; `allowed` are the variables and credentials
    that it may name (None: any).
    """

    text: str
    folder: Path
    allowed: frozenset[str] | None

    def __str__(self) -> str:
        """The same text for the same secret, whichever file names it."""
        source, _, name = self.text.partition(":")
        return f"file:{self.folder / name}" if source == "file" else self.text


@dataclass(frozen=True, slots=True)
class Token:
    """A Slack token of a receiver's own; receivers who name the same `source` share a workspace."""

    source: str
    secret: SecretStr


def _secret(value: object, info: ValidationInfo) -> SecretStr:
    """Fetch a secret from where the config says it is; its value never stands in the config, nor in a fault."""
    text = value.text if isinstance(value, Reference) else value
    source, _, name = text.partition(":") if isinstance(text, str) else ("", "", "")
    if source not in ("env", "file", "credential") or not name:
        raise fault(
            'must say where the secret is: "env:NAME", "file:PATH" or "credential:NAME"; '
            "the secret itself does not belong in this file"
        )
    if source == "credential" and ("/" in name or name in (".", "..")):
        raise fault("must name a credential, as LoadCredential does; there is no / in its name")
    if (
        isinstance(value, Reference)
        and source != "file"
        and value.allowed is not None
        and name not in value.allowed
    ):
        raise fault(
            f"{_shown(source, name)} is not for included files: the main file does not list it in include_env"
        )
    place: dict[str, Any] = info.context or {}
    if not place.get("secrets", False):
        return SecretStr("")
    if isinstance(value, Reference) and source == "file":
        found = _read_file(
            value.folder / name, f"{value.folder}/{_shown('', name)}", within=value.folder
        )
    else:
        found = _read_secret(source, name, place["folder"], place["environ"])
    if not found or not found.isprintable():
        raise fault(
            f"the secret in {_shown(source, name)} is empty or has a character that no secret has"
        )
    return SecretStr(found)


def _key(value: object, info: ValidationInfo) -> SecretStr:
    """A secret that travels in an HTTP header."""
    secret = _secret(value, info)
    if not secret.get_secret_value().isascii():
        raise fault("the secret has a character that no key or token has")
    return secret


def _token(value: object, info: ValidationInfo) -> Token:
    return Token(str(value), _key(value, info))


def _secret_url(value: object, info: ValidationInfo) -> SecretStr:
    """A secret that is an address as a whole; unlike others it may have a query."""
    secret = _secret(value, info)
    text = secret.get_secret_value()
    if text:
        try:
            address_of(text.partition("?")[0])
            good = re.fullmatch(r"[!-~]+", text) and "#" not in text
        except PydanticCustomError:
            good = None
        if not good:
            raise fault('the secret must be an address such as "https://hc-ping.com/…"')
    return secret


def _read_secret(source: str, name: str, folder: Path, environ: Mapping[str, str]) -> str:
    shown = _shown(source, name)
    if source == "env":
        if not environ.get(name):
            raise fault(f"the environment variable {shown.removeprefix('env:')} is not set")
        return environ[name].strip()
    if source == "credential" and not environ.get("CREDENTIALS_DIRECTORY"):
        raise fault(
            f"there is no credential {shown.removeprefix('credential:')}: "
            "systemd's LoadCredential has not set CREDENTIALS_DIRECTORY"
        )
    return _read_file(
        Path(environ["CREDENTIALS_DIRECTORY"] if source == "credential" else folder) / name, shown
    )


def _read_file(path: Path, shown: str, *, within: Path | None = None) -> str:
    """Read a small file; one that is none is not waited for. With `within` it has to be in that folder, really."""
    found, regular = b"", False
    try:
        real = path.resolve()
        outside = within is not None and not real.is_relative_to(within.resolve())
        if not outside:
            with open(real, "rb", opener=_open_now) as file:
                regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                found = file.read(_LARGEST_FILE + 1) if regular else b""
        text = found.decode()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise fault(f"the secret in {shown} cannot be read: {reason}") from None
    if outside:
        raise fault(
            f"must be a file in {within}: an included file names no file outside of its own folder"
        )
    if not regular or len(found) > _LARGEST_FILE:
        raise fault(f"the secret in {shown} cannot be read: it is no regular file of at most 64 kB")
    return text.strip()


def _open_now(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _shown(source: str, name: str) -> str:
    """What a secret is referred to by, where that looks like a name and not like the secret itself."""
    good = (
        len(name) <= _LONGEST_NAME
        and all(_NAME.fullmatch(word) for word in re.split(r"[/._ -]", name))
        and (source != "env" or _VARIABLE.fullmatch(name))
    ) or (source in ("", "file") and _PATH.fullmatch(name))
    text = name if good else "… (not shown, as it does not look like a name)"
    return f"{source}:{text}" if source else text


HeaderSecret = Annotated[SecretStr, BeforeValidator(_key)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
SecretUrl = Annotated[SecretStr, BeforeValidator(_secret_url)]
TokenOfItsOwn = Annotated[Token, BeforeValidator(_token)]
