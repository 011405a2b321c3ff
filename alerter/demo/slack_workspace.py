"""Tokens, channels and messages of the embedded Slack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any
from zlib import crc32

Json = dict[str, Any]
TEAM = "T00000001"
# What Slack adds to texts that do not say otherwise.
_ADDED: Mapping[str, Json] = {"plain_text": {"emoji": True}, "mrkdwn": {"verbatim": False}}
ALL_SCOPES = (
    "chat:write",
    "channels:read",
    "channels:history",
    "groups:read",
    "groups:history",
    "im:read",
    "im:history",
    "im:write",
)


class SlackError(Exception):
    """A call that is answered with `ok: false`, the error and the fields of `more`."""

    retry_after: int | None = None

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


class RateLimited(SlackError):
    """A call that is answered with 429; `wait` is in seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__("ratelimited")
        self.retry_after = max(1, ceil(wait))


@dataclass
class Token:
    """A bot token; a revoked or inactive one is refused.

    `limited_history`: history is limited to a page of 15 messages a minute, as for an app outside
    the Marketplace. `team` is what auth.test answers. `cookie` is set by every answer.
    """

    token: str
    scopes: tuple[str, ...]
    bot_id: str
    revoked: bool = False
    inactive: bool = False
    limited_history: bool = False
    team: str = "Embedded"
    cookie: str | None = None
    app_id: str = ""

    def __post_init__(self) -> None:
        self.app_id = self.app_id or app_of(self.bot_id)

    @property
    def user_id(self) -> str:
        """The user id of the bot."""
        return f"U{self.bot_id[1:]}"

    def require(self, *scopes: str) -> None:
        """Raise SlackError unless the token has one of the scopes."""
        if not set(scopes) & set(self.scopes):
            raise SlackError(
                "missing_scope", needed=",".join(scopes), provided=",".join(self.scopes)
            )


@dataclass
class AppToken:
    """An app-level token (`xapp-1-<app id>-…`), with which an app opens its connections."""

    token: str
    scopes: tuple[str, ...]
    app_name: str = "alerter"
    revoked: bool = False

    @property
    def app_id(self) -> str:
        """The app that the token is of."""
        return self.token.split("-")[2]


@dataclass(frozen=True)
class User:
    """A person; those of another team are here through Slack Connect."""

    id: str
    name: str = "someone"
    team_id: str = TEAM

    def shown(self) -> Json:
        """Return the person as the payload of an interaction names them."""
        return {
            "id": self.id,
            "username": self.name,
            "name": self.name,
            "team_id": self.team_id,
        }


@dataclass(frozen=True)
class Ephemeral:
    """A message that one person sees in a channel, until they reload it."""

    channel: str
    user: str
    ts: str
    text: str
    blocks: Sequence[Mapping[str, Any]]
    thread_ts: str | None
    args: Json
    at: float
    app_id: str

    @property
    def shown_blocks(self) -> list[Json]:
        """The blocks as Slack shows them."""
        return with_ids(self.blocks, self.ts)


def app_of(bot_id: str) -> str:
    """Return the id of the app of a bot, where no other is given."""
    return f"A{bot_id[1:]}"


@dataclass(frozen=True)
class Edit:
    """The content of a message before an edit."""

    text: str
    blocks: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any] | None


@dataclass
class Post:
    """A message in a channel; `edits` are its earlier contents, `at` is monotonic time."""

    channel: str
    channel_name: str
    ts: str
    text: str
    blocks: list[Json]
    metadata: Json | None
    thread_ts: str | None = None
    reply_broadcast: bool = False
    args: Json = field(default_factory=dict)
    at: float = 0.0
    bot_id: str | None = None
    app_id: str | None = None
    edits: list[Edit] = field(default_factory=list)
    deleted: bool = False
    replies: list[str] = field(default_factory=list)

    @property
    def in_channel(self) -> bool:
        """Whether the message is shown in the channel itself, not only in a thread."""
        return self.thread_ts is None or self.reply_broadcast

    @property
    def shown_blocks(self) -> list[Json]:
        """The blocks as Slack shows them; each edit gives new ids to those without."""
        return with_ids(self.blocks, f"{self.ts}/{len(self.edits)}")

    def shown(self, *, metadata: bool) -> Json:
        """Return the message as Slack does."""
        message: Json = {"type": "message", "ts": self.ts, "text": self.text}
        if self.bot_id:
            message |= {"bot_id": self.bot_id, "app_id": self.app_id, "team": TEAM}
            message["user"] = f"U{self.bot_id[1:]}"
        if self.blocks:
            message["blocks"] = self.shown_blocks
        if metadata and self.metadata:
            message["metadata"] = self.metadata
        if self.thread_ts:
            message["thread_ts"] = self.thread_ts
        if self.reply_broadcast:
            message["subtype"] = "thread_broadcast"
        if self.replies:
            message |= {
                "thread_ts": self.ts,
                "reply_count": len(self.replies),
                "latest_reply": self.replies[-1],
            }
        return message


@dataclass
class Channel:
    """A channel or direct message. Tests may change its attributes at any time.

    `members` are the people in it, None for everybody; a direct message has its `user` only.
    """

    id: str
    name: str
    member: bool = True
    archived: bool = False
    private: bool = False
    user: str | None = None
    members: set[str] | None = None
    messages: dict[str, Post] = field(default_factory=dict)
    posted_at: float | None = None

    @property
    def family(self) -> str:
        """The prefix of its scopes."""
        return "im" if self.user else "groups" if self.private else "channels"

    def has(self, user_id: str) -> bool:
        """Whether a person is in the channel."""
        if self.user:
            return self.user == user_id
        return self.members is None or user_id in self.members

    def listed(self) -> Json:
        """Return the channel as Slack shows it to the bot."""
        named = {"user": self.user, "is_im": True} if self.user else {"name": self.name}
        return {
            "id": self.id,
            "is_channel": self.family == "channels",
            "is_group": self.family == "groups",
            "is_im": False,
            "is_archived": self.archived,
            "is_member": self.member,
            "is_private": self.family != "channels",
            **named,
        }

    def keep(self, post: Post) -> None:
        """Add a message at the end."""
        self.messages[post.ts] = post
        if post.thread_ts in self.messages:
            self.messages[post.thread_ts].replies.append(post.ts)

    def remove(self, ts: str) -> None:
        """Remove a message. Raises KeyError if there is none."""
        post = self.messages.pop(ts)
        post.deleted = True
        if post.thread_ts in self.messages:
            self.messages[post.thread_ts].replies.remove(ts)

    def thread(self, ts: str) -> list[Post]:
        """Return the thread of a message, its parent first; empty if there is no message."""
        message = self.messages.get(ts)
        if message is None:
            return []
        parent = self.messages.get(message.thread_ts or ts, message)
        return [parent, *(self.messages[reply] for reply in parent.replies)]


class Timestamps:
    """Increasing message ids, which are times."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last = 0

    def next(self) -> str:
        """Return the id of a message that is received now."""
        now = int(self._now().timestamp() * 1_000_000)
        self._last = max(now, self._last + 1)
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06}"


def with_ids(blocks: Sequence[Mapping[str, Any]], seed: str) -> list[Json]:
    """Return blocks as Slack shows them: with ids and defaults where they have none."""
    return [_with_id(_completed(block), f"{seed}/{place}") for place, block in enumerate(blocks)]


def _completed(part: Any) -> Any:
    if isinstance(part, Mapping):
        completed = {key: _completed(value) for key, value in part.items()}
        return {**_ADDED.get(str(part.get("type")), {}), **completed}
    return [_completed(each) for each in part] if isinstance(part, list) else part


def _with_id(block: Json, seed: str) -> Json:
    shown = {**block, "block_id": block.get("block_id") or _short_id(seed)}
    for name in ("accessory", "element"):
        if isinstance(shown.get(name), dict):
            shown[name] = _with_action_id(shown[name], f"{seed}/{name}")
    if shown["type"] == "actions":
        shown["elements"] = [
            _with_action_id(each, f"{seed}/{place}") for place, each in enumerate(shown["elements"])
        ]
    return shown


def _with_action_id(element: Json, seed: str) -> Json:
    if element["type"] == "image":
        return element
    return {**element, "action_id": element.get("action_id") or _short_id(seed)}


def _short_id(seed: str) -> str:
    return f"{crc32(seed.encode()):08x}"[:5]
