"""Where secrets come from, and that nothing shows them."""

import os
import traceback
from pathlib import Path

import pytest

from alerter.config import Config
from alerter.errors import ConfigError
from tests.support.config import FULL, LEAST, SECRETS, Faults, Load, changed


def secret_of(config: Config) -> str:
    key = config.sites[0].api_key
    return key.get_secret_value() if key else ""


def with_key(value: str) -> str:
    return changed('api_key = "env:WIX"', f'api_key = "{value}"', LEAST)


def test_a_secret_comes_from_the_environment(load: Load) -> None:
    assert secret_of(load(LEAST, SECRETS | {"WIX": " a-key\n"})) == "a-key"


def test_a_secret_comes_from_a_file_beside_the_config(load: Load, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "wix").write_text("a-key\n")
    assert secret_of(load(with_key("file:secrets/wix"))) == "a-key"
    assert secret_of(load(with_key(f"file:{tmp_path}/secrets/wix"))) == "a-key"


def test_a_secret_comes_from_a_credential_of_systemd(load: Load, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "wix").write_text("a-key")
    environ = SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert secret_of(load(with_key("credential:wix"), environ)) == "a-key"


NO_SECRET = {
    "a variable that is not set": ("env:NOT_SET", "the environment variable NOT_SET is not set"),
    "an empty variable": ("env:EMPTY", "the environment variable EMPTY is not set"),
    "a blank variable": ("env:BLANK", "env:BLANK is empty"),
    "a variable of two lines": (
        "env:TWO",
        "env:TWO is empty or has a character that no secret has",
    ),
    "no file": ("file:none", "file:none cannot be read: No such file or directory"),
    "a folder": ("file:.", "file:. cannot be read: Is a directory"),
    "an empty file": ("file:empty", "file:empty is empty"),
    "a file that is no text": ("file:binary", "file:binary cannot be read: not text"),
    "no folder of credentials": (
        "credential:wix",
        "LoadCredential has not set CREDENTIALS_DIRECTORY",
    ),
    "a secret itself": (
        "wix-key-itself",
        'must say where the secret is: "env:NAME", "file:PATH" or "credential:NAME"',
    ),
    "a source without a name": ("env:", "must say where the secret is"),
    "an unknown source": ("vault:wix", "must say where the secret is"),
}


@pytest.mark.parametrize(("value", "phrase"), NO_SECRET.values(), ids=NO_SECRET.keys())
def test_a_secret_that_is_not_there_is_a_fault(
    faults: Faults, tmp_path: Path, value: str, phrase: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    [problem] = faults(with_key(value), SECRETS | {"EMPTY": "", "BLANK": " ", "TWO": "one\ntwo"})
    assert problem.startswith("sites.1.api_key: ")
    assert phrase in problem


def test_a_credential_that_systemd_did_not_load_is_a_fault(faults: Faults, tmp_path: Path) -> None:
    [problem] = faults(
        with_key("credential:wix"), SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    )
    assert "the secret in credential:wix cannot be read: No such file or directory" in problem


def test_commands_that_speak_to_no_service_need_no_secret(load: Load, faults: Faults) -> None:
    assert secret_of(load(LEAST, {}, secrets=False)) == ""
    assert load(with_key("file:none"), {}, secrets=False)
    [problem] = faults(with_key("wix-key-itself"), {}, secrets=False)
    assert "must say where the secret is" in problem


# Where pydantic's own messages would quote what was written: https://docs.pydantic.dev/latest/errors/errors/
HUSH = "hush-7"
LEAKS = {
    "stands in the config": f'api_key = "{HUSH}"',
    "stands in a list": f'api_key = ["{HUSH}"]',
    "stands in a table": f'api_key = {{key = "{HUSH}"}}',
    "stands at a misspelt key": f'api_kye = "{HUSH}"\napi_key = "env:WIX"',
    "stands where another key is missing": f'app_secret = "{HUSH}"',
    "stands for a number": f'api_key = "env:WIX"\nthreshold = "{HUSH}"',
    "is in the environment, and another is missing": 'api_key = "env:HUSH"\nbogus = 1',
    "is in a file of two lines": 'api_key = "file:hush"',
}


@pytest.mark.parametrize("line", LEAKS.values(), ids=LEAKS.keys())
def test_no_fault_shows_a_secret_that(load: Load, tmp_path: Path, line: str) -> None:
    (tmp_path / "hush").write_text(f"{HUSH}\n{HUSH}")
    with pytest.raises(ConfigError) as caught:
        load(changed('api_key = "env:WIX"', line, LEAST), SECRETS | {"HUSH": HUSH})
    error = caught.value
    told = [str(error), repr(error), *error.problems, *traceback.format_exception(error)]
    assert not [
        text for text in told if HUSH in text or any(secret in text for secret in SECRETS.values())
    ]


def test_a_config_never_shows_its_secrets(load: Load) -> None:
    config = load(FULL)
    told = f"{config!r} {config} {config.sites} {config.model_dump_json()}"
    assert not [secret for secret in SECRETS.values() if secret in told]


@pytest.mark.parametrize("source", ["env", "file", "credential"])
@pytest.mark.parametrize(
    "pasted",
    [
        "xoxb-1111111111-222222-AbCdEfGhIjKl",
        "IST.eyJraWQiOiJQb3pIX2FDMiIsImFsZyI6IlJTMjU2In0.eyJkYXRhIjoie1wi",
        "d1f0e2a4-5b6c-4d7e-8f90-a1b2c3d4e5f6",
        "hunter2",
        "JBSWY3DPEHPK3PXP",
        "pA55word",
        "a b\u0000c9",
    ],
)
def test_a_secret_that_is_pasted_in_place_of_a_name_is_not_shown(
    faults: Faults, tmp_path: Path, source: str, pasted: str
) -> None:
    escaped = pasted.replace("\0", "\\u0000")
    environ = SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    [problem] = faults(changed('api_key = "env:WIX"', f'api_key = "{source}:{escaped}"'), environ)
    assert problem.startswith("sites.1.api_key: ")
    assert pasted not in problem
    assert "not shown" in problem


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("env:WIX_API_KEY_2", "WIX_API_KEY_2 is not set"),
        ("file:secrets/wix-key", "file:secrets/wix-key cannot be read"),
        ("file:/etc/alerter-7f3a/wix-key.txt", "file:/etc/alerter-7f3a/wix-key.txt cannot be read"),
        ("credential:alerter_wix-key", "credential alerter_wix-key: systemd"),
    ],
)
def test_a_name_is_shown(faults: Faults, reference: str, shown: str) -> None:
    [problem] = faults(changed('api_key = "env:WIX"', f'api_key = "{reference}"'))
    assert shown in problem


@pytest.mark.parametrize("name", ["../key", "/etc/passwd", "a/b", "..", "."])
def test_a_credential_has_the_name_of_a_file(faults: Faults, tmp_path: Path, name: str) -> None:
    environ = SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert (
        "must name a credential"
        in faults(changed('api_key = "env:WIX"', f'api_key = "credential:{name}"'), environ)[0]
    )


def test_a_secret_is_read_from_a_small_regular_file_only(
    faults: Faults, load: Load, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("x" * (64 * 1024 + 1))
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in (
        ("pipe", "it is no regular file of at most 64 kB"),
        ("/dev/zero", "it is no regular file of at most 64 kB"),
        ("large", "it is no regular file of at most 64 kB"),
        (".", "Is a directory"),
        ("loop", ""),
    ):
        [problem] = faults(changed('api_key = "env:WIX"', f'api_key = "file:{name}"'))
        assert f"the secret in file:{name} cannot be read: {reason}" in problem
    (tmp_path / "largest").write_text("x" * 64 * 1024)
    assert load(changed('api_key = "env:WIX"', 'api_key = "file:largest"'))
