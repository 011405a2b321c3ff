"""A real browser: shows pages in frames of some widths, and says what is wrong with them."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.waiting import HANG

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# Colours do not depend on the width.
WIDTHS = {False: (320, 600), True: (600,)}

# Of each frame: what stands outside of it, words that are split over two lines, and texts that
# cannot be told from what is behind them: https://www.w3.org/TR/WCAG21/#contrast-minimum
_LOOK = """
const WORD = /[\\p{L}\\p{M}\\p{N}]+((\\.?–|[’'׳])[\\p{L}\\p{M}\\p{N}]+)*/gu;
const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
const luminance = ([red, green, blue]) => {
  const [r, g, b] = [red, green, blue].map(each => each / 255)
    .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element, page) => {
  const layers = [];
  for (let each = element; each; each = each.parentElement) {
    const [r, g, b, alpha = 1] = channels(page.getComputedStyle(each).backgroundColor);
    if (alpha > 0) layers.push([r, g, b, alpha]);
    if (alpha === 1) break;
  }
  let found = DARK ? [18, 18, 18] : [255, 255, 255];
  for (const [r, g, b, alpha] of layers.reverse())
    found = [r, g, b].map((each, place) => each * alpha + found[place] * (1 - alpha));
  return found;
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
const faultsOf = frame => {
  const page = frame.contentWindow, root = frame.contentDocument.documentElement, found = [];
  const width = +frame.width;
  if (root.scrollWidth > width) found.push(`scrolls to ${root.scrollWidth}`);
  for (const each of root.querySelectorAll("body *")) {
    const box = each.getBoundingClientRect();
    if (box.width && (box.right > width + 0.5 || box.left < -0.5))
      found.push(`${each.tagName} reaches from ${box.left} to ${box.right}`);
  }
  const walker = frame.contentDocument.createTreeWalker(root.querySelector("body"), 4);
  const range = frame.contentDocument.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!element.getClientRects().length || !node.data.trim()) continue;
    const style = page.getComputedStyle(element);
    const ratio = contrast(channels(style.color), behind(element, page));
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${node.data.trim()}`);
    for (const word of node.data.matchAll(WORD)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(each => Math.round(each.top / 8)));
      if (lines.size > 1 && word[0].length < 30) found.push(`split: ${word[0]}`);
    }
  }
  return found;
};
onload = () => {
  const found = [...document.querySelectorAll("iframe")]
    .map(frame => [frame.title, faultsOf(frame)]);
  document.body.innerHTML = "<pre>" + JSON.stringify(found).replace(/</g, "\\\\u003c") + "</pre>";
};
"""


def look(folder: Path, pages: Mapping[str, str], *, dark: bool) -> dict[str, list[str]]:
    """Return the faults of each page, which is shown at some widths, light or dark."""
    frames = "".join(
        f'<iframe title="{html.escape(name)} at {width}" width="{width}" style="border:0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
        for name, page in pages.items()
        for width in WIDTHS[dark]
    )
    sheet = folder / f"sheet-{dark}.html"
    sheet.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f"{frames}<script>const DARK = {json.dumps(dark)};{_LOOK}</script>",
        "utf-8",
    )
    shown = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=20000",
            "--dump-dom",
            sheet.as_uri(),
        ],
        capture_output=True,
        timeout=HANG,
        check=True,
    ).stdout.decode()
    [found] = re.findall(r"<pre>(.*?)</pre>", shown, re.DOTALL)
    return dict(json.loads(html.unescape(found)))
