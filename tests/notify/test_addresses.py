"""Some addresses of several refuse a mail: the others have it, and people are notified."""

import pytest

from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from tests.support.life import Begin, Life, begin, posted, slack, wix
from tests.support.values import CHANNEL, OWNER

__all__ = ["begin", "slack", "wix"]

OTHER = "other@example.com"
NO, LATER = "550 5.1.1 no such user", "451 4.2.1 try again later"


class Refusals(dict[str, str]):
    """Replies to RCPT that count how often they were given."""

    given = 0

    def __getitem__(self, address: str) -> str:
        self.given += 1
        return super().__getitem__(address)


@pytest.fixture
def refusals(mailbox: Mailbox) -> Refusals:
    refusals = Refusals()
    mailbox.refuse = refusals
    return refusals


@pytest.fixture
async def life(begin: Begin) -> Life:
    return await begin(
        f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}", "{OTHER}"]\n'
        f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    )


def recipients(mailbox: Mailbox, title: str) -> list[tuple[str, ...]]:
    return [mail.recipients for mail in mailbox.mails if title in mail.text]


async def test_an_address_refused_for_good_is_trouble_and_not_tried_again(
    life: Life, mailbox: Mailbox, refusals: Refusals, slack: EmbeddedSlack
) -> None:
    refusals[OTHER] = NO
    life.put()
    await life.minutes(1)
    assert life.open() == ["addresses:owner"]
    assert life.needs_a_person()
    await life.minutes(50)
    assert recipients(mailbox, "Title 1") == [(OWNER,)]
    assert refusals.given == 1
    life.put()
    await life.minutes(1)
    assert recipients(mailbox, "Title 2") == [(OWNER,)]
    assert refusals.given == 2
    assert len(posted(slack)) == 1


async def test_an_address_refused_for_long_gets_its_mails_when_it_works(
    life: Life, mailbox: Mailbox, refusals: Refusals, slack: EmbeddedSlack
) -> None:
    refusals[OTHER] = LATER
    life.put(2)
    await life.minutes(14)
    assert life.open() == []
    await life.minutes(4)
    assert life.open() == ["addresses:owner"]
    assert life.needs_a_person()
    life.put()
    await life.minutes(60)
    assert len(posted(slack)) == 1
    refusals.clear()
    await life.minutes(4)
    for title in ("Title 1", "Title 2", "Title 3"):
        assert recipients(mailbox, title) == [(OWNER,), (OTHER,)]
    assert life.open() == []
    assert len(posted(slack)) == 2


async def test_an_address_refused_for_now_and_then_for_good_is_trouble_at_once(
    life: Life, mailbox: Mailbox, refusals: Refusals
) -> None:
    refusals[OTHER] = LATER
    life.put()
    await life.minutes(3)
    assert life.open() == []
    refusals[OTHER] = NO
    await life.minutes(3)
    assert life.open() == ["addresses:owner"]
    given = refusals.given
    await life.minutes(30)
    assert refusals.given == given
    assert recipients(mailbox, "Title 1") == [(OWNER,)]
