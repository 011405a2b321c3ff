"""Checks of the elements that people press, choose from and type into.

https://docs.slack.dev/reference/block-kit/block-elements
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alerter.demo.slack_checks import Check, array, choice, fault_at, record, string, typed, whole

LINK = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.IGNORECASE)
FLAG = choice(True, False)
_STYLE = choice("primary", "danger")
_LONGEST_INPUT = 3000


def plain_text(most: int) -> dict[str, Check]:
    """Return the type of plain text, with its check."""
    return {"plain_text": record({"text": string(most)}, {"emoji": FLAG})}


def marked(most: int) -> dict[str, Check]:
    """Return the types of plain and of marked text, with their checks."""
    return {**plain_text(most), "mrkdwn": record({"text": string(most)}, {"verbatim": FLAG})}


BLOCK_ID: Mapping[str, Check] = {"block_id": string(255)}
_CONFIRM = record(
    {
        "title": typed(plain_text(100)),
        "text": typed(plain_text(300)),
        "confirm": typed(plain_text(30)),
        "deny": typed(plain_text(30)),
    },
    {"style": _STYLE},
)
_ACTION: Mapping[str, Check] = {"action_id": string(255)}
_PLACEHOLDER: Mapping[str, Check] = {"placeholder": typed(plain_text(150)), "focus_on_load": FLAG}
_OPTION: Mapping[str, Check] = {"text": typed(plain_text(75)), "value": string(150)}
_SELECT_OPTION = record(_OPTION, {"description": typed(plain_text(75))})
_OPTIONS = array(_SELECT_OPTION, most=100)

BUTTON = record(
    {"text": typed(plain_text(75))},
    {
        **_ACTION,
        "url": string(3000, pattern=LINK),
        "value": string(2000),
        "style": _STYLE,
        "confirm": _CONFIRM,
        "accessibility_label": string(75),
    },
)
# The documents ask for two options, but Slack takes one:
# https://github.com/slackapi/python-slack-sdk/issues/1218
OVERFLOW = record(
    {
        "options": array(
            record(
                _OPTION,
                {"description": typed(plain_text(75)), "url": string(3000, pattern=LINK)},
            ),
            most=5,
        )
    },
    {**_ACTION, "confirm": _CONFIRM},
)
_SELECT_FIELDS = record(
    {},
    {
        **_ACTION,
        **_PLACEHOLDER,
        "options": _OPTIONS,
        "option_groups": array(
            record({"label": typed(plain_text(75)), "options": _OPTIONS}, {}), most=100
        ),
        "initial_option": _SELECT_OPTION,
        "confirm": _CONFIRM,
    },
    one_of=("options", "option_groups"),
)


def SELECT(value: Any, pointer: str) -> Iterator[str]:  # noqa: N802 - a check like the others
    """Check a menu of options that are given with it."""
    yield from _SELECT_FIELDS(value, pointer)
    initial = value.get("initial_option")
    if initial is not None and initial not in options_of(value):
        yield fault_at("must match one of the options", f"{pointer}/initial_option")
    if "options" in value and "option_groups" in value:
        yield fault_at("cannot have both `options` and `option_groups`", pointer)


def options_of(element: Mapping[str, Any]) -> list[Any]:
    """Return the options of a menu, those of its groups included."""
    groups = element.get("option_groups")
    parts = [element, *(groups if isinstance(groups, list) else [])]
    found = [part.get("options") for part in parts if isinstance(part, Mapping)]
    return [option for options in found if isinstance(options, list) for option in options]


def _length(least: int) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        yield from whole(value, pointer)
        if isinstance(value, int) and value < least:
            yield fault_at(f"must be greater than {least - 1}", pointer)
        if isinstance(value, int) and value > _LONGEST_INPUT:
            yield fault_at(f"must be less than {_LONGEST_INPUT + 1}", pointer)

    return check


# Without `max_length` people can type more than 3,000 characters:
# https://github.com/slackapi/node-slack-sdk/issues/940
TEXT_INPUT = record(
    {},
    {
        **_ACTION,
        **_PLACEHOLDER,
        "initial_value": string(least=0),
        "multiline": FLAG,
        "min_length": _length(0),
        "max_length": _length(1),
        "dispatch_action_config": record(
            {},
            {
                "trigger_actions_on": array(
                    choice("on_enter_pressed", "on_character_entered"), most=2
                )
            },
        ),
    },
)
