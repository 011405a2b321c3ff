"""What the embedded Slack holds: tokens, channels, messages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

Json = dict[str, Any]
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
    """A call that Slack answers with `ok: false`; `more` stands beside the error in the answer."""

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
    """A bot token; what was revoked or belongs to somebody who left opens nothing.

    `limited_history`: the app is distributed outside the Marketplace, and reads history a page of 15 a minute.
    `team`: what auth.test answers. `cookie`: what every answer sets as a cookie.
    """

    token: str
    scopes: tuple[str, ...]
    bot_id: str
    revoked: bool = False
    inactive: bool = False
    limited_history: bool = False
    team: str = "Embedded"
    cookie: str | None = None

    @property
    def user_id(self) -> str:
        """The user that the bot is."""
        return f"U{self.bot_id[1:]}"

    def require(self, *scopes: str) -> None:
        """Refuse the call unless the token has one of the scopes."""
        if not set(scopes) & set(self.scopes):
            raise SlackError(
                "missing_scope", needed=",".join(scopes), provided=",".join(self.scopes)
            )


@dataclass(frozen=True)
class Edit:
    """What a message said before it was changed."""

    text: str
    blocks: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any] | None


@dataclass
class Post:
    """A message in a channel as it is now; `edits` is what it said before, `at` the clock's monotonic time."""

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
    edits: list[Edit] = field(default_factory=list)
    deleted: bool = False
    replies: list[str] = field(default_factory=list)

    @property
    def in_channel(self) -> bool:
        """Whether it stands in the channel itself, and not only in a thread."""
        return self.thread_ts is None or self.reply_broadcast

    def shown(self, *, metadata: bool) -> Json:
        """The message as Slack returns it."""
        message: Json = {"type": "message", "ts": self.ts, "text": self.text}
        if self.bot_id:
            message |= {"bot_id": self.bot_id, "app_id": f"A{self.bot_id[1:]}"}
        if self.blocks:
            message["blocks"] = self.blocks
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
    """A channel or a direct message; its plain attributes may be changed while the server runs."""

    id: str
    name: str
    member: bool = True
    archived: bool = False
    private: bool = False
    user: str | None = None
    messages: dict[str, Post] = field(default_factory=dict)
    posted_at: float | None = None

    @property
    def family(self) -> str:
        """What the scopes for it begin with."""
        return "im" if self.user else "groups" if self.private else "channels"

    def keep(self, post: Post) -> None:
        """Add a message at the end."""
        self.messages[post.ts] = post
        if post.thread_ts in self.messages:
            self.messages[post.thread_ts].replies.append(post.ts)

    def remove(self, ts: str) -> None:
        """Take a message away; KeyError where there is none."""
        post = self.messages.pop(ts)
        post.deleted = True
        if post.thread_ts in self.messages:
            self.messages[post.thread_ts].replies.remove(ts)

    def thread(self, ts: str) -> list[Post]:
        """The thread that a message belongs to, its parent first; nothing where there is no such message."""
        message = self.messages.get(ts)
        if message is None:
            return []
        parent = self.messages.get(message.thread_ts or ts, message)
        return [parent, *(self.messages[reply] for reply in parent.replies)]


class Timestamps:
    """Message ids that are times, each later than the one before."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last = 0

    def next(self) -> str:
        """Return the id of the message that comes in now."""
        now = int(self._now().timestamp() * 1_000_000)
        self._last = max(now, self._last + 1)
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06}"
