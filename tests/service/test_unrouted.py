"""Alerts that no receiver gets by a changed config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerter.demo.mailbox import Mailbox
from alerter.demo.wix import EmbeddedWix
from alerter.store import backup
from tests.support.clock import SetClock
from tests.support.life import wix
from tests.support.rerouting import NIGHT, Load, clock, load, mail, mails, night, once, rows
from tests.support.state import open_state
from tests.support.values import SITE

__all__ = ["clock", "load", "night", "wix"]

CAFE_ONLY = 'sites = ["Café"]'


async def test_an_alert_without_a_receiver_is_trouble_until_it_is_answered(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT), mail("ops", "max_rating = 1"))
    changed = load(mail("ops", "max_rating = 1"), mail("barista", 'sites = ["Café"]'))
    for _ in range(2):
        assert await once(changed, clock, minutes=1)
    wix.reply(SITE, "r1", "Sorry!")
    for _ in range(2):
        assert await once(changed, clock, minutes=2)
    assert [each.subject for each in mails(mailbox, "ops")] == [
        "⚠️ Alerts of Corner Bakery go to no receiver",
        "🟢 Alerts of Corner Bakery have a receiver again, after 3 minutes",
    ]
    assert mails(mailbox, "barista") == []


@pytest.mark.parametrize("corrected", [[mail("owner")], [mail("owner", CAFE_ONLY), mail("boss")]])
async def test_an_alert_without_a_receiver_is_sent_once_the_config_is_corrected(
    load: Load,
    clock: SetClock,
    mailbox: Mailbox,
    night: Callable[..., Any],
    corrected: list[str],
) -> None:
    ops = mail("ops", "max_rating = 1")
    await night(mail("owner", NIGHT), ops)
    assert await once(load(mail("owner", CAFE_ONLY), ops), clock, minutes=1)
    config = load(*corrected, ops)
    for _ in range(3):
        assert await once(config, clock, minutes=1)
    sent = [row for row in rows(config) if row[2] == "sent" and row[0].startswith("new")]
    assert len(sent) == 1
    assert len([each for name in ("owner", "boss") for each in mails(mailbox, name)]) == 1
    assert mails(mailbox, "ops")[-1].subject.startswith("🟢 Alerts of Corner Bakery have a")


async def test_a_later_alert_of_the_review_stands_for_the_one_without_receiver(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT))
    for later, receiver in enumerate((mail("owner", "max_rating = 1"),) * 2 + (mail("owner"),)):
        if later == 1:
            wix.change(SITE, "r1", content={"rating": 1, "title": "Worse"})
        config = load(receiver)
        assert await once(config, clock, minutes=1)
    assert [row for row in rows(config) if row[0].endswith((":r1", ":r1:1"))] == [
        ("new:r1", "email:owner", "cancelled"),
        ("lowered:r1:1", "email:owner", "sent"),
    ]


async def test_trouble_of_an_earlier_version_goes_on_until_the_answer(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    ops = mail("ops", "max_rating = 1")
    await night(mail("owner", NIGHT), ops)
    config = load(mail("owner", CAFE_ONLY), ops)
    assert await once(config, clock, minutes=1)
    with open_state(config.database) as state:
        state.execute("DROP INDEX deliveries_withdrawn")
        state.execute("ALTER TABLE deliveries DROP COLUMN withdrawn")
        state.execute("DELETE FROM _sqlite_migrations WHERE name = 'withdrawn_deliveries'")
    for _ in range(2):
        assert await once(config, clock, minutes=1)
    assert [each.subject for each in mails(mailbox, "ops")] == [
        "⚠️ Alerts of Corner Bakery go to no receiver"
    ]


async def test_what_may_have_arrived_is_not_sent_by_a_corrected_config(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    mailbox.drop.append("after")
    await night(mail("owner"), mail("ops", NIGHT))
    for sites in (CAFE_ONLY, ""):
        config = load(mail("owner", sites), mail("ops", sites))
        await once(config, clock, minutes=1)
    assert [row for row in rows(config) if row[0] == "new:r1"] == [
        ("new:r1", "email:ops", "cancelled"),
        ("new:r1", "email:owner", "cancelled"),
    ]


async def test_what_was_answered_meanwhile_is_not_sent_by_a_corrected_config(
    load: Load, clock: SetClock, wix: EmbeddedWix, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT))
    config = load(mail("owner", CAFE_ONLY))
    assert await once(config, clock, minutes=1)
    wix.reply(SITE, "r1", "Sorry!")
    assert await once(config, clock, hours=1)
    wix.unreply(SITE, "r1")
    assert await once(config, clock, hours=1)
    assert await once(load(mail("owner")), clock, minutes=1)
    assert ("new:r1", "email:owner", "cancelled") in rows(config)


async def test_what_may_have_been_sent_since_a_backup_is_not_sent_after_it(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, tmp_path: Path
) -> None:
    config = load(mail("owner"))
    assert await once(config, clock)
    wix.add(SITE, {"id": "r1", "content": {"rating": 2, "title": "Hard"}})
    assert await once(config, clock, minutes=1)
    mailbox.down = True
    wix.change(SITE, "r1", content={"rating": 1, "title": "Hard"})
    for config in (load(mail("owner")), load(mail("owner", CAFE_ONLY))):
        await once(config, clock, minutes=1)
    backup.back_up(config.database, tmp_path / "backup.db")
    backup.restore(tmp_path / "backup.db", config.database, clock.now())
    mailbox.down = False
    config = load(mail("owner"))
    await once(config, clock, hours=1)
    assert ("lowered:r1:1", "email:owner", "cancelled") in rows(config)
