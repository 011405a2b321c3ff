"""What reviews complain about, in each message and language."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.config.fields import LANGUAGES, TOPICS
from alerter.models import Product
from alerter.render.language import get_language
from alerter.render.phrases import name_topic
from alerter.render.renderer import Renderer
from alerter.render.samples import sample
from alerter.render.summary_view import view_summary
from alerter.store.summaries import LowRated
from alerter.summary import count_ratings, figures
from tests.support.values import SITE

NOW = datetime(2026, 11, 26, 18, tzinfo=UTC)
HOSTILE = "<b>*x*</b> <!channel> @here"


@pytest.fixture
def renderer() -> Renderer:
    return Renderer(None, UTC, {SITE: "Corner Bakery"})


def of_kind(kind: str, *topics: str) -> Any:
    message = sample(kind, SITE, NOW)
    entry = message.entries[0]
    assert entry.review
    return replace(message, entries=(replace(entry, review=replace(entry.review, topics=topics)),))


def test_each_built_in_topic_has_a_name_of_its_own_in_each_language() -> None:
    for code in LANGUAGES:
        names = {name_topic(topic, get_language(code)) for topic in TOPICS}
        assert len(names) == len(TOPICS), code
    assert name_topic("delivery", get_language("de")) == "Lieferung"


def test_an_own_topic_is_named_as_in_the_config_on_one_short_line() -> None:
    name = name_topic("Glitter\n and\u202e more " * 20, get_language("en"))
    assert name.startswith("Glitter and more")
    assert len(name) <= 40


@pytest.mark.parametrize("kind", ["new", "lowered", "reminder", "digest"])
@pytest.mark.parametrize(("code", "name"), [("en", "Delivery"), ("de", "Lieferung")])
def test_a_message_names_the_topics(renderer: Renderer, kind: str, code: str, name: str) -> None:
    message = of_kind(kind, "delivery", "glitter")
    mail = renderer.mail(message, language=code)
    slack = renderer.slack(message, language=code)
    shown = json.dumps(slack.blocks, ensure_ascii=False)
    for content in (mail.text, mail.html, shown):
        assert name in content
        assert "glitter" in content


@pytest.mark.parametrize("kind", ["new", "digest"])
def test_without_a_topic_a_message_says_nothing_of_topics(renderer: Renderer, kind: str) -> None:
    mail = renderer.mail(of_kind(kind))
    assert "Topics" not in mail.text
    assert 'class="tag"' not in mail.html


def test_the_name_of_a_topic_is_no_markup(renderer: Renderer) -> None:
    message = of_kind("new", HOSTILE)
    mail = renderer.mail(message)
    blocks = renderer.slack(message).blocks
    assert "<b>*x*" not in mail.html
    assert "&lt;b&gt;*x*&lt;/b&gt;" in mail.html
    texts = [element for block in blocks for element in block.get("elements", ())]
    assert not [each for each in texts if each.get("type") == "mrkdwn"]


def low(*topics: str) -> LowRated:
    return LowRated(1, NOW - timedelta(days=1), None, Product(), False, None, topics=topics)


def test_a_summary_counts_topics_beside_the_period_before(renderer: Renderer) -> None:
    now = [low("delivery"), low("delivery", "taste"), low(), low("glitter")]
    before = [low("taste"), low("taste"), low("price")]
    found = figures(now, [], [], 9) | {"before": count_ratings(before, 7), "unread": False}
    detail = {
        "name": "Weekly",
        "since": (NOW - timedelta(days=7)).isoformat(),
        "until": NOW.isoformat(),
        "receivers": {"owner": [SITE], "test": [SITE]},
        "sites": {SITE: found},
    }
    view = view_summary(detail, "owner", UTC, {SITE: "Bakery"}, get_language("en"))
    assert [(each.name, each.number, each.before) for each in view.topics] == [
        ("Delivery", 2, 0),
        ("Taste or smell", 1, 2),
        ("glitter", 1, 0),
        ("Price", 0, 1),
    ]
    message = sample("summary", SITE, NOW)
    entry = message.entries[0]
    message = replace(message, entries=(replace(entry, alert=replace(entry.alert, detail=detail)),))
    mail = renderer.mail(message)
    assert "Delivery        2 (before: 0)" in mail.text
    assert "Taste or smell" in mail.html
    slack = renderer.slack(message)
    assert "Taste or smell  1 (before: 2)" in json.dumps(slack.blocks)


def test_a_summary_of_an_earlier_version_has_no_topics() -> None:
    found = figures([low("taste")], [], [], 1) | {"unread": False}
    del found["topics"]
    detail = {
        "name": "Weekly",
        "since": (NOW - timedelta(days=7)).isoformat(),
        "until": NOW.isoformat(),
        "receivers": {"owner": [SITE], "test": [SITE]},
        "sites": {SITE: found},
    }
    view = view_summary(detail, "owner", UTC, {SITE: "Bakery"}, get_language("en"))
    assert view.topics == []
