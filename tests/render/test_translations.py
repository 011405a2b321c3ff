"""Messages in the language of their receiver: all of it but the words of others, and whole."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config.fields import LANGUAGES
from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Content,
    Message,
    MessageItem,
    Product,
    Reply,
)
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, awkward, sample
from alerter.trouble.texts import REASONS, TEXTS
from tests.support.rendered import (
    ALL,
    BERLIN,
    CREATED,
    PHOTO,
    SITES,
    STALE,
    VIDEO,
    Page,
    assert_within_slacks_limits,
    digest,
    entry,
    message,
    objects,
    own,
)
from tests.support.values import SITE

ROOT = Path(__file__).parents[2]
# Words that are the same in every language: names, and what stands in code.
NAMES = {"alerter", "Wix", "Slack", "Manage", "Reviews"}
# Greek is the script of no language of ours, so that every other letter is alerter's own.
GREEK = replace(
    STALE,
    title="Μπαγιάτικο",
    body="Το ψωμί ήταν μπαγιάτικο.",
    author="Αθηνά",
    entity_id="17",
    moderation="SUBMITTED",
    verified=True,
    origin="APP",
    helpful=1,
    unhelpful=2,
    media=(PHOTO, VIDEO),
)
BREAD = Product("Ψωμί", "https://bakery.example/1")
HE_SITES = {SITE: "Φούρνος"}


def trouble(
    kind: AlertKind, text: str, name: str = "Φούρνος", reason: str = REASONS[-1]
) -> Message:
    detail = {"text": text, "name": name, "reason": reason, "since": CREATED.isoformat()}
    if kind is AlertKind.RECOVERED:
        detail["until"] = (CREATED + timedelta(days=2, hours=3)).isoformat()
    return message(MessageItem(Alert("t", kind, detail=detail)))


def item(kind: AlertKind, **detail: Any) -> MessageItem:
    return replace(entry(GREEK, kind, BREAD, **detail), context=ALL)


def of_reviews() -> Iterator[tuple[str, Message]]:
    lowered = item(AlertKind.LOWERED, before={"rating": 3, "title": "Α", "body": "Β"}, after=1)
    nameless = replace(entry(replace(GREEK, author="", title="", body="")), context=ALL)
    answered = replace(GREEK, reply=Reply("Συγγνώμη", CREATED + timedelta(hours=3)))
    yield "new", message(item(AlertKind.NEW, late=True))
    yield "new, of nobody", message(nameless)
    yield "lowered", message(lowered)
    yield "reminder", message(item(AlertKind.REMINDER))
    yield "digest", digest(lowered, nameless, item(AlertKind.REMINDER), item(AlertKind.NEW))
    for reason in CloseReason:
        closed = replace(entry(answered, AlertKind.CLOSED, BREAD, reason=reason), closing=reason)
        yield f"closed, {reason}", message(closed)
    for reason in (CloseReason.ANSWERED, CloseReason.REJECTED, CloseReason.GONE):
        yield f"open again, {reason}", message(item(AlertKind.REMINDER, reopened=reason))
    for moderation in ("IN_MODERATION", "REJECTED"):
        yield moderation, message(entry(replace(GREEK, moderation=moderation), product=BREAD))


def of_trouble() -> Iterator[tuple[str, Message]]:
    for text in TEXTS:
        name = "email:Α" if text in ("destination", "message", "erasure") else "Φούρνος"
        yield f"trouble, {text}", trouble(AlertKind.TROUBLE, text, name)
        yield f"recovered, {text}", trouble(AlertKind.RECOVERED, text, name)
    for reason in REASONS:
        said = reason.replace("%(number)s", "3")
        yield f"trouble, {reason}", trouble(AlertKind.TROUBLE, "site", reason=f"{said}: 403")


def of_summaries() -> Iterator[tuple[str, Message]]:
    for name, of in (("summary", sample("summary", SITE, CREATED)), *awkward_summaries()):
        [each] = of.entries
        names = r"Weekly|Croissant box|Rye rolls|Birthday cake|\bAda\b|\bBo\b"
        detail = json.loads(re.sub(names, "Ψ", json.dumps(each.alert.detail)))
        detail["receivers"] = {"Α": next(iter(detail["receivers"].values()))}
        yield name, message(replace(each, alert=replace(each.alert, detail=detail)))


def awkward_summaries() -> Iterator[tuple[str, Message]]:
    [nothing] = [of for name, of in awkward("summary", SITE, CREATED) if name.startswith("nothing")]
    yield "summary, nothing happened", nothing


EVERY = dict([*of_reviews(), *of_trouble(), *of_summaries()])


def shown(content: Content) -> Iterator[str]:
    """Yield every text of a message that a person may read or hear."""
    yield content.subject
    yield content.text
    page = Page(re.sub(r"<(style|code)\b.*?</\1>", "", content.html, flags=re.DOTALL))
    yield page.text
    for _, attributes in page.tags:
        yield from (value or "" for name, value in attributes if name in ("alt", "aria-label"))
    for each in objects(content.blocks):
        if each.get("style") != {"code": True}:
            found = (each.get(key) for key in ("text", "fallback", "alt_text"))
            yield from (text for text in found if isinstance(text, str))


def foreign_words(text: str) -> set[str]:
    """Return the words in Latin letters that are no address, no command and no name."""
    plain = re.sub(r"https?://\S+|`[^`]*`|\{\w+\}|&\w+;|\w+:write|app_token|Socket Mode", " ", text)
    return set(re.findall("[A-Za-z]+", plain)) - NAMES


@pytest.fixture(scope="module")
def hebrew() -> Renderer:
    return Renderer(None, BERLIN, HE_SITES)


@pytest.mark.parametrize("name", EVERY)
def test_nothing_of_a_message_is_left_in_english(hebrew: Renderer, name: str) -> None:
    """In Hebrew, which has no letter in common with English; the catalogs have the same texts."""
    of = replace(EVERY[name], destination="email:Α", repeat=True)
    for test in (False, True):
        mail = hebrew.mail(of, test=test, language="he")
        slack = hebrew.slack(of, test=test, language="he", mention="U0123456789")
        for content in (mail, slack):
            assert set().union(*map(foreign_words, shown(content))) == set()


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_names_its_language_and_direction(renderer: Renderer, kind: str, code: str) -> None:
    html = renderer.mail(sample(kind, SITE, CREATED), language=code).html
    direction = ' dir="rtl"' if code == "he" else ""
    assert f'<html lang="{code}"{direction}>' in html
    assert "&quot;" not in html.split("<body")[0]


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_stays_within_slacks_limits(renderer: Renderer, code: str) -> None:
    for of in EVERY.values():
        assert_within_slacks_limits(renderer.slack(of, language=code))


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_words_of_customers_are_never_translated(renderer: Renderer, code: str) -> None:
    about = replace(STALE, title="Reply", body="The answer:", author="a product")
    mail = renderer.mail(message(entry(about, product=Product("the site"))), language=code)
    assert "> Reply\n" in mail.text
    assert "> The answer:" in mail.text
    assert "a product" in mail.text
    assert "the site" in mail.subject


@pytest.mark.parametrize("kind", KINDS)
def test_names_in_a_mail_are_text_and_no_markup(kind: str) -> None:
    sites = {SITE: "</td><b>Fish & Chips"}
    renderer = Renderer(None, BERLIN, sites, host="<b>host")
    of = sample(kind, SITE, CREATED, destination="email:</td><b>owner")
    if kind in ("trouble", "recovered"):
        of = trouble(AlertKind(kind), "site", sites[SITE], reason="<b>reason")
        of = replace(of, destination="email:</td><b>owner")
    html = renderer.mail(of).html
    assert "&lt;b&gt;owner" in html
    assert "&lt;b&gt;host" in html
    assert not re.search(r"<b>(?:Fish|owner|host|reason)", html)


# --- trouble


def test_trouble_is_in_the_language_of_its_receiver(renderer: Renderer) -> None:
    begins = trouble(AlertKind.TROUBLE, "site", "Corner Bakery", "Wix refuses us: 403 “forbidden”")
    ends = trouble(AlertKind.RECOVERED, "site", "Corner Bakery")

    mail = renderer.mail(begins, language="de")

    assert mail.subject == "⚠️ Die Bewertungen von Corner Bakery können nicht gelesen werden"
    assert "Was passiert ist: Wix verweigert uns den Zugriff: 403 “forbidden”" in mail.text
    assert renderer.mail(ends, language="fr").subject.replace("\u00a0", " ") == (
        "🟢 Les avis de Corner Bakery peuvent de nouveau être lus, après 2 jours 3 heures"
    )


def test_a_destination_is_named_in_the_language_of_the_receiver(renderer: Renderer) -> None:
    subjects = {
        code: renderer.mail(
            trouble(AlertKind.TROUBLE, "destination", "email:owner"), language=code
        ).subject
        for code in ("en", "de")
    }
    assert subjects == {
        "en": "⚠️ Receiver owner (email) cannot be reached",
        "de": "⚠️ Der Empfänger owner (E-Mail) ist nicht erreichbar",
    }


def test_every_reason_that_is_translated_occurs_in_the_code() -> None:
    sources = [
        path.read_text("utf-8")
        for path in (ROOT / "alerter").rglob("*.py")
        if path.name != "texts.py"
    ]
    texts = [each.replace("%(number)s", "}") for each in REASONS]
    assert [each for each in texts if not any(each in source for source in sources)] == []


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            "Slack refuses the channel (not_in_channel); invite the app to it",
            "Slack lehnt den Kanal ab (not_in_channel); laden Sie die App ein",
        ),
        (
            "3 of its addresses did not take a mail yet: 450 4.2.1 later",
            "3 seiner Adressen haben eine E-Mail noch nicht angenommen: 450 4.2.1 later",
        ),
        ("Wix refuses us", "Wix verweigert uns den Zugriff"),
        ("mail.example said: no; really", "mail.example said: no; really"),
        ("", ""),
    ],
)
def test_what_is_ours_in_a_reason_is_translated(
    renderer: Renderer, reason: str, shown: str
) -> None:
    mail = renderer.mail(trouble(AlertKind.TROUBLE, "site", reason=reason), language="de")
    assert f"Was passiert ist: {shown}\n" in mail.text.replace(
        "Was passiert ist:\n", "Was passiert ist: \n"
    )


# --- an owner's own templates


def test_an_owners_template_may_have_its_texts_translated(tmp_path: Path) -> None:
    templates = {
        "new.txt": "{{ _('Reply') }} {% trans %}The answer:{% endtrans %} {{ language.code }} "
        "{{ review.written | date }} {{ 1234.5 | number }} {{ _('Words of my own') }}",
        "new.subject.txt": "A subject of my own",
    }
    owners = own(tmp_path, templates, fall_back=False)

    found = {code: owners.mail(message(entry()), language=code) for code in ("en", "de", "en")}

    assert {each.subject for each in found.values()} == {"A subject of my own"}
    assert {code: each.text for code, each in found.items()} == {
        "en": "Reply The answer: en Tuesday, 24 November 2026, 13:00 1,234.5 Words of my own",
        "de": "Antworten Die Antwort: de Dienstag, 24. November 2026, 13:00 1.234,5"
        " Words of my own",
    }


def test_an_owners_sentence_may_have_a_number(tmp_path: Path) -> None:
    low = 'ngettext("%(num)s low-rated review", "%(num)s low-rated reviews", 2'
    templates = {
        "new.txt": f"{{{{ {low}) }}}}, {{{{ {low}, num='two') }}}}, "
        "{% trans count=1 %}a <b>review</b>{% pluralize %}{{ count }} reviews{% endtrans %}",
        "new.html": "{{ ngettext('<b>%(num)s</b>', '<i>%(num)s %(of)s</i>', 2, of='<them>') }}",
    }
    owners = own(tmp_path, templates, fall_back=False)

    found = {code: owners.mail(message(entry()), language=code) for code in ("en", "de")}

    assert found["en"].text == "2 low-rated reviews, two low-rated reviews, a <b>review</b>"
    assert found["de"].text.startswith("2 schlechte Bewertungen, two schlechte Bewertungen, ")
    assert found["de"].html == "<i>2 &lt;them&gt;</i>"


def test_built_in_templates_beside_an_owners_are_translated_too(tmp_path: Path) -> None:
    owners = own(tmp_path, {"new.subject.txt": "Mine"}, fall_back=False)
    builtin = Renderer(None, BERLIN, SITES)

    mine, theirs = (each.mail(message(entry()), language="es") for each in (owners, builtin))

    assert (mine.subject, mine.text, mine.html) == ("Mine", theirs.text, theirs.html)
