"""An owner's templates: used, checked, and replaced where they break."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from alerter.demo.slack_blocks import faults_of
from alerter.errors import RenderError
from alerter.models import (
    AlertKind,
)
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, sample
from alerter.render.templates import builtin_templates
from tests.support.rendered import (
    CREATED,
    STALE,
    entry,
    lowered,
    message,
    new,
    own,
)
from tests.support.values import SITE


def test_an_owners_template_replaces_one_file_and_the_others_stay(
    tmp_path: Path, renderer: Renderer
) -> None:
    own_renderer = own(
        tmp_path, {"new.subject.txt": "Look at {{ review.title }}\n on {{ site.name }}\n"}
    )

    found, builtin = own_renderer.mail(new()), renderer.mail(new())

    assert found.subject == "Look at Stale on Corner Bakery"
    assert (found.text, found.html) == (builtin.text, builtin.html)
    assert own_renderer.mail(lowered()) == renderer.mail(lowered())
    assert own_renderer.slack(new()).blocks == renderer.slack(new()).blocks


def test_a_template_of_one_kind_wins_over_the_one_of_all_reviews(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path, {"review.txt": "{{ kind }}: {{ review.what }}", "lowered.txt": "Mine: lowered"}
    )

    assert own_renderer.mail(new()).text == "new: a product"
    assert own_renderer.mail(lowered()).text == "Mine: lowered"
    (tmp_path / "lowered.txt").unlink()
    assert own_renderer.mail(lowered()).text == "lowered: a product"


@pytest.mark.parametrize("ending", [".txt", ".html", ".subject.txt"])
def test_an_owners_template_may_build_on_that_of_a_kind(
    tmp_path: Path, renderer: Renderer, ending: str
) -> None:
    """Templates that include `new.txt` were written when each kind had a built-in template."""
    own_renderer = own(
        tmp_path, {f"reminder{ending}": f'{{% extends "new{ending}" %}}'}, fall_back=False
    )
    field = {".txt": "text", ".html": "html", ".subject.txt": "subject"}[ending]
    reminder = own_renderer.mail(message(entry(kind=AlertKind.REMINDER)))

    assert getattr(reminder, field) == getattr(renderer.mail(new()), field)


def test_a_removed_template_of_one_kind_is_not_broken_any_more(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("{{ nothing }}")
    forgiving = own(tmp_path, {"review.txt": "fine"})
    forgiving.mail(new())
    assert forgiving.faults()["new.txt"]

    (tmp_path / "new.txt").unlink()

    assert forgiving.mail(new()).text == "fine"
    assert (forgiving.faults()["new.txt"], forgiving.faults()["review.txt"]) == (None, None)


def test_filters_format_values_as_the_older_variables_do(tmp_path: Path) -> None:
    pairs = {
        "review.rating | stars": "review.stars",
        "review.written | date": "review.when",
        "review.age | duration": "review.waiting",
        "review.author_rating | stars": "review.author_stars",
    }
    source = "\n".join(
        f"{{{{ {new_name} }}}}|{{{{ {old_name} }}}}" for new_name, old_name in pairs.items()
    )
    own_renderer = own(tmp_path, {"new.txt": source}, fall_back=False)

    lines = own_renderer.mail(new()).text.splitlines()

    assert lines[0] == "★☆☆☆☆|★☆☆☆☆"
    assert [each.partition("|")[0] for each in lines] == [each.partition("|")[2] for each in lines]
    assert len(lines) == len(pairs)


def test_an_owners_part_is_used_in_the_built_in_templates(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path,
        {
            "_review.txt": "Only {{ review.body }}",
            "_footer.txt": "",
            "_layout.html": "{% block content %}{% endblock %}",
        },
    )

    mail = own_renderer.mail(new())

    assert mail.text == "Only The bread was stale.\n> And dear."
    assert "<!DOCTYPE" not in mail.html
    assert "Stale" in mail.html


# Lines of templates that owners may have copied from an earlier version.
OLDER = {
    "review.html": """{% extends "_layout.html" %}
        {% import "_words.txt" as say %}{% import "_parts.html" as part %}
        {% block content %}
        {% if kind == "lowered" %}{{ part.lead(say.lowered(review)) }}
        {% elif kind == "reminder" %}{{ part.lead(say.waiting(review)) }}{% endif %}
        {{ part.about(review) }}{{ part.gap() }}{{ part.label(say.before()) }}
        {{ part.quote(review.title, review.body) }}{{ part.signed(review) }}
        {{ part.button(site.reviews_url, say.reply()) }}{{ part.facts(review) }}
        {% endblock %}""",
    "review.slack.json": """{% import "_words.txt" as say %}
        {% import "_review.slack.json" as slack %}
        [{{ slack.blocks(review, test, mention, say.waiting(review)) }}]""",
    "recovered.txt": """{% import "_words.txt" as say %}
        {{ say.recovered() }}. {{ say.was() }} {{ trouble.what }}. {{ say.over(trouble) }}""",
    "trouble.subject.txt": """{% import "_words.txt" as say %}{{ say.trouble() }}""",
    "summary.txt": """{% import "_words.txt" as say %}
        {{ say.low(summary) }}{{ say.share(summary) }}. {{ say.answered(summary) }}
        {{ say.still_open(summary) }} {{ say.more_open(summary) }} {{ say.none_open() }}
        {{ summary.began | date(weekday=false) }} {{ say.by_product(summary) }}""",
    "_layout.html": """{% import "_words.txt" as say %}<p>{% block title %}{% endblock %}
        {% block content %}{% endblock %}{{ say.footer() }}</p>""",
}


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_older_templates_still_render(tmp_path: Path, kind: str) -> None:
    own_renderer = own(tmp_path, OLDER, fall_back=False)

    assert own_renderer.mail(sample(kind, SITE, CREATED)).text
    assert faults_of(list(own_renderer.slack(sample(kind, SITE, CREATED)).blocks)) == []


def test_html_escapes_what_it_takes_from_a_text_template(tmp_path: Path) -> None:
    """Jinja takes the output of another template's macros for HTML that is safe."""
    own_renderer = own(
        tmp_path,
        {
            "_part.txt": "{% macro name(review) %}{{ review.title }}{% endmacro %}",
            "new.html": '{% import "_part.txt" as part %}{{ part.name(review) }}',
            "new.txt": '{% import "_part.txt" as part %}Title: {{ part.name(review) }}',
        },
        fall_back=False,
    )

    mail = own_renderer.mail(new(replace(STALE, title="<b> & co")))

    assert (mail.html, mail.text) == ("&lt;b&gt; &amp; co", "Title: <b> & co")


def test_a_fault_in_a_text_template_of_an_html_one_names_its_file(tmp_path: Path) -> None:
    parts = {"_part.txt": "{% if %}", "new.html": '{% include "_part.txt" %}'}
    with pytest.raises(RenderError, match=r"_part\.txt, line 1"):
        own(tmp_path, parts, fall_back=False).mail(new())


def test_an_owners_html_is_escaped_and_its_text_is_not(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path, {"new.html": "<i>{{ review.body }}</i>", "new.txt": "{{ review.body }}"}
    )

    mail = own_renderer.mail(new(replace(STALE, body="<b> & co")))

    assert mail.html == "<i>&lt;b&gt; &amp; co</i>"
    assert mail.text == "> <b> & co"


def test_an_owners_template_uses_the_filters_that_the_built_in_ones_use(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path,
        {
            "new.slack.json": '[{"type": "header", "text": {"type": "plain_text", "text": '
            "{{ review.title | cut(3) | tojson }}}}]"
        },
    )

    assert own_renderer.slack(new()).blocks[0]["text"]["text"] == "St…"


BROKEN = {
    "a syntax error": ("new.txt", "Hello\n{% if %}", 2),
    "a tag left open": ("new.html", "<p>\n<b>\n{% if review.title %}", 3),
    "an undefined name": ("new.txt", "Hello\n\n{{ reviwe.title }}", 3),
    "an undefined field": ("new.html", "<p>{{ review.titel }}</p>", 1),
    "an undefined field in a subject": ("new.subject.txt", "\n{{ site.nom }}", 2),
    "an unknown filter": ("new.txt", "{{ review.title | shout }}", 1),
    "a division by nothing": ("new.txt", "\n{{ 1 / 0 }}", 2),
    "an escape by attributes": ("new.txt", "{{ review.__class__.__mro__ }}", 1),
    "an escape by a format": ("new.txt", "\n{{ '{0.__class__.__init__}'.format(review) }}", 2),
    "an escape by globals": ("new.txt", "{{ cycler.__init__.__globals__ }}", 1),
    "an endless loop": ("new.txt", "{% for i in range(10 ** 12) %}{% endfor %}", 1),
    "an include of what is not there": ("new.txt", "\n{% include 'nowhere.txt' %}", 2),
    "JSON with a comma too many": ("new.slack.json", '[\n{"type": "divider"},\n]', 3),
    "JSON with a comma too many in an object": (
        "new.slack.json",
        '[{\n"type": "divider",\n\n}]',
        4,
    ),
    "JSON cut short": ("new.slack.json", '[{"type":', 1),
    "no JSON at all": ("new.slack.json", "Hello", 1),
}


def test_a_broken_template_is_reported_with_file_and_line(tmp_path: Path) -> None:
    strict = own(tmp_path, {}, fall_back=False)

    for case, (name, source, line) in BROKEN.items():
        (tmp_path / name).write_text(source)
        with pytest.raises(RenderError) as caught:
            (strict.slack if name.endswith(".json") else strict.mail)(new())
        (tmp_path / name).unlink()

        assert re.search(rf"{re.escape(name)}.*line {line}\b", str(caught.value)), case


@pytest.mark.parametrize("source", ["{}", "null", '"blocks"', "7"], ids=repr)
def test_slack_blocks_that_are_no_list_are_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(RenderError, match=r"new\.slack\.json.*list of blocks"):
        own(tmp_path, {"new.slack.json": source}, fall_back=False).slack(new())


@pytest.mark.parametrize(
    "source", ["\n{% if %}", "\n{{ reviwe.title }}"], ids=["a syntax error", "an undefined name"]
)
def test_a_broken_part_is_reported_with_its_own_file_and_line(tmp_path: Path, source: str) -> None:
    with pytest.raises(RenderError, match=r"_review\.txt.*line 2\b"):
        own(tmp_path, {"_review.txt": source}, fall_back=False).mail(new())


@pytest.mark.parametrize(
    "source",
    [b"Gr\xfc\xdfe", b"{{ [].index(1) }}"],
    ids=["another encoding than UTF-8", "a ValueError of its own"],
)
def test_a_text_that_cannot_be_made_is_not_blamed_on_json(tmp_path: Path, source: bytes) -> None:
    with pytest.raises(RenderError, match=r"new\.txt") as caught:
        own(tmp_path, {"new.txt": source}, fall_back=False).mail(new())

    assert "JSON" not in str(caught.value)


def test_a_broken_template_falls_back_to_the_built_in_one_and_logs_it(
    tmp_path: Path, renderer: Renderer, caplog: pytest.LogCaptureFixture
) -> None:
    forgiving = own(tmp_path, {})

    for case, (name, source, _) in BROKEN.items():
        (tmp_path / name).write_text(source)
        caplog.clear()
        ways = (
            (forgiving.slack, renderer.slack)
            if name.endswith(".json")
            else (forgiving.mail, renderer.mail)
        )
        found, builtin = ([way(new()), way(new())] for way in ways)
        (tmp_path / name).unlink()

        assert found == builtin, case
        assert [record.levelno for record in caplog.records] == [logging.ERROR], case
        assert name in caplog.text
        assert "built-in" in caplog.text


def test_a_template_that_breaks_at_another_column_each_time_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgiving = own(tmp_path, {"new.slack.json": "[{{ review.title | tojson }} 7]"})

    for title in ("Stale", "Very stale", "Stale, and dear"):
        forgiving.slack(new(replace(STALE, title=title)))

    assert len(caplog.records) == 1


def test_a_template_counts_as_broken_until_somebody_changes_one(tmp_path: Path) -> None:
    forgiving = own(tmp_path, {"new.txt": "{{ 1 // review.body | length }}"})
    empty = new(replace(STALE, body=""))

    for each in (new(), empty, new()):
        forgiving.mail(each)
    assert forgiving.faults() == {
        "new.subject.txt": None,
        "review.subject.txt": None,
        "new.txt": "new.txt, line 1: ZeroDivisionError",
        "new.html": None,
        "review.html": None,
    }

    (tmp_path / "new.txt").unlink()
    tmp_path.rmdir()
    assert "new.txt" not in forgiving.faults()
    forgiving.mail(empty)
    assert forgiving.faults()["new.txt"] is None


def test_the_log_holds_nothing_of_a_review(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = {
        "new.slack.json": "[{{ review.body }}]",
        "new.txt": "{{ review.body.nothing }}",
        "new.html": "{{ [].index(review.body) }}",
    }
    forgiving = own(tmp_path, sources)

    forgiving.mail(new())
    forgiving.slack(new())

    assert len(caplog.records) == 3
    assert "bread" not in caplog.text


def test_the_built_in_templates_are_there() -> None:
    for kind in ("review", "digest", "summary", "trouble", "recovered"):
        for ending in ("subject.txt", "txt", "html", "slack.json"):
            assert (builtin_templates() / f"{kind}.{ending}").is_file()
