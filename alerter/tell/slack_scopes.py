"""What a Slack token must be granted for what. Pure.

https://docs.slack.dev/reference/scopes
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

TO_POST = "chat:write"


def missing(granted: Collection[str], receiver: str, conversation: Mapping[str, Any] | None) -> Iterator[str]:
    """Say of each scope that a receiver lacks what that costs; `conversation` is what Slack tells of it, if it does."""
    kinds = _kinds(receiver, conversation)
    yield from _line(granted, kinds, "read", "`alerter check` cannot see whether the channel is there")
    if receiver.startswith("U") and "im:write" not in granted:
        yield "without im:write a message to a person whose answer is lost may be posted twice"
    yield from _line(granted, kinds, "history", "a message whose answer is lost may be posted twice")


def _line(granted: Collection[str], kinds: Collection[str], right: str, cost: str) -> Iterator[str]:
    if not any(f"{kind}:{right}" in granted for kind in kinds):
        yield f"without {' or '.join(f'{kind}:{right}' for kind in kinds)} {cost}"


def _kinds(receiver: str, conversation: Mapping[str, Any] | None) -> list[str]:
    """How scopes call a conversation: an id alone does not tell a private channel from a public one."""
    if conversation:
        kinds = {"is_im": "im", "is_mpim": "mpim", "is_private": "groups"}
        return [next((kind for sign, kind in kinds.items() if conversation.get(sign)), "channels")]
    return {"C": ["channels", "groups"], "G": ["groups", "mpim"]}.get(receiver[0], ["im"])
