"""Check the views of modals as strictly as Slack documents them.

https://docs.slack.dev/reference/views/modal-views
"""

from collections.abc import Iterator, Mapping
from typing import Any

from alerter.demo.slack_blocks import BLOCKS, repeated
from alerter.demo.slack_checks import Check, array, fault_at, record, string, typed
from alerter.demo.slack_elements import BLOCK_ID, FLAG, SELECT, TEXT_INPUT, plain_text

_MOST_BLOCKS = 100
_INPUT = record(
    {
        "label": typed(plain_text(2000)),
        "element": typed({"plain_text_input": TEXT_INPUT, "static_select": SELECT}),
    },
    {"dispatch_action": FLAG, "optional": FLAG, "hint": typed(plain_text(2000)), **BLOCK_ID},
)
_BLOCK = typed({**BLOCKS, "input": _INPUT})


def _or_null(check: Check) -> Check:
    def checked(value: Any, pointer: str) -> Iterator[str]:
        if value is not None:
            yield from check(value, pointer)

    return checked


_MODAL = record(
    {"title": typed(plain_text(24)), "blocks": array(_BLOCK, most=_MOST_BLOCKS)},
    {
        "submit": _or_null(typed(plain_text(24))),
        "close": _or_null(typed(plain_text(24))),
        "private_metadata": string(3000, least=0),
        "callback_id": string(255, least=0),
        "external_id": string(255, least=0),
        "clear_on_close": FLAG,
        "notify_on_close": FLAG,
    },
)


def faults_of_view(view: object) -> list[str]:
    """Return every fault of a modal with its place; empty if it is valid."""
    faults = [*typed({"modal": _MODAL})(view, "/view")]
    if isinstance(view, Mapping):
        blocks = view.get("blocks")
        faults += repeated(blocks, "block_id", "/view/blocks")
        faults += _focused_twice(blocks)
        if _types(blocks) & {"input"} and not view.get("submit"):
            faults.append(
                fault_at("`submit` is required when an input block is present", "/view/submit")
            )
    return [fault_at("failed to match all allowed schemas", "/view"), *faults] if faults else []


def _parts(blocks: object) -> list[Mapping[str, Any]]:
    return (
        [each for each in blocks if isinstance(each, Mapping)] if isinstance(blocks, list) else []
    )


def _types(blocks: object) -> set[object]:
    return {block["type"] for block in _parts(blocks) if isinstance(block.get("type"), str)}


def _focused_twice(blocks: object) -> Iterator[str]:
    focused = [
        place
        for place, block in enumerate(_parts(blocks))
        if isinstance(block.get("element"), Mapping) and block["element"].get("focus_on_load")
    ]
    for place in focused[1:]:
        yield fault_at(
            "only one element can have focus_on_load", f"/view/blocks/{place}/element/focus_on_load"
        )
