"""Canned replies: templates of an owner, rendered with the review that a person replies to."""

import logging
from collections.abc import Callable, Sequence
from unicodedata import category

from alerter.config import CannedReply
from alerter.errors import RenderError
from alerter.models import MessageItem, Review
from alerter.render.formatting import clean_line
from alerter.render.template_process import TemplateProcess
from alerter.render.templates import render_error

log = logging.getLogger(__name__)


class CannedReplies:
    """Renders canned replies, in a process with limits on its time and memory.

    `parse` is `respond.rules.parse_reply`: it returns a reply as Wix takes it, or raises
    ValueError.
    """

    def __init__(self, replies: Sequence[CannedReply], parse: Callable[[str], str]) -> None:
        self._sources = {reply.name: reply.text for reply in replies}
        self._parse = parse
        self._process = TemplateProcess()
        self._left_out: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The names, in the order of the config."""
        return list(self._sources)

    def texts(self, item: MessageItem, site_name: str) -> list[tuple[str, str]]:
        """Return the name and text of each reply to a review; one with a fault is left out."""
        found = []
        for name in self.names:
            try:
                found.append((name, self.text(name, item, site_name)))
            except RenderError:
                if name not in self._left_out:
                    log.warning("canned reply left out: name=%s; run `alerter check`", name)
                self._left_out.add(name)
        return found

    def text(self, name: str, item: MessageItem, site_name: str) -> str:
        """Return the text of one reply to a review. Raise RenderError."""
        review = item.review or Review(id=item.alert.review_id or "", rating=1)
        values = {
            "author": _clean(review.author),
            "product": _clean(item.product.name),
            "site": _clean(site_name),
            "rating": review.rating,
        }
        where = f'of the reply "{name}"'
        text = self._process.render(where, values, "en", self._sources[name])
        try:
            return self._parse(text)
        except ValueError as error:
            fault = f"Wix does not take what it makes: {error}"
            raise render_error(where, fault) from error


def _clean(text: str | None) -> str:
    """Return a name as one line without characters that Wix does not take."""
    line = clean_line(text or "")
    return "".join(each for each in line if category(each) not in ("Cc", "Cs")).strip()
