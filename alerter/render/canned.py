"""Canned replies: templates of an owner, rendered with the review that a person replies to."""

import logging
from collections.abc import Callable, Sequence
from unicodedata import category

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from alerter.config import CannedReply
from alerter.errors import RenderError
from alerter.models import MessageItem, Review
from alerter.render.formatting import clean_line

log = logging.getLogger(__name__)

# The file name that Jinja gives to a template made from a text.
_FROM_TEXT = "<template>"


class CannedReplies:
    """Renders canned replies in Jinja's sandbox, which limits neither time nor memory.

    `parse` is `respond.rules.parse_reply`: it returns a reply as Wix takes it, or raises
    ValueError.
    """

    def __init__(self, replies: Sequence[CannedReply], parse: Callable[[str], str]) -> None:
        self._sources = {reply.name: reply.text for reply in replies}
        self._parse = parse
        self._env = SandboxedEnvironment(
            autoescape=False,  # nothing in a reply is markup
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
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
        try:
            return self._parse(self._env.from_string(self._sources[name]).render(values))
        except Exception as error:  # a template may call any method of its values
            raise _fault(name, error) from error


def _clean(text: str | None) -> str:
    """Return a name as one line without characters that Wix does not take."""
    line = clean_line(text or "")
    return "".join(each for each in line if category(each) not in ("Cc", "Cs")).strip()


def _fault(name: str, error: Exception) -> RenderError:
    where = f'canned reply "{name}"'
    if (line := _line(error)) is not None:
        where += f", line {line}"
    if isinstance(error, TemplateError):
        problem = str(error)
    elif isinstance(error, ValueError) and line is None:
        problem = f"Wix does not take what it makes: {error}"
    else:
        problem = repr(error)
    return RenderError(f"{where}: {problem}", f"{where}: {type(error).__name__}")


def _line(error: Exception) -> int | None:
    """Return the line of the template that an error is about."""
    line = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FROM_TEXT:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
