"""Messages for Discord and Teams: what they hold, how long they are, and that text stays text."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from alerter.demo.discord_checks import find_faults
from alerter.demo.teams_card import LARGEST_REQUEST, card_faults
from alerter.models import Content, Media, Message, Product, Reply
from alerter.render import discord, teams
from alerter.render.discord import MOST_CONTENT, MOST_DESCRIPTION, render_discord
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, awkward, sample
from alerter.render.teams import render_teams
from tests.support.discord_markdown import read_markdown
from tests.support.rendered import (
    CREATED,
    DASHBOARD,
    HOSTILE,
    STALE,
    digest,
    entry,
    lowered,
    new,
    one_line,
)
from tests.support.values import SITE

JOINER = "\N{WORD JOINER}"
AWKWARD = HOSTILE | {
    "a masked link": "[Click](https://evil.example/x) [](https://evil.example) [a](<https://b.c>)",
    "a link with a title": "[a \\] b](https://evil.example 'title')",
    "mentions": "@everyone @here <@1> <@!1> <@&2> <#3> <id:home> </ban:4> hey@everyone",
    "times": "<t:1543392060> <t:1543392060:R>",
    "emoji": ":bomb: <:a:1> <a:b:2> 12:30:45",
    "styles": "**b** *i* _i_ __u__ ~~s~~ ||h|| ***a*** _*b*_ `c` ``d`` ```e``` ```\nf\n```",
    "an open style": "**b _i ~~s ||h `c ```d",
    "headings": "# h\n## h\n### h\n-# h\n # h",
    "quotes of their own": "> q\n>>> q\n>\n> > q",
    "lists": "- a\n* b\n+ c\n1. d\n2) e\n  - f",
    "invisible starts": "\u200b# h\n\ufeff> q\n\u2060- a\n\u200e# h",
    "addresses": "https://evil.example http://evil.example <https://evil.example> www.evil.example",
    "other schemes": "steam://run/1 discord://x <mailto:a@b.example> <tel:+4915>",
    "backslashes": "\\*a\\* \\\\**b** \\",
    "zero width": "e\u200bvil\u200d\u2060 [x]\u200b(https://evil.example)",
}


def everywhere(form: str, text: str) -> Message:
    """A message of a review that holds a text wherever a customer may put it."""
    line = one_line(text)
    about = replace(STALE, title=line, body=text, author=line[:60], reply=Reply(text))
    product = Product(line[:60], "https://shop.example/box_(1)")
    if form == "digest":
        return digest(entry(about, product=product), entry(STALE), entry(about, product=product))
    if form == "new":
        return new(about, product)
    return lowered(about, product, {"rating": 2, "title": line, "body": text})


def texts_of(content: Content) -> tuple[list[str], str]:
    """The markup and the words of a message on Discord, without what breaks links."""
    body = content.blocks[0]
    texts = [body["content"], *(embed["description"] for embed in body["embeds"])]
    read = [read_markdown(text) for text in texts]
    kinds = [kind for kinds, _ in read for kind in kinds]
    return kinds, "\n".join(shown for _, shown in read).replace(JOINER, "")


def nodes(part: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list | tuple):
        for each in part:
            yield from nodes(each)


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_on_discord_no_markup_comes_from_a_customer(
    renderer: Renderer, form: str, text: str
) -> None:
    harmless = "harmless" + "\nharmless" * text.strip().count("\n")
    expected, _ = texts_of(render_discord(renderer, everywhere(form, harmless)))
    kinds, shown = texts_of(render_discord(renderer, everywhere(form, text)))
    quotes = ("quote",)  # a text of several lines is quoted in as many
    assert [each for each in kinds if each not in quotes] == [
        each for each in expected if each not in quotes
    ]
    assert shown.count(one_line(text).replace(JOINER, "")[:60]) >= 2


def test_on_discord_no_markup_comes_from_pieces_of_markup_either() -> None:
    pieces = [*"*_~|`<>[]()#@:\\/-+1.! \nax", "**", "__", "https://", "](", "```", "@everyone"]
    pieces += ["<@1>", "\u200b", "\u2060", "> ", "# ", "- ", "1. ", "-# ", ":ok:", "www."]
    random = Random(17)  # noqa: S311 - the same texts each time
    for _ in range(3000):
        text = "".join(random.choices(pieces, k=random.randint(1, 12)))
        kinds, shown = read_markdown(discord.escape(text))
        assert kinds == [], text
        assert shown.replace(JOINER, "") == text.replace(JOINER, "")


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_on_teams_a_customer_is_quoted_in_plain_text(
    renderer: Renderer, form: str, text: str
) -> None:
    card = render_teams(renderer, everywhere(form, text)).blocks[0]
    kinds = {each["type"] for each in nodes(card) if "type" in each}
    assert "TextBlock" not in kinds
    assert "msteams" not in card
    shown = [each["text"] for each in nodes(card) if each.get("type") == "TextRun"]
    assert not [each for each in shown if "://" in each or "](" in each]
    assert "".join(shown).replace(JOINER, "").count(one_line(text).replace(JOINER, "")[:60]) >= 2
    links = {each["url"] for each in nodes(card) if each.get("type") == "Action.OpenUrl"}
    assert not [each for each in links if "evil" in each]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "he"])
@pytest.mark.parametrize("plain", [False, True])
def test_every_message_is_one_that_the_service_takes(
    renderer: Renderer, kind: str, language: str, plain: bool
) -> None:
    for name, message in [("usual", sample(kind, SITE, CREATED)), *awkward(kind, SITE, CREATED)]:
        tried = replace(message, plain=plain, repeat=True)
        if kind != "digest":  # one that is too long is made smaller before it is sent
            find_faults(render_discord(renderer, tried, language=language).blocks[0])
        body = teams.request_body(render_teams(renderer, tried, language=language).blocks[0])
        assert card_faults(json.loads(body)) == [], name
        assert len(body) <= LARGEST_REQUEST, name


@pytest.mark.parametrize("text", ["*" * 6000, "😡" * 6000, "a\n" * 3000, "[](" * 2000])
def test_the_longest_texts_are_shortened_and_the_links_stay(renderer: Renderer, text: str) -> None:
    about = replace(
        STALE,
        title=one_line(text)[:500],
        body=text,
        media=tuple(Media("photo", f"https://example.com/{'x' * 2900}{n}") for n in range(12)),
    )
    message = lowered(about, Product("Box", "https://e.example/" + "y" * 2900), {
        "rating": 2, "title": text[:500], "body": text[::-1]
    })  # fmt: skip
    for plain in (False, True):
        found = render_discord(renderer, replace(message, plain=plain))
        find_faults(found.blocks[0])
        kinds, shown = texts_of(found)
        assert "Reply in the dashboard" in shown
        assert any("manage.wix.com" in each for each in kinds)
    found = render_teams(renderer, message)
    assert teams.size_of_card(found) <= teams.MOST_BYTES
    assert "Reply in the dashboard" in json.dumps(found.blocks[0])


def test_a_digest_says_how_long_it_is_and_leaves_out_nothing(renderer: Renderer) -> None:
    reviews = [replace(STALE, title=f"Stale {number}", body="*" * 150) for number in range(30)]
    message = digest(*map(entry, reviews))
    found = render_discord(renderer, message)
    assert discord.length_of_embeds(found) > MOST_DESCRIPTION
    _, shown = texts_of(found)
    assert all(f"Stale {number}\n" in shown for number in range(30))
    plain = render_discord(renderer, replace(message, plain=True)).blocks[0]
    assert len(plain["content"]) > MOST_CONTENT
    assert (plain["embeds"], plain["flags"]) == ([], 1 << 2)  # SUPPRESS_EMBEDS
    card = render_teams(renderer, message)
    assert teams.size_of_card(card) == len(teams.request_body(card.blocks[0]))
    assert all(f'"Stale {number}"' in json.dumps(card.blocks[0]) for number in range(30))


def test_a_message_of_many_reviews_names_them_all_before_it_leaves_any_out(
    renderer: Renderer,
) -> None:
    """As a digest that is changed where it stands, and cannot be sent in pieces any more."""
    product = Product("Croissant box", "https://shop.example/box")
    reviews = [
        replace(STALE, title=f"Stale {number} " + "*" * 99, body="x" * 150) for number in range(20)
    ]
    entries = [entry(each, product=product) for each in reviews]
    found = render_discord(renderer, replace(digest(*entries), slack_ts="1"))
    find_faults(found.blocks[0])
    kinds, shown = texts_of(found)
    assert all(f"Stale {number} " in shown for number in range(20))
    assert [each for each in kinds if each.startswith("link")] == [f"link {DASHBOARD}"]


def test_paragraphs_of_a_customer_stay_apart(renderer: Renderer) -> None:
    message = new(replace(STALE, body="Cold.\n\n\nAnd late."))
    (embed,) = render_discord(renderer, message).blocks[0]["embeds"]
    assert "> Cold.\n> \n> \n> And late.\n" in embed["description"]
    card = render_teams(renderer, message).blocks[0]
    (quote,) = [each for each in nodes(card) if each.get("style") == "emphasis"]
    shown = [run["text"] for line in quote["items"] for run in line["inlines"]]
    assert shown == ["Stale", "Cold.", "\N{NO-BREAK SPACE}", "\N{NO-BREAK SPACE}", "And late."]


def test_a_product_is_named_in_text_and_linked_in_our_words(renderer: Renderer) -> None:
    product = Product("Box [x](https://a.example)", "https://shop.example/box_(1)")
    kinds, shown = texts_of(render_discord(renderer, lowered(STALE, product)))
    assert "link https://shop.example/box_%281%29" in kinds
    assert "Box [x](https://a.example) ↗" in shown
    card = render_teams(renderer, lowered(STALE, product)).blocks[0]
    linked = [each for each in nodes(card) if "selectAction" in each]
    assert ("↗", "https://shop.example/box_(1)") in [
        (each["text"], each["selectAction"]["url"]) for each in linked
    ]


def test_the_messages_say_what_a_mail_says(renderer: Renderer) -> None:
    _, shown = texts_of(render_discord(renderer, lowered(STALE, Product("Box"))))
    card = json.dumps(render_teams(renderer, lowered(STALE, Product("Box"))).blocks[0])
    for words in ("Lowered", "Corner Bakery", "Box", "Ada", "The bread was stale.", "And dear."):
        assert words in shown or words.lower() in shown.lower()
        assert words in card or words.lower() in card.lower()


def test_a_card_in_hebrew_runs_from_right_to_left(renderer: Renderer) -> None:
    hebrew = render_teams(renderer, new(STALE), language="he").blocks[0]
    english = render_teams(renderer, new(STALE)).blocks[0]
    assert (hebrew["rtl"], hebrew["lang"], hebrew["version"]) == (True, "he", "1.5")
    assert (english.get("rtl"), english["lang"], english["version"]) == (None, "en", "1.2")
