"""Text cut, escaped, quoted and isolated to what a service and a reader take. Pure."""

import re
import unicodedata
from collections.abc import Callable

# https://docs.slack.dev/reference/block-kit/blocks: 50 blocks, 3,000 characters a text, 150 a header
SLACK_TEXT = 3000

# Characters that set the direction of all that follows, until they are closed: https://www.unicode.org/reports/tr9/
_FSI, _PDI = "\u2068", "\u2069"
_SAID = "\ufdd0"  # no character, so that nobody writes it
_DIRECTING = re.compile(f"[\u202a-\u202e\u2066-\u2069{_SAID}]")
_RIGHT_TO_LEFT = ("R", "AL", "AN")
_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# A name that holds one of these could be read as a sentence with a link.
_MORE_THAN_A_NAME = re.compile(r"[:/\\@]")

_MARK = "> "
_WIDTH = 74  # columns of a marked line: a reader that shows 80 wraps none, so none begins without its mark


def stars(rating: int) -> str:
    """A rating as people see it."""
    return "★" * rating + "☆" * (5 - rating)


def one_line(text: str) -> str:
    """Somebody else's text for a place within a line: it directs nothing beyond itself."""
    return " ".join(_DIRECTING.sub("", text).split())


def lines(text: str) -> str:
    """Somebody else's text of several lines, broken by line feeds only; it directs nothing beyond itself."""
    return _LINE_BREAK.sub("\n", _DIRECTING.sub("", text)).strip()


def name(text: str) -> str:
    """Somebody's name; in quotation marks where it could be read as more than a name."""
    text = one_line(text)
    return f"‘{text}’" if _MORE_THAN_A_NAME.search(text) else text


def isolate(text: str) -> str:
    """A text for a line of ours: what is written from right to left leaves the rest of the line where it is."""
    if text.isascii() or not any(
        unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text
    ):
        return text
    return f"{_FSI}{text}{_PDI}"


def said(text: str) -> str:
    """Somebody else's words for a text template: `mark_said` knows each of their lines by a sign at its beginning."""
    return "\n".join(f"{_SAID}{line}" for line in text.split("\n")) if text else ""


def mark_said(text: str) -> str:
    """A text that a template made, with a mark before each line that holds nothing but somebody else's words.

    Such a line is short enough not to be wrapped, for what is wrapped would go on without a mark.
    """
    return "\n".join(_marked(line) for line in text.split("\n")) if _SAID in text else text


def _marked(line: str) -> str:
    words = line.replace(_SAID, "")
    if not line.lstrip().startswith(_SAID):
        return words
    return "\n".join(f"{_MARK}{piece}" for piece in _wrapped(words))


def each_said(text: str, change: Callable[[str], str]) -> str:
    """A text whose lines are changed one by one; what one becomes stays known as somebody else's."""
    return "\n".join(
        f"{_SAID if line.startswith(_SAID) else ''}{piece}"
        for line in text.split("\n")
        for piece in change(line.removeprefix(_SAID)).split("\n")
    )


def _wrapped(line: str) -> list[str]:
    if columns(line.expandtabs()) <= _WIDTH:
        return [line]
    pieces, room = [""], _WIDTH
    for word in line.split():
        width = columns(word)
        if pieces[-1] and width < room:
            pieces[-1] += f" {word}"
            room -= width + 1
            continue
        *full, last = _broken(word)
        pieces += [*full, last]
        room = _WIDTH - columns(last)
    return pieces[1:] or [""]


def _broken(word: str) -> list[str]:
    """A word in pieces that fit into a line each."""
    pieces, room = [""], _WIDTH
    for char in word:
        width = columns(char)
        if width > room and pieces[-1]:
            pieces.append("")
            room = _WIDTH
        pieces[-1] += char
        room -= width
    return pieces


def columns(text: str) -> int:
    """How wide a text is at most, in columns of letters of one width."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, most: int) -> str:
    """The first `most` characters of a text, the last of them an ellipsis where something is left out."""
    kept = most - 1
    while len(text) > most:
        found = _ended(text[:kept])
        if len(found) <= most or kept <= 0:
            return found
        kept -= 1
    return text


def _ended(text: str) -> str:
    """A text that was cut off, with an ellipsis; what is isolated in its last line stays so."""
    text = text.rstrip(" \n\t\u200d")
    last = text.rpartition("\n")[2]
    return f"{text}…{_PDI * (last.count(_FSI) - last.count(_PDI))}"


def slack_text(text: str, most: int = SLACK_TEXT) -> str:
    """Text for Slack's `text` and text objects: escaped, and cut behind whole characters only.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    escaped = text.translate(_SLACK_ESCAPES)
    if units(escaped) <= most:
        return escaped
    room, index = most - 1, 0
    characters = [char.translate(_SLACK_ESCAPES) for char in text]
    while room >= units(characters[index]):
        room -= units(characters[index])
        index += 1
    while units(found := _ended("".join(characters[:index]))) > most and index:
        index -= 1
    return found


def slack_words(text: str, most: int = SLACK_TEXT) -> str:
    """Text for a rich_text element, where nothing is markup and nothing is escaped: cut only."""
    while units(text) > most:
        text = cut(text, max(1, len(text) - max(1, (units(text) - most) // 2)))
    return text


def units(text: str) -> int:
    """A length in UTF-16 units, as a service may count: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


_SLACK_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
