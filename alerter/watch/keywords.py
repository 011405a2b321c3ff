"""Whether a keyword stands in a text, as whole words and in whatever case. Pure."""

from unicodedata import category, east_asian_width, name, normalize

# Written without spaces, so that a word has no edges to see; Chinese, Japanese and Korean are known by their width.
_WITHOUT_SPACES = ("THAI ", "LAO ", "KHMER ", "MYANMAR ")
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc", "'"))


def contains_keyword(keyword: str, *texts: str) -> bool:
    """Whether a keyword, of one word or several, stands in one of these texts."""
    wanted = _folded(keyword)
    return any(_is_found(wanted, _folded(text)) for text in texts)


def _folded(text: str) -> str:
    """A text as it is compared: one form for what looks the same, no case, one space between words."""
    plain = normalize("NFKC", normalize("NFKC", text).casefold()).translate(_APOSTROPHES)
    return " ".join(plain.split())


def _is_found(wanted: str, text: str) -> bool:
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
    """Whether two characters beside each other belong to one word."""
    return bool(left and right) and _is_of_a_word(left) and _is_of_a_word(right)


def _is_of_a_word(char: str) -> bool:
    """Letters, their marks and digits, of writing that puts spaces between words."""
    if category(char)[0] not in "LMN":
        return char == "_"
    return east_asian_width(char) != "W" and not name(char, "").startswith(_WITHOUT_SPACES)
