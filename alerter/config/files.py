"""The files of a config: the main one, and one for each customer that it includes."""

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from alerter.config.receivers import matches
from alerter.config.secrets import SecretReference
from alerter.errors import ConfigError
from alerter.models import POSTED

_TABLES = ("sites", "receivers")
# The keys of these tables that are secrets.
SECRETS = ("api_key", "app_secret", "token", *POSTED, "webhook_secret")


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """Several files, read as if they were one.

    `raw` is what they hold together, `included` the names of the included ones. `origins` has the
    file of each of its sites and receivers, and its number among those of that file. `unread` are
    the faults of files that cannot be read, `faults` (file, key, text) those of included files as
    such.
    """

    name: str
    raw: dict[str, Any]
    origins: dict[str, list[tuple[str, int]]]
    included: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    def origin(self, key: str) -> tuple[str, str]:
        """Return the file that a key of `raw` stands in, and the key in that file."""
        table, number, *rest = [*key.split("."), "", ""]
        if table not in self.origins or not number.isdigit():
            return self.name, key
        file, own = self.origins[table][int(number) - 1]
        return file, ".".join(part for part in (table, str(own), *rest) if part)

    def own_sites(self) -> list[list[str] | None]:
        """Return for each receiver the names of the sites in its file; None in the main file."""
        names: dict[str, list[str]] = {}
        sites = self.raw["sites"] if self.origins["sites"] else ()
        for site, (file, _) in zip(sites, self.origins["sites"], strict=True):
            if isinstance(site, dict):
                names.setdefault(file, []).append(str(site.get("name")))
        return [
            None if file == self.name else names.get(file, [])
            for file, _ in self.origins["receivers"]
        ]

    def foreign_sites(self) -> dict[str, str]:
        """Return, by key, the faults of included receivers that name sites of other files."""
        problems: dict[str, str] = {}
        for number, own in enumerate(self.own_sites(), 1):
            receiver = self.raw["receivers"][number - 1]
            if own is None or not isinstance(receiver, dict):
                continue
            key = f"receivers.{number}"
            if not own:
                problems[key] = (
                    "is notified of the sites of its own file only, and there are none in it"
                )
                continue
            if "accounts" in receiver:
                problems[f"{key}.accounts"] = "is for receivers of the main file only"
            wanted = receiver.get("sites")
            for place, name in enumerate(wanted if isinstance(wanted, list) else (), 1):
                if isinstance(name, str) and not any(matches(name, site) for site in own):
                    problems[f"{key}.sites.{place}"] = (
                        f'there is no site "{name}" in this file, and it is notified of no other'
                    )
        return problems


def read_files(path: Path, text: str | None = None) -> ConfigFiles:
    """Read a config file and those that it includes; `text` is what it will hold once written.

    Raises ConfigError if the main file cannot be read; the result holds the faults of the others.
    """
    raw = _read(path, text)
    origins = {
        table: [(path.name, number) for number in range(1, len(found) + 1)]
        if isinstance(found := raw.get(table), list)
        else []
        for table in _TABLES
    }
    files = ConfigFiles(path.name, raw, origins)
    pattern = raw.get("include")
    if not isinstance(pattern, str) or not pattern.isprintable():
        return files
    folder = path.absolute().parent
    if pattern.endswith("/"):
        files.faults.append((path.name, "include", 'must name files, such as "sites.d/*.toml"'))
    try:
        files.included.extend(_matching(folder, pattern))
        for name in files.included:
            _include(files, folder / name, name)
    except OSError as error:
        files.faults.append((path.name, "include", f"its folder cannot be read: {error.strerror}"))
    if files.unread:  # all sites and receivers may be in it
        for name in _TABLES:
            files.raw.setdefault(name, [])
    return files


def included_files(path: Path) -> list[str]:
    """Return the names of the files that a config includes. Raise ConfigError."""
    return read_files(path).included


def secret_files(path: Path) -> list[Path]:
    """Return the files that a config and those that it includes name as secrets, each once.

    Raise ConfigError.
    """
    folder, found = path.absolute().parent, dict[Path, None]()
    for value in _leaves(read_files(path).raw):
        text, base = str(value), folder
        if isinstance(value, SecretReference):
            text, base = value.text, value.folder
        if text.startswith("file:"):
            found[base / text.removeprefix("file:")] = None
    return list(found)


def _leaves(value: object) -> Iterator[object]:
    """Yield what lists and tables hold that is neither."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    else:
        yield value


def _matching(folder: Path, pattern: str) -> list[str]:
    """Return the files that a pattern names, sorted. Raises OSError if there is no such folder."""
    above, name = os.path.split(pattern)
    found = os.listdir(folder / above)  # noqa: PTH208 - pathlib's glob hides an unreadable folder
    return sorted(
        str(Path(above) / each)
        for each in found
        if fnmatchcase(each, name) and not each.startswith(".")
    )


def _include(files: ConfigFiles, path: Path, name: str) -> None:
    listed = files.raw.get("include_env")
    allowed = (
        frozenset(each for each in listed if isinstance(each, str))
        if isinstance(listed, list)
        else None
    )
    if path.is_fifo() or path.is_char_device():  # reading would block, or never end
        files.unread.append(f"{path}: is no regular file")
        return
    try:
        raw = _read(path)
    except ConfigError as error:
        files.unread.extend(error.problems)
        return
    for key, found in raw.items():
        if key not in _TABLES:
            text = "does not belong here: an included file holds [[sites]] and [[receivers]]"
            files.faults.append((name, key, text))
        elif not isinstance(found, list):
            files.faults.append((name, key, f"must be tables, each headed [[{key}]]"))
        elif isinstance(files.raw.setdefault(key, []), list):
            files.raw[key].extend(_confined(table, path.parent, allowed) for table in found)
            files.origins[key].extend((name, number) for number in range(1, len(found) + 1))


def _confined(table: Any, folder: Path, allowed: frozenset[str] | None) -> Any:
    """Return a table whose secrets may be in that folder and those variables only."""
    if not isinstance(table, dict):
        return table
    secrets = {key: table[key] for key in SECRETS if isinstance(table.get(key), str)}
    return table | {key: SecretReference(text, folder, allowed) for key, text in secrets.items()}


def _read(path: Path, text: str | None = None) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig") if text is None else text)
    except FileNotFoundError:
        fault = "there is no such config file; `alerter init` makes one"
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        fault = "is not UTF-8 text"
    except RecursionError:
        fault = "is not TOML: it is nested too deeply"
    except tomllib.TOMLDecodeError as error:
        fault = f"is not TOML: {error}"
    raise ConfigError([f"{path}: {fault}"])
