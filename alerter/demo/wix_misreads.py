"""Answers of the embedded Wix about reviews that are not so."""

from collections.abc import Mapping
from dataclasses import dataclass

from alerter.demo.planned import Planned
from alerter.demo.wix_reviews import Json


@dataclass(frozen=True)
class Misread:
    """What is wrong with one answer.

    `empty`: reviews are missing. `without`: fields are missing, such as `author`. `only`: the review that this is
    about, else all. `stale`: it is the state of so many seconds ago. `forbidden`: private reviews are refused.
    """

    empty: bool = False
    without: tuple[str, ...] = ()
    only: str | None = None
    stale: float = 0.0
    forbidden: bool = False

    def hides(self, review: Mapping[str, object]) -> bool:
        """Whether a review is missing from the answer."""
        return self.empty and self.only in (None, review.get("id"))

    def shown(self, review: Json) -> Json:
        """Return a review as the answer shows it."""
        if self.only not in (None, review.get("id")):
            return review
        return {name: value for name, value in review.items() if name not in self.without}


class Misreads(Planned[Misread]):
    """What is still to go wrong, by the kind of read.

    The kinds are "query" (a query that does not name ids), "ids" (one that does), "get", "count", and "*" for all.
    """

    def take(self, kind: str) -> Misread:
        """Return what is wrong with a read of that kind, and use it up if it was queued."""
        return self.first(lambda match, _: match in (kind, "*")) or Misread()
