"""The tests themselves: short files and names, and no test module leans on another."""

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py"))}
# One scene for each way to break a promise: a table, only longer.
LONG = {"simulation/oracle/scenes.py"}


@cache
def trees() -> dict[str, ast.Module]:
    """Parse every file, in the process that runs these tests and in no other."""
    return {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def imported(tree: ast.Module) -> set[str]:
    """Return the modules that a file imports, and what it imports of them."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def test_no_test_module_is_imported() -> None:
    """What several of them need is in `tests/support/`, or in the folder's `conftest.py`."""
    found = {
        name: {module for module in imported(tree) if module.startswith("tests.")}
        for name, tree in trees().items()
    }
    assert {
        (name, module)
        for name, modules in found.items()
        for module in modules
        if ".test_" in module or ".conftest" in module
    } == set()


def test_no_file_has_more_than_600_lines() -> None:
    lines = {name: path.read_text("utf-8").count("\n") for name, path in FILES.items()}
    assert {name for name, number in lines.items() if number > 600} <= LONG


def test_no_name_of_a_test_has_more_than_70_characters() -> None:
    names = {
        node.name
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert [name for name in names if name.startswith("test_") and len(name) > 70] == []


def test_every_folder_of_tests_is_a_package() -> None:
    """Two modules of one name would get in each other's way without."""
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []
