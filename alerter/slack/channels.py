"""The channels of a Slack workspace, and the channel that a receiver's messages go to.

https://docs.slack.dev/reference/methods/conversations.list
"""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alerter.config.fields import nearest
from alerter.errors import DeliveryError, ErrorKind
from alerter.slack.api import CannotLook, SlackApi, cursor_in, id_in
from alerter.store.channels import ChannelIds

log = logging.getLogger(__name__)

_PAGE = 999  # the most that Slack allows
# Seconds to wait in all where Slack asks us to slow down.
_PATIENCE = 60.0
_PUBLIC, _ALL = "public_channel", "public_channel,private_channel"


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A channel that the app can see. Private ones are seen by their members only."""

    id: str
    name: str
    is_private: bool = False
    is_member: bool = False
    is_archived: bool = False


async def list_channels(api: SlackApi) -> AsyncIterator[ListedChannel]:
    """Yield the channels that the app can see, page by page. Raises DeliveryError."""
    arguments: dict[str, Any] = {"limit": _PAGE, "types": _ALL}
    seen: set[str] = set()
    while True:
        try:
            page = await _call_patiently(api, arguments)
        except CannotLook as error:
            if arguments["types"] == _ALL:  # without groups:read public ones are listed
                arguments["types"] = _PUBLIC
                continue
            text = f"the token may not list channels ({error}); grant channels:read to the app"
            raise DeliveryError(text, ErrorKind.RECEIVER) from error
        for channel in _channels(api, page):
            yield channel
        cursor = cursor_in(page)
        if not cursor or cursor in seen:
            return
        seen.add(cursor)
        arguments["cursor"] = cursor


async def _call_patiently(api: SlackApi, arguments: Mapping[str, Any]) -> Any:
    """Read a page, and wait as long as Slack asks us to, but no longer than a minute in all."""
    waited = 0.0
    while True:
        try:
            return await api.look(api.client.conversations_list, **arguments)
        except CannotLook:
            raise
        except DeliveryError as error:
            if error.kind is not ErrorKind.THROTTLED:
                raise DeliveryError(str(error), error.kind) from error  # nothing was sent
            wait = error.retry_after or 1.0
            if waited + wait > _PATIENCE:
                # The limit is of this method only, so the service is not held back for it.
                text = "Slack limits how often its channels can be listed"
                raise DeliveryError(text, ErrorKind.TRANSIENT) from error
            waited += wait
            await api.clock.sleep(wait)


def _channels(api: SlackApi, page: Any) -> Iterator[ListedChannel]:
    found = page.get("channels")
    for each in found if isinstance(found, list) else ():
        channel_id = id_in(each, "id") if isinstance(each, dict) else None
        if channel_id:
            yield ListedChannel(
                channel_id,
                api.clean(each.get("name") or channel_id),
                is_private=each.get("is_private") is True,
                is_member=each.get("is_member") is True,
                is_archived=each.get("is_archived") is True,
            )


async def find_channel(api: SlackApi, written: str) -> ListedChannel:
    """Return the channel with a name such as `#reviews`. Raises DeliveryError."""
    wanted, archived, names = written.removeprefix("#").casefold(), None, []
    async for channel in list_channels(api):
        if channel.name.casefold() == wanted:
            if not channel.is_archived:
                return channel
            archived = channel
        names.append(channel.name)
    if archived:
        return archived
    near = nearest(wanted, names)
    hint = f'; did you mean "#{near}"?' if near else ""
    text = (
        f"there is no channel {written} that the app can see; correct its name,"
        f" or invite the app to it if it is private{hint}"
    )
    raise DeliveryError(text, ErrorKind.RECEIVER)


class ChannelAddress:
    """Where a receiver's messages go: an id as the config has it, or the id of a name.

    A name is looked up when the daemon starts or reloads, and keeps its id until then, so that a
    channel may be renamed. Where it cannot be looked up, the id that it had before is used.
    """

    def __init__(self, api: SlackApi, written: str, known: ChannelIds) -> None:
        self.written = written
        self.is_name = written.startswith("#")
        self._api = api
        self._known = known
        self._id = None if self.is_name else written

    async def resolve(self) -> str:
        """Return the id; look a name up where that has not been done. Raises DeliveryError."""
        return self._id or await self.look_up()

    async def look_up(self) -> str:
        """Return the id; look a name up now. Raises DeliveryError."""
        if not self.is_name:
            return self.written
        try:
            self._id = (await find_channel(self._api, self.written)).id
        except DeliveryError as error:
            self._id = self._known.get(self.written)
            if self._id is None:
                raise
            log.warning("the channel that was %s is used (%s): %s", self.written, self._id, error)
        else:
            self._known.put(self.written, self._id)
        return self._id

    def forget(self) -> None:
        """Forget the id of a name, as Slack has no such channel any more."""
        if self.is_name:
            self._id = None
            self._known.delete(self.written)
