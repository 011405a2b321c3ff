"""What arrived at the embedded Slack and mailbox, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

from alerter.demo.mailbox import Mail
from alerter.demo.slack import Post


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that arrived, or that was changed since.

    `key` names the message: it is the same for each of its changes.
    """

    key: str
    message: Mail | Post
    changed: bool = False

    @property
    def line(self) -> str:
        """The message on one line: where it arrived, and how it begins."""
        if isinstance(self.message, Mail):
            return f"mail   {self.message.subject}"
        first = (self.message.text.splitlines() or [""])[0]
        return f"Slack, changed  {first}" if self.changed else f"Slack  {first}"


class Arrivals:
    """The messages since the last look."""

    def __init__(self, mails: Sequence[Mail], posts: Sequence[Post]) -> None:
        self._mails, self._posts = mails, posts
        self._mails_seen = 0
        self._edits_seen: dict[str, int] = {}

    def new(self) -> list[Arrival]:
        """Return what arrived or changed since the last call."""
        start, self._mails_seen = self._mails_seen, len(self._mails)
        found = [
            Arrival(f"mail-{number}", mail)
            for number, mail in enumerate(self._mails[start : self._mails_seen], start)
        ]
        for post in self._posts:
            seen = self._edits_seen.get(post.ts)
            # A deleted message counts as one more change.
            self._edits_seen[post.ts] = edits = len(post.edits) + post.deleted
            if seen is None or edits > seen:
                found.append(Arrival(f"post-{post.ts}", post, seen is not None))
        return found
