"""Whatever Wix may send for a review becomes a `Review` that can be stored and sent, or is refused
with its id.
"""

import json
from datetime import UTC, datetime

import pytest

from alerter.models import Reply, Review
from alerter.store import State
from alerter.wix.review import UnreadableReview, parse_review
from tests.support.wix_reviews import (
    CREATED,
    LONGEST,
    MISSING,
    NOON,
    assert_storable,
    content,
    raw,
    state,
)

__all__ = ["state"]


def test_a_whole_review_is_read(state: State) -> None:
    review = parse_review(raw())

    assert review == Review(
        id="5f3c0a52-8f3b-4b6f-9b8e-2f3b2a1c0d9e",
        rating=1,
        created=CREATED,
        updated=datetime(2026, 11, 24, 13, tzinfo=UTC),
        written=datetime(2026, 11, 23, 12, tzinfo=UTC),
        title="Stale",
        body="The bread was stale.",
        author="Ada",
        contact_id="contact-1",
        namespace="stores",
        entity_id="product-1",
        reply=Reply("Sorry!", CREATED),
        moderation="APPROVED",
        revision=4,
        verified=True,
        origin="ORGANIC",
        helpful=3,
        unhelpful=1,
    )
    assert_storable(review, state)


def test_an_id_and_a_rating_are_enough(state: State) -> None:
    review = parse_review({"id": "r1", "content": {"rating": 2}})

    assert review == Review(id="r1", rating=2)
    assert_storable(review, state)


def test_unknown_fields_are_ignored() -> None:
    extra = raw(
        sentiment={"score": [1, {"deep": None}]}, content=raw()["content"] | {"mood": "grim"}
    )

    assert parse_review(extra) == parse_review(raw())


# Each field that may be left out, and what a review says where it is of no use.
FIELDS = {
    "namespace": ("namespace", ""),
    "entityId": ("entity_id", None),
    "createdDate": ("created", None),
    "updatedDate": ("updated", None),
    "reviewDate": ("written", None),
    "author": ("author", ""),
    "reply": ("reply", None),
    "foundHelpful": ("helpful", 0),
    "foundUnhelpful": ("unhelpful", 0),
    "moderation": ("moderation", ""),
    "revision": ("revision", 0),
    "verified": ("verified", None),
    "origin": ("origin", ""),
}


@pytest.mark.parametrize(
    "value",
    [MISSING, None, [], {}, [1], {"x": 1}, 1.5],
    ids=["missing", "null", "[]", "{}", "a list", "other", "1.5"],
)
@pytest.mark.parametrize(
    ("field", "attribute", "default"), [(name, *rest) for name, rest in FIELDS.items()], ids=FIELDS
)
def test_a_field_of_no_use_is_as_if_it_were_not_there(
    state: State, field: str, attribute: str, default: object, value: object
) -> None:
    review = parse_review(raw(**{field: value}))

    assert getattr(review, attribute) == default
    assert review.body == "The bread was stale."
    assert_storable(review, state)


@pytest.mark.parametrize("value", [None, 7, True, ["Stale"], {"text": "Stale"}], ids=repr)
@pytest.mark.parametrize("field", ["title", "body", "media"])
def test_content_of_another_type_is_left_out(state: State, field: str, value: object) -> None:
    review = parse_review(content(**{field: value}))

    assert not getattr(review, field)
    assert_storable(review, state)


@pytest.mark.parametrize(
    ("author", "name", "contact"),
    [
        ({"authorName": None, "contactId": None}, "", None),
        ({"authorName": 7, "contactId": 7}, "", None),
        ({"authorName": "", "contactId": ""}, "", None),
        (
            {"authorName": " Ada\r\nBcc: x@example.com\t", "contactId": "c\n1"},
            "Ada Bcc: x@example.com",
            "c 1",
        ),
        ({"authorName": "A" * 500}, "A" * 100, None),
        ("Ada", "", None),
    ],
    ids=["null", "numbers", "empty", "line breaks", "over-long", "a text for an object"],
)
def test_an_author_is_one_short_line_or_nobody(
    author: object, name: str, contact: str | None
) -> None:
    review = parse_review(raw(author=author))

    assert (review.author, review.contact_id) == (name, contact)


@pytest.mark.parametrize(("value", "rating"), [(1, 1), (5, 5), (2.0, 2)], ids=repr)
def test_a_rating_is_a_whole_number_from_1_to_5(value: object, rating: int) -> None:
    found = parse_review(content(rating=value)).rating

    assert found == rating
    assert type(found) is int


@pytest.mark.parametrize(
    "value",
    [9, 6, 0, -1, 2.5, 1e300, float("nan"), float("inf"), "2", "", True, None, [1], {"value": 1}],
    ids=repr,
)
def test_a_rating_that_is_none_is_refused_with_the_id_of_its_review(value: object) -> None:
    with pytest.raises(UnreadableReview, match="rating") as caught:
        parse_review(content(rating=value))

    assert caught.value.review_id == raw()["id"]


@pytest.mark.parametrize(
    "value", [MISSING, None, [], "content", [{"rating": 1}]], ids=lambda value: f"{value!r:.12}"
)
def test_content_that_is_no_object_has_no_rating(value: object) -> None:
    with pytest.raises(UnreadableReview, match="rating"):
        parse_review(raw(content=value))


@pytest.mark.parametrize(
    "value",
    [
        MISSING,
        None,
        "",
        " ",
        7,
        True,
        ["r1"],
        {"id": "r1"},
        "a/b",
        "r1\n",
        "é",
        "r" * 101,
        "<b>",
        "r1?x=1",
    ],
    ids=lambda value: f"{value!r:.12}",
)
def test_without_an_id_nothing_is_read(value: object) -> None:
    with pytest.raises(UnreadableReview, match="id") as caught:
        parse_review(raw(id=value))

    assert caught.value.review_id is None


@pytest.mark.parametrize(
    "value", [None, "review", 7, [], [raw()]], ids=["null", "a text", "a number", "[]", "a list"]
)
def test_what_is_no_object_is_no_review(value: object) -> None:
    with pytest.raises(UnreadableReview, match="not an object"):
        parse_review(value)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("so\0 bad", "so bad"),
        ("a\x07b\x1b[31mc\x7fd\x9be", "ab[31mcde"),
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("tab\tstays", "tab\tstays"),
        ("\ud83d", "\ufffd"),
        ("bad \ud83dA and \udc00B", "bad \ufffdA and \ufffdB"),
        ("  \n around \n ", "around"),
        (" \n\t\0 ", ""),
        ("<script>alert(1)</script> & {{ 7*7 }}", "<script>alert(1)</script> & {{ 7*7 }}"),
        ("خدمة سيئة جدا \u202e", "خدمة سيئة جدا \u202e"),
        ("👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"),
        ("😡" * LONGEST, "😡" * LONGEST),
        ("x" * (LONGEST + 1), "x" * LONGEST),
        ("x" * 1_000_000, "x" * LONGEST),
        ("\0" * LONGEST + "x" * LONGEST, "x" * LONGEST),
    ],
    ids=[
        "NUL",
        "control characters",
        "line breaks of all kinds",
        "a tab",
        "a lone surrogate",
        "lone surrogates within words",
        "space around",
        "nothing but space",
        "markup",
        "right to left",
        "a family of emoji",
        "3,000 emoji",
        "one over the limit",
        "a million",
        "long only with what is left out",
    ],
)
def test_a_body_is_cleaned_and_nothing_else(state: State, text: str, read: str) -> None:
    review = parse_review(content(body=text))

    assert review.body == read
    assert_storable(review, state)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Bad\r\nBcc: victim@example.com", "Bad Bcc: victim@example.com"),
        ("Bad\nSubject: Won\n\nbody", "Bad Subject: Won body"),
        ("Bad\u2028Bcc: victim@example.com\u2029\x85!", "Bad Bcc: victim@example.com !"),
        ("a \t\t  b", "a b"),
        ("\0\ud800", "\ufffd"),
        ("😡" * 4000, "😡" * LONGEST),
    ],
    ids=[
        "CR LF",
        "LF",
        "Unicode's own line breaks",
        "runs of space",
        "NUL and a lone surrogate",
        "over-long",
    ],
)
def test_a_title_is_one_line(state: State, text: str, read: str) -> None:
    review = parse_review(content(title=text))

    assert review.title == read
    assert len(review.title.splitlines()) == 1
    assert_storable(review, state)


@pytest.mark.parametrize(
    ("value", "revision"),
    [
        ("4", 4),
        (4, 4),
        ("0", 0),
        ("-3", 0),
        ("12abc", 0),
        ("", 0),
        ("1.5", 0),
        (None, 0),
        (["4"], 0),
        ("9" * 30, 1 << 53),
        ("9" * 10_000, 0),
        (10**40, 1 << 53),
    ],
    ids=lambda value: f"{value!r:.12}",
)
def test_a_revision_is_a_number_however_it_is_written(
    state: State, value: object, revision: int
) -> None:
    review = parse_review(raw(revision=value))

    assert review.revision == revision
    assert_storable(review, state)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T12:00:00.000Z", CREATED),
        ("2026-11-24T12:00:00Z", CREATED),
        ("2026-11-24T14:00:00+02:00", CREATED),
        ("2026-11-24T12:00:00", CREATED),
        ("2026-11-24T12:00:00.1234567Z", CREATED.replace(microsecond=123456)),
        ("yesterday", None),
        ("", None),
        ("2026-13-24T12:00:00Z", None),
        ("2026-11-24T12:00:00+25:00", None),
        ("9999-12-31T23:59:59-10:00", None),
        (1764000000000, None),
        ({"$date": NOON}, None),
    ],
    ids=[
        "as Wix writes it",
        "no fraction",
        "an offset",
        "no zone",
        "a fine fraction",
        "a word",
        "empty",
        "a thirteenth month",
        "an offset that is none",
        "beyond the last year",
        "a number",
        "an object",
    ],
)
def test_a_date_is_utc_or_nothing(state: State, text: object, moment: datetime | None) -> None:
    review = parse_review(raw(createdDate=text, updatedDate=text, reviewDate=text))

    assert (review.created, review.updated, review.written) == (moment, moment, moment)
    assert review.created is None or review.created.tzinfo is UTC
    assert_storable(review, state)


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ({"message": "Sorry!", "createdDate": NOON}, Reply("Sorry!", CREATED)),
        (
            {"message": "Sorry!", "createdDate": "2026-11-01T00:00:00Z", "updatedDate": NOON},
            Reply("Sorry!", CREATED),
        ),
        ({"message": "Sorry!"}, Reply("Sorry!")),
        ({"message": "Sorry!", "createdDate": None, "updatedDate": "soon"}, Reply("Sorry!")),
        ({"message": "  So\r\nsorry\0 \n"}, Reply("So\nsorry")),
        ({"message": "s" * 10_000}, Reply("s" * LONGEST)),
        ({"message": ""}, None),
        ({"message": " \n"}, None),
        ({"message": None, "createdDate": NOON}, None),
        ({"message": ["Sorry!"]}, None),
        ({}, None),
        ("Sorry!", None),
        ([{"message": "Sorry!"}], None),
    ],
    ids=[
        "whole",
        "rewritten",
        "no dates",
        "dates of no use",
        "line breaks and NUL",
        "over-long",
        "empty",
        "blank",
        "no message",
        "a list for a message",
        "an empty object",
        "a text",
        "a list",
    ],
)
def test_a_reply_has_words_or_is_none(state: State, value: object, reply: Reply | None) -> None:
    review = parse_review(raw(reply=value))

    assert review.reply == reply
    assert review.answered is (reply is not None)
    assert_storable(review, state)


@pytest.mark.parametrize(
    ("status", "rejected"),
    [
        ("REJECTED", True),
        ("APPROVED", False),
        ("IN_MODERATION", False),
        ("UNKNOWN", False),
        ("PONDERED", False),
    ],
)
def test_only_a_rejected_review_is_rejected(status: str, rejected: bool) -> None:
    assert parse_review(raw(moderation={"moderationStatus": status})).rejected is rejected


@pytest.mark.parametrize(
    ("value", "read"),
    [(True, True), (False, False), ("true", None), (1, None), (None, None)],
    ids=repr,
)
def test_verified_is_yes_no_or_unknown(value: object, read: bool | None) -> None:
    assert parse_review(raw(verified=value)).verified is read


@pytest.mark.parametrize(
    "body",
    [
        (
            '{"id": "r1", "content": {"rating": 1, "title": "\\ud83d", "body": '
            '"\\u0000\\udfff\\r\\n\\ud83d\\ude21"}}'
        ),
        (
            '{"id": "r1", "namespace": "\\udead", "content": {"rating": 1.0, "body": '
            '"\\u202e\\u2066\\ufeff\\uffff"}}'
        ),
        (
            '{"id": "r1", "content": {"rating": 1}, "author": {"authorName": "\\udead"}, '
            '"reply": {"message": "\\udead"}}'
        ),
        (
            '{"id": "r1", "content": {"rating": 1}, "entityId": "\\udead", "origin": {"appId": '
            '"\\udead"}}'
        ),
        (
            '{"id": "r1", "content": {"rating": 1}, "foundHelpful": 1e400, "foundUnhelpful": -7, '
            '"revision": NaN}'
        ),
    ],
    ids=[
        "surrogates",
        "invisible characters",
        "in names",
        "in every other field",
        "numbers out of range",
    ],
)
def test_hostile_json_becomes_what_can_be_stored(state: State, body: str) -> None:
    assert_storable(parse_review(json.loads(body)), state)
