"""The blocks of a Slack message, as a template made them in JSON. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from alerter.render.quoting import has_slack_markup
from alerter.render.templates import render_error

_DEEPEST = 30  # levels of lists and objects; Slack uses about ten, and Python has a limit
_TRAILING_COMMA = re.compile(r",\s*(?=[\]}])")


def parse_blocks(name: str, text: str) -> list[Any]:
    """Return the blocks that a template of this name made. Raise RenderError."""
    try:
        blocks = json.loads(text)
    except (ValueError, RecursionError) as error:
        # ValueError also stands for a number with thousands of digits, RecursionError for
        # thousands of nested lists.
        cause = _json_fault(error) if isinstance(error, json.JSONDecodeError) else error
        fault = "does not make JSON"
        raise render_error(name, f"{fault}: {cause}", fault) from error
    if not isinstance(blocks, list):
        raise render_error(name, "must make a JSON list of blocks")
    return blocks


def check_blocks(name: str, blocks: list[Any], values: Mapping[str, Any]) -> None:
    """Raise RenderError for blocks of an owner's template that must not be posted."""
    if _is_deeper(blocks, _DEEPEST):
        raise render_error(name, "nests its blocks deeper than Slack does")
    if has_slack_markup(blocks, values):
        problem = "makes a mention or a link of what somebody wrote: put it through slack_text"
        raise render_error(name, problem)


def _is_deeper(part: Any, levels: int) -> bool:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _json_fault(error: json.JSONDecodeError) -> str:
    """Return what is wrong and where.

    For a trailing comma that is the bracket after it; Python 3.13 and later report the comma.
    """
    comma = _TRAILING_COMMA.match(error.doc, error.pos)
    return str(json.JSONDecodeError(error.msg, error.doc, comma.end()) if comma else error)
