"""Rows of the outbox, written and read as the product does."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from alerter.models import (
    Alert,
    AlertKind,
    Form,
    Grouping,
    Message,
    Receipt,
)
from alerter.store import State, outbox, raised_alerts
from tests.support.values import SITE

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SCOPES = ["destination:email:owner", "service:smtp"]
OK = Receipt("250 ok")


def alert(number: int, **detail: Any) -> Alert:
    return Alert(f"new:{SITE}:r{number}", AlertKind.NEW, SITE, f"r{number}", detail)


def queue(
    state: State,
    *numbers: int,
    receivers: Sequence[str] = ("email:owner",),
    due_at: datetime | None = None,
    grouping: Grouping = Grouping.BURST,
) -> None:
    """Raise an alert for each number, bound for these receivers. In a fresh state file its id is
    that number.
    """
    with state.transaction():
        new_alerts = [
            raised_alerts.NewAlert(alert(number), [(name, due_at) for name in receivers], grouping)
            for number in numbers
        ]
        assert raised_alerts.raise_alerts(state, new_alerts, T0) == len(numbers)


def claim(state: State, *alerts: int, receiver: str = "email:owner", now: datetime = T0) -> Message:
    form = Form.DIGEST if len(alerts) > 1 else Form.ALERT
    return outbox.claim(
        state, receiver, form, alerts, f"{receiver}-{alerts}-{now:%H%M}@alerter", now
    )


def due(
    state: State, receiver: str = "email:owner", now: datetime = T0, most: int = 100
) -> list[int]:
    return [each.alert for each in outbox.due_deliveries(state, receiver, now, most)]


def status(state: State, receiver: str = "email:owner") -> dict[int, str]:
    """Where a receiver's deliveries stand."""
    rows = state.rows(
        "SELECT alert, status FROM deliveries WHERE destination = ? ORDER BY alert", [receiver]
    )
    return {row["alert"]: row["status"] for row in rows}


def message_row(state: State, message: Message) -> Mapping[str, Any]:
    row = state.row("SELECT * FROM messages WHERE id = ?", [message.id])
    assert row is not None
    return row
