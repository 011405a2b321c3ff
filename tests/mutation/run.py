"""`make mutate`: change the code a little in many ways, and check that a test fails each time.

mutmut makes the changes (mutants) and runs, for each, the tests that enter the changed function.
SQL is changed here: mutmut only breaks a string or changes its case, and SQL ignores case.
Constants outside functions are not changed.

Exit with 1 where fewer than 95 % of the mutants die, where one survives that survivors.toml does
not explain, or where it explains one that does not survive. Names of mutants as arguments
(`alerter.watch.triage.*`) test only those again, with the tests as they are now, and print what
survives.
"""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from mutmut.__main__ import _run
from mutmut.configuration import config
from mutmut.mutation import mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

HERE = Path(__file__).parent
ENOUGH = 0.95
# The modules, and the tests that concern each, by name wherever they are below tests/.
TESTS = {
    "alerter/watch/triage.py": ["test_triage.py", "test_triage_edges.py"],
    "alerter/watch/routing.py": ["test_routing.py", "test_routing_edges.py"],
    "alerter/watch/quiet.py": ["test_quiet.py"],
    "alerter/watch/keywords.py": ["test_keywords.py"],
    "alerter/notify/backoff.py": ["test_backoff.py"],
    "alerter/store/outbox.py": ["test_outbox.py", "test_outbox_edges.py"],
}

_SQL = re.compile(
    r"\b(SELECT|FROM|WHERE|AND|UPDATE|SET|DELETE|INSERT|VALUES|EXISTS|CASE|ORDER)\b"
    r"|^. ?\((\w+, )+\w+\)"
)
# Each occurrence of a pattern is replaced, one at a time.
_SQL_CHANGES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\bAND\b", "OR"),
        (r"\bOR\b", "AND"),
        (r"<=", "<"),
        (r">=", ">"),
        (r"<(?![=>])", "<="),
        (r"(?<!<)>(?!=)", ">="),
        (r"(?<![<>!])=", "<>"),
        (r"\bIS NULL\b", "IS NOT NULL"),
        (r"\bIS NOT NULL\b", "IS NULL"),
        (r"\bIN \(", "NOT IN ("),
        (r"\bNOT (?=EXISTS|IN\b|\(|$)", ""),
        (r"\bmin\(", "max("),
        (r"\bmax\(", "min("),
        (r"'[a-z_:]+'", "'mutated'"),
        (r"(?<!SELECT )\b\d+\b", "7"),
        (r"(?<=ORDER BY )\w+, ", ""),
        (r", \w+(?= LIMIT|$)", ""),
        (r" LIMIT [:\w]+", ""),
    ]
]


@dataclass(frozen=True, order=True)
class Mutant:
    """A mutant that no test noticed: its function, the lines as they are, and as changed."""

    function: str
    lines: str
    mutated: str


def _mutations(node: cst.SimpleString | cst.FormattedStringText) -> Iterator[cst.CSTNode]:
    """Yield a string with one change: mutmut's where it is no SQL, else each of ours."""
    if _SQL.search(node.value):
        for pattern, replacement in _SQL_CHANGES:
            for found in pattern.finditer(node.value):
                value = node.value[: found.start()] + replacement + node.value[found.end() :]
                yield node.with_changes(value=value)
    elif isinstance(node, cst.SimpleString):
        yield from mutators.operator_string(node)


def _survivors() -> tuple[int, dict[str, Mutant]]:
    """Return how many mutants there are, and those that survived by mutmut's names."""
    count, alive = 0, {}
    for module in TESTS:
        data = SourceFileMutationData(path=module)
        data.load()
        count += len(data.exit_code_by_key)
        for name, code in data.exit_code_by_key.items():
            if status_by_exit_code[code] not in ("killed", "timeout"):
                alive[name] = _mutant(name, module)
    return count, alive


def _mutant(name: str, module: str) -> Mutant:
    changed = get_diff_for_mutant(name, path=module).splitlines()[2:]
    before, after = (
        " ".join(line[1:].strip() for line in changed if line.startswith(sign)) for sign in "-+"
    )
    function = name.partition("__mutmut_")[0].replace(".x_", ".")
    return Mutant(function, before, after)


def _explained() -> set[Mutant]:
    table = tomllib.loads((HERE / "survivors.toml").read_text("utf-8"))
    return {
        Mutant(each["function"], each["lines"], each["mutated"])
        for entry in table.get("survivors", [])
        if entry["why"].strip()
        for each in entry["mutants"]
    }


def _print(title: str, mutants: Iterable[Mutant]) -> None:
    for each in sorted(mutants):
        print(f"{title}: {each.function}\n  - {each.lines}\n  + {each.mutated}")


def main(names: list[str]) -> int:
    """Run mutmut over TESTS and judge what survived."""
    index = mutators.mutation_operators.index((cst.BaseString, mutators.operator_string))
    mutators.mutation_operators[index : index + 1] = [
        (cst.SimpleString, _mutations),
        (cst.FormattedStringText, _mutations),
    ]
    wanted = {each for files in TESTS.values() for each in files}
    tests = [path for path in sorted(Path("tests").rglob("test_*.py")) if path.name in wanted]
    missing = wanted - {path.name for path in tests} | {
        each for each in TESTS if not Path(each).exists()
    }
    if missing:
        sys.exit(f"not there any more: {', '.join(sorted(missing))}")
    config().only_mutate = list(TESTS)
    config().pytest_add_cli_args_test_selection = [str(path) for path in tests]
    if not names:
        shutil.rmtree("mutants", ignore_errors=True)  # it holds verdicts of other tests
    _run(names, max_children=None)
    count, alive = _survivors()
    if names:
        _print("survived", alive.values())
        return 0
    survivors, explained = set(alive.values()), _explained()
    _print("survived, and survivors.toml does not explain it", survivors - explained)
    _print("explained in survivors.toml, but does not survive", explained - survivors)
    killed = 1 - len(alive) / count
    print(f"{count} mutants, {len(alive)} survived: {killed:.1%} killed, {ENOUGH:.0%} wanted")
    return int(killed < ENOUGH or survivors != explained)


if __name__ == "__main__":
    sys.path.pop(
        0
    )  # or the tests would be imported from here, and not from where they are copied to
    sys.exit(main(sys.argv[1:]))
