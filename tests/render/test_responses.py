"""Messages show what people do about a review, with names that stay names."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerter.actions import ActionKind, Response
from alerter.models import AlertKind, CloseReason, Message, Reply
from alerter.render.formatting import NO_BREAK
from alerter.render.renderer import Renderer
from tests.support.rendered import (
    CREATED,
    HOSTILE,
    STALE,
    Page,
    assert_within_slacks_limits,
    digest,
    entry,
    message,
    objects,
    one_line,
    shape,
    words,
)

MONDAY = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
SNOOZED = Response(snoozed_by="Ada", snoozed_until=MONDAY)


def of(response: Response, kind: AlertKind = AlertKind.NEW) -> Message:
    return message(replace(entry(kind=kind), response=response))


def closed(response: Response, reply: str, reason: CloseReason) -> Message:
    answered = replace(STALE, reply=Reply(reply, CREATED + timedelta(minutes=12)))
    item = entry(answered, AlertKind.CLOSED, reason=reason)
    return message(replace(item, response=response, closing=reason))


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (Response(claimed_by="Ada", claimed_until=MONDAY), "Ada is on it"),
        (SNOOZED, "Snoozed until Mon 30 Nov, 09:00 by Ada"),
        (Response(replying="Ada"), "Ada is replying …"),
        (
            replace(SNOOZED, claimed_by="Bo", claimed_until=MONDAY),
            "Bo is on it · Snoozed until Mon 30 Nov, 09:00 by Ada",
        ),
        (Response(moderated_by="Ada", moderation=ActionKind.PUBLISH), "Published by Ada"),
    ],
    ids=["claimed", "snoozed", "replying", "claimed and snoozed", "published"],
)
def test_every_message_shows_what_people_do_about_a_review(
    renderer: Renderer, response: Response, expected: str
) -> None:
    busy = replace(entry(), response=response)
    for shown in (
        of(response),
        of(response, AlertKind.REMINDER),
        digest(busy, entry()),
    ):
        mail, slack = renderer.mail(shown), renderer.slack(shown)
        for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
            assert text.replace(NO_BREAK, " ").count(expected) == 1


def test_a_closed_message_says_who_replied_and_after_how_long(renderer: Renderer) -> None:
    reply = "We are sorry."
    response = Response(replied_by="Ada", reply=reply, claimed_by="Bo", claimed_until=MONDAY)
    slack = renderer.slack(closed(response, reply, CloseReason.ANSWERED))

    header = slack.blocks[0]["text"]["text"].replace(NO_BREAK, " ")
    assert header == "✅ Ada replied after 12 minutes"
    assert reply in words(slack.blocks)
    assert "Bo" not in words(slack.blocks)


def test_a_reply_that_somebody_else_wrote_since_is_not_called_hers(renderer: Renderer) -> None:
    response = Response(replied_by="Ada", reply="We are sorry.")
    mail = renderer.mail(closed(response, "From the dashboard", CloseReason.ANSWERED))

    assert "Answered after 12 minutes" in mail.text.replace(NO_BREAK, " ")
    assert "Ada" not in mail.subject


def test_a_decision_that_changed_at_wix_since_is_not_called_hers(renderer: Renderer) -> None:
    rejected = replace(STALE, moderation="REJECTED")
    by_ada = Response(moderated_by="Ada", moderation=ActionKind.REJECT)
    item = replace(entry(rejected, AlertKind.CLOSED), closing=CloseReason.REJECTED)

    assert "Rejected by Ada" in renderer.mail(message(replace(item, response=by_ada))).subject
    published = replace(by_ada, moderation=ActionKind.PUBLISH)
    assert "Ada" not in renderer.mail(message(replace(item, response=published))).subject


@pytest.mark.parametrize("name", [*HOSTILE.values(), "x" * 500], ids=[*HOSTILE, "endless"])
def test_a_name_stays_text(renderer: Renderer, name: str) -> None:
    for by in (
        lambda name: Response(claimed_by=name, claimed_until=MONDAY, replying=name),
        lambda name: replace(SNOOZED, snoozed_by=name),
    ):
        for wrap in (of, lambda response: digest(replace(entry(), response=response), entry())):
            slack, harmless = renderer.slack(wrap(by(name))), renderer.slack(wrap(by("Ada")))
            assert shape(slack.blocks) == shape(harmless.blocks)
            assert not any(each.get("type") == "mrkdwn" for each in objects(slack.blocks))
            assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", slack.text)
            assert one_line(name)[:70] in words(slack.blocks)
            assert_within_slacks_limits(slack)
            page, plain = (Page(renderer.mail(wrap(by(each))).html).tags for each in (name, "Ada"))
            assert page == plain


def test_a_name_in_a_subject_leaves_it_one_short_line(renderer: Renderer) -> None:
    name, reply = "Ada\r\nBcc: victim@example.com " + "x" * 500, "We are sorry."
    subject = renderer.mail(
        closed(Response(replied_by=name, reply=reply), reply, CloseReason.ANSWERED)
    ).subject

    assert len(subject.splitlines()) == 1
    assert "‘Ada Bcc: victim@example.com xx" in subject
    assert len(subject) < 250
