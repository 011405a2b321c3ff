"""How messages look in each language, in a real browser: nothing wider than a phone, no word split
over two lines, and colours that can be read.
"""

from pathlib import Path

import pytest

from alerter.config.fields import LANGUAGES
from alerter.render.page import render_blocks
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, sample
from tests.support.browser import BROWSER, WIDTHS, look
from tests.support.rendered import BERLIN, CREATED, SITES
from tests.support.values import SITE

BAD = (
    "<!DOCTYPE html><html><body style='margin:0;background:#fff;color:#999'>Pale."
    "<p style='width:40px;word-break:break-all;color:#000'>Unreadable</p>"
    "<p style='width:700px;color:#000'>Wide</p></body></html>"
)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Every kind of message in each language, as a mail and as Slack would show it."""
    renderer = Renderer(None, BERLIN, SITES)
    found = {}
    for code in LANGUAGES:
        for kind in KINDS:
            message = sample(kind, SITE, CREATED)
            found[f"{code}, {kind}, mail"] = renderer.mail(message, language=code).html
            blocks = renderer.slack(message, language=code).blocks
            page = render_blocks(blocks, title=kind, language=code)
            found[f"{code}, {kind}, Slack"] = page
    return found


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no chromium here to show messages")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_messages_of_each_language_are_shown_whole(
    pages: dict[str, str], tmp_path: Path, dark: bool
) -> None:
    found = look(tmp_path, {**pages, "bad": BAD}, dark=dark)

    assert len(found) == len(WIDTHS[dark]) * (len(pages) + 1)
    for bad in ["\n".join(found.pop(f"bad at {width}")) for width in WIDTHS[dark]]:
        for fault in ("scrolls to 700", "split: Unreadable", "contrast 2."):
            assert fault in bad
    assert {name: faults for name, faults in found.items() if faults} == {}
