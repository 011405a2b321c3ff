"""The recorded past, repeated with the config in force and with others."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from alerter.actions import ActionKind, NewAction, Person, Through
from alerter.config import Config
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.models import receiver_of
from alerter.store.recorded import RecordedAlert
from alerter.watch.comparison import ReplayedLine, compare
from alerter.watch.past import RecordedPast, read_past
from alerter.watch.replay import replay
from tests.support.clock import SetClock
from tests.support.lifecycle import BOTH, REMINDERS, Begin, Life, begin, slack, wix
from tests.support.values import SITE

__all__ = ["begin", "slack", "wix"]
# Whether the daemon restarts makes no difference to what is on record.
pytestmark = pytest.mark.parametrize("begin", [False], ids=["one daemon"], indirect=True)

START = datetime(2026, 11, 24, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY = '[reminders]\nafter = ["24h", "48h"]\n'
NIGHT = (
    '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\n'
    'quiet = {from = "22:00", to = "08:00"}\n'
)


async def lines(
    life: Life, config: Config | None = None, since: datetime = START
) -> list[ReplayedLine]:
    config = config or life.config
    past = read_past(life.state, config)
    replayed = await replay(past, config, since, life.clock.now())
    return compare(_since(past, since), replayed, HOUR)


def _since(past: RecordedPast, since: datetime) -> list[RecordedAlert]:
    return [each for each in past.alerts if each.raised_at >= since]


def shown(lines: list[ReplayedLine]) -> list[str]:
    return [
        f"{line.mark} {line.alert.kind} {line.alert.review_id}: "
        + ", ".join(sorted(map(receiver_of, line.recipients)))
        for line in lines
    ]


async def changed(life: Life, extra: str = "", receivers: str = BOTH) -> list[str]:
    """What another config would have alerted, beside what was."""
    before = life.config
    found = await lines(life, life.load(extra, receivers))
    life.config = before
    return shown(found)


async def eventful(life: Life) -> None:
    """Let happen what raises alerts of each kind."""
    life.put("r1", 2)
    await life.round()
    life.put("r2", 1, content={"body": "I want a refund"})
    life.put("r3", 2)
    await life.round(minutes=10)
    life.wix.change(SITE, "r1", content={"rating": 1})
    life.wix.change(SITE, "past", content={"rating": 1})
    await life.round(hours=1)
    life.wix.reply(SITE, "r2", "Sorry!")
    await life.round(hours=1)
    await life.round(hours=23)
    life.wix.unreply(SITE, "r2")
    life.wix.delete(SITE, "r3")
    await life.round(hours=1)
    await life.round(hours=60)


async def test_the_config_in_force_reproduces_the_record(begin: Begin) -> None:
    life = await begin(REMINDERS)
    await eventful(life)

    found = shown(await lines(life))
    assert {line.split()[0] for line in found} == {"new", "lowered", "closed", "reminder"}
    assert len(found) == len(life.alerts()) == 14


async def test_it_reproduces_the_record_from_any_moment(begin: Begin) -> None:
    life = await begin(REMINDERS)
    await eventful(life)

    whole = await lines(life)
    for line in whole:
        since = line.raised_at + timedelta(milliseconds=1)
        found = shown(await lines(life, since=since))
        assert found == shown([each for each in whole if each.raised_at >= since])


async def test_another_receiver_is_added_and_one_that_gets_less_is_taken_away(
    begin: Begin,
) -> None:
    life = await begin()
    life.put("r1", 1)
    life.put("r2", 2)
    await life.round()
    receivers = BOTH.replace("max_rating = 1", "").replace('name = "support"', 'name = "desk"')

    assert await changed(life, receivers=receivers) == [
        "- new r1: manager, owner, support",
        "+ new r1: desk, manager, owner",
        "- new r2: owner, support",
        "+ new r2: desk, manager, owner",
    ]


async def test_a_lower_threshold_alerts_what_falls_below_it_later(begin: Begin) -> None:
    life = await begin()
    life.put("r1", 2)
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 1})
    await life.round(hours=1)

    assert await changed(life, "[alerts]\nthreshold = 1\n") == [
        "- new r1: owner, support",
        "- lowered r1: manager, owner, support",
        "+ new r1: manager, owner, support",
    ]


async def test_what_was_open_above_a_lower_threshold_is_closed_silently(begin: Begin) -> None:
    life = await begin()
    life.put("r1", 2)
    await life.round()
    life.clock.advance(minutes=1)
    since = life.clock.now()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)

    config = life.load("[alerts]\nthreshold = 1\n", BOTH)
    assert shown(await lines(life, config, since)) == ["- closed r1: owner"]


async def test_quiet_hours_move_an_alert_to_their_end(begin: Begin) -> None:
    life = await begin(receivers='[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\n')
    life.clock.advance(hours=9)
    life.put()
    await life.round()

    was, would_be = await lines(life, life.load("", NIGHT))
    assert (was.mark, would_be.mark) == ("-", "+")
    assert would_be.at == datetime(2026, 11, 25, 7, tzinfo=UTC)  # 8 in Berlin


async def test_other_reminders_come_at_their_own_times(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    for _ in range(80):
        await life.poll(hours=1)
        await life.tell()

    assert await changed(life, DAILY) == [
        "  new r1: owner, support",
        "  reminder r1: owner, support",
        "+ reminder r1: owner, support",
        "- reminder r1: manager, owner, support",
    ]


async def test_reminders_wait_while_the_site_is_not_read(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    await life.round(hours=100)

    assert shown(await lines(life)) == [
        "  new r1: owner, support",
        "  reminder r1: manager, owner, support",
    ]


def act(life: Life, kind: ActionKind, **span: float) -> None:
    """A person claims, releases or snoozes the review; `span`: for how long."""
    assert life.runtime
    until = life.clock.now() + timedelta(**span) if span else None
    key = f"{kind} {life.clock.now()}"
    life.runtime.responder.request(
        NewAction(key, kind, SITE, "r1", Person("Ada"), Through.COMMAND, until=until)
    )


async def hourly(life: Life, hours: int) -> None:
    for _ in range(hours):
        await life.round(hours=1)


async def test_a_reminder_whose_review_an_answer_lacked_comes_as_late_again(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    await hourly(life, 23)
    nothing = Fault(status=200, body='{"reviews": [], "metadata": {"count": 0, "cursors": {}}}')
    life.wix.faults.always("/reviews/v1/reviews/query", nothing)
    for _ in range(6):
        await life.round(minutes=50)
    life.wix.faults.clear()
    assert life.alerts() == ["new:r1"]
    await hourly(life, 3)
    assert len(life.alerts()) == 2

    found = await lines(life)
    assert shown(found) == ["  new r1: owner, support", "  reminder r1: owner, support"]


async def test_a_claim_and_a_snooze_hold_reminders_as_they_did(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    act(life, ActionKind.CLAIM, hours=30)
    await hourly(life, 40)
    act(life, ActionKind.SNOOZE, hours=20)
    await hourly(life, 40)

    found = shown(await lines(life))
    assert len(found) == len(life.alerts()) == 4
    assert {line[0] for line in found} == {" "}


async def test_a_snooze_that_another_replaced_has_no_reminder(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    act(life, ActionKind.SNOOZE, hours=5)
    act(life, ActionKind.CLAIM, hours=48)
    await hourly(life, 10)
    act(life, ActionKind.SNOOZE, hours=60)
    act(life, ActionKind.RELEASE)
    await hourly(life, 65)

    found = shown(await lines(life))
    assert found == [
        "  new r1: owner, support",
        "  reminder r1: owner, support",
        "  reminder r1: manager, owner, support",
    ]


KEYWORDS = BOTH + '\n[[receivers]]\nname = "till"\nslack = "C0123456789"\nkeywords = ["refund"]\n'


async def test_new_keywords_are_looked_for_in_the_words_on_record(begin: Begin) -> None:
    life = await begin()
    life.put("r1", content={"body": "I want a refund"})
    life.put("r2")
    await life.round()
    life.wix.change(SITE, "r2", content={"body": "No refund, nothing"})
    await life.round(hours=2)

    assert await changed(life, receivers=KEYWORDS) == [
        "- new r1: owner, support",
        "+ new r1: owner, support, till",
        "  new r2: owner, support",
    ]
    # Which words r2 had when it was alerted is not on record.
    assert read_past(life.state, life.load("", KEYWORDS)).unknown == {(SITE, "r2")}


async def test_keywords_that_were_looked_for_are_known_without_the_words(begin: Begin) -> None:
    life = await begin(receivers=KEYWORDS)
    life.put("r1", content={"body": "I want a refund"})
    await life.round()
    life.wix.change(SITE, "r1", content={"body": "All is well"})
    await life.round(hours=2)
    scope = json.dumps({"threshold": 2, "thresholds": {}, "keywords": ["refund"]})
    life.state.execute("INSERT INTO configs (digest, scope, added_at) VALUES ('', ?, 0)", [scope])
    life.state.execute("UPDATE judgements SET config = (SELECT max(id) FROM configs)")

    assert await changed(life, receivers=KEYWORDS) == ["  new r1: owner, support, till"]
    assert read_past(life.state, life.config).unknown == set()


UP_TO_3 = "[alerts]\ntopics_up_to = 3\n"
HYGIENE = BOTH + '\n[[receivers]]\nname = "chef"\nslack = "C0123456789"\ntopics = ["hygiene"]\n'
HAIR = {"body": "There was a hair in the cake, how dirty"}


async def test_topics_reproduce_the_record_with_and_without_the_words(begin: Begin) -> None:
    life = await begin(UP_TO_3, HYGIENE)
    life.put("r1", 3, content=HAIR)
    life.put("r2", 3)
    life.put("r3", 1, content=HAIR)
    await life.round()
    life.wix.change(SITE, "r3", content={"body": "Gone"})
    life.wix.delete(SITE, "r1")
    await life.round(hours=2)

    found = shown(await lines(life))
    assert found[:2] == [
        "  new r1: chef, owner, support",
        "  new r3: chef, manager, owner, support",
    ]
    assert {line[0] for line in found} == {" "}
    assert not [line for line in found if "r2" in line]


async def test_other_topics_are_looked_for_in_the_words_on_record(begin: Begin) -> None:
    life = await begin()
    life.put("r1", content=HAIR)
    life.put("r2")
    await life.round()

    assert await changed(life, receivers=HYGIENE) == [
        "- new r1: owner, support",
        "+ new r1: chef, owner, support",
        "  new r2: owner, support",
    ]
    own = '[[topics]]\nname = "hygiene"\nwords = ["body of"]\n'
    assert "+ new r2: chef, owner, support" in await changed(life, own, HYGIENE)


async def test_without_topics_fewer_reviews_are_alerted(begin: Begin) -> None:
    life = await begin(UP_TO_3)
    life.put("r1", 3, content=HAIR)
    await life.round()

    assert await changed(life) == ["- new r1: owner, support"]


CLUSTER = '[alerts]\ncluster = {count = 3, within = "7d"}\n'


async def clustered(begin: Begin, wix: EmbeddedWix, clock: SetClock, extra: str = "") -> Life:
    """A life in which three reviews, and then a fourth, follow one of half a year before."""
    old = (clock.now() - timedelta(days=200)).isoformat()
    wix.add(SITE, {"id": "old", "entityId": None, "createdDate": old, "content": {"rating": 1}})
    life = await begin(extra)
    for name in ("r3", "r1", "r2"):
        life.put(name, 1)
        life.clock.advance(minutes=1)
    await life.round()
    life.put("r4", 2)
    await life.round(hours=30)
    return life


async def test_a_cluster_is_on_record_and_repeated_from_any_moment(
    begin: Begin, wix: EmbeddedWix, clock: SetClock
) -> None:
    life = await clustered(begin, wix, clock, CLUSTER)

    whole = await lines(life)
    assert {line.mark for line in whole} == {" "}
    [cluster] = [line for line in whole if line.alert.kind == "cluster"]
    assert cluster.reviews == ["past", "r3", "r1", "r2", "r4"]
    since = cluster.raised_at + HOUR
    assert shown(await lines(life, since=since)) == ["  new r4: owner, support"]


async def test_a_config_with_clusters_shows_which_there_would_have_been(
    begin: Begin, wix: EmbeddedWix, clock: SetClock
) -> None:
    life = await clustered(begin, wix, clock)

    found = await lines(life, life.load(CLUSTER, BOTH))
    [cluster] = [line for line in found if line.mark != " "]
    assert (cluster.mark, cluster.alert.kind, cluster.reviews) == (
        "+",
        "cluster",
        ["past", "r3", "r1", "r2", "r4"],
    )


async def test_a_replay_changes_nothing(begin: Begin) -> None:
    life = await begin(REMINDERS)
    await eventful(life)
    written = life.state.engine.changed
    await lines(life)
    assert life.state.engine.changed == written
