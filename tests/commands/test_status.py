"""`alerter status` of rows that the store's own functions wrote."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.commands import status
from alerter.commands.status import StatusReport
from alerter.commands.terminal import wide
from alerter.config import Config, load_config
from alerter.models import Alert, AlertKind, Form, Grouping, Receipt, Status, StoredReview
from alerter.store import State, blocks, known_sites, messages, outbox, raised_alerts, reviews
from alerter.store import troubles as store_troubles
from alerter.store.raised_alerts import NewAlert
from alerter.store.troubles import Trouble
from tests.support.clock import SetClock
from tests.support.reviews import review
from tests.support.terminal import on_a_terminal
from tests.support.values import SITE

CAFE = "22222222-2222-4222-8222-222222222222"
CONFIG = f"""
state = "state.db"
[poll]
trouble_after = "15m"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[[sites]]
name = "Café"
site_id = "{CAFE}"
api_key = "env:WIX_API_KEY"
"""
RECEIVERS = """
[slack]
token = "env:SLACK_BOT_TOKEN"
[[receivers]]
name = "owner"
slack = "C0123456789"
[[receivers]]
name = "support"
slack = "C9876543210"
"""
CONFIG += RECEIVERS

Stand = Callable[[], StatusReport]


def begin(state: State, site_id: str, now: datetime, reason: str) -> None:
    with state.transaction():
        store_troubles.put_trouble(state, Trouble(f"site:{site_id}", now, reason))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.toml").write_text(CONFIG)
    return load_config(tmp_path / "config.toml", {}, secrets=False)


@pytest.fixture
def stand(config: Config, state: State, clock: SetClock) -> Stand:
    """How things stand now, a while after both sites were read."""
    for site_id in (SITE, CAFE):
        known_sites.mark_poll_success(state, site_id, clock.now(), sees_private=True)
    clock.advance(minutes=2)
    return lambda: status.get_status(config, state, clock.now())


def alert(state: State, clock: SetClock, *receivers: str, review_id: str = "r1") -> int:
    """Raise an alert for these receivers; returns its id."""
    new_alerts = NewAlert(
        Alert(f"new:{SITE}:{review_id}", AlertKind.NEW, SITE, review_id),
        [(receiver, None) for receiver in receivers],
        Grouping.BURST,
    )
    with state.transaction():
        reviews.put_reviews(
            state, SITE, [StoredReview(review(review_id), Status.OPEN, clock.now())], clock.now()
        )
        raised_alerts.raise_alerts(state, [new_alerts], clock.now())
    return int(state.value("SELECT max(id) FROM alerts"))


def send(state: State, clock: SetClock, receiver: str, alerts: Sequence[int]) -> None:
    message = outbox.claim(state, receiver, Form.ALERT, alerts, f"{receiver}-{alerts}", clock.now())
    messages.mark_sent(state, message, Receipt("ok"))


def give_up(state: State, clock: SetClock, receiver: str, alerts: Sequence[int]) -> None:
    message = outbox.claim(state, receiver, Form.ALERT, alerts, f"{receiver}-{alerts}", clock.now())
    messages.mark_failed(state, message, "msg_too_long")


def lines_of(standing: StatusReport, clock: SetClock) -> list[str]:
    return status.as_text(standing, clock.now()).splitlines()


def troubles(standing: StatusReport) -> dict[str, str | None]:
    return {site.name: site.trouble for site in standing.sites}


def test_a_site_that_was_never_read_is_trouble(
    config: Config, state: State, clock: SetClock
) -> None:
    standing = status.get_status(config, state, clock.now())
    assert troubles(standing) == {"Corner Bakery": "never read yet", "Café": "never read yet"}
    assert standing.deliveries == {"pending": 0, "sent": 0, "failed": 0, "cancelled": 0}
    assert standing.needs_a_person


def test_sites_that_were_read_lately_need_no_person(stand: Stand) -> None:
    assert troubles(stand()) == {"Corner Bakery": None, "Café": None}
    assert json.loads(status.as_json(stand()))["sites"][0]["last_success"] == "2026-11-24T12:00:00Z"
    assert not stand().needs_a_person


def test_a_site_is_trouble_once_it_was_not_read_for_trouble_after(
    stand: Stand, state: State, clock: SetClock
) -> None:
    clock.advance(minutes=13)
    known_sites.mark_poll_success(state, CAFE, clock.now(), sees_private=True)
    assert not stand().needs_a_person
    clock.advance(seconds=1)
    assert troubles(stand()) == {"Corner Bakery": "not read for 15 minutes", "Café": None}
    assert stand().needs_a_person


def test_a_site_with_slow_rounds_is_no_trouble_between_two_of_them(
    state: State, clock: SetClock, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("[poll]", '[poll]\nevery = "1h"'))
    hourly = load_config(tmp_path / "config.toml", {}, secrets=False)
    for site_id in (SITE, CAFE):
        known_sites.mark_poll_success(state, site_id, clock.now(), sees_private=True)
    clock.advance(hours=2)
    assert not status.get_status(hourly, state, clock.now()).needs_a_person
    clock.advance(seconds=1)
    assert status.get_status(hourly, state, clock.now()).needs_a_person


def test_a_clock_that_was_set_back_makes_no_trouble(stand: Stand, clock: SetClock) -> None:
    clock.step(hours=-1)
    assert not stand().needs_a_person
    assert "Corner Bakery  under a minute ago  " in status.as_text(stand(), clock.now())


def test_a_site_that_refuses_us_is_trouble_though_it_was_read_lately(
    stand: Stand, state: State, clock: SetClock
) -> None:
    begin(state, CAFE, clock.now(), "Wix answered 401: the key is not valid")
    assert troubles(stand()) == {
        "Corner Bakery": None,
        "Café": "Wix answered 401: the key is not valid",
    }
    assert stand().needs_a_person


def test_a_site_that_refused_us_from_the_beginning_says_why(
    config: Config, state: State, clock: SetClock
) -> None:
    begin(state, SITE, clock.now(), "Wix answered 403")
    assert (
        troubles(status.get_status(config, state, clock.now()))["Corner Bakery"]
        == "Wix answered 403"
    )


def test_trouble_is_over_once_the_site_is_read_again(
    stand: Stand, state: State, clock: SetClock
) -> None:
    begin(state, CAFE, clock.now(), "Wix answered 401")
    with state.transaction():
        store_troubles.delete_trouble(state, f"site:{CAFE}")
    assert troubles(stand())["Café"] is None
    assert not stand().needs_a_person


def test_a_site_that_shows_published_reviews_only_is_marked(
    stand: Stand, state: State, clock: SetClock
) -> None:
    known_sites.mark_poll_success(state, CAFE, clock.now(), sees_private=False)
    assert [site.published_only for site in stand().sites] == [False, True]


def test_unanswered_reviews_are_counted_and_need_no_person(
    stand: Stand, state: State, clock: SetClock
) -> None:
    for number in range(3):
        send(
            state,
            clock,
            "email:owner",
            [alert(state, clock, "email:owner", review_id=f"r{number}")],
        )
    records = [
        StoredReview(review("r0"), Status.CLOSED),
        StoredReview(review("old"), Status.BASELINE),
    ]
    reviews.put_reviews(state, SITE, records, clock.now())
    clock.advance(minutes=10)
    assert [site.open_reviews for site in stand().sites] == [2, 0]
    assert not stand().needs_a_person


def test_deliveries_are_counted_by_receiver_and_in_all(
    stand: Stand, state: State, clock: SetClock
) -> None:
    first = alert(state, clock, "email:owner", "slack:support", review_id="r1")
    second = alert(state, clock, "email:owner", "slack:support", review_id="r2")
    send(state, clock, "email:owner", [first])
    give_up(state, clock, "email:owner", [second])
    standing = stand()
    assert json.loads(status.as_json(standing))["receivers"] == [
        {"name": "owner", "pending": 0, "sent": 1, "failed": 1, "cancelled": 0},
        {"name": "support", "pending": 2, "sent": 0, "failed": 0, "cancelled": 0},
    ]
    assert standing.deliveries == {"pending": 2, "sent": 1, "failed": 1, "cancelled": 0}


def test_failed_deliveries_need_a_person_until_they_are_queued_again(
    stand: Stand, state: State, clock: SetClock
) -> None:
    give_up(state, clock, "email:owner", [alert(state, clock, "email:owner")])
    assert stand().needs_a_person
    assert "failed: 1 delivery has failed; `alerter retry` queues it again" in status.as_text(
        stand(), clock.now()
    )
    outbox.requeue(state)
    assert not stand().needs_a_person


def test_failed_deliveries_of_a_renamed_receiver_are_not_forgotten(
    stand: Stand, state: State, clock: SetClock
) -> None:
    give_up(state, clock, "former", [alert(state, clock, "former")])
    assert stand().deliveries["failed"] == 1
    assert stand().needs_a_person


def test_pending_deliveries_need_no_person_and_the_oldest_is_shown(
    stand: Stand, state: State, clock: SetClock
) -> None:
    assert stand().oldest_pending is None
    first = alert(state, clock, "email:owner", review_id="r1")
    clock.advance(minutes=5)
    alert(state, clock, "email:owner", review_id="r2")
    assert json.loads(status.as_json(stand()))["oldest_pending"] == "2026-11-24T12:02:00Z"
    assert "the oldest pending delivery waits for 5 minutes" in status.as_text(stand(), clock.now())
    send(state, clock, "email:owner", [first])
    assert json.loads(status.as_json(stand()))["oldest_pending"] == "2026-11-24T12:07:00Z"
    assert not stand().needs_a_person


def test_a_held_delivery_is_shown_as_waiting_only_once_it_may_leave(
    stand: Stand, state: State, clock: SetClock
) -> None:
    held = NewAlert(
        Alert(f"new:{SITE}:r1", AlertKind.NEW, SITE, "r1"),
        [("email:owner", clock.now() + timedelta(hours=8))],
    )
    with state.transaction():
        raised_alerts.raise_alerts(state, [held], clock.now())
    clock.advance(hours=7)
    assert stand().oldest_pending is None
    assert stand().deliveries["pending"] == 1
    clock.advance(hours=2)
    assert json.loads(status.as_json(stand()))["oldest_pending"] == "2026-11-24T20:02:00Z"


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        ("destination:slack:support", {"scope": "receiver:support", "medium": "slack"}),
        ("service:slack", {"scope": "service:slack"}),
    ],
    ids=["a destination", "a service"],
)
def test_what_is_parked_needs_a_person_and_says_what_to_do(
    stand: Stand, state: State, clock: SetClock, scope: str, shown: dict[str, str]
) -> None:
    blocks.set_block(state, scope, clock.now(), None, "channel_not_found")
    what = {"since": "2026-11-24T12:02:00Z", "reason": "channel_not_found"}
    assert json.loads(status.as_json(stand()))["parked"] == [shown | what]
    assert stand().needs_a_person
    text = " ".join(lines_of(stand(), clock))
    assert re.search(
        rf"parked for under a minute: {shown['scope']}: channel_not_found; fix it, then",
        text,
    )


def test_a_service_that_asked_to_wait_needs_no_person(
    stand: Stand, state: State, clock: SetClock
) -> None:
    blocks.set_block(
        state, "service:slack", clock.now(), clock.now() + timedelta(minutes=1), "ratelimited"
    )
    assert stand().parked == []
    assert not stand().needs_a_person


def test_a_site_that_was_renamed_is_the_same_site(
    state: State, clock: SetClock, tmp_path: Path, stand: Stand
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("Corner Bakery", "The Bakery"))
    renamed = load_config(tmp_path / "config.toml", {}, secrets=False)
    assert troubles(status.get_status(renamed, state, clock.now())) == {
        "The Bakery": None,
        "Café": None,
    }


def test_json_has_what_the_contract_names(stand: Stand, state: State, clock: SetClock) -> None:
    begin(state, CAFE, clock.now(), "Wix answered 401")
    alert(state, clock, "email:owner")
    shown = json.loads(status.as_json(stand()))
    names = ("name", "site_id", "last_success", "trouble")
    assert [{name: site[name] for name in names} for site in shown["sites"]] == [
        {
            "name": "Corner Bakery",
            "site_id": SITE,
            "last_success": "2026-11-24T12:00:00Z",
            "trouble": None,
        },
        {
            "name": "Café",
            "site_id": CAFE,
            "last_success": "2026-11-24T12:00:00Z",
            "trouble": "Wix answered 401",
        },
    ]
    assert {name: shown["deliveries"][name] for name in ("pending", "sent", "failed")} == {
        "pending": 1,
        "sent": 0,
        "failed": 0,
    }


def test_json_holds_nothing_that_disturbs_a_terminal(
    stand: Stand, state: State, clock: SetClock
) -> None:
    title = "Café \u202e\u2066\U000e0041 🥐"
    known = StoredReview(review("r1", title=title), Status.OPEN, clock.now())
    with state.transaction():
        reviews.put_reviews(state, SITE, [known], clock.now())
    text = status.as_json(stand())
    assert text.replace("\n", "").isprintable()
    assert "Café" in text
    assert json.loads(text)["open_reviews"][0]["title"] == title


def test_the_tables_for_people_are_aligned(stand: Stand, state: State, clock: SetClock) -> None:
    begin(state, CAFE, clock.now(), "Wix answered 401")
    for number in range(12):
        alert(state, clock, "email:owner", review_id=f"r{number}")
    assert lines_of(stand(), clock)[:8] == [
        "site           last read      open  state",
        "Corner Bakery  2 minutes ago  12    ok",
        "Café           2 minutes ago  0     trouble",
        "",
        "receiver  pending  sent  failed",
        "owner     12       0     0",
        "support   0        0     0",
        "",
    ]
    assert "trouble for under a minute: site Café: Wix answered 401" in lines_of(stand(), clock)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        ({"seconds": 59}, "under a minute ago"),
        ({"seconds": 61}, "1 minute ago"),
        ({"minutes": 119}, "119 minutes ago"),
        ({"hours": 47}, "47 hours ago"),
        ({"days": 59}, "59 days ago"),
        ({"days": 700}, "23 months ago"),
        ({"days": 3000}, "8 years ago"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_age_is_shown_in_words(
    config: Config, state: State, clock: SetClock, span: dict[str, float], text: str
) -> None:
    known_sites.mark_poll_success(state, SITE, clock.now(), sees_private=True)
    clock.advance(**span)
    standing = status.get_status(config, state, clock.now())
    assert f"Corner Bakery  {text} " in status.as_text(standing, clock.now())


def fill(state: State, clock: SetClock, number: int, title: str) -> None:
    """Put reviews with a GUID and this title, one an hour."""
    with state.transaction():
        for each in range(number):
            known = StoredReview(
                review(f"{each:08}-1111-4111-8111-111111111111", title=title, created=clock.now()),
                Status.OPEN,
                clock.now(),
            )
            reviews.put_reviews(state, SITE, [known], clock.now())
            clock.advance(hours=1)


@pytest.mark.usefixtures("stand")
def test_people_see_the_newest_open_reviews_first(
    config: Config, state: State, clock: SetClock
) -> None:
    fill(state, clock, 22, "Stale")
    standing = status.get_status(config, state, clock.now(), newest=True)
    lines = lines_of(standing, clock)
    first = lines.index(next(line for line in lines if line.startswith("review ")))
    assert lines[first + 1] == ("00000021  60 minutes  ★☆☆☆☆  Corner Bakery  nobody   “Stale”")
    assert lines[first + 21] == "and 2 older"


@pytest.mark.sqlite
@pytest.mark.postgresql
@pytest.mark.usefixtures("stand")
def test_an_id_is_cut_where_its_beginning_names_one_review(
    config: Config, state: State, clock: SetClock
) -> None:
    twins = [f"00000000-{each}-4111-8111-111111111111" for each in (1, 2)]
    with state.transaction():
        for each in (*twins, "abcdefgh-1"):
            known = StoredReview(review(each), Status.OPEN, clock.now())
            reviews.put_reviews(state, SITE, [known], clock.now())
    found = status.get_status(config, state, clock.now(), newest=True).open_reviews
    assert sorted(each.short_id for each in found) == [*twins, "abcdefgh"]


@pytest.mark.usefixtures("stand")
@pytest.mark.parametrize("title", ["A" * 500, "漢" * 500, "🥐🥐 " * 200, "e\u0301" * 200])
def test_no_line_is_wider_than_80_columns(
    config: Config, state: State, clock: SetClock, title: str
) -> None:
    fill(state, clock, 3, title)
    begin(state, CAFE, clock.now(), "Wix answered 401 because " + "of this and that " * 20)
    blocks.set_block(state, "service:slack", clock.now(), None, "invalid_auth " * 30)
    standing = status.get_status(config, state, clock.now(), newest=True)
    assert [line for line in lines_of(standing, clock) if wide(line) > 80] == []


def test_of_very_many_sites_those_in_trouble_are_shown_first(
    state: State, clock: SetClock, tmp_path: Path
) -> None:
    sites = "".join(
        f'[[sites]]\nname = "Site {number}"\nsite_id = "{SITE[:-4]}{number:04}"\n'
        'api_key = "env:WIX_API_KEY"\n'
        for number in range(1000, 1100)
    )
    (tmp_path / "config.toml").write_text(CONFIG[: CONFIG.index("[[sites]]")] + sites + RECEIVERS)
    many = load_config(tmp_path / "config.toml", {}, secrets=False)
    for site in many.sites:
        known_sites.mark_poll_success(state, site.site_id, clock.now(), sees_private=True)
    begin(state, many.sites[-1].site_id, clock.now(), "Wix answered 401")
    lines = lines_of(status.get_status(many, state, clock.now()), clock)
    assert lines[1].startswith("Site 1099")
    assert lines[1].endswith("trouble")
    assert lines[30:32] == ["Site 1028  under a minute ago  0     ok", "and 70 more sites"]
    assert "trouble for under a minute: site Site 1099: Wix answered 401" in lines


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Callable[..., Result]:
    def run(*args: str, color: bool, **environ: str) -> Result:
        path = str(tmp_path / "config.toml")
        return CliRunner().invoke(
            main, ["status", "--config", path, *args], color=color, env=environ
        )

    return run


@pytest.mark.usefixtures("state")
def test_colour_is_for_terminals_without_no_color(run: Callable[..., Result]) -> None:
    assert "\x1b[31mnever read" in run(color=True).stdout
    assert "\x1b" not in run(color=False).stdout  # a pipe
    assert "\x1b" not in run(color=True, NO_COLOR="1").stdout
    assert "\x1b" not in run("--json", color=True).stdout


@pytest.mark.usefixtures("state")
def test_watching_is_not_for_machines(run: Callable[..., Result]) -> None:
    result = run("--watch", "--json", color=False)
    assert (result.exit_code, "leave --json out" in result.stderr) == (2, True)


@pytest.mark.slow
async def test_watching_redraws_and_ends_quietly_at_ctrl_c(
    config: Config, state: State, tmp_path: Path
) -> None:
    command = ["status", "--watch", "--config", str(tmp_path / "config.toml")]
    async with on_a_terminal(*command, NO_COLOR="1") as terminal:
        assert "Corner Bakery  never" in await terminal.read_until("receiver ")
        known_sites.mark_poll_success(state, SITE, Clock().now(), sees_private=True)
        frame = await terminal.read_until("under a minute ago")
        assert "\x1b[H\x1b[J" in frame
        assert "\x1b[31m" not in frame
        assert await terminal.end(b"\x03") == 0
        assert "Aborted" not in terminal.shown
