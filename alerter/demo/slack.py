"""An embedded Slack: a real HTTP server on loopback that takes what Slack takes and refuses what Slack refuses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.clock import Clock
from alerter.demo.faults import Faults, Loopback, application, failing
from alerter.demo.slack_arguments import (
    cursor_to,
    flag,
    read_arguments,
    read_blocks,
    read_cursor,
    read_limit,
    read_metadata,
    read_text,
    read_ts,
    require,
)
from alerter.demo.slack_workspace import ALL_SCOPES, Channel, Edit, Json, Post, SlackError, Timestamps, Token

__all__ = ["Call", "Channel", "EmbeddedSlack", "Post", "Token"]

# https://docs.slack.dev/reference/methods/chat.update and chat.postMessage
_LONGEST_POST = 40_000
_LONGEST_UPDATE = 4_000
# Posts that were sent a second apart may arrive a little closer.
_TOLERANCE = 0.02
_TEAM = {"url": "https://embedded.slack.com/", "team": "Embedded", "team_id": "T00000001"}
_Method = Callable[[Token, Json], Json]


@dataclass
class Call:
    """A call as it came in; `status` is None until it was answered, and for good if it never was.

    `at` is the clock's monotonic time.
    """

    method: str
    at: float
    args: Json = field(default_factory=dict)
    status: int | None = None
    error: str | None = None


_CALL = web.RequestKey("call", Call)


class EmbeddedSlack:
    """A workspace: its channels, what was posted there, and every call that came in.

    `pace`: seconds between two posts to one channel, None for as many as anybody likes. `blocks_limit`: how much text
    the blocks of a message may hold; https://github.com/slackapi/bolt-js/issues/2509 is where that is known from.
    """

    def __init__(self, *, clock: Clock | None = None, pace: float | None = 1.0) -> None:
        self.clock = clock or Clock()
        self.pace = pace
        self.blocks_limit: int | None = 13_200
        self.tokens: dict[str, Token] = {}
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, str] = {}
        self.posts: list[Post] = []
        self.requests: list[Call] = []
        self.faults = Faults()
        self._timestamps = Timestamps(self.clock)
        self._server = Loopback(self._application)
        self._methods: Mapping[str, _Method] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.info": self._info,
            "conversations.open": self._open,
            "conversations.replies": self._replies,
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a stop, on the same port."""
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening; what was posted stays."""
        await self._server.stop()

    @property
    def base_url(self) -> str:
        """What to put in the place of https://slack.com/api/."""
        return f"{self._server.url}/api/"

    def add_token(self, token: str, scopes: Iterable[str] = ALL_SCOPES, *, bot_id: str = "B00000001") -> Token:
        """Let a bot in; tokens of one bot may change each other's messages."""
        self.tokens[token] = Token(token, tuple(scopes), bot_id)
        return self.tokens[token]

    def revoke(self, token: str) -> None:
        """Make a token worthless."""
        self.tokens[token].revoked = True

    def add_channel(
        self, channel_id: str, name: str, *, member: bool = True, archived: bool = False, private: bool = False
    ) -> Channel:
        """Add a channel; the bot is a member of it unless told otherwise."""
        self.channels[channel_id] = Channel(channel_id, name, member, archived, private)
        return self.channels[channel_id]

    def add_user(self, user_id: str, name: str = "someone") -> None:
        """Add a person, to whom the bot may write."""
        self.users[user_id] = name

    def say(self, channel_id: str, text: str, *, thread_ts: str | None = None) -> str:
        """Somebody who is not the bot writes a message; its ts."""
        channel = self.channels[channel_id]
        post = Post(channel_id, channel.name, self._timestamps.next(), text, [], None, thread_ts)
        channel.keep(post)
        return post.ts

    def delete(self, channel_id: str, ts: str) -> None:
        """Somebody deletes a message; KeyError where there is none."""
        self.channels[channel_id].remove(ts)

    def _application(self) -> web.Application:
        app = application(self._record, failing(self.faults))
        app.router.add_route("*", "/api/{method}", self._answer)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        call = Call(request.path.removeprefix("/api/"), self.clock.monotonic())
        self.requests.append(call)
        request[_CALL] = call
        try:
            call.args = await read_arguments(request)
        except SlackError as error:
            call.error = error.error
        response = await handler(request)
        call.status = response.status
        response.headers["x-slack-req-id"] = uuid4().hex
        if token := self.tokens.get(_credential(request, call.args)):
            response.headers["x-oauth-scopes"] = ",".join(token.scopes)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        call = request[_CALL]
        try:
            return web.json_response({"ok": True, **self._called(request, call)})
        except SlackError as error:
            call.error = error.error
            limited = error.error == "ratelimited"
            return web.json_response(
                {"ok": False, "error": error.error, **error.more},
                status=429 if limited else 200,
                headers={"Retry-After": "1"} if limited else None,
            )

    def _called(self, request: web.Request, call: Call) -> Json:
        method = self._methods.get(call.method)
        if method is None:
            raise SlackError("unknown_method", req_method=call.method)
        if call.error:
            raise SlackError(call.error)
        credential = _credential(request, call.args)
        if not credential:
            raise SlackError("not_authed")
        token = self.tokens.get(credential)
        if token is None:
            raise SlackError("invalid_auth")
        if token.revoked:
            raise SlackError("token_revoked")
        if token.inactive:
            raise SlackError("account_inactive")
        return method(token, call.args)

    def _auth_test(self, token: Token, _: Json) -> Json:
        return {**_TEAM, "user": "alerter", "user_id": token.user_id, "bot_id": token.bot_id}

    def _post(self, token: Token, args: Json) -> Json:
        token.require("chat:write")
        channel = self._writable(token, require(args, "channel"))
        text, blocks = read_text(args, _LONGEST_POST), read_blocks(args, self.blocks_limit)
        if not blocks and not (text or "").strip():
            raise SlackError("no_text")
        metadata = read_metadata(args)
        thread_ts = self._parent(channel, args)
        self._keep_pace(channel)
        ts, at = self._timestamps.next(), self.clock.monotonic()
        broadcast = flag(args, "reply_broadcast") and thread_ts is not None
        post = Post(
            channel.id,
            channel.name,
            ts,
            text or "",
            blocks or [],
            metadata or None,
            thread_ts,
            broadcast,
            args,
            at,
            token.bot_id,
        )
        channel.keep(post)
        self.posts.append(post)
        return {"channel": channel.id, "ts": ts, "message": post.shown(metadata=True)}

    def _update(self, token: Token, args: Json) -> Json:
        token.require("chat:write")
        channel = self._found(require(args, "channel"))
        post = channel.messages.get(require(args, "ts"))
        if post is None:
            raise SlackError("message_not_found")
        if post.bot_id != token.bot_id:
            raise SlackError("cant_update_message")
        if channel.archived:
            raise SlackError("is_inactive")
        text, blocks = read_text(args, _LONGEST_UPDATE), read_blocks(args, self.blocks_limit)
        if not blocks and not (text or "").strip():
            raise SlackError("no_text")
        metadata = read_metadata(args)
        post.edits.append(Edit(post.text, post.blocks, post.metadata))
        post.text = post.text if text is None else text
        # Text without blocks takes the old blocks away; metadata stays unless it is spoken of.
        post.blocks = blocks or []
        post.metadata = post.metadata if metadata is None else metadata or None
        message = post.shown(metadata=True)
        return {"channel": channel.id, "ts": post.ts, "text": post.text, "message": message}

    def _info(self, token: Token, args: Json) -> Json:
        token.require("channels:read", "groups:read", "im:read")
        channel = self._found(require(args, "channel"))
        token.require(f"{channel.family}:read")
        kinds = {"is_channel": channel.family == "channels", "is_group": channel.family == "groups"}
        state = {
            "is_archived": channel.archived,
            "is_member": channel.member,
            "is_private": channel.family != "channels",
        }
        named = {"user": channel.user, "is_im": True} if channel.user else {"name": channel.name, "is_im": False}
        return {"channel": {"id": channel.id, **kinds, **state, **named}}

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
        return _page(posts[::-1], args, read_limit(args, 100, 999))

    def _replies(self, token: Token, args: Json) -> Json:
        channel = self._readable(token, args)
        thread = channel.thread(require(args, "ts"))
        if not thread:
            raise SlackError("thread_not_found")
        return _page(thread, args, read_limit(args, 1000, 1000), always=thread[0])

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
        channel = Channel(f"D{user_id[1:]}", self.users[user_id], user=user_id)
        return self.channels.setdefault(channel.id, channel)

    def _parent(self, channel: Channel, args: Json) -> str | None:
        thread_ts = read_ts(args, "thread_ts", "invalid_thread_ts")
        if thread_ts is None:
            return None
        parent = channel.messages.get(thread_ts)
        if parent is None:
            raise SlackError("thread_not_found")
        if parent.thread_ts is not None:
            raise SlackError("cannot_reply_to_message")
        return thread_ts

    def _keep_pace(self, channel: Channel) -> None:
        now = self.clock.monotonic()
        if self.pace is not None and channel.posted_at is not None and now - channel.posted_at < self.pace - _TOLERANCE:
            raise SlackError("ratelimited")
        channel.posted_at = now


def _credential(request: web.Request, args: Json) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind == "Bearer":
        return token
    return "" if request.content_type == "application/json" else str(args.get("token", ""))


def _page(posts: Sequence[Post], args: Json, limit: int, always: Post | None = None) -> Json:
    oldest, latest = read_ts(args, "oldest", "invalid_ts_oldest"), read_ts(args, "latest", "invalid_ts_latest")
    inclusive = flag(args, "inclusive")
    if (start := read_cursor(args)) is not None:
        # Only a thread goes from old to new, and only there is a post that every answer begins with.
        posts = [post for post in posts if (post.ts >= start if always else post.ts <= start)]
    chosen = [post for post in posts if post is always or _between(post.ts, oldest, latest, inclusive=inclusive)]
    page, rest = chosen[:limit], chosen[limit:]
    metadata = flag(args, "include_all_metadata")
    following = {"response_metadata": {"next_cursor": cursor_to(rest[0].ts)}} if rest else {}
    messages = [post.shown(metadata=metadata) for post in page]
    return {"messages": messages, "has_more": bool(rest), **following}


def _between(ts: str, oldest: str | None, latest: str | None, *, inclusive: bool) -> bool:
    if inclusive and ts in (oldest, latest):
        return True
    return (oldest is None or ts > oldest) and (latest is None or ts < latest)
