"""Prepare text from outside for templates, so that it cannot pass for alerter's own. Pure.

In HTML and in Slack's blocks the built-in templates draw quotes. A text template may put such text
anywhere, so each of its lines carries a mark, which becomes `> ` in the end. Within a subject or a
line, right-to-left text is isolated, so that it does not reorder the line.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar

from alerter.render.formatting import QUOTED, clean_line, isolate
from alerter.render.response_view import ResponseView
from alerter.render.summary_view import BarView, SummaryView
from alerter.render.views import ReviewView, SiteView

Change = Callable[[str], str]
_View = TypeVar("_View", ReviewView, ResponseView, SiteView)

_PREFIX = "> "
_TEXTS = ("title", "body", "excerpt", "reply")  # of a review
# Columns of a quoted line. Mail clients that wrap at 80 wrap none, so no part lacks its prefix.
_WIDTH = 74
# No character before the Hangul is wide.
_MAY_BE_WIDE = re.compile("[\u1100-\U0010ffff]")
# A mention, a channel or a link: https://docs.slack.dev/messaging/formatting-message-text#advanced
_SLACK_CONTROL = re.compile(r"<[^<>]+>")


def mark_quote(text: str) -> str:
    """Mark each line of a text as quoted, for `show_quotes`."""
    return "\n".join(f"{QUOTED}{line}" for line in text.split("\n")) if text else ""


def show_quotes(text: str) -> str:
    """Replace the marks of a rendered text: a line that begins with one is prefixed with `> `.

    Such a line is wrapped here, because a client that wraps it would omit the prefix.
    """
    if QUOTED not in text:
        return text
    return "\n".join(_shown_line(line) if QUOTED in line else line for line in text.split("\n"))


def _shown_line(line: str) -> str:
    plain = line.replace(QUOTED, "")
    if not line.lstrip().startswith(QUOTED):
        return plain
    return "\n".join(f"{_PREFIX}{piece}" for piece in _wrap(plain))


def change_lines(text: str, change: Change) -> str:
    """Change a text line by line; the lines made of a quoted line are quoted too."""
    return "\n".join(
        f"{QUOTED if line.startswith(QUOTED) else ''}{piece}"
        for line in text.split("\n")
        for piece in change(line.removeprefix(QUOTED)).split("\n")
    )


def _wrap(line: str) -> list[str]:
    if _columns(line.expandtabs()) <= _WIDTH:
        return [line]
    pieces, room = [""], _WIDTH
    for word in line.split():
        width = _columns(word)
        if pieces[-1] and width < room:
            pieces[-1] += f" {word}"
            room -= width + 1
            continue
        *full, last = _split_word(word) if width > _WIDTH else [word]
        pieces += [*full, last]
        room = _WIDTH - _columns(last)
    return pieces[1:] or [""]


def _split_word(word: str) -> list[str]:
    """Split a word into pieces of one line each."""
    pieces, room = [""], _WIDTH
    for char in word:
        width = _columns(char)
        if width > room and pieces[-1]:
            pieces.append("")
            room = _WIDTH
        pieces[-1] += char
        room -= width
    return pieces


def _columns(text: str) -> int:
    """Return the greatest width of a text in a monospaced font."""
    if text.isascii():
        return len(text)
    others = _MAY_BE_WIDE.findall(text)
    return len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in others)


def has_slack_markup(blocks: Sequence[Any], values: Mapping[str, Any]) -> bool:
    """Whether a mention or link in the blocks comes from a value that was not escaped."""
    found = {control for text in _mrkdwn(blocks) for control in _SLACK_CONTROL.findall(text)}
    return bool(found) and any(control in text for text in _texts(values) for control in found)


def _mrkdwn(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if part.get("type") == "mrkdwn" and isinstance(part.get("text"), str):
            yield part["text"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _mrkdwn(inner)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        yield from _texts(list(part.values()))
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from _texts(inner)
    elif is_dataclass(part):
        yield from _texts([getattr(part, field.name) for field in fields(part)])


def isolate_names(values: Mapping[str, Any], direction: str) -> dict[str, Any]:
    """Return the values of a message with names isolated for lines of a direction."""
    aside = partial(isolate, direction=direction)
    found = _with_reviews(values, lambda view: _isolated(view, aside))
    if "sites" in found:
        found["sites"] = [aside(each) for each in found["sites"]]
    if "cluster" in found:
        cluster = found["cluster"]
        found["cluster"] = replace(
            cluster, what=aside(cluster.what), site=_site(cluster.site, aside)
        )
    if "summary" in found:
        found["summary"] = _summary(found["summary"], aside)
    return found


def quoted_values(template: str, values: Mapping[str, Any], direction: str) -> Mapping[str, Any]:
    """Return the values of a message with texts of customers prepared for one of its templates.

    `direction` is that of the message's lines.
    """
    if template.endswith(".subject.txt"):
        return _with_reviews(
            values, lambda view: _changed(view, lambda text: isolate(clean_line(text), direction))
        )
    if template.endswith(".txt"):
        return _with_reviews(values, lambda view: _changed(view, mark_quote))
    return values


def _with_reviews(
    values: Mapping[str, Any], change: Callable[[ReviewView], ReviewView]
) -> dict[str, Any]:
    """Return the values with each review changed, wherever it stands."""
    found = dict(values)
    if "review" in found:
        found["review"] = change(found["review"])
        found["site"] = found["review"].site
    if "reviews" in found:
        changed = {id(each): change(each) for each in found["reviews"]}
        found["reviews"] = list(changed.values())
        found["groups"] = [[changed[id(each)] for each in group] for group in found["groups"]]
    return found


def _changed(view: ReviewView, change: Change) -> ReviewView:
    """Return a review with its texts changed."""
    changed: dict[str, Any] = {field: change(getattr(view, field)) for field in _TEXTS}
    if view.before:
        texts = {field: change(view.before[field]) for field in ("title", "body")}
        changed["before"] = {**view.before, **texts}
    return _with(view, changed)


def _isolated(view: ReviewView, aside: Change) -> ReviewView:
    """Return a review with its names isolated."""
    return _with(
        view,
        {
            "author": aside(view.author),
            "what": aside(view.what),
            "site": _site(view.site, aside),
            "response": _response(view.response, aside),
        },
    )


def _response(view: ResponseView, aside: Change) -> ResponseView:
    names = ("claimed_by", "snoozed_by", "replying", "replied_by", "moderated_by")
    return _with(view, {name: aside(getattr(view, name)) for name in names})


def _site(site: SiteView, aside: Change) -> SiteView:
    return _with(site, {"name": aside(site.name)})


def _with(view: _View, changed: Mapping[str, Any]) -> _View:
    """Return a view with these values; itself where it has them, as a copy takes far longer."""
    if all(getattr(view, name) == value for name, value in changed.items()):
        return view
    return replace(view, **changed)


def _summary(summary: SummaryView, aside: Change) -> SummaryView:
    opened = [
        replace(
            each,
            what=aside(each.what),
            site=_site(each.site, aside),
            claimed_by=aside(each.claimed_by),
        )
        for each in summary.open
    ]
    people = [replace(each, name=aside(each.name)) for each in summary.people]
    return replace(
        summary,
        name=aside(summary.name),
        products=_bars(summary.products, aside),
        sites=_bars(summary.sites, aside),
        often=_bars(summary.often, aside),
        open=opened,
        people=people,
        site_names=aside(summary.site_names),
        unread=[aside(each) for each in summary.unread],
    )


def _bars(bars: Sequence[BarView], aside: Change) -> list[BarView]:
    return [replace(bar, label=aside(bar.label)) for bar in bars]
