"""The pages where people respond to reviews: what their templates get, and their rendering."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import StrEnum
from functools import cache
from typing import Any

from alerter.models import MessageItem
from alerter.render.formatting import clean_name, isolate
from alerter.render.history import HistoryLine
from alerter.render.language import get_language
from alerter.render.quoting import isolate_names
from alerter.render.templates import builtin_environment, builtin_templates, render_template
from alerter.render.views import ReviewView, view_review
from alerter.timezones import local_time
from alerter.translation import mark

# By the values of `SnoozeChoice`; the date says that another day is a Monday.
_SNOOZES = {
    "evening": mark("This evening"),
    "tomorrow": mark("Tomorrow"),
}


class PageFault(StrEnum):
    """Why a page does not do what was asked of it."""

    TOO_MANY = "too many"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too large"
    BUSY = "busy"
    OLD_FORM = "old form"
    USED_FORM = "used form"
    FOREIGN_FORM = "foreign form"
    NO_MOMENT = "no moment"
    NO_CANNED = "no canned reply"


_FAULTS = {
    PageFault.TOO_MANY: mark("This page was opened too often. Please wait for a minute."),
    PageFault.UNREADABLE: mark("Nothing was done: the form could not be read."),
    PageFault.TOO_LARGE: mark("Nothing was done: the text is much too long for a reply."),
    PageFault.BUSY: mark("Nothing was done: alerter is busy. Please try again in a minute."),
    PageFault.OLD_FORM: mark(
        "Nothing was done: the page was open for too long. Please look at it again, and send it."
    ),
    PageFault.USED_FORM: mark(
        "Nothing was done: this form was sent before. Please look at the page, and send it again."
    ),
    PageFault.FOREIGN_FORM: mark(
        "Nothing was done: the form did not come from this page. Please send it from here."
    ),
    PageFault.NO_MOMENT: mark("Nothing was done: that moment is past. Please choose another."),
    PageFault.NO_CANNED: mark("This canned reply does not work for this review."),
}


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a page says about what its person has sent.

    `text`: what the person wrote, to send or to change. `invalid`: the text is what is wrong.
    `edited`: the text is a canned reply now, to be read and changed. `conflict`: the review is not
    what the person had seen. `under_way`: the result comes later.
    """

    notice: str = ""
    problem: str = ""
    text: str = ""
    invalid: bool = False
    edited: bool = False
    conflict: bool = False
    under_way: bool = False


@dataclass(frozen=True, slots=True)
class EntryView:
    """A review on a page, and what can be done about it.

    `forms`: the tokens of the forms that are shown, each empty where its form is not. `snoozes`:
    moments with their names. `canned`: the names of canned replies. `url`: its own page.
    `is_own_claim`: the reader is on it. `is_hidden`: it comes from a restored backup, and Wix was
    not asked for it since.
    """

    review: ReviewView
    anchor: str
    receiver: str
    is_open: bool
    is_gone: bool
    is_hidden: bool
    answer: str
    answered_at: datetime | None
    claimed_until: datetime | None
    is_own_claim: bool
    next_reminder: datetime | None
    forms: Mapping[str, str]
    snoozes: Sequence[tuple[str, str]]
    canned: Sequence[str] = ()
    history: Sequence[HistoryLine] = ()
    url: str = ""
    feedback: Feedback = field(default_factory=Feedback)


class PageRenderer:
    """Renders pages in the language of their receiver; no templates of owners are used."""

    def __init__(self, language: str, timezone: tzinfo, sites: Mapping[str, str]) -> None:
        self.language = get_language(language)
        self.timezone = timezone
        self._sites = sites

    def view(self, item: MessageItem, now: datetime) -> ReviewView:
        """Return the view of a review, with names that do not reorder the lines around them."""
        view = view_review(item, now, self.timezone, self._sites, self.language)
        values = isolate_names({"review": view}, self.language.direction)
        found: ReviewView = values["review"]
        return found

    def local(self, moment: datetime | None) -> datetime | None:
        """Return a moment in the owner's timezone."""
        return local_time(moment, self.timezone) if moment else None

    def name(self, name: str) -> str:
        """Return the name of a person to show within a line."""
        return isolate(clean_name(name), self.language.direction)

    def snoozes(self, choices: Iterable[tuple[str, datetime]]) -> list[tuple[str, str]]:
        """Return moments to press: what is sent, and what is read."""
        return [
            (until.isoformat(), self._choice(choice) + self._date(until))
            for choice, until in choices
        ]

    def review_page(self, entry: EntryView, list_url: str) -> str:
        """Return the page of one review. Raise RenderError."""
        values = {"entry": entry, "list_url": list_url, "receiver": entry.receiver}
        return self._render("review.html", values)

    def list_page(
        self, entries: Sequence[EntryView], number: int, receiver: str, page: int, pages: int
    ) -> str:
        """Return a page of all open reviews, whose `number` it says. Raise RenderError."""
        values = {
            "entries": entries,
            "number": number,
            "receiver": self.name(receiver),
            "before": page - 1,
            "after": page + 1 if page < pages else 0,
        }
        return self._render("reviews.html", values)

    def fault(self, fault: PageFault) -> str:
        """Return why a page does not do what was asked of it, as sentences."""
        return self.language.gettext(_FAULTS[fault])

    def fault_page(self, text: str, kept: str) -> str:
        """Return a page that only says what is wrong, and shows what the person had written."""
        return self._render("fault.html", {"text": text, "kept": kept})

    def _render(self, name: str, values: Mapping[str, Any]) -> str:
        environment = builtin_environment(self.language)
        return render_template(environment, f"pages/{name}", {"style": page_style(), **values})

    def _choice(self, choice: str) -> str:
        return f"{self.language.gettext(_SNOOZES[choice])} · " if choice in _SNOOZES else ""

    def _date(self, moment: datetime) -> str:
        return self.language.short_date(local_time(moment, self.timezone))


@cache
def page_style() -> str:
    """Return the style sheet of all pages, which stands in each of them."""
    return (builtin_templates() / "pages" / "page.css").read_text("utf-8")
