"""What people install: the image, the words that a shell completes, the Slack app."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY
from urllib.parse import parse_qs

import pytest

from alerter.cli import main
from alerter.config import load_config
from alerter.slack.check import TO_POST, missing_scopes
from alerter.slack.manifest import MANIFEST, app_link

ROOT = Path(__file__).parents[2]
DEPLOY = (ROOT / "docs" / "deploy.md").read_text("utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
# The same environment without what would lead back to the checkout.
ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
}


def output(*command: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=ENVIRON | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


# The shell


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("alerter ba", {"backfill", "backup"}),
        ("alerter backfill --del", {"--deliver"}),
        ("alerter demo --s", {"--serve"}),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, offered: set[str]) -> None:
    command = Path(sys.executable).with_name("alerter")
    told = output(
        command,
        _ALERTER_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split()) - 1),
    )
    assert {line.partition(",")[2] for line in told.splitlines()} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_documents_say_how_completion_is_switched_on(shell: str) -> None:
    assert f"_ALERTER_COMPLETE={shell}_source alerter" in DEPLOY
    command = Path(sys.executable).with_name("alerter")
    assert "_alerter_completion" in output(command, _ALERTER_COMPLETE=f"{shell}_source")


# The image; that it builds can be seen only where there is a Docker


def instructions(name: str) -> list[str]:
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE).replace("\\\n", " ")
    return [" ".join(line.split()[1:]) for line in text.splitlines() if line.split()[:1] == [name]]


def test_the_image_is_made_of_what_is_there_and_of_nothing_more() -> None:
    let_in = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {name for line in instructions("COPY") for name in line.split()[:-1]}
    assert copied == let_in
    assert [name for name in copied if not (ROOT / name).exists()] == []
    forced = re.findall(
        r'(?m)^(?:readme|license-files|path) = \[?"([^"]+)"', (ROOT / "pyproject.toml").read_text()
    )
    assert {name.split("/")[0] for name in forced} <= copied


def test_the_image_runs_as_nobody_in_particular_on_a_named_version() -> None:
    assert instructions("USER") == ["10001"]
    assert all(
        re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?( AS build)?", line)
        for line in instructions("FROM")
    )
    assert instructions("ADD") == []
    assert DOCKERFILE.index("\nUSER") > DOCKERFILE.rindex("\nRUN")


def test_the_image_starts_and_checks_itself_by_commands_of_ours() -> None:
    [health], [entry], [command] = (
        instructions(name) for name in ("HEALTHCHECK", "ENTRYPOINT", "CMD")
    )
    assert json.loads(entry) == ["alerter"]
    for words in (json.loads(command), health.partition(" CMD alerter ")[2].split()):
        assert words[0] in main.commands


def test_the_image_and_the_documents_agree_on_its_places(tmp_path: Path) -> None:
    assert instructions("VOLUME") == instructions("WORKDIR")[-1:]
    assert "ALERTER_CONFIG=/etc/alerter/config.toml" in instructions("ENV")[0]
    [compose] = re.findall(r"```yaml\n(services:.*?)```", DEPLOY, re.DOTALL)
    assert f"alerter-state:{instructions('VOLUME')[0]}" in compose
    assert "config.toml:/etc/alerter/config.toml:ro" in compose
    assert "read_only: true" in compose


# What is to be pasted


def test_the_slack_app_is_granted_all_that_is_used_and_nothing_more() -> None:
    [manifest] = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DEPLOY, re.DOTALL)]
    assert manifest == MANIFEST
    granted = set(manifest["oauth_config"]["scopes"]["bot"])
    for channel in ({"id": "C1"}, {"id": "C1", "is_private": True}, {"id": "G1", "is_mpim": True}):
        assert list(missing_scopes(granted, "C1", channel)) == []
    assert list(missing_scopes(granted, "U1", {"is_im": True})) == []
    kinds = ("channels", "groups", "im", "mpim")
    assert granted == {
        TO_POST,
        "im:write",
        *(f"{kind}:{right}" for kind in kinds for right in ("read", "history")),
    }
    assert set(manifest) == {"display_information", "features", "oauth_config", "settings"}
    assert len(manifest["display_information"]["description"]) <= 140


def test_the_link_to_the_slack_app_fills_in_the_same() -> None:
    address, _, query = app_link().partition("?")
    assert address == "https://api.slack.com/apps"
    assert parse_qs(query) == {"new_app": ["1"], "manifest_json": [ANY]}
    assert json.loads(parse_qs(query)["manifest_json"][0]) == MANIFEST


def test_the_slack_app_can_have_buttons() -> None:
    assert MANIFEST["settings"]["interactivity"] == {"is_enabled": True}
    assert MANIFEST["settings"]["socket_mode_enabled"]


def test_the_config_to_begin_with_is_good(tmp_path: Path) -> None:
    [config] = [
        text for text in re.findall(r"```toml\n(.*?)```", DEPLOY, re.DOTALL) if "[[sites]]" in text
    ]
    (tmp_path / "config.toml").write_text(config)
    assert load_config(tmp_path / "config.toml", {}, secrets=False).database == Path(
        "/var/lib/alerter/state.db"
    )
