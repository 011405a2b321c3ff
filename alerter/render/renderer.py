"""Render messages: subject, text and HTML of a mail, or the blocks of a Slack message."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment

from alerter.errors import RenderError
from alerter.models import AlertKind, Content, Form, Medium, Message, MessageItem
from alerter.render.block_list import check_blocks, parse_blocks
from alerter.render.buttons import view_buttons
from alerter.render.cluster_view import fitting_reviews, view_cluster
from alerter.render.digest_view import group_reviews
from alerter.render.direction import direct_blocks, direct_lines
from alerter.render.formatting import clean_line, isolate, slack_text
from alerter.render.language import Language, get_language
from alerter.render.parts import Part, PartKind, Piece, read_parts
from alerter.render.quoting import isolate_names, quoted_values, show_quotes
from alerter.render.summary_view import view_summary
from alerter.render.template_process import TemplateProcess
from alerter.render.templates import (
    builtin_environment,
    builtin_name,
    builtin_templates,
    folder_state,
    owners_name,
    render_template,
)
from alerter.render.trouble_view import view_trouble
from alerter.render.turn import TurnCache
from alerter.render.views import MentionView, ReviewView, shorten, view_mention, view_review
from alerter.render.webhook_body import dump_body, webhook_body
from alerter.translation import mark

log = logging.getLogger(__name__)

# Some workspaces refuse a fallback text of more than 4,000 characters:
# https://docs.slack.dev/reference/methods/chat.postMessage
_SLACK_FALLBACK = 3900
_REPEAT = mark("This may be a repeat: %(medium)s did not say whether it took the message before.")


class Links(Protocol):
    """Makes the addresses at which the reader of a mail responds; empty where there is none."""

    def review(self, item: MessageItem) -> str:
        """Return the address of the page of one review."""

    def open_reviews(self, raised_at: datetime | None) -> str:
        """Return the address of all open reviews, for an alert that was raised at a moment."""


class Renderer:
    """Renders messages, with the owner's templates before the built-in ones."""

    def __init__(
        self,
        templates: Path | None,
        timezone: tzinfo,
        sites: Mapping[str, str],
        *,
        fall_back: bool = True,
        host: str = "",
    ) -> None:
        """Take the owner's folder of templates, if there is one, and the names of sites by id.

        With `fall_back`, the built-in template is used where an owner's template fails. `host`:
        the name of this machine, for the footer of mails.
        """
        self._folder = templates or builtin_templates()
        self._timezone = timezone
        self._sites = sites
        self._own = TemplateProcess(templates) if templates else None
        self._fall_back = fall_back
        self._host = host
        self._faults: dict[str, str | None] = {}
        self._broken_in: dict[str, object] = {}  # template -> state of the folder when it failed
        self._refused: set[str] = set()
        # Workers that claim together render in the same turn of the loop.
        self._posts: TurnCache[Content] = TurnCache()

    def mail(
        self,
        message: Message,
        *,
        test: bool = False,
        language: str = "en",
        links: Links | None = None,
    ) -> Content:
        """Return the content of a mail, with `links` to the review page. Raise RenderError."""
        kind, values = self._values(message, Medium.EMAIL, get_language(language), test=test)
        if links is not None:
            values |= _linked(message, values, links)
        fill = partial(self._fill, kind, values, language=language, own=not message.builtin)
        subject = " ".join(fill(".subject.txt").split())
        text = fill(".txt").rstrip()
        return Content(subject, text, html="" if message.plain else fill(".html"))

    def plain(
        self,
        message: Message,
        medium: Medium,
        *,
        test: bool = False,
        language: str = "en",
    ) -> Content:
        """Return a message as plain text, for media without a layout. Raise RenderError."""
        kind, values = self._values(message, medium, get_language(language), test=test)
        fill = partial(self._fill, kind, values, language=language, own=not message.builtin)
        subject = " ".join(fill(".subject.txt").split())
        text = fill(".txt").rstrip()
        if message.repeat:
            text = f"{_repeated(medium, language)}\n\n{text}"
        return Content(subject, text, links=_links(values, get_language(language)))

    def webhook(self, message: Message, *, test: bool = False, language: str = "en") -> Content:
        """Return a message of one alert as JSON, with its type as the subject."""
        body = webhook_body(message, self._timezone, self._sites, get_language(language), test=test)
        return Content(body["type"], dump_body(body))

    def slack(
        self,
        message: Message,
        *,
        test: bool = False,
        language: str = "en",
        mention: str | None = None,
        mention_max_rating: int = 5,
        buttons: bool = False,
    ) -> Content:
        """Return the content of a Slack message. Raise RenderError.

        `mention` is mentioned in it if an open review has at most `mention_max_rating` stars.
        """
        who = view_mention(message, mention, mention_max_rating)
        make = partial(
            self._post, message, who, test=test, language=language, buttons=buttons and not test
        )
        if self._own is not None:  # may show whom a message is for
            return make()
        second = message.attempted_at.replace(microsecond=0)
        flags = (message.plain, message.builtin, message.repeat, test, buttons)
        key = (_reader(message), message.entries[0].alert.key, language, who, flags)
        return self._posts.get(key, (message.form, second, message.entries), make)

    def _post(
        self,
        message: Message,
        mention: MentionView | None,
        *,
        test: bool,
        language: str,
        buttons: bool,
    ) -> Content:
        kind, values = self._values(
            message, Medium.SLACK, get_language(language), test=test, buttons=buttons
        )
        values["mention"] = mention
        fill = partial(self._fill, kind, values, language=language, own=not message.builtin)
        subject = " ".join(fill(".subject.txt").split())
        text = f"{subject}\n{fill('.txt').rstrip()}"
        blocks = [] if message.plain else fill(".slack.json")
        if message.repeat:
            repeat = _repeated(Medium.SLACK, language)
            text = f"{repeat}\n{text}"
            note = {"type": "plain_text", "text": repeat}
            blocks = [{"type": "context", "elements": [note]}, *blocks] if blocks else blocks
        return Content(subject, slack_text(text, _SLACK_FALLBACK), blocks=tuple(blocks))

    def parts(
        self, message: Message, medium: Medium, *, test: bool = False, language: str = "en"
    ) -> tuple[str, str, list[Part]]:
        """Return the kind, the subject and the parts of a message, for media that draw these.

        They are those of the built-in templates for Slack. Raise RenderError.
        """
        kind, values = self._values(message, medium, get_language(language), test=test)
        values["mention"] = None
        fill = partial(self._fill, kind, values, language=language, own=False)
        subject = " ".join(fill(".subject.txt").split())
        parts = read_parts(fill(".slack.json"))
        if message.repeat:
            note = Part(PartKind.SMALL, (Piece(_repeated(medium, language)),))
            parts = [note, *parts]
        return kind, subject, parts

    def refuse(self, ending: str, message: Message, reason: str) -> bool:
        """Record that a service refused the output of an owner's template.

        The built-in one is used until a file of the folder is changed. Return False if the owner
        has no such template. `ending` is the one of the medium: `.slack.json` or `.html`.
        """
        kind = self._kind(message)
        name = owners_name(self._folder, kind, ending)
        files = (folder_state(self._folder) or ()) if self._own else ()
        if not any(file == name or file.startswith("_") for file, _ in files):
            return False
        self._refused.add(name)
        self._record_fault(name, RenderError(f"template {name}: {reason}", f"{name}: {reason}"))
        return True

    def faults(self) -> dict[str, str | None]:
        """Return the templates that were rendered, each with its fault or None.

        A template that failed counts as broken until a file of the folder is changed, because it
        may fail with some messages only.
        """
        if self._broken_in:
            state = folder_state(self._folder)
            for name in [name for name, then in self._broken_in.items() if then != state]:
                del self._broken_in[name], self._faults[name]
                self._refused.discard(name)
        return dict(self._faults)

    def _kind(self, message: Message) -> str:
        """Return the kind of a message, which names its templates."""
        if message.form is Form.DIGEST:
            return "digest"
        entry = message.entries[0]
        return str(AlertKind.CLOSED if entry.closing else entry.alert.kind)

    def _values(
        self,
        message: Message,
        medium: Medium,
        language: Language,
        *,
        test: bool,
        buttons: bool = False,
    ) -> tuple[str, dict[str, Any]]:
        """Return the kind of a message and the variables of its templates."""
        kind = self._kind(message)
        values = {
            "kind": kind,
            "test": test,
            "medium": str(medium),
            "receiver": isolate(clean_line(message.receiver), language.direction),
            "host": isolate(self._host, language.direction),
        }
        about = self._about(message, medium, language, buttons=buttons)
        return kind, values | isolate_names(about, language.direction)

    def _about(
        self, message: Message, medium: Medium, language: Language, *, buttons: bool
    ) -> dict[str, Any]:
        """Return the variables of the templates that depend on the kind of a message."""
        alert = message.entries[0].alert
        if alert.kind in (AlertKind.TROUBLE, AlertKind.RECOVERED):
            return {"trouble": view_trouble(alert.detail, self._timezone, language)}
        if alert.kind is AlertKind.SUMMARY:
            summary = view_summary(
                alert.detail, message.receiver, self._timezone, self._sites, language
            )
            return {"summary": summary, "open_url": ""}
        if alert.kind is AlertKind.CLUSTER:
            return self._cluster_values(message, medium, language, buttons=buttons)
        # A digest shows the last of several alerts of one review, such as `new` and `reminder`
        # after quiet hours.
        items = {(item.alert.site_id, item.alert.review_id): item for item in message.entries}
        views = [
            self._view(item, message.attempted_at, language, buttons=buttons)
            for item in items.values()
        ]
        if message.form is Form.DIGEST:
            views = [shorten(view) for view in views] if medium is Medium.NTFY else views
            sites = sorted({view.site.name for view in views})
            groups = group_reviews(views)
            return {"reviews": views, "groups": groups, "sites": sites, "open_url": ""}
        return {"review": views[0], "site": views[0].site}

    def _cluster_values(
        self, message: Message, medium: Medium, language: Language, *, buttons: bool
    ) -> dict[str, Any]:
        """Return the variables of the templates of a cluster."""
        item = message.entries[0]
        views = [
            self._view(each, message.attempted_at, language, buttons=buttons)
            for each in item.reviews
        ]
        views = [shorten(view) for view in views] if medium is Medium.NTFY else views
        shown = fitting_reviews(views, medium)
        cluster = view_cluster(item, shown, self._sites, language)
        sites = [cluster.site.name]
        reviews = {"reviews": shown, "groups": group_reviews(shown), "sites": sites}
        return {"cluster": cluster, "open_url": "", **reviews}

    def _view(
        self, item: MessageItem, now: datetime, language: Language, *, buttons: bool
    ) -> ReviewView:
        """Return the view of a review, with what people can do about it while it is open."""
        view = view_review(item, now, self._timezone, self._sites, language)
        if not buttons or item.review is None or view.closing:
            return view
        found = view_buttons(view.site.id, item.review, view.what, now, self._timezone, language)
        return replace(view, buttons=found)

    def _fill(
        self, kind: str, values: Mapping[str, Any], ending: str, *, language: str, own: bool = True
    ) -> Any:
        """Render the template of a kind and ending. Raise RenderError."""
        name = builtin_name(kind, ending)
        if self._own is not None:
            name = owners_name(self._folder, kind, ending)
        refused = self._refused and name in self.faults() and name in self._refused
        if self._own is not None and own and not refused:
            try:
                content = _render(self._own, name, values, language)
            except RenderError as error:
                if not self._fall_back:
                    raise
                self._record_fault(name, error)
            else:
                self._record_success(name, f"{kind}{ending}")
                return content
        environment = builtin_environment(get_language(language))
        content = _render(environment, builtin_name(kind, ending), values, language)
        self._record_success(name, f"{kind}{ending}")
        return content

    def _record_success(self, *names: str) -> None:
        """Record that these templates work, unless one failed since the folder was changed.

        That includes the name of the kind, whose own template may have failed and been removed.
        """
        self.faults()
        for name in names:
            self._faults.setdefault(name, None)

    def _record_fault(self, name: str, error: RenderError) -> None:
        if not self.faults().get(name):
            log.error(
                "template %s; the built-in one is used instead; run `alerter check`", error.fault
            )
        self._faults[name] = error.fault
        self._broken_in[name] = folder_state(self._folder)


def _repeated(medium: Medium, language: str) -> str:
    """Return the note of a message that may have been delivered before."""
    return get_language(language).gettext(_REPEAT) % {"medium": medium.shown}


def _reader(message: Message) -> str:
    """Return the receiver if its name is in a built-in post: only the summary has it."""
    is_summary = message.entries[0].alert.kind is AlertKind.SUMMARY
    return message.receiver if is_summary else ""


def _links(values: Mapping[str, Any], language: Language) -> tuple[tuple[str, str], ...]:
    """Return the links of a message: where its reviews are answered, and what is reviewed."""
    about = values.get("cluster") or values.get("review")
    views = [about] if about else values.get("reviews", ())
    answered_at = {view.site.reviews_url for view in views}
    found = [(language.gettext("Reply in the dashboard"), url) for url in answered_at]
    if len(found) != 1:  # one of several sites would be the wrong one for most of the reviews
        return ()
    if about and about.what_url:
        found.append((language.gettext("See the product"), about.what_url))
    return tuple(found)


def _linked(message: Message, values: Mapping[str, Any], links: Links) -> dict[str, Any]:
    """Return the variables of a mail that hold addresses of the review page."""
    if "open_url" in values:
        raised = [entry.raised_at for entry in message.entries if entry.raised_at]
        return {"open_url": links.open_reviews(max(raised, default=None))}
    if "review" in values:
        return {"review": replace(values["review"], respond_url=links.review(message.entries[0]))}
    return {}


def _render(
    source: Environment | TemplateProcess, name: str, values: Mapping[str, Any], language: str
) -> Any:
    """Render a template: a text, or a list of blocks. Raise RenderError."""
    direction = get_language(language).direction
    values = quoted_values(name, values, direction)
    if isinstance(source, TemplateProcess):
        text = source.render(name, values, language)
    else:
        text = render_template(source, name, values)
    if name.endswith(".txt"):
        text = show_quotes(text)
        return direct_lines(text) if direction == "rtl" else text
    if name.endswith(".html"):
        return text
    blocks = parse_blocks(name, text)
    if isinstance(source, TemplateProcess):
        check_blocks(name, blocks, values)
    return direct_blocks(blocks) if direction == "rtl" else blocks
