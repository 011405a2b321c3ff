"""The rooms of the house: imports point down, and each third party has one room."""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import alerter

PACKAGE = Path(alerter.__file__).parent

# Top to bottom. A module imports from its own room and from those below it.
ROOMS: list[set[str]] = [
    {"__main__", "cli", "check", "status", "backfill", "explain", "forget", "preview", "reply", "restore", "terminal"},
    {"demo"},
    {"daemon", "rounds", "wiring", "systemd", "reload", "reroute"},
    {"web.server"},
    {"web.health", "web.metrics"},
    {"web.webhooks"},
    {"web.signature"},
    {"heartbeat", "housekeeping"},
    {"watch.poll", "watch.backfill"},
    {"watch.intake", "watch.reader", "watch.rerouting"},
    {"watch.changes"},
    {"watch.catalog", "watch.triage", "watch.routing"},
    {"watch.quiet", "watch.keywords"},
    {"watch.wix"},
    {"watch.wix_http"},
    {"watch.wix_event", "watch.wix_proof"},
    {"watch.wix_review"},
    {"tell.dispatch"},
    {"tell.worker"},
    {"tell.in_doubt", "tell.updates"},
    {"tell.state_alarm", "tell.reach", "tell.digest"},
    {"tell.outlet"},
    {"tell.render", "tell.email", "tell.slack"},
    {"tell.template_process"},
    {"tell.templates"},
    {"tell.quoting"},
    {"tell.summary_view"},
    {"tell.views"},
    {"tell.words", "tell.pause"},
    {"tell.slack_check"},
    {"tell.slack_look"},
    {"tell.slack_api"},
    {"tell.backoff"},
    {"samples"},
    {"trouble", "summary"},
    {"trouble_rules", "trouble_words"},
    {"store"},
    {"config"},
    {"config_faults", "config_rules"},
    {"config_files"},
    {"config_secrets"},
    {"config_fields"},
    {"models", "errors", "clock", "counters", "links", "logs", "text"},
]
COMMANDS = {"cli", "check", "status", "backfill", "forget", "preview", "reply"}
THIRD_PARTIES = {
    "aiohttp": {"tell.slack", "tell.slack_api", "demo", "web"},
    "aiosmtpd": {"demo"},
    "aiosmtplib": {"tell.email"},
    "apscheduler": {"rounds"},
    "click": COMMANDS,
    "cryptography": {"web", "demo"},
    "idna": {"config_fields"},
    "httpx": {"watch.wix", "watch.wix_http", "heartbeat"},
    "jinja2": {"tell.render", "tell.templates"},
    "jwt": {"web", "demo"},
    "prometheus_client": {"web"},
    "pydantic": {"config", "config_faults", "config_fields", "config_secrets"},
    "pydantic_core": {"config_faults", "config_rules", "config_fields", "config_secrets"},
    "slack_sdk": {"tell.slack", "tell.slack_api"},
    "sqlite_utils": {"store"},
}


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs: all but what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _run(node)


def _imported(tree: ast.AST) -> Iterator[str]:
    """The full names of the modules, or of what is taken from them, that a file imports anywhere."""
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(imported: str) -> str:
    """The module of ours that an import means: the longest name that is one."""
    name = imported.removeprefix("alerter").removeprefix(".")
    while name and name not in FILES:
        name = name.rpartition(".")[0]
    return name


OURS = {
    name: {_module(each) for each in _imported(tree) if each.split(".")[0] == "alerter"} for name, tree in TREES.items()
}

STRANGERS = {
    name: {each.split(".")[0] for each in _imported(tree)} - sys.stdlib_module_names - {"alerter"}
    for name, tree in TREES.items()
}


def _within(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"{room}.")


def _room(module: str) -> int:
    """How far down a module's room is; the package itself and those of its folders that hold rooms are the ground."""
    inside = [depth for depth, room in enumerate(ROOMS) if any(_within(module, name) for name in room)]
    assert inside or module in ("", "watch", "tell", "web"), f"{module} has no room: give it one, and say in which"
    return inside[0] if inside else len(ROOMS)


def test_every_room_is_there() -> None:
    assert {name for room in ROOMS for name in room} <= set(FILES)
    assert len(FILES) > 20


@pytest.mark.parametrize("module", [name for name in FILES if name])
def test_imports_point_down(module: str) -> None:
    assert {other for other in OURS[module] if _room(other) < _room(module)} == set()


def test_the_two_halves_never_import_each_other() -> None:
    halves = {"watch": "tell", "tell": "watch"}
    met = {
        (name, other)
        for name, others in OURS.items()
        for other in others
        if other.split(".")[0] == halves.get(name.split(".")[0])
    }
    assert met == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    try:
        TopologicalSorter({name: others - {name, ""} for name, others in OURS.items()}).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        pytest.fail(", ".join(f"{one} is imported by {other}" for one, other in pairwise(circle)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name) if name == "click" else name for name in THIRD_PARTIES],
)
def test_a_third_party_is_imported_in_its_own_room_only(name: str) -> None:
    importers = {module for module in FILES if name in STRANGERS[module]}
    # `alerter demo` looks whether aiosmtpd is there before it goes into the demo.
    elsewhere = importers - ({"cli"} if name == "aiosmtpd" else set())
    assert importers, f"nothing imports {name} any more"
    assert [each for each in elsewhere if not any(_within(each, room) for room in THIRD_PARTIES[name])] == []


def test_every_third_party_has_a_room() -> None:
    assert set().union(*STRANGERS.values()) == set(THIRD_PARTIES)


def test_imports_inside_functions_count_and_those_for_annotations_do_not() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n    import a\ndef f():\n    from b import c")
    assert list(_imported(tree)) == ["b.c"]
    assert "daemon" in OURS["cli"]


@pytest.mark.parametrize("module", FILES)
def test_files_and_functions_are_short(module: str) -> None:
    lines = FILES[module].read_text("utf-8").count("\n")
    assert lines <= 400, f"{module} has {lines} lines: split it by noun"
    long = {
        f"{node.name} in line {node.lineno}": 1 + (node.end_lineno or 0) - node.lineno
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in long.items() if lines > 40} == {}


def test_modules_are_named_after_what_they_are_about() -> None:
    empty = {"utils", "util", "helpers", "common", "base", "manager", "misc"}
    assert [name for name in FILES if empty & set(re.split(r"[._]", name))] == []


def test_time_comes_from_the_clock_only() -> None:
    asked = {
        (name, ast.unparse(node))
        for name, tree in TREES.items()
        if name != "clock" and not name.startswith("demo")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node)
        in ("datetime.now", "datetime.utcnow", "date.today", "time.time", "time.monotonic", "time.sleep")
    }
    assert asked == set()
