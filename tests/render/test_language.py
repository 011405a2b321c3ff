"""Languages: dates, numbers and durations as their readers write them, and complete catalogs."""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from babel.messages import Catalog, Message
from babel.messages.frontend import CommandLineInterface
from babel.messages.pofile import read_po

from alerter.config.fields import LANGUAGES
from alerter.render.language import CATALOGS, get_language
from tests.support.rendered import BERLIN

ROOT = Path(__file__).parents[2]
TRANSLATED = [code for code in LANGUAGES if code != "en"]
EVENING = datetime(2026, 11, 25, 22, 57, tzinfo=UTC).astimezone(BERLIN)
# The codes of languages, and what they make of a Wednesday evening.
DATES = {
    "en": ("Wednesday, 25 November 2026, 23:57", "Wed 25 Nov, 23:57", "19–25 November"),
    "de": ("Mittwoch, 25. November 2026, 23:57", "Mi., 25. Nov., 23:57", "19.–25. November"),
    "fr": ("mercredi 25 novembre 2026, 23:57", "mer. 25 nov., 23:57", "19–25 novembre"),
    "es": (
        "miércoles, 25 de noviembre de 2026, 23:57",
        "mié, 25 nov, 23:57",
        "19–25 de noviembre",
    ),
    "pt": (
        "quarta-feira, 25 de novembro de 2026, 23:57",
        "qua., 25 de nov., 23:57",
        "19–25 de novembro",
    ),
    "he": ("יום רביעי, 25 בנובמבר 2026, 23:57", "יום ד׳, 25 בנוב׳, 23:57", "19–25 בנובמבר"),
}


def spaced(text: str) -> str:
    return re.sub("[\u2066\u2069]", "", re.sub("[\u00a0\u202f]", " ", text))


@pytest.mark.parametrize("code", LANGUAGES)
def test_dates_are_written_as_in_the_language(code: str) -> None:
    language = get_language(code)
    midnight = EVENING.replace(hour=0, minute=0) + timedelta(days=1)

    assert (
        language.date(EVENING),
        spaced(language.short_date(EVENING)),
        spaced(language.period(midnight - timedelta(days=7), midnight)),
    ) == DATES[code]


@pytest.mark.parametrize(
    ("code", "number", "share"),
    [
        ("en", "12,345.6", "12%"),
        ("de", "12.345,6", "12 %"),
        ("fr", "12 345,6", "12 %"),
        ("es", "12.345,6", "12 %"),
        ("pt", "12.345,6", "12%"),
        ("he", "12,345.6", "12%"),
    ],
)
def test_numbers_are_written_as_in_the_language(code: str, number: str, share: str) -> None:
    language = get_language(code)
    assert (spaced(language.number(12345.6)), spaced(language.percent(0.12))) == (number, share)


@pytest.mark.parametrize(
    ("code", "hours", "days", "one"),
    [
        ("en", "3 hours 12 minutes", "2 days 1 hour", "1 day"),
        ("de", "3 Stunden 12 Minuten", "2 Tagen 1 Stunde", "1 Tag"),
        ("fr", "3 heures 12 minutes", "2 jours 1 heure", "1 jour"),
        ("es", "3 horas y 12 minutos", "2 días y 1 hora", "1 día"),
        ("pt", "3 horas e 12 minutos", "2 dias e 1 hora", "1 dia"),
        ("he", "3 שעות ו-12 דקות", "יומיים ושעה", "יום"),
    ],
)
def test_durations_are_in_words(code: str, hours: str, days: str, one: str) -> None:
    language = get_language(code)
    lengths = (timedelta(hours=3, minutes=12), timedelta(days=2, hours=1), timedelta(days=1))
    assert tuple(spaced(language.duration(each)) for each in lengths) == (hours, days, one)


def test_a_number_stays_on_one_line_with_its_unit() -> None:
    for code in LANGUAGES:
        assert not re.search(r"\d ", get_language(code).duration(timedelta(days=3, hours=4)))
        assert not re.search(r"\d\.? ", get_language(code).short_date(EVENING))


# --- catalogs


@cache
def catalog(code: str) -> Catalog:
    with (CATALOGS / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code)


def texts(found: Catalog) -> dict[object, Message]:
    return {(each.id, each.context): each for each in found if each.id}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """All texts of code and templates, found as `make messages` finds them."""
    path = tmp_path_factory.mktemp("messages") / "messages.pot"
    arguments = ["extract", "--mapping-file", str(ROOT / "pyproject.toml"), "--keywords", "mark"]
    command = ["pybabel", "--quiet", *arguments, "--output-file", str(path), str(ROOT)]
    CommandLineInterface().run(command)
    with path.open("rb") as file:
        return read_po(file)


def test_there_is_a_catalog_for_each_language_but_english() -> None:
    assert {file.stem for file in CATALOGS.iterdir()} == set(TRANSLATED)


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_catalog_has_every_text_of_code_and_templates(code: str, template: Catalog) -> None:
    """Where this fails, `make messages` adds what is missing, and a translator fills it in."""
    assert texts(template).keys() == texts(catalog(code)).keys()


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_text_is_translated(code: str) -> None:
    every = texts(catalog(code)).values()
    open_ones = [each.id for each in every if each.fuzzy or not all(_strings(each))]
    assert open_ones == []


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_has_the_placeholders_of_its_text(code: str) -> None:
    """A form for one or two may say the number in words."""
    for each in texts(catalog(code)).values():
        wanted = _placeholders(each.id if isinstance(each.id, str) else each.id[1])
        *fewer, most = map(_placeholders, _strings(each))
        assert most == wanted, each.id
        assert all(wanted - found <= {"num", "number"} and found <= wanted for found in fewer), (
            each.id
        )


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_is_text_and_no_markup(code: str) -> None:
    for each in texts(catalog(code)).values():
        for text in _strings(each):
            assert not re.search(r"[<>&]|^\s|\s$|  ", text), each.id
            assert "%" not in re.sub(r"%\(\w+\)s|%%", "", text), each.id


def _strings(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string)


def _placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\((\w+)\)s", text))
