"""What may go wrong at the embedded Wix: wrong answers, and other people at the same time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alerter.demo.planned import Planned
from alerter.demo.wix_reviews import Json


@dataclass(frozen=True)
class Misread:
    """What is wrong with one answer.

    `empty`: reviews are missing. `without`: these fields are missing, such as `author`. `only`: the
    review that is affected, else all. `stale`: the answer is this many seconds old. `forbidden`:
    private reviews are refused.
    """

    empty: bool = False
    without: tuple[str, ...] = ()
    only: str | None = None
    stale: float = 0.0
    forbidden: bool = False

    def hides(self, review: Mapping[str, object]) -> bool:
        """Return whether a review is missing from the answer."""
        return self.empty and self.only in (None, review.get("id"))

    def shown(self, review: Json) -> Json:
        """Return a review as the answer shows it."""
        if self.only not in (None, review.get("id")):
            return review
        return {name: value for name, value in review.items() if name not in self.without}


class Misreads(Planned[Misread]):
    """Planned wrong answers, by the kind of read.

    The kinds are "query" (a query without ids), "ids" (one with ids), "get", "count", and "*" for
    all.
    """

    def take(self, kind: str) -> Misread:
        """Return what is wrong with a read of this kind; remove it if queued."""
        return self.first(lambda match, _: match in (kind, "*")) or Misread()


@dataclass(frozen=True)
class Meanwhile:
    """What another person does just before or after a call; `only` limits it to a review."""

    do: Callable[[], object]
    only: str | None = None


class Meanwhiles(Planned[Meanwhile]):
    """What others do, by the moment.

    The moments are "before" and "after" a "get", "query", "count", "reply" or "moderate", such as
    "after get". What is done after a call is not in its answer.
    """

    def happen(self, moment: str, review_id: str | None) -> None:
        """Do what is planned for a call about a review."""
        if found := self.first(
            lambda match, only: match == moment and (only is None or only == review_id)
        ):
            found.do()
