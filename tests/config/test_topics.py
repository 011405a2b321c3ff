"""Topics in a config: the owner's own, those of receivers, and up to which rating they count."""

import pytest

from tests.support.config import FULL, LEAST, Faults, Load, changed

OWN = '\n[[topics]]\nname = "allergens"\nwords = ["nuts", "contains milk"]\n'


def test_own_topics_and_those_of_receivers_are_read(load: Load) -> None:
    text = changed("burst = 10", "burst = 10\ntopics_up_to = 4")
    text = changed("max_rating = 1", 'topics = ["hygiene", "allergens"]', text)
    config = load(text + OWN + '[[topics]]\nname = "taste"\nwords = ["meh"]')

    assert [(each.name, each.words) for each in config.topics] == [
        ("allergens", ("nuts", "contains milk")),
        ("taste", ("meh",)),
    ]
    assert [each.topics for each in config.receivers] == [None, ("hygiene", "allergens")]
    limits = [config.limits(site) for site in config.sites]
    assert [(each.plain, each.with_topic) for each in limits] == [(3, 4), (2, 4)]


def test_without_topics_only_the_threshold_counts(load: Load) -> None:
    config = load(FULL)
    assert config.topics == ()
    assert [config.limits(site).with_topic for site in config.sites] == [3, 2]


def test_topics_up_to_below_the_threshold_changes_nothing(load: Load) -> None:
    config = load(changed("burst = 10", "topics_up_to = 1"))
    assert [config.limits(site).with_topic for site in config.sites] == [3, 2]


def test_the_languages_are_those_of_the_receivers(load: Load) -> None:
    assert load(LEAST).languages == {"en"}
    two = changed("max_rating = 1", 'language = "de"')
    assert load(two).languages == {"en", "de"}


@pytest.mark.parametrize(
    ("own", "key", "text"),
    [
        ('name = "x"\nwords = []', "topics.1.words", "must name at least one"),
        ('name = "x"\nwords = "hair"', "topics.1.words", "must be a list"),
        ('name = "x"', "topics.1.words", "is missing"),
        ('words = ["hair"]', "topics.1.name", "is missing"),
        ('name = " "\nwords = ["hair"]', "topics.1.name", "must be a text"),
        ('name = "x"\nwords = ["hair", ""]', "topics.1.words.2", "must be a word or a phrase"),
        ('name = "x"\nwords = ["  "]', "topics.1.words.1", "must be a word or a phrase"),
        ('name = "x"\nwords = ["-"]', "topics.1.words.1", "must be a word or a phrase"),
        ('name = "x"\nwords = ["..."]', "topics.1.words.1", "must be a word or a phrase"),
        ('name = "x"\nwords = ["*"]', "topics.1.words.1", "must be a word or a phrase"),
        ('name = "x"\nwords = ["a\\nb"]', "topics.1.words.1", "must be a word or a phrase"),
        ('name = "x"\nwords = [1]', "topics.1.words.1", "must be a word or a phrase"),
        ('name = "Hygiene"\nwords = ["x"]', "topics.1.name", 'a built-in topic "hygiene"'),
        ('name = "x"\nword = ["x"]', "topics.1.word", "did you mean words?"),
    ],
)
def test_a_bad_topic_is_a_fault(faults: Faults, own: str, key: str, text: str) -> None:
    found = faults(f"{LEAST}\n[[topics]]\n{own}\n")
    assert [each for each in found if each.startswith(f"{key}: ") and text in each], found


def test_topics_that_are_no_tables_are_a_fault(faults: Faults) -> None:
    [found] = faults('topics = ["hygiene"]\n' + LEAST)
    assert found.startswith("topics")
    assert "must be a table of keys" in found


@pytest.mark.parametrize("second", ["allergens", "Allergens"])
def test_a_topic_that_stands_twice_is_a_fault(faults: Faults, second: str) -> None:
    found = faults(f'{LEAST}{OWN}[[topics]]\nname = "{second}"\nwords = ["soy"]')
    assert [each.partition(": ")[0] for each in found] == ["topics.1.name", "topics.2.name"]


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        ("hygeine", 'there is no topic "hygeine"; did you mean "hygiene"?'),
        ("Delivery", 'there is no topic "Delivery"; did you mean "delivery"?'),
        ("alergens", 'there is no topic "alergens"; did you mean "allergens"?'),
        ("Lieferung", 'there is no topic "Lieferung"'),
    ],
)
def test_a_topic_that_nobody_defined_is_a_fault(faults: Faults, topic: str, hint: str) -> None:
    [found] = faults(f'{LEAST}topics = ["price", "{topic}"]{OWN}')
    assert found.startswith("receivers.1.topics.2: ")
    assert hint in found


def test_a_receiver_without_any_topic_in_its_list_is_a_fault(faults: Faults) -> None:
    [found] = faults(f"{LEAST}topics = []")
    assert "receivers.1.topics: must name at least one" in found


@pytest.mark.parametrize("value", ["0", "6", '"3"', "2.5", "true"])
def test_topics_up_to_is_a_rating(faults: Faults, value: str) -> None:
    [found] = faults(changed("burst = 10", f"topics_up_to = {value}"))
    assert "alerts.topics_up_to: must be a number of stars" in found
