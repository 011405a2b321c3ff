"""The JSON schema of a webhook's body holds for every body, and for nothing that is not in it."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from alerter.models import AlertKind, CloseReason, Media, Message, Reply
from alerter.render.language import get_language
from alerter.render.samples import KINDS, awkward, sample
from alerter.render.webhook_body import TYPES, dump_body, webhook_body

DOCS = Path(__file__).parents[2] / "docs"
SITE = "11111111-1111-4111-8111-111111111111"
NOW = datetime(2026, 11, 26, 18, 0, 0, 123456, UTC)
OF_ONE_ALERT = [kind for kind in KINDS if kind != "digest"]


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "webhook-body.schema.json").read_text())
    return found


def strict(part: Any) -> Any:
    """The schema without room for fields that it does not name: each has to be described."""
    if isinstance(part, list):
        return [strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {name: strict(value) for name, value in part.items()}
    if part.get("type") == "object" and "properties" in part and "oneOf" not in part:
        closed["additionalProperties"] = False
    return closed


VALIDATOR = Draft202012Validator(strict(schema()))


def body_of(message: Message, *, test: bool = False, sites: tuple[str, ...] = (SITE,)) -> Any:
    names = dict.fromkeys(sites, "Corner Bakery")
    return json.loads(dump_body(webhook_body(message, UTC, names, get_language("de"), test=test)))


def fault(body: Any) -> str | None:
    """What is wrong with a body, and where."""
    found = best_match(VALIDATOR.iter_errors(body))
    return f"{found.json_path}: {found.message}" if found else None


def messages(kind: str) -> Iterator[Message]:
    """Messages of a kind: usual ones, awkward ones, and with little on record."""
    usual = sample(kind, SITE, NOW, destination="webhook:test")
    yield usual
    yield from (message for _, message in awkward(kind, SITE, NOW))
    [item] = usual.entries
    yield replace(usual, entries=(replace(item, raised_at=NOW),))
    if item.review:
        media = (Media("photo", "https://example.com/a.jpg"),)
        bare = replace(item.review, author="", created=None, entity_id=None, moderation="")
        for review in (bare, replace(bare, media=media, reply=Reply("Sorry")), None):
            yield replace(usual, entries=(replace(item, review=review),))
        for closing in CloseReason:
            yield replace(usual, entries=(replace(item, closing=closing),))
    if kind == "reminder":
        for detail in ({"after": 3600.0}, {"snoozed": True}, {"reopened": "answered"}):
            alert = replace(item.alert, detail=detail)
            yield replace(usual, entries=(replace(item, alert=alert),))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("kind", OF_ONE_ALERT)
def test_every_body_of_a_kind_is_described(kind: str) -> None:
    for message in messages(kind):
        for body in (body_of(message), body_of(message, sites=())):
            assert body["type"] == TYPES[AlertKind(kind)]
            assert fault(body) is None


def test_the_body_of_a_test_is_described() -> None:
    body = body_of(sample("new", SITE, NOW, destination="webhook:test"), test=True)
    assert body["type"] == "test"
    assert fault(body) is None


def test_the_schema_has_each_type_and_no_other() -> None:
    kinds = [variant["properties"]["type"] for variant in schema()["oneOf"]]
    described = [name for kind in kinds for name in kind.get("enum", [kind.get("const")])]
    assert sorted(described) == sorted([*TYPES.values(), "test"])


def test_the_example_of_the_docs_is_described() -> None:
    [example] = re.findall(
        r"```json\n(.*?)```", (DOCS / "webhook-receivers.md").read_text(), re.DOTALL
    )
    assert fault(json.loads(example)) is None


WRONG: dict[str, Callable[[Any], Any]] = {
    "an unknown type": lambda body: body | {"type": "review.other"},
    "another type's data": lambda body: body | {"type": "summary"},
    "no timestamp": lambda body: {name: body[name] for name in ("type", "data")},
    "a local time": lambda body: body | {"timestamp": "2026-11-26T18:02:34.120+01:00"},
    "no review": lambda body: body | {"data": {"site": body["data"]["site"], "links": {}}},
    "no id": lambda body: _with_review(body, id=None),
    "six stars": lambda body: _with_review(body, rating=6),
    "a field that nobody described": lambda body: _with_review(body, secret="x"),
}


def _with_review(body: Any, **changes: Any) -> Any:
    return body | {"data": body["data"] | {"review": body["data"]["review"] | changes}}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_not_such_a_body_is_refused(wrong: str) -> None:
    body = body_of(sample("new", SITE, NOW, destination="webhook:test"))
    assert fault(body) is None
    assert fault(WRONG[wrong](body))
