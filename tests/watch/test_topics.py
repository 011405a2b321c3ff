"""Topics are found in what customers write, in each language of the messages."""

import json
import re
from pathlib import Path
from uuid import UUID

import pytest

from alerter.config.fields import LANGUAGES, TOPICS
from alerter.watch.stems import stems_in
from alerter.watch.topics import Topics, word_lists

LABELS = Path(__file__).parent / "topic_labels.json"
OF_TRADES = Path(__file__).parent / "topic_labels_of_trades.json"
# What customers write, with all of its topics.
COMPLAINTS = {
    "en": [
        ("Arrived two weeks late.", {"delivery"}),
        ("I still haven’t received my order!", {"delivery"}),
        ("The box was completely crushed.", {"packaging"}),
        ("It broke after one day.", {"quality"}),
        ("Doesnt work at all", {"quality"}),
        ("The shoes are too small and don't fit.", {"size"}),
        ("The waiter was rude to us.", {"service"}),
        ("Far too EXPENSIVE for a cup of tea", {"price"}),
        ("Tasted like cardboard. Bland.", {"taste"}),
        ("I found a hair in my soup", {"hygiene"}),
        ("I want my money back", {"returns"}),
        ("The instructions are useless", {"usability"}),
        ("They sent me the wrong colour, not as described", {"description"}),
        ("Came late, and the cake was stale.", {"delivery", "taste"}),
    ],
    "de": [
        ("Die Lieferung kam viel zu spät.", {"delivery"}),
        ("Bis heute nicht angekommen", {"delivery"}),
        ("Die Verpackung war aufgerissen", {"packaging"}),
        ("Nach zwei Tagen kaputt, funktioniert nicht mehr.", {"quality"}),
        ("Passt nicht, fällt sehr klein aus", {"size"}),
        ("Unfreundliche Bedienung!", {"service"}),
        ("Völlig überteuert", {"price"}),
        ("Der Kuchen war altbacken und schmeckte nach nichts", {"taste"}),
        ("Im Brot war Schimmel", {"hygiene"}),
        ("Habe es zurückgeschickt", {"returns"}),
        ("Der Aufbau ist sehr kompliziert", {"usability"}),
        ("Falscher Artikel geliefert", {"description"}),
        ("KAPUTTE Schuesseln, verspaetet", {"quality", "delivery"}),
    ],
    "fr": [
        ("Colis arrivé avec trois semaines de retard", {"delivery"}),
        ("Je n’ai jamais reçu ma commande.", {"delivery"}),
        ("L’emballage était déchiré", {"packaging", "quality"}),
        ("Ça ne marche pas", {"quality"}),
        ("Produit defectueux", {"quality"}),
        ("La robe est beaucoup trop petite", {"size"}),
        ("Serveuse désagréable", {"service"}),
        ("Beaucoup trop cher", {"price"}),
        ("Le gâteau était immangeable", {"taste"}),
        ("Un cheveu dans mon assiette, c’est sale", {"hygiene"}),
        ("Je demande un remboursement", {"returns"}),
        ("Trop compliqué à installer", {"usability"}),
        ("Ne correspond pas à la photo", {"description"}),
    ],
    "es": [
        ("Llegó muy tarde", {"delivery"}),
        ("El paquete nunca llegó", {"delivery"}),
        ("La caja venía abierta y aplastada", {"packaging"}),
        ("Se rompió el primer día", {"quality"}),
        ("No funciona", {"quality"}),
        ("Me queda demasiado pequeña", {"size"}),
        ("El camarero fue muy maleducado", {"service"}),
        ("Carísimo para lo que es", {"price"}),
        ("La comida estaba fría y sin sabor", {"taste"}),
        ("Había un pelo en la sopa, todo sucio", {"hygiene"}),
        ("Quiero la devolución", {"returns"}),
        ("Quiero las devoluciones ya", {"returns"}),
        ("Instrucciones muy confusas", {"usability"}),
        ("Me enviaron otro color", {"description"}),
    ],
    "pt": [
        ("Chegou com três semanas de atraso", {"delivery"}),
        ("Ainda não recebi a encomenda", {"delivery"}),
        ("A embalagem veio rasgada", {"packaging"}),
        ("Veio quebrado e não funciona", {"quality"}),
        ("Ficou muito apertado", {"size"}),
        ("Atendimento péssimo", {"service"}),
        ("Muito caro", {"price"}),
        ("A comida estava fria e sem sabor", {"taste"}),
        ("Encontrei um cabelo na comida", {"hygiene"}),
        ("Quero o reembolso", {"returns"}),
        ("Difícil de montar", {"usability"}),
        ("Produto errado, nao corresponde à foto", {"description"}),
    ],
    "he": [
        ("המשלוח הגיע באיחור של שבועיים", {"delivery"}),
        ("עדיין לא קיבלתי את ההזמנה", {"delivery"}),
        ("האריזה הגיעה פתוחה", {"packaging"}),
        ("הכוס הגיעה שבורה", {"quality"}),
        ("המוצר לא עובד", {"quality"}),
        ("השמלה קטנה מדי", {"size"}),
        ("מלצרית חצופה", {"service"}),
        ("יקר מאוד", {"price"}),
        ("העוגה הייתה תפלה וחסרת טעם", {"taste"}),
        ("מצאתי שערה במרק", {"hygiene"}),
        ("אני רוצה החזר כספי", {"returns"}),
        ("מסובך להפעלה", {"usability"}),
        ("לא תואם לתמונה", {"description"}),
    ],
}
# What customers praise, or only mention, is no complaint.
NO_COMPLAINTS = {
    "en": [
        "Fast delivery, beautiful packaging, friendly staff.",
        "No problems, nothing broken, not expensive at all.",
        "My favourite mouse pad. It works late at night.",
        "We are late adopters, and have only scratched the surface. Lately it is a joy.",
        "",
        "!!! … 🙂",
    ],
    "de": [
        "Schnelle Lieferung, gute Verpackung, freundliches Personal.",
        "Nicht teuer, nichts kaputt, nie zu spät.",
        "Made in Germany. Die Ware ist heute eingegangen, ich habe sie gleich gebraucht.",
    ],
    "fr": [
        "Livraison rapide, bel emballage, personnel agréable.",
        "Pas cher, rien de cassé.",
        "Plat assez salé.",
    ],
    "es": ["Entrega rápida, buen embalaje, personal muy amable.", "Nada caro, no es caro."],
    "pt": [
        "Entrega rápida, boa embalagem, bom atendimento.",
        "Não é caro e não falha.",
        "A entrega foi ontem.",
    ],
    "he": [
        "משלוח מהיר, אריזה יפה, צוות נחמד",
        "לא יקר, שום דבר לא שבור",
        "אחרי כמה ימים, פחות או יותר, נא לבוא",
    ],
}


@pytest.fixture(scope="module")
def english() -> Topics:
    return Topics({"en"}, {})


@pytest.mark.parametrize("language", LANGUAGES)
def test_complaints_are_found_in_each_language(language: str) -> None:
    topics = Topics({language}, {})
    found = {text: set(topics.of("", text)) for text, _ in COMPLAINTS[language]}
    assert found == dict(COMPLAINTS[language])
    assert set().union(*found.values()) == set(TOPICS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_praise_is_no_complaint(language: str) -> None:
    topics = Topics({language}, {})
    assert {text: topics.words_in(text) for text in NO_COMPLAINTS[language]} == {
        text: {} for text in NO_COMPLAINTS[language]
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_list_has_the_topics_and_no_entry_twice(language: str) -> None:
    lists = word_lists(language)
    assert set(lists) == {*TOPICS, "negations"}
    for topic, entries in lists.items():
        assert sorted(set(entries)) == sorted(entries), topic
        assert all(entry.strip() == entry and entry.strip("-=*. ") for entry in entries), topic
    assert Topics({language}, {}).of("x") == ()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_entry_finds_itself(language: str) -> None:
    topics, lists = Topics({language}, {}), word_lists(language)
    for topic in TOPICS:
        for entry in lists[topic]:
            if not entry.startswith("-") and "..." not in entry:
                assert entry in topics.words_in(entry.strip("*=")).get(topic, ()), entry


def test_a_text_may_end_within_an_entry() -> None:
    topics = Topics({"en"}, {"mine": ["bits ... missing", "bits =fell", "bits of rust"]})
    texts = ("bits", "bits. They fell", "bits of", "some bits were", "bits falling")
    assert [topics.of(text) for text in texts] == [()] * len(texts)
    assert topics.of("bits fell") == topics.of("bits were all missing") == ("mine",)


def test_german_entries_are_found_where_umlauts_are_spelled_out() -> None:
    topics, lists = Topics({"de"}, {}), word_lists("de")
    spelled = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
    for topic in TOPICS:
        for entry in lists[topic]:
            if not re.search(r"^-|[=*]|\.\.\.", entry):
                text = entry.translate(spelled)
                assert entry in topics.words_in(text).get(topic, ()), text


def test_a_word_is_found_by_a_stem_of_other_letters() -> None:
    topics = Topics({"en", "de"}, {"mine": ["die", "wütend"]})
    assert topics.of("The plant is dying") == ("mine",)
    assert topics.of("Ich bin wuetend") == ("mine",)


def test_all_languages_together_find_what_each_finds() -> None:
    topics = Topics(LANGUAGES, {})
    for language, complaints in COMPLAINTS.items():
        for text, expected in complaints:
            assert expected <= set(topics.of(text)), (language, text)


def test_only_the_lists_of_the_languages_apply(english: Topics) -> None:
    assert english.of("Die Lieferung kam viel zu spät") == ()


def test_title_and_body_are_searched_and_topics_are_sorted(english: Topics) -> None:
    assert english.of("Too small", "Arrived late") == ("delivery", "size")


def test_the_words_that_were_found_are_named(english: Topics) -> None:
    assert english.words_in("Arrived late, dirty and filthy") == {
        "delivery": ["arrived late"],
        "hygiene": ["dirty", "filthy"],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The shirt is not torn", ()),
        ("It was never late or dirty.", ()),
        ("Never again. Dirty place", ("hygiene",)),
        ("No. It is dirty", ("hygiene",)),
        ("It does not work", ("quality",)),
        ("It took too long to arrive", ("delivery",)),
        ("The sleeves are too long", ("size",)),
        ("It cannot connect", ("quality",)),
        ("The sound of it is really terrible", ("quality",)),
        ("The sound is fine. Terrible weather", ()),
        ("The staff was really friendly", ()),
        ("The staff was not really friendly", ("service",)),
    ],
)
def test_a_negation_an_exception_and_a_gap(
    english: Topics, text: str, expected: tuple[str, ...]
) -> None:
    assert english.of(text) == expected


def test_an_owners_words_make_a_topic_or_add_to_one() -> None:
    topics = Topics({"en", "de"}, {"hygiene": ["glitter"], "music": ["loud music", "Lärm", "🎺"]})
    assert topics.of("GLITTER everywhere") == ("hygiene",)
    assert topics.of("dirty") == ("hygiene",)
    assert topics.of("What a lot of loud music") == ("music",)
    assert topics.of("laerm", "🎺🎺") == ("music",)
    assert topics.words_in("Lärm und dreckig") == {"hygiene": ["dreckig"], "music": ["Lärm"]}


def test_an_owners_entries_may_have_gaps_beginnings_and_exceptions() -> None:
    own = {"music": ["loud*", "band ... bad", "-loud and clear", "-", "v.i.p"], "no": ["!"]}
    topics = Topics({"en"}, own)
    assert topics.of("Louder than thunder") == ("music",)
    assert topics.of("The band was just bad") == ("music",)
    assert topics.of("loud and clear, he said") == ()
    assert topics.of("The V.I.P list") == ("music",)
    assert topics.of("Stop") == ()
    assert topics.of("Stop!") == ("no",)


def test_an_entry_may_be_for_one_form_of_a_word_alone() -> None:
    topics = Topics({"en", "es"}, {"allergens": ["=nut", "contains =milk", "-=nut free", "a=b"]})
    assert topics.of("A nut, and it contains milk") == ("allergens",)
    assert topics.of("nuts, it contains milky tea, it is nut free") == ()
    assert topics.words_in("A=B") == {"allergens": ["a=b"]}


def test_a_word_is_found_whose_stem_ends_in_another_letter() -> None:
    topics = Topics({"en"}, {"effort": ["try hard"]})
    assert topics.of("We are trying hard") == ("effort",)


@pytest.mark.parametrize(
    ("language", "word", "stems"),
    [
        ("fr", "petite", {"petit", "pet"}),  # the stem of the stem
        ("es", "garantía", {"garant", "garanti"}),  # and the one without accents
        ("en", "return", {"return"}),
        ("en", "2026", {"2026"}),
        ("de", "٣", {"٣"}),
    ],
)
def test_a_word_has_the_stems_of_each_way_to_write_it(
    language: str, word: str, stems: set[str]
) -> None:
    assert stems_in(language)(word) == stems


def test_an_owners_word_is_found_in_any_script() -> None:
    topics = Topics({"en"}, {"cold": ["冷たい", "холодный"]})
    assert topics.of("とても冷たいです") == ("cold",)
    assert topics.of("Чай ХОЛОДНЫЙ") == ("cold",)


def test_the_mark_changes_with_the_lists_and_only_then() -> None:
    marks = {
        Topics(languages, own).mark
        for languages, own in (
            ({"en"}, {}),
            ({"en", "de"}, {}),
            ({"en"}, {"hygiene": ["x"]}),
            ({"en"}, {"hygiene": ["y"]}),
            ({"en"}, {"other": ["x"]}),
        )
    }
    assert len(marks) == 5
    assert Topics(["de", "en"], {}).mark == Topics({"en", "de"}, {}).mark


@pytest.mark.parametrize(
    "text",
    ["not " * 750, "sound " * 500, "late late " * 300, "a" * 3000, "'" * 3000, "\u0301" * 3000],
    ids=["negations", "gaps", "hits", "one word", "apostrophes", "marks"],
)
def test_the_longest_texts_do_not_keep_a_search_busy(english: Topics, text: str) -> None:
    english.of(text, text)


def test_the_labels_are_of_known_topics_and_hold_no_words() -> None:
    found = json.loads(LABELS.read_text("utf-8"))
    assert set(found["topics"]) == set(TOPICS)
    parts = {name: part for name, part in found.items() if name != "topics"}
    sizes = {"labels": 200, "third": 112, "above_built_on": 285, "above": 244}
    ids = _ids_of_parts(parts, sizes)
    assert all(UUID(each).version == 5 for each in ids)


def test_the_labels_of_trades_are_rows_of_known_sources_without_words() -> None:
    found = json.loads(OF_TRADES.read_text("utf-8"))
    sources = found.pop("sources")
    assert {each["language"] for each in sources.values()} == set(LANGUAGES)
    sizes = {"random": 665, "enriched": 203, "second": 208, "third": 127, "fourth": 98, "fifth": 26}
    rows = [re.fullmatch(r"(\w+):[1-9]\d*", each) for each in _ids_of_parts(found, sizes)]
    assert all(row and row[1] in sources for row in rows)


def _ids_of_parts(parts: dict[str, dict[str, list[str]]], sizes: dict[str, int]) -> set[str]:
    """Return the ids of all parts, each of which is in one of them and has known topics only."""
    assert {name: len(part) for name, part in parts.items()} == sizes
    for part in parts.values():
        assert all(set(labels) <= set(TOPICS) for labels in part.values())
    ids = set().union(*parts.values())
    assert len(ids) == sum(sizes.values())
    return ids
