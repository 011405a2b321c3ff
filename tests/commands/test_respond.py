"""`alerter moderate`, `claim` and `snooze`, canned replies, and what these commands share."""

import getpass
import os
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from alerter.actions import Action, ActionKind, ActionStatus, NewAction, Outcome, Person, Through
from alerter.clock import Clock
from alerter.commands import claim, moderate
from alerter.commands.reply import ENDS_HERE
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Status
from alerter.store import State, actions
from tests.support.answering import (
    MAIL_ONLY,
    MODERATE,
    OTHER,
    REPLY,
    TWO,
    QuickClock,
    Run,
    alerted,
    alerter,
    load,
    path,
    put,
    reply_of,
    sent,
    standing,
    watch,
)
from tests.support.terminal import CTRL_C, on_a_terminal
from tests.support.values import SECRETS, SITE
from tests.support.waiting import until

__all__ = ["alerter", "path"]

PENDING = {"moderation": {"moderationStatus": "IN_MODERATION"}}
CANNED = """
[[replies]]
name = "Sorry"
text = "Dear {{ author or 'customer' }}, we are sorry. {{ site }}"
[[replies]]
name = "Broken"
text = "{{ autor }}"
"""
LINK = f"https://manage.wix.com/dashboard/{SITE}/reviews/pending"


def recorded(path: Path, review_id: str = "r1") -> list[Action]:
    with State.read(load(path).database) as state:
        return actions.get_actions(state, SITE, review_id)


def claimed_by(path: Path) -> str:
    with State.read(load(path).database) as state:
        found = actions.get_responses(state, [(SITE, "r1")], Clock().now())
        return found[SITE, "r1"].claimed_by


# Publish and reject


@pytest.mark.parametrize(
    ("flag", "status", "says"),
    [
        ("--publish", "APPROVED", "The review is published."),
        ("--reject", "REJECTED", "The review is rejected."),
    ],
)
async def test_a_pending_review_is_moderated(
    alerter: Run, path: Path, wix: EmbeddedWix, flag: str, status: str, says: str
) -> None:
    await alerted(path, wix, "r1-and-more", **PENDING)
    result = await alerter("moderate", "r1", flag, "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "review r1-and-more",
        "★☆☆☆☆  “Title of r1-and-more” on Corner Bakery",
        "  > Hard as stone.",
        "  > Never again.",
        "Not published yet: in moderation",
        says,
    ]
    assert sent(wix) == [{"status": status}]
    [action] = recorded(path, "r1-and-more")
    assert (action.status, action.new.through) == (ActionStatus.DONE, Through.COMMAND)
    assert action.new.person == Person(getpass.getuser())

    again = await alerter("moderate", "r1", flag, "--yes")
    assert (again.exit_code, len(sent(wix))) == (0, 1)
    assert "Nothing was changed: the review is" in again.stdout


async def test_without_a_state_file_a_review_is_moderated_all_the_same(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r1", **PENDING)
    assert (await alerter("moderate", "r1", "--publish", "--yes")).exit_code == 0
    assert sent(wix) == [{"status": "APPROVED"}]
    assert not load(path).database.exists()


async def test_moderation_that_wix_forbids_is_reported_with_the_way_out(
    alerter: Run, wix: EmbeddedWix
) -> None:
    put(wix, "r1", **PENDING)
    wix.faults.always(MODERATE, Fault(status=403, body="{}"))
    result = await alerter("moderate", "r1", "--publish", "--yes")
    assert result.exit_code == 1
    assert "grant the key or app Manage Reviews; moderate in the dashboard: " in result.stderr
    assert LINK in result.stderr


async def test_on_a_terminal_moderation_asks_first(path: Path, wix: EmbeddedWix) -> None:
    put(wix, "r1", **PENDING)
    command = ["moderate", "r1", "--reject", "--config", str(path)]
    async with on_a_terminal(*command, **SECRETS) as terminal:
        await terminal.read_until("Reject it?")
        assert await terminal.end(b"\n") == 1
    assert sent(wix) == []


# Claims


async def test_a_claim_is_recorded_replaced_and_released(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    wix.requests.clear()
    first = await alerter("claim", "r", "--by", "Ada")
    assert first.exit_code == 0, first.output
    [shortened, said] = first.stdout.splitlines()
    assert shortened == "review r1"
    assert said.startswith("Ada is on it: its reminders wait until ")
    assert claimed_by(path) == "Ada"
    [action] = recorded(path)
    assert action.new.until
    assert timedelta(hours=47) < action.new.until - Clock().now() < timedelta(hours=49)

    second = await alerter("claim", "r1")
    assert second.stdout.rstrip().endswith(" (Ada was on it until now)")
    assert claimed_by(path) == getpass.getuser()

    released = await alerter("claim", "r1", "--release", "--by", "Ada")
    assert "the claim has ended" in released.stdout
    assert claimed_by(path) == ""
    assert "it is not claimed\n" in (await alerter("claim", "r1", "--release")).stdout
    assert len(recorded(path)) == 3
    assert wix.requests == []


BAD_NAMES = {"empty": "", "blank": " ", "two lines": "Ada\nBo", "long": "x" * 101, "bell": "a\x07"}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
async def test_a_name_that_is_none_is_a_usage_error(
    alerter: Run, path: Path, wix: EmbeddedWix, name: str
) -> None:
    await alerted(path, wix, "r1")
    result = await alerter("claim", "r1", "--by", name)
    assert result.exit_code == 2
    assert "must be a name on one line" in result.stderr
    assert recorded(path) == []


@pytest.mark.parametrize("command", [["claim", "r1"], ["snooze", "r1", "2h"]])
async def test_a_review_that_needs_no_answer_is_not_held(
    alerter: Run, path: Path, wix: EmbeddedWix, command: list[str]
) -> None:
    await alerted(path, wix, "r1")
    assert (await alerter("reply", "r1", "--message", "Sorry!", "--yes")).exit_code == 0
    result = await alerter(*command)
    assert result.exit_code == 1
    assert "this review needs no answer any more" in result.stderr


@pytest.mark.parametrize(
    "command",
    [["reply", "--message", "Sorry!"], ["moderate", "--publish"]],
    ids=lambda each: each[0],
)
async def test_a_wix_that_cannot_be_reached_is_reported_at_once(
    alerter: Run, wix: EmbeddedWix, command: list[str]
) -> None:
    put(wix, "r1")
    wix.faults.always("r1", Fault(status=503))
    result = await alerter(command[0], "r1", "--yes", *command[1:])
    assert result.exit_code == 1
    assert f"nothing was sent. In the dashboard: {LINK}" in result.stderr


@pytest.mark.parametrize("command", [["claim"], ["snooze", "--", "2h"]])
async def test_a_review_that_is_not_on_record_is_not_held(
    alerter: Run, path: Path, wix: EmbeddedWix, command: list[str]
) -> None:
    await alerted(path, wix, "3f1c9a7e-one")
    name, *until = command
    result = await alerter(name, "3f1c9a7f-one", *until[1:])
    assert result.exit_code == 1
    assert "review 3f1c9a7f-one is not on record of Corner Bakery" in result.stderr
    assert 'did you mean "3f1c9a7e-one"?' in result.stderr


async def test_an_open_review_that_is_gone_is_not_asked_for_by_its_own_id(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "3f1c9a7e-one")
    wix.delete(SITE, "3f1c9a7e-one")
    result = await alerter("reply", "3f1c", "--message", "Sorry!", "--yes")
    assert result.exit_code == 1
    assert "Corner Bakery has no review 3f1c9a7e-one, or none that we may see" in result.stderr
    assert "did you mean" not in result.stderr


# Snoozes


async def test_a_review_is_snoozed_until_a_moment(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    result = await alerter("snooze", "r1", "2h")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("its reminders wait until ")
    [action] = recorded(path)
    assert (action.new.kind, action.outcome) == (ActionKind.SNOOZE, Outcome.DONE)
    assert action.new.until
    assert timedelta(hours=1) < action.new.until - Clock().now() <= timedelta(hours=2)


@pytest.mark.parametrize(
    ("moment", "says"), [("2020-01-31", '"2020-01-31" is past'), ("later", "is not a moment such")]
)
async def test_a_snooze_until_no_future_moment_is_a_usage_error(
    alerter: Run, path: Path, wix: EmbeddedWix, moment: str, says: str
) -> None:
    await alerted(path, wix, "r1")
    result = await alerter("snooze", "r1", moment)
    assert result.exit_code == 2
    assert says in result.stderr
    assert recorded(path) == []


# Usage


USAGE = {
    "no decision": (["moderate", "r1", "--yes"], "either --publish or --reject"),
    "two decisions": (
        ["moderate", "r1", "--publish", "--reject", "--yes"],
        "either --publish or --reject",
    ),
    "nobody to ask": (["moderate", "r1", "--publish"], "--yes sends it without asking"),
    "no message": (["reply", "r1", "--yes"], "say what to reply with --message or --canned"),
    "two messages": (
        ["reply", "r1", "--yes", "--message", "x", "--canned", "Sorry"],
        "exclude each other",
    ),
    "an unknown canned reply": (
        ["reply", "r1", "--yes", "--canned", "Sory"],
        'there is no canned reply "Sory"; did you mean "Sorry"?',
    ),
    "an unknown site": (
        ["claim", "r1", "--site", "Bakery"],
        'there is no site "Bakery"; did you mean "Corner Bakery"?',
    ),
    "an empty id": (["claim", ""], "an id cannot be empty"),
    "an id of two sites": (["snooze", "both", "2h"], "name one of them with --site"),
    "a beginning of two ids": (["claim", "b"], '"b" is the beginning of several ids: both, bread'),
    "a command that is misspelt": (["snoze"], "Did you mean 'snooze'?"),
}


@pytest.fixture
async def two_sites(
    write_config: Callable[..., Path],
    path: Path,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> None:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    assert write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra=TWO + CANNED) == path


@pytest.mark.usefixtures("two_sites")
async def test_wrong_usage_exits_with_2_and_changes_nothing(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1", "both", "bread")
    put(wix, "both", OTHER)
    await watch(path)
    for args, says in USAGE.values():
        result = await alerter(*args)
        assert result.exit_code == 2, args
        assert says in result.stderr
    assert sent(wix) == []
    assert recorded(path) == []


# Canned replies and the editor


@pytest.mark.usefixtures("two_sites")
async def test_a_canned_reply_is_rendered_with_the_review_and_sent(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    broken = await alerter("reply", "r1", "--canned", "Broken", "--yes")
    assert broken.exit_code == 1
    assert "template of the reply \"Broken\", line 1: 'autor' is undefined" in broken.stderr
    result = await alerter("reply", "r1", "--canned", "Sorry", "--yes")
    assert result.exit_code == 0, result.output
    assert reply_of(wix, "r1") == "Dear customer, we are sorry. Corner Bakery"


EDITOR = """#!/bin/sh
cp "$1" "$0.seen"
if [ -s "$0.text" ]; then { cat "$0.text"; cat "$0.seen"; } > "$1"; : > "$0.text"; fi
"""


async def test_without_a_message_a_person_writes_it_below_the_review(
    path: Path, wix: EmbeddedWix, tmp_path: Path
) -> None:
    put(wix, "r1")
    editor, text = tmp_path / "editor", tmp_path / "editor.text"
    editor.write_text(EDITOR)
    editor.chmod(0o700)
    text.write_text("x" * 10_001)
    environ = SECRETS | {"VISUAL": str(editor), "EDITOR": "/bin/false"}
    async with on_a_terminal("reply", "r1", "--config", str(path), **environ) as terminal:
        await terminal.read_until("the reply has 10,001 characters, and Wix takes 10,000")
        await terminal.read_until("Edit it again?")
        assert (tmp_path / "editor.seen").exists()
        text.write_text(f"#1 of our mistakes.\nSorry!\n{ENDS_HERE}\n")
        os.write(terminal.ours, b"\n")
        await terminal.read_until("Send it?")
        assert (tmp_path / "editor.seen").read_text().startswith("x" * 10_001)
        seen = (tmp_path / "editor.seen").read_text()
        assert "\n# ★☆☆☆☆  “Title of r1” on Corner Bakery\n#   > Hard as stone.\n" in seen
        text.write_text("To be clear:\n")
        os.write(terminal.ours, b"e\n")
        await terminal.read_until("Send it?")
        assert (tmp_path / "editor.seen").read_text().startswith("#1 of our mistakes.\nSorry!\n")
        assert await terminal.end(b"y\n") == 0
    assert reply_of(wix, "r1") == "To be clear:\n#1 of our mistakes.\nSorry!"


async def test_an_editor_that_is_closed_without_a_reply_sends_nothing(
    path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    environ = SECRETS | {"VISUAL": "/bin/true"}
    async with on_a_terminal("reply", "r1", "--config", str(path), **environ) as terminal:
        assert await terminal.end() == 1
        assert "nothing was written, and nothing is sent" in terminal.shown
    assert sent(wix) == []


# Other processes


async def test_ctrl_c_while_a_reply_is_sent_leaves_it_to_the_daemon(
    path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    wix.faults.add(REPLY, Fault(delay=30))
    command = ["reply", "r1", "--message", "Sorry!", "--yes", "--config", str(path)]
    async with on_a_terminal(*command, **SECRETS) as terminal:
        await until(lambda: bool(sent(wix)))
        assert await terminal.end(CTRL_C) == 1
        assert "interrupted; it is on record: the daemon" in terminal.shown
    [action] = recorded(path)
    assert (action.status, action.calls) == (ActionStatus.SENDING, 1)
    with State.open(load(path).database, migrate=False) as state:
        state.execute("UPDATE actions SET lease_until = 0")
    await watch(path)
    assert recorded(path)[0].outcome is Outcome.DONE
    assert standing(path, "r1") is Status.CLOSED
    assert len(sent(wix)) == 1


async def test_a_command_waits_while_another_process_holds_the_state_file(
    path: Path, wix: EmbeddedWix, capsys: pytest.CaptureFixture[str]
) -> None:
    await alerted(path, wix, "r1")
    config = load(path)
    other = sqlite3.connect(config.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    clock = QuickClock(between=lambda: other.in_transaction and other.rollback())
    await claim.run(config, clock, config.sites[0], "r1", "Ada", release=False)
    other.close()
    assert clock.slept
    assert capsys.readouterr().out.startswith("Ada is on it")


async def test_a_command_waits_for_another_action_on_the_same_review(
    path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1", **PENDING)
    config, lease = load(path), timedelta(seconds=60)
    now = Clock().now()
    with State.open(config.database, migrate=False) as state:
        others = NewAction("k", ActionKind.REPLY, SITE, "r1", Person("Bo"), Through.SLACK)
        with state.transaction(f"site:{SITE}"):
            first, _ = actions.put_action(state, others, now)
            taken = actions.take_action(state, first.id, "run:1", now, lease)
        assert taken

        def settle() -> None:
            assert sent(wix) == []
            actions.settle_action(state, taken, Outcome.FORBIDDEN, "", now, good=False)

        clock = QuickClock(between=settle)
        await moderate.run(config, clock, config.sites[0], "r1", ActionKind.PUBLISH, yes=True)
    assert clock.slept
    assert sent(wix) == [{"status": "APPROVED"}]
