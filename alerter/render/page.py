"""HTML pages that show Slack messages approximately as Slack does; they run and load nothing."""

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from alerter.render.language import get_language

# Also holds for the mails in frames: nothing is loaded, nothing runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #616161; --back: #8881; --link: #1264a3; }
@media (prefers-color-scheme: dark) { :root { --soft: #ababad; --link: #6cb6ff; } }
body { font: 15px/1.46 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; }
body { max-width: 1260px; }
main { display: grid; gap: 2rem; }
main { grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 600px)); }
article { border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; margin: 0 0 1rem; }
article { overflow-wrap: anywhere; }
article > * { margin: 0 0 8px; }
article > :last-child { margin-bottom: 0; }
article pre { margin: 4px 0; padding: 4px 8px; }
article.reply { margin-inline-start: 2rem; }
.about, .context { color: var(--soft); font-size: 13px; }
.words, .context { white-space: pre-wrap; }
.words, .context, h3 { unicode-bidi: plaintext; text-align: start; }
.fields { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; }
.button { display: inline-block; border: 1px solid var(--line); border-radius: 4px; }
.button { margin: 4px 8px 4px 0; padding: 4px 12px; }
.primary { background: #007a5a; border-color: #007a5a; }
.primary, .primary a { color: #fff; text-decoration: none; }
a { color: var(--link); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 1rem; margin: 0 0 8px; }
dd { margin: 0; }
blockquote { border-inline-start: 4px solid var(--line); margin: 4px 0; }
blockquote { padding-inline-start: 12px; }
pre, code { background: var(--back); border-radius: 4px; padding: 1px 4px; white-space: pre-wrap; }
hr { border: 0; border-top: 1px solid var(--line); }
iframe { width: 100%; height: 600px; border: 0; background: #fff; resize: vertical; }
"""
_EMOJI = {
    "bell": "🔔",
    "heavy_check_mark": "✔️",
    "no_entry": "⛔",
    "rotating_light": "🚨",
    "star": "⭐",
    "warning": "⚠️",
    "white_check_mark": "✅",
}
_STYLES = {"bold": "b", "italic": "i", "strike": "s", "code": "code"}
_MARKUP = re.compile(
    r"`(?P<code>[^`\n]+)`|<(?P<link>[^|>\s]+)(?:\|(?P<label>[^>]*))?>|:(?P<emoji>[a-z0-9_+-]+):"
    r"|(?<!\w)\*(?P<bold>(?! )[^*\n]+(?<! ))\*(?!\w)|(?<!\w)_(?P<italic>(?! )[^_\n]+(?<! ))_(?!\w)"
)


def render_blocks(blocks: Sequence[Mapping[str, Any]], *, title: str, language: str = "en") -> str:
    """Return an HTML page with one Slack message; Slack too sets its texts' direction by itself."""
    content = "".join(map(block_html, blocks))
    return html_page(title, f"<main><article>{content}</article></main>", language=language)


def html_page(title: str, body: str, *, language: str = "en", policy: str = _POLICY) -> str:
    """Return an HTML page that loads nothing and runs nothing, unless its policy allows it."""
    direction = ' dir="rtl"' if get_language(language).direction == "rtl" else ""
    return (
        f'<!doctype html><html lang="{language}"{direction}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def render_index(files: Mapping[str, Sequence[str]]) -> str:
    """Return a page that links the files of each kind of message, and shows those that are HTML."""
    parts = []
    for kind, names in files.items():
        links = " · ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in names)
        frames = "".join(
            f'<iframe sandbox loading="lazy" src="{escape(name)}" title="{escape(name)}"></iframe>'
            for name in names
            if name.endswith(".html")
        )
        heading = f'<h2>{escape(kind)}</h2><p class="about">{links}</p>'
        parts.append(f"<section>{heading}<main>{frames}</main></section>")
    return html_page("Messages of alerter", "".join(parts), policy=f"{_POLICY}; frame-src file: *")


def block_html(block: Mapping[str, Any]) -> str:
    """Return the HTML of a block; empty for an unknown type."""
    render = _BLOCKS.get(block["type"])
    return render(block) if render else ""


def _section(block: Mapping[str, Any]) -> str:
    text = f'<div class="words">{_text(block["text"])}</div>' if "text" in block else ""
    cells = "".join(f'<div class="words">{_text(each)}</div>' for each in block.get("fields", ()))
    fields = f'<div class="fields">{cells}</div>' if cells else ""
    return text + fields + (_element(block["accessory"]) if "accessory" in block else "")


def _element(element: Mapping[str, Any]) -> str:
    if element["type"] == "button":
        label = _text(element["text"])
        label = _link(element["url"], label) if "url" in element else label
        classes = "button primary" if element.get("style") == "primary" else "button"
        return f'<span class="{classes}">{label}</span>'
    if "options" in element:
        labels = [
            _link(option["url"], _text(option["text"]))
            if "url" in option
            else _text(option["text"])
            for option in element["options"]
        ]
        return f'<span class="button">{" · ".join(labels)}</span>'
    return _picture(element) if element["type"] == "image" else _text(element)


def _picture(block: Mapping[str, Any]) -> str:
    return _link(block["image_url"], f"🖼 {escape(block['alt_text'])}")


def _rich(block: Mapping[str, Any]) -> str:
    return "".join(_rich_part(part) for part in block["elements"])


def _rich_part(part: Mapping[str, Any]) -> str:
    if part["type"] == "rich_text_list":
        tag = "ol" if part["style"] == "ordered" else "ul"
        return (
            f"<{tag}>{''.join(f'<li>{_rich_part(item)}</li>' for item in part['elements'])}</{tag}>"
        )
    tag = {"rich_text_quote": "blockquote", "rich_text_preformatted": "pre"}.get(
        part["type"], "div"
    )
    return f'<{tag} class="words">{"".join(map(_inline, part["elements"]))}</{tag}>'


def _inline(element: Mapping[str, Any]) -> str:
    kind = element["type"]
    if kind == "link":
        shown = _link(element["url"], escape(element.get("text") or element["url"]))
    elif kind == "emoji":
        shown = _emoji(element["name"])
    else:
        names = ("user_id", "usergroup_id", "channel_id", "range")
        name = next((element[each] for each in names if each in element), None)
        shown = escape(element.get("text") or element.get("fallback") or f"@{name}")
    for style, tag in _STYLES.items():
        if element.get("style", {}).get(style):
            shown = f"<{tag}>{shown}</{tag}>"
    return shown


_BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "section": _section,
    "header": lambda block: f"<h3>{_text(block['text'])}</h3>",
    "divider": lambda _: "<hr>",
    "context": lambda block: (
        f'<div class="context">{" ".join(map(_element, block["elements"]))}</div>'
    ),
    "actions": lambda block: f"<div>{''.join(map(_element, block['elements']))}</div>",
    "image": _picture,
    "rich_text": _rich,
}


def _text(text: Mapping[str, Any]) -> str:
    return markup_html(text["text"]) if text["type"] == "mrkdwn" else escape(text["text"])


def markup_html(text: str) -> str:
    """Return the HTML of text in Slack's markup."""
    parts, end = [], 0
    for match in _MARKUP.finditer(text):
        parts += [_plain(text[end : match.start()]), _marked_up(match)]
        end = match.end()
    return "".join([*parts, _plain(text[end:])])


def _marked_up(found: re.Match[str]) -> str:
    if found["link"]:
        return _link(_unescape(found["link"]), _plain(found["label"] or found["link"]))
    if found["emoji"]:
        return _emoji(found["emoji"])
    if found["code"]:
        return f"<code>{_plain(found['code'])}</code>"
    return (
        f"<b>{markup_html(found['bold'])}</b>"
        if found["bold"]
        else f"<i>{markup_html(found['italic'])}</i>"
    )


def _plain(text: str) -> str:
    return escape(_unescape(text))


def _unescape(text: str) -> str:
    # Slack has these three entities only.
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _emoji(name: str) -> str:
    return _EMOJI.get(name, f":{escape(name)}:")


def _link(url: str, label: str) -> str:
    if not url.lower().startswith(("http://", "https://", "mailto:")):
        return label
    return f'<a href="{escape(url)}" rel="noopener noreferrer">{label}</a>'
