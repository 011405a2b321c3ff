"""What a test reads of messages that went out."""

from dataclasses import replace
from typing import Any

from alerter.models import Message, Receipt
from alerter.notify.destination import Notifier


async def look_through(notifier: Notifier, message: Message) -> Receipt | None:
    """Look for a message page by page; where it stands, or None where it is not to be found."""
    while True:
        look = await notifier.look(message)
        if look.receipt or not look.position:
            return look.receipt
        message = replace(message, look=look.position)


def words_of(blocks: list[Any]) -> str:
    """Every text of a Slack message's blocks."""
    found = []
    for block in blocks:
        text = block.get("text")
        found.append(text if isinstance(text, str) else (text or {}).get("text", ""))
        found.append(words_of(block.get("elements") or []))
    return "".join(found)
