"""What checking finds out about Slack before a message is lost."""

from collections.abc import Callable, Iterable

import pytest

from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack
from alerter.notify.slack import SlackNotifier
from tests.support.slack import (
    PERSON,
    TOKEN,
    Make,
    make,
    message,
    methods,
    notifier,
    saying,
    session,
    slack,
)
from tests.support.values import CHANNEL, SCOPES

__all__ = ["make", "message", "notifier", "session", "slack"]


# Checking


def archive(slack: EmbeddedSlack) -> None:
    slack.channels[CHANNEL].archived = True


def leave(slack: EmbeddedSlack) -> None:
    slack.channels[CHANNEL].member = False


def remove(slack: EmbeddedSlack) -> None:
    del slack.channels[CHANNEL]


def take_out_chat_write(slack: EmbeddedSlack) -> None:
    slack.add_token(TOKEN, scopes=[scope for scope in SCOPES if scope != "chat:write"])


def revoke(slack: EmbeddedSlack) -> None:
    slack.revoke(TOKEN)


def nothing(_: EmbeddedSlack) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "ok", "warning", "says"),
    [
        pytest.param(nothing, True, False, "reviews in Embedded", id="good"),
        pytest.param(archive, False, False, "unarchive it", id="archived"),
        pytest.param(leave, False, False, "invite the app", id="not a member"),
        pytest.param(remove, False, False, "correct its id", id="no such channel"),
        pytest.param(revoke, False, False, "token_revoked", id="revoked token"),
        pytest.param(take_out_chat_write, False, False, "chat:write", id="no scope to post"),
    ],
)
async def test_checking_says_what_would_keep_a_post_away(
    slack: EmbeddedSlack,
    notifier: SlackNotifier,
    prepare: Callable[[EmbeddedSlack], None],
    ok: bool,
    warning: bool,
    says: str,
) -> None:
    prepare(slack)
    finding = (await notifier.check())[0]
    assert (finding.ok, finding.warning, finding.subject) == (ok, warning, "receiver support")
    assert says in finding.text
    assert "chat.postMessage" not in methods(slack)
    assert slack.posts == []


TWICE = "a message whose answer is lost may be posted twice"
UNSEEN = "`alerter check` cannot see whether the channel is there"


@pytest.mark.parametrize(
    ("receiver", "private", "granted", "lines"),
    [
        (CHANNEL, False, "chat:write channels:read", [f"without channels:history {TWICE}"]),
        (
            CHANNEL,
            True,
            "chat:write groups:read channels:history",
            [f"without groups:history {TWICE}"],
        ),
        (
            CHANNEL,
            False,
            "chat:write",
            [
                f"without channels:read or groups:read {UNSEEN}",
                f"without channels:history or groups:history {TWICE}",
            ],
        ),
        (
            CHANNEL,
            False,
            "chat:write channels:history",
            [f"without channels:read or groups:read {UNSEEN}"],
        ),
        (PERSON, False, "chat:write im:write im:read", [f"without im:history {TWICE}"]),
        (
            PERSON,
            False,
            "chat:write im:history",
            [
                f"without im:read {UNSEEN}",
                f"without im:write {TWICE.replace('message', 'message to a person')}",
            ],
        ),
    ],
    ids=["no history", "private", "only to post", "cannot look", "a person", "a person, unseen"],
)
async def test_checking_says_of_each_scope_that_is_missing_what_it_costs(
    slack: EmbeddedSlack, make: Make, receiver: str, private: bool, granted: str, lines: list[str]
) -> None:
    slack.channels[CHANNEL].private = private
    slack.add_token(TOKEN, scopes=granted.split())
    first, *others = await make(receiver).check()
    assert first.ok
    assert ("may not look at" in first.text) == any(UNSEEN in line for line in lines)
    assert [each.text for each in others] == [
        f"slack: {line}; grant it to the app" for line in lines
    ]
    assert all(each.ok and each.warning for each in others)


async def test_a_slack_that_names_no_scopes_is_not_taken_to_grant_none(
    slack: EmbeddedSlack, notifier: SlackNotifier
) -> None:
    slack.faults.add("auth.test", Fault(status=200, body='{"ok": true, "team": "Behind a proxy"}'))
    (finding,) = await notifier.check()
    assert (finding.ok, finding.warning) == (True, False)


async def test_checking_finds_a_token_that_slack_does_not_know(make: Make) -> None:
    (finding,) = await make(token="xoxb-another").check()
    assert not finding.ok
    assert "invalid_auth" in finding.text
    assert "xoxb" not in finding.text


async def test_checking_a_slack_that_is_out_of_reach_is_no_traceback(
    slack: EmbeddedSlack, notifier: SlackNotifier
) -> None:
    await slack.stop()
    (finding,) = await notifier.check()
    assert not finding.ok
    assert "cannot be reached" in finding.text


async def test_checking_a_person_opens_the_conversation_and_says_nothing(
    slack: EmbeddedSlack, make: Make
) -> None:
    slack.add_token(TOKEN, scopes=(*SCOPES, "im:read"))
    (finding,) = await make(PERSON).check()
    assert (finding.ok, finding.warning) == (True, False)
    assert set(methods(slack)) == {
        "auth.test",
        "conversations.open",
        "conversations.info",
        "conversations.history",
        "conversations.replies",
    }
    assert slack.posts == []


@pytest.mark.parametrize(
    ("channel", "scopes", "where"),
    [
        (CHANNEL, ("chat:write", "channels:read"), "without channels:history"),
        (CHANNEL, ("chat:write",), "without channels:history or groups:history"),
        (PERSON, ("chat:write", "im:write", "im:read"), "without im:history"),
        (CHANNEL, SCOPES, "we may not look into its threads"),
    ],
    ids=["no channels:history", "chat:write alone", "no im:history", "threads are refused to bots"],
)
async def test_checking_says_beforehand_what_may_come_to_be_posted_twice(
    slack: EmbeddedSlack, make: Make, channel: str, scopes: Iterable[str], where: str
) -> None:
    slack.add_token(TOKEN, scopes=scopes)
    slack.faults.always("conversations.replies", saying("not_allowed_token_type"))
    finding = (await make(channel).check())[-1]
    assert (finding.ok, finding.warning) == (True, True)
    assert where in finding.text
    assert "may be posted twice" in finding.text
