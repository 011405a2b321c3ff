"""Alerts and Jinja templates → what a message says: subject, text, HTML, Slack blocks."""

import json
import logging
import re
from collections.abc import Mapping
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment

from alerter.errors import RenderError
from alerter.models import AlertKind, Content, Form, Message
from alerter.render.quoting import has_slack_markup, values_for
from alerter.render.summary_view import view_summary
from alerter.render.template_process import TemplateProcess
from alerter.render.templates import (
    builtin_environment,
    builtin_templates,
    fill,
    folder_state,
    render_error,
)
from alerter.render.views import pack, view_mention, view_review, view_trouble
from alerter.render.words import mark_said, slack_text

log = logging.getLogger(__name__)

# A fallback past 4,000 characters is refused by some workspaces: https://docs.slack.dev/reference/methods/chat.postMessage
_SLACK_FALLBACK = 3900
_REPEAT = "This may be a repeat: Slack did not say whether it took the message before."

_DEEPEST = 30  # lists and objects within each other; Slack has about ten, and Python a limit
_TRAILING_COMMA = re.compile(r",\s*(?=[\]}])")


class Renderer:
    """Renders messages, with the owner's templates before the built-in ones."""

    def __init__(
        self,
        templates: Path | None,
        timezone: tzinfo,
        sites: Mapping[str, str],
        *,
        fall_back: bool = True,
    ) -> None:
        """With `fall_back`, an owner's template that breaks is replaced by the built-in one of its name."""
        self._folder = templates or builtin_templates()
        self._timezone = timezone
        self._sites = sites
        self._builtin = builtin_environment()
        self._own = TemplateProcess(templates) if templates else None
        self._fall_back = fall_back
        self._faults: dict[str, str | None] = {}
        self._broken_in: dict[str, object] = {}
        self._refused: set[str] = set()

    def mail(self, message: Message, *, test: bool = False) -> Content:
        """What a message says by email. Raises RenderError."""
        name, values = self._values(message, test=test)
        fill = partial(self._fill, own=not message.builtin)
        subject = " ".join(fill(f"{name}.subject.txt", values).split())
        text = fill(f"{name}.txt", values).rstrip()
        return Content(subject, text, html="" if message.plain else fill(f"{name}.html", values))

    def slack(
        self,
        message: Message,
        *,
        test: bool = False,
        mention: str | None = None,
        mention_max_rating: int = 5,
    ) -> Content:
        """What a message says on Slack, and whom it calls by name. Raises RenderError."""
        name, values = self._values(message, test=test)
        values["mention"] = view_mention(message, mention, mention_max_rating)
        fill = partial(self._fill, own=not message.builtin)
        subject = " ".join(fill(f"{name}.subject.txt", values).split())
        said = f"{subject}\n{fill(f'{name}.txt', values).rstrip()}"
        blocks = [] if message.plain else fill(f"{name}.slack.json", values, as_json=True)
        if message.repeat:
            said = f"{_REPEAT}\n{said}"
            note = {"type": "plain_text", "text": _REPEAT}
            blocks = [{"type": "context", "elements": [note]}, *blocks] if blocks else blocks
        return Content(subject, slack_text(said, _SLACK_FALLBACK), blocks=tuple(blocks))

    def refuse(self, ending: str, message: Message, reason: str) -> bool:
        """Record that a service refuses what the owner's template of a message makes.

        The built-in one is used from then on, until the owner changes a template. False where the
        owner has no such template. `ending` is that of the medium: `.slack.json` or `.html`.
        """
        name = f"{self._values(message, test=False)[0]}{ending}"
        files = (self._present() or ()) if self._own else ()
        if not any(file == name or file.startswith("_") for file, _ in files):
            return False
        self._refused.add(name)
        self._broke(name, RenderError(f"template {name}: {reason}", f"{name}: {reason}"))
        return True

    def faults(self) -> dict[str, str | None]:
        """The templates that were rendered, each with what is wrong with it, or None.

        One that broke may do so with some messages only: it counts as broken until somebody changes a template.
        """
        if self._broken_in:
            present = self._present()
            for name in [name for name, then in self._broken_in.items() if then != present]:
                del self._broken_in[name], self._faults[name]
                self._refused.discard(name)
        return dict(self._faults)

    def _present(self) -> list[tuple[str, tuple[int, int]]] | None:
        """What the owner's templates are like just now."""
        return folder_state(self._folder)

    def _values(self, message: Message, *, test: bool) -> tuple[str, dict[str, Any]]:
        first = message.entries[0].alert
        if first.kind in (AlertKind.TROUBLE, AlertKind.RECOVERED):
            return str(first.kind), {
                "trouble": view_trouble(first.detail, self._timezone),
                "test": test,
            }
        if first.kind is AlertKind.SUMMARY:
            summary = view_summary(first.detail, message.receiver, self._timezone, self._sites)
            return str(first.kind), {"summary": summary, "test": test}
        # Of a review with several alerts a digest says the last: quiet hours may hold a new one and its reminder.
        entries = {
            (entry.alert.site_id, entry.alert.review_id): entry for entry in message.entries
        }.values()
        views = [
            view_review(entry, message.attempted_at, self._timezone, self._sites)
            for entry in entries
        ]
        if message.form is Form.DIGEST:
            sites = sorted({view.site.name for view in views})
            return "digest", {"reviews": views, "groups": pack(views), "sites": sites, "test": test}
        # What needs nobody any more asks for nobody, whatever it was that people were told.
        name = AlertKind.CLOSED if message.entries[0].closing else first.kind
        return str(name), {"review": views[0], "site": views[0].site, "test": test}

    def _fill(
        self, name: str, values: Mapping[str, Any], *, own: bool = True, as_json: bool = False
    ) -> Any:
        """Render one template. Raises RenderError."""
        refused = self._refused and name in self.faults() and name in self._refused
        if self._own is not None and own and not refused:
            try:
                filled = _render(self._own, name, values, as_json=as_json)
            except RenderError as error:
                if not self._fall_back:
                    raise
                self._broke(name, error)
            else:
                if not self.faults().get(name):
                    self._faults[name] = None
                return filled
        filled = _render(self._builtin, name, values, as_json=as_json)
        self._faults.setdefault(name, None)
        return filled

    def _broke(self, name: str, error: RenderError) -> None:
        if not self.faults().get(name):
            log.error(
                "template %s; the built-in one is used instead; run `alerter check`", error.fault
            )
        self._faults[name] = error.fault
        self._broken_in[name] = self._present()


def _render(
    source: Environment | TemplateProcess, name: str, values: Mapping[str, Any], *, as_json: bool
) -> Any:
    """Render one template, from the built-in ones or from an owner's. Raises RenderError."""
    values = values_for(name, values)
    text = (
        source.render(name, values)
        if isinstance(source, TemplateProcess)
        else fill(source, name, values)
    )
    if not as_json:
        return mark_said(text)
    blocks = _blocks(name, text)
    if isinstance(source, TemplateProcess) and has_slack_markup(blocks, values):
        raise render_error(
            name, "makes a mention or a link of what somebody wrote: put it through slack_text"
        )
    return blocks


def _blocks(name: str, text: str) -> list[Any]:
    try:
        blocks = json.loads(text)
    except json.JSONDecodeError as error:
        raise render_error(
            name, f"does not make JSON: {_json_fault(error)}", "does not make JSON"
        ) from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number with thousands of digits, a thousand lists within lists
        raise render_error(name, f"does not make JSON: {error}", "does not make JSON") from error
    if not isinstance(blocks, list):
        raise render_error(name, "must make a JSON list of blocks")
    if _is_deeper(blocks, _DEEPEST):
        raise render_error(name, "nests its blocks deeper than Slack does")
    return blocks


def _is_deeper(part: Any, levels: int) -> bool:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _json_fault(error: json.JSONDecodeError) -> str:
    """Return what is wrong and where; of a trailing comma that is the bracket after it, on every Python.

    Since Python 3.13 the json module reports the comma itself.
    """
    comma = _TRAILING_COMMA.match(error.doc, error.pos)
    return str(json.JSONDecodeError(error.msg, error.doc, comma.end()) if comma else error)
