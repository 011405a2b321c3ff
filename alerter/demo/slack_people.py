"""What the people of the embedded Slack can do: press, choose, type, submit, read."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from alerter.demo.slack_elements import options_of
from alerter.demo.slack_methods import Workspace
from alerter.demo.slack_socket import Interaction, SocketMode
from alerter.demo.slack_views import Modal, Views, elements_in, values_in
from alerter.demo.slack_workspace import TEAM, Ephemeral, Json, Post, User

_Element = tuple[str, Mapping[str, Any]]


class ImpossibleError(Exception):
    """Something that a person cannot do, since Slack does not show it or does not take it."""


class Person:
    """A person in front of Slack.

    What they do is an Interaction, which can be awaited for its outcome or left alone. An element
    is named by its action_id or by its label, an option by its value or its text.
    """

    def __init__(
        self, user: User, workspace: Workspace, views: Views, socket: SocketMode, base_url: str
    ) -> None:
        self.user = user
        self._workspace = workspace
        self._views = views
        self._socket = socket
        self._base_url = base_url

    @property
    def modals(self) -> list[Modal]:
        """The open modals, the one on top last."""
        return self._views.open_for(self.user)

    @property
    def modal(self) -> Modal:
        """The modal on top."""
        if not self.modals:
            raise ImpossibleError(f"{self.user.name} has no modal open")
        return self.modals[-1]

    @property
    def ephemerals(self) -> list[Ephemeral]:
        """The messages that only this person sees."""
        return [each for each in self._workspace.ephemerals if each.user == self.user.id]

    def press(self, message: Post | Ephemeral | Modal, name: str) -> Interaction:
        """Press a button."""
        block_id, element = self._element(message, name, "button")
        shown = {key: element[key] for key in ("value", "style") if key in element}
        return self._act(message, block_id, element, {"text": element["text"], **shown})

    def choose(self, message: Post | Ephemeral | Modal, name: str, option: str) -> Interaction:
        """Choose an option of a menu that acts at once.

        A select keeps its choice; to choose it again is to take it back, and the app gets null:
        https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
        """
        block_id, element = self._element(message, name, "overflow", "static_select")
        chosen: Json | None = _option(element, option)
        if element["type"] == "static_select":
            choices, key = self._choices(message), (block_id, element["action_id"])
            chosen = None if choices.get(key, element.get("initial_option")) == chosen else chosen
            choices[key] = chosen
        return self._act(message, block_id, element, {"selected_option": chosen})

    def enter(self, name: str, entry: str) -> Interaction | None:
        """Type into a field of the modal on top, or choose the option of a menu there.

        Returns the interaction of an input that acts at once.
        """
        modal = self.modal
        block_id, element = self._element(modal, name, "plain_text_input", "static_select")
        action: Json = {}
        if element["type"] == "static_select":
            modal.entered[block_id, element["action_id"]] = _option(element, entry)
            action["selected_option"] = _option(element, entry)
        else:
            modal.entered[block_id, element["action_id"]] = action["value"] = entry or None
        block = next(each for each in modal.content["blocks"] if each["block_id"] == block_id)
        if block["type"] == "input" and not block.get("dispatch_action"):
            return None
        return self._act(modal, block_id, element, action)

    def submit(self, entries: Mapping[str, str] | None = None) -> Interaction:
        """Enter into the modal on top, and submit it. Raises ImpossibleError where Slack would."""
        modal = self.modal
        for name, entry in (entries or {}).items():
            self.enter(name, entry)
        _require_complete(modal)
        modal.errors = {}
        payload = {
            **self._payload("view_submission", modal.token.app_id),
            "view": modal.shown(),
            "response_urls": [],
        }
        return self._socket.deliver(
            modal.token.app_id,
            payload,
            accepts_payload=True,
            react=partial(self._views.react, modal),
        )

    def close(self) -> Interaction | None:
        """Close the modal on top; returns the event if the app asked for one."""
        modal = self.modal
        if modal.content.get("clear_on_close"):
            self._views.close_stack(modal)
        modal.open = False
        if not modal.content.get("notify_on_close"):
            return None
        payload = self._payload("view_closed", modal.token.app_id)
        del payload["trigger_id"]
        return self._socket.deliver(
            modal.token.app_id, {**payload, "view": modal.shown(), "is_cleared": False}
        )

    def _element(self, message: Post | Ephemeral | Modal, name: str, *kinds: str) -> _Element:
        for block_id, element in elements_in(self._blocks(message)):
            label = (element.get("text") or {}).get("text")
            if element["type"] in kinds and name in {element["action_id"], label}:
                return block_id, element
        raise ImpossibleError(f"{self.user.name} sees no {' or '.join(kinds)} {name}")

    def _blocks(self, message: Post | Ephemeral | Modal) -> list[Json]:
        if isinstance(message, Modal):
            if not message.open:
                raise ImpossibleError("the modal is closed")
            return list(message.content["blocks"])
        channel = self._workspace.channels[message.channel]
        if not channel.has(self.user.id) or (isinstance(message, Post) and message.deleted):
            raise ImpossibleError(f"{self.user.name} does not see this message")
        return message.shown_blocks

    def _choices(self, message: Post | Ephemeral | Modal) -> dict[tuple[str, str], Any]:
        if isinstance(message, Modal):
            return message.entered
        return self._views.chosen.setdefault((self.user.id, message.ts), {})

    def _act(
        self,
        message: Post | Ephemeral | Modal,
        block_id: str,
        element: Mapping[str, Any],
        what: Json,
    ) -> Interaction:
        app_id = self._app_of(message)
        action = {
            "type": element["type"],
            "action_id": element["action_id"],
            "block_id": block_id,
            **what,
            "action_ts": self._workspace.timestamps.next(),
        }
        payload = {
            **self._payload("block_actions", app_id),
            **self._source(message),
            "actions": [action],
        }
        return self._socket.deliver(app_id, payload)

    def _app_of(self, message: Post | Ephemeral | Modal) -> str:
        app_id = message.token.app_id if isinstance(message, Modal) else message.app_id
        if app_id is None:
            raise ImpossibleError("the message is not of an app")
        return app_id

    def _payload(self, kind: str, app_id: str) -> Json:
        domain = "embedded" if self.user.team_id == TEAM else self.user.team_id.lower()
        return {
            "type": kind,
            "user": self.user.shown(),
            "api_app_id": app_id,
            "token": "verification-token",
            "trigger_id": self._views.new_trigger(self.user, app_id),
            "team": {"id": self.user.team_id, "domain": domain},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _source(self, message: Post | Ephemeral | Modal) -> Json:
        if isinstance(message, Modal):
            return {
                "container": {"type": "view", "view_id": message.id},
                "view": message.shown(),
            }
        ephemeral = isinstance(message, Ephemeral)
        channel = self._workspace.channels[message.channel]
        container: Json = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": ephemeral,
        }
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        name = "directmessage" if channel.user else channel.name
        shown = {} if isinstance(message, Ephemeral) else {"message": message.shown(metadata=False)}
        return {
            "container": container,
            "channel": {"id": channel.id, "name": "privategroup" if channel.private else name},
            **shown,
            "state": {"values": values_in(self._blocks(message), self._choices(message))},
            "response_url": f"{self._base_url}/actions/{TEAM}/{message.ts}",
        }


def _option(element: Mapping[str, Any], name: str) -> Json:
    for option in options_of(element):
        if name in {option["value"], option["text"]["text"]}:
            return dict(option)
    raise ImpossibleError(f"there is no option {name}")


def _require_complete(modal: Modal) -> None:
    """Raise ImpossibleError if Slack itself asks for something else to be entered first."""
    if modal.content.get("submit") is None:
        raise ImpossibleError("the modal has no button to submit it")
    for block in modal.content["blocks"]:
        if block["type"] != "input":
            continue
        element = block["element"]
        entry = modal.entered[block["block_id"], element["action_id"]]
        if entry is None and not block.get("optional"):
            raise ImpossibleError(f"{block['label']['text']} is required")
        if isinstance(entry, str) and len(entry) > element.get("max_length", len(entry)):
            raise ImpossibleError(f"{block['label']['text']} is too long")
        if isinstance(entry, str) and len(entry) < element.get("min_length", 0):
            raise ImpossibleError(f"{block['label']['text']} is too short")
