"""The channels of the embedded Slack, page by page.

https://docs.slack.dev/reference/methods/conversations.list
"""

import base64
import binascii
from collections.abc import Iterable

from alerter.demo.slack_arguments import flag
from alerter.demo.slack_workspace import Channel, Json, SlackError, Token

_USUAL, _MOST = 100, 999
# The type of conversation, by the prefix of its scopes.
_TYPES = {"channels": "public_channel", "groups": "private_channel", "im": "im", "mpim": "mpim"}


def page_of_channels(channels: Iterable[Channel], token: Token, args: Json) -> Json:
    """Return a page of conversations, by id. It may be short, or empty, and not the last.

    Private channels are shown to members only. Raises SlackError.
    """
    types = str(args.get("types") or "public_channel").split(",")
    if not set(types) <= set(_TYPES.values()):
        raise SlackError("invalid_types")
    for family, kind in _TYPES.items():
        if kind in types:
            token.require(f"{family}:read")
    every = sorted(channels, key=lambda channel: channel.id)
    start = _start(args.get("cursor"), [channel.id for channel in every])
    end = start + _limit(args)
    shown = [
        channel.listed()
        for channel in every[start:end]
        if _TYPES[channel.family] in types
        and (channel.family == "channels" or channel.member)
        and not (channel.archived and flag(args, "exclude_archived"))
    ]
    following = _cursor_to(every[end].id) if end < len(every) else ""
    return {"channels": shown, "response_metadata": {"next_cursor": following}}


def _limit(args: Json) -> int:
    try:
        limit = int(args.get("limit") or _USUAL)
    except (TypeError, ValueError):
        limit = 0
    if not 1 <= limit <= _MOST:
        raise SlackError("invalid_limit")
    return limit


def _cursor_to(channel_id: str) -> str:
    return base64.b64encode(f"team:{channel_id}".encode()).decode()


def _start(cursor: object, ids: list[str]) -> int:
    if cursor in (None, ""):
        return 0
    try:
        kind, _, channel_id = base64.b64decode(str(cursor), validate=True).decode().partition(":")
        if kind != "team":
            raise SlackError("invalid_cursor")
        return ids.index(channel_id)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise SlackError("invalid_cursor") from None
