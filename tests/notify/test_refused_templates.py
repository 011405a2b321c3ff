"""A service refuses what an owner's template makes: the built-in one is used, and it is trouble."""

from pathlib import Path

import pytest

from alerter.demo.slack import EmbeddedSlack
from tests.support.life import Begin, Life, begin, slack, wix
from tests.support.messages import words_of

__all__ = ["begin", "slack", "wix"]

REFUSED = '[{"type": "nonsense"}]'


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


@pytest.fixture
async def life(begin: Begin, mine: Path) -> Life:
    return await begin(head='templates = "mine"')


def of_reviews(slack: EmbeddedSlack) -> list[int]:
    """How many reviews each post names."""
    return [number for post in slack.posts if (number := words_of(post.blocks).count("Title "))]


async def test_a_digest_template_that_slack_refuses_is_one_trouble(
    life: Life, mine: Path, slack: EmbeddedSlack
) -> None:
    (mine / "digest.slack.json").write_text(REFUSED)
    for _ in range(2):
        life.put(30)
        await life.minutes(2)
    assert of_reviews(slack) == [30, 30]
    assert life.open() == ["template:digest.slack.json"]
    assert life.needs_a_person()
    assert sum(call.error == "invalid_blocks" for call in slack.requests) == 1
    (mine / "digest.slack.json").write_text('[{"type": "divider"}]')
    life.put(30)
    await life.minutes(2)
    assert [{"type": "divider"}] in [post.blocks for post in slack.posts]
    assert life.open() == []


async def test_an_alert_template_that_slack_refuses_is_named_until_it_is_changed(
    life: Life, mine: Path, slack: EmbeddedSlack
) -> None:
    (mine / "new.slack.json").write_text(REFUSED)
    life.put(3)
    await life.minutes(2)
    assert of_reviews(slack) == [1, 1, 1]
    assert life.open() == ["template:new.slack.json"]
    (mine / "new.slack.json").unlink()
    life.put()
    await life.minutes(2)
    assert of_reviews(slack) == [1, 1, 1, 1]
    assert life.open() == []


async def test_a_template_that_the_owner_does_not_have_is_not_named(
    life: Life, mine: Path, slack: EmbeddedSlack
) -> None:
    (mine / "new.txt").write_text("{{ review.title }}")
    slack.refuse["chat.postMessage", "*"] = "invalid_blocks"
    life.put()
    await life.minutes(2)
    assert life.open() == ["message:slack:support"]
