"""What the state file knows around one review: how its product stands, and what its author said before."""

from datetime import datetime, timedelta

from alerter.models import ReviewHistory, from_ms, to_ms
from alerter.store.state import State

_LATELY = timedelta(days=30)


def context_of(state: State, site_id: str, review_id: str, now: datetime) -> ReviewHistory:
    """Low-rated is what the site's coverage holds; what is gone from Wix does not count."""
    product_low = state.value(
        _PRODUCT, {"site": site_id, "review": review_id, "since": to_ms(now - _LATELY)}
    )
    earlier = state.row(_AUTHOR, {"site": site_id, "review": review_id})
    if not earlier or not earlier["low"]:
        return ReviewHistory(product_low)
    return ReviewHistory(product_low, earlier["low"], from_ms(earlier["last"]), earlier["rating"])


_LOW = (
    "FROM reviews AS others JOIN reviews AS this ON this.site_id = :site AND this.review_id = :review"
    " JOIN sites ON sites.site_id = :site"
    " WHERE others.site_id = :site AND others.rating <= sites.covered_rating AND others.closing IS NOT 'gone'"
)
_PRODUCT = (
    f"SELECT count(*) {_LOW} AND others.entity_id = this.entity_id AND others.created_at >= :since"
)
# SQLite takes a bare column beside max() from the row that has the maximum.
_AUTHOR = (
    f"SELECT count(*) AS low, max(others.created_at) AS last, others.rating {_LOW}"
    " AND others.contact_id = this.contact_id AND others.created_at < this.created_at"
)
