"""Writes what templates may use into docs/templates.md, from the code: `make docs`."""

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


def made(document: str) -> str:
    """The document with its tables as the code has them now."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", "", *_kinds(), *_views(), f"{END}{after}"])


class Listener(Renderer):
    """Renders, and remembers what the templates were handed."""

    def __init__(self) -> None:
        super().__init__(None, UTC, {})
        self.heard: dict[str, Any] = {}

    def _fill(
        self, name: str, values: Mapping[str, Any], *, own: bool = True, as_json: bool = False
    ) -> Any:
        self.heard |= values
        return super()._fill(name, values, own=own, as_json=as_json)


def _kinds() -> Iterator[str]:
    """What each kind of message hands to its templates."""
    yield from ("| message | its variables |", "| --- | --- |")
    for kind in KINDS:
        listener, message = Listener(), sample(kind, "a-site", datetime.now(UTC))
        listener.mail(message)
        listener.slack(message)
        told = ", ".join(
            f"`{name}`{_type(value)}" for name, value in listener.heard.items() if name != "test"
        )
        yield f"| `{kind}` | {told} |"
    yield ""


def _type(value: Any) -> str:
    """What a value is, in brackets; nothing for one that is not there."""
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
            if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
                raise SystemExit(
                    f"{module.__name__}.{node.name}.{ast.unparse(field.target)} does not say what it is"
                )
            said = " ".join(str(text.value.value).split()).replace("|", "\\|")
            yield f"| `{ast.unparse(field.target)}` | {_words(ast.unparse(field.annotation))} | {said} |"
    yield ""


def _words(annotation: str) -> str:
    """A type in words for people who write templates."""
    parts = [part.strip() for part in annotation.split(" | ")]
    return " or ".join(WORDS.get(part) or _list(part) for part in parts)


def _list(part: str) -> str:
    inner = re.fullmatch(r"(?:Sequence|list)\[(.+)\]|tuple\[(.+), \.\.\.\]", part)
    if inner is None:
        return part
    name = inner[1] or inner[2]
    return f"list of {WORDS.get(name, name)}"


if __name__ == "__main__":
    DOCUMENT.write_text(made(DOCUMENT.read_text("utf-8")), "utf-8")
