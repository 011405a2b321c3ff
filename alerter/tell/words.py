"""Text cut and escaped to what a service takes. Pure."""

# https://docs.slack.dev/reference/block-kit/blocks: 50 blocks, 3,000 characters a text, 150 a header
SLACK_TEXT = 3000


def stars(rating: int) -> str:
    """A rating as people see it."""
    return "★" * rating + "☆" * (5 - rating)


def cut(text: str, most: int) -> str:
    """The first `most` characters of a text, the last of them an ellipsis where something is left out."""
    return text if len(text) <= most else text[: most - 1].rstrip(" \n\t\u200d") + "…"


def slack_text(text: str, most: int = SLACK_TEXT) -> str:
    """Text for Slack's `text` and text objects: escaped, and cut behind whole characters only.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    escaped = text.translate(_SLACK_ESCAPES)
    if units(escaped) <= most:
        return escaped
    room = most - 1
    characters = [char.translate(_SLACK_ESCAPES) for char in text]
    for index, char in enumerate(characters):
        room -= units(char)
        if room < 0:
            return "".join(characters[:index]).rstrip(" \n\t\u200d") + "…"
    raise AssertionError("a text that is too long has a character that is one too many")


def slack_words(text: str, most: int = SLACK_TEXT) -> str:
    """Text for a rich_text element, where nothing is markup and nothing is escaped: cut only."""
    while units(text) > most:
        text = cut(text, max(1, len(text) - max(1, (units(text) - most) // 2)))
    return text


def units(text: str) -> int:
    """A length in UTF-16 units, as a service may count: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


_SLACK_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
