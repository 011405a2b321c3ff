"""Review queries of the embedded Wix: filter, sort and cursor."""

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import Any, NamedTuple

from alerter.demo.wix_filter import (
    FIELDS,
    BadQueryError,
    Filter,
    conditions_of,
    read_filter,
    read_object,
    value_of,
)
from alerter.demo.wix_reviews import Json, Key, Reviews, Row

_LARGEST_PAGE = 100
_USUAL_PAGE = 50


class Sort(NamedTuple):
    """A field to sort by, and whether the largest comes first."""

    field: str
    descending: bool


@dataclass(frozen=True)
class Query:
    """A requested page; `after` is the end of the page before it."""

    filter: Filter
    sort: tuple[Sort, ...]
    limit: int
    after: tuple[Any, ...] | None
    asked: Json


def read_query(asked: object, scope: str) -> Query:
    """Read a query; a cursor is valid in its own `scope` only. Raises BadQueryError."""
    query = read_object("query", asked)
    _check_keys("query", query, {"filter", "sort", "cursorPaging"})
    paging = read_object("query.cursorPaging", query.get("cursorPaging"))
    _check_keys("query.cursorPaging", paging, {"limit", "cursor"})
    after = None
    if (cursor := paging.get("cursor")) is not None:
        if query.get("filter") is not None or query.get("sort") is not None:
            raise BadQueryError(
                "query.cursorPaging.cursor", "cursor cannot be combined with filter or sort"
            )
        query, after = _decode_cursor(cursor, scope)
    return Query(
        filter=read_filter(query.get("filter")),
        sort=_read_sort(query.get("sort")),
        limit=_read_limit(paging.get("limit")),
        after=after,
        asked={"filter": query.get("filter"), "sort": query.get("sort")},
    )


def run(
    reviews: Reviews, query: Query, *, private: bool, scope: str
) -> tuple[list[Json], str | None]:
    """Return a page of reviews, and the cursor of the next page if there is one."""
    page = list(islice(_ordered(reviews, query, private=private), query.limit + 1))
    shown = page[: query.limit]
    if len(page) <= query.limit:
        return [row.review for row in shown], None
    last = [*(value_of(shown[-1], sort.field) for sort in query.sort), shown[-1].id]
    return [row.review for row in shown], _encode_cursor(
        {**query.asked, "last": last, "scope": scope}
    )


def count(reviews: Reviews, asked: Filter, *, private: bool) -> int:
    """Return how many reviews match."""
    return sum(1 for _ in _matching(reviews, asked, _keys(reviews, asked), private=private))


def _ordered(reviews: Reviews, query: Query, *, private: bool) -> Iterator[Row]:
    keys = _keys(reviews, query.filter)
    if [sort.field for sort in query.sort] == ["createdDate"]:
        # The reviews are stored in this order, so a page costs no more than its length.
        onward = _onward(keys, query.after, descending=query.sort[0].descending)
        return _matching(reviews, query.filter, onward, private=private)
    rows = sorted(
        _matching(reviews, query.filter, keys, private=private),
        key=lambda row: row.id,
        reverse=query.sort[0].descending,
    )
    for sort in reversed(query.sort):
        rows.sort(key=lambda row: _rank(value_of(row, sort.field)), reverse=sort.descending)
    after = query.after
    return (
        iter(rows)
        if after is None
        else dropwhile(lambda row: not _beyond(row, query.sort, after), rows)
    )


def _onward(
    keys: Sequence[Key], after: tuple[Any, ...] | None, *, descending: bool
) -> Iterable[Key]:
    if descending:
        end = len(keys) if after is None else bisect_left(keys, (after[0], after[1]))
        return (keys[place] for place in range(end - 1, -1, -1))
    start = 0 if after is None else bisect_right(keys, (after[0], after[1]))
    return (keys[place] for place in range(start, len(keys)))


def _matching(
    reviews: Reviews, asked: Filter, keys: Iterable[Key], *, private: bool
) -> Iterator[Row]:
    for _, review_id in keys:
        row = reviews.get(review_id)
        if row is None or not reviews.visible(review_id):
            continue
        if (private or row.published) and asked.holds(row):
            yield row


def _keys(reviews: Reviews, asked: Filter) -> Sequence[Key]:
    ids: list[str] | None = None
    lower: list[int] = []
    upper: list[int] = []
    for field, operator, value in conditions_of(asked):
        if field == "id" and operator in {"$eq", "$in"}:
            ids = value if operator == "$in" else [value]
        if field == "createdDate" and operator in {"$gt", "$gte", "$eq"}:
            lower.append(value + (operator == "$gt"))
        if field == "createdDate" and operator in {"$lt", "$lte", "$eq"}:
            upper.append(value + (operator != "$lt"))
    return reviews.keys(ids, max(lower, default=None), min(upper, default=None))


def _beyond(row: Row, sorts: Sequence[Sort], last: Sequence[Any]) -> bool:
    marks = [
        (_rank(value_of(row, sort.field)), _rank(mark), sort.descending)
        for sort, mark in zip(sorts, last, strict=False)
    ]
    marks.append((_rank(row.id), _rank(last[-1]), sorts[0].descending))
    for mine, mark, descending in marks:
        if mine != mark:
            return mine < mark if descending else mine > mark
    return False


def _rank(value: Any) -> tuple[bool, Any]:
    return value is not None, 0 if value is None else value


def _read_sort(asked: object) -> tuple[Sort, ...]:
    if asked is None:
        return (Sort("createdDate", descending=False),)
    if not isinstance(asked, list):
        raise BadQueryError("query.sort", "a list is expected")
    sorts = []
    for place, each in enumerate(asked):
        where = f"query.sort[{place}]"
        sort = read_object(where, each)
        _check_keys(where, sort, {"fieldName", "order"})
        field = FIELDS.get(str(sort.get("fieldName")))
        if field is None or not field.sortable:
            raise BadQueryError(
                f"{where}.fieldName", f"sorting by {sort.get('fieldName')} is not supported"
            )
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
        raise BadQueryError(
            "query.cursorPaging.limit", f"must be less than or equal to {_LARGEST_PAGE}", "MAX"
        )
    return limit


def _encode_cursor(content: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def _decode_cursor(cursor: object, scope: str) -> tuple[Json, tuple[Any, ...]]:
    try:
        content = json.loads(base64.b64decode(str(cursor), altchars=b"-_", validate=True))
        if content.pop("scope") == scope:
            return content, tuple(content.pop("last"))
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise BadQueryError("query.cursorPaging.cursor", "the cursor is not valid")


def _check_keys(name: str, value: Mapping[str, Any], allowed: set[str]) -> None:
    for key in value:
        if key not in allowed:
            raise BadQueryError(f"{name}.{key}", f"unknown field {key}")
