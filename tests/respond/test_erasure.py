"""What is deleted at Wix, forgotten or at rest loses the words of replies too, and who acted."""

from datetime import timedelta
from pathlib import Path

import pytest

from alerter.actions import Action, ActionKind, ActionStatus, Outcome
from alerter.models import Event, Review
from alerter.respond.responder import LEASE, WAITS_FOR_WIX
from alerter.store import State, actions, backup, erasure, known_sites
from alerter.store.postgres_schema import table_names
from alerter.store.prune import prune
from alerter.watch.intake import Intake
from tests.support.intake import Asked
from tests.support.responding import Desk, desk, wix
from tests.support.values import SITE

__all__ = ["desk", "wix"]

WORDS = "A secret apology to Zacharias"
KEEP = timedelta(days=30)


def erase(desk: Desk, *, anonymized: bool = False, review_id: str = "r1") -> None:
    """A webhook says that the review is deleted or anonymized."""
    now = desk.clock.now()
    review = Review(review_id, 1, created=now, revision=99) if anonymized else None
    intake = Intake(desk.state, desk.config, desk.clock, Asked(), desk.woken.update)
    event = Event(review_id, review, now, 99, anonymized=anonymized)
    intake.record_event(desk.config.sites[0], event)


def on_disk(desk: Desk, words: str = WORDS) -> bool:
    desk.state.scrub()
    if not isinstance(desk.state.database, Path):
        rows = (desk.state.rows(f"SELECT * FROM {table}") for table in table_names())
        return words in str(list(rows))
    files = desk.state.database.parent.glob("state.db*")
    return words.encode() in b"".join(file.read_bytes() for file in files)


def current(desk: Desk, action: Action) -> Action:
    found = actions.get_action(desk.state, action.id)
    assert found
    return found


async def forget(desk: Desk, **later: float) -> None:
    """What the daemon does once a day."""
    desk.clock.advance(**later)
    now = desk.clock.now()
    known_sites.mark_poll_success(desk.state, SITE, now, sees_private=True)
    await prune(desk.state, now, KEEP, window=timedelta(days=10), destinations=[])
    await erasure.rebuild(desk.state)


@pytest.mark.parametrize("anonymized", [False, True], ids=["deleted", "anonymized"])
async def test_words_of_a_reply_go_with_the_review(desk: Desk, *, anonymized: bool) -> None:
    action = await desk.act(reply=WORDS)
    assert on_disk(desk)
    erase(desk, anonymized=anonymized)
    await erasure.rebuild(desk.state)
    assert not on_disk(desk)
    assert current(desk, action).status is ActionStatus.DONE


@pytest.mark.parametrize("anonymized", [False, True], ids=["deleted", "anonymized"])
async def test_a_pending_reply_to_an_erased_review_is_not_sent(
    desk: Desk, *, anonymized: bool
) -> None:
    responder = desk.responder()
    action = responder.request(desk.new(reply=WORDS))
    erase(desk, anonymized=anonymized)
    after = await responder.carry_out(action)
    assert (after.status, after.outcome, after.new.reply) == (
        ActionStatus.FAILED,
        Outcome.GONE,
        "",
    )
    assert desk.calls() == 0
    await erasure.rebuild(desk.state)
    assert not on_disk(desk)


async def test_a_reply_that_is_being_sent_keeps_no_words_either(desk: Desk) -> None:
    desk.between = lambda: erase(desk)
    after = await desk.act(reply=WORDS)
    assert (after.status, after.outcome, after.new.reply) == (
        ActionStatus.FAILED,
        Outcome.GONE,
        "",
    )
    assert desk.calls() == 0
    await erasure.rebuild(desk.state)
    assert not on_disk(desk)


async def test_a_dead_reply_to_a_deleted_review_is_not_taken_up(desk: Desk) -> None:
    """Its call may have arrived before, so it is not called unsent."""
    action = desk.dead(reply=WORDS)
    erase(desk)
    desk.clock.advance(minutes=5)
    assert actions.due_actions(desk.state, desk.clock.now(), LEASE, WAITS_FOR_WIX, 9) == []
    assert current(desk, action).outcome is Outcome.LOST


async def test_words_to_a_review_that_is_not_on_record_go_with_it(desk: Desk) -> None:
    desk.wix.add(SITE, {"id": "r5", "content": {"rating": 5}})
    action = await desk.act(reply=WORDS, review_id="r5", seen="")
    assert action.status is ActionStatus.DONE
    erase(desk, review_id="r5")
    await erasure.rebuild(desk.state)
    assert not on_disk(desk)


async def test_words_to_a_review_that_was_anonymized_before_go_within_a_day(desk: Desk) -> None:
    erase(desk, anonymized=True)
    action = await desk.act(reply=WORDS, seen="")
    assert action.status is ActionStatus.DONE
    await forget(desk, hours=1)
    assert not on_disk(desk)
    assert current(desk, action).new.person.name == "Ada"


async def test_after_keep_nothing_says_who_acted(desk: Desk) -> None:
    await desk.act(reply=WORDS)
    desk.wix.add(SITE, {"id": "r5", "content": {"rating": 5}})
    await desk.act(reply=WORDS, review_id="r5", seen="")
    await forget(desk, days=29)
    assert on_disk(desk)
    await forget(desk, days=2)
    assert desk.state.value("SELECT count(*) FROM actions") == 0
    assert not on_disk(desk)


async def test_a_snoozed_review_rests_from_the_end_of_its_snooze(desk: Desk) -> None:
    until = desk.clock.now() + timedelta(days=60)
    await desk.act(ActionKind.SNOOZE, until=until)
    await forget(desk, days=59)
    assert desk.stored().title == "Stale"
    await forget(desk, days=32)
    assert desk.stored().title == ""


async def test_a_forgotten_customer_leaves_no_action(desk: Desk) -> None:
    await desk.act(reply=WORDS)
    await forget(desk, days=31)
    await desk.act(ActionKind.PUBLISH, seen="")
    erasure.erase_site(desk.state, SITE, desk.clock.now())
    assert desk.state.value("SELECT count(*) FROM actions") == 0


# alerter restore


def restored(desk: Desk, folder: Path, *, move: bool) -> State:
    backup.back_up(desk.state.database, folder / "copy.db")
    backup.restore(folder / "copy.db", folder / "new.db", desk.clock.now(), move=move)
    desk.state = State.open(folder / "new.db", migrate=False)
    return desk.state


@pytest.mark.parametrize("is_begun", [False, True], ids=["pending", "sending"])
async def test_a_restore_sends_no_old_reply(desk: Desk, tmp_path: Path, *, is_begun: bool) -> None:
    place = {"channel": "C1"}
    if is_begun:
        action = desk.dead(reply=WORDS, place=place)
    else:
        action = desk.responder().request(desk.new(reply=WORDS, place=place))
    with restored(desk, tmp_path, move=False):
        after = await desk.responder().carry_out(action)
        assert (after.status, after.outcome) == (ActionStatus.FAILED, Outcome.RESTORED)
        assert after.new.reply == WORDS
        assert actions.unreported_actions(desk.state, 9) == []
    assert desk.calls() == 0


async def test_a_moved_state_sends_the_reply_that_waits(desk: Desk, tmp_path: Path) -> None:
    action = desk.responder().request(desk.new(reply=WORDS))
    with restored(desk, tmp_path, move=True):
        after = await desk.responder().carry_out(action)
        assert after.status is ActionStatus.DONE
    assert desk.reply() == WORDS


async def test_a_snooze_that_ended_before_a_restore_is_not_repeated(
    desk: Desk, tmp_path: Path
) -> None:
    desk.state.execute("UPDATE deliveries SET status = 'sent'")
    for hours in (1, 3):
        until = desk.clock.now() + timedelta(hours=hours)
        await desk.act(ActionKind.SNOOZE if hours == 1 else ActionKind.CLAIM, until=until)
    desk.clock.advance(hours=2)
    with restored(desk, tmp_path, move=False) as state:
        held = state.rows("SELECT kind FROM actions WHERE ended_at IS NULL")
        assert [row["kind"] for row in held] == ["claim"]
