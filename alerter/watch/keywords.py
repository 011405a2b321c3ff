"""Find keywords in text, as whole words and in any case. Pure."""

from collections.abc import Collection, Iterator
from unicodedata import category, east_asian_width, name, normalize

# Scripts without spaces between words; Chinese, Japanese and Korean are recognized by their width.
_WITHOUT_SPACES = ("THAI ", "LAO ", "KHMER ", "MYANMAR ")
_APOSTROPHES = "\u2018\u2019\u02bc"


def keywords_in(keywords: Collection[str], *texts: str) -> Iterator[str]:
    """Yield the keywords, of one word or several, that one of the texts contains."""
    folded = [fold(text) for text in texts] if keywords else ()
    for keyword in keywords:
        wanted = fold(keyword)
        if any(contains_folded(wanted, text) for text in folded):
            yield keyword


def fold(text: str) -> str:
    """Return a text for comparison: normalized, without case, one space between words."""
    plain = normalize("NFKC", normalize("NFKC", text).casefold())
    for apostrophe in _APOSTROPHES:
        plain = plain.replace(apostrophe, "'")
    return " ".join(plain.split())


def contains_folded(wanted: str, text: str) -> bool:
    """Return whether a folded text contains a folded keyword."""
    start = text.find(wanted)
    while start >= 0:
        end = start + len(wanted)
        if not (
            _joined(text[start - 1 : start], wanted[0]) or _joined(wanted[-1], text[end : end + 1])
        ):
            return True
        start = text.find(wanted, start + 1)
    return False


def _joined(left: str, right: str) -> bool:
    """Return whether two adjacent characters belong to one word."""
    return bool(left and right) and _is_of_a_word(left) and _is_of_a_word(right)


def _is_of_a_word(char: str) -> bool:
    """Return whether a character is a letter, mark or digit of a script with spaces."""
    if category(char)[0] not in "LMN":
        return char == "_"
    return east_asian_width(char) != "W" and not name(char, "").startswith(_WITHOUT_SPACES)
