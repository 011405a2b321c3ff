"""The files of a config: the main one, and those that it includes, each with one customer's sites and receivers."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from alerter.config.secrets import Reference
from alerter.errors import ConfigError

TABLES = ("sites", "receivers")
# The keys of these tables that are secrets.
SECRETS = ("api_key", "app_secret", "token")


@dataclass(frozen=True, slots=True)
class Files:
    """Several files, read as if they were one.

    `origins` says of each of the tables in `raw` which file it stands in, and as which of its kind there; `unread` has
    what is wrong with files that could not be read, `faults` what is wrong with the others as such.
    """

    name: str
    raw: dict[str, Any]
    origins: dict[str, list[tuple[str, int]]]
    unread: list[str] = field(default_factory=list)
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    def origin(self, key: str) -> tuple[str, str]:
        """The file that a key of `raw` stands in, and what the key is called there."""
        table, number, *rest = [*key.split("."), "", ""]
        if table not in self.origins or not number.isdigit():
            return self.name, key
        file, own = self.origins[table][int(number) - 1]
        return file, ".".join(part for part in (table, str(own), *rest) if part)

    def sites_beside(self) -> list[list[str] | None]:
        """For each receiver of an included file the names of the sites in that file; None for one of the main file."""
        names: dict[str, list[str]] = {}
        for site, (file, _) in zip(
            self.raw["sites"] if self.origins["sites"] else (), self.origins["sites"], strict=True
        ):
            if isinstance(site, dict):
                names.setdefault(file, []).append(str(site.get("name")))
        return [
            None if file == self.name else names.get(file, [])
            for file, _ in self.origins["receivers"]
        ]

    def between_files(self) -> Iterator[tuple[str, str]]:
        """Faults of receivers that want to hear of other sites than those beside them, by their keys in `raw`."""
        for number, beside in enumerate(self.sites_beside(), 1):
            receiver = self.raw["receivers"][number - 1]
            if beside is None or not isinstance(receiver, dict):
                continue
            key = f"receivers.{number}"
            if not beside:
                yield key, "hears of the sites of its own file only, and there are none in it"
            wanted = receiver.get("sites")
            for place, name in enumerate(wanted if isinstance(wanted, list) else (), 1):
                if beside and isinstance(name, str) and name not in beside:
                    yield (
                        f"{key}.sites.{place}",
                        f'there is no site "{name}" in this file, and it hears of no other',
                    )


def read_files(path: Path) -> Files:
    """Read a config file and what it includes. Raises ConfigError where the main file itself cannot be read."""
    raw = _read(path)
    files = Files(path.name, raw, {name: _own(raw, name, path.name) for name in TABLES})
    pattern = raw.get("include")
    if not isinstance(pattern, str) or not pattern.isprintable():
        return files
    folder = path.absolute().parent
    if pattern.endswith("/"):
        files.faults.append((path.name, "include", 'must name files, such as "sites.d/*.toml"'))
    try:
        for name in _matching(folder, pattern):
            _include(files, folder / name, name)
    except OSError as error:
        files.faults.append((path.name, "include", f"its folder cannot be read: {error.strerror}"))
    if files.unread:  # and what it holds may be all that there is
        for name in TABLES:
            files.raw.setdefault(name, [])
    return files


def _own(raw: Mapping[str, Any], table: str, file: str) -> list[tuple[str, int]]:
    found = raw.get(table)
    return (
        [(file, number) for number in range(1, len(found) + 1)] if isinstance(found, list) else []
    )


def _matching(folder: Path, pattern: str) -> list[str]:
    """The files that a pattern names; a folder that is not there, or not for us to read, must not pass for empty."""
    above, name = os.path.split(pattern)
    found = os.listdir(folder / above)  # noqa: PTH208 - pathlib's glob takes a folder that it cannot read for empty
    return sorted(
        str(Path(above) / each)
        for each in found
        if fnmatchcase(each, name) and not each.startswith(".")
    )


def _include(files: Files, path: Path, name: str) -> None:
    listed = files.raw.get("include_env")
    allowed = (
        frozenset(each for each in listed if isinstance(each, str))
        if isinstance(listed, list)
        else None
    )
    if path.is_fifo() or path.is_char_device():  # which would be waited for, or has no end
        files.unread.append(f"{path}: is no regular file")
        return
    try:
        raw = _read(path)
    except ConfigError as error:
        files.unread.extend(error.problems)
        return
    for key, found in raw.items():
        if key not in TABLES:
            files.faults.append(
                (
                    name,
                    key,
                    "does not belong here: an included file holds [[sites]] and [[receivers]]",
                )
            )
        elif not isinstance(found, list):
            files.faults.append((name, key, f"must be tables, each headed [[{key}]]"))
        elif isinstance(files.raw.setdefault(key, []), list):
            files.raw[key].extend(_confined(table, path.parent, allowed) for table in found)
            files.origins[key].extend((name, number) for number in range(1, len(found) + 1))


def _confined(table: Any, folder: Path, allowed: frozenset[str] | None) -> Any:
    """A table of an included file, whose secrets may be in its own folder and in the allowed variables only."""
    if not isinstance(table, dict):
        return table
    secrets = {key: table[key] for key in SECRETS if isinstance(table.get(key), str)}
    return table | {key: Reference(text, folder, allowed) for key, text in secrets.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            [f"{path}: there is no such config file; config.example.toml shows what one holds"]
        ) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: is not TOML: it is nested too deeply"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None
