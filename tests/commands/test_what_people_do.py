"""What `alerter status` and `alerter explain` show of what people do about a review."""

import json
from dataclasses import replace
from datetime import timedelta

from alerter.actions import ActionKind, Person, Through
from alerter.commands import explain, status
from alerter.models import Event
from alerter.store import reminders
from alerter.watch.intake import Intake
from tests.support.intake import Asked
from tests.support.responding import BO, Desk, desk, wix
from tests.support.values import SITE

__all__ = ["desk", "wix"]

HOSTILE = Person("Eve\x1b[2J\n<!channel> " + "x" * 200)


def explained(desk: Desk) -> str:
    now = desk.clock.now()
    found = explain.get_explanations(desk.config, desk.state, desk.config.sites, "r1", now)
    return explain.phrase_explanations(desk.config, found, now)


def shown(desk: Desk) -> str:
    now = desk.clock.now()
    return status.as_text(status.get_status(desk.config, desk.state, now), now, 80)


async def claim(desk: Desk, hours: float = 48, **more: object) -> None:
    until = desk.clock.now() + timedelta(hours=hours)
    await desk.act(ActionKind.CLAIM, until=until, **more)


async def snooze(desk: Desk, hours: float = 20) -> None:
    await desk.act(ActionKind.SNOOZE, until=desk.clock.now() + timedelta(hours=hours))


# alerter status


async def test_status_shows_who_is_on_a_review_and_until_when_it_is_snoozed(desk: Desk) -> None:
    assert "claimed" not in shown(desk)
    await claim(desk)
    await snooze(desk)
    lines = shown(desk).split("\n")
    row = next(number for number, line in enumerate(lines) if "Stale" in line)
    assert lines[row + 1] == "  claimed by Ada, snoozed until 2026-11-25 09:01 by Ada"
    desk.clock.advance(hours=21)
    assert "  claimed by Ada\n" in f"{shown(desk)}\n"
    desk.clock.advance(hours=30)
    assert "claimed" not in shown(desk)


async def test_status_shows_a_reply_on_its_way(desk: Desk) -> None:
    desk.responder().request(desk.new())
    assert "  Ada is replying\n" in f"{shown(desk)}\n"


async def test_status_in_json_has_what_people_do(desk: Desk) -> None:
    await claim(desk)
    found = json.loads(status.as_json(status.get_status(desk.config, desk.state, desk.clock.now())))
    [opened] = found["open_reviews"]
    assert (opened["claimed_by"], opened["claimed_until"]) == ("Ada", "2026-11-26T12:01:00Z")
    assert (opened["snoozed_by"], opened["snoozed_until"], opened["replying"]) == (None,) * 3


async def test_a_hostile_name_changes_neither_the_terminal_nor_its_lines(desk: Desk) -> None:
    before = shown(desk).count("\n")
    await claim(desk, person=HOSTILE)
    for text in (shown(desk), explained(desk)):
        assert "\x1b" not in text
        assert "x" * 60 not in text
    assert shown(desk).count("\n") == before + 1
    assert max(map(len, shown(desk).split("\n"))) <= 80


# alerter explain


async def test_explain_says_who_did_what_through_what_and_what_became_of_it(desk: Desk) -> None:
    await claim(desk, through=Through.SLACK)
    desk.clock.advance(hours=1)
    await claim(desk, person=BO, through=Through.PAGE)
    desk.wix.moderate(SITE, "r1", "IN_MODERATION")
    await desk.act(ActionKind.PUBLISH, person=BO)
    desk.clock.advance(hours=1)
    await desk.act(reply="We are sorry.")
    await desk.act(reply="Another word", person=BO, seen="")
    lines = explained(desk).split("what people did\n")[1].split("\n\n")[0].split("\n")
    assert lines == [
        (
            "- 2026-11-24 13:01:00 CET: Ada claimed it on Slack; until 2026-11-26 13:01:00 CET;"
            " ended at 2026-11-24 14:01:00 CET"
        ),
        (
            "- 2026-11-24 14:01:00 CET: Bo claimed it on the review page;"
            " until 2026-11-26 14:01:00 CET, in place of Ada; ended at 2026-11-24 15:01:00 CET"
        ),
        (
            "- 2026-11-24 14:01:00 CET: Bo published it from the command line;"
            " it was at Wix at 2026-11-24 14:01:00 CET"
        ),
        (
            "- 2026-11-24 15:01:00 CET: Ada replied from the command line;"
            " it was at Wix at 2026-11-24 15:01:00 CET “We are sorry.”"
        ),
        (
            "- 2026-11-24 15:01:00 CET: Bo wanted to reply from the command line;"
            " refused, as it has another reply by now “Another word”"
        ),
    ]


async def test_explain_says_that_an_action_waits(desk: Desk) -> None:
    desk.responder().request(desk.new())
    assert "Ada wants to reply from the command line; it waits to be sent" in explained(desk)
    desk.dead()
    assert "it is being sent to Wix" in explained(desk)


async def test_explain_of_an_erased_review_has_no_words_of_a_reply(desk: Desk) -> None:
    await desk.act(reply="A secret apology")
    assert "A secret apology" in explained(desk)
    intake = Intake(desk.state, desk.config, desk.clock, Asked(), desk.woken.update)
    intake.record_event(desk.config.sites[0], Event("r1", None, desk.clock.now(), 9))
    assert "A secret apology" not in explained(desk)
    assert "Ada replied from the command line" in explained(desk)


async def test_explain_of_a_restored_review_shows_words_once_wix_was_asked(desk: Desk) -> None:
    await desk.act(reply="A secret apology")
    desk.state.execute("UPDATE sites SET unverified = TRUE")
    assert "A secret apology" not in explained(desk)


async def test_explain_says_what_holds_the_reminders_and_what_follows(desk: Desk) -> None:
    after = (timedelta(hours=24), timedelta(hours=72))
    schedule = replace_after(desk, after)
    begun = desk.clock.now()
    reminders.start_reminders(desk.state, SITE, "r1", ["email:owner"], begun)
    assert "the reminder after 24 hours at 2026-11-25 13:01:00 CET" in explained(schedule)
    await claim(desk)
    text = explained(schedule)
    assert "Ada is on it: reminders wait until 2026-11-26 13:01:00 CET" in text
    assert "the reminder after 24 hours at 2026-11-26 13:01:00 CET" in text
    assert "the reminder after 3 days at 2026-11-27 13:01:00 CET" in text

    await desk.act(ActionKind.RELEASE)
    await snooze(desk, hours=30)
    text = explained(schedule)
    assert "Ada snoozed it: unless it is answered, one reminder to each receiver" in text
    assert "at 2026-11-25 19:01:00 CET" in text
    assert "the reminder after 24 hours" not in text
    assert "the reminder after 3 days at 2026-11-27 13:01:00 CET" in text


def replace_after(desk: Desk, after: tuple[timedelta, ...]) -> Desk:
    """The same with a config that reminds after these spans."""
    schedule = desk.config.reminders.model_copy(update={"after": after})
    return replace(desk, config=desk.config.model_copy(update={"reminders": schedule}))
