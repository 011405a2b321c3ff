"""Filters of review queries: conditions on fields, joined by $and, $or and $not."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from alerter.demo.wix_reviews import Row, microseconds

_EQUAL = frozenset({"$eq", "$ne"})
_EXACT = _EQUAL | {"$in"}
_ORDERED = _EXACT | {"$lt", "$lte", "$gt", "$gte"}


class Field(NamedTuple):
    """How a field may be filtered and sorted."""

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
    """A bad query: the field, what is wrong with it, and the violated rule."""

    def __init__(self, field: str, description: str, rule: str = "OTHER") -> None:
        super().__init__(description)
        self.field, self.description, self.rule = field, description, rule


class Filter(Protocol):
    """A condition that a review meets or does not."""

    def holds(self, row: Row) -> bool:
        """Return whether the review matches."""


class Condition(NamedTuple):
    """A field, an operator and a value."""

    field: str
    operator: str
    value: Any

    def holds(self, row: Row) -> bool:
        """Return whether the review matches."""
        return _COMPARISONS[self.operator](value_of(row, self.field), self.value)


class All(NamedTuple):
    """All parts match."""

    parts: tuple[Filter, ...]

    def holds(self, row: Row) -> bool:
        """Return whether the review matches."""
        return all(part.holds(row) for part in self.parts)


class Either(NamedTuple):
    """At least one part matches."""

    parts: tuple[Filter, ...]

    def holds(self, row: Row) -> bool:
        """Return whether the review matches."""
        return any(part.holds(row) for part in self.parts)


class Not(NamedTuple):
    """The part does not match."""

    part: Filter

    def holds(self, row: Row) -> bool:
        """Return whether the review matches."""
        return not self.part.holds(row)


def read_filter(asked: object, where: str = "filter") -> All:
    """Read a filter object, whose parts must all match. Raises BadQueryError."""
    parts: list[Filter] = []
    for name, value in read_object(where, asked).items():
        if name in {"$and", "$or"}:
            parts.append(_read_joined(name, value, f"{where}.{name}"))
        elif name == "$not":
            parts.append(Not(read_filter(_filled(value, f"{where}.$not"), f"{where}.$not")))
        else:
            parts.extend(_read_conditions(name, value, f"{where}.{name}"))
    return All(tuple(parts))


def conditions_of(asked: Filter) -> Iterator[Condition]:
    """Yield the conditions that every match meets."""
    if isinstance(asked, Condition):
        yield asked
    if isinstance(asked, All):
        for part in asked.parts:
            yield from conditions_of(part)


def _read_joined(name: str, value: object, where: str) -> Filter:
    if not isinstance(value, list) or not value:
        raise BadQueryError(where, f"{name} expects a list of filters")
    parts = tuple(
        read_filter(_filled(each, f"{where}[{place}]"), f"{where}[{place}]")
        for place, each in enumerate(value)
    )
    return All(parts) if name == "$and" else Either(parts)


def _filled(value: object, where: str) -> object:
    if not value:
        raise BadQueryError(where, "a filter is expected")
    return value


def _read_conditions(name: str, value: object, where: str) -> Iterator[Condition]:
    if name not in FIELDS:
        raise BadQueryError(where, f"field {name} is not supported in filters")
    tests = value if isinstance(value, Mapping) else {"$eq": value}
    if not tests:
        raise BadQueryError(where, "an operator is expected")
    for operator, operand in tests.items():
        if operator not in FIELDS[name].operators:
            raise BadQueryError(where, f"operator {operator} is not supported for field {name}")
        yield Condition(name, operator, _operand(name, operator, operand))


def value_of(row: Row, field: str) -> Any:
    """Return the value of a review's field; None if it has none."""
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


def read_object(name: str, value: object) -> Mapping[str, Any]:
    """Read an optional object of a query. Raises BadQueryError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadQueryError(name, "an object is expected")
    return value
