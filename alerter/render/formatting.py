"""Format values and text for services and readers; templates use some as filters. Pure."""

import re
import unicodedata

# Characters of one text object: https://docs.slack.dev/reference/block-kit/blocks/section-block
SLACK_TEXT = 3000
# Marks a line of quoted text until `quoting.show_quotes`; a noncharacter, so that no text holds it.
QUOTED = "\ufdd0"
_LONGEST_PERSON = 80
NO_BREAK = "\u00a0"

# First strong isolate, pop directional isolate: https://www.unicode.org/reports/tr9/
_FSI, _PDI = "\u2068", "\u2069"
_DIRECTIONAL = re.compile(f"[\u202a-\u202e\u2066-\u2069{QUOTED}]")
_RIGHT_TO_LEFT, _LEFT_TO_RIGHT = ("R", "AL", "AN"), ("L",)
# The blocks that hold all characters of right-to-left scripts, and few others.
_MAY_BE_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# A name with one of these could be read as a sentence with a link.
_NOT_IN_NAMES = re.compile(r"[:/\\@]")
# https://docs.slack.dev/messaging/formatting-message-text#escaping
_SLACK_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def stars(rating: int) -> str:
    """Return a rating as five signs, such as ★★☆☆☆."""
    return "★" * rating + "☆" * (5 - rating)


def clean_line(text: str) -> str:
    """Return text from outside as one line without characters that change the text direction."""
    if not text.isascii():
        text = _DIRECTIONAL.sub("", text)
    return " ".join(text.split())


def clean_lines(text: str) -> str:
    """Return text from outside with line feeds only and the text direction left alone."""
    return _LINE_BREAK.sub("\n", _DIRECTIONAL.sub("", text)).strip()


def clean_name(text: str) -> str:
    """Return a person's name as one line, in quotation marks if it could be read as more."""
    text = clean_line(text)
    return f"‘{text}’" if _NOT_IN_NAMES.search(text) else text


def clean_person(text: str) -> str:
    """Return the name of who responds as one short line; see `clean_name`."""
    return cut(clean_name(text), _LONGEST_PERSON)


def isolate(text: str, direction: str = "ltr") -> str:
    """Return text for use within a line of a direction, `ltr` or `rtl`.

    Text of the other direction does not reorder the line around it.
    """
    if direction == "ltr" and (text.isascii() or not _MAY_BE_RIGHT_TO_LEFT.search(text)):
        return text
    others = _RIGHT_TO_LEFT if direction == "ltr" else _LEFT_TO_RIGHT
    if not any(unicodedata.bidirectional(char) in others for char in text):
        return text
    return f"{_FSI}{text}{_PDI}"


def cut(text: str, most: int) -> str:
    """Return the first `most` characters of a text, with an ellipsis if something is left out."""
    kept = most - 1
    while len(text) > most:
        found = _ellipsis(text[:kept])
        if len(found) <= most or kept <= 0:
            return found
        kept -= 1
    return text


def _ellipsis(text: str) -> str:
    """Add an ellipsis to text that was cut, and close the isolates of its last line."""
    text = text.rstrip(" \n\t\u200d")
    last = text.rpartition("\n")[2]
    return f"{text}…{_PDI * (last.count(_FSI) - last.count(_PDI))}"


def slack_text(text: str, most: int = SLACK_TEXT) -> str:
    """Escape text for Slack's `text` and text objects, and cut it to `most` UTF-16 units.

    An escape such as `&amp;` is never cut in two.
    """
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if utf16_length(escaped) <= most:
        return escaped
    room, index = most - 1, 0
    characters = [_SLACK_ESCAPES.get(char, char) for char in text]
    while room >= utf16_length(characters[index]):
        room -= utf16_length(characters[index])
        index += 1
    while utf16_length(found := _ellipsis("".join(characters[:index]))) > most and index:
        index -= 1
    return found


def slack_words(text: str, most: int = SLACK_TEXT) -> str:
    """Cut text for a rich_text element, where nothing is markup and nothing is escaped."""
    while utf16_length(text) > most:
        text = cut(text, max(1, len(text) - max(1, (utf16_length(text) - most) // 2)))
    return text


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 units, which Slack may count: an emoji has two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
