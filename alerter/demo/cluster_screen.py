"""A terminal with lines that scroll above a table that is drawn again."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

# Codes of ECMA-48, by what is shown.
_STYLES = {"step": "1", "message": "32", "result": "1"}
_STYLED = re.compile(r"\x1b\[[0-9;]*m")


def styled(text: str, code: str) -> str:
    """Return a text in a colour, or bold."""
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def aligned(rows: Sequence[Sequence[str]], colours: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of a table; a cell whose text has a colour is shown in it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            styled(cell, (colours or {}).get(cell, "")) + " " * (width - len(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


class Screen:
    """Where the story is shown. Piped, it is only its lines, without colours and table."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.is_terminal = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._table: list[str] = []

    def say(self, text: str, kind: Literal["step", "message", "note", "result"]) -> None:
        """Add lines, above the table."""
        table = self._table
        self._write(f"{self._erased()}{styled(text, _STYLES.get(kind, ''))}\n")
        self.show(table)

    def show(self, table: Sequence[str]) -> None:
        """Show a table in place of the one before, where there is room for it."""
        size = shutil.get_terminal_size()
        if not self.is_terminal or len(table) >= size.lines or [*table] == self._table:
            return
        shown = [_cut(line, size.columns - 1) for line in table]
        erased = self._erased()
        self._table = [*table]
        self._write(erased + "".join(f"{line}\n" for line in shown))

    def clear(self) -> None:
        """Take the table away."""
        self._write(self._erased())

    def _erased(self) -> str:
        up, self._table = len(self._table), []
        return f"\x1b[{up}F\x1b[J" if up else ""

    def _write(self, text: str) -> None:
        self._out.write(text if self.is_terminal else _STYLED.sub("", text))
        self._out.flush()


def _cut(line: str, columns: int) -> str:
    """Return a line that a terminal does not break; one that is too long loses its colours."""
    plain = _STYLED.sub("", line)
    return line if len(plain) <= columns else plain[:columns]
