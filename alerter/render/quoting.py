"""What templates are handed: the words of others as they may stand where a template puts them. Pure.

In HTML and in Slack's blocks the built-in templates quote them. A text template can put them anywhere, so each of their
lines is known there, and marked in the end; a subject and a line of names hold them isolated, so that what is written
from right to left stays in its place.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from alerter.render.summary_view import BarView, SummaryView
from alerter.render.views import ReviewView, SiteView
from alerter.render.words import isolate, one_line, said


def values_for(template: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a message as they are for one of its templates, by that one's name."""
    if template.endswith(".subject.txt"):
        return _isolated(values, _in_subject)
    if template.endswith(".txt"):
        return _isolated(values, _in_text)
    return _isolated(values, _with_names) if template.endswith(".slack.json") else values


# A mention, a channel or a link: https://docs.slack.dev/messaging/formatting-message-text#advanced
_SLACK_CONTROL = re.compile(r"<[^<>]+>")


def has_slack_markup(blocks: Sequence[Any], values: Mapping[str, Any]) -> bool:
    """Whether something that others wrote became a mention or a link in some blocks, for want of an escape."""
    found = {control for text in _markup_texts(blocks) for control in _SLACK_CONTROL.findall(text)}
    return bool(found) and any(control in text for text in _texts(values) for control in found)


def _markup_texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if part.get("type") == "mrkdwn" and isinstance(part.get("text"), str):
            yield part["text"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _markup_texts(inner)


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


def _isolated(
    values: Mapping[str, Any], view: Callable[[ReviewView], ReviewView]
) -> Mapping[str, Any]:
    found = dict(values)
    if "review" in found:
        found["review"] = view(found["review"])
        found["site"] = found["review"].site
    if "reviews" in found:
        changed = {id(each): view(each) for each in found["reviews"]}
        found["reviews"] = list(changed.values())
        found["groups"] = [[changed[id(each)] for each in group] for group in found["groups"]]
        found["sites"] = [isolate(each) for each in found["sites"]]
    if "summary" in found:
        found["summary"] = _summary(found["summary"])
    if "trouble" in found:
        trouble = found["trouble"]
        parts = {
            field: isolate(getattr(trouble, field))
            for field in ("what", "headline", "reason", "remedy")
        }
        found["trouble"] = replace(trouble, **parts)
    return found


def _with_names(view: ReviewView, **words: Any) -> ReviewView:
    return replace(
        view, author=isolate(view.author), what=isolate(view.what), site=_site(view.site), **words
    )


def _in_subject(view: ReviewView) -> ReviewView:
    return _with_names(view, **_words(view, lambda text: isolate(one_line(text))))


def _in_text(view: ReviewView) -> ReviewView:
    return _with_names(view, **_words(view, said))


def _words(view: ReviewView, change: Callable[[str], str]) -> dict[str, Any]:
    """What somebody wrote in a review or of it, changed; what it said before too."""
    found: dict[str, Any] = {
        field: change(getattr(view, field)) for field in ("title", "body", "excerpt", "reply")
    }
    if view.before:
        found["before"] = {
            **view.before,
            **{field: change(view.before[field]) for field in ("title", "body")},
        }
    return found


def _site(site: SiteView) -> SiteView:
    name = isolate(site.name)
    return site if name == site.name else replace(site, name=name)


def _summary(summary: SummaryView) -> SummaryView:
    return replace(
        summary,
        name=isolate(summary.name),
        products=_bars(summary.products),
        sites=_bars(summary.sites),
        often=_bars(summary.often),
        open=[
            replace(each, what=isolate(each.what), site=_site(each.site)) for each in summary.open
        ],
        site_names=isolate(summary.site_names),
        unread=[isolate(each) for each in summary.unread],
    )


def _bars(bars: Sequence[BarView]) -> list[BarView]:
    return [replace(bar, label=isolate(bar.label)) for bar in bars]
