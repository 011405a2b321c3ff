"""Histories in which a backup is restored around a reminder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import time, timedelta

from tests.simulation.history import QuietHours
from tests.simulation.oracle.scene import CONFIG, FLORA, OWNER, TEAM, Scene, at
from tests.simulation.oracle.scenes import alerted, held
from tests.simulation.oracle.values import MINUTE


def snoozed_after_a_restore(backup: float) -> Scene:
    """The team's quiet hours held a review until after a backup of the first hours, and only the
    mail is followed by a reminder after a snooze.
    """
    morning = (QuietHours(time(7), time(11), "Europe/Berlin"),)
    receivers = (OWNER, replace(TEAM, quiet=morning), FLORA)
    config = replace(CONFIG, receivers=receivers, reminders_after=(timedelta(days=1),))
    scene = Scene(4, config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.mail(at(1, 0, 4, 1), "new", "r1").post(at(1, 4), "new", "r1")
    scene.run("restore", at(1, 8), backup_taken=at(1, backup)).read(at(1, 8, 10), "r1")
    scene.run("snooze", at(1, 9), review_id="r1", until=at(1, 12))
    return scene.mail(at(1, 12, 4), "reminder", "r1")


def snoozed_and_restored(backup: float) -> Scene:
    """A restore may forget a snooze, with the reminder that follows it."""
    scene = held("snooze", at(1, 18)).run("restore", at(1, 16), backup_taken=at(1, backup))
    return scene.read(at(1, 16, 10), "r1")


def due_before_a_restore(*, snoozed: bool, move: bool) -> Scene:
    """A reminder is due while Wix is down, and a backup is restored before it is back."""
    due = at(1, 18) if snoozed else at(2, 0, 5)
    config = replace(CONFIG, reminders_after=(timedelta(days=1),))
    scene = held("snooze", due) if snoozed else alerted(config=config)
    scene.fault("wix_down", due - MINUTE, due + 15 * MINUTE)
    scene.run("restore", due + 5 * MINUTE, backup_taken=due + 3 * MINUTE, move=move)
    return scene.read(due + 45 * MINUTE, "r1")


GOOD: dict[str, Callable[[], Scene]] = {
    "a restore may not know of a post": lambda: snoozed_after_a_restore(3),
    "a restore may not know of a snooze": lambda: snoozed_and_restored(8),
    "a restore skips what follows a snooze": lambda: due_before_a_restore(snoozed=True, move=False),
    "a restore skips a reminder": lambda: due_before_a_restore(snoozed=False, move=False),
}
BAD: list[tuple[str, Callable[[], Scene]]] = [
    ("snooze_forgotten", lambda: snoozed_after_a_restore(7)),
    ("snooze_forgotten", lambda: snoozed_and_restored(15)),
    ("snooze_forgotten", lambda: due_before_a_restore(snoozed=True, move=True)),
    ("reminder_missing", lambda: due_before_a_restore(snoozed=False, move=True)),
]
