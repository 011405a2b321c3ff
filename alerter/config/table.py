"""A table of the config: checks its fields and the rules between them, and gathers every fault."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

from alerter.config.fields import fault, nearest


class Problem(NamedTuple):
    """A fault of a table: the key in it, such as `quiet.to` or `sites.2`, and what is wrong."""

    key: str
    text: str


class Table(BaseModel):
    """A frozen table of the config. Unknown keys are faults."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:  # noqa: ARG003 - for those below
        """Yield the faults that no field has alone.

        `raw` holds the keys as they are written, so that these faults are reported together with
        those of the fields. The rules are skipped where the config is incomplete.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _gather(
        cls, raw: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        table, faults = None, list[InitErrorDetails]()
        try:
            table = handler(raw)
        except ValidationError as error:
            faults = [
                InitErrorDetails(type=fault(cls._phrase(detail)), loc=detail["loc"], input=None)
                for detail in error.errors(include_input=False, include_url=False)
            ]
        if isinstance(raw, Mapping) and not (info.context or {}).get("incomplete"):
            faults.extend(
                InitErrorDetails(type=fault(text), loc=(key,), input=None)
                for key, text in cls.rules(raw)
            )
        if table is None or faults:
            raise ValidationError.from_exception_data(cls.__name__, faults, hide_input=True)
        return table

    @classmethod
    def _phrase(cls, detail: ErrorDetails) -> str:
        """Return what is allowed in place of a value that pydantic refuses; never the value."""
        match detail["type"]:
            case "missing":
                return "is missing"
            case "bool_type":
                return "must be true or false, without quotes"
            case "model_type":
                return "must be a table of keys"
            case "extra_forbidden":
                known = [field.alias or name for name, field in cls.model_fields.items()]
                near = nearest(str(detail["loc"][-1]), known)
                hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
                return f"is not a known key; {hint}"
        return detail["msg"].replace("Input should be", "must be")


def problems_of(error: ValidationError) -> dict[str, str]:
    """Return the first fault of each key; `receivers.2.slack` is in the second [[receivers]]."""
    problems: dict[str, str] = {}
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        loc = (part + 1 if isinstance(part, int) else part for part in detail["loc"])
        problems.setdefault(".".join(map(str, loc)), detail["msg"])
    return problems
