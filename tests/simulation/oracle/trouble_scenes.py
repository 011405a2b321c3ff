"""Histories with trouble, and which of them the oracle has to pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tests.simulation.history import AlertKind, Attempt, Item, Posted, Receiver
from tests.simulation.oracle.scene import BOSS, CONFIG, FLORA, OWNER, Scene, at
from tests.simulation.oracle.scenes import recovered_in_doubt, refused_and_retried

SITE = "site:bakery"


def _with_hook() -> Scene:
    """Only the boss is marked for trouble; the webhook gets it where mail is not taken."""
    hook = Receiver("hook", posted="webhook", address="hook-1", sites=("bakery",))
    others = (replace(OWNER, trouble=False), hook, replace(FLORA, trouble=False))
    return Scene(config=replace(CONFIG, receivers=(*others, replace(BOSS, trouble=True))))


def _retried(scene: Scene, kind: AlertKind, tried: datetime, *, retried: bool) -> Scene:
    """A message fails at the webhook, and leaves with a `retry` a day later."""
    item, later = Item(kind, about=SITE), at(2, 0, 10)
    scene.fault("posted_dropped_before", tried, tried.replace(minute=59), address="hook-1")
    lost = Attempt(tried, "posted", "hook-1", None, "dropped", "msg_1", (item,))
    scene.add("attempts", lost)
    scene.add("posted", Posted(later, "webhook", "hook-1", "post", "msg_1", (item,)))
    return scene.run("retry", at(2, 0, 9)) if retried else scene


def trouble_retried(*, retried: bool) -> Scene:
    """A webhook is to be notified as mail is not taken; the boss can be reached at the `retry`."""
    scene = _with_hook().fault("wix_down", at(1), at(3), site_id="bakery")
    scene.fault("smtp_auth", at(1), at(1, 12))
    for time, kind in ((at(1, 12, 5), "trouble"), (at(3, 0, 5), "recovered")):
        scene.mail(time, kind, about=SITE, to=BOSS.emails[0])
    recovered = (Item("recovered", about=SITE),)
    scene.add("posted", Posted(at(3, 0, 5), "webhook", "hook-1", "post", "msg_2", recovered))
    return _retried(scene, "trouble", at(1, 0, 30), retried=retried)


def recovered_retried(*, retried: bool) -> Scene:
    """The end of a fault is received with a `retry`, while another one lasts."""
    scene = _with_hook().fault("wix_down", at(1), at(1, 5), site_id="bakery")
    scene.fault("smtp_auth", at(1), at(1, 12))
    trouble = (Item("trouble", about=SITE),)
    scene.add("posted", Posted(at(1, 1), "webhook", "hook-1", "post", "msg_0", trouble))
    scene.fault("wix_down", at(2), at(2, 0, 30), site_id="bakery")
    return _retried(scene, "recovered", at(1, 5, 5), retried=retried)


GOOD: dict[str, Callable[[], Scene]] = {
    "what has failed leaves with a retry": lambda: refused_and_retried(told=True).mail(
        at(2, 0, 2), "recovered", about="receiver:team"
    ),
    "a recovered that is in doubt may fail": recovered_in_doubt,
    "a retry sends trouble that has failed": lambda: trouble_retried(retried=True),
    "a retry sends an end that has failed": lambda: recovered_retried(retried=True),
}
BAD: list[tuple[str, Callable[[], Scene]]] = [
    ("late", lambda: refused_and_retried(told=False)),
    ("trouble_to_none", lambda: trouble_retried(retried=False)),
    ("premature", lambda: recovered_retried(retried=False)),
]
