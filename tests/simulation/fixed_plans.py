"""Small plans written by hand: each contains what it takes to see one known defect."""

from typing import Any

from tests.simulation.plan import DAY, HOUR, Event, Json, Plan
from tests.simulation.setup import SITE_IDS

MINUTE = 60.0
# 07:00 in the time zone of the config is when a run starts; this covers its first 14 hours.
_QUIET = {"from": "06:00", "to": "21:00"}

_OWNER = {"name": "owner", "email": ["owner@example.com"]}
_TWO = {"name": "owner", "email": ["owner@example.com", "partner@example.com"]}
_SUPPORT = {"name": "support", "slack": "C0000000001"}
_DESK = {"name": "desk", "webhook": "webhook-1"}
_PHONES = [{"name": "phone", "ntfy": "ntfy-1"}, {"name": "tablet", "ntfy": "ntfy-2"}]
_GUILD = {"name": "guild", "discord": "discord-1"}


def _plan(
    *events: Event,
    receivers: list[Json] | None = None,
    sites: tuple[str, ...] = ("Bakery",),
    length: float = 6 * HOUR,
    settle: float = 4 * HOUR,
    latency: float = 0.01,
    **spec: Any,
) -> Plan:
    """Return a plan of one site and one receiver, unless it says otherwise."""
    config: Json = {
        "sites": [{"name": name, "site_id": SITE_IDS[name]} for name in sites],
        "receivers": receivers or [_OWNER],
        "every": "1h",
        "rescan_every": "4h",
        "rescan_window": "30d",
        "trouble_after": "1h",
        "keep": "400d",
        "threshold": 2,
        "burst": 10,
        "reminders": [],
        "escalate_to": None,
        "summary": None,
        "web": False,
    }
    in_order = tuple(sorted(events, key=lambda event: event.at))
    return Plan(0, length, settle, config | spec, latency, in_order)


def _event(at: float, kind: str, **args: Any) -> Event:
    return Event(at, kind, args)


def _review(at: float, name: str = "r1", rating: int = 1, **args: Any) -> Event:
    return _event(at, "review", review=name, site="Bakery", rating=rating, **args)


def _change(at: float, kind: str, name: str = "r1", **args: Any) -> Event:
    return _event(at, kind, review=name, site="Bakery", **args)


def _fault(at: float, kind: str, length: float, **args: Any) -> Event:
    return _event(at, "fault", fault=kind, length=length, **args)


def _config(at: float, *ops: list[Any]) -> Event:
    return _event(at, "config", ops=list(ops))


FIXED = {
    "a lowered threshold closes as raised": _plan(
        _review(HOUR, rating=2),
        _config(3 * HOUR, ["set", "threshold", 1]),
        receivers=[_OWNER | {"closings": True}],
    ),
    "one answer without author erases a review": _plan(
        _review(HOUR),
        _fault(4 * HOUR - 1, "wix_no_author", 60.0, calls=1),
        length=10 * HOUR,
    ),
    "a review is gone at the first look": _plan(
        _review(2 * HOUR - 60, visible_after=240, hooks=[1.0]),
        receivers=[_OWNER | {"closings": True}],
        rescan_every="30m",
        web=True,
    ),
    "a read is as old as its answer": _plan(
        _review(HOUR),
        _change(2 * HOUR - 60, "replied", hooks=[1.0]),
        _fault(3 * HOUR - 1, "wix_slow", 60.0, code="20"),
        _change(3 * HOUR + 5, "unreplied", hooks=[1.0]),
        receivers=[_OWNER | {"closings": True}],
        quiet_wix=True,  # replies leave `revision` as it is
        web=True,
    ),
    "reminders do not count anew after a reopening": _plan(
        _review(HOUR),
        _change(6 * HOUR, "replied"),
        _change(7 * HOUR, "unreplied"),
        length=10 * HOUR,
        reminders=["4h"],
        rescan_every="1h",
    ),
    "a claim holds nothing": _plan(
        _review(HOUR),
        _change(5 * HOUR, "claim"),
        length=12 * HOUR,
        reminders=["6h"],
    ),
    "no reminder follows a snooze": _plan(
        _review(HOUR),
        _change(5 * HOUR, "snooze", hours=3),
        length=12 * HOUR,
    ),
    "a receiver gets alerts of every site": _plan(
        _review(HOUR),
        sites=("Bakery", "Tearoom"),
        receivers=[_OWNER | {"sites": ["Bakery"]}, _SUPPORT | {"sites": ["Tearoom"]}],
    ),
    "quiet hours hold nothing": _plan(
        _review(HOUR),
        receivers=[_OWNER | {"quiet": _QUIET}],
    ),
    "what was under way at a kill is forgotten": _plan(
        _review(HOUR, hooks=[1.0]),
        _fault(HOUR, "slack_down", 600.0, code="hang"),
        _event(HOUR + 5, "kill", down=HOUR),
        receivers=[_SUPPORT],
        web=True,
    ),
    "nobody looks whether a message in doubt has arrived": _plan(
        _review(HOUR),
        _fault(HOUR, "slack_dropped_after", 2 * HOUR, calls=1),
        receivers=[_SUPPORT],
    ),
    "each try of a mail has a Message-ID of its own": _plan(
        _review(HOUR),
        _fault(HOUR, "smtp_dropped_after", 2 * HOUR, calls=1),
    ),
    "what is unsent of a closed review still leaves": _plan(
        _review(HOUR),
        _change(4 * HOUR, "replied"),
        receivers=[_OWNER | {"quiet": _QUIET}],
        length=10 * HOUR,
        settle=6 * HOUR,
    ),
    "erased words stay in the write-ahead log": _plan(
        _review(HOUR),
        _change(2 * HOUR, "deleted", hooks=[1.0]),
        length=10 * HOUR,
        rescan_every="1h",
        web=True,
    ),
    "a clock that is set back stops the rounds": _plan(
        _event(2 * HOUR, "clock_step", seconds=-DAY, length=8 * HOUR),
        _review(3 * HOUR),
        rescan_every="1h",
        length=10 * HOUR,
        settle=HOUR,
    ),
    "an address that takes mail later is left out": _plan(
        _review(HOUR),
        _fault(HOUR, "smtp_address_soft", 20 * MINUTE, address="partner@example.com"),
        receivers=[_TWO],
    ),
    "the checkpoint moves before what was read is recorded": _plan(
        *(
            event
            for number in (1, 2)
            for event in (
                _review(2 * number * HOUR - 59 * MINUTE, f"r{2 * number}"),
                _review(2 * number * HOUR - 10 * MINUTE, f"r{2 * number + 1}"),
                _event(2 * number * HOUR - 5, "kill", commits=number, after=True, down=5.0),
            )
        ),
        rescan_every="12h",
    ),
    "a webhook has an id of its own in each try": _plan(
        _review(HOUR),
        _fault(HOUR, "posted_dropped_after", 2 * HOUR, calls=1, address="webhook-1"),
        receivers=[_OWNER, _DESK],
    ),
    "an address that is gone is not parked": _plan(
        _review(HOUR),
        _fault(HOUR, "posted_gone", 4 * HOUR, code="410", address="webhook-1"),
        receivers=[_OWNER, _DESK],
        length=8 * HOUR,
    ),
    "an address that throttles holds up all of its medium": _plan(
        _review(HOUR),
        _fault(HOUR, "posted_throttled", HOUR, code="429", retry_after=DAY, address="ntfy-1"),
        _review(3 * HOUR, "r2"),
        receivers=[_OWNER, *_PHONES],
        length=8 * HOUR,
        settle=26 * HOUR,
    ),
    "a redirect counts as sent": _plan(
        _review(HOUR),
        _fault(HOUR, "posted_redirected", 4 * HOUR, code="307", address="ntfy-1"),
        receivers=[_OWNER, *_PHONES],
        length=8 * HOUR,
    ),
    "erased words stay on Discord": _plan(
        _review(24 * HOUR),
        _change(26 * HOUR, "deleted", hooks=[1.0]),
        receivers=[_OWNER, _GUILD],
        length=36 * HOUR,
        rescan_every="1h",
        web=True,
    ),
    "a repeat on Teams does not say so": _plan(
        _review(HOUR),
        _fault(HOUR, "posted_dropped_after", 2 * HOUR, calls=1, address="teams-1"),
        receivers=[_OWNER, {"name": "office", "teams": "teams-1"}],
    ),
}
