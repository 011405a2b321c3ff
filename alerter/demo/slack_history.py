"""The messages of a channel or thread, page by page.

https://docs.slack.dev/reference/methods/conversations.history
"""

from collections.abc import Sequence

from alerter.demo.slack_arguments import cursor_to, flag, read_cursor, read_limit, read_ts
from alerter.demo.slack_workspace import Json, Post, Token

# The limit of apps outside the Marketplace: https://docs.slack.dev/apis/web-api/rate-limits
_LIMITED_PAGE = 15


def page_limit(token: Token, args: Json, usual: int, most: int) -> int:
    """Return how many messages a page may hold."""
    return min(read_limit(args, usual, most), _LIMITED_PAGE if token.limited_history else most)


def page_of_posts(
    posts: Sequence[Post],
    args: Json,
    limit: int,
    *,
    backward: bool = False,
    always: Post | None = None,
) -> Json:
    """Return a page of `posts`, given in reading order; each page begins with `always`."""
    oldest, latest = (
        read_ts(args, "oldest", "invalid_ts_oldest"),
        read_ts(args, "latest", "invalid_ts_latest"),
    )
    inclusive = flag(args, "inclusive")
    if (start := read_cursor(args)) is not None:
        posts = [post for post in posts if (post.ts <= start if backward else post.ts >= start)]
    chosen = [
        post
        for post in posts
        if post is always or _between(post.ts, oldest, latest, inclusive=inclusive)
    ]
    page, rest = chosen[:limit], chosen[limit:]
    metadata = flag(args, "include_all_metadata")
    following = {"response_metadata": {"next_cursor": cursor_to(rest[0].ts)}} if rest else {}
    messages = [post.shown(metadata=metadata) for post in page]
    return {"messages": messages, "has_more": bool(rest), **following}


def _between(ts: str, oldest: str | None, latest: str | None, *, inclusive: bool) -> bool:
    if inclusive and ts in (oldest, latest):
        return True
    return (oldest is None or ts > oldest) and (latest is None or ts < latest)
