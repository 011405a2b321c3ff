"""A great many alerts at once: few messages, every review in one of them."""

import re

import pytest

from alerter.config import Config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.models import Alert, AlertKind, Known, Review, Status
from alerter.notify.dispatch import Why
from alerter.service.runtime import open_house
from alerter.store import State, reviews
from alerter.store.reviews import Raised
from tests.conftest import SITE, SetClock


@pytest.mark.slow
async def test_five_thousand_alerts_are_few_messages_and_name_every_review(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    known = [
        Known(Review(f"r{n:04}", 1, title=f"Stale {n:04}."), Status.OPEN, clock.now())
        for n in range(5000)
    ]
    raised = [
        Raised(
            Alert(f"new:{SITE}:{each.review.id}", AlertKind.NEW, SITE, each.review.id),
            [("email:owner", None), ("slack:support", None)],
        )
        for each in known
    ]
    with state.transaction():
        reviews.put_reviews(state, SITE, known, clock.now())
        reviews.raise_alerts(state, raised, clock.now())
    async with open_house(config, state, clock) as house:
        while not await house.dispatcher.run((Why.NOTHING_DUE, Why.PACE)):
            clock.advance(seconds=1)
    names = [f"Stale {n:04}." for n in range(5000)]
    assert len(slack.posts) <= 60
    assert len(mailbox.mails) <= 5
    assert [
        name for post in slack.posts for name in re.findall(r"Stale \d{4}\.", str(post.blocks))
    ] == names
    assert [
        name for mail in mailbox.mails for name in re.findall(r"Stale \d{4}\.", mail.text)
    ] == names
    assert sum(str(post.blocks).count("/reviews/pending") for post in slack.posts) == 5000
    assert not any(call.error for call in slack.requests)
