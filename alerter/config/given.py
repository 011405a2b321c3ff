"""Single values from flags and questions, checked by the rules of the config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr, TypeAdapter, ValidationError

from alerter.config.fields import AccountId, Address, Port, Sender, SiteId, Url
from alerter.config.receivers import Slack, Smtp
from alerter.config.secrets import HeaderSecret, Secret
from alerter.config.sites import Site, Wix
from alerter.config.table import problems_of
from alerter.errors import ConfigError


def address(text: str) -> str:
    """Return a bare mail address. Raises ConfigError."""
    return str(_checked(Address, text))


def sender(text: str) -> str:
    """Return a mail address, with or without a name before it. Raises ConfigError."""
    return str(_checked(Sender, text))


def base_url(text: str) -> str:
    """Return the address of an API, without a slash at its end. Raises ConfigError."""
    return str(_checked(Url, text))


def port(text: str) -> int:
    """Return the number of a port. Raises ConfigError."""
    return int(_checked(Port, int(text) if text.isascii() and text.isdigit() else text))


def account_id(text: str) -> str:
    """Return the id of a Wix account. Raises ConfigError."""
    return str(_checked(AccountId, text))


def site_id(text: str) -> str:
    """Return the id of a site. Raises ConfigError."""
    return str(_checked(SiteId, text))


def secret(reference: str, folder: Path, environ: Mapping[str, str], *, in_header: bool) -> str:
    """Return the secret that a reference such as "env:NAME" stands for. Raises ConfigError."""
    kind = HeaderSecret if in_header else Secret
    return str(_checked(kind, reference, folder, environ).get_secret_value())


def slack(token: str, url: str | None) -> Slack:
    """Return the workspace of a token."""
    base = url or Slack.model_fields["base_url"].default
    return Slack.model_construct(token=SecretStr(token), base_url=base)


def site(name: str, site_id: str, api_key: str) -> Site:
    """Return a site that is read with an API key."""
    return Site.model_construct(name=name, site_id=site_id, api_key=SecretStr(api_key))


def smtp(
    host: str, port: int, security: str, sender: str, username: str | None, password: str | None
) -> Smtp:
    """Return a mail server. Raises ConfigError."""
    table = {"host": host, "port": port, "security": security, "from": sender}
    login = {"username": username, "password": "env:PASSWORD"} if username else {}
    return cast("Smtp", _checked(Smtp, table | login, environ={"PASSWORD": password or ""}))


def wix_base_url(url: str | None) -> str:
    """Return the address of the Wix API, by default that of Wix itself."""
    return url or str(Wix.model_fields["base_url"].default)


def _checked(
    kind: Any, value: object, folder: Path = Path(), environ: Mapping[str, str] | None = None
) -> Any:
    context = {"folder": folder, "environ": environ or {}, "secrets": True}
    try:
        return TypeAdapter(kind).validate_python(value, context=context)
    except ValidationError as error:
        problems = problems_of(error).items()
        raise ConfigError([f"{key}: {text}" if key else text for key, text in problems]) from None
