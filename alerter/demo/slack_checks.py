"""Checks of JSON that Slack receives: what is wrong, in Slack's words, and where."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Check = Callable[[Any, str], Iterator[str]]


def fault_at(fault: str, pointer: str) -> str:
    """Return a fault with its place."""
    return f"{fault} [json-pointer:{pointer}]"


def string(
    most: int | None = None, least: int = 1, pattern: re.Pattern[str] | None = None
) -> Check:
    """Return a check for text of `least` to `most` characters."""

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield fault_at("must provide a string", pointer)
        elif len(value) < least:
            yield fault_at(f"must be more than {least - 1} characters", pointer)
        elif most is not None and len(value) > most:
            yield fault_at(f"must be less than {most + 1} characters", pointer)
        elif pattern is not None and not pattern.fullmatch(value):
            yield fault_at("must be a valid URL", pointer)

    return check


def choice(*allowed: Any) -> Check:
    """Return a check for one of some values."""

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not any(
            value is each or (type(value) is type(each) and value == each) for each in allowed
        ):
            yield fault_at(f"must be one of {', '.join(map(str, allowed))}", pointer)

    return check


def whole(value: Any, pointer: str) -> Iterator[str]:
    """Check a whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        yield fault_at("must provide an integer", pointer)


def array(check: Check, most: int | None = None, least: int = 1) -> Check:
    """Return a check for a list of `least` to `most` parts."""

    def check_list(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield fault_at("must provide an array", pointer)
            return
        if len(value) < least:
            yield fault_at(f"no less than {least} items allowed", pointer)
        if most is not None and len(value) > most:
            yield fault_at(f"no more than {most} items allowed", pointer)
        for place, each in enumerate(value):
            yield from check(each, f"{pointer}/{place}")

    return check_list


def record(
    required: Mapping[str, Check], optional: Mapping[str, Check], one_of: Sequence[str] = ()
) -> Check:
    """Return a check for an object with these fields and no others."""
    checks = {**required, **optional}

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield fault_at("must provide an object", pointer)
            return
        for name in required:
            if name not in value:
                yield fault_at(f"missing required field: {name}", pointer)
        if one_of and not any(name in value for name in one_of):
            yield fault_at(
                f"must define either {' or '.join(f'`{name}`' for name in one_of)}", pointer
            )
        for name, part in value.items():
            if name == "type":
                continue
            if name not in checks:
                yield fault_at(f"invalid additional property: {name}", pointer)
            else:
                yield from checks[name](part, f"{pointer}/{name}")

    return check


def typed(types: Mapping[str, Check]) -> Check:
    """Return a check for an object, by its `type`."""

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield fault_at("must provide an object", pointer)
        elif "type" not in value:
            yield fault_at("missing required field: type", pointer)
        elif not isinstance(value["type"], str) or value["type"] not in types:
            yield fault_at(f"unsupported type: {value['type']}", f"{pointer}/type")
        else:
            yield from types[value["type"]](value, pointer)

    return check
