"""What the documents say is so."""

import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel

from alerter import __version__
from alerter.cli import main
from alerter.config import Config, load_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLE = (ROOT / "config.example.toml").read_text("utf-8")
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("**/*.md")),
]
CONFIGS = [
    block for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL) if "[[sites]]" in block
]


def load(text: str, folder: Path) -> Config:
    """Load a config as it stands in a document, once its variables are set."""
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    address = "https://set.example/of-at-least-32-characters"
    environ = dict.fromkeys(re.findall(r'"env:(\w+)"', text), address)
    environ |= {"SLACK_APP_TOKEN": "xapp-1", "HOOK_SECRET": f"whsec_{'c2Vj' * 8}"}
    return load_config(path, environ, secrets=True)


def uncommented(text: str) -> str:
    """The same with the keys that are commented out: `# key = value` and `# [table]`."""
    return re.sub(r"(?m)^# (?=\w+ = |\[)", "", text)


def make_folders(folder: Path) -> None:
    """Those that the example names in what is commented out."""
    for name in ("my-templates", "sites.d"):
        (folder / name).mkdir()


def test_readme_names_every_command_and_every_option() -> None:
    told = set(re.findall(r"[\w-]+", README))
    assert main.commands
    for name, command in main.commands.items():
        assert f"alerter {name}" in README
        options = [each for each in command.params if isinstance(each, click.Option)]
        assert [option.opts[0] for option in options if option.opts[0] not in told] == []


def test_every_command_and_option_says_what_it_does() -> None:
    for command in main.commands.values():
        assert command.help
        assert [
            each.name for each in command.params if isinstance(each, click.Option) and not each.help
        ] == []


def test_readme_names_the_commands_that_set_everything_up() -> None:
    targets = re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"))
    for target in ("demo", "demo-cluster", "test"):
        assert f"make {target}" in README
        assert target in targets


def test_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 150


def test_the_configs_in_the_readme_load(tmp_path: Path) -> None:
    assert CONFIGS
    for text in CONFIGS:
        assert load(text, tmp_path).sites


def test_the_example_config_loads_as_it_stands(tmp_path: Path) -> None:
    assert len(load(EXAMPLE, tmp_path).receivers) == 2


def test_the_example_config_loads_with_everything_that_is_commented_out(tmp_path: Path) -> None:
    make_folders(tmp_path)
    config = load(uncommented(EXAMPLE), tmp_path)
    assert config.templates == tmp_path / "my-templates"


def _fields(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key of a model and of those within it: `sites.name`."""
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        inner = [
            each
            for each in _flat(field.annotation)
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        yield from (each for one in inner for each in _fields(one, f"{key}."))
        if not inner:
            yield key


def _flat(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _flat(inner)


def _keys(table: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in table.items():
        inner = [
            each
            for each in (value if isinstance(value, list) else [value])
            if isinstance(each, dict)
        ]
        yield from (each for one in inner for each in _keys(one, f"{above}{name}."))
        if not inner:
            yield f"{above}{name}"


def test_the_example_config_holds_every_key_and_no_other() -> None:
    assert '#   url = "env:DATABASE_URL"' in EXAMPLE  # instead of another key
    found = {*_keys(tomllib.loads(uncommented(EXAMPLE))), "state.url"}
    assert found == set(_fields(Config))


def test_the_example_config_shows_the_defaults_where_it_shows_no_choice(tmp_path: Path) -> None:
    """What an owner leaves as it is in the example is what leaving it out would be."""
    make_folders(tmp_path)
    config = load(uncommented(EXAMPLE), tmp_path)
    for table in (config.poll, config.alerts):
        fields = type(table).model_fields.items()
        choices = {name: None for name, field in fields if field.default is None}
        assert table.model_copy(update=choices) == type(table)()
    assert config.wix.base_url == type(config.wix)().base_url
    assert config.state_file.keep == type(config.state_file).model_fields["keep"].default
    assert config.slack
    assert config.slack.base_url == type(config.slack).model_fields["base_url"].default


def test_the_document_of_templates_names_all_that_they_may_use() -> None:
    text = (ROOT / "docs" / "templates.md").read_text("utf-8")
    assert "| `new` | `review` (ReviewView), `site` (SiteView)" in text
    rewrite = runpy.run_path(str(ROOT / "docs" / "variables.py"))["made"]
    assert rewrite(text) == text, "run `make docs`"


def test_the_pictures_are_small_and_each_is_shown_somewhere() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    shown = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert pictures
    assert [
        path.name for path in pictures if path.stat().st_size > 300_000 or path.name not in shown
    ] == []


def test_the_picture_of_the_cluster_is_the_one_that_is_drawn() -> None:
    draw = runpy.run_path(str(ROOT / "docs" / "cluster_picture.py"))["draw_cluster"]
    picture = (ROOT / "docs" / "pictures" / "cluster.svg").read_text("utf-8")
    assert picture == draw(), "run `make pictures`"


def test_the_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+/\w+\.py)`", text)) - {"docs/measures.py"}
    assert named
    assert [name for name in sorted(named) if not (ROOT / "alerter" / name).exists()] == []


def test_the_changelog_has_this_version() -> None:
    headings = re.findall(r"(?m)^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert headings[0] in ("Unreleased", __version__)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
    inside = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in inside if not (path.parent / link).exists()] == []


def test_documents_name_files_that_are_there() -> None:
    named = {
        each
        for path in DOCUMENTS
        for each in re.findall(
            r"`((?:alerter|tests|templates|docs|deploy)/[\w./]*)`", path.read_text("utf-8")
        )
    }
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
