"""Alerts and Jinja templates → what a message says: subject, text, HTML, Slack blocks."""

import json
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

import alerter
from alerter.errors import RenderError
from alerter.models import AlertKind, Content, Entry, Form, Message, Review

log = logging.getLogger(__name__)

# https://docs.slack.dev/reference/block-kit/blocks: 50 blocks, 3,000 characters a text, 150 a header
_SLACK_TEXT = 3000
# A fallback past 4,000 characters is refused by some workspaces: https://docs.slack.dev/reference/methods/chat.postMessage
_SLACK_FALLBACK = 3900
_EXCERPT = 150
_MARKUP_OF_AN_ENTRY = 60  # what a digest says of a review beyond the words measured by `_length`
_DASHBOARD = "https://www.wix.com/dashboard"
_MODERATION = {
    "APPROVED": "",
    "SUBMITTED": "not published yet: waiting for moderation",
    "IN_MODERATION": "not published yet: in moderation",
    "REJECTED": "not published: rejected by moderation",
}


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site, as templates see it."""

    name: str
    id: str
    reviews_url: str


@dataclass(frozen=True, slots=True)
class ReviewView:
    """A review, as templates see it: every text as it came, cleaned, with nothing escaped yet."""

    id: str
    rating: int
    stars: str
    title: str
    body: str
    excerpt: str
    author: str
    what: str
    what_url: str
    when: str
    timestamp: int
    moderation: str
    notes: str
    late: bool
    before: Mapping[str, Any] | None
    site: SiteView


@dataclass(frozen=True, slots=True)
class TroubleView:
    """What alerter cannot do, as templates see it."""

    what: str
    reason: str
    remedy: str
    since: str


class Renderer:
    """Renders messages, with the owner's templates before the built-in ones."""

    def __init__(
        self, templates: Path | None, timezone: tzinfo, sites: Mapping[str, str], *, fall_back: bool = True
    ) -> None:
        """With `fall_back`, an owner's template that breaks is replaced by the built-in one of its name."""
        self._timezone = timezone
        self._sites = sites
        self._builtin = _environment([builtin_templates()])
        self._own = _environment([templates, builtin_templates()]) if templates else None
        self._fall_back = fall_back
        self._broken: set[str] = set()

    def mail(self, message: Message, *, test: bool = False) -> Content:
        """What a message says by email. Raises RenderError."""
        name, values = self._values(message, test=test)
        subject = " ".join(self._fill(f"{name}.subject.txt", values).split())
        text = self._fill(f"{name}.txt", values)
        return Content(subject, text, html="" if message.plain else self._fill(f"{name}.html", values))

    def slack(self, message: Message, *, test: bool = False) -> Content:
        """What a message says on Slack. Raises RenderError."""
        name, values = self._values(message, test=test)
        subject = " ".join(self._fill(f"{name}.subject.txt", values).split())
        text = slack_text(f"{subject}\n{self._fill(f'{name}.txt', values)}", _SLACK_FALLBACK)
        blocks = () if message.plain else tuple(self._fill(f"{name}.slack.json", values, as_json=True))
        return Content(subject, text, blocks=blocks)

    def _values(self, message: Message, *, test: bool) -> tuple[str, dict[str, Any]]:
        first = message.entries[0].alert
        if first.kind in (AlertKind.TROUBLE, AlertKind.RECOVERED):
            return str(first.kind), {"trouble": self._trouble(first.detail), "test": test}
        views = [self._view(entry) for entry in message.entries]
        if message.form is Form.DIGEST:
            sites = sorted({view.site.name for view in views})
            return "digest", {"reviews": views, "groups": pack(views), "sites": sites, "test": test}
        return str(first.kind), {"review": views[0], "site": views[0].site, "test": test}

    def _view(self, entry: Entry) -> ReviewView:
        alert, review = entry.alert, entry.review or Review(id=entry.alert.review_id or "", rating=1)
        when = review.created or review.updated
        url = f"{_DASHBOARD}/{alert.site_id}/reviews/pending"
        return ReviewView(
            id=review.id,
            rating=review.rating,
            stars="★" * review.rating + "☆" * (5 - review.rating),
            title=review.title,
            body=review.body,
            excerpt=cut(" ".join(review.body.split()), _EXCERPT),
            author=review.author or "a customer",
            what=entry.product.name or _what(review),
            what_url=entry.product.url or "",
            when=_date(when, self._timezone) if when else "on an unknown date",
            timestamp=max(int(when.timestamp()), 0) if when else 0,
            moderation=_MODERATION.get(review.moderation, ""),
            notes=_notes(alert.detail),
            late=bool(alert.detail.get("late")),
            before=alert.detail.get("before"),
            site=SiteView(self._sites.get(alert.site_id or "", "a site of the past"), alert.site_id or "", url),
        )

    def _trouble(self, detail: Mapping[str, Any]) -> TroubleView:
        since = _date(datetime.fromisoformat(detail["since"]), self._timezone)
        return TroubleView(detail["what"], detail["reason"], detail["remedy"], since)

    def _fill(self, name: str, values: Mapping[str, Any], *, as_json: bool = False) -> Any:
        """Render one template. Raises RenderError."""
        if self._own is not None:
            try:
                return _render(self._own, name, values, as_json=as_json)
            except RenderError as error:
                if not self._fall_back:
                    raise
                if name not in self._broken:
                    self._broken.add(name)
                    log.error("%s; the built-in template is used instead", error)  # noqa: TRY400 - the text says it all
        return _render(self._builtin, name, values, as_json=as_json)


def builtin_templates() -> Path:
    """The folder of the built-in templates: inside an installed package, beside it in a checkout."""
    package = Path(alerter.__file__).parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def cut(text: str, most: int) -> str:
    """The first `most` characters of a text, the last of them an ellipsis where something is left out."""
    return text if len(text) <= most else text[: most - 1].rstrip(" \n\t\u200d") + "…"


def slack_text(text: str, most: int = _SLACK_TEXT) -> str:
    """Text for Slack's `text` and text objects: escaped, and cut behind whole characters only.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    escaped = [_SLACK_ESCAPES.get(char, char) for char in text]
    if _units("".join(escaped)) <= most:
        return "".join(escaped)
    room = most - 1
    for index, char in enumerate(escaped):
        room -= _units(char)
        if room < 0:
            return "".join(escaped[:index]).rstrip(" \n\t\u200d") + "…"
    raise AssertionError("a text that is too long has a character that is one too many")


def slack_words(text: str, most: int = _SLACK_TEXT) -> str:
    """Text for a rich_text element, where nothing is markup and nothing is escaped: cut only."""
    while _units(text) > most:
        text = cut(text, max(1, len(text) - max(1, (_units(text) - most) // 2)))
    return text


def pack(views: Iterable[ReviewView]) -> list[list[ReviewView]]:
    """Split the reviews of a digest so that each group fits into one Slack block."""
    groups: list[list[ReviewView]] = []
    room = 0
    for view in views:
        length = _length(view)
        if not groups or length > room:
            groups.append([])
            room = _SLACK_TEXT
        groups[-1].append(view)
        room -= length
    return groups


def _length(view: ReviewView) -> int:
    words = (cut(view.title, _EXCERPT), view.excerpt, view.author, view.what, view.when, view.site.name)
    return sum(_units(text) for text in words) + len(view.moderation) + len(view.notes) + _MARKUP_OF_AN_ENTRY


def _units(text: str) -> int:
    """A length in UTF-16 units, as a service may count: an emoji is two."""
    return len(text) + sum(char > "\uffff" for char in text)


def _notes(detail: Mapping[str, Any]) -> str:
    """What a digest says of why a review is in it, beyond its being new."""
    if before := detail.get("before"):
        return f"lowered from {before['rating']} to {detail.get('after', 'fewer')} stars"
    return "older, and changed or approved since" if detail.get("late") else ""


def _what(review: Review) -> str:
    if not review.entity_id:
        return "the site"
    return f"product {review.entity_id}" if review.namespace in ("stores", "") else review.entity_id


def _date(moment: datetime, timezone: tzinfo) -> str:
    with suppress(OverflowError):  # the first or the last day that there is
        moment = moment.astimezone(timezone)
    return f"{moment:%A}, {moment.day} {moment:%B %Y, %H:%M}"


_SLACK_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def _environment(folders: list[Path]) -> SandboxedEnvironment:
    env = SandboxedEnvironment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
        autoescape=lambda name: bool(name and name.endswith(".html")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"cut": cut, "slack_text": slack_text, "slack_words": slack_words}
    return env


def _render(env: SandboxedEnvironment, name: str, values: Mapping[str, Any], *, as_json: bool) -> Any:
    try:
        template: Template = env.get_template(name)
        text = template.render(values)
    except UnicodeDecodeError as error:
        raise RenderError(f"template {name}: is not UTF-8 text") from error
    except Exception as error:  # a template may call anything that its values have
        said = str(error) if isinstance(error, TemplateError) else repr(error)
        raise RenderError(f"template {_where(error, name)}: {said}") from error
    return _blocks(name, text) if as_json else text


def _blocks(name: str, text: str) -> list[Any]:
    try:
        blocks = json.loads(text)
    except ValueError as error:
        raise RenderError(f"template {name}: does not make JSON: {error}") from error
    if not isinstance(blocks, list):
        raise RenderError(f"template {name}: must make a JSON list of blocks")
    return blocks


def _where(error: Exception, name: str) -> str:
    """The file and line where it went wrong: a syntax error knows, any other has them in its traceback."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or name}, line {error.lineno}"
    lineno, trace = None, error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.suffix in (".txt", ".html", ".json"):
            name, lineno = file.name, trace.tb_lineno
        trace = trace.tb_next
    return f"{name}, line {lineno}" if lineno else name
