"""Secrets of a config: references to them, and how their values are read."""

import os
import re
import stat
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr, ValidationInfo
from pydantic_core import PydanticCustomError

from alerter.config.fields import fault, parse_url

_SHORTEST_LINK_SECRET = 32
_LARGEST_FILE = 64 * 1024
# A name that does not look like one may be the secret itself, pasted into the wrong place, and is
# not shown. Words of a name do not mix letters with digits, or cases, as random ones do.
_WORD = re.compile(r"[A-Z]?[a-z]{0,24}|[A-Z]{1,24}[0-9]?|[0-9]{1,4}")
_LONGEST_NAME = 80
_PATH = re.compile(r"(/[A-Za-z0-9._ -]{1,40}){2,20}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where an included file says that a secret is.

    `folder` is that of the file; the secret's file has to be in it. `allowed` are the variables and
    credentials that the file may name (None: any).
    """

    text: str
    folder: Path
    allowed: frozenset[str] | None

    def __str__(self) -> str:
        """Return the same text for the same secret, whichever file names it."""
        source, _, name = self.text.partition(":")
        return f"file:{self.folder / name}" if source == "file" else self.text


@dataclass(frozen=True, slots=True)
class WorkspaceToken:
    """A receiver's own Slack token; receivers that name the same `source` share a workspace."""

    source: str
    secret: SecretStr


def _read_secret(value: object, info: ValidationInfo) -> SecretStr:
    return read_secret(value, info.context or {})


def read_secret(value: object, context: Mapping[str, Any]) -> SecretStr:
    """Read the secret that a config refers to; empty where the context asks for no secrets."""
    text = value.text if isinstance(value, SecretReference) else value
    source, _, name = text.partition(":") if isinstance(text, str) else ("", "", "")
    if source not in ("env", "file", "credential") or not name:
        raise fault(
            'must say where the secret is: "env:NAME", "file:PATH" or "credential:NAME"; '
            "the secret itself does not belong in this file"
        )
    if source == "credential" and ("/" in name or name in (".", "..")):
        raise fault("must name a credential, as LoadCredential does; there is no / in its name")
    allowed = value.allowed if isinstance(value, SecretReference) else None
    if source != "file" and allowed is not None and name not in allowed:
        raise fault(
            f"{_shown(source, name)} is not for included files:"
            " the main file does not list it in include_env"
        )
    if not context.get("secrets", False):
        return SecretStr("")
    if source == "env":
        found = _read_variable(name, context["environ"])
    elif source == "credential":
        found = _read_credential(name, context["environ"])
    elif isinstance(value, SecretReference):
        shown = f"{value.folder}/{_shown('', name)}"
        found = _read_file(value.folder / name, shown, within=value.folder)
    else:
        found = _read_file(context["folder"] / name, _shown(source, name))
    if not found or not found.isprintable():
        raise fault(
            f"the secret in {_shown(source, name)} is empty or has a character that no secret has"
        )
    return SecretStr(found)


def _read_header(value: object, info: ValidationInfo) -> SecretStr:
    """Read a secret that is sent in an HTTP header."""
    secret = _read_secret(value, info)
    if not secret.get_secret_value().isascii():
        raise fault("the secret has a character that no key or token has")
    return secret


def _read_token(value: object, info: ValidationInfo) -> WorkspaceToken:
    return WorkspaceToken(str(value), _read_header(value, info))


def _read_url(value: object, info: ValidationInfo) -> SecretStr:
    """Read a secret that is an address; unlike other addresses it may have a query."""
    secret = _read_secret(value, info)
    text = secret.get_secret_value()
    if text:
        try:
            parse_url(text.partition("?")[0])
            good = re.fullmatch(r"[!-~]+", text) and "#" not in text
        except PydanticCustomError:
            good = None
        if not good and text.startswith("http://"):
            raise fault("the secret must begin with https:// (http:// leads to this machine only)")
        if not good:
            raise fault('the secret must be an address such as "https://example.com/…"')
    return secret


def _read_variable(name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        shown = _shown("env", name).removeprefix("env:")
        raise fault(f"the environment variable {shown} is not set")
    return environ[name].strip()


def _read_credential(name: str, environ: Mapping[str, str]) -> str:
    """Read a credential: https://systemd.io/CREDENTIALS."""
    shown = _shown("credential", name)
    if not environ.get("CREDENTIALS_DIRECTORY"):
        raise fault(
            f"there is no credential {shown.removeprefix('credential:')}: "
            "systemd's LoadCredential has not set CREDENTIALS_DIRECTORY"
        )
    return _read_file(Path(environ["CREDENTIALS_DIRECTORY"]) / name, shown)


def _read_file(path: Path, shown: str, *, within: Path | None = None) -> str:
    """Read a small regular file without blocking on any other kind.

    With `within` the file has to be in that folder once symbolic links are resolved.
    """
    found, regular = b"", False
    try:
        real = path.resolve()
        outside = within is not None and not real.is_relative_to(within.resolve())
        if not outside:
            with open(real, "rb", opener=_open_nonblocking) as file:
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


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _shown(source: str, name: str) -> str:
    """Return a reference for a message, without a name that may be the secret itself."""
    is_name = (
        len(name) <= _LONGEST_NAME
        and all(_WORD.fullmatch(word) for word in re.split(r"[/._ -]", name))
        and (source != "env" or _VARIABLE.fullmatch(name))
    ) or (source in ("", "file") and _PATH.fullmatch(name))
    text = name if is_name else "… (not shown, as it does not look like a name)"
    return f"{source}:{text}" if source else text


def _read_app_token(value: object, info: ValidationInfo) -> SecretStr:
    """Read a token of a Slack app, which Slack shows with the prefix `xapp-`."""
    secret = _read_header(value, info)
    if secret.get_secret_value() and not secret.get_secret_value().startswith("xapp-"):
        raise fault("must be an app-level token, which begins with xapp-")
    return secret


def _read_link_secret(value: object, info: ValidationInfo) -> SecretStr:
    """Read a secret that links are signed with: https://www.rfc-editor.org/rfc/rfc7518#section-3.2."""
    secret = _read_secret(value, info)
    if 0 < len(secret.get_secret_value()) < _SHORTEST_LINK_SECRET:
        raise fault(
            f"the secret must have at least {_SHORTEST_LINK_SECRET} characters,"
            " such as those that `openssl rand -base64 32` prints"
        )
    return secret


def _read_hook_secret(value: object, info: ValidationInfo) -> SecretStr:
    """Read a secret that webhooks are signed with: 24 to 64 bytes in base64, after `whsec_`.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    secret = _read_secret(value, info)
    text = secret.get_secret_value()
    try:
        key = b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if text and not (text.startswith("whsec_") and 24 <= len(key) <= 64):
        raise fault(
            "the secret must be whsec_ and 24 to 64 bytes in base64,"
            ' as `echo "whsec_$(openssl rand -base64 32)"` prints'
        )
    return secret


AppToken = Annotated[SecretStr, BeforeValidator(_read_app_token)]
LinkSecret = Annotated[SecretStr, BeforeValidator(_read_link_secret)]
HookSecret = Annotated[SecretStr, BeforeValidator(_read_hook_secret)]
HeaderSecret = Annotated[SecretStr, BeforeValidator(_read_header)]
Secret = Annotated[SecretStr, BeforeValidator(_read_secret)]
SecretUrl = Annotated[SecretStr, BeforeValidator(_read_url)]
SlackToken = Annotated[WorkspaceToken, BeforeValidator(_read_token)]
