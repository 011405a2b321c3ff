"""People are notified of trouble that concerns them: once when it begins, once when it is over."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerter.clock import Clock
from alerter.commands import check, retry
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.errors import StateBusy, StateError
from alerter.models import receiver_of
from alerter.notify.state_failure import StateFailure
from alerter.notify.worker import IdleReason
from alerter.render.samples import sample
from alerter.scopes import Scope
from alerter.service.daemon import serve
from alerter.service.destinations import open_destinations
from alerter.service.runtime import open_runtime, open_wix
from alerter.store import State, blocks, troubles
from alerter.trouble.recipients import recipients_for
from alerter.trouble.tracker import Troubles
from tests.support.clock import SetClock
from tests.support.state_faults import locked
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE
from tests.support.waiting import HANG, until

STALE = {"content": {"rating": 1, "title": "Stale"}}
OTHER = "22222222-2222-4222-8222-222222222222"
TWO_CUSTOMERS = f"""
[[sites]]
name = "Café"
site_id = "{OTHER}"
api_key = "env:WIX_API_KEY"
"""


def receivers(**marks: str) -> str:
    """A baker by mail, a baker's team and a café's team on Slack, with further keys for some."""
    ways = {
        "baker": f'email = ["{OWNER}"]\nsites = ["Corner Bakery"]',
        "bakery": f'slack = "{CHANNEL}"\nsites = ["Corner Bakery"]',
        "cafe": 'slack = "C0000000009"\nsites = ["Café"]',
    }
    return "".join(
        f'[[receivers]]\nname = "{name}"\n{way}\n{marks.get(name, "")}\n'
        for name, way in ways.items()
    )


Load = Callable[..., Config]


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    slack.add_channel("C0000000009", "cafe")

    def load(**marks: str) -> Config:
        path = write_config(wix, slack, mailbox, receivers=receivers(**marks), extra=TWO_CUSTOMERS)
        return load_config(path, SECRETS, secrets=True)

    return load


@pytest.mark.parametrize(
    ("scope", "marks", "names"),
    [
        (f"site:{SITE}", {}, ["baker", "bakery"]),
        (f"site:{SITE}", {"baker": "trouble = true"}, ["baker"]),
        (f"site:{SITE}", {"cafe": "trouble = true"}, ["baker", "bakery"]),
        (f"site:{OTHER}", {"baker": "trouble = true"}, ["cafe"]),
        ("destination:slack:bakery", {}, ["baker"]),
        ("destination:slack:cafe", {}, []),
        ("service:slack", {}, ["baker"]),
        ("service:smtp", {}, ["bakery"]),
        ("addresses:baker", {}, ["bakery"]),
        ("erasure:slack:bakery", {}, ["bakery"]),
        ("erasure:slack:bakery", {"baker": "trouble = true"}, ["baker"]),
        ("erasure:slack:cafe", {"baker": "trouble = true"}, ["cafe"]),
    ],
    ids=[
        "a site's receivers",
        "those marked",
        "never another customer's",
        "marked for another customer",
        "those that share a site",
        "no other shares a site",
        "a service",
        "the other service",
        "addresses",
        "words that stand",
        "words that stand, and one marked",
        "words that stand at another customer's",
    ],
)
def test_those_whom_trouble_concerns_are_notified(
    load: Load, scope: str, marks: dict[str, str], names: list[str]
) -> None:
    assert [receiver_of(each) for each in recipients_for(scope, load(**marks))] == names


async def test_a_site_that_refuses_us_is_notified_once_and_its_recovery_once(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert await serve(config, Clock(), {}, once=True)
    wix.sites[SITE].refuse = 401
    for _ in range(3):
        assert not await serve(config, Clock(), {}, once=True)
    assert [mail.subject for mail in mailbox.mails] == [
        "⚠️ The reviews of Corner Bakery cannot be read"
    ]
    assert "alerter check" in mailbox.mails[0].text
    assert SECRETS["WIX_API_KEY"] not in mailbox.mails[0].text
    wix.sites[SITE].refuse = None
    for _ in range(2):
        assert await serve(config, Clock(), {}, once=True)
    assert [mail.subject for mail in mailbox.mails[1:]] == [
        "🟢 Corner Bakery's reviews can be read again, after less than a minute"
    ]
    assert len(slack.posts) == 2
    assert not any(call.error for call in slack.requests)


async def test_a_site_that_is_silent_is_trouble_after_a_while_and_not_before(
    config: Config, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        wix.faults.always("/query", Fault(status=503))
        clock.advance(days=1)  # the daemon was off: nothing has failed yet
        for _ in range(15):
            assert not await runtime.poller.round(config.sites[0])
            assert not troubles.get_open_troubles(state)
            clock.advance(minutes=1)
        assert not await runtime.poller.round(config.sites[0])
        assert [trouble.scope for trouble in troubles.get_open_troubles(state)] == [f"site:{SITE}"]
        wix.faults.clear()
        assert await runtime.poller.round(config.sites[0])
        assert not troubles.get_open_troubles(state)


async def test_trouble_that_is_over_before_it_was_notified_is_not_notified(
    config: Config, wix: EmbeddedWix, state: State, clock: SetClock, mailbox: Mailbox
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        wix.sites[SITE].refuse = 403
        assert not await runtime.poller.round(config.sites[0])
        wix.sites[SITE].refuse = None
        assert await runtime.poller.round(config.sites[0])
    assert {row["status"] for row in state.rows("SELECT status FROM deliveries")} == {"cancelled"}


async def test_a_parked_receiver_comes_back_with_a_check_and_all_it_missed(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    """Its parking was notified."""
    assert await serve(config, Clock(), {}, once=True)
    slack.channels[CHANNEL].archived = True
    wix.add(SITE, STALE)
    assert not await serve(config, Clock(), {}, once=True)
    assert not await serve(config, Clock(), {}, once=True)
    assert [mail.subject for mail in mailbox.mails if "⚠️" in mail.subject] == [
        "⚠️ Receiver support (Slack) cannot be reached"
    ]
    assert "unarchive" in mailbox.mails[-1].text
    slack.channels[CHANNEL].archived = False

    async with (
        open_wix(config, Clock()) as wix_client,
        open_destinations(config, Clock()) as destinations,
    ):
        findings = await check.check_services(config, Clock(), wix_client, destinations)
    assert all(finding.ok for finding in findings)
    assert [finding.subject for finding in findings][-1] == "destination:slack:support"
    assert await serve(config, Clock(), {}, once=True)
    assert [post.text.splitlines()[0].startswith("★") for post in slack.posts] == [True]
    assert mailbox.mails[-1].subject.startswith("🟢 Receiver support (Slack) can be reached")


async def test_a_single_run_notifies_of_the_receiver_that_it_has_just_parked(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    """Also one that had nothing to do until then."""
    lone = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\nmax_rating = 1\n'
    team = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    config = load_config(
        write_config(wix, slack, mailbox, receivers=lone + team), SECRETS, secrets=True
    )
    assert await serve(config, Clock(), {}, once=True)
    slack.channels[CHANNEL].archived = True
    wix.add(SITE, {"content": {"rating": 2, "title": "Stale"}})
    assert not await serve(config, Clock(), {}, once=True)
    assert [mail.subject for mail in mailbox.mails] == ["⚠️ Receiver team (Slack) cannot be reached"]


async def test_a_test_brings_a_parked_service_back(config: Config, slack: EmbeddedSlack) -> None:
    with State.open(config.database, migrate=True) as state:
        blocks.set_block(state, "service:slack", Clock().now(), None, "invalid_auth")
    findings = await check.send_samples(config, Clock(), ["support"])
    assert [finding.ok for finding in findings] == [True, True]
    assert slack.posts[0].text.startswith("[Test] ")
    with State.open(config.database, migrate=False) as state:
        assert blocks.get_parked(state) == []


async def test_a_failed_test_shows_the_services_answer_and_keeps_a_parking(
    config: Config, slack: EmbeddedSlack
) -> None:
    with State.open(config.database, migrate=True) as state:
        blocks.set_block(state, "destination:slack:support", Clock().now(), None, "is_archived")
    slack.channels[CHANNEL].archived = True
    (finding,) = await check.send_samples(config, Clock(), ["support"])
    assert not finding.ok
    assert "is_archived" in finding.text
    with State.open(config.database, migrate=False) as state:
        assert [block.scope for block in blocks.get_parked(state)] == ["destination:slack:support"]


async def test_an_alert_that_is_refused_for_good_is_trouble(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert await serve(config, Clock(), {}, once=True)
    mailbox.data_replies.extend(["554 5.7.1 not wanted"] * 2)
    wix.add(SITE, STALE)
    await serve(config, Clock(), {}, once=True)
    await serve(config, Clock(), {}, once=True)
    posts = [post for post in slack.posts if "refused for good" in post.text]
    assert len(posts) == 1
    assert "554 5.7.1 not wanted" in posts[0].text


async def test_a_refused_alert_names_no_site_of_another_receiver(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    both = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
    one = f'[[receivers]]\nname = "other"\nslack = "{CHANNEL}"\nsites = ["Patisserie"]\n'
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    cafe = f'[[sites]]\nname = "Patisserie"\nsite_id = "{OTHER}"\napi_key = "env:WIX_API_KEY"\n'
    path = write_config(wix, slack, mailbox, receivers=both + one, extra=cafe)
    config = load_config(path, SECRETS, secrets=True)
    assert await serve(config, Clock(), {}, once=True)
    mailbox.data_replies.extend(["554 5.7.1 not wanted"] * 2)
    wix.add(SITE, STALE)
    for _ in range(2):
        await serve(config, Clock(), {}, once=True)
    [post] = [post for post in slack.posts if "refused for good" in post.text]
    assert SITE not in f"{post.text} {post.blocks}"


async def test_addresses_that_refuse_our_mail_are_trouble_until_all_take_it(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    both = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}", "gone@example.com"]\n'
    team = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    config = load_config(
        write_config(wix, slack, mailbox, receivers=both + team), SECRETS, secrets=True
    )
    assert await serve(config, Clock(), {}, once=True)
    mailbox.refuse["gone@example.com"] = "550 5.1.1 no such user"
    wix.add(SITE, STALE)
    await serve(config, Clock(), {}, once=True)
    await serve(config, Clock(), {}, once=True)
    assert sum("Some addresses of owner refuse our mail" in post.text for post in slack.posts) == 1
    assert not any("gone@example.com" in post.text for post in slack.posts)
    mailbox.refuse.clear()
    wix.add(SITE, STALE)
    await serve(config, Clock(), {}, once=True)
    await serve(config, Clock(), {}, once=True)
    assert sum("🟢" in post.text for post in slack.posts) == 1


async def test_a_state_file_that_cannot_be_written_is_notified_directly_and_once(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    async with open_destinations(config, clock) as destinations:
        state_failure = StateFailure(config, clock, destinations, state)
        await state_failure.notify(StateBusy("locked"))
        assert not mailbox.mails
        for _ in range(3):
            await state_failure.notify(StateError("database or disk is full"))
        for destination in destinations:
            await destination.notifier.close()
    assert [mail.subject for mail in mailbox.mails] == ["⚠️ The database cannot be written"]
    assert "disk is full" in mailbox.mails[0].text
    assert len(slack.posts) == 1


async def test_a_state_file_that_stays_locked_is_notified_too(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox
) -> None:
    async with open_destinations(config, clock) as destinations:
        state_failure = StateFailure(config, clock, destinations, state)
        for _ in range(10):
            await state_failure.notify(StateBusy("locked"))
            clock.advance(minutes=1)
        for destination in destinations:
            await destination.notifier.close()
    assert len(mailbox.mails) == 1


# Templates


@pytest.fixture
def own(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    """A folder of an owner's templates, in a config with receivers by email only."""
    two = (
        f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
        '[[receivers]]\nname = "admin"\nemail = ["a@example.com"]\ntrouble = true\n'
    )
    path = write_config(wix, slack, mailbox, receivers=two)
    path.write_text(f'templates = "mine"\n{path.read_text()}')
    folder = path.parent / "mine"
    folder.mkdir()
    return folder


def template_subjects(mailbox: Mailbox) -> list[str]:
    return [
        f"{mail.recipients[0]}: {mail.subject}"
        for mail in mailbox.mails
        if "template" in mail.subject
    ]


BROKEN = "a@example.com: ⚠️ The template new.txt does not work, and the built-in one is used instead"
MENDED = "a@example.com: 🟢 The template new.txt works again, after less than a minute"


@pytest.mark.parametrize(
    ("changes", "queued"),
    [
        ("begin", {"trouble": 2}),
        ("begin, end", {"recovered": 2}),
        ("begin, end, begin", {"trouble": 2}),
    ],
)
def test_a_retry_sends_no_trouble_that_is_over_and_no_end_of_what_lasts(
    load: Load, state: State, tmp_path: Path, clock: SetClock, changes: str, queued: dict[str, int]
) -> None:
    about = Troubles(state, load(), clock, wake=lambda _: None)
    for change in changes.split(", "):
        clock.advance(hours=2)
        if change == "begin":
            about.begin(Scope.SITE.of(SITE), "401")
        else:
            about.end([Scope.SITE.of(SITE)])
        state.execute("UPDATE deliveries SET status = 'failed' WHERE status = 'pending'")
    result = CliRunner().invoke(retry.command, ["--config", str(tmp_path / "config.toml")])
    assert result.output.startswith("2 failed deliveries are queued again")
    rows = state.rows(
        "SELECT kind, count(*) AS number FROM deliveries JOIN alerts ON alerts.id = alert"
        " WHERE status = 'pending' GROUP BY kind"
    )
    assert {row["kind"]: row["number"] for row in rows} == queued
    assert state.value("SELECT count(*) FROM deliveries WHERE status = 'failed'") == 0


async def test_a_template_that_breaks_is_notified_once_and_its_recovery_once(
    own: Path, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load_config(own.parent / "config.toml", SECRETS, secrets=True)
    (own / "new.txt").write_text("\n{{ review.body.index('not there') }}")
    assert await serve(config, Clock(), {}, once=True)
    for title in ("Stale", "Dry"):
        wix.add(SITE, {"content": {"rating": 1, "title": title, "body": "Hard as stone."}})
        for _ in range(2):
            assert await serve(config, Clock(), {}, once=True)
    assert template_subjects(mailbox) == [BROKEN]
    text = next(mail.text for mail in mailbox.mails if "template" in mail.subject)
    assert "What happened: new.txt, line 2: ValueError" in text
    assert "Hard" not in text
    assert sum("Hard as stone." in mail.text for mail in mailbox.mails) == 4
    (own / "new.txt").write_text("{{ review.body }}")
    wix.add(SITE, STALE)
    for _ in range(2):
        assert await serve(config, Clock(), {}, once=True)
    assert template_subjects(mailbox) == [BROKEN, MENDED]


async def test_a_template_that_breaks_with_some_reviews_is_notified_once(
    own: Path, wix: EmbeddedWix, mailbox: Mailbox, clock: SetClock
) -> None:
    config = load_config(own.parent / "config.toml", SECRETS, secrets=True)
    (own / "new.txt").write_text("{{ review.title[0] ~ 1 // review.body | length }}")
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, clock) as runtime:
            assert await runtime.poller.round(config.sites[0])
            for body in ("", "Dry", "", "Dry"):
                wix.add(SITE, {"content": {"rating": 1, "title": "Stale", "body": body}})
                assert await runtime.poller.round(config.sites[0])
                assert await runtime.dispatcher.run(list(IdleReason))
                assert await runtime.dispatcher.run(list(IdleReason))
            assert template_subjects(mailbox) == [BROKEN]
            (own / "new.txt").write_text("{{ review.title }}")
            wix.add(SITE, STALE)
            assert await runtime.poller.round(config.sites[0])
            assert await runtime.dispatcher.run(list(IdleReason))
            assert await runtime.dispatcher.run(list(IdleReason))
    assert template_subjects(mailbox) == [BROKEN, MENDED]


@pytest.mark.sqlite  # takes long, for what templates do
async def test_a_check_that_finds_the_templates_good_ends_their_trouble(
    own: Path, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load_config(own.parent / "config.toml", SECRETS, secrets=True)
    (own / "new.txt").write_text("{{ no }}")
    assert await serve(config, Clock(), {}, once=True)
    wix.add(SITE, STALE)
    assert await serve(config, Clock(), {}, once=True)
    assert [finding.ok for finding in check.check_templates(config, Clock())] == [False]
    (own / "new.txt").unlink()
    assert [finding.ok for finding in check.check_templates(config, Clock())] == [True]
    async with (
        open_wix(config, Clock()) as wix_client,
        open_destinations(config, Clock()) as destinations,
    ):
        await check.check_services(
            config, Clock(), wix_client, destinations, check.template_scopes()
        )
    with State.open(config.database, migrate=False) as state:
        assert troubles.get_open_troubles(state) == []
    assert await serve(config, Clock(), {}, once=True)
    assert template_subjects(mailbox) == [BROKEN, MENDED]


async def test_a_state_file_that_is_locked_now_and_then_is_not_notified(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox
) -> None:
    async with open_destinations(config, clock) as destinations:
        state_failure = StateFailure(config, clock, destinations, state)
        for _ in range(10):
            await state_failure.notify(StateBusy("locked"))
            clock.advance(minutes=6)
    assert not mailbox.mails


async def test_a_slow_mail_server_delays_neither_notices_nor_the_workers(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    mailbox.hang = 10 * HANG
    async with open_destinations(config, clock) as destinations:
        notifying = asyncio.create_task(
            StateFailure(config, clock, destinations, state).notify(
                StateError("database or disk is full")
            )
        )
        await until(lambda: len(slack.posts) == 1 and mailbox.mails and len(clock.timeouts) == 1)
        clock.advance(seconds=30)
        await asyncio.wait_for(notifying, HANG)
        mailbox.hang = 0
        (owner,) = [destination for destination in destinations if destination.receiver == "owner"]
        message = sample("new", SITE, clock.now(), domain="example.com")
        await owner.notifier.send(message, owner.render(message))
        await owner.notifier.close()
    assert mailbox.mails[-1].message_id == f"<{message.uid}>"


class _Hasty(Clock):
    """Each look at it is three minutes after the one before."""

    minutes = 0

    def monotonic(self) -> float:
        self.minutes += 3
        return self.minutes * 60.0


@pytest.mark.slow
@pytest.mark.sqlite  # a cluster goes by the time of its server, which no test can hurry
async def test_a_database_locked_at_the_start_is_notified_after_five_minutes(
    config: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    State.open(config.database, migrate=True).close()
    with locked(config.database):
        with pytest.raises(StateBusy):
            await serve(config, Clock(), {}, once=True)
        assert not mailbox.mails
        clock = _Hasty()
        with pytest.raises(StateBusy):
            await serve(config, clock, {}, once=False)
        assert clock.minutes >= 6
    assert [mail.subject for mail in mailbox.mails] == ["⚠️ alerter does not start"]
    assert "locked by another process" in mailbox.mails[0].text
    assert not wix.requests
