"""The values that the templates of trouble get, in the language of a receiver. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from alerter.models import Medium, medium_of, receiver_of
from alerter.render.formatting import clean_line, clean_lines, isolate
from alerter.render.language import Language
from alerter.timezones import local_time
from alerter.trouble.texts import REASONS, TEXTS, TroubleText

_OF_DESTINATIONS = ("destination", "erasure", "message", "service:address")
# The beginning of a clause, and what a service said, or a detail.
_CLAUSE = re.compile(r"(.+?)(: | (?=\()|$)(.*)", re.DOTALL)
_NUMBER = re.compile(r"^\d+")


@dataclass(frozen=True, slots=True)
class TroubleView:
    """Something that alerter cannot do."""

    what: str
    """What does not work."""
    headline: str
    """The same with a capital, as the beginning of a sentence."""
    reason: str
    """The cause, as far as it is known."""
    remedy: str
    """What to do about it."""
    began: datetime
    """When it began, in the owner's timezone."""
    over: str
    """What works again, such as "Corner Bakery's reviews can be read again"; empty before."""
    lasted: timedelta | None
    """How long it lasted; none before it is over."""
    ended: str
    """That it is over, after how long: `over` and `lasted` in a sentence."""
    since: str
    """The same as `began | date`."""


def view_trouble(detail: Mapping[str, Any], timezone: tzinfo, language: Language) -> TroubleView:
    """Return the view of trouble, from the detail of its alert."""
    text = _texts(detail, language)
    began = datetime.fromisoformat(detail["since"])
    lasted = datetime.fromisoformat(detail["until"]) - began if "until" in detail else None
    return TroubleView(
        what=text.what,
        headline=_capitalized(text.what),
        reason=_reason(clean_lines(detail["reason"]), language),
        remedy=text.remedy,
        began=local_time(began, timezone),
        over=text.over if lasted is not None else "",
        lasted=lasted,
        ended=_ended(text, lasted, language),
        since=language.date(local_time(began, timezone)),
    )


def _texts(detail: Mapping[str, Any], language: Language) -> TroubleText:
    """Return the texts in a language; those of an earlier version are stored, in English."""
    if "text" not in detail:
        parts = (clean_line(detail.get(name, "")) for name in TroubleText._fields)
        return TroubleText(*(isolate(part, language.direction) for part in parts))
    name = detail["name"]
    if detail["text"] in _OF_DESTINATIONS:
        name = _phrase(name, language)
    shown = {"name": isolate(clean_line(name), language.direction)}
    return TroubleText(*(language.gettext(text) % shown for text in TEXTS[detail["text"]]))


def _capitalized(text: str) -> str:
    """Return a text with a capital; our own name has none."""
    return text if text.startswith("alerter") else text[:1].upper() + text[1:]


def _ended(text: TroubleText, lasted: timedelta | None, language: Language) -> str:
    """Return that a trouble is over; a message of an earlier version has no text for it."""
    if not text.over:
        return language.gettext("This is over: %(trouble)s") % {"trouble": text.what}
    if lasted is None:
        return text.over
    ended = language.gettext("%(over)s, after %(duration)s")
    return ended % {"over": text.over, "duration": language.duration(lasted)}


def _phrase(destination: str, language: Language) -> str:
    """Return a destination as its reader calls it, such as `support (Slack)`."""
    email = language.pgettext("medium", "email")
    medium = medium_of(destination)
    known = medium in list(Medium) and medium != Medium.EMAIL
    shown = Medium(medium).shown if known else email
    return f"{receiver_of(destination)} ({shown})"


def _reason(reason: str, language: Language) -> str:
    """Return a reason with those of its clauses that are ours in a language."""
    return "; ".join(_clause(clause, language) for clause in reason.split("; "))


def _clause(clause: str, language: Language) -> str:
    found = _CLAUSE.fullmatch(clause)
    text = _NUMBER.sub("%(number)s", found[1], count=1) if found else ""
    if found is None or text not in REASONS:
        return isolate(clause, language.direction)
    number = _NUMBER.search(found[1])
    what = language.gettext(text) % {"number": number[0] if number else ""}
    detail = isolate(found[3], language.direction)
    if found[2] == ": ":
        return language.gettext("%(what)s: %(detail)s") % {"what": what, "detail": detail}
    return f"{what}{found[2]}{detail}"
