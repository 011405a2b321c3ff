"""Compare the alerts that a config would have raised with those on record. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alerter.models import Alert, AlertKind
from alerter.store.recorded import RecordedAlert


class Mark(StrEnum):
    """How a line of the past differs: not at all, or the config adds it or takes it away."""

    NONE = " "
    ADDED = "+"
    REMOVED = "-"


@dataclass(frozen=True, slots=True)
class ReplayedLine:
    """An alert that people got, or would have got: which of their destinations, each when."""

    mark: Mark
    alert: Alert
    reviews: list[str]
    raised_at: datetime
    recipients: dict[str, datetime]

    @property
    def at(self) -> datetime:
        """When the first of them got it."""
        return min(self.recipients.values())


def compare(
    record: Iterable[RecordedAlert], replayed: Iterable[RecordedAlert], tolerance: timedelta
) -> list[ReplayedLine]:
    """Return a line for each alert that people got, by their times; two where they differ.

    What was silent has none. A reminder or a cluster is the same where it is at most `tolerance`
    apart: its time is that of the round, and which rounds there were is not on record.
    """
    groups: dict[object, tuple[list[RecordedAlert], list[RecordedAlert]]] = {}
    for side, alerts in enumerate((record, replayed)):
        for each in alerts:
            if not all(delivery.is_cancelled for delivery in each.deliveries.values()):
                groups.setdefault(_group(each.alert), ([], []))[side].append(each)
    lines = [
        line for was, would_be in groups.values() for line in _compared(was, would_be, tolerance)
    ]
    return sorted(lines, key=lambda line: (line.at, line.alert.key, line.mark != Mark.REMOVED))


def _group(alert: Alert) -> tuple[object, ...]:
    asks = ("after", "snoozed", "reopened", "entity")
    return alert.site_id, alert.review_id, alert.kind, *(alert.detail.get(each) for each in asks)


def _compared(
    was: Sequence[RecordedAlert], would_be: Sequence[RecordedAlert], tolerance: timedelta
) -> Iterator[ReplayedLine]:
    """Yield the lines of the alerts of one kind about one review, both sides in their order."""
    left = list(would_be)
    for each in was:
        of_round = each.alert.kind in (AlertKind.REMINDER, AlertKind.CLUSTER)
        most = tolerance if of_round else timedelta()
        near = [other for other in left if abs(other.raised_at - each.raised_at) <= most]
        before = _line(Mark.NONE, each)
        if near and _is_same(before, _line(Mark.NONE, near[0]), most):
            left.remove(near[0])
            yield before
        else:
            yield _line(Mark.REMOVED, each)
    for each in left:
        yield _line(Mark.ADDED, each)


def _is_same(one: ReplayedLine, other: ReplayedLine, most: timedelta) -> bool:
    return one.recipients.keys() == other.recipients.keys() and all(
        abs(at - other.recipients[each]) <= most for each, at in one.recipients.items()
    )


def _line(mark: Mark, recorded: RecordedAlert) -> ReplayedLine:
    recipients = {
        name: each.at for name, each in recorded.deliveries.items() if not each.is_cancelled
    }
    return ReplayedLine(mark, recorded.alert, recorded.reviews, recorded.raised_at, recipients)
