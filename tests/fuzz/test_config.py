"""Whatever a config says: it is taken, or each fault is a line for people, and no line holds a
secret.

Hypothesis spoils a good config, its included files and the places of its secrets. `make torture`
tries many more.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alerter.config import Config, load_config
from alerter.errors import ConfigError

SECRET = "s3cr3t-9f2a-Zq8"
PASTED = "p4sted-7c1e-Xw2"  # a secret in the place of its name
ENVIRON = {"KEY": SECRET, "TOKEN": f"xoxb-{SECRET}", "URL": f"https://hc.example/{SECRET}"}
SECRET_KEYS = (
    "api_key",
    "app_secret",
    "discord",
    "ntfy",
    "password",
    "teams",
    "token",
    "url",
    "webhook",
)
SITE = {
    "name": "Corner Bakery",
    "site_id": "11111111-1111-4111-8111-111111111111",
    "api_key": "env:KEY",
    "instance_id": "i-1",
    "app_id": "an-app",
}
RECEIVER = {
    "name": "support",
    "slack": "C0123456789",
    "email": ["owner@example.com"],
    "sites": ["Corner Bakery"],
    "max_rating": 2,
    "keywords": ["refund"],
    "quiet": {"from": "22:00", "to": "07:00", "days": ["mon"]},
    "token": "file:token",
}
MAIN = {
    "state": {"file": "state.db", "keep": "400d"},
    "timezone": "Europe/Berlin",
    "include": "sites.d/*.toml",
    "include_env": ["KEY"],
    "poll": {"every": "60s", "rescan_every": "1h", "rescan_window": "30d", "trouble_after": "15m"},
    "alerts": {"threshold": 2, "burst": 10},
    "reminders": {"after": ["24h", "72h"], "escalate_to": "support"},
    "wix": {"base_url": "https://www.wixapis.com"},
    "sites": [SITE],
    "smtp": {
        "host": "smtp.example.com",
        "port": 587,
        "security": "starttls",
        "username": "alerts",
        "password": "env:KEY",
        "from": "Alerts <alerts@example.com>",
    },
    "slack": {"token": "env:TOKEN"},
    "receivers": [RECEIVER],
    "web": {"listen": "127.0.0.1:8080"},
    "heartbeat": {"url": "env:URL"},
    "summaries": [{"name": "Weekly", "at": "Mon 09:00", "receivers": ["support"]}],
}
INCLUDED = {
    "sites": [
        {
            "name": "Shop",
            "site_id": "22222222-2222-4222-8222-222222222222",
            "app_id": "b",
            "app_secret": "file:key",
            "instance_id": "i-2",
        }
    ],
    "receivers": [{"name": "shop", "slack": "C0123456789", "token": "file:token"}],
}

words = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(
        [
            "env:",
            "file:",
            "credential:",
            "\x1b[2J",
            "..",
            "/dev/zero",
            "9" * 30,
            "2" * 5000,
            "\u202e",
        ]
    )
    | st.sampled_from(
        [
            f"env:{PASTED}",
            f"file:{PASTED}",
            f"credential:../{PASTED}",
            "file:pipe",
            PASTED,
            "file:../main-key",
        ]
    )
    | st.sampled_from(
        [
            "127.0.0.1:0",
            "[::1",
            "http://[",
            "https://a:99999",
            "a@b@c",
            "<a@b>",
            "UTC\x00",
            "24:00",
            "\n",
        ]
    )
)
leaves = st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | words
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def spoil(data: st.DataObject, value: Any) -> Any:
    """The same value with one thing in it, or itself, replaced, added or left out."""
    if isinstance(value, Mapping) and value and data.draw(st.integers(0, 7)):
        key = data.draw(st.sampled_from(sorted(value)))
        how = data.draw(st.integers(0, 7))
        if how == 0:
            return {name: each for name, each in value.items() if name != key}
        if how == 1:
            return {**value, data.draw(words): data.draw(values)}
        return {**value, key: spoil(data, value[key])}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        return [
            spoil(data, value[0]),
            *value[1:],
            *([value[0]] if data.draw(st.booleans()) else []),
        ]
    return data.draw(values)


def toml(value: Any) -> str:
    """A value as TOML has it, tables inline."""
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items())
            + "}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool | float) else str(value)


def written(data: st.DataObject, table: Mapping[str, Any], folder: Path, name: str) -> None:
    """Write a file, spoiled up to three times, and now and then cut off."""
    for _ in range(data.draw(st.integers(0, 3))):
        table = spoil(data, table) if isinstance(table, Mapping) else table
    lines = (
        [f"{json.dumps(key)} = {toml(each)}" for key, each in table.items()]
        if isinstance(table, Mapping)
        else ["[["]
    )
    text = "\n".join(lines)
    if not data.draw(st.integers(0, 9)):
        text = text[: data.draw(st.integers(0, len(text)))]
    (folder / name).write_text(text, "utf-8")


@given(st.data(), st.booleans())
def test_any_config_is_taken_or_refused_in_lines_without_a_secret(
    data: st.DataObject,
    secrets: bool,
) -> None:
    with tempfile.TemporaryDirectory(prefix="alerter-fuzz-") as name:
        folder = Path(name)
        (folder / "sites.d").mkdir()
        for place in (folder, folder / "sites.d"):
            (place / "token").write_text(f"xoxb-{SECRET}")
            (place / "key").write_text(SECRET)
        (folder / "main-key").write_text(SECRET)
        written(data, MAIN, folder, "config.toml")
        written(data, INCLUDED, folder / "sites.d", "shop.toml")
        try:
            config = load_config(folder / "config.toml", ENVIRON, secrets=secrets)
        except ConfigError as error:
            _are_for_people(error.problems)
        else:
            _is_sound(config, folder)


def _are_for_people(problems: list[str]) -> None:
    assert problems
    for problem in problems:
        key, _, text = problem.partition(": ")
        assert SECRET not in problem
        assert PASTED not in text or key.rpartition(".")[2] not in SECRET_KEYS, problem
        assert problem.isprintable(), problem
        assert len(problem) < 2000


def _is_sound(config: Config, folder: Path) -> None:
    assert SECRET not in repr(config)
    assert config.destinations()
    assert len({site.instance_id for site in config.sites if site.instance_id}) == len(
        [site for site in config.sites if site.instance_id]
    )
    for receiver in config.receivers:
        assert config.sites_of(receiver) <= {site.name for site in config.sites}
    assert not (folder / "state.db").exists()


def test_what_is_spoiled_is_good() -> None:
    with tempfile.TemporaryDirectory(prefix="alerter-fuzz-") as name:
        folder = Path(name)
        (folder / "sites.d").mkdir()
        for place in (folder, folder / "sites.d"):
            (place / "token").write_text("xoxb-token")
            (place / "key").write_text("key")
        for path, table in (("config.toml", MAIN), ("sites.d/shop.toml", INCLUDED)):
            (folder / path).write_text(
                "\n".join(f"{key} = {toml(each)}" for key, each in table.items())
            )
        assert len(load_config(folder / "config.toml", ENVIRON, secrets=True).sites) == 2
