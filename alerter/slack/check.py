"""Checks of a receiver on Slack: the token, its scopes, and the channel.

Scopes: https://docs.slack.dev/reference/scopes
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from alerter.clock import Clock
from alerter.config import Slack
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Finding
from alerter.slack.api import CannotLook, Refused, SlackApi, headers_of, open_session
from alerter.slack.app import SlackApp
from alerter.slack.channels import ChannelAddress
from alerter.slack.look import NO_THREAD, conversation_of
from alerter.slack.socket import Acknowledge, SlackSocket
from alerter.text import table_in

TO_POST = "chat:write"
_BUTTONS = "slack.app_token"
_POSTED_TWICE = "a message whose answer is lost may be posted twice"
# The timestamp of no message: a token that may read threads gets `thread_not_found`.
_NO_MESSAGE = "1000000000.000000"


async def check(api: SlackApi, receiver: str, address: ChannelAddress) -> list[Finding]:
    """Return a finding about the channel, and one for each scope that is missing."""
    subject = f"receiver {receiver}"
    try:
        who = await api.call(api.client.auth_test)
        granted = _granted(who)
        if granted and TO_POST not in granted:
            return [_fail(subject, f"without {TO_POST} nothing can be posted; grant it to the app")]
        team = api.clean(who.get("team") or "the workspace")
        channel = await address.look_up()
        conversation, found = await _check_channel(api, subject, address, channel, team)
        if not found.ok:
            return [found]
        if warnings := list(missing_scopes(granted, channel, conversation)) if granted else []:
            return [found, *(_warn(subject, f"{text}; grant it to the app") for text in warnings)]
        return [found, *await _check_search(api, subject, channel)]
    except DeliveryError as error:
        return [_fail(subject, str(error))]


async def _check_channel(
    api: SlackApi, subject: str, address: ChannelAddress, channel: str, team: str
) -> tuple[Mapping[str, Any] | None, Finding]:
    """Return Slack's object of the channel, None if the token may not read it, and a finding."""
    try:
        info = await api.look(
            api.client.conversations_info, channel=await conversation_of(api, channel)
        )
    except CannotLook as error:
        text = f"the token is good, but may not look at {channel} ({error})"
        return None, _warn(subject, f"{text}; `alerter test` shows what it may")
    conversation = table_in(info, "channel")
    name = api.clean(conversation.get("name") or channel)
    if conversation.get("is_archived"):
        return conversation, _fail(subject, f"channel {name} is archived; unarchive it")
    if conversation.get("is_member") is False and not conversation.get("is_im"):
        return conversation, _fail(subject, f"not a member of {name}; invite the app to it")
    if not address.is_name:
        return conversation, Finding(ok=True, subject=subject, text=f"slack: {name} in {team}")
    if f"#{name}".casefold() != address.written.casefold():
        text = (
            f"{address.written} is now #{name} ({channel}), and still used;"
            " write its new name, or its id, in the config"
        )
        return conversation, _warn(subject, text)
    text = f"slack: {address.written} ({channel}) in {team}"
    return conversation, Finding(ok=True, subject=subject, text=text)


async def _check_search(api: SlackApi, subject: str, channel: str) -> list[Finding]:
    """Check whether a message in doubt can be searched for, in the channel and in a thread."""
    for where, method, arguments in (
        ("the channel", api.client.conversations_history, {}),
        ("its threads", api.client.conversations_replies, {"ts": _NO_MESSAGE}),
    ):
        try:
            conversation = await conversation_of(api, channel)
            await api.look(method, channel=conversation, limit=1, **arguments)
        except CannotLook as error:
            text = f"we may not look into {where} ({error})"
            return [_warn(subject, f"{text}, so {_POSTED_TWICE}")]
        except Refused as error:
            # A throttled call says nothing about the channel: posting goes on.
            if error.code not in NO_THREAD and error.kind is not ErrorKind.THROTTLED:
                raise
    return []


async def check_buttons(slack: Slack, clock: Clock) -> Finding:
    """Open a connection for buttons, and return what is missing for them."""
    token = slack.app_token.get_secret_value() if slack.app_token else ""
    async with open_session() as session:
        socket = SlackSocket(slack, session, clock, SlackApp(token), _ignore, lambda *_: None)
        try:
            app_id = await socket.probe()
        except DeliveryError as error:
            text = f"buttons: {error}"
            return Finding(ok=False, subject=_BUTTONS, text=text)
    text = (
        f"buttons: the app {app_id} is connected; where a press does nothing,"
        " turn on Interactivity in its settings"
    )
    return Finding(ok=True, subject=_BUTTONS, text=text)


async def _ignore(_payload: Mapping[str, Any], _acknowledge: Acknowledge) -> None:
    """Leave what comes in meanwhile to the daemon: Slack sends it again."""


def missing_scopes(
    granted: Collection[str], channel: str, conversation: Mapping[str, Any] | None
) -> Iterator[str]:
    """Yield the effect of each missing scope; `conversation` is Slack's object of the channel."""
    kinds = _kinds(channel, conversation)
    lacks_check = "`alerter check` cannot see whether the channel is there"
    yield from _missing_right(granted, kinds, "read", lacks_check)
    if channel[0] in "UW" and "im:write" not in granted:
        yield "without im:write a message to a person whose answer is lost may be posted twice"
    yield from _missing_right(granted, kinds, "history", _POSTED_TWICE)


def _missing_right(
    granted: Collection[str], kinds: Collection[str], right: str, effect: str
) -> Iterator[str]:
    if not any(f"{kind}:{right}" in granted for kind in kinds):
        yield f"without {' or '.join(f'{kind}:{right}' for kind in kinds)} {effect}"


def _kinds(channel: str, conversation: Mapping[str, Any] | None) -> list[str]:
    """Return the prefixes of scopes for a channel; its id alone does not show if it is private."""
    if conversation:
        kinds = {"is_im": "im", "is_mpim": "mpim", "is_private": "groups"}
        return [next((kind for sign, kind in kinds.items() if conversation.get(sign)), "channels")]
    return {"C": ["channels", "groups"], "G": ["groups", "mpim"]}.get(channel[0], ["im"])


def _granted(response: Any) -> list[str]:
    """Return the scopes of the token, which Slack names in a header of every answer."""
    named = headers_of(response).get("x-oauth-scopes", "")
    return [scope.strip() for scope in named.split(",") if scope.strip()]


def _fail(subject: str, text: str) -> Finding:
    return Finding(ok=False, subject=subject, text=f"slack: {text}")


def _warn(subject: str, text: str) -> Finding:
    return Finding(ok=True, subject=subject, text=f"slack: {text}", warning=True)
