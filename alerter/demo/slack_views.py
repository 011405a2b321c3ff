"""Modals of the embedded Slack: how apps open and change them, and what people type into them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from alerter.demo.slack_arguments import read_view, require
from alerter.demo.slack_methods import Workspace
from alerter.demo.slack_workspace import TEAM, Json, SlackError, Token, User, with_ids

_TRIGGER = re.compile(r"\d+\.\d+\.[0-9a-f]+")
_TRIGGER_LASTS = 3.0
_MOST_PUSHED = 3
_INPUTS = {"plain_text_input": "value", "static_select": "selected_option"}
_INITIAL = {"plain_text_input": "initial_value", "static_select": "initial_option"}


@dataclass
class Trigger:
    """What lets an app open one modal for a person, soon after they did something."""

    user: User
    app_id: str
    expires: float
    exchanged: bool = False


@dataclass(eq=False)
class Modal:
    """A modal as a person sees it. `errors` are shown at its blocks, by their ids."""

    id: str
    user: User
    token: Token
    content: Json
    previous: "Modal | None" = None
    open: bool = True
    errors: dict[str, str] = field(default_factory=dict)
    hash: str = ""
    entered: dict[tuple[str, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.replace(self.content)

    def replace(self, content: Json) -> None:
        """Show other content. Inputs with the same ids keep what was entered."""
        self.content = {**content, "blocks": with_ids(content["blocks"], self.id)}
        self.hash = f"{uuid4().int % 10**10}.{uuid4().hex[:8]}"
        self.errors = {}
        before, self.entered = self.entered, {}
        for block_id, element in elements_in(self.content["blocks"]):
            key, kind = (block_id, element["action_id"]), element["type"]
            if kind in _INPUTS:
                self.entered[key] = before.get(key, element.get(_INITIAL[kind]))

    @property
    def root(self) -> "Modal":
        """The modal at the bottom of its stack."""
        return self.previous.root if self.previous else self

    @property
    def depth(self) -> int:
        """How many modals its stack has up to this one."""
        return 1 + (self.previous.depth if self.previous else 0)

    @property
    def inputs(self) -> list[str]:
        """The ids of its input blocks."""
        return [each["block_id"] for each in self.content["blocks"] if each["type"] == "input"]

    def shown(self) -> Json:
        """Return the view as Slack does."""
        text = {name: self.content.get(name, "") for name in _TEXTS}
        flags = {name: self.content.get(name, False) for name in _FLAGS}
        return {
            "id": self.id,
            "team_id": self.user.team_id,
            "type": "modal",
            "title": self.content["title"],
            "submit": self.content.get("submit"),
            "close": self.content.get("close"),
            "blocks": self.content["blocks"],
            **text,
            **flags,
            "state": {"values": values_in(self.content["blocks"], self.entered)},
            "hash": self.hash,
            "root_view_id": self.root.id,
            "previous_view_id": self.previous.id if self.previous else None,
            "app_id": self.token.app_id,
            "app_installed_team_id": TEAM,
            "bot_id": self.token.bot_id,
        }


_TEXTS = ("private_metadata", "callback_id", "external_id")
_FLAGS = ("clear_on_close", "notify_on_close")


class Views:
    """The modals of a workspace; `modals` are all that were ever opened, in their order."""

    def __init__(self, workspace: Workspace) -> None:
        self.modals: list[Modal] = []
        self.triggers: dict[str, Trigger] = {}
        # What people chose in the menus of messages, by person and message.
        self.chosen: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}
        self._workspace = workspace
        self.methods = {"views.open": self._open, "views.update": self._update}

    def new_trigger(self, user: User, app_id: str) -> str:
        """Return the trigger id of something that a person did just now."""
        trigger_id = f"{len(self.triggers) + 1}.{TEAM[1:]}.{uuid4().hex}"
        expires = self._workspace.clock.monotonic() + _TRIGGER_LASTS
        self.triggers[trigger_id] = Trigger(user, app_id, expires)
        return trigger_id

    def open_for(self, user: User) -> list[Modal]:
        """Return the open modals of a person, the one on top last."""
        return [modal for modal in self.modals if modal.open and modal.user.id == user.id]

    def react(self, modal: Modal, answer: Any) -> str | None:
        """Do what an app answers to a submitted modal; return what is wrong with the answer."""
        if not answer:
            modal.open = False
            return None
        match answer.get("response_action") if isinstance(answer, dict) else None:
            case "clear":
                self.close_stack(modal)
            case "errors":
                return self._show_errors(modal, answer.get("errors"))
            case "update" | "push" as action:
                return self._show_view(modal, action, answer)
            case _:
                return f"Slack cannot read the answer {answer}"
        return None

    def close_stack(self, modal: Modal) -> None:
        """Close a modal with those below and above it."""
        for each in self.modals:
            if each.root is modal.root:
                each.open = False

    def _show_errors(self, modal: Modal, errors: object) -> str | None:
        if (
            not isinstance(errors, dict)
            or not errors
            or not all(isinstance(error, str) and error for error in errors.values())
            or not set(errors) <= set(modal.inputs)
        ):
            return f"Slack cannot show the errors {errors}"
        modal.errors = errors
        return None

    def _show_view(self, modal: Modal, action: str, answer: Json) -> str | None:
        try:
            content = read_view(answer)
            if action == "push":
                self._show(modal.user, modal.token, content, modal)
            else:
                self._replace(modal, content)
        except SlackError as error:
            return f"Slack refuses the view of the answer: {error.error} {error.more}"
        return None

    def _open(self, token: Token, args: Json) -> Json:
        content, trigger = read_view(args), self._exchanged(token, require(args, "trigger_id"))
        return {"view": self._show(trigger.user, token, content, None).shown()}

    def _update(self, token: Token, args: Json) -> Json:
        content = read_view(args)
        modal = self._found(token, args)
        if args.get("hash") not in (None, "", modal.hash):
            raise SlackError("hash_conflict")
        self._replace(modal, content)
        return {"view": modal.shown()}

    def _show(self, user: User, token: Token, content: Json, previous: Modal | None) -> Modal:
        self._require_free(content, None)
        if previous is not None and previous.depth >= _MOST_PUSHED:
            raise SlackError("push_limit_reached")
        modal = Modal(f"V{len(self.modals) + 1:08}", user, token, content, previous)
        self.modals.append(modal)
        return modal

    def _replace(self, modal: Modal, content: Json) -> None:
        self._require_free(content, modal)
        modal.replace(content)

    def _require_free(self, content: Json, modal: Modal | None) -> None:
        external_id = content.get("external_id")
        if external_id and any(
            each.open and each is not modal and each.content.get("external_id") == external_id
            for each in self.modals
        ):
            raise SlackError("duplicate_external_id")

    def _exchanged(self, token: Token, trigger_id: str) -> Trigger:
        trigger = self.triggers.get(trigger_id)
        if trigger is None or trigger.app_id != token.app_id or not _TRIGGER.fullmatch(trigger_id):
            raise SlackError("invalid_trigger_id")
        if trigger.exchanged:
            raise SlackError("exchanged_trigger_id")
        if self._workspace.clock.monotonic() >= trigger.expires:
            raise SlackError("expired_trigger_id")
        trigger.exchanged = True
        return trigger

    def _found(self, token: Token, args: Json) -> Modal:
        view_id, external_id = args.get("view_id"), args.get("external_id")
        if not view_id and not external_id:
            raise SlackError("invalid_arguments")
        for modal in self.modals:
            named = modal.id == view_id or (
                not view_id and modal.content.get("external_id") == external_id
            )
            if named and modal.open and modal.token.app_id == token.app_id:
                return modal
        raise SlackError("not_found")


def elements_in(blocks: list[Json]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each element of blocks with the id of its block."""
    for block in blocks:
        parts = [block.get("accessory"), block.get("element")]
        parts += block["elements"] if block["type"] == "actions" else []
        for part in parts:
            if part and "action_id" in part:
                yield block["block_id"], part


def values_in(blocks: list[Json], entered: Mapping[tuple[str, str], Any]) -> Json:
    """Return the values of inputs and menus as Slack reports them, by block and action."""
    values: Json = {}
    for block_id, element in elements_in(blocks):
        kind, action_id = element["type"], element["action_id"]
        if kind in _INPUTS:
            value = entered.get((block_id, action_id), element.get(_INITIAL[kind]))
            values.setdefault(block_id, {})[action_id] = {"type": kind, _INPUTS[kind]: value}
    return values
