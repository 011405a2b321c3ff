"""Exceptions to a rule are explained, and a public name means one thing."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import alerter

ROOT = Path(__file__).parents[2]
PACKAGE = Path(alerter.__file__).parent
# Public top-level names that stand in several modules, by why they may.
SHARED = {
    "found by this name in each file of commands/": {"command"},
    "what a command does once its options are read; the demo runs a query": {"run"},
    "the logger of each module": {"log"},
    "the demo imitates a service, and names its things as that service does": {
        "App", "AppToken", "Call", "Faults", "Json", "Person", "Reply", "Site",
        "length_of", "serve",
    },
}  # fmt: skip


def _public(tree: ast.Module) -> Iterator[str]:
    """Yield each public name that a module defines at its top."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [node.name]
            case ast.Assign():
                names = [each.id for each in node.targets if isinstance(each, ast.Name)]
            case ast.AnnAssign(target=ast.Name(name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_stands_in_two_modules_without_a_reason() -> None:
    modules = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in _public(ast.parse(path.read_text("utf-8"))):
            modules[name].add(str(path.relative_to(PACKAGE)))
    shared = {name: found for name, found in modules.items() if len(found) > 1}
    explained = set().union(*SHARED.values())

    assert {name: found for name, found in shared.items() if name not in explained} == {}
    assert explained - shared.keys() == set(), "these stand in one module: take them off the list"


NOQA = re.compile(r"# noqa\b(?!: [A-Z]+\d+(, [A-Z]+\d+)* - \w)")
IGNORE = re.compile(r"# type: ignore\b(?!\[[\w, -]+\]  # \w)")


def _found(pattern: re.Pattern[str], *folders: str) -> list[str]:
    """Return the lines of the sources below these folders in which a pattern occurs."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if path != Path(__file__) and pattern.search(line)
    ]


FOLDERS = ("alerter", "tests", "benchmarks", "deploy", "docs")


def test_every_noqa_names_its_rule_and_its_reason() -> None:
    """In the form `# noqa: RULE - reason`."""
    assert _found(NOQA, *FOLDERS) == []


def test_every_type_ignore_names_its_error_and_its_reason() -> None:
    """In the form `# type: ignore[error]  # reason`."""
    assert _found(IGNORE, "alerter") == []


def test_nothing_is_ignored_where_types_are_not_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["mypy"]["packages"] == ["alerter"]

    assert _found(re.compile("# type: ignore"), *FOLDERS[1:]) == []


def test_every_rule_that_is_off_is_explained() -> None:
    """Each line of ruff's lists in pyproject.toml that names rules says why."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    ruff = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    rules = [line for line in ruff.splitlines() if re.search(r'"[A-Z]+\d*"[,\]]', line)]

    assert len(rules) > 15
    assert [line for line in rules if " # " not in line and '["ALL"]' not in line] == []
