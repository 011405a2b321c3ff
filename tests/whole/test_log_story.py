"""The log of a day: a line for each alert and for each message, and no warning."""

import logging

import pytest

from alerter.demo.wix import EmbeddedWix
from tests.support.life import Begin, Life, begin, life, slack, wix
from tests.support.values import SITE

__all__ = ["begin", "life", "slack", "wix"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    ours = [record for record in caplog.records if record.name.startswith("alerter")]
    assert {record.levelname for record in ours} <= {"INFO"}
    return [record.getMessage() for record in ours]


async def test_a_review_is_a_line_and_each_message_about_it_is_one(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "alerter")
    caplog.clear()
    life.put()
    await life.minutes(3)
    assert lines(caplog) == [
        'site "Corner Bakery": alert raised: kind=new stars=1 review=r1',
        'receiver "owner": message sent: medium=email alerts=1',
        'receiver "support": message sent: medium=slack alerts=1',
    ]


async def test_a_digest_is_one_line_that_says_how_many(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "alerter")
    life.put(11)
    await life.minute()
    assert 'receiver "owner": message sent: medium=email alerts=11' in lines(caplog)


async def test_a_reminder_and_the_answer_are_lines_too(
    begin: Begin, wix: EmbeddedWix, caplog: pytest.LogCaptureFixture
) -> None:
    life = await begin(extra='[reminders]\nafter = ["1h"]')
    life.put()
    await life.minute()
    caplog.set_level(logging.INFO, "alerter")
    caplog.clear()
    life.clock.advance(hours=1)
    await life.minute()
    wix.reply(SITE, "r1", "We are sorry.")
    life.clock.advance(hours=1)
    await life.minute()
    raised = [line for line in lines(caplog) if "alert raised" in line]
    assert raised == [
        'site "Corner Bakery": alert raised: kind=reminder stars=1 review=r1',
        'site "Corner Bakery": alert raised: kind=closed stars=1 review=r1',
    ]
