"""The page of a review: what it shows, and what comes of its forms."""

import asyncio
from datetime import timedelta

import pytest

from alerter.actions import ActionKind, Person, Through
from alerter.demo.faults import Fault
from alerter.models import Status
from alerter.orders import Order, OrderSource
from alerter.store import actions, orders, reminders
from tests.support.pages import Pages, config, pages
from tests.support.rendered import HOSTILE, Page, directed
from tests.support.responding import desk, wix
from tests.support.values import SECRETS, SITE

__all__ = ["config", "desk", "pages", "wix"]

SEND, REPLACE = "Send the reply", "Replace the present reply"
ALL_THE_SAME = "Send it all the same, and replace the present reply"
TO_WHAT_IT_SAYS_NOW = "Send it as the reply to what it says now"


async def test_a_review_is_answered_from_its_page(pages: Pages) -> None:
    shown = await pages.press(pages.link(), SEND, text="We are sorry.")

    assert shown.status == 200
    assert "Your reply is at Wix." in shown.text
    assert "owner replied." in shown.text
    assert pages.desk.reply() == "We are sorry."
    assert pages.desk.status() is Status.CLOSED
    [action] = actions.get_actions(pages.desk.state, SITE, "r1")
    assert (action.new.person, action.new.through) == (Person("owner"), Through.PAGE)


async def test_a_page_shows_the_review_and_who_it_is_for(pages: Pages) -> None:
    shown = await pages.get(pages.link())

    assert "1 of 5 stars" in shown.source
    for text in ("Stale", "As stone.", "Corner Bakery", "The customer wrote it.", "“owner”"):
        assert text in shown.text


async def test_a_page_shows_the_order_behind_the_review(pages: Pages) -> None:
    now = pages.desk.clock.now()
    order = Order("10012", OrderSource.REQUEST, now, item="Rye <b>", quantity=2)
    with pages.desk.state.transaction():
        assert orders.put_orders(pages.desk.state, SITE, {"r1": order}) == {"r1"}
    shown = await pages.get(pages.link())
    assert "Order 10012 · 2 × Rye &lt;b&gt;" in shown.source


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_at_a_page_changes_nothing(pages: Pages, method: str) -> None:
    link = pages.link()
    token = (await pages.get(link)).press(SEND)["form"]
    before = pages.desk.wix.requests.copy()
    for query in ("", f"?form={token}&do=reply&text=Hello", "?action=reply", f"?action={token}"):
        shown = await pages.get(link + query, method)
        assert shown.status == 200
        assert bool(shown.source) is (method == "GET")

    assert pages.desk.wix.requests == before
    assert actions.get_actions(pages.desk.state, SITE, "r1") == []


async def test_a_claim_holds_for_everybody_until_it_is_released(pages: Pages) -> None:
    shown = await pages.press(pages.link(), "I’m on it")
    assert "You are on it." in shown.text
    assert "owner is on it Stale" in shown.text
    assert "Nobody gets a reminder before Thu 26 Nov, 13:01." in shown.text

    shown = await pages.press(pages.link(), "I’m not on it any more")
    assert "owner is on it Stale" not in shown.text

    await pages.press(pages.link(), "I’m on it")
    shown = await pages.press(pages.link(name="Ada"), "I’m on it")
    assert "Ada is on it Stale" in shown.text
    assert "You are on it now, instead of owner." in shown.text
    shown = await pages.press(pages.link(), "Ada is not on it any more")
    assert "is on it Stale" not in shown.text
    assert "Ada is not on it any more" in shown.text
    assert "You are not on it any more" not in shown.text


async def test_a_claim_lasts_as_long_as_the_config_says(pages: Pages) -> None:
    await pages.press(pages.link(), "I’m on it")
    [claim] = actions.get_actions(pages.desk.state, SITE, "r1")
    assert claim.new.until == pages.desk.clock.now() + timedelta(hours=48)


async def test_a_snooze_lasts_until_the_moment_that_was_pressed(pages: Pages) -> None:
    shown = await pages.get(pages.link())
    assert [each for form in shown.forms for each in form.buttons if " Nov, " in each] == [
        "This evening · Tue 24 Nov, 18:00",
        "Tomorrow · Wed 25 Nov, 09:00",
        "Mon 30 Nov, 09:00",
    ]
    shown = await pages.press(pages.link(), "Tomorrow · Wed 25 Nov, 09:00")
    assert "Snoozed until Wed 25 Nov, 09:00 by owner" in shown.text


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00+00:00", "yesterday", "", "9999d"])
async def test_a_snooze_into_the_past_is_refused(pages: Pages, until: str) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press("Tomorrow · Wed 25 Nov, 09:00", until=until)
    shown = await pages.post(link, fields)

    assert shown.status == 422
    assert "that moment is past" in shown.text
    assert actions.get_actions(pages.desk.state, SITE, "r1") == []


@pytest.mark.parametrize(("button", "status"), [("Publish", "APPROVED"), ("Reject", "REJECTED")])
async def test_a_pending_review_is_moderated(pages: Pages, button: str, status: str) -> None:
    assert button not in (await pages.get(pages.link())).text
    await change(pages, moderation={"moderationStatus": "IN_MODERATION"})
    shown = await pages.press(pages.link(), button)

    assert f"The review is {'published' if button == 'Publish' else 'rejected'}." in shown.text
    row = pages.desk.wix.sites[SITE].reviews.get("r1")
    assert row
    assert row.review["moderation"]["moderationStatus"] == status


# --- what is refused


async def change(pages: Pages, **changes: object) -> None:
    """Change the review at Wix, and read it."""
    pages.desk.wix.change(SITE, "r1", **changes)
    await read(pages)


async def read(pages: Pages) -> None:
    site = pages.desk.config.sites[0]
    await pages.desk.responder()._record(site, await pages.desk.client.review(site, "r1"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * 10_001, "The reply has 10,001 characters, and Wix takes 10,000."),
        (" \r\n ", "The reply is empty."),
        ("a\x07b", "The reply has characters that cannot be seen."),
    ],
    ids=["too long", "empty", "control characters"],
)
async def test_a_reply_that_wix_does_not_take_is_shown_again(
    pages: Pages, text: str, told: str
) -> None:
    link = pages.link()
    shown = await pages.post(link, (await pages.get(link)).press(SEND, text=text))

    assert shown.status == 422
    assert told in shown.text
    assert shown.kept == text.replace("\r", "")
    assert 'aria-invalid="true"' in shown.source
    assert pages.desk.calls() == 0


async def test_a_reply_of_another_person_is_shown_before_it_is_replaced(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press(SEND, text="We are sorry.")
    pages.desk.wix.reply(SITE, "r1", "From the dashboard")
    shown = await pages.post(link, fields)

    assert shown.status == 409
    assert "Nothing was sent: the review has another reply now." in shown.text
    assert "From the dashboard" in shown.text
    assert shown.kept == "We are sorry."
    assert pages.desk.reply() == "From the dashboard"

    shown = await pages.follow(link, await pages.post(link, shown.press(ALL_THE_SAME)))
    assert "Your reply is at Wix." in shown.text
    assert pages.desk.reply() == "We are sorry."


async def test_a_reply_that_changed_again_is_refused_again(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press(SEND, text="We are sorry.")
    pages.desk.wix.reply(SITE, "r1", "From the dashboard")
    shown = await pages.post(link, fields)
    pages.desk.wix.reply(SITE, "r1", "A better one")
    shown = await pages.post(link, shown.press(ALL_THE_SAME))

    assert shown.status == 409
    assert "A better one" in shown.text
    assert pages.desk.reply() == "A better one"


async def test_words_that_changed_are_shown_before_they_are_answered(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press(SEND, text="We are sorry.")
    changed = {"rating": 1, "title": "Stale", "body": "It was the baker next door."}
    pages.desk.wix.change(SITE, "r1", content=changed)
    shown = await pages.post(link, fields)

    assert shown.status == 409
    assert "the customer has changed the review" in shown.text
    assert "It was the baker next door." in shown.text
    assert shown.kept == "We are sorry."
    assert pages.desk.calls() == 0

    shown = await pages.follow(link, await pages.post(link, shown.press(TO_WHAT_IT_SAYS_NOW)))
    assert pages.desk.reply() == "We are sorry."


async def test_a_reply_that_was_read_may_be_replaced(pages: Pages) -> None:
    pages.desk.wix.reply(SITE, "r1", "From the dashboard")
    await read(pages)
    shown = await pages.press(pages.link(), REPLACE, text="We are sorry.")

    assert "Your reply is at Wix." in shown.text
    assert pages.desk.reply() == "We are sorry."


async def test_a_review_that_is_not_for_its_reader_any_more_keeps_their_text(
    pages: Pages,
) -> None:
    link = pages.link(name="worst")
    fields = (await pages.get(link)).press(SEND, text="We are sorry.")
    pages.desk.wix.change(SITE, "r1", content={"rating": 2, "title": "Stale"})
    shown = await pages.post(link, fields)

    assert shown.status == 409
    assert "the customer has changed the review" in shown.text
    assert ">\nWe are sorry.</textarea>" in shown.source
    assert (await pages.get(link)).status == 404


async def test_an_action_on_a_review_that_is_gone_is_refused(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press(SEND, text="We are sorry.")
    pages.desk.wix.delete(SITE, "r1")
    shown = await pages.post(link, fields)

    assert shown.status == 410
    assert "not at Wix any more" in shown.text
    assert shown.kept == "We are sorry."


async def test_a_claim_of_a_review_that_was_answered_is_refused(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press("I’m on it")
    pages.desk.wix.reply(SITE, "r1", "From the dashboard")
    await read(pages)
    shown = await pages.post(link, fields)

    assert shown.status == 409
    assert "needs no answer any more" in shown.text


async def test_a_key_without_the_permission_leads_to_the_dashboard(pages: Pages) -> None:
    pages.desk.wix.forbid(SECRETS["WIX_API_KEY"], "SET_REPLY")
    link = pages.link()
    shown = await pages.post(link, (await pages.get(link)).press(SEND, text="We are sorry."))

    assert shown.status == 403
    assert "Wix does not allow alerter to do this." in shown.text
    assert f"https://manage.wix.com/dashboard/{SITE}/" in shown.source
    assert shown.kept == "We are sorry."


async def test_a_refusal_of_wix_is_quoted(pages: Pages) -> None:
    pages.desk.wix.faults.add("/reply", Fault(status=400, body='{"message": "no <b>way</b>"}'))
    link = pages.link()
    shown = await pages.post(link, (await pages.get(link)).press(SEND, text="We are sorry."))

    assert shown.status == 422
    assert "&lt;b&gt;way" in shown.source
    assert shown.kept == "We are sorry."


# --- what takes long


async def test_a_slow_reply_is_shown_as_under_way_and_then_as_done(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press(SEND, text="We are sorry.")
    pages.desk.wix.faults.add("/reply", Fault(delay=0.2))
    sent = asyncio.create_task(pages.post(link, fields))
    while not pages.desk.calls():
        await asyncio.sleep(0.01)
    pages.desk.clock.advance(seconds=4)
    answer = await sent
    shown = await pages.follow(link, answer)

    assert answer.status == 303
    assert "Your reply is being sent to Wix." in shown.text
    assert shown.headers["Refresh"] == "3"
    assert SEND not in shown.text

    await asyncio.gather(*pages.pending.under_way)
    shown = await pages.follow(link, answer)
    assert "Your reply is at Wix." in shown.text
    assert "Refresh" not in shown.headers


async def test_a_reply_that_fails_later_is_shown_with_its_text(pages: Pages) -> None:
    link = pages.link()
    pages.desk.wix.faults.add("/reply", Fault(drop="before"), Fault(drop="before"))
    answer = await pages.post(link, (await pages.get(link)).press(SEND, text="We are sorry."))
    await asyncio.gather(*pages.pending.under_way)
    shown = await pages.follow(link, answer)

    assert "Please look in the dashboard before you try again." in shown.text
    assert shown.kept == "We are sorry."


async def test_the_result_of_a_form_is_for_the_one_who_sent_it(pages: Pages) -> None:
    link = pages.link()
    answer = await pages.post(link, (await pages.get(link)).press("I’m on it"))
    other = await pages.follow(pages.link(name="Ada"), answer)

    assert "You are on it." in (await pages.follow(link, answer)).text
    assert "You are on it." not in other.text


# --- canned replies


async def test_a_canned_reply_is_there_to_be_changed_before_it_is_sent(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press("Sorry", text="My own words.")
    shown = await pages.post(link, fields)

    assert shown.status == 200
    assert shown.kept.endswith("we are sorry.\n\nMy own words.")
    assert pages.desk.calls() == 0
    shown = await pages.follow(link, await pages.post(link, shown.press(SEND, text="Changed")))
    assert pages.desk.reply() == "Changed"


async def test_a_canned_reply_that_there_is_not_keeps_the_text(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press("Sorry", text="My own words.", canned="Other")
    shown = await pages.post(link, fields)

    assert shown.status == 422
    assert shown.kept == "My own words."


# --- what is said by others


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_what_others_wrote_is_text_on_the_page(pages: Pages, text: str) -> None:
    await change(pages, content={"rating": 1, "title": "Hm", "body": "Hm"})  # without a topic
    usual = Page((await pages.get(pages.link())).source)
    content = {"rating": 1, "title": text, "body": text}
    await change(pages, content=content, author={"authorName": text[:50]})
    page = Page((await pages.get(pages.link())).source)

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in usual.tags]
    assert " ".join(directed(text).split()) in " ".join(page.text.split())


async def test_a_person_gets_back_exactly_what_they_wrote(pages: Pages) -> None:
    text = '</textarea><script>alert(1)</script>\n\n  "&amp;" \U0001f622 ' + "x" * 10_000
    link = pages.link()
    shown = await pages.post(link, (await pages.get(link)).press(SEND, text=text))

    assert "<script" not in shown.source
    assert shown.kept == text


async def test_the_history_shows_what_people_did_and_what_became_of_it(pages: Pages) -> None:
    await pages.press(pages.link(), "I’m on it")
    await pages.press(pages.link(name="Ada"), "Tomorrow · Wed 25 Nov, 09:00")
    pages.desk.wix.forbid(SECRETS["WIX_API_KEY"], "SET_REPLY")
    fields = (await pages.get(pages.link())).press(SEND, text="Sorry")
    await pages.post(pages.link(), fields)
    text = (await pages.get(pages.link())).text
    history = text[text.index("What happened so far") :]

    told = [
        "The customer wrote it.",
        "owner is on it.",
        "Ada snoozed it until Wed 25 Nov, 09:00.",
        "owner: Nothing was changed: Wix does not allow alerter to do this.",
    ]
    assert sorted(told, key=history.index) == told


async def test_the_history_names_nobody_for_what_wix_had_already(pages: Pages) -> None:
    fields = (await pages.get(pages.link())).press(SEND, text="From the dashboard")
    pages.desk.wix.reply(SITE, "r1", "From the dashboard")
    await pages.post(pages.link(), fields)
    text = (await pages.get(pages.link())).text
    history = text[text.index("What happened so far") :]

    assert "It was answered at Wix." in history
    assert "owner: Nothing was sent: the review has this reply already." in history
    assert "owner replied" not in history


async def test_words_of_a_restored_backup_wait_until_wix_was_asked(pages: Pages) -> None:
    pages.desk.state.execute("UPDATE sites SET unverified = TRUE")
    for link in (pages.link(), pages.list_link()):
        shown = await pages.get(link)
        assert "As stone." not in shown.source
        assert "Its text comes from a backup." in shown.text
        assert SEND not in shown.text
        assert "I’m on it" in shown.text


async def test_the_page_says_when_the_next_reminder_comes(pages: Pages) -> None:
    async def told() -> str:
        text = (await pages.get(pages.link())).text
        return text.partition("The next reminder comes on ")[2].partition(", unless")[0]

    with pages.desk.state.transaction(f"site:{SITE}"):
        since, none = pages.desk.clock.now(), timedelta()
        destinations = ["email:owner", "email:Ada"]
        reminders.start_reminders(pages.desk.state, SITE, "r1", destinations, since, reminded=none)
    assert await told() == "Wed 25 Nov, 13:01"
    await pages.press(pages.link(), "I’m on it")
    assert await told() == "Thu 26 Nov, 13:01"
    await pages.press(pages.link(), "Mon 30 Nov, 09:00")
    assert await told() == "Mon 30 Nov, 09:00"
    pages.desk.wix.reply(SITE, "r1", "From the dashboard")
    await read(pages)
    assert await told() == ""


async def test_a_page_names_all_kinds_of_actions_that_it_can_show(pages: Pages) -> None:
    for kind in ActionKind:
        new = pages.desk.new(kind, key=f"page:{kind}", until=pages.desk.clock.now())
        pages.desk.responder().request(new)
    shown = await pages.get(pages.link())
    assert shown.status == 200
