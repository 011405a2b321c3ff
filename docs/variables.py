"""Write the variables of templates into docs/templates.md, from the code: `make docs`."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from alerter.render import (
    buttons,
    cluster_view,
    order_view,
    response_view,
    summary_view,
    trouble_view,
    views,
)
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, sample

DOCUMENT = Path(__file__).parent / "templates.md"
BEGIN, END = "<!-- From here on made by `make docs`. -->", "<!-- To here. -->"
MODULES = (views, buttons, order_view, response_view, cluster_view, trouble_view, summary_view)
EVERYWHERE = ("kind", "test", "medium", "receiver", "host")
TYPES = {
    "str": "text",
    "int": "number",
    "bool": "yes or no",
    "None": "none",
    "datetime": "date",
    "timedelta": "duration",
    "Mapping[str, Any]": "table",
}


def made(document: str) -> str:
    """Return the document with its tables as they follow from the code."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", "", *_kinds(), *_views(), f"{END}{after}"])


class RecordingRenderer(Renderer):
    """Records the variables of the templates that it renders."""

    def __init__(self) -> None:
        super().__init__(None, UTC, {})
        self.variables: dict[str, Any] = {}

    def _fill(self, kind: str, values: Mapping[str, Any], ending: str, **how: Any) -> Any:
        self.variables |= values
        return super()._fill(kind, values, ending, **how)


def _kinds() -> Iterator[str]:
    """Yield a table with the variables of each kind of message."""
    yield from ("| message | its variables |", "| --- | --- |")
    for kind in KINDS:
        renderer, message = RecordingRenderer(), sample(kind, "a-site", datetime.now(UTC))
        renderer.mail(message)
        renderer.slack(message)
        variables = ", ".join(
            f"`{name}`{_type(value)}"
            for name, value in renderer.variables.items()
            if name not in EVERYWHERE
        )
        yield f"| `{kind}` | {variables} |"
    yield ""


def _type(value: Any) -> str:
    """Return the type of a value, in brackets; empty for None."""
    if value is None:
        return ""
    many, one = ("list of ", value[0]) if isinstance(value, list | tuple) else ("", value)
    if isinstance(one, list | tuple):
        many, one = "list of lists of ", one[0]
    name = type(one).__name__
    return f" ({many}{TYPES.get(name, name)})"


def _views() -> Iterator[str]:
    for module in MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("View"):
                yield from _table(node, module)


def _table(node: ast.ClassDef, module: ModuleType) -> Iterator[str]:
    yield from (f"### {node.name}", "", " ".join((ast.get_docstring(node) or "").split()), "")
    yield from ("| field | is | |", "| --- | --- | --- |")
    for field, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            name, annotation, text = ast.unparse(field.target), field.annotation, None
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = str(following.value.value)
        elif isinstance(field, ast.FunctionDef) and field.returns:
            name, annotation, text = field.name, field.returns, ast.get_docstring(field)
        else:
            continue
        if not text:
            raise SystemExit(f"{module.__name__}.{node.name}.{name} has no docstring")
        text = " ".join(text.split()).replace("|", "\\|")
        yield f"| `{name}` | {_described(ast.unparse(annotation))} | {text} |"
    yield ""


def _described(annotation: str) -> str:
    """Return a type as people who write templates call it."""
    parts = [part.strip() for part in annotation.split(" | ")]
    return " or ".join(TYPES.get(part) or _list(part) for part in parts)


def _list(part: str) -> str:
    inner = re.fullmatch(r"(?:Sequence|list)\[(.+)\]|tuple\[(.+), \.\.\.\]", part)
    if inner is None:
        return part
    name = inner[1] or inner[2]
    return f"list of {TYPES.get(name, name)}"


if __name__ == "__main__":
    DOCUMENT.write_text(made(DOCUMENT.read_text("utf-8")), "utf-8")
