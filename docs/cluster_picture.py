"""Draw the picture of a cluster in docs/cluster.md; `docs/pictures.py` writes it."""

STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328; text-anchor: middle; }
  .small { font-size: 12px; fill: #59636e; }
  .box { fill: #f6f8fa; stroke: #59636e; }
  .worker { fill: #ddf4ff; stroke: #0969da; }
  .group { fill: none; stroke: #59636e; stroke-dasharray: 5 4; }
  .line { fill: none; stroke: #59636e; stroke-width: 1.5; marker-end: url(#end); }
  .both { marker-start: url(#end); }
  #end path { fill: #59636e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .small { fill: #9198a1; }
    .box { fill: #151b23; stroke: #9198a1; }
    .worker { fill: #121d2f; stroke: #4493f8; }
    .group, .line { stroke: #9198a1; }
    #end path { fill: #9198a1; }
  }
"""
_TITLE = "Three workers read Wix and send to Slack and by mail; PostgreSQL holds state and jobs"
_ARROW = (
    '<marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
    ' orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker>'
)


def _text(x: int, y: int, text: str, *, small: bool = False) -> str:
    kind = ' class="small"' if small else ""
    return f'<text{kind} x="{x}" y="{y}">{text}</text>'


def _box(kind: str, x: int, y: int, width: int, height: int, *lines: str) -> list[str]:
    """Return a box with a name in its middle, and smaller lines below the name."""
    middle, first = x + width // 2, y + height // 2 + 5 - 9 * (len(lines) - 1)
    return [
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>',
        *(
            _text(middle, first + 18 * number, line, small=number > 0)
            for number, line in enumerate(lines)
        ),
    ]


def _line(x1: int, y1: int, x2: int, y2: int, *, both: bool = False) -> str:
    return f'<path class="line{" both" if both else ""}" d="M{x1} {y1} {x2} {y2}"/>'


def draw_cluster() -> str:
    """Return the picture as SVG."""
    parts = [
        *_box("box", 20, 62, 130, 64, "Wix", "reviews, replies"),
        _line(152, 94, 208, 94, both=True),
        *_box("group", 210, 20, 380, 136),
        _text(400, 42, "alerter run, with one config, on any machine", small=True),
        *_box("box", 650, 34, 130, 50, "Slack", "alerts, buttons"),
        *_box("box", 650, 104, 130, 50, "Mail", "alerts"),
        _line(592, 59, 648, 59, both=True),
        _line(592, 129, 648, 129),
    ]
    for number in range(3):
        x = 226 + 122 * number
        parts += _box("worker", x, 58, 104, 72, f"worker {number + 1}", "its share")
        parts.append(_line(x + 52, 132, 342 + 58 * number, 218, both=True))
    parts += [
        '<path class="box" d="M300 232v66a100 14 0 0 0 200 0v-66"/>',
        '<ellipse class="box" cx="400" cy="232" rx="100" ry="14"/>',
        _text(400, 271, "PostgreSQL"),
        _text(400, 290, "state and jobs", small=True),
    ]
    drawn = "\n".join(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 324" width="800" role="img"'
        f' aria-label="{_TITLE}">\n<title>{_TITLE}</title>\n<style>{STYLE}</style>\n'
        f"<defs>{_ARROW}</defs>\n{drawn}\n</svg>\n"
    )
