"""Wrong answers of the embedded Wix about reviews."""

from collections.abc import Mapping
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
