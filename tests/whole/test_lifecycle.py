"""A review's whole life: each row of the triage table from Wix to the people, with one daemon and over restarts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack, Post
from alerter.demo.wix import EmbeddedWix
from alerter.models import Event, Review, Status
from alerter.notify.idle import IdleReason
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State, messages
from tests.support.clock import SetClock
from tests.support.messages import words_of
from tests.support.values import SCOPES, SECRETS, SITE

QUERY = "/reviews/v1/reviews/query"
BOTH = """
[[receivers]]
name = "owner"
email = ["owner@example.com"]
closings = true

[[receivers]]
name = "manager"
email = ["manager@example.com"]
max_rating = 1

[[receivers]]
name = "support"
slack = "C0123456789"
"""
REMINDERS = """
[reminders]
after = ["24h", "72h"]
escalate_to = "manager"
"""


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel("C0123456789", "reviews")
        yield slack


@dataclass
class Life:
    """The daemon as time passes; with `restarts` every round is made by another one."""

    config: Config
    clock: SetClock
    wix: EmbeddedWix
    slack: EmbeddedSlack
    mailbox: Mailbox
    restarts: bool
    load: Callable[[str, str], Config]
    stack: AsyncExitStack
    runtime: Runtime | None = None
    state: State = field(init=False)

    async def round(self, **later: float) -> None:
        """Let time pass, make a round, and send whatever is due."""
        self.clock.advance(**later)
        await self._start()
        assert self.runtime
        assert await self.runtime.poller.round(self.config.sites[0])
        await self.tell()

    async def _start(self) -> None:
        if self.runtime and not self.restarts:
            return
        await self.stack.aclose()
        self.state = self.stack.enter_context(State.open(self.config.state_path, migrate=True))
        messages.recover(self.state)
        self.runtime = await self.stack.enter_async_context(
            open_runtime(self.config, self.state, self.clock)
        )

    async def use(self, extra: str, receivers: str = BOTH) -> None:
        """Go on with another config."""
        self.config = self.load(extra, receivers)
        await self.stack.aclose()
        self.runtime = None

    async def tell(self) -> None:
        """Have every worker work until nothing is due; time passes while it rests."""
        assert self.runtime
        for worker in self.runtime.dispatcher._workers.values():
            for _ in range(100):
                pause = await worker.step()
                if pause and pause.why in (IdleReason.NOTHING_DUE, IdleReason.PARKED):
                    break
                if pause and pause.seconds:
                    self.clock.advance(seconds=pause.seconds + 0.001)
            await worker._destination.notifier.close()

    def put(self, name: str = "r1", rating: int = 2, **more: Any) -> None:
        """A customer writes a review."""
        content = {
            "rating": rating,
            "title": f"Title of {name}",
            "body": f"Body of {name}",
        } | more.pop("content", {})
        visible_after = more.pop("visible_after", 0)
        told = {
            "id": name,
            "entityId": None,
            "content": content,
            "author": {"authorName": "Robin", "contactId": "c1"},
        }
        self.wix.add(SITE, told | more, visible_after=visible_after)

    def hear(self, name: str, **fields: Any) -> None:
        """Take in a webhook that says that a review of one star was created just now."""
        assert self.runtime
        now = self.clock.now()
        event = Event(name, Review(name, 1, created=now, author="Robin", **fields), now, 1)
        self.runtime.intake.record_event(self.config.sites[0], event)

    def alerts(self) -> list[str]:
        """The keys of the alerts of reviews, without the site's id."""
        rows = self.state.rows("SELECT key FROM alerts ORDER BY id")
        return [row["key"].replace(f":{SITE}", "") for row in rows]

    def status(self, name: str = "r1") -> Status:
        return Status(self.state.value("SELECT status FROM reviews WHERE review_id = ?", [name]))

    def mails(self, to: str = "owner") -> list[str]:
        """The subjects of the mails to somebody."""
        return [
            mail.subject for mail in self.mailbox.mails if mail.recipients == (f"{to}@example.com",)
        ]

    def post(self) -> Post:
        """The one message on Slack."""
        (post,) = self.slack.posts
        return post


Begin = Callable[..., Awaitable[Life]]


@pytest.fixture(params=[False, True], ids=["one daemon", "a restart before each round"])
async def begin(
    request: pytest.FixtureRequest,
    write_config: Callable[..., Path],
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> AsyncIterator[Begin]:
    """A site whose past (an angry and a happy review) is on record."""
    async with AsyncExitStack() as stack:

        def load(extra: str, receivers: str) -> Config:
            path = write_config(wix, slack, mailbox, receivers=receivers, extra=extra)
            return load_config(path, SECRETS, secrets=True)

        async def begin(extra: str = "", receivers: str = BOTH) -> Life:
            life = Life(
                load(extra, receivers), clock, wix, slack, mailbox, request.param, load, stack
            )
            life.put("past", 2)
            await life.round(hours=2)
            clock.advance(minutes=1)
            return life

        yield begin


@pytest.fixture
async def life(begin: Begin) -> Life:
    return await begin()


async def test_a_new_review_is_told_and_open(life: Life) -> None:
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


async def test_a_lowered_rating_says_what_changed_in_the_thread_and_in_the_channel(
    life: Life,
) -> None:
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 1, "body": "Worse than I thought"})
    await life.round(hours=1)

    assert (life.alerts(), life.status()) == (["new:r1", "lowered:r1:1"], Status.OPEN)
    first, lowered = life.slack.posts
    assert (lowered.thread_ts, lowered.reply_broadcast) == (first.ts, True)
    assert "lowered from 2 stars to 1" in words_of(lowered.blocks)
    assert "Worse than I thought" in words_of(lowered.blocks)
    new, again = [mail for mail in life.mailbox.mails if mail.recipients == ("owner@example.com",)]
    assert again.message["In-Reply-To"] == again.message["References"] == new.message_id
    assert "lowered from 2 to 1" in again.subject
    assert "Body of r1" in again.text
    # The manager hears of one star only, so for the manager this is the first of it.
    (told,) = [mail for mail in life.mailbox.mails if mail.recipients == ("manager@example.com",)]
    assert told.message["In-Reply-To"] is None


async def test_an_edit_changes_the_message_and_tells_nobody(life: Life) -> None:
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
    assert "Answered after 3 h 12 min" in said
    assert "We are sorry, Robin." in said
    assert "Body of r1" in said
    assert [block["type"] for block in life.post().blocks if block["type"] == "actions"] == []
    first, closing = [
        mail for mail in life.mailbox.mails if mail.recipients == ("owner@example.com",)
    ]
    assert closing.subject == f"Re: {first.subject}"
    assert closing.message["In-Reply-To"] == closing.message["References"] == first.message_id
    assert "Answered after 3 h 12 min" in closing.text
    assert life.mails("manager") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda life: life.wix.change(SITE, "r1", content={"rating": 5}), "Raised by the customer"),
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


async def test_what_was_closed_before_it_could_leave_is_never_told(life: Life) -> None:
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
    assert [subject.split(":")[0] for subject in life.mails()] == [
        "★★☆☆☆ the site",
        "Re",
        "Open again",
    ]
    assert life.mails("manager") == []
    assert f"This review is open again: {said}." in life.mailbox.mails[-1].text
    assert "actions" in [block["type"] for block in life.post().blocks]
    assert len(life.post().edits) == 2


async def test_what_was_rejected_when_first_seen_and_is_approved_later_is_new(life: Life) -> None:
    life.put(moderation={"moderationStatus": "REJECTED"})
    await life.round()
    life.wix.moderate(SITE, "r1", "APPROVED")
    await life.round(hours=1)

    assert (life.alerts(), life.status(), len(life.slack.posts)) == (["new:r1"], Status.OPEN, 1)


async def test_of_the_baseline_only_a_falling_rating_is_told(life: Life) -> None:
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


async def test_a_review_told_of_in_a_digest_is_closed_in_its_thread_and_on_its_line(
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


# Reminders


async def test_who_was_told_is_reminded_and_at_last_somebody_more(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    await life.round(hours=23)
    assert len(life.mails()) == 1
    await life.round(hours=2)
    assert (life.alerts(), len(life.mails()), life.mails("manager")) == (
        ["new:r1", "reminder:r1:86400:1"],
        2,
        [],
    )
    assert "Still unanswered after 1 d 1 h" in life.mails()[1]
    reminder = life.slack.posts[1]
    assert (reminder.thread_ts, reminder.reply_broadcast) == (life.slack.posts[0].ts, True)

    for _ in range(3):
        await life.round(hours=20)
    assert life.alerts()[2:] == ["reminder:r1:259200:2"]
    assert (len(life.mails()), len(life.mails("manager")), len(life.slack.posts)) == (3, 1, 3)
    await life.round(hours=24 * 10)
    assert len(life.alerts()) == 3


async def test_a_reminder_is_due_from_when_the_alert_was_sent(begin: Begin) -> None:
    by_mail = '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]'
    life = await begin('[reminders]\nafter = ["24h"]', receivers=by_mail)
    await life.mailbox.stop()
    life.put()
    await life.round()
    await life.mailbox.start()
    await life.round(hours=30)
    assert len(life.mails()) == 1
    await life.round(hours=23)
    assert not any(key.startswith("reminder") for key in life.alerts())
    await life.round(hours=2)
    assert life.alerts()[-1] == "reminder:r1:86400:1"


TWO = """
[[receivers]]
name = "owner"
email = ["owner@example.com"]

[[receivers]]
name = "support"
slack = "C0123456789"

[[receivers]]
name = "manager"
email = ["manager@example.com"]
max_rating = 1
"""


async def test_where_the_alert_came_late_reminders_are_late_too_and_the_last_is_escalated_once(
    begin: Begin,
) -> None:
    life = await begin(REMINDERS + '[poll]\ntrouble_after = "48h"\n', TWO)
    await life.mailbox.stop()
    life.put()
    await life.round()
    await life.mailbox.start()
    await life.round(hours=12)
    assert (len(life.mails()), len(life.slack.posts)) == (1, 1)

    for sent, hours in (((1, 2), 13), ((2, 2), 12), ((2, 3), 36), ((3, 3), 12), ((3, 3), 48)):
        await life.round(hours=hours)
        assert (len(life.mails()), len(life.slack.posts)) == sent
    assert len(life.mails("manager")) == 1


@pytest.mark.parametrize(
    ("before", "then"),
    [(["1h", "24h", "72h"], ["24h", "72h"]), (["24h", "72h"], ["72h"]), (["24h"], ["12h", "72h"])],
    ids=["the first left out", "one left out", "others"],
)
async def test_reminders_that_change_in_the_config_are_sent_by_their_spans(
    begin: Begin, before: list[str], then: list[str]
) -> None:
    life = await begin(f"[reminders]\nafter = {before}\nescalate_to = 'manager'", TWO)
    life.put()
    await life.round()
    await life.round(hours=25)
    sent = len(life.mails())
    await life.use(f"[reminders]\nafter = {then}\nescalate_to = 'manager'", TWO)
    for _ in range(20):
        await life.round(hours=12)
    assert (len(life.mails()) - sent, len(life.mails("manager"))) == (1, 1 + (before == ["24h"]))
    assert life.alerts()[-1].startswith("reminder:r1:259200:")


async def test_after_a_reopening_each_hears_what_it_has_not_heard_and_reminders_count_anew(
    begin: Begin,
) -> None:
    quiet = 'email = ["owner@example.com"]\nquiet = {from = "22:00", to = "07:00"}'
    life = await begin(REMINDERS, TWO.replace('email = ["owner@example.com"]', quiet))
    life.clock.advance(hours=9)  # 23:01 in Berlin
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    life.wix.unreply(SITE, "r1")
    await life.round(hours=2)
    assert (life.alerts(), life.status()) == (["new:r1", "closed:r1:1"], Status.OPEN)
    assert "actions" in [block["type"] for block in life.post().blocks]
    await life.round(hours=8)
    assert [subject.split(":")[0] for subject in life.mails()] == ["★★☆☆☆ the site"]

    await life.round(hours=15)
    assert (len(life.mails()), len(life.slack.posts)) == (1, 1)
    await life.round(hours=2)  # 25 hours after it was open again
    assert (len(life.mails()), len(life.slack.posts)) == (1, 2)
    await life.round(hours=8)
    assert (len(life.mails()), len(life.slack.posts)) == (2, 2)


async def test_the_email_and_the_slack_of_one_receiver_are_each_asked_again_in_their_way(
    begin: Begin,
) -> None:

    def of_reviews() -> list[str]:
        return [subject.split(":")[0] for subject in life.mails() if "the site" in subject]

    team = '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\nslack = "C0123456789"\n'
    life = await begin(REMINDERS.replace('escalate_to = "manager"', ""), team)
    life.slack.channels["C0123456789"].archived = True
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    assert (len(of_reviews()), life.slack.posts) == (1, [])

    life.slack.channels["C0123456789"].archived = False
    life.state.execute("DELETE FROM blocks")
    life.wix.unreply(SITE, "r1")
    await life.round(hours=1)
    assert of_reviews() == ["★★☆☆☆ the site", "Open again"]
    assert life.post().thread_ts is None  # the alert, which was never sent there
    await life.round(hours=25)
    assert (len(of_reviews()), len(life.slack.posts)) == (3, 2)


async def test_a_receiver_that_is_new_at_a_reopening_gets_the_alert_and_its_reminders(
    begin: Begin,
) -> None:
    support = TWO.replace(
        'email = ["owner@example.com"]', 'email = ["owner@example.com"]\nsites = ["Corner Bakery"]'
    )
    life = await begin(
        REMINDERS,
        TWO.replace(
            'email = ["owner@example.com"]', 'email = ["other@example.com"]\nmax_rating = 1'
        ),
    )
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    await life.use(REMINDERS, support)
    life.wix.unreply(SITE, "r1")
    await life.round(hours=1)
    assert len(life.mails()) == 1
    await life.round(hours=25)
    assert [subject.split(":")[0] for subject in life.mails()] == [
        "★★☆☆☆ the site",
        "Still unanswered after 1 d 3 h",
    ]


async def test_what_is_lowered_after_its_last_reminder_is_reminded_of_again(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    for _ in range(4):
        await life.round(hours=24)
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=2)
    life.wix.change(SITE, "r1", content={"rating": 1, "title": "Worse"})
    await life.round(hours=2)
    assert life.alerts()[-1] == "lowered:r1:1"
    for _ in range(4):
        await life.round(hours=24)
    assert life.alerts()[5:] == ["reminder:r1:86400:3", "reminder:r1:259200:4"]
    assert life.mails("manager")[-1].startswith("Still unanswered")


async def test_a_review_that_was_answered_in_the_last_minute_is_not_reminded_of(
    begin: Begin,
) -> None:
    life = await begin(REMINDERS + '[poll]\nrescan_every = "30d"')
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=25)

    assert life.alerts() == ["new:r1", "closed:r1:1"]


async def test_what_is_lowered_after_its_answer_is_followed_and_reminded_of_from_then_on(
    begin: Begin,
) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    await life.round(hours=24 * 20)
    life.wix.change(SITE, "r1", content={"rating": 1})
    await life.round(hours=1)
    assert life.alerts() == ["new:r1", "closed:r1:1", "lowered:r1:1"]

    await life.round(hours=25)
    assert life.alerts()[3:] == ["reminder:r1:86400:1"]
    await life.round(hours=48)
    assert life.alerts()[4:] == ["reminder:r1:259200:2"]
    life.wix.reply(SITE, "r1", "Sorry again!")
    await life.round(hours=24 * 10)
    assert life.alerts()[5:] == ["closed:r1:2"]


async def test_a_reminder_at_the_very_end_of_the_window_is_sent(begin: Begin) -> None:
    life = await begin('[reminders]\nafter = ["30d"]')
    life.put()
    await life.round()
    await life.round(hours=24 * 30, minutes=1)

    assert life.alerts() == ["new:r1", "reminder:r1:2592000:1"]


async def test_what_was_missed_while_nobody_ran_is_reminded_of_once(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    await life.round(hours=24 * 8)
    await life.round(minutes=1)

    assert life.alerts() == ["new:r1", "reminder:r1:259200:1"]


async def test_after_the_window_a_review_rests(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    life.clock.advance(hours=24 * 31)
    life.put("low")
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=2)

    assert (life.alerts(), life.status()) == (["new:r1", "new:low"], Status.OPEN)


async def test_an_hour_that_clocks_skip_or_repeat_moves_no_reminder(begin: Begin) -> None:
    life = await begin(REMINDERS)
    for day in (datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2027, 10, 30, 12, tzinfo=UTC)):
        life.clock.advance(seconds=(day - life.clock.now()).total_seconds())
        await life.round()
        before = len(life.alerts())
        life.put(f"{day:%B}")
        await life.round()
        await life.round(hours=23, minutes=55)
        assert len(life.alerts()) == before + 1
        await life.round(minutes=6)
        assert life.alerts()[before + 1 :] == [f"reminder:{day:%B}:86400:1"]
        life.wix.reply(SITE, f"{day:%B}", "Sorry!")
        await life.round(hours=1)


async def test_a_wider_window_records_what_it_adds_silently_and_watches_it_then(
    begin: Begin,
) -> None:
    life = await begin('[poll]\nrescan_window = "7d"')
    life.put("fell", 4)
    life.put("falls", 4)
    life.put("answered", 1)
    await life.round()
    life.wix.reply(SITE, "answered", "Sorry!")
    await life.round(hours=2)
    life.put("later", 1)
    await life.round(hours=24 * 10)
    life.wix.change(SITE, "fell", content={"rating": 1})
    life.wix.unreply(SITE, "answered")
    life.wix.change(SITE, "answered", content={"rating": 1, "title": "Unanswered"})
    await life.use('[poll]\nrescan_window = "30d"')
    await life.round(hours=2)
    assert life.alerts() == ["new:answered", "closed:answered:1", "new:later"]
    assert life.status("fell") is Status.BASELINE

    life.wix.change(SITE, "falls", content={"rating": 1})
    await life.round(hours=2)
    assert life.alerts()[3:] == ["new:falls"]


async def test_a_raised_threshold_opens_nothing_that_it_had_closed(begin: Begin) -> None:
    life = await begin("[alerts]\nthreshold = 2")
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 5})
    await life.round(hours=2)
    life.wix.change(SITE, "r1", content={"rating": 3})
    await life.use("[alerts]\nthreshold = 3")
    await life.round(hours=2)
    assert (life.alerts(), life.status()) == (["new:r1", "closed:r1:1"], Status.CLOSED)


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


async def test_many_deletions_are_looked_at_a_few_in_each_round(life: Life) -> None:
    for number in range(70):
        life.put(f"r{number:02}")
    await life.round()
    for number in range(70):
        life.wix.delete(SITE, f"r{number:02}")
    life.wix.requests.clear()
    await life.round(hours=2)
    gone = "SELECT count(*) FROM reviews WHERE closing = 'gone'"
    assert (sum(each.method == "GET" for each in life.wix.requests), life.state.value(gone)) == (
        50,
        50,
    )
    await life.round(hours=2 if life.restarts else 0)
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


def bytes_on_disk(state: State) -> bytes:
    names = (state.path, state.path.with_name(f"{state.path.name}-wal"))
    return b"".join(path.read_bytes() for path in names if path.exists())


async def test_nothing_that_a_deleted_review_said_stays_behind(life: Life) -> None:
    life.put(
        content={"title": "Unforgettable", "body": "Unrepeatable"},
        author={"authorName": "Zacharias"},
    )
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 1, "title": "Unspeakable"})
    await life.round(hours=1)
    assert b"Unforgettable" in bytes_on_disk(life.state)
    life.wix.delete(SITE, "r1")
    await life.round(hours=1)

    kept = bytes_on_disk(life.state)
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
    assert b"Unforgettable" not in bytes_on_disk(life.state)
    assert "Unrepeatable" not in life.post().text + words_of(life.post().blocks)
    await life.round(hours=1)
    assert b"Unrepeatable" not in bytes_on_disk(life.state)
    assert len(life.post().edits) == 1
    life.wix.reply(SITE, "r1", "Dear Zacharias")
    await life.round(hours=1)
    assert life.status() is Status.CLOSED
    assert b"Zacharias" not in bytes_on_disk(life.state)
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
    await life.round()
    for number in range(new_alerts):
        life.wix.change(SITE, f"r{number}", content={"rating": 5})
    life.wix.requests.clear()
    await life.round(hours=2)

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
