"""An alerter without a flaw in a world without a fault: makes random histories that the oracle has
to pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.simulation.history import AlertKind, Receiver, Review
from tests.simulation.oracle.scene import CONFIG, OWNER, Scene, at

TICK = timedelta(minutes=5)
SPAN = timedelta(hours=20)
CHEF = replace(OWNER, name="chef", emails=("chef@bakery.test",), max_rating=1)
IDEAL = replace(CONFIG, receivers=(*CONFIG.receivers, CHEF), reminders_after=(SPAN,), burst=2)


@dataclass
class Known:
    """What the flawless alerter holds of a review."""

    review: Review
    status: str = "baseline"
    sent: dict[str, datetime] = field(default_factory=dict)  # receiver → when it received the alert
    reminded: set[str] = field(default_factory=set)
    posted: datetime | None = None  # its single Slack message


class Ideal:
    """Plays some days of reviews against the table of the design."""

    def __init__(self, seed: int, days: int = 4) -> None:
        self.random = Random(seed)
        self.scene = Scene(days, IDEAL)
        self.known: dict[str, Known] = {}
        self.free = at(0)
        self.days = days

    def play(self) -> Scene:
        """Return the scene of a whole run."""
        self._write_reviews()
        now = at(0, 1)
        while now < self.scene.end:
            for site in ("bakery", "florist"):
                self._poll(now, site)
            self._remind(now)
            now += TICK
        return self.scene

    def _write_reviews(self) -> None:
        for number in range(self.random.randint(5, 25)):
            name, site = f"r{number}", self.random.choice(("bakery", "bakery", "florist"))
            day = self.random.choice(
                (-1.0, 1.5, self.random.uniform(0.1, self.days))
            )  # some at once, some before
            self.scene.review(
                name, at(day, 0, 0, number), self.random.choice((1, 1, 2, 2, 4)), site
            )
            when = at(max(day, 0.1), 1)
            for _ in range(self.random.randint(0, 4)):
                when += timedelta(hours=self.random.uniform(0.5, 30))
                if when < self.scene.end - timedelta(hours=1):
                    self._change(name, when)

    def _change(self, name: str, when: datetime) -> None:
        last = self.scene.reviews[name][-1].after
        answered = last.reply is not None
        kind = self.random.choice(
            ("edited", "rating", "voted", "answer_removed" if answered else "answered")
        )
        if kind == "rating":
            self.scene.change(name, when, "rating_changed", rating=self.random.randint(1, 5))
        elif kind == "answered":
            self.scene.change(name, when, "answered", reply=f"Sorry {when}")
        elif kind == "answer_removed":
            self.scene.change(name, when, "answer_removed", reply=None)
        elif kind == "edited":
            self.scene.change(name, when, "edited")
        else:
            self.scene.change(name, when, "voted")

    # ---- reading

    def _poll(self, now: datetime, site: str) -> None:
        seen = [
            (name, [event.after for event in events if event.time <= now][-1])
            for name, events in self.scene.reviews.items()
            if events[0].time <= now and events[0].after.site_id == site
        ]
        self.scene.read(now, *(name for name, _ in seen), site=site)
        alerts: list[tuple[AlertKind, Known, Review | None]] = []
        for name, state in seen:
            known = self.known.get(name)
            if known is None:
                known = self.known[name] = Known(state)
                if now > at(0, 1):
                    known.status = (
                        "closed" if state.reply else "open" if state.rating <= 2 else "high"
                    )
                    alerts += [("new", known, None)] if known.status == "open" else []
            elif known.review.version != state.version:
                before, known.review = known.review, state
                alerts += self._triage(now, known, before)
        self._send(now + timedelta(seconds=1), alerts)

    def _triage(
        self, now: datetime, known: Known, before: Review
    ) -> list[tuple[AlertKind, Known, Review | None]]:
        state, low = known.review, known.review.rating <= 2
        fell = state.rating < before.rating and low
        if known.status == "high":
            known.status = "open" if low and not state.reply else known.status
            return [("new", known, None)] if known.status == "open" else []
        if known.status == "open" and (
            state.rating > 2 or (state.reply and state.reply != before.reply)
        ):
            known.status = "closed"
            self._update(now, known)
            return [("closed", known, before)]
        if fell:
            if known.status != "open":
                known.sent.clear()
                known.reminded.clear()
            known.status = "open"
            return [("lowered", known, before)]
        if known.status == "closed" and before.reply and not state.reply and low:
            return self._reopen(now, known)
        if known.status == "open" and state.words != before.words:
            self._update(now, known)
        return []

    def _reopen(self, now: datetime, known: Known) -> list[tuple[AlertKind, Known, Review | None]]:
        known.status = "open"
        known.reminded.clear()
        self._update(now, known)
        had = self._had(known)
        known.sent = dict.fromkeys(known.sent, now)
        return [("reminder", known, None)] if had else [("new", known, None)]

    def _had(self, known: Known) -> set[str]:
        return {
            receiver.name
            for receiver in IDEAL.receivers
            if self._came(known, receiver)
        }  # fmt: skip

    def _came(self, known: Known, receiver: Receiver) -> bool:
        messages = self.scene.parts["slack"] if receiver.channel else self.scene.parts["mails"]
        return any(
            item.review_id == known.review.review_id and item.kind in {"new", "lowered"}
            for message in messages
            if (
                message.channel == receiver.channel
                if receiver.channel
                else message.taken_for == receiver.emails
            )
            for item in message.items
        )

    # ---- sending

    def _send(self, when: datetime, alerts: list[tuple[AlertKind, Known, Review | None]]) -> None:
        for receiver in IDEAL.receivers:
            own = [alert for alert in alerts if self._is_for(receiver, *alert)]
            bulk = [alert for alert in own if alert[0] in {"new", "lowered"}]
            if len(bulk) > IDEAL.burst:
                self._digest(when, receiver, [alert for alert in bulk if alert[0] == "new"])
                own = [alert for alert in own if alert[0] != "new"]
            for kind, known, before in own:
                self._single(when, receiver, kind, known, before)

    def _is_for(
        self, receiver: Receiver, kind: AlertKind, known: Known, before: Review | None
    ) -> bool:
        state = known.review
        if state.site_id not in receiver.sites:
            return False
        if kind == "closed":
            return receiver.closings and self._came(known, receiver)
        fits = receiver.min_rating <= state.rating <= receiver.max_rating
        if kind == "reminder":
            return fits and receiver.channel is None and self._came(known, receiver)
        return fits

    def _digest(
        self,
        when: datetime,
        receiver: Receiver,
        alerts: list[tuple[AlertKind, Known, Review | None]],
    ) -> None:
        ids = [known.review.review_id for _, known, _ in alerts]
        if not ids:
            return
        for _, known, _ in alerts:
            known.sent[receiver.name] = when
        if receiver.channel:
            self.scene.post(self._turn(when), "new", *ids)
        else:
            self.scene.mail(
                when, "new", *ids, to=receiver.emails[0], message_id=f"<{when} {receiver.name}>"
            )

    def _single(
        self,
        when: datetime,
        receiver: Receiver,
        kind: AlertKind,
        known: Known,
        before: Review | None,
    ) -> None:
        name = known.review.review_id
        more: dict[str, Any] = {"after": known.review.rating}
        if kind == "lowered" and before is not None:
            more["before"] = before.rating
        if kind == "closed" and before is not None:
            more["reason"] = (
                "raised"
                if known.review.rating > 2 and known.review.rating > before.rating
                else "answered"
            )
        if kind in {"new", "lowered"}:
            known.sent.setdefault(receiver.name, when)
        if receiver.channel:
            turn = self._turn(when)
            known.posted = turn if kind in {"new", "lowered"} else known.posted
            self.scene.post(turn, kind, name, **more)
        else:
            message_id = f"<{when} {name} {kind} {receiver.name}>"
            self.scene.mail(when, kind, name, to=receiver.emails[0], message_id=message_id, **more)

    def _turn(self, when: datetime) -> datetime:
        self.free = max(when, self.free + timedelta(seconds=1.2))
        return self.free

    def _update(self, now: datetime, known: Known) -> None:
        if known.posted is not None:
            self.scene.update(now + timedelta(seconds=1), known.posted, known.review.text)

    def _remind(self, now: datetime) -> None:
        for known in self.known.values():
            for receiver in IDEAL.receivers if known.status == "open" else ():
                since = known.sent.get(receiver.name)
                fits = known.review.rating <= receiver.max_rating
                if (
                    since
                    and fits
                    and receiver.name not in known.reminded
                    and now - TICK < since + SPAN <= now
                ):
                    known.reminded.add(receiver.name)
                    self._single(now + timedelta(seconds=2), receiver, "reminder", known, None)
