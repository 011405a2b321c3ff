"""Search Slack for a message in doubt, one page a call.

The search reads the thread, if there is one; then the minutes around the attempt, by Slack's clock;
then, where our clock may have been wrong, the channel from its newest message back. Its position is
a text: `thread CURSOR`, `around CURSOR` or `back END CURSOR`.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from alerter.models import AlertKind, Look, Message, Receipt
from alerter.slack.api import (
    CannotLook,
    Refused,
    SlackApi,
    cursor_in,
    has_uid,
    id_in,
    ts_in,
)
from alerter.text import table_in

log = logging.getLogger(__name__)

# Slack dates a message by its own clock, at any time during the call.
_BEFORE = timedelta(minutes=2)
_AFTER = timedelta(minutes=5)
_TOLERANCE = timedelta(minutes=1)
_PAGE = 200
# How long before the attempt the search from the newest message back ends.
_MARGIN = timedelta(days=1)
# The parent of a thread is gone: https://docs.slack.dev/reference/methods/conversations.replies
NO_THREAD = {"thread_not_found", "message_not_found", "invalid_thread_ts"}
_THREAD, _AROUND, _BACK = "thread", "around", "back"


async def look(api: SlackApi, receiver: str, channel: str, message: Message) -> Look:
    """Search the next page for a message. Raises DeliveryError.

    The result is `blind` where the token does not allow the search.
    """
    where, cursor = _where(message)
    try:
        conversation = await conversation_of(api, channel)
        if where == _THREAD:
            return await _look_in_thread(api, conversation, message, cursor)
        return await _look_in_channel(api, conversation, message, where, cursor)
    except CannotLook as error:
        log.warning(
            'receiver "%s": Slack does not let us look (%s) whether a message arrived, so it may be'
            " posted twice; invite the app to the channel, and grant it the scope to read history",
            receiver,
            error,
        )
        return Look(blind=True)


def is_in_channel(message: Message) -> bool:
    """Return whether the next page is one of the channel, not of a thread."""
    return _where(message)[0] != _THREAD


async def conversation_of(api: SlackApi, channel: str) -> str:
    """Return the id of a conversation: a person's is the direct message with them."""
    if channel[0] not in "UW":
        return channel
    opened = await api.look(api.client.conversations_open, users=channel)
    return id_in(table_in(opened, "channel"), "id") or channel


def _where(message: Message) -> tuple[str, str]:
    if message.look:
        where, _, cursor = message.look.partition(" ")
        return where, cursor
    return (_THREAD if message.thread and message.thread.slack_ts else _AROUND), ""


async def _look_in_thread(api: SlackApi, channel: str, message: Message, cursor: str) -> Look:
    ts = message.thread.slack_ts if message.thread else None
    try:
        page = await api.look(
            api.client.conversations_replies,
            channel=channel,
            ts=ts,
            **_paging(cursor),
        )
    except CannotLook:
        # Slack's documentation is not clear about whether a bot may read threads.
        if message.entries[0].alert.kind is AlertKind.CLOSED:
            raise
        return Look(position=_AROUND)
    except Refused as error:
        if error.code not in NO_THREAD:
            raise
        # The parent is gone, so Slack may have posted the reply to the channel.
        return Look(position=_AROUND)
    if found := _found(_posts(page), message, channel):
        return Look(found)
    following = cursor_in(page)
    return Look(position=f"{_THREAD} {following}") if following else Look()


async def _look_in_channel(
    api: SlackApi, channel: str, message: Message, where: str, cursor: str
) -> Look:
    end, _, cursor = cursor.partition(" ") if where == _BACK else ("", "", cursor)
    span = _span(message) if where == _AROUND else {}
    page = await api.look(
        api.client.conversations_history, channel=channel, **span, **_paging(cursor)
    )
    posts = _posts(page)
    if found := _found(posts, message, channel):
        return Look(found)
    following = cursor_in(page)
    if where == _AROUND:
        if following:
            return Look(position=f"{_AROUND} {following}")
        return Look() if _is_clock_right(api, message) else Look(position=_BACK)
    end = end or f"{_end(message, posts):.6f}"
    if not following or (posts and _posted_at(posts[-1]) < float(end)):
        return Look()
    return Look(position=f"{_BACK} {end} {following}")


def _is_clock_right(api: SlackApi, message: Message) -> bool:
    """Return whether no clock was set since the attempt, so that its time by Slack is right."""
    attempt = api.service_time(message.attempted_at)
    if attempt is None or message.service_time is None:
        return False
    return abs(attempt - message.service_time) < _TOLERANCE


def _span(message: Message) -> dict[str, str]:
    attempt = message.service_time or message.attempted_at
    return {
        "oldest": _ts(attempt - _BEFORE),
        "latest": _ts(attempt + _AFTER),
    }


def _ts(moment: datetime) -> str:
    """Return a moment as a Slack timestamp. Slack accepts none before 2001."""
    return f"{max(moment.timestamp(), 1e9):.6f}"


def _end(message: Message, posts: list[Mapping[str, Any]]) -> float:
    """Return the time at which the search from the newest message back ends.

    A wrong clock may have dated the attempt after every message that Slack has.
    """
    newest = _posted_at(posts[0]) if posts else message.attempted_at.timestamp()
    return min(newest, message.attempted_at.timestamp()) - _MARGIN.total_seconds()


def _paging(cursor: str) -> dict[str, Any]:
    paging: dict[str, Any] = {"limit": _PAGE, "include_all_metadata": True}
    return paging | ({"cursor": cursor} if cursor else {})


def _posts(page: Any) -> list[Mapping[str, Any]]:
    found = page.get("messages")
    return [post for post in found if isinstance(post, dict)] if isinstance(found, list) else []


def _found(posts: Iterable[Mapping[str, Any]], message: Message, channel: str) -> Receipt | None:
    for post in posts:
        if has_uid(post, message.uid):
            return Receipt("found on Slack", channel, ts_in(post))
    return None


def _posted_at(post: Mapping[str, Any]) -> float:
    try:
        moment = datetime.fromtimestamp(float(post.get("ts", 0)), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC).timestamp()
    return moment.timestamp()
