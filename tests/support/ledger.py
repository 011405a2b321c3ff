"""What Wix recorded of replies, compared with what people were shown about them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from alerter.actions import Action, ActionKind, Outcome
from alerter.demo.wix_site import Site

BY_OTHER = "From the dashboard."


@dataclass(frozen=True)
class Effect:
    """A reply that Wix recorded, and the one that it replaced; `as_seen`: so was the review."""

    message: str
    before: str | None
    as_seen: bool


class Ledger:
    """Watches the replies that a site records. The words of each reply are unique.

    `seen` has the body of the review that a person saw, by the words of their reply.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reply = site.reply
        self.effects: dict[str, list[Effect]] = {}
        self.seen: dict[str, str] = {}
        self.outcomes: Counter[str] = Counter()
        site.reply = self._record

    def _record(self, review_id: str, message: str) -> Any:
        row = self._site.reviews.get(review_id)
        assert row
        before = (row.review.get("reply") or {}).get("message")
        body = row.review["content"].get("body", "")
        as_seen = self.seen.get(message, body) == body
        self.effects.setdefault(review_id, []).append(Effect(message, before, as_seen))
        return self._reply(review_id, message)

    def reply_by_other(self, review_id: str) -> None:
        """Let somebody reply in the dashboard."""
        self.effects.setdefault(review_id, []).append(Effect(BY_OTHER, None, as_seen=True))
        self._reply(review_id, BY_OTHER)

    def judge(self, actions: Iterable[Action]) -> list[str]:
        """Return what must not have happened to these replies; count their outcomes."""
        wrong = []
        for action in actions:
            if action.new.kind is ActionKind.REPLY:
                self.outcomes[str(action.outcome)] += 1
                wrong += [f"{action.new.key}: {text}" for text in self._faults(action)]
        return wrong

    def _faults(self, action: Action) -> Iterable[str]:
        sent = action.new.reply
        every = self.effects.get(action.new.review_id, [])
        mine = [each for each in every if each.message == sent]
        was_notified = action.outcome is Outcome.CHANGED_MEANWHILE
        if not action.is_settled:
            yield f"is still {action.status}"
        if action.outcome in (Outcome.DONE, Outcome.CHANGED_MEANWHILE) and not mine:
            yield "is done, and did not arrive"
        if any(each.before == sent for each in mine):
            yield "arrived twice"
        over = [each for each in mine if each.before not in (None, sent)]
        if over and not was_notified and action.outcome is not Outcome.OTHER_REPLY:
            yield f"replaced {over[0].before!r}, and the person was notified of {action.outcome}"
        if not all(each.as_seen for each in mine) and not was_notified:
            yield "answers a text that the person has not seen"
        row = self._site.reviews.get(action.new.review_id)
        found = (row.review.get("reply") or {}).get("message") if row else None
        if action.outcome is Outcome.DONE and every[-1].message == sent and found != sent:
            yield f"is done, and Wix has {found!r}"
