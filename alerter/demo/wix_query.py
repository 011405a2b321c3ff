"""What may be asked of the embedded Wix about reviews: filter, sort and cursor."""

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import Any, NamedTuple

from alerter.demo.wix_reviews import Json, Key, Reviews, Row, microseconds

_LARGEST_PAGE = 100
_USUAL_PAGE = 50

_EQUAL = frozenset({"$eq", "$ne"})
_EXACT = _EQUAL | {"$in"}
_ORDERED = _EXACT | {"$lt", "$lte", "$gt", "$gte"}


class Field(NamedTuple):
    """How a field may be asked about."""

    kind: str
    operators: frozenset[str]
    sortable: bool = False


FIELDS: Mapping[str, Field] = {
    "id": Field("string", _EXACT),
    "namespace": Field("string", _EXACT),
    "entityId": Field("string", _EXACT),
    "author.contactId": Field("string", _EXACT),
    "moderation.moderationStatus": Field("string", _EXACT),
    "content.rating": Field("number", _ORDERED, sortable=True),
    "createdDate": Field("date", _ORDERED, sortable=True),
    "helpfulness": Field("number", _ORDERED, sortable=True),
    "relevanceScore": Field("number", _ORDERED, sortable=True),
    "origin.type": Field("string", _EQUAL, sortable=True),
    "verified": Field("boolean", _EQUAL, sortable=True),
    "content.media": Field("list", frozenset({"$isEmpty"})),
}


class BadQueryError(Exception):
    """The request is at fault: the field, what is wrong with it, and the rule that it breaks."""

    def __init__(self, field: str, description: str, rule: str = "OTHER") -> None:
        super().__init__(description)
        self.field, self.description, self.rule = field, description, rule


class Condition(NamedTuple):
    """A field, an operator and a value that fits both."""

    field: str
    operator: str
    value: Any

    def holds(self, row: Row) -> bool:
        """Whether a review is one of those asked for."""
        return _COMPARISONS[self.operator](_value(row, self.field), self.value)


class Sort(NamedTuple):
    """A field, and whether the largest comes first."""

    field: str
    descending: bool


@dataclass(frozen=True)
class Query:
    """A page that was asked for; `after` is where the page before it ended."""

    conditions: tuple[Condition, ...]
    sort: tuple[Sort, ...]
    limit: int
    after: tuple[Any, ...] | None
    asked: Json


def read_query(asked: object, scope: str) -> Query:
    """The query that a body asks for; a cursor only fits the `scope` that it was given out in."""
    query = _object("query", asked)
    _known("query", query, {"filter", "sort", "cursorPaging"})
    paging = _object("query.cursorPaging", query.get("cursorPaging"))
    _known("query.cursorPaging", paging, {"limit", "cursor"})
    after = None
    if (cursor := paging.get("cursor")) is not None:
        if query.get("filter") is not None or query.get("sort") is not None:
            raise BadQueryError("query.cursorPaging.cursor", "cursor cannot be combined with filter or sort")
        query, after = _opened(cursor, scope)
    return Query(
        conditions=tuple(read_filter(query.get("filter"))),
        sort=_read_sort(query.get("sort")),
        limit=_read_limit(paging.get("limit")),
        after=after,
        asked={"filter": query.get("filter"), "sort": query.get("sort")},
    )


def read_filter(asked: object) -> Iterator[Condition]:
    """The conditions of a filter object; all have to hold."""
    for name, value in _object("filter", asked).items():
        if name not in FIELDS:
            raise BadQueryError(f"filter.{name}", f"field {name} is not supported in filters")
        tests = value if isinstance(value, Mapping) else {"$eq": value}
        if not tests:
            raise BadQueryError(f"filter.{name}", "an operator is expected")
        for operator, operand in tests.items():
            if operator not in FIELDS[name].operators:
                raise BadQueryError(f"filter.{name}", f"operator {operator} is not supported for field {name}")
            yield Condition(name, operator, _operand(name, operator, operand))


def run(reviews: Reviews, query: Query, *, private: bool, scope: str) -> tuple[list[Json], str | None]:
    """One page of reviews, and the cursor of the next one if there is one."""
    page = list(islice(_ordered(reviews, query, private=private), query.limit + 1))
    shown = page[: query.limit]
    if len(page) <= query.limit:
        return [row.review for row in shown], None
    last = [*(_value(shown[-1], sort.field) for sort in query.sort), shown[-1].id]
    return [row.review for row in shown], _sealed({**query.asked, "last": last, "scope": scope})


def count(reviews: Reviews, conditions: Sequence[Condition], *, private: bool) -> int:
    """How many reviews match."""
    return sum(1 for _ in _matching(reviews, conditions, _keys(reviews, conditions), private=private))


def _ordered(reviews: Reviews, query: Query, *, private: bool) -> Iterator[Row]:
    keys = _keys(reviews, query.conditions)
    if [sort.field for sort in query.sort] == ["createdDate"]:
        # The reviews lie in this order already, so that a page costs no more than what it holds.
        onward = _onward(keys, query.after, descending=query.sort[0].descending)
        return _matching(reviews, query.conditions, onward, private=private)
    rows = sorted(
        _matching(reviews, query.conditions, keys, private=private),
        key=lambda row: row.id,
        reverse=query.sort[0].descending,
    )
    for sort in reversed(query.sort):
        rows.sort(key=lambda row: _rank(_value(row, sort.field)), reverse=sort.descending)
    after = query.after
    return iter(rows) if after is None else dropwhile(lambda row: not _beyond(row, query.sort, after), rows)


def _onward(keys: Sequence[Key], after: tuple[Any, ...] | None, *, descending: bool) -> Iterable[Key]:
    if descending:
        end = len(keys) if after is None else bisect_left(keys, (after[0], after[1]))
        return (keys[place] for place in range(end - 1, -1, -1))
    start = 0 if after is None else bisect_right(keys, (after[0], after[1]))
    return (keys[place] for place in range(start, len(keys)))


def _matching(
    reviews: Reviews, conditions: Sequence[Condition], keys: Iterable[Key], *, private: bool
) -> Iterator[Row]:
    for _, review_id in keys:
        row = reviews.get(review_id)
        if row is None or not reviews.visible(review_id):
            continue
        if (private or row.published) and all(condition.holds(row) for condition in conditions):
            yield row


def _keys(reviews: Reviews, conditions: Sequence[Condition]) -> Sequence[Key]:
    ids: list[str] | None = None
    lower: list[int] = []
    upper: list[int] = []
    for field, operator, value in conditions:
        if field == "id" and operator in {"$eq", "$in"}:
            ids = value if operator == "$in" else [value]
        if field == "createdDate" and operator in {"$gt", "$gte", "$eq"}:
            lower.append(value + (operator == "$gt"))
        if field == "createdDate" and operator in {"$lt", "$lte", "$eq"}:
            upper.append(value + (operator != "$lt"))
    return reviews.keys(ids, max(lower, default=None), min(upper, default=None))


def _beyond(row: Row, sorts: Sequence[Sort], last: Sequence[Any]) -> bool:
    marks = [
        (_rank(_value(row, sort.field)), _rank(mark), sort.descending) for sort, mark in zip(sorts, last, strict=False)
    ]
    marks.append((_rank(row.id), _rank(last[-1]), sorts[0].descending))
    for mine, mark, descending in marks:
        if mine != mark:
            return mine < mark if descending else mine > mark
    return False


def _rank(value: Any) -> tuple[bool, Any]:
    return value is not None, 0 if value is None else value


def _value(row: Row, field: str) -> Any:
    if field == "createdDate":
        return row.created
    value: Any = row.review
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, other: value == other,
    "$ne": lambda value, other: value != other,
    "$in": lambda value, others: value in others,
    "$lt": lambda value, other: value is not None and value < other,
    "$lte": lambda value, other: value is not None and value <= other,
    "$gt": lambda value, other: value is not None and value > other,
    "$gte": lambda value, other: value is not None and value >= other,
    "$isEmpty": lambda value, wanted: (not value) is wanted,
}


def _operand(name: str, operator: str, value: Any) -> Any:
    if operator == "$isEmpty":
        if not isinstance(value, bool):
            raise BadQueryError(f"filter.{name}", "$isEmpty expects true or false")
        return value
    if operator == "$in":
        if not isinstance(value, list):
            raise BadQueryError(f"filter.{name}", "$in expects a list of values")
        return [_single(name, each) for each in value]
    return _single(name, value)


def _single(name: str, value: Any) -> Any:
    kind = FIELDS[name].kind
    if kind == "date":
        try:
            return microseconds(value)
        except ValueError as error:
            raise BadQueryError(f"filter.{name}", str(error), "FORMAT") from error
    fits = {
        "string": isinstance(value, str),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
    }[kind]
    if not fits:
        raise BadQueryError(f"filter.{name}", f"{name} has to be compared with a {kind}")
    return value


def _read_sort(asked: object) -> tuple[Sort, ...]:
    if asked is None:
        return (Sort("createdDate", descending=False),)
    if not isinstance(asked, list):
        raise BadQueryError("query.sort", "a list is expected")
    sorts = []
    for place, each in enumerate(asked):
        where = f"query.sort[{place}]"
        sort = _object(where, each)
        _known(where, sort, {"fieldName", "order"})
        field = FIELDS.get(str(sort.get("fieldName")))
        if field is None or not field.sortable:
            raise BadQueryError(f"{where}.fieldName", f"sorting by {sort.get('fieldName')} is not supported")
        if sort.get("order", "ASC") not in ("ASC", "DESC"):
            raise BadQueryError(f"{where}.order", "order is ASC or DESC")
        sorts.append(Sort(sort["fieldName"], sort.get("order") == "DESC"))
    return tuple(sorts) or (Sort("createdDate", descending=False),)


def _read_limit(limit: object) -> int:
    if limit is None:
        return _USUAL_PAGE
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise BadQueryError("query.cursorPaging.limit", "limit has to be a whole number")
    if limit < 1:
        raise BadQueryError("query.cursorPaging.limit", "must be greater than or equal to 1", "MIN")
    if limit > _LARGEST_PAGE:
        raise BadQueryError("query.cursorPaging.limit", f"must be less than or equal to {_LARGEST_PAGE}", "MAX")
    return limit


def _sealed(content: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def _opened(cursor: object, scope: str) -> tuple[Json, tuple[Any, ...]]:
    try:
        content = json.loads(base64.b64decode(str(cursor), altchars=b"-_", validate=True))
        if content.pop("scope") == scope:
            return content, tuple(content.pop("last"))
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise BadQueryError("query.cursorPaging.cursor", "the cursor is not valid")


def _object(name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadQueryError(name, "an object is expected")
    return value


def _known(name: str, value: Mapping[str, Any], allowed: set[str]) -> None:
    for key in value:
        if key not in allowed:
            raise BadQueryError(f"{name}.{key}", f"unknown field {key}")
