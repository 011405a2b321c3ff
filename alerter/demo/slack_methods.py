"""The methods of Slack's Web API, for an authenticated caller."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.demo.slack_arguments import (
    flag,
    read_blocks,
    read_metadata,
    read_text,
    read_ts,
    require,
)
from alerter.demo.slack_history import page_limit, page_of_posts
from alerter.demo.slack_list import page_of_channels
from alerter.demo.slack_workspace import (
    ALL_SCOPES,
    TEAM,
    AppToken,
    Channel,
    Edit,
    Ephemeral,
    Json,
    Post,
    RateLimited,
    SlackError,
    Timestamps,
    Token,
    User,
)

# https://docs.slack.dev/reference/methods/chat.update and chat.postMessage
_LONGEST_POST = 40_000
_LONGEST_UPDATE = 4_000
# A limit of apps outside the Marketplace: https://docs.slack.dev/apis/web-api/rate-limits
_LIMITED_EVERY = 60.0
_LIMITED = {"conversations.history", "conversations.replies"}
# Posts that were sent a second apart may arrive slightly closer together.
_TOLERANCE = 0.02
_Method = Callable[[Token, Json], Json]


class Workspace:
    """A workspace: its channels, their messages, and what it refuses.

    `pace` is the seconds between two posts to a channel, None for no limit. `blocks_limit` is the
    number of characters that the blocks of a message may hold; more is answered with
    `blocks_error`. `refuse` maps (method, channel) to an error; "*" matches any. `oldest_first`:
    with `oldest` alone, history begins with the messages next to it. `skew` is how many seconds
    Slack's clock is ahead of `clock`.
    """

    def __init__(self, clock: Clock, pace: float | None) -> None:
        self.clock = clock
        self.pace = pace
        # An undocumented limit. Slack refused messages of 11,341 and 13,201 characters:
        # https://github.com/slackapi/bolt-js/issues/2867 and 2509.
        self.blocks_limit: int | None = 11_340
        self.blocks_error = "msg_blocks_too_long"
        self.refuse: dict[tuple[str, str], str] = {}
        self.oldest_first = False
        self.skew = 0.0
        self.tokens: dict[str, Token] = {}
        self.app_tokens: dict[str, AppToken] = {}
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, User] = {}
        self.posts: list[Post] = []
        self.ephemerals: list[Ephemeral] = []
        self._throttled: dict[str, float] = {}
        self._history_at: dict[tuple[str, str], float] = {}
        self.timestamps = Timestamps(self.now)
        self.methods: Mapping[str, _Method] = {
            "auth.test": self._auth_test,
            "chat.delete": self._delete,
            "chat.postEphemeral": self._post_ephemeral,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.info": self._info,
            "conversations.list": self._list,
            "conversations.open": self._open,
            "conversations.replies": self._replies,
        }

    def now(self) -> datetime:
        """Return the time by Slack's clock."""
        return self.clock.now() + timedelta(seconds=self.skew)

    def add_token(
        self,
        token: str,
        scopes: Iterable[str] = ALL_SCOPES,
        *,
        bot_id: str = "B00000001",
        limited_history: bool = False,
        team: str = "Embedded",
        cookie: str | None = None,
        app_id: str = "",
    ) -> Token:
        """Add a token. Tokens of one bot may edit each other's messages and share limits.

        The app of B00000001 is A00000001, unless another is given.
        """
        self.tokens[token] = Token(
            token,
            tuple(scopes),
            bot_id,
            limited_history=limited_history,
            team=team,
            cookie=cookie,
            app_id=app_id,
        )
        return self.tokens[token]

    def add_app_token(self, token: str, scopes: Iterable[str] = ("connections:write",)) -> AppToken:
        """Add an app-level token, such as xapp-1-A00000001-1-secret."""
        self.app_tokens[token] = AppToken(token, tuple(scopes))
        return self.app_tokens[token]

    def revoke(self, token: str) -> None:
        """Make a token of a bot or an app invalid."""
        (self.tokens.get(token) or self.app_tokens[token]).revoked = True

    def add_channel(
        self,
        channel_id: str,
        name: str,
        *,
        member: bool = True,
        archived: bool = False,
        private: bool = False,
    ) -> Channel:
        """Add a channel; by default the bot is a member."""
        self.channels[channel_id] = Channel(channel_id, name, member, archived, private)
        return self.channels[channel_id]

    def add_user(self, user_id: str, name: str = "someone", *, team_id: str = TEAM) -> User:
        """Add a person (U…, or W… on Enterprise Grid) to whom the bot may write."""
        self.users[user_id] = User(user_id, name, team_id)
        return self.users[user_id]

    def say(self, channel_id: str, text: str, *, thread_ts: str | None = None) -> str:
        """Post a message as another user than the bot; return its ts."""
        channel = self.channels[channel_id]
        post = Post(channel_id, channel.name, self.timestamps.next(), text, [], None, thread_ts)
        channel.keep(post)
        return post.ts

    def delete(self, channel_id: str, ts: str) -> None:
        """Delete a message as an admin. Raises KeyError if there is none."""
        self.channels[channel_id].remove(ts)

    def throttle(self, method: str, seconds: float) -> None:
        """Answer every call of a method with 429 for this many seconds."""
        self._throttled[method] = self.clock.monotonic() + seconds

    def call(self, token: Token, method: str, args: Json) -> Json:
        """Carry out a call and return its answer. Raises SlackError."""
        self._limit(token, method)
        channel = str(args.get("channel"))
        for key in ((method, channel), (method, "*"), ("*", channel), ("*", "*")):
            if key in self.refuse:
                raise SlackError(self.refuse[key])
        return self.methods[method](token, args)

    def require_unthrottled(self, method: str) -> None:
        """Raise SlackError while a method is throttled."""
        now = self.clock.monotonic()
        if (wait := self._throttled.get(method, now) - now) > 0:
            raise RateLimited(wait)

    def _limit(self, token: Token, method: str) -> None:
        self.require_unthrottled(method)
        now = self.clock.monotonic()
        if token.limited_history and method in _LIMITED:
            before = self._history_at.get((token.bot_id, method))
            if before is not None and (wait := before + _LIMITED_EVERY - now) > 0:
                raise RateLimited(wait)
            self._history_at[token.bot_id, method] = now

    def _auth_test(self, token: Token, _: Json) -> Json:
        team = {"url": "https://embedded.slack.com/", "team": token.team, "team_id": TEAM}
        return {**team, "user": "alerter", "user_id": token.user_id, "bot_id": token.bot_id}

    def _post(self, token: Token, args: Json) -> Json:
        token.require("chat:write")
        channel = self._writable(token, require(args, "channel"))
        text, blocks = self._content(args, _LONGEST_POST)
        metadata = read_metadata(args)
        thread_ts = self._parent(channel, args)
        self._keep_pace(channel)
        post = Post(
            channel.id,
            channel.name,
            self.timestamps.next(),
            text or "",
            blocks or [],
            metadata or None,
            thread_ts,
            flag(args, "reply_broadcast") and thread_ts is not None,
            args,
            self.clock.monotonic(),
            token.bot_id,
            token.app_id,
        )
        channel.keep(post)
        self.posts.append(post)
        return {"channel": channel.id, "ts": post.ts, "message": post.shown(metadata=True)}

    def _post_ephemeral(self, token: Token, args: Json) -> Json:
        token.require("chat:write")
        channel, user = self._writable(token, require(args, "channel")), require(args, "user")
        text, blocks = self._content(args, _LONGEST_POST)
        if user not in self.users or not channel.has(user):
            raise SlackError("user_not_in_channel")
        ts, thread_ts = self.timestamps.next(), self._parent(channel, args)
        self.ephemerals.append(
            Ephemeral(
                channel.id,
                user,
                ts,
                text or "",
                blocks or [],
                thread_ts,
                args,
                self.clock.monotonic(),
                token.app_id,
            )
        )
        return {"message_ts": ts}

    def _update(self, token: Token, args: Json) -> Json:
        token.require("chat:write")
        channel = self._found(require(args, "channel"))
        post = self._own(channel, token, args, "cant_update_message")
        if channel.archived:
            raise SlackError("is_inactive")
        text, blocks = self._content(args, _LONGEST_UPDATE)
        metadata = read_metadata(args)
        post.edits.append(Edit(post.text, post.blocks, post.metadata))
        post.text = post.text if text is None else text
        # Text without blocks removes the old blocks; metadata stays unless the call names it.
        post.blocks = blocks or []
        post.metadata = post.metadata if metadata is None else metadata or None
        message = post.shown(metadata=True)
        return {"channel": channel.id, "ts": post.ts, "text": post.text, "message": message}

    def _delete(self, token: Token, args: Json) -> Json:
        token.require("chat:write")
        channel = self._found(require(args, "channel"))
        post = self._own(channel, token, args, "cant_delete_message")
        channel.remove(post.ts)
        return {"channel": channel.id, "ts": post.ts}

    def _info(self, token: Token, args: Json) -> Json:
        token.require("channels:read", "groups:read", "im:read")
        channel = self._found(require(args, "channel"))
        token.require(f"{channel.family}:read")
        return {"channel": channel.listed()}

    def _list(self, token: Token, args: Json) -> Json:
        return page_of_channels(self.channels.values(), token, args)

    def _open(self, token: Token, args: Json) -> Json:
        token.require("im:write")
        users = str(args.get("users") or "").split(",")
        if users == [""]:
            raise SlackError("users_list_not_supplied")
        if len(users) > 1:
            raise SlackError("invalid_arguments")
        channel = self._direct(users[0])
        if channel is None:
            raise SlackError("user_not_found")
        return {"channel": {"id": channel.id}}

    def _history(self, token: Token, args: Json) -> Json:
        channel = self._readable(token, args)
        posts = [post for post in channel.messages.values() if post.in_channel]
        limit = page_limit(token, args, 100, 999)
        if self.oldest_first and args.get("oldest") and not args.get("latest"):
            answer = page_of_posts(posts, args, limit)
            return {**answer, "messages": answer["messages"][::-1]}
        return page_of_posts(posts[::-1], args, limit, backward=True)

    def _replies(self, token: Token, args: Json) -> Json:
        channel = self._readable(token, args)
        thread = channel.thread(require(args, "ts"))
        if not thread:
            raise SlackError("thread_not_found")
        return page_of_posts(thread, args, page_limit(token, args, 1000, 1000), always=thread[0])

    def _content(self, args: Json, longest: int) -> tuple[str | None, list[Json] | None]:
        text, blocks = (
            read_text(args, longest),
            read_blocks(args, self.blocks_limit, self.blocks_error),
        )
        if not blocks and not (text or "").strip():
            raise SlackError("no_text")
        return text, blocks

    def _own(self, channel: Channel, token: Token, args: Json, error: str) -> Post:
        post = channel.messages.get(require(args, "ts"))
        if post is None:
            raise SlackError("message_not_found")
        if post.bot_id != token.bot_id:
            raise SlackError(error)
        return post

    def _found(self, channel_id: str) -> Channel:
        channel = self.channels.get(channel_id)
        if channel is None or (channel.private and not channel.member):
            raise SlackError("channel_not_found")
        return channel

    def _readable(self, token: Token, args: Json) -> Channel:
        token.require("channels:history", "groups:history", "im:history")
        channel = self._found(require(args, "channel"))
        token.require(f"{channel.family}:history")
        if not channel.member:
            raise SlackError("not_in_channel")
        return channel

    def _writable(self, token: Token, channel_id: str) -> Channel:
        channel = self._direct(channel_id) or self._found(channel_id)
        if not channel.member and "chat:write.public" not in token.scopes:
            raise SlackError("not_in_channel")
        if channel.archived:
            raise SlackError("is_archived")
        return channel

    def _direct(self, user_id: str) -> Channel | None:
        if user_id not in self.users:
            return None
        digits = user_id.removeprefix("U")
        channel = Channel(f"D{digits}", self.users[user_id].name, user=user_id)
        return self.channels.setdefault(channel.id, channel)

    def _parent(self, channel: Channel, args: Json) -> str | None:
        thread_ts = read_ts(args, "thread_ts", "invalid_thread_ts")
        parent = channel.messages.get(thread_ts or "")
        if parent is None:
            # A reply to a deleted message is posted in the channel:
            # https://github.com/slack-go/slack/issues/1571
            return None
        if parent.thread_ts is not None:
            raise SlackError("cannot_reply_to_message")
        return thread_ts

    def _keep_pace(self, channel: Channel) -> None:
        now = self.clock.monotonic()
        if (
            self.pace is not None
            and channel.posted_at is not None
            and now - channel.posted_at < self.pace - _TOLERANCE
        ):
            raise RateLimited(1)
        channel.posted_at = now
