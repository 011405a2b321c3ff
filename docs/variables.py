"""Write the variables of templates into docs/templates.md: `make docs`."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from alerter.render import summary_view, views
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, sample

DOCUMENT = Path(__file__).parent / "templates.md"
BEGIN, END = "<!-- From here on made by `make docs`. -->", "<!-- To here. -->"
MODULES = (views, summary_view)
WORDS = {
    "str": "text",
    "int": "number",
    "bool": "yes or no",
    "None": "none",
    "Mapping[str, Any]": "table",
}


def rewrite(document: str) -> str:
    """Return the document with its tables made from the code."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", "", *_kinds(), *_views(), f"{END}{after}"])


class Recorder(Renderer):
    """Render, and record the variables of the templates."""

    def __init__(self) -> None:
        super().__init__(None, UTC, {})
        self.variables: dict[str, Any] = {}

    def _fill(
        self, name: str, values: Mapping[str, Any], *, own: bool = True, as_json: bool = False
    ) -> Any:
        self.variables |= values
        return super()._fill(name, values, own=own, as_json=as_json)


def _kinds() -> Iterator[str]:
    """Yield a table of the variables of each kind of message."""
    yield from ("| message | its variables |", "| --- | --- |")
    for kind in KINDS:
        recorder, message = Recorder(), sample(kind, "a-site", datetime.now(UTC))
        recorder.mail(message)
        recorder.slack(message)
        variables = ", ".join(
            f"`{name}`{_type(value)}"
            for name, value in recorder.variables.items()
            if name != "test"
        )
        yield f"| `{kind}` | {variables} |"
    yield ""


def _type(value: Any) -> str:
    """Return the type of a value in brackets; empty for None."""
    if value is None:
        return ""
    many, one = ("list of ", value[0]) if isinstance(value, list | tuple) else ("", value)
    if isinstance(one, list | tuple):
        many, one = "list of lists of ", one[0]
    name = type(one).__name__
    return f" ({many}{WORDS.get(name, name)})"


def _views() -> Iterator[str]:
    for module in MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("View"):
                yield from _table(node, module)


def _table(node: ast.ClassDef, module: ModuleType) -> Iterator[str]:
    yield from (f"### {node.name}", "", " ".join((ast.get_docstring(node) or "").split()), "")
    yield from ("| field | is | |", "| --- | --- | --- |")
    for field, text in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            name = ast.unparse(field.target)
            if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
                raise SystemExit(f"{module.__name__}.{node.name}: {name} has no description")
            description = " ".join(str(text.value.value).split()).replace("|", "\\|")
            kind = _words(ast.unparse(field.annotation))
            yield f"| `{name}` | {kind} | {description} |"
    yield ""


def _words(annotation: str) -> str:
    """Return a type in the words of people who write templates."""
    parts = [part.strip() for part in annotation.split(" | ")]
    return " or ".join(WORDS.get(part) or _list(part) for part in parts)


def _list(part: str) -> str:
    inner = re.fullmatch(r"(?:Sequence|list)\[(.+)\]|tuple\[(.+), \.\.\.\]", part)
    if inner is None:
        return part
    name = inner[1] or inner[2]
    return f"list of {WORDS.get(name, name)}"


if __name__ == "__main__":
    DOCUMENT.write_text(rewrite(DOCUMENT.read_text("utf-8")), "utf-8")
