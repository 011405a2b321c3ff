"""Who answered, and after how long, as summaries count it."""

from datetime import timedelta

from alerter.actions import ActionKind
from alerter.store import summaries
from tests.support.responding import BO, Desk, desk, wix
from tests.support.values import SITE

__all__ = ["desk", "wix"]


def counted(desk: Desk, *, back: float = 24) -> dict[str, list[float]]:
    now = desk.clock.now() + timedelta(seconds=1)
    return summaries.answers_by_person(desk.state, SITE, now - timedelta(hours=back), now)


async def test_an_answer_is_counted_for_who_sent_it_in_the_period_of_the_reply(desk: Desk) -> None:
    desk.clock.advance(minutes=12)
    await desk.act(reply="We are sorry.")
    assert counted(desk) == {"Ada": [720.0]}
    desk.clock.advance(hours=25)
    assert counted(desk) == {}


async def test_a_reply_that_is_corrected_is_one_answer(desk: Desk) -> None:
    desk.clock.advance(minutes=12)
    await desk.act(reply="We are sory.")
    desk.clock.advance(hours=30)
    seen = desk.stored().reply_digest
    await desk.act(reply="We are sorry.", replace=True, seen_reply=seen)
    assert desk.reply() == "We are sorry."
    assert counted(desk) == {}
    assert counted(desk, back=40) == {"Ada": [720.0]}


async def test_what_was_refused_or_there_already_is_no_answer(desk: Desk) -> None:
    await desk.act(reply="We are sorry.")
    await desk.act(reply="We are sorry.", person=BO)
    await desk.act(reply="Another", person=BO)
    await desk.act(ActionKind.PUBLISH, person=BO, seen="")
    assert list(counted(desk)) == ["Ada"]


async def test_open_reviews_name_who_is_on_them(desk: Desk) -> None:
    long_ago = desk.clock.now() - timedelta(days=9)

    def opened() -> list[str]:
        now = desk.clock.now()
        found = summaries.followed_open_reviews(desk.state, SITE, long_ago, now)
        return [each.claimed_by for each in found]

    assert opened() == [""]
    await desk.act(ActionKind.CLAIM, until=desk.clock.now() + timedelta(hours=48))
    assert opened() == ["Ada"]
    desk.clock.advance(hours=49)
    assert opened() == [""]
