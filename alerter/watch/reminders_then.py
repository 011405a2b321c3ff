"""How far the reminders of a review were at a moment, by the alerts on record. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from alerter.models import Alert, AlertKind, Medium, medium_of
from alerter.store.recorded import RecordedAlert
from alerter.watch.past import RecordedPast, ReviewKey


class RecordedReminders:
    """When destinations were reminded on record, and so which rounds did not remind them.

    A round may not have found the review, or not have been.
    """

    def __init__(self, past: RecordedPast, after: Sequence[timedelta]) -> None:
        self._in_force = [*past.reminded_after] or [
            (datetime.min.replace(tzinfo=UTC), frozenset(after))
        ]
        self._reminded = defaultdict[tuple[ReviewKey, str], list[tuple[datetime, timedelta]]](list)
        self._starts = defaultdict[tuple[ReviewKey, str], set[datetime]](set)
        self._opened = {
            key: {each.record.alerted_at for each in states} for key, states in past.states.items()
        }
        for each in past.alerts:
            key = each.alert.site_id or "", each.alert.review_id or ""
            for destination, delivery in each.deliveries.items():
                if each.alert.kind is AlertKind.REMINDER and "after" in each.alert.detail:
                    span = timedelta(seconds=each.alert.detail["after"])
                    self._reminded[key, destination].append((each.raised_at, span))
                elif delivery.sent_at and _asks(each.alert):
                    self._starts[key, destination].add(delivery.sent_at)

    def is_later(
        self, key: ReviewKey, destination: str, since: datetime, span: timedelta, now: datetime
    ) -> bool:
        """Return whether a reminder that is due came on record, but after `now`.

        `since`: when the reminders of the destination started; on record they may have started at
        another time, or there was none after this span. Then it is not known.
        """
        its = key, destination
        if since not in self._starts[its] | self._opened.get(key, set()):
            return False
        spans = [spans for begin, spans in self._in_force if begin <= now]
        if not spans or span not in spans[-1]:
            return False
        came = [at for at, each in self._reminded[its] if each >= span and at >= since + span]
        return bool(came) and min(came) > now


def reminders_then(
    alerts: Sequence[RecordedAlert], opened_at: datetime, now: datetime, after: Sequence[timedelta]
) -> dict[str, tuple[datetime, timedelta]]:
    """Return when the reminders of each destination started, and the longest span so far.

    `alerts`: those of the review until `now`, which is open since `opened_at`. Where it was opened
    again, a message on Slack asks again from that moment.
    """
    found: dict[str, tuple[datetime, timedelta]] = {}
    for destination in sorted({name for each in alerts for name in each.deliveries}):
        sent = [at for at in _asked_at(alerts, destination) if at <= now]
        since = [at for at in sent if at >= opened_at]
        if sent and not since and medium_of(destination) == Medium.SLACK:
            since = [opened_at]
        if since:
            start = min(since)
            found[destination] = (start, _reminded(alerts, destination, start, after))
    return found


def _asked_at(alerts: Iterable[RecordedAlert], destination: str) -> Iterable[datetime]:
    """Yield when a destination was sent something that asks for an answer."""
    for each in alerts:
        delivery = each.deliveries.get(destination)
        if delivery and delivery.sent_at and _asks(each.alert):
            yield delivery.sent_at


def _asks(alert: Alert) -> bool:
    asks = alert.kind in (AlertKind.NEW, AlertKind.LOWERED) or "reopened" in alert.detail
    return asks and "backfill" not in alert.detail


def _reminded(
    alerts: Iterable[RecordedAlert], destination: str, start: datetime, after: Sequence[timedelta]
) -> timedelta:
    """Return the longest span that a destination was reminded of since a start."""
    longest = timedelta()
    for each in alerts:
        delivery = each.deliveries.get(destination)
        if each.alert.kind is not AlertKind.REMINDER or each.raised_at < start or delivery is None:
            continue
        if "after" in each.alert.detail and not delivery.is_cancelled:
            longest = max(longest, timedelta(seconds=each.alert.detail["after"]))
        if "snoozed" in each.alert.detail:
            passed = (span for span in after if span <= each.raised_at - start)
            longest = max(longest, *passed, timedelta())
    return longest
