"""What Discord makes of a text: its markup, and the words that people see.

The rules are those of Discord's clients, whose parser is built on simple-markdown:
https://support.discord.com/hc/en-us/articles/210298617-Markdown-Text-101
"""

import re
from collections.abc import Iterator

_BLOCKS = {
    "heading": re.compile(r" *#{1,3}(?!#) +(.*)"),
    "small": re.compile(r" *-# +(.*)"),
    "quote": re.compile(r" *>(?:>>)? (.*)|>()"),
    "list": re.compile(r" *(?:[-*+]|\d+[.)]) +(.*)"),
}
_CODE_BLOCK = re.compile(r"```(?:\w*\n)?(.+?)\n*```", re.DOTALL)
_INLINE = {
    "escape": re.compile(r"\\([^0-9A-Za-z\s])"),
    "code": re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL),
    "link": re.compile(r"\[((?:\\.|[^\]\\]|\](?!\())+)\]\(<?([^\s)]*)>?(?:\s[^)]*)?\)"),
    "autolink": re.compile(r"<((?:https?|mailto|tel|steam|discord):[^ >]+)>"),
    "address": re.compile(r"((?:https?|steam|discord)://[^\s<]+[^<.,:;\"'\]\s])"),
    "mention": re.compile(r"(<@[!&]?\d+>|<#\d+>|@everyone|@here|<id:\w+>|</[^>]+:\d+>)"),
    "time": re.compile(r"(<t:-?\d+(?::[tTdDfFRsS])?>)"),
    "emoji": re.compile(r"(<a?:\w+:\d+>|:[\w+-]+:)"),
    "strong": re.compile(r"\*\*((?:\\.|[^\\])+?)\*\*(?!\*)", re.DOTALL),
    "underline": re.compile(r"__((?:\\.|[^\\])+?)__(?!_)", re.DOTALL),
    "strike": re.compile(r"~~((?:\\.|[^\\])+?)~~", re.DOTALL),
    "spoiler": re.compile(r"\|\|((?:\\.|[^\\])+?)\|\|", re.DOTALL),
    "italic": re.compile(r"[*_](?!\s)((?:\\.|[^\\*_])+?)(?<!\s)[*_](?![*_])", re.DOTALL),
}
_PLAIN = re.compile(r"[0-9A-Za-z]*?(?=(?:https?|steam|discord)://)|[0-9A-Za-z]+|.", re.DOTALL)


def read_markdown(text: str) -> tuple[list[str], str]:
    """Return the kinds of markup in a text, links with their addresses, and what is shown."""
    kinds: list[str] = []
    shown = "".join(_read(text, kinds))
    return kinds, shown


def _read(text: str, kinds: list[str]) -> Iterator[str]:
    rest = text
    while found := _CODE_BLOCK.search(rest):
        yield from _read_lines(rest[: found.start()], kinds)
        kinds.append("code block")
        yield found[1]
        rest = rest[found.end() :]
    yield from _read_lines(rest, kinds)


def _read_lines(text: str, kinds: list[str]) -> Iterator[str]:
    for number, line in enumerate(text.split("\n")):
        yield "\n" if number else ""
        found = True
        while found:
            found = False
            for kind, pattern in _BLOCKS.items():
                if match := pattern.fullmatch(line):
                    kinds.append(kind)
                    line = match[1] or ""  # noqa: PLW2901 - what is in the block
                    found = True
        yield from _read_inline(line, kinds)


def _read_inline(text: str, kinds: list[str]) -> Iterator[str]:
    at = 0
    while at < len(text):
        for kind, pattern in _INLINE.items():
            match = pattern.match(text, at)
            if match is None:
                continue
            at = match.end()
            if kind == "escape":
                yield match[1]
            elif kind == "link":
                kinds.append(f"link {match[2]}")
                yield from _read_inline(match[1], kinds)
            elif kind in ("strong", "underline", "strike", "spoiler", "italic"):
                kinds.append(kind)
                yield from _read_inline(match[1], kinds)
            else:
                kinds.append(kind)
                yield match[match.lastindex or 0]
            break
        else:
            plain = _PLAIN.match(text, at)
            assert plain
            yield plain[0] or text[at]
            at += max(len(plain[0]), 1)
