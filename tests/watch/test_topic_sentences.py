"""Each topic is found in plain complaints, and not in sentences that only mention its things."""

import tomllib
from functools import cache
from pathlib import Path

import pytest

from alerter.config.fields import LANGUAGES, TOPICS
from alerter.watch.topics import Topics

SENTENCES = tomllib.loads(Path(__file__).with_name("topic_sentences.toml").read_text("utf-8"))
EACH = [(language, topic) for language in LANGUAGES for topic in TOPICS]


@cache
def topics_in(*languages: str) -> Topics:
    return Topics(languages, {})


@pytest.mark.parametrize(("language", "topic"), EACH)
def test_each_topic_is_found_in_its_complaints(language: str, topic: str) -> None:
    topics, complaints = topics_in(language), SENTENCES[language][topic]["complaints"]
    assert len(complaints) >= (3 if language == "en" else 2)
    assert [each for each in complaints if topic not in topics.of(each)] == []


@pytest.mark.parametrize(("language", "topic"), EACH)
def test_nothing_is_found_in_harmless_sentences(language: str, topic: str) -> None:
    topics, harmless = topics_in(language), SENTENCES[language][topic]["harmless"]
    assert len(harmless) >= (3 if language == "en" else 2)
    found = {each: topics.words_in(each) for each in harmless}
    assert {each: words for each, words in found.items() if words} == {}


@pytest.mark.parametrize("topic", TOPICS)
def test_the_other_languages_find_nothing_in_harmless_english(topic: str) -> None:
    others = topics_in(*sorted(set(LANGUAGES) - {"en"}))
    found = {each: others.words_in(each) for each in SENTENCES["en"][topic]["harmless"]}
    assert {each: words for each, words in found.items() if words} == {}
