"""A responder against the embedded Wix, with a review that was alerted."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from alerter.actions import Action, ActionKind, NewAction, Person, Through
from alerter.config import Config, Site
from alerter.demo.wix import EmbeddedWix
from alerter.models import Review, Status
from alerter.respond.responder import WAITS_FOR_WIX, Responder
from alerter.store import State, actions, reviews
from alerter.watch.intake import Intake
from alerter.wix.client import WixClient
from tests.support.clock import SetClock
from tests.support.intake import Asked
from tests.support.values import SECRETS, SITE

ADA, BO = Person("Ada", "U0ADA"), Person("Bo")
_KEYS = count()


@dataclass
class Desk:
    """People who respond to the review `r1`, and Wix.

    `between` is called after each look at Wix: between it and the call that follows.
    """

    state: State
    config: Config
    clock: SetClock
    wix: EmbeddedWix
    client: WixClient
    woken: set[str] = field(default_factory=set)
    between: Callable[[], object] = lambda: None

    def responder(self, **more: Any) -> Responder:
        """A process that responds."""
        intake = Intake(self.state, self.config, self.clock, Asked(), self.woken.update)

        async def record(site: Site, review: Review) -> None:
            await intake.record_page(site, [review])
            self.between()

        patience = more.pop("patience", WAITS_FOR_WIX)
        return Responder(
            self.state,
            self.config,
            self.clock,
            self.client,
            record,
            self.woken.update,
            patience=patience,
            **more,
        )

    def new(self, kind: ActionKind = ActionKind.REPLY, **more: Any) -> NewAction:
        """An action of Ada, who has seen the review as it is on record."""
        made = NewAction(
            key=f"key-{next(_KEYS)}",
            kind=kind,
            site_id=SITE,
            review_id="r1",
            person=ADA,
            through=Through.COMMAND,
            seen=self.stored().text_digest,
            reply="We are sorry." if kind is ActionKind.REPLY else "",
        )
        return replace(made, **more)

    async def act(self, kind: ActionKind = ActionKind.REPLY, **more: Any) -> Action:
        """Record an action and carry it out."""
        responder = self.responder()
        return await responder.carry_out(responder.request(self.new(kind, **more)))

    def stored(self) -> Review:
        """The review as it is on record."""
        return reviews.get_reviews(self.state, SITE, ["r1"])["r1"].review

    def status(self) -> Status:
        """Whether the review is open on record."""
        return reviews.get_reviews(self.state, SITE, ["r1"])["r1"].status

    def reply(self) -> str | None:
        """The reply that Wix has."""
        row = self.wix.sites[SITE].reviews.get("r1")
        assert row
        reply = row.review.get("reply")
        return reply["message"] if reply else None

    def calls(self) -> int:
        """How many calls that change a review have reached Wix."""
        return sum(request.method == "PATCH" for request in self.wix.requests)

    def dead(self, **more: Any) -> Action:
        """An action whose process died after it had begun to call Wix."""
        now = self.clock.now()
        with self.state.transaction(f"site:{SITE}"):
            action, _ = actions.put_action(self.state, self.new(**more), now)
            lease = timedelta(seconds=60)
            taken = actions.take_action(self.state, action.id, "run:gone", now, lease)
            assert taken
            called = replace(taken, calls=1, looked=self.stored().revision)
            assert actions.renew_lease(self.state, called, now, lease)
        found = actions.get_action(self.state, action.id)
        assert found
        return found


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def desk(
    wix: EmbeddedWix, state: State, clock: SetClock, config: Config
) -> AsyncIterator[Desk]:
    client = WixClient(config.wix.base_url, clock)
    desk = Desk(state, config, clock, wix, client)
    intake = Intake(state, config, clock, Asked(), lambda _: None)
    site = config.sites[0]
    await intake.record_page(site, [], checkpoint=clock.now())
    state.execute("UPDATE sites SET covered_rating = 2, covered_since = 0")
    clock.advance(minutes=1)
    wix.add(SITE, {"id": "r1", "content": {"rating": 1, "title": "Stale", "body": "As stone."}})
    await intake.record_page(site, [await client.review(site, "r1")])
    assert desk.status() is Status.OPEN
    yield desk
    await client.close()
