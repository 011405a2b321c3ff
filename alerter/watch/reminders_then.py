"""How far the reminders of a review were at a moment, by the alerts on record. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from alerter.models import Alert, AlertKind, Medium, medium_of
from alerter.store.recorded import RecordedAlert


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
