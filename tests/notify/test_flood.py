"""A great many alerts at once: few messages, every review in one of them."""

import re

import pytest

from alerter.config import Config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.models import Alert, AlertKind, Review, Status, StoredReview
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_runtime
from alerter.store import State, raised_alerts, reviews
from alerter.store.raised_alerts import NewAlert
from tests.support.clock import SetClock
from tests.support.values import SITE


@pytest.mark.slow
async def test_two_thousand_alerts_are_few_messages_and_name_every_review(
    config: Config, state: State, clock: SetClock, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    known = [
        StoredReview(Review(f"r{n:04}", 1, title=f"Stale {n:04}."), Status.OPEN, clock.now())
        for n in range(2000)
    ]
    new_alerts = [
        NewAlert(
            Alert(f"new:{SITE}:{each.review.id}", AlertKind.NEW, SITE, each.review.id),
            [("email:owner", None), ("slack:support", None)],
        )
        for each in known
    ]
    with state.transaction():
        reviews.put_reviews(state, SITE, known, clock.now())
        raised_alerts.raise_alerts(state, new_alerts, clock.now())
    async with open_runtime(config, state, clock) as runtime:
        while not await runtime.dispatcher.run((IdleReason.NOTHING_DUE, IdleReason.PACE)):
            clock.advance(seconds=1)
    names = [f"Stale {n:04}." for n in range(2000)]
    assert len(slack.posts) <= 24
    assert len(mailbox.mails) <= 2
    assert [
        name for post in slack.posts for name in re.findall(r"Stale \d{4}\.", str(post.blocks))
    ] == names
    assert [
        name for mail in mailbox.mails for name in re.findall(r"Stale \d{4}\.", mail.text)
    ] == names
    # A link for each review, and a button at the end of each message.
    links = sum(str(post.blocks).count("/reviews/pending") for post in slack.posts)
    assert links == 2000 + len(slack.posts)
    assert not any(call.error for call in slack.requests)
