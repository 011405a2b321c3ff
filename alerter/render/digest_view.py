"""The parts of a digest. Pure."""

from collections.abc import Iterable

from alerter.render.formatting import SLACK_TEXT, cut, utf16_length
from alerter.render.views import EXCERPT, ReviewView

_ENTRY_MARKUP = 70  # characters of an entry beyond the texts that `length_in_digest` counts


def group_reviews(views: Iterable[ReviewView]) -> list[list[ReviewView]]:
    """Split the reviews of a digest so that each group fits into one Slack block."""
    groups: list[list[ReviewView]] = []
    room = 0
    for view in views:
        length = length_in_digest(view)
        if not groups or length > room:
            groups.append([])
            room = SLACK_TEXT
        groups[-1].append(view)
        room -= length
    return groups


def length_in_digest(view: ReviewView) -> int:
    """Return the length of a review in a digest on Slack, or a little more."""
    title = cut(view.title, EXCERPT)
    texts = (title, view.excerpt, view.author, view.what, view.when, view.site.name)
    notes = len(view.moderation) + len(view.notes) + utf16_length(view.response.text)
    return sum(utf16_length(text) for text in texts) + notes + _ENTRY_MARKUP
