"""What happened to a review, in an owner's words, for its page. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from alerter.actions import Action, ActionKind, ActionStatus, Outcome
from alerter.models import AlertKind, CloseReason, Review
from alerter.render.formatting import clean_name
from alerter.render.language import Language
from alerter.render.outcomes import describe_action
from alerter.render.phrases import describe_end
from alerter.store.report import AlertReport
from alerter.timezones import local_time
from alerter.translation import mark

_BY_PERSON = {
    ActionKind.REPLY: mark("%(name)s replied."),
    ActionKind.PUBLISH: mark("%(name)s published the review."),
    ActionKind.REJECT: mark("%(name)s rejected the review."),
    ActionKind.CLAIM: mark("%(name)s is on it."),
    ActionKind.RELEASE: mark("%(name)s said that nobody is on it any more."),
}
_SENT = {
    AlertKind.NEW: mark("“%(receiver)s” got an alert."),
    AlertKind.LOWERED: mark("“%(receiver)s” got an alert: the customer lowered the rating."),
    AlertKind.REMINDER: mark("“%(receiver)s” got a reminder."),
}


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """What happened at a moment, which is in the owner's timezone."""

    at: datetime
    text: str


class History:
    """Writes the history of one review as the people of a receiver may know it.

    `destinations` are those of the receiver: what others were sent is not shown.
    """

    def __init__(
        self,
        receiver: str,
        destinations: Collection[str],
        timezone: tzinfo,
        language: Language,
    ) -> None:
        self._receiver = receiver
        self._destinations = destinations
        self._timezone = timezone
        self._language = language

    def lines(
        self, review: Review, alerts: Sequence[AlertReport], actions: Sequence[Action]
    ) -> list[HistoryLine]:
        """Return what happened, the oldest first."""
        found = [
            *self._of_review(review, actions),
            *(line for alert in alerts for line in self._of_alert(alert)),
            *(self._of_action(action) for action in actions),
        ]
        return sorted(found, key=lambda line: line.at)

    def _of_review(self, review: Review, actions: Sequence[Action]) -> Iterator[HistoryLine]:
        if review.created:
            yield self._line(review.created, self._language.gettext("The customer wrote it."))
        ours = any(
            each.new.kind is ActionKind.REPLY and _has_changed_something(each) for each in actions
        )
        if review.reply and review.reply.at and not ours:
            yield self._line(review.reply.at, self._language.gettext("It was answered at Wix."))

    def _of_alert(self, alert: AlertReport) -> Iterator[HistoryLine]:
        if alert.kind is AlertKind.CLOSED:
            reason = CloseReason(alert.detail["reason"])
            if reason is not CloseReason.ANSWERED:
                yield self._line(alert.raised_at, describe_end(reason, None, self._language))
            return
        for each in alert.deliveries:
            if each.destination in self._destinations and each.status == "sent":
                text = self._language.gettext(_SENT.get(alert.kind, _SENT[AlertKind.NEW]))
                at = each.attempted_at or alert.raised_at
                yield self._line(at, text % {"receiver": self._receiver})
                return

    def _of_action(self, action: Action) -> HistoryLine:
        new, language = action.new, self._language
        name = clean_name(new.person.name) or language.gettext("Somebody")
        if not _has_changed_something(action):
            text = f"{name}: {describe_action(action, language)}"
        elif new.kind is ActionKind.SNOOZE and new.until:
            until = language.short_date(local_time(new.until, self._timezone))
            text = language.gettext("%(name)s snoozed it until %(date)s.") % {
                "name": name,
                "date": until,
            }
        else:
            text = language.gettext(_BY_PERSON.get(new.kind, "%(name)s")) % {"name": name}
        return self._line(action.finished_at or action.at, text)

    def _line(self, at: datetime, text: str) -> HistoryLine:
        return HistoryLine(local_time(at, self._timezone), text)


def _has_changed_something(action: Action) -> bool:
    """Return whether an action is done, and Wix did not have it so before."""
    return action.status is ActionStatus.DONE and action.outcome is not Outcome.ALREADY
