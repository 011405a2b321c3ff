"""What webhooks say of a review, twice, late and in any order."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alerter.config import Config
from alerter.counters import counts
from alerter.models import Event, Review
from alerter.store import State, known_sites
from alerter.store.judgements import Source
from alerter.store.reviews import get_unrecorded, put_unrecorded
from alerter.wix.review import parse_review
from tests.support.clock import SetClock
from tests.support.values import SITE
from tests.support.webhooks import INSTANCE, STALE, Door

# What it says


async def test_older_payloads_carry_the_review_as_text(door: Door) -> None:
    def older(part: str, name: str, value: object) -> dict[str, Any]:
        empty = {"createdEvent": None, "updatedEvent": None, "actionEvent": None}
        return empty | {part: {name: json.dumps(value)}}

    assert await door.send("created", STALE, **older("createdEvent", "entityAsJson", STALE)) == 200
    new_alerts = STALE | {"content": {"rating": 5}, "revision": "2"}
    assert (
        await door.send(
            "updated", new_alerts, **older("updatedEvent", "currentEntityAsJson", new_alerts)
        )
        == 200
    )
    body = {"review": STALE | {"id": "r2"}, "previousModerationStatus": "SUBMITTED"}
    changed = older("actionEvent", "bodyAsJson", body)
    assert await door.send("moderation_status_changed", STALE | {"id": "r2"}, **changed) == 200
    assert door.alerts()[:2] == [f"new:{SITE}:r1", f"closed:{SITE}:r1:1"]
    assert door.alerts()[2:] == [f"new:{SITE}:r2"]


@pytest.mark.parametrize(
    "slug", ["created", "updated", "moderation_status_changed", "review_published"]
)
async def test_each_kind_of_event_brings_its_review(door: Door, slug: str) -> None:
    assert await door.send(slug, STALE) == 200
    assert door.alerts() == [f"new:{SITE}:r1"]


@pytest.mark.parametrize("deleted", [{}, {"deletedEntity": STALE}, {"deletedEntity": None}, None])
async def test_a_deleted_review_is_closed_and_its_words_are_forgotten(
    door: Door, deleted: object
) -> None:
    await door.send("created", STALE)
    assert await door.send("deleted", STALE, deletedEvent=deleted) == 200
    assert door.status() == "closed gone"
    assert "Stale" not in str(door.state.rows("SELECT content FROM reviews"))


@pytest.mark.parametrize("late", [False, True], ids=["in order", "behind a newer one"])
async def test_a_review_of_a_forgotten_author_loses_its_words(door: Door, *, late: bool) -> None:
    someone = {"revision": "2", "author": {"authorName": "Someone", "contactId": "c2"}}
    forget = door.signer.event("updated", STALE | someone)
    vote = door.signer.event("updated", STALE | someone | {"foundHelpful": 1})
    assert (
        await door.send(
            "created", STALE | {"author": {"authorName": "Zacharias", "contactId": "c1"}}
        )
        == 200
    )
    for event in (vote, forget) if late else (forget, vote):
        gone = {"triggeredByAnonymizeRequest": event is forget}
        data = door.signer.envelope("wix.reviews.v1.review_updated", event | gone, INSTANCE, None)
        assert await door.post(door.signer.sign(data)) == 200

    [row] = door.state.rows("SELECT content, anonymized, contact_id FROM reviews")
    assert (row["anonymized"], row["contact_id"]) == (1, None)
    assert not any(word in row["content"] for word in ("Stale", "Zacharias", "Someone"))
    assert (door.status(), door.alerts()) == ("open", [f"new:{SITE}:r1"])


async def test_a_webhook_never_moves_the_checkpoint(door: Door) -> None:
    before = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    known_sites.advance_checkpoint(door.state, SITE, before)
    await door.send("created", STALE | {"createdDate": "2026-11-25T12:00:00.000Z"})
    assert door.alerts() == [f"new:{SITE}:r1"]
    assert known_sites.get_site_state(door.state, SITE).checkpoint == before


async def test_before_the_first_read_of_a_site_a_webhook_is_left_to_that(
    door: Door, config: Config
) -> None:
    door.state.execute("DELETE FROM sites")
    assert await door.send("created", STALE) == 200
    assert (door.status(), door.alerts()) == (None, [])
    assert known_sites.get_site_state(door.state, SITE).covered_rating == 0
    await door.intake.record_page(config.sites[0], [parse_review(STALE)])
    assert (door.status(), door.alerts()) == ("baseline", [])


async def test_a_review_made_during_the_first_read_is_alerted(door: Door, config: Config) -> None:
    door.state.execute("DELETE FROM sites")
    await door.intake.record_page(
        config.sites[0], [], checkpoint=datetime(2026, 11, 24, tzinfo=UTC)
    )
    assert await door.send("created", STALE) == 200
    known_sites.record_coverage(door.state, SITE, 2)
    await door.intake.record_page(config.sites[0], [parse_review(STALE)])
    assert door.alerts() == [f"new:{SITE}:r1"]


async def test_what_the_coverage_does_not_hold_yet_stays_quiet(door: Door, config: Config) -> None:
    object.__setattr__(config.sites[0], "threshold", 3)
    assert await door.send("created", STALE | {"content": {"rating": 3}}) == 200
    assert (door.status(), door.alerts()) == (None, [])


# Duplicates and disorder


async def test_a_webhook_twice_changes_nothing(door: Door) -> None:
    event = door.signer.event("created", STALE)
    data = door.signer.envelope("wix.reviews.v1.review_created", event, INSTANCE, None)
    for _ in range(3):
        assert await door.post(door.signer.sign(data)) == 200
    assert door.alerts() == [f"new:{SITE}:r1"]
    assert (counts["reviews_new"], counts["reviews_stale"]) == (1, 2)


def history(
    door: Door, *steps: tuple[str, dict[str, Any]], at: str = "2026-11-25T12:00:00.000Z"
) -> list[str]:
    """What happened to a review, one webhook each, in order and within one moment."""
    moment = {"eventTime": at}
    events = [(slug, door.signer.event(slug, review) | moment) for slug, review in steps]
    return [
        door.signer.sign(
            door.signer.envelope(f"wix.reviews.v1.review_{slug}", event, INSTANCE, None)
        )
        for slug, event in events
    ]


REPLY = {"reply": {"message": "Sorry!"}}
REJECTED = {"moderation": {"moderationStatus": "REJECTED"}}


@pytest.mark.parametrize(
    "revisions", [("1", "2"), ("1", "1"), (None, None)], ids=["counted", "quiet", "none"]
)
@pytest.mark.parametrize("then", [REPLY, REJECTED], ids=["answered", "rejected"])
async def test_the_last_word_counts_whatever_comes_last(
    door: Door, then: dict[str, Any], revisions: tuple[str | None, str | None]
) -> None:
    first, second = history(
        door,
        ("created", STALE | {"revision": revisions[0]}),
        ("updated", STALE | then | {"revision": revisions[1]}),
    )
    for token in (second, first, second, first):
        assert await door.post(token) == 200
    assert door.status() in ("closed answered", "closed rejected")
    assert not door.alerts()


@pytest.mark.parametrize(
    "revisions", [("1", "2"), ("1", "1"), (None, None)], ids=["counted", "quiet", "none"]
)
async def test_a_review_raised_before_its_first_webhook_alerts_nobody(
    door: Door, config: Config, revisions: tuple[str | None, str | None]
) -> None:
    created, new_alerts, lowered = history(
        door,
        ("created", STALE | {"revision": revisions[0]}),
        ("updated", STALE | {"content": {"rating": 5}, "revision": revisions[1]}),
        ("updated", STALE | {"revision": "3"}),
        at=door.clock.now().isoformat(),
    )
    for token in (new_alerts, created, new_alerts):
        assert await door.post(token) == 200
    page = [parse_review(STALE | {"revision": revisions[0]})]  # Wix's query lags behind
    await door.intake.record_page(config.sites[0], page)
    assert (door.status(), door.alerts()) == (None, [])
    assert await door.post(lowered) == 200
    assert door.alerts() == [f"new:{SITE}:r1"]


async def test_what_webhooks_said_of_happy_reviews_is_forgotten_after_days(
    state: State, clock: SetClock
) -> None:
    event = Event("r1", Review("r1", 5), clock.now(), 1)
    put_unrecorded(state, SITE, event, clock.now())
    clock.advance(days=2)
    put_unrecorded(state, SITE, replace(event, review_id="r2"), clock.now())
    assert set(get_unrecorded(state, SITE, ["r1", "r2"])) == {"r1", "r2"}
    clock.advance(days=2)
    put_unrecorded(state, SITE, replace(event, review_id="r3"), clock.now())
    assert set(get_unrecorded(state, SITE, ["r1", "r2", "r3"])) == {"r2", "r3"}


async def test_what_is_deleted_stays_deleted_whatever_comes_in_later(door: Door) -> None:
    created, updated, deleted = history(
        door, ("created", STALE), ("updated", STALE | {"revision": "9"}), ("deleted", STALE)
    )
    for token in (deleted, created, updated):
        assert await door.post(token) == 200
    assert (door.status(), door.alerts()) == ("closed gone", [])
    assert "Stale" not in str(door.state.rows("SELECT content FROM reviews"))


async def test_a_read_that_does_not_know_of_a_deletion_yet_brings_nothing_back(
    door: Door, config: Config
) -> None:
    await door.send("created", STALE)
    await door.send("deleted", STALE)
    await door.intake.record_page(config.sites[0], [parse_review(STALE)])
    assert door.status() == "closed gone"
    assert "Stale" not in str(door.state.rows("SELECT content FROM reviews"))


async def test_a_read_that_does_not_know_of_an_answer_yet_opens_nothing_again(
    door: Door, config: Config
) -> None:
    await door.send("created", STALE)
    await door.send("updated", STALE | REPLY)
    await door.intake.record_page(config.sites[0], [parse_review(STALE)])
    assert (door.status(), len(door.alerts())) == ("closed answered", 2)
    await door.send("updated", STALE)
    assert door.status() == "open"


@pytest.mark.parametrize("quiet", [True, False], ids=["without a new revision", "with one"])
async def test_a_webhook_from_before_what_was_read_is_old_news(
    door: Door, config: Config, *, quiet: bool
) -> None:
    (created,) = history(door, ("created", STALE))  # an hour of trouble ago, say
    answered = parse_review(STALE | REPLY | {"revision": "1" if quiet else "2"})
    await door.intake.record_page(config.sites[0], [answered])
    assert await door.post(created) == 200
    assert (door.status(), door.alerts()) == ("closed answered", [])


async def test_a_webhook_from_before_a_happy_review_was_answered_alerts_nobody(
    door: Door, config: Config
) -> None:
    created, lowered = history(
        door, ("created", STALE), ("updated", STALE | REPLY | {"revision": "4"})
    )
    happy = STALE | {"content": {"rating": 5}, "revision": "2"}
    for seen in (happy, happy | REPLY | {"revision": "3"}):  # before the call to Wix, and after
        await door.intake.record_page(config.sites[0], [parse_review(seen)], source=Source.ACTION)
    assert await door.post(created) == 200
    assert (door.status(), door.alerts()) == (None, [])
    assert await door.post(lowered) == 200
    assert door.status() == "closed answered"
