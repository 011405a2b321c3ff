"""Draw the message of an alert approximately as Discord and Teams show it, as an HTML page."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from alerter.render.discord import render_discord
from alerter.render.renderer import Renderer
from alerter.render.samples import sample
from alerter.render.teams import render_teams

_STYLE = """
body { margin: 0; display: flex; font: 15px/1.4 system-ui, sans-serif; }
section { width: 468px; padding: 16px; }
section > div:first-child { font-size: 13px; }
.discord { background: #313338; color: #dbdee1; }
.discord a { color: #00a8fc; }
.discord .embed { background: #2b2d31; border-left: 4px solid; border-radius: 4px; }
.discord .embed { padding: 8px 12px; margin-top: 6px; }
.discord .quote { border-left: 4px solid #4e5058; padding-left: 10px; }
.discord small { color: #949ba4; }
.teams { background: #f5f5f5; color: #242424; }
.teams a { color: #5b5fc7; }
.teams .card { background: #fff; border-radius: 6px; box-shadow: 0 1px 3px #0003; }
.teams .card { padding: 12px 16px; margin-top: 6px; }
.teams .emphasis { background: #f0f0f0; padding: 8px 16px; margin: 8px -16px; }
.teams .subtle { color: #616161; font-size: 13px; }
.teams .large { font-size: 19px; font-weight: 600; }
.teams button { border: 1px solid #d1d1d1; border-radius: 4px; background: #fff; }
.teams button { padding: 5px 12px; margin: 10px 8px 0 0; font: inherit; font-weight: 600; }
a { text-decoration: none; }
code { font-family: monospace; }
.discord code { border-radius: 3px; background: #1e1f22; padding: 1px 4px; }
"""
_MARKDOWN = re.compile(
    r"\\(?P<sign>[^0-9A-Za-z\s])|\[(?P<label>(?:\\.|[^\]])+)\]\((?P<url>[^)]+)\)"
    r"|\*\*(?P<bold>(?:\\.|[^\\*])+)\*\*|\*(?P<italic>(?:\\.|[^\\*])+)\*"
    r"|`(?P<code>[^`]+)`"
)


def draw_chats() -> str:
    """Return a page with one alert on Discord, and beside it in Teams."""
    now, site_id = datetime(2026, 3, 3, 9, tzinfo=UTC), "11111111-1111-4111-8111-111111111111"
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), {site_id: "Corner Bakery"})
    message = sample("lowered", site_id, now)
    discord = _discord(render_discord(renderer, message).blocks[0])
    teams = _teams(render_teams(renderer, message).blocks[0])
    return (
        f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>'
        f'<section class="discord"><div>Discord</div>{discord}</section>'
        f'<section class="teams"><div>Teams</div>{teams}</section>'
    )


def _discord(body: Mapping[str, Any]) -> str:
    (embed,) = body["embeds"]
    lines = "".join(f"<div>{_line(line)}</div>" for line in embed["description"].split("\n"))
    color = f"#{embed['color']:06x}"
    content = f"<div>{_line(body['content'])}</div>"
    return f'{content}<div class="embed" style="border-color: {color}">{lines}</div>'


def _line(line: str) -> str:
    if line.startswith("> "):
        return f'<div class="quote">{_inline(line[2:])}</div>'
    return f"<small>{_inline(line[3:])}</small>" if line.startswith("-# ") else _inline(line)


def _inline(text: str) -> str:
    html, at = "", 0
    for found in _MARKDOWN.finditer(text):
        html += escape(text[at : found.start()])
        at = found.end()
        if found["label"]:
            html += f'<a href="#">{_inline(found["label"])}</a>'
        elif found["bold"]:
            html += f"<b>{_inline(found['bold'])}</b>"
        elif found["code"]:
            html += f"<code>{escape(found['code'])}</code>"
        elif found["italic"]:
            html += f"<i>{_inline(found['italic'])}</i>"
        else:
            html += escape(found["sign"])
    return html + escape(text[at:])


def _teams(card: Mapping[str, Any]) -> str:
    body = "".join(map(_element, card["body"]))
    buttons = "".join(f"<button>{escape(each['title'])}</button>" for each in card["actions"])
    return f'<div class="card">{body}{buttons}</div>'


def _element(element: Mapping[str, Any]) -> str:
    if element["type"] == "Container":
        return f'<div class="emphasis">{"".join(map(_element, element["items"]))}</div>'
    return f"<div>{''.join(map(_run, element['inlines']))}</div>"


def _run(run: Mapping[str, Any]) -> str:
    text = escape(run["text"])
    if "selectAction" in run:
        text = f'<a href="#">{text}</a>'
    if run.get("size") == "Large":
        return f'<span class="large">{text}</span>'
    if run.get("isSubtle"):
        return f'<span class="subtle">{text}</span>'
    if run.get("fontType") == "Monospace":
        return f"<code>{text}</code>"
    if run.get("italic"):
        return f"<i>{text}</i>"
    return f"<b>{text}</b>" if run.get("weight") == "Bolder" else text
