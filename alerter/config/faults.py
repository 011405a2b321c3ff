"""What pydantic finds wrong with a config → words for people."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from alerter.config.fields import LONGEST_NAME


def place(loc: tuple[int | str, ...]) -> str:
    """The key as a person would look for it: `receivers.2.slack` is a key of the second [[receivers]]."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)


def phrase(detail: ErrorDetails, config: type[BaseModel]) -> str:
    """What is wrong with a value, in words that say what is allowed; never the value itself."""
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        return _unknown(detail["loc"], config)
    if detail["type"] == "too_short":
        return "must name at least one"
    tables = [(name,) for name in ("sites", "receivers", "apps", "summaries")]
    if detail["type"] == "tuple_type" and detail["loc"] in tables:
        return f"must be tables, each headed [[{detail['loc'][0]}]]"
    if detail["type"] == "tuple_type":
        return 'must be a list, such as ["…"]'
    if detail["type"] == "model_type":
        return "must be a table of keys"
    return detail["msg"].replace("Input should be", "must be")


def _unknown(loc: tuple[int | str, ...], config: type[BaseModel]) -> str:
    known = [
        field.alias or name for name, field in _model_at(loc[:-1], config).model_fields.items()
    ]
    near = difflib.get_close_matches(str(loc[-1])[:LONGEST_NAME], known, 1)
    return (
        f"is not a known key; did you mean {near[0]}?"
        if near
        else f"is not a known key; known: {', '.join(known)}"
    )


def _model_at(loc: tuple[int | str, ...], config: type[BaseModel]) -> type[BaseModel]:
    model = config
    for part in loc:
        if isinstance(part, str):
            model = next(_models_in(_field(part, model).annotation))
    return model


def _field(key: str, model: type[BaseModel]) -> FieldInfo:
    return next(field for name, field in model.model_fields.items() if (field.alias or name) == key)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
