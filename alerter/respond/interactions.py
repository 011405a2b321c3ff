"""Read what Slack sends when people press a button or submit a modal. Pure.

https://docs.slack.dev/reference/interaction-payloads
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from alerter.text import clean_reply, table_in

_ID = re.compile(r"[A-Z0-9]{2,40}")
_TS = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}")
_TOKEN = re.compile(r"[A-Za-z0-9._:/-]{1,300}")
_LONGEST_NAME = 80
# The field of a reply in a modal; a number follows.
FIELD = "reply:"
_FIELD = re.compile(r"reply:[0-9]{1,4}")
TEXT = "text"


@dataclass(frozen=True, slots=True)
class Presser:
    """A person on Slack; `team_id` is the workspace that they belong to."""

    id: str
    name: str
    team_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person gets answers: the channel, and the thread of the message, if it is in one."""

    channel: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """What a modal is about, as it is kept in Slack while the modal is open.

    `seen` and `seen_reply` are the digests of the text and the reply that it shows. `replace`: it
    asks whether to send in spite of them. `fields`: how often its text was filled in; the field
    gets another id each time, else Slack keeps what it held. `has_buttons`: it was opened from a
    digest, which has no others.
    """

    site_id: str
    review_id: str
    channel: str
    thread: str = ""
    seen: str = ""
    seen_reply: str = ""
    revision: int = 0
    replace: bool = False
    fields: int = 0
    has_buttons: bool = False

    @property
    def field(self) -> str:
        """The id of the block with its text."""
        return f"{FIELD}{self.fields}"

    @property
    def place(self) -> Place:
        """Where the person gets answers."""
        return Place(self.channel, self.thread)

    def filled_again(self) -> "ReplyForm":
        """Return the form whose text is filled in once more."""
        return replace(self, fields=self.fields + 1)

    def dump(self) -> str:
        """Return it as the private metadata of a modal."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class View:
    """A modal as Slack sends it: `texts` are what was entered, by the id of the block."""

    id: str
    hash: str
    form: ReplyForm
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Press:
    """A button that was pressed, or an option that was chosen (`value`).

    `key` is the same whenever the same press arrives again. `view`: the modal it stands in.
    """

    key: str
    person: Presser
    place: Place
    action_id: str
    block_id: str
    value: str
    trigger_id: str
    view: View | None = None

    @property
    def element(self) -> str:
        """The button or menu, which is the same for each press of it."""
        return self.key.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class SubmittedModal:
    """A modal that was submitted."""

    person: Presser
    view: View

    @property
    def key(self) -> str:
        """What is the same whenever the modal arrives again."""
        return f"slack:{self.view.id}"


def parse_interaction(payload: Mapping[str, Any]) -> Press | SubmittedModal | None:
    """Return what a person did; None for what is not ours, or of another form than Slack's."""
    person = _person(payload)
    if person is None:
        return None
    view = _view(table_in(payload, "view"))
    if payload.get("type") == "view_submission":
        return SubmittedModal(person, view) if view else None
    if payload.get("type") != "block_actions":
        return None
    return _press(payload, person, view)


def _press(payload: Mapping[str, Any], person: Presser, view: View | None) -> Press | None:
    actions = payload.get("actions")
    action = actions[0] if isinstance(actions, list) and actions else None
    if not isinstance(action, dict):
        return None
    container = table_in(payload, "container")
    channel, ts = _text(container, "channel_id", _ID), _text(container, "message_ts", _TS)
    source = view.id if view else f"{channel}:{ts}" if channel and ts else ""
    action_id, action_ts = _text(action, "action_id", _TOKEN), _text(action, "action_ts", _TS)
    if not (source and action_id and action_ts):
        return None
    option = table_in(action, "selected_option")
    return Press(
        key=f"slack:{source}:{action_id}:{action_ts}",
        person=person,
        place=view.form.place if view else Place(channel, _text(container, "thread_ts", _TS)),
        action_id=action_id,
        block_id=_text(action, "block_id", _TOKEN),
        value=_text(option or action, "value", _TOKEN),
        trigger_id=_text(payload, "trigger_id", _TOKEN),
        view=view,
    )


def _person(payload: Mapping[str, Any]) -> Presser | None:
    user = table_in(payload, "user")
    user_id, team_id = _text(user, "id", _ID), _text(user, "team_id", _ID)
    named = user.get("name") or user.get("username")
    name = clean_reply(named, most=_LONGEST_NAME) if isinstance(named, str) else ""
    return Presser(user_id, name or user_id, team_id) if user_id else None


def _view(raw: Mapping[str, Any]) -> View | None:
    view_id, form = _text(raw, "id", _ID), _form(raw.get("private_metadata"))
    if not view_id or form is None:
        return None
    values = table_in(table_in(raw, "state"), "values")
    texts = {
        block: table_in(entries, TEXT).get("value")
        for block, entries in values.items()
        if _FIELD.fullmatch(block) and isinstance(entries, dict)
    }
    found = {block: text if isinstance(text, str) else "" for block, text in texts.items()}
    return View(view_id, _text(raw, "hash", _TOKEN), form, found)


def _form(raw: object) -> ReplyForm | None:
    """Return the form in the private metadata of a modal; None if it is not one of ours."""
    try:
        found = json.loads(raw) if isinstance(raw, str) else None
        form = ReplyForm(**found) if isinstance(found, dict) else None
    except (ValueError, TypeError, RecursionError):
        return None
    if form is None:
        return None
    texts = (form.site_id, form.review_id, form.channel, form.thread, form.seen, form.seen_reply)
    numbers, flags = (form.revision, form.fields), (form.replace, form.has_buttons)
    good = (
        all(isinstance(each, str) for each in texts)
        and all(type(each) is int for each in numbers)
        and all(isinstance(each, bool) for each in flags)
    )
    return form if good and _ID.fullmatch(form.channel) else None


def _text(table: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    """Return a text of a table; empty if it has none of this form."""
    found = table.get(name)
    return found if isinstance(found, str) and pattern.fullmatch(found) else ""
