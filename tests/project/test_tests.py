"""The tests themselves: short files and names, and no test module leans on another."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = {path.relative_to(TESTS).as_posix(): path for path in sorted(TESTS.rglob("*.py"))}
# One scene for each way to break a promise: a table, only longer.
LONG = {"simulation/oracle/scenes.py"}


def found(pattern: str) -> list[tuple[str, str]]:
    """Return each file's name with what the pattern finds in it."""
    return [
        (name, match)
        for name, path in FILES.items()
        for match in re.findall(pattern, path.read_text("utf-8"))
    ]


def test_no_test_module_is_imported() -> None:
    """What several of them need is in `tests/support/`, or in the folder's `conftest.py`."""
    imported = found(r"(?m)^ *(?:from|import) +(tests[\w.]*(?: import +(?:\([^)]*\)|[\w, ]+))?)")

    assert len(imported) > 300
    assert [each for each in imported if re.search(r"\b(test_|conftest)", each[1])] == []


def test_no_file_has_more_than_600_lines() -> None:
    lines = {name: path.read_text("utf-8").count("\n") for name, path in FILES.items()}
    assert {name for name, number in lines.items() if number > 600} <= LONG


def test_no_name_of_a_test_has_more_than_70_characters() -> None:
    names = found(r"(?m)^ *(?:async )?def (test_\w+)")

    assert len(names) > 1000
    assert [name for name in names if len(name[1]) > 70] == []


def test_every_folder_of_tests_is_a_package() -> None:
    """Two modules of one name would get in each other's way without."""
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []
