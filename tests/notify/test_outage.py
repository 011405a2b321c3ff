"""A receiver is down for a day: few calls, one message probes it, recovery within a minute."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from alerter.config import Config
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import (
    Alert,
    AlertKind,
    Content,
    Finding,
    Look,
    Message,
    Receipt,
    Status,
    StoredReview,
)
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import IdleReason
from alerter.service.destinations import open_destinations
from alerter.store import State
from alerter.store.raised_alerts import NewAlert, raise_alerts
from alerter.store.reviews import put_reviews
from tests.support.clock import SetClock
from tests.support.reviews import review
from tests.support.values import SITE


@dataclass
class Service:
    """A service that may be down, and then accepts no message."""

    in_doubt: bool
    up: bool = True
    probes: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    can_look = True
    keeps_uid = False
    can_check = True
    settle_after = timedelta(seconds=5)
    domain = "alerter"

    async def prepare(self) -> None:
        pass

    async def send(self, message: Message, content: Content) -> Receipt:
        self.probes.append(message.entries[0].alert.key)
        if not self.up:
            raise DeliveryError("503", ErrorKind.TRANSIENT, in_doubt=self.in_doubt)
        self.taken += [entry.alert.key for entry in message.entries]
        return Receipt("ok", "C1", "1.1")

    async def update(self, message: Message, content: Content) -> None:
        raise AssertionError("nothing has changed")

    async def delete(self, message: Message) -> None:
        raise AssertionError("nothing is to be deleted")

    async def look(self, message: Message) -> Look:
        return Look()

    def service_time(self, now: datetime) -> datetime | None:
        return now

    async def check(self) -> list[Finding]:
        return []

    async def close(self) -> None:
        pass


def queue(state: State, clock: SetClock, *ids: str) -> list[str]:
    with state.transaction():
        put_reviews(
            state, SITE, [StoredReview(review(each), Status.OPEN) for each in ids], clock.now()
        )
        alerts = [Alert(f"new:{SITE}:{each}", AlertKind.NEW, SITE, each) for each in ids]
        raise_alerts(
            state, [NewAlert(each, [("slack:support", None)]) for each in alerts], clock.now()
        )
    return [alert.key for alert in alerts]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("in_doubt", "hours"),
    [(False, 6), (True, 3)],
    ids=["six hours of refused connections", "three hours of lost answers"],
)
@pytest.mark.sqlite  # takes long, for what the clock decides
async def test_an_outage_costs_two_probes_a_minute_and_ends_within_a_minute(
    config: Config, state: State, clock: SetClock, in_doubt: bool, hours: int
) -> None:
    state.execute("PRAGMA synchronous = OFF")  # power does not fail here
    service = Service(in_doubt)
    async with open_destinations(config, clock) as destinations:
        down = [
            replace(each, notifier=service) for each in destinations if each.receiver == "support"
        ]
        worker = Dispatcher(state, config, clock, down)._workers["slack:support"]
        keys = queue(state, clock, "r1", "r2", "r3")
        service.up = False
        while clock.monotonic() < hours * 3600:
            pause = await worker.step()
            clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)
        assert len(service.probes) < 2.2 * hours * 60
        # A message in doubt waits for a look, and the next one probes meanwhile.
        assert set(service.probes) == (set(keys) if in_doubt else {keys[0]})

        keys += queue(state, clock, "r4")
        service.up, back_at = True, clock.monotonic()
        while not service.taken:
            pause = await worker.step()
            clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)
        assert clock.monotonic() - back_at <= 60
        while (pause := await worker.step()) is None or pause.reason is not IdleReason.NOTHING_DUE:
            clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)
    assert sorted(service.taken) == keys
    assert not state.rows("SELECT * FROM deliveries WHERE status = 'pending'")
