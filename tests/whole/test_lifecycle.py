"""A review's whole life: each row of the triage table from Wix to the people, with one daemon and
over restarts.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from alerter.demo.faults import Fault
from alerter.models import Status
from tests.support.lifecycle import REMINDERS, Begin, Life, begin, life, slack, wix
from tests.support.messages import words_of
from tests.support.state import kept_bytes
from tests.support.values import SITE

__all__ = ["begin", "life", "slack", "wix"]

QUERY = "/reviews/v1/reviews/query"


async def test_a_new_review_is_alerted_and_open(life: Life) -> None:
    life.put()
    await life.round()
    await life.round(hours=2)

    assert (life.alerts(), life.status()) == (["new:r1"], Status.OPEN)
    assert (len(life.mails()), len(life.slack.posts), life.slack.posts[0].edits) == (1, 1, [])


@pytest.mark.parametrize(
    "more",
    [{"reply": {"message": "Sorry!"}}, {"moderation": {"moderationStatus": "REJECTED"}}],
    ids=["answered", "rejected"],
)
async def test_what_is_settled_when_it_is_first_seen_is_silent(
    life: Life, more: dict[str, Any]
) -> None:
    life.put(**more)
    await life.round()

    assert (life.alerts(), life.status(), life.slack.posts) == ([], Status.CLOSED, [])


async def test_a_review_that_shows_up_late_is_found_by_the_rescan_and_says_so(life: Life) -> None:
    life.put("slow", visible_after=3 * 3600)
    life.clock.advance(minutes=10)
    life.put("quick")
    await life.round(hours=1)
    await life.round(hours=1)
    assert life.alerts() == ["new:quick"]
    await life.round(hours=2)

    assert life.alerts() == ["new:quick", "new:slow"]
    late = next(mail for mail in life.mailbox.mails if "Title of slow" in mail.text)
    assert "older" in late.text
    await life.round(hours=2)
    assert len(life.alerts()) == 2


async def test_a_review_whose_rating_falls_below_the_threshold_later_is_found(life: Life) -> None:
    life.put("fine", 4)
    life.put("bad", 1)
    await life.round()
    life.wix.change(SITE, "fine", content={"rating": 1})
    await life.round(hours=1)

    assert life.alerts() == ["new:bad", "new:fine"]


async def test_a_lowered_rating_is_posted_in_the_thread_and_in_the_channel(
    life: Life,
) -> None:
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 1, "body": "Worse than I thought"})
    await life.round(hours=1)

    assert (life.alerts(), life.status()) == (["new:r1", "lowered:r1:1"], Status.OPEN)
    first, lowered = life.slack.posts
    assert (lowered.thread_ts, lowered.reply_broadcast) == (first.ts, True)
    assert "lowered from 2 to 1" in words_of(lowered.blocks)
    assert "Worse than I thought" in words_of(lowered.blocks)
    new, again = [mail for mail in life.mailbox.mails if mail.recipients == ("owner@example.com",)]
    assert again.message["In-Reply-To"] == again.message["References"] == new.message_id
    assert "lowered from 2 to 1" in again.subject
    assert "Body of r1" in again.text
    # The manager hears of one star only, so for the manager this is the first of it.
    (told,) = [mail for mail in life.mailbox.mails if mail.recipients == ("manager@example.com",)]
    assert told.message["In-Reply-To"] is None


async def test_an_edit_changes_the_message_and_notifies_nobody(life: Life) -> None:
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", content={"body": "Another body"})
    await life.round(hours=1)

    assert (life.alerts(), len(life.mails())) == (["new:r1"], 1)
    assert "Another body" in words_of(life.post().blocks)
    assert "Body of r1" in words_of(life.post().edits[0].blocks)
    assert len(life.post().edits) == 1
    await life.round(hours=1)
    assert len(life.post().edits) == 1


async def test_a_vote_changes_no_message(life: Life) -> None:
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", foundHelpful=3)
    await life.round(hours=1)

    assert life.post().edits == []


async def test_an_answer_closes_the_alert_where_it_stands(life: Life) -> None:
    life.put()
    await life.round()
    life.clock.advance(hours=3, minutes=12)
    life.wix.reply(SITE, "r1", "We are sorry, Robin.")
    await life.round(minutes=50)

    assert (life.alerts(), life.status()) == (["new:r1", "closed:r1:1"], Status.CLOSED)
    said = words_of(life.post().blocks)
    assert "Answered after 3\u00a0hours 12\u00a0minutes" in said
    assert "We are sorry, Robin." in said
    assert "Body of r1" in said
    assert [block["type"] for block in life.post().blocks if block["type"] == "actions"] == []
    first, closing = [
        mail for mail in life.mailbox.mails if mail.recipients == ("owner@example.com",)
    ]
    assert closing.subject == f"Re: {first.subject}"
    assert closing.message["In-Reply-To"] == closing.message["References"] == first.message_id
    assert "Answered after 3\u00a0hours 12\u00a0minutes" in closing.text
    assert life.mails("manager") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda life: life.wix.change(SITE, "r1", content={"rating": 5}),
            "Rated higher by the customer",
        ),
        (lambda life: life.wix.moderate(SITE, "r1", "REJECTED"), "Rejected by moderation"),
        (lambda life: life.wix.delete(SITE, "r1"), "Deleted"),
    ],
    ids=["raised", "rejected", "gone"],
)
async def test_what_needs_nobody_any_more_stops_asking(
    life: Life, change: Callable[[Life], object], said: str
) -> None:
    life.put()
    await life.round()
    change(life)
    await life.round(hours=1)

    assert (life.alerts(), life.status()) == (["new:r1", "closed:r1:1"], Status.CLOSED)
    assert said in words_of(life.post().blocks)
    assert len(life.mails()) == 2
    assert said in life.mailbox.mails[-1].text
    await life.round(hours=1)
    assert (len(life.alerts()), len(life.mails()), len(life.post().edits)) == (2, 2, 1)


async def test_a_lowered_threshold_closes_silently_and_changes_no_message(begin: Begin) -> None:
    life = await begin("[alerts]\nthreshold = 3")
    life.put(rating=3)
    await life.round()
    await life.use("[alerts]\nthreshold = 2")
    await life.round(hours=1)

    assert (life.alerts(), life.status(), len(life.mails())) == (["new:r1"], Status.CLOSED, 1)
    assert life.post().edits == []


async def test_what_was_closed_before_it_could_leave_is_never_sent(life: Life) -> None:
    await life.mailbox.pause()
    life.slack.channels["C0123456789"].archived = True
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    await life.mailbox.resume()
    life.slack.channels["C0123456789"].archived = False
    life.state.execute("DELETE FROM blocks")
    await life.round(minutes=5)

    assert life.status() is Status.CLOSED
    told = [mail for mail in life.mailbox.mails if "Title of r1" in mail.text]
    assert (told, [post for post in life.slack.posts if "Title of r1" in post.text]) == ([], [])


async def test_an_edit_for_the_worse_after_the_answer_asks_again(life: Life) -> None:
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    life.wix.change(SITE, "r1", content={"rating": 1})
    await life.round(hours=1)

    assert (life.alerts()[-1], life.status()) == ("lowered:r1:1", Status.OPEN)
    assert (len(life.slack.posts), life.slack.posts[1].reply_broadcast) == (2, True)


@pytest.mark.parametrize(
    ("settle", "undo", "said"),
    [
        (
            lambda life: life.wix.reply(SITE, "r1", "Sorry!"),
            lambda life: life.wix.unreply(SITE, "r1"),
            "its answer was removed",
        ),
        (
            lambda life: life.wix.moderate(SITE, "r1", "REJECTED"),
            lambda life: life.wix.moderate(SITE, "r1", "APPROVED"),
            "it was approved again",
        ),
    ],
    ids=["the answer is removed", "it is approved again"],
)
async def test_what_is_open_again_asks_again_where_it_stands_and_by_one_mail(
    life: Life, settle: Callable[[Life], object], undo: Callable[[Life], object], said: str
) -> None:
    life.put()
    await life.round()
    settle(life)
    await life.round(hours=1)
    undo(life)
    await life.round(hours=1)

    assert (life.alerts(), life.status()) == (
        ["new:r1", "closed:r1:1", "reminder:r1:0:1"],
        Status.OPEN,
    )
    assert [re.split("[:·]", subject)[0].strip() for subject in life.mails()] == [
        "★★☆☆☆ the site",
        "Re",
        "⏰ Open again",
    ]
    assert life.mails("manager") == []
    assert f"⏰ Open again: {said}\n" in life.mailbox.mails[-1].text
    assert "actions" in [block["type"] for block in life.post().blocks]
    assert len(life.post().edits) == 2


async def test_what_was_rejected_when_first_seen_and_is_approved_later_is_new(life: Life) -> None:
    life.put(moderation={"moderationStatus": "REJECTED"})
    await life.round()
    life.wix.moderate(SITE, "r1", "APPROVED")
    await life.round(hours=1)

    assert (life.alerts(), life.status(), len(life.slack.posts)) == (["new:r1"], Status.OPEN, 1)


async def test_of_the_baseline_only_a_falling_rating_is_alerted(life: Life) -> None:
    life.wix.change(SITE, "past", content={"body": "Another body"})
    await life.round(hours=1)
    life.wix.reply(SITE, "past", "Sorry!")
    await life.round(hours=1)
    assert (life.alerts(), life.status("past")) == ([], Status.BASELINE)
    life.wix.change(SITE, "past", content={"rating": 1})
    await life.round(hours=1)

    assert (life.alerts(), life.status("past")) == (["lowered:past:1"], Status.OPEN)
    assert life.post().thread_ts is None


async def test_a_review_that_we_may_not_see_is_not_gone(life: Life) -> None:
    life.put(moderation={"moderationStatus": "IN_MODERATION"})
    await life.round()
    life.wix.sites[SITE].private = False
    await life.round(hours=1)
    assert life.status() is Status.OPEN

    life.wix.sites[SITE].private = True
    life.wix.delete(SITE, "r1")
    await life.round(hours=25)
    assert life.status() is Status.CLOSED


async def test_a_review_that_was_gone_and_is_there_again_is_open_again(life: Life) -> None:
    life.put(content={"title": "", "body": ""}, author={})
    await life.round()
    kept = life.wix.delete(SITE, "r1")
    await life.round(hours=1)
    assert life.status() is Status.CLOSED
    life.wix.add(SITE, kept)
    await life.round(hours=1)

    assert (life.status(), len(life.slack.posts)) == (Status.OPEN, 1)


# What went out in a digest


async def test_a_review_of_a_digest_is_closed_in_its_thread_and_on_its_line(
    begin: Begin,
) -> None:
    life = await begin("[alerts]\nburst = 1")
    for name in ("r1", "r2", "r3"):
        life.put(name)
    await life.round()
    (digest,) = life.slack.posts
    life.wix.reply(SITE, "r2", "Sorry!")
    await life.round(hours=1)

    closing = life.slack.posts[1]
    assert (closing.thread_ts, closing.reply_broadcast) == (digest.ts, False)
    assert "Answered" in words_of(closing.blocks)
    assert "Title of r2" in words_of(closing.blocks)
    assert words_of(digest.blocks).count("Answered") == 1


async def test_many_closed_at_once_are_one_reply_beneath_their_digest(begin: Begin) -> None:
    life = await begin("[alerts]\nburst = 2")
    names = [f"r{number}" for number in range(1, 7)]
    for name in names:
        life.put(name)
    await life.round()
    for name in names:
        life.wix.reply(SITE, name, "Sorry!")
    await life.round(hours=1)

    digest, closings = life.slack.posts
    assert closings.thread_ts == digest.ts
    assert all(f"Title of {name}" in words_of(closings.blocks) for name in names)


# What is gone, and what only seems so

EMPTY = Fault(status=200, body='{"reviews": [], "metadata": {"count": 0, "cursors": {}}}')


async def test_a_query_that_wrongly_finds_nothing_closes_nothing(life: Life) -> None:
    for number in range(5):
        life.put(f"r{number}")
    await life.round()
    life.clock.advance(hours=2)
    life.wix.faults.add(
        QUERY, EMPTY, EMPTY, EMPTY
    )  # what is new, the rescan, and what the rescan did not find
    await life.round()
    await life.round(hours=2)

    assert life.alerts() == [f"new:r{number}" for number in range(5)]
    assert (life.status("r0"), [post.edits for post in life.slack.posts]) == (Status.OPEN, [[]] * 5)


async def test_a_look_for_a_missing_review_records_what_it_finds(life: Life) -> None:
    life.put("r1")
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 5, "title": "Good after all"})
    life.clock.advance(hours=2)
    life.wix.faults.add(QUERY, EMPTY, EMPTY, EMPTY)
    await life.round()
    assert life.status("r1") is Status.CLOSED


async def test_many_deletions_are_looked_at_a_few_in_each_round(life: Life) -> None:
    for number in range(70):
        life.put(f"r{number:02}")
    await life.poll()
    for number in range(70):
        life.wix.delete(SITE, f"r{number:02}")
    life.wix.requests.clear()
    await life.poll(hours=2)
    gone = "SELECT count(*) FROM reviews WHERE closing = 'gone'"
    assert (sum(each.method == "GET" for each in life.wix.requests), life.state.value(gone)) == (
        50,
        50,
    )
    await life.poll(hours=2 if life.restarts else 0)
    assert life.state.value(gone) == 70


async def test_a_review_is_not_gone_minutes_after_a_webhook_spoke_of_it(begin: Begin) -> None:
    life = await begin('[poll]\nrescan_every = "5m"')
    life.clock.advance(minutes=10)
    life.put("slow", visible_after=120)
    life.hear("slow", revision=1)
    await life.round(seconds=2)
    assert (life.alerts(), life.status("slow")) == (["new:slow"], Status.OPEN)
    await life.round(minutes=10)
    assert (life.alerts(), life.status("slow")) == (["new:slow"], Status.OPEN)

    life.wix.delete(SITE, "slow")
    await life.round(minutes=10)
    assert life.status("slow") is Status.CLOSED


async def test_a_review_that_is_missing_is_not_reminded_of(begin: Begin) -> None:
    life = await begin(REMINDERS + '[poll]\nrescan_every = "30d"')
    life.put()
    await life.round()
    life.wix.faults.add(QUERY, Fault(), EMPTY)
    await life.round(hours=25)
    assert life.alerts() == ["new:r1"]
    await life.round(minutes=1)
    assert life.alerts() == ["new:r1", "reminder:r1:86400:1"]


# Promise 9


async def test_nothing_that_a_deleted_review_said_stays_behind(life: Life) -> None:
    life.put(
        content={"title": "Unforgettable", "body": "Unrepeatable"},
        author={"authorName": "Zacharias"},
    )
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 1, "title": "Unspeakable"})
    await life.round(hours=1)
    assert b"Unforgettable" in kept_bytes(life.state.database)
    life.wix.delete(SITE, "r1")
    await life.round(hours=1)

    kept = kept_bytes(life.state.database)
    for word in (b"Unforgettable", b"Unrepeatable", b"Unspeakable", b"Zacharias"):
        assert word not in kept
    for post in life.slack.posts:
        assert "Unforgettable" not in post.text + words_of(post.blocks)
        assert "Zacharias" not in post.text + words_of(post.blocks)
    assert life.status() is Status.CLOSED


async def test_an_anonymized_review_loses_its_words_and_is_followed_on(life: Life) -> None:
    life.put(
        content={"title": "Unforgettable", "body": "Unrepeatable"},
        author={"authorName": "Zacharias"},
    )
    await life.round()
    life.wix.change(SITE, "r1", author={"authorName": None, "contactId": None})
    await life.round(hours=1)
    await life.round(hours=1)

    assert life.status() is Status.OPEN
    assert b"Unforgettable" not in kept_bytes(life.state.database)
    assert "Unrepeatable" not in life.post().text + words_of(life.post().blocks)
    await life.round(hours=1)
    assert b"Unrepeatable" not in kept_bytes(life.state.database)
    assert len(life.post().edits) == 1
    life.wix.reply(SITE, "r1", "Dear Zacharias")
    await life.round(hours=1)
    assert life.status() is Status.CLOSED
    assert b"Zacharias" not in kept_bytes(life.state.database)
    assert "Answered" in words_of(life.post().blocks)


async def test_one_answer_without_an_author_erases_nothing(life: Life) -> None:
    life.put(
        content={"title": "Unforgettable"}, author={"authorName": "Zacharias", "contactId": "c2"}
    )
    await life.round()
    for _ in range(3):
        life.wix.change(SITE, "r1", author={"authorName": None, "contactId": None})
        await life.round(hours=1)
        life.wix.change(SITE, "r1", author={"authorName": "Zacharias", "contactId": "c2"})
        await life.round(hours=1)

    assert "Unforgettable" in words_of(life.post().blocks)
    assert "Zacharias" in words_of(life.post().blocks)
    assert life.post().edits == []


async def test_two_answers_without_an_author_within_minutes_erase_nothing(begin: Begin) -> None:
    life = await begin("[poll]\nrescan_every = '1h'")
    life.put(content={"title": "Unforgettable"})
    await life.round()
    life.wix.change(SITE, "r1", author={"authorName": None, "contactId": None})
    for _ in range(3):
        await life.round(minutes=1)

    assert life.state.value("SELECT authorless_since FROM reviews WHERE review_id = 'r1'")
    assert "Unforgettable" in words_of(life.post().blocks)


# What it costs


@pytest.mark.parametrize(("low", "new_alerts"), [(3, 0), (250, 0), (250, 120)])
async def test_a_rescan_asks_once_for_a_hundred_reviews(
    life: Life, low: int, new_alerts: int
) -> None:
    for number in range(low):
        life.put(f"r{number}")
    life.clock.advance(minutes=10)
    life.put("newest")
    await life.poll()
    for number in range(new_alerts):
        life.wix.change(SITE, f"r{number}", content={"rating": 5})
    life.wix.requests.clear()
    await life.poll(hours=2)

    _, *rescan = life.wix.queries()
    remaining, by_id = low - new_alerts + 2, new_alerts
    asked = [request.body["query"].get("filter", {}) for request in rescan]
    assert len(asked) == -(-remaining // 100) + -(-by_id // 100)
    assert sum("id" in each for each in asked) == -(-by_id // 100)


async def test_rounds_between_rescans_are_one_request(life: Life) -> None:
    life.put()
    await life.round()
    life.wix.requests.clear()
    for _ in range(5):
        await life.round(minutes=10)
    assert len(life.wix.requests) == 5


async def test_a_rescan_that_fails_is_made_again_at_the_next_round(life: Life) -> None:
    life.clock.advance(hours=2)
    before = life.state.value("SELECT rescanned_at FROM sites")
    life.wix.faults.add(QUERY, Fault(), Fault(status=500))
    assert life.runtime
    assert not await life.runtime.poller.round(life.config.sites[0])
    assert life.state.value("SELECT rescanned_at FROM sites") == before
    await life.round()
    assert life.state.value("SELECT rescanned_at FROM sites") > before
