"""What `alerter explain` and `alerter status` show of a review."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from alerter.commands import explain, status
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.models import Grouping
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_runtime
from alerter.store import State, report
from alerter.store.prune import prune
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

OTHER = "22222222-2222-4222-8222-222222222222"
TWO = f"""
[[sites]]
name = "Café"
site_id = "{OTHER}"
api_key = "env:WIX_API_KEY"
"""
IDLE = (
    IdleReason.NOTHING_DUE,
    IdleReason.PARKED,
    IdleReason.PACE,
    IdleReason.BACKING_OFF,
    IdleReason.SETTLING,
)

Load = Callable[..., Config]


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        for site_id in (SITE, OTHER):
            wix.add_site(site_id, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    def load(owner: str = "", team: str = "", extra: str = "") -> Config:
        both = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]
{owner}
[[receivers]]
name = "team"
slack = "{CHANNEL}"
{team}"""
        return load_config(
            write_config(wix, slack, mailbox, receivers=both, extra=TWO + extra),
            SECRETS,
            secrets=True,
        )

    return load


def put(
    wix: EmbeddedWix,
    clock: SetClock,
    review_id: str,
    rating: int = 1,
    site_id: str = SITE,
    **more: Any,
) -> None:
    content = {"rating": rating, "title": f"Title of {review_id}"}
    wix.add(
        site_id,
        {"id": review_id, "createdDate": stamp(clock.now()), "content": content, "entityId": None}
        | more,
    )


async def once(config: Config, clock: SetClock, later: float = 0.0) -> None:
    """A round of every site and, some seconds later, one look at what is due."""
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, clock) as runtime:
            for site in config.sites:
                await runtime.poller.round(site)
            clock.advance(seconds=later)
            await runtime.dispatcher.run(IDLE)


def explained(config: Config, clock: SetClock, review_id: str) -> list[str]:
    with State.read(config.database) as state:
        found = explain.get_explanations(config, state, config.sites, review_id, clock.now())
    return explain.phrase_explanations(config, found, clock.now()).splitlines()


def steps(config: Config, clock: SetClock, review_id: str) -> list[str]:
    lines = explained(config, clock, review_id)
    return lines[lines.index("what comes next") + 1 :]


async def test_an_alert_is_explained_with_its_deliveries_and_what_comes_next(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    config = load(extra='[reminders]\nafter = ["24h", "72h"]')
    await once(config, clock)
    put(wix, clock, "r1")
    clock.advance(minutes=3)
    await once(config, clock)
    [mail], [post] = mailbox.mails, slack.posts
    at = "2026-11-24 13:03:00 CET"
    reminder = "unless it is answered, the reminder after"

    assert explained(config, clock, "r1") == [
        "Corner Bakery: review r1",
        "★☆☆☆☆  “Title of r1” for the site",
        "created 2026-11-24 13:00:00 CET, 3 minutes ago",
        "on record as open: low-rated, and not answered",
        "",
        f"new, {at}: low-rated and not seen before",
        "  receiver       status  form   attempts  last attempt             answer",
        f"  owner (email)  sent    alert  1         {at}  accepted as {mail.message_id}",
        f"  team (Slack)   sent    alert  1         {at}  ok, ts {post.ts} in {CHANNEL}",
        "",
        "what comes next",
        f"- owner (email): {reminder} 24 hours at 2026-11-25 13:03:00 CET",
        f"- owner (email): {reminder} 3 days at 2026-11-27 13:03:00 CET",
        f"- team (Slack): {reminder} 24 hours at 2026-11-25 13:03:00 CET",
        f"- team (Slack): {reminder} 3 days at 2026-11-27 13:03:00 CET",
        "- it is followed until it is answered, at most until 2026-12-24 13:03:00 CET",
    ]

    clock.advance(hours=25)
    assert (
        "- team (Slack): unless it is answered, the reminder after 24 hours with the next round"
        in steps(config, clock, "r1")
    )
    clock.advance(days=40)
    assert (
        steps(config, clock, "r1")[-1]
        == "- it is no longer followed: it was not answered within 30 days"
    )


async def test_what_is_held_doubtful_parked_or_given_up_says_what_it_waits_for(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    config = load(owner='quiet = {from = "12:00", to = "15:30"}')
    await once(config, clock)
    put(wix, clock, "r1")
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await once(config, clock)
    owner, team = steps(config, clock, "r1")[:2]
    assert owner == "- owner (email): held until 2026-11-24 15:30:00 CET, when its quiet hours end"
    assert team.startswith("- team (Slack): waits until 2026-11-24 13:00:0")
    assert "Slack's answer was lost" in team

    clock.advance(seconds=3)
    assert steps(config, clock, "r1")[1] == (
        "- team (Slack): in doubt; alerter looks for it before it sends it again"
    )
    row = next(line for line in explained(config, clock, "r1") if line.startswith("  team"))
    assert row.split()[2:5] == ["in", "doubt", "alert"]

    clock.advance(hours=3)
    assert (
        steps(config, clock, "r1")[0]
        == "- owner (email): due now; a running daemon sends it, or `alerter run --once`"
    )
    slack.revoke(SECRETS["SLACK_BOT_TOKEN"])
    await once(config, clock, later=6)
    [parked] = [step for step in steps(config, clock, "r1") if "team" in step]
    assert "parked: Slack refuses the token (token_revoked)" in parked
    assert "`alerter retry`" in parked


async def test_what_waits_for_a_message_in_doubt_about_its_review_says_so(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    config = load()
    await once(config, clock)
    put(wix, clock, "r1", rating=2)
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    await once(config, clock)
    slack.throttle("conversations.history", 300)
    wix.change(SITE, "r1", content={"rating": 1})
    clock.advance(seconds=10)
    await once(config, clock)
    assert [step for step in steps(config, clock, "r1") if "team (Slack)" in step] == [
        "- team (Slack): in doubt; alerter looks for it before it sends it again",
        "- team (Slack): waits for an earlier message about this review that is in doubt",
    ]


async def test_a_mail_that_some_addresses_have_says_so_until_all_have_it(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load()
    path = config.database.parent / "config.toml"
    path.write_text(path.read_text().replace(f'["{OWNER}"]', f'["{OWNER}", "full@example.com"]'))
    config = load_config(path, SECRETS, secrets=True)
    mailbox.refuse["full@example.com"] = "452 4.2.2 mailbox full"
    await once(config, clock)
    put(wix, clock, "r1")
    await once(config, clock)
    assert (
        "- owner (email): some of its addresses accepted it; the others are tried again"
        in steps(config, clock, "r1")
    )
    row = next(line for line in explained(config, clock, "r1") if line.startswith("  owner"))
    assert row.split()[2] == "sent"
    assert row.endswith("1 of its addresses did not take it yet")
    mailbox.refuse.clear()
    clock.advance(minutes=2)
    await once(config, clock)
    assert not [step for step in steps(config, clock, "r1") if "some of its addresses" in step]


async def test_a_delivery_that_was_given_up_says_how_to_queue_it_again(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    config = load()
    await once(config, clock)
    put(wix, clock, "r1")
    slack.faults.always("chat.postMessage", Fault(body='{"ok": false, "error": "invalid_blocks"}'))
    await once(config, clock)
    assert (
        steps(config, clock, "r1")[0] == "- team (Slack): failed; `alerter retry` queues it again"
    )
    row = next(line for line in explained(config, clock, "r1") if line.startswith("  team"))
    assert "invalid_blocks" in row


async def test_reviews_that_were_not_alerted_say_why(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    """A review of the past, an import, and one that was answered."""
    config = load()
    put(wix, clock, "old", content={"rating": 1})
    await once(config, clock)
    put(wix, clock, "imported", reviewDate="2020-01-01T00:00:00.000Z")
    put(wix, clock, "answered", reply={"message": "Sorry!"})
    await once(config, clock)

    assert explained(config, clock, "old")[1] == "★☆☆☆☆  (no title) for the site"
    assert explained(config, clock, "old")[3:6] == [
        "on record as baseline: on record from before alerter watched this",
        "",
        "it was never alerted",
    ]
    assert "`alerter backfill` alerts it" in steps(config, clock, "old")[0]
    assert explained(config, clock, "imported")[3].endswith(
        "written long before it was created: an import"
    )
    assert explained(config, clock, "answered")[3] == (
        "on record as closed: it was answered, before it was alerted"
    )


async def test_a_receiver_that_is_left_out_is_shown_with_the_key(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load(owner='keywords = ["refund"]', team="min_rating = 2")
    await once(config, clock)
    put(wix, clock, "r1")
    await once(config, clock)
    assert explained(config, clock, "r1")[6:9] == [
        "  sent to nobody: no receiver of the config matched it",
        "by this config, owner does not get it because of its keywords",
        "by this config, team does not get it because of its min_rating",
    ]


async def test_every_alert_of_a_review_is_shown_until_it_is_closed(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load(extra='[reminders]\nafter = ["1m"]')
    await once(config, clock)
    put(wix, clock, "r1", rating=2)
    await once(config, clock)
    clock.advance(seconds=61)
    wix.change(SITE, "r1", content={"rating": 1})
    await once(config, clock)
    with State.open(config.database, migrate=False) as state:
        async with open_runtime(config, state, clock) as runtime:
            due = runtime.intake.find_due_reminders(config.sites[0])
            await runtime.intake.remind(config.sites[0], due)
    wix.reply(SITE, "r1", "Sorry!")
    await once(config, clock)

    reasons = [
        line.split(": ", 1)[1]
        for line in explained(config, clock, "r1")
        if line.startswith(("new", "low", "rem", "clo"))
    ]
    assert reasons == [
        "low-rated and not seen before",
        "its rating fell, from 2 to 1",
        "not answered for 1 minute",
        "it was answered",
    ]
    assert "  no message of its own: the messages on Slack are updated instead" in explained(
        config, clock, "r1"
    )
    assert (
        steps(config, clock, "r1")[-1]
        == "- nothing, unless it is edited for the worse, or its answer or rejection is withdrawn"
    )


async def test_an_alert_of_a_backfill_says_so(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    put(wix, clock, "r1")
    await once(config, clock)
    with State.open(config.database, migrate=False) as state:
        async with open_runtime(config, state, clock) as runtime:
            await runtime.intake.alert_past(config.sites[0], ["r1"], Grouping.DIGEST)
    assert explained(config, clock, "r1")[5].endswith(": a backfill alerted the past")


async def test_what_is_gone_says_that_its_text_was_erased(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    await once(config, clock)
    put(wix, clock, "r1")
    await once(config, clock)
    clock.advance(minutes=5)
    with State.open(config.database, migrate=False) as state:
        async with open_runtime(config, state, clock) as runtime:
            await runtime.intake.record_gone(config.sites[0], ["r1"])
    lines = explained(config, clock, "r1")
    assert lines[3] == "on record as closed: it is gone from Wix, and its text was erased here"
    assert "Title of r1" not in "".join(lines)
    assert lines[-1] == "- nothing more"


async def test_a_review_on_two_sites_is_shown_for_each(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    put(wix, clock, "r1")
    put(wix, clock, "r1", site_id=OTHER)
    await once(config, clock)
    assert [line for line in explained(config, clock, "r1") if "review r1" in line] == [
        "Corner Bakery: review r1",
        "Café: review r1",
    ]


async def test_a_site_that_cannot_be_read_is_shown(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    put(wix, clock, "r1")
    await once(config, clock)
    wix.sites[SITE].refuse = 401
    await once(config, clock)
    assert steps(config, clock, "r1")[0].startswith(
        "- the site cannot be read at present: Wix refuses us"
    )


async def test_a_review_that_is_not_on_record_gets_the_usual_reasons(
    load: Load, clock: SetClock
) -> None:
    config = load()
    unread = explain.phrase_not_on_record(config, {}, config.sites, "r\x1b9").splitlines()
    assert unread[0] == "review r 9 is not on record of Corner Bakery, Café; possible reasons:"
    assert "- it was not read yet: Café was never read" in unread

    await once(config, clock)
    with State.read(config.database) as state:
        reports = report.site_reports(state)
    lines = explain.phrase_not_on_record(config, reports, config.sites[:1], "r9").splitlines()
    assert explained(config, clock, "r9") == []
    assert lines[1:] == [
        "- it is rated higher than ★★☆☆☆, the threshold of Corner Bakery",
        "- it was created after 2026-11-24 13:00:00 CET, the last read of Corner Bakery",
        "- this is not its id at Wix, or its site is not in the config",
    ]


async def test_the_last_date_that_exists_is_shown(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    put(wix, clock, "r1", createdDate="9999-12-31T23:59:59.999Z")
    await once(config, clock)
    assert explained(config, clock, "r1")[2].startswith("created 9999-12-31 23:59:59 UTC")


async def test_a_title_cannot_disturb_a_terminal(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    put(wix, clock, "r1", content={"rating": 1, "title": "a\u202eb\x1b[31mc" + "x" * 500})
    await once(config, clock)
    assert all(line.isprintable() and len(line) < 200 for line in explained(config, clock, "r1"))


async def test_status_lists_the_oldest_open_reviews_and_counts_the_others(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load(owner="max_rating = 1")
    await once(config, clock)
    for number in range(22):
        put(wix, clock, f"r{number:02}", rating=1 if number else 2)
        clock.advance(minutes=1)
    await once(config, clock)
    clock.advance(hours=3)
    with State.read(config.database) as state:
        standing = status.get_status(config, state, clock.now())
    shown = json.loads(status.as_json(standing))
    assert (len(shown["open_reviews"]), shown["more_open_reviews"]) == (20, 2)
    assert shown["open_reviews"][0] == {
        "site": "Corner Bakery",
        "id": "r00",
        "rating": 2,
        "title": "Title of r00",
        "created": "2026-11-24T12:00:00Z",
        "told": ["team"],
        "claimed_by": None,
        "claimed_until": None,
        "snoozed_by": None,
        "snoozed_until": None,
        "replying": None,
    }


async def test_a_review_that_was_pruned_is_still_explained(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load()
    await once(config, clock)
    wix.add(SITE, {"id": "r1", "content": {"rating": 1}})
    await once(config, clock)
    wix.reply(SITE, "r1", "Sorry!")
    clock.advance(hours=2)
    await once(config, clock)
    clock.advance(days=401)
    await once(config, clock)
    with State.open(config.database, migrate=False) as state:
        keep, window = config.state_file.keep, config.poll.rescan_window
        await prune(state, clock.now(), keep, window=window, destinations=config.destinations())
    lines = explained(config, clock, "r1")
    assert "on record as closed: it was answered" in lines
    assert (
        "its text and the messages about it are erased: it was at rest for longer than [state] keep"
        in lines
    )


async def test_a_cluster_is_explained_with_its_figures(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    """For each of its reviews; for another, why it is in none."""
    config = load(extra='[alerts]\ncluster = {count = 3, within = "7d"}')
    clock.step(days=-180)
    for entity_id in ("cake", "pie"):
        put(wix, clock, f"old-{entity_id}", entityId=entity_id)
    await once(config, clock)
    clock.step(days=180)
    for number in range(3):
        put(wix, clock, f"r{number}", entityId="cake")
    put(wix, clock, "p1", entityId="pie")
    put(wix, clock, "s1", entityId="scone")
    await once(config, clock)
    put(wix, clock, "r3", entityId="cake")
    await once(config, clock, later=5)

    lines = explained(config, clock, "r3")
    [cluster] = [line for line in lines if line.startswith("cluster, ")]
    assert cluster == (
        "cluster, 2026-11-24 13:00:00 CET: one of 4: 3 low-rated within 7 days, where 0.02 are"
        " expected by its record (1 since 2026-05-28); p = 1.4e-06, and by chance 0.00061 a year"
    )
    assert "  owner (email)  sent" in "\n".join(lines)
    assert not any(line.startswith("in no cluster") for line in lines)
    assert (
        "in no cluster: 1 low-rated within 7 days, fewer than [alerts] cluster asks for (3)"
        in explained(config, clock, "p1")
    )
    assert len([each for each in explained(config, clock, "r1") if "one of 4" in each]) == 1
