"""Fixtures that load a config from text."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from alerter.config import Config, load_config
from alerter.errors import ConfigError
from tests.support.config import SECRETS, Faults, Load


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, environ: Mapping[str, str] = SECRETS, *, secrets: bool = True) -> Config:
        path = tmp_path / "config.toml"
        path.write_text(text, "utf-8")
        return load_config(path, environ, secrets=secrets)

    return load


@pytest.fixture
def faults(load: Load) -> Faults:
    def faults(
        text: str, environ: Mapping[str, str] = SECRETS, *, secrets: bool = True
    ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ, secrets=secrets)
        return caught.value.problems

    return faults
