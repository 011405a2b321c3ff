"""Sites and receivers that come and go with the config."""

from collections.abc import Callable
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Alert, AlertKind, receiver_of
from alerter.service.daemon import serve
from alerter.service.reconcile import reconcile
from alerter.store import State, blocks, known_sites, raised_alerts, troubles
from alerter.store.raised_alerts import NewAlert
from alerter.trouble.recipients import recipients_for
from alerter.trouble.tracker import Troubles
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

OTHER = "22222222-2222-4222-8222-222222222222"
CAFE = f"""
[[sites]]
name = "Café"
site_id = "{OTHER}"
api_key = "env:WIX_API_KEY"
"""
BAKER = f'[[receivers]]\nname = "baker"\nemail = ["{OWNER}"]\n'
TEAM = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'

Load = Callable[..., Config]


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])

    def load(*, extra: str = "", receivers: str = BAKER + TEAM) -> Config:
        return load_config(
            write_config(wix, slack, mailbox, extra=extra, receivers=receivers),
            SECRETS,
            secrets=True,
        )

    return load


def queue(state: State, kind: AlertKind, site_id: str, clock: SetClock) -> None:
    """Have an alert wait for the baker and for the team."""
    alert = Alert(f"{kind}:{site_id}:r1", kind, site_id, "r1")
    with state.transaction():
        raised_alerts.raise_alerts(
            state, [NewAlert(alert, [("email:baker", None), ("slack:team", None)])], clock.now()
        )


def standing(state: State) -> dict[str, str]:
    rows = state.rows(
        "SELECT key, min(status) AS status FROM alerts JOIN deliveries ON alert = id GROUP BY key"
    )
    return {row["key"]: row["status"] for row in rows}


def test_of_a_removed_site_only_new_alerts_leave(
    load: Load, state: State, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alerter.service")
    reconcile(state, load(extra=CAFE), clock)
    for kind in (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER, AlertKind.CLOSED):
        queue(state, kind, SITE, clock)
        queue(state, kind, OTHER, clock)
    reconcile(state, load(extra=CAFE), clock)
    assert set(standing(state).values()) == {"pending"}
    reconcile(state, load(), clock)
    assert {key for key, status in standing(state).items() if status == "cancelled"} == {
        f"{kind}:{OTHER}:r1" for kind in ("lowered", "reminder", "closed")
    }
    assert 'site "Café" left the config: deliveries cancelled=6' in caplog.text
    reconcile(state, load(), clock)
    assert caplog.text.count("Café") == 1


def test_of_a_removed_site_a_retry_brings_back_new_alerts_only(
    load: Load, state: State, clock: SetClock
) -> None:
    queue(state, AlertKind.NEW, OTHER, clock)
    queue(state, AlertKind.REMINDER, OTHER, clock)
    state.execute("UPDATE deliveries SET status = 'failed'")
    reconcile(state, load(), clock)
    assert standing(state) == {f"new:{OTHER}:r1": "failed", f"reminder:{OTHER}:r1": "cancelled"}


def test_trouble_with_what_is_removed_ends_and_the_others_are_notified(
    load: Load, state: State, clock: SetClock
) -> None:
    before = load(extra=CAFE)
    reconcile(state, before, clock)
    told = Troubles(state, before, clock, wake=lambda _: None)
    for scope in (f"site:{OTHER}", f"site:{SITE}", "destination:slack:team", "service:slack"):
        told.begin(scope, "refused")
        blocks.set_block(state, scope, clock.now(), None, "refused")
    state.execute("UPDATE deliveries SET status = 'sent'")
    reconcile(state, load(receivers=BAKER), clock)
    assert [trouble.scope for trouble in troubles.get_open_troubles(state)] == [f"site:{SITE}"]
    assert not {block.scope for block in blocks.get_parked(state)} & {
        "destination:slack:team",
        "service:slack",
    }
    rows = state.rows(
        "SELECT destination, json_extract(detail, '$.name') AS name FROM alerts JOIN "
        "deliveries ON alert = id"
        " WHERE kind = 'recovered' ORDER BY id"
    )
    assert {receiver_of(row["destination"]) for row in rows} == {"baker"}
    assert "Café" in [row["name"] for row in rows]


def test_a_config_that_was_not_taken_over_is_over_with_the_next_start(
    load: Load, state: State, clock: SetClock
) -> None:
    Troubles(state, load(), clock, wake=lambda _: None).begin(
        "config", "poll.every: must be a duration"
    )
    reconcile(state, load(), clock)
    assert troubles.get_open_troubles(state) == []


@pytest.mark.parametrize(
    ("receivers", "names"),
    [
        (BAKER + TEAM, ["baker", "team"]),
        (f"{BAKER}trouble = true\n{TEAM}", ["baker"]),
        (f'{BAKER}sites = ["Café"]\ntrouble = true\n{TEAM}', ["team"]),
        (f'{BAKER}sites = ["Café"]\n{TEAM}sites = ["Corner Bakery"]\n', []),
    ],
    ids=["everybody", "those marked", "only who hears of all sites", "nobody"],
)
def test_faults_of_a_config_go_to_receivers_of_every_site(
    load: Load, receivers: str, names: list[str]
) -> None:
    config = load(extra=CAFE, receivers=receivers)
    assert [receiver_of(each) for each in recipients_for("config", config)] == names


def test_a_site_that_comes_back_has_not_been_failing_all_the_time(
    load: Load, state: State, clock: SetClock
) -> None:
    reconcile(state, load(extra=CAFE), clock)
    with state.transaction():
        known_sites.mark_poll_failure(state, OTHER, clock.now())
    reconcile(state, load(), clock)
    clock.advance(days=30)
    reconcile(state, load(extra=CAFE), clock)
    with state.transaction():
        assert known_sites.mark_poll_failure(state, OTHER, clock.now()) == clock.now()


def test_a_site_that_was_renamed_is_spoken_of_by_its_new_name(
    load: Load, state: State, clock: SetClock
) -> None:
    reconcile(state, load(extra=CAFE), clock)
    reconcile(state, load(extra=CAFE.replace("Café", "Coffee")), clock)
    reconcile(state, load(), clock)
    assert known_sites.site_names(state) == {SITE: "Corner Bakery", OTHER: "Coffee"}


async def test_an_added_site_is_silent_and_one_that_comes_back_goes_on(
    load: Load, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    def subjects() -> list[str]:
        return [mail.subject for mail in mailbox.mails]

    wix.add(OTHER, {"content": {"rating": 1, "title": "Old"}})
    assert await serve(load(), Clock(), {}, once=True)
    assert await serve(load(extra=CAFE), Clock(), {}, once=True)
    assert subjects() == []
    assert await serve(load(), Clock(), {}, once=True)
    wix.add(OTHER, {"content": {"rating": 1, "title": "Cold"}})
    assert await serve(load(), Clock(), {}, once=True)
    assert subjects() == []
    assert await serve(load(extra=CAFE), Clock(), {}, once=True)
    assert ["Cold" in subject for subject in subjects()] == [True]
