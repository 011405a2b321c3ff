"""A review on record, as a message would tell of it."""

from alerter.errors import StateError
from alerter.models import Alert, AlertKind, CloseReason, MessageItem, Product
from alerter.store.reviews import load_review
from alerter.store.state import State


def entry(state: State, review_id: str) -> MessageItem | None:
    """A review of any site, with its product and why it is closed; None where there is none.

    Raises StateError where it was restored and Wix has not been asked since: its words may be deleted there.
    """
    row = state.row(
        "SELECT reviews.*, products.name, url, unverified FROM reviews LEFT JOIN products"
        " ON products.site_id = reviews.site_id AND products.entity_id = reviews.entity_id"
        " LEFT JOIN sites ON sites.site_id = reviews.site_id WHERE review_id = ?",
        [review_id],
    )
    if row is None:
        return None
    if row["unverified"]:
        raise StateError(
            "that review was restored: its words are not shown before Wix was asked whether it is there"
        )
    alert = Alert(f"new:{row['site_id']}:{review_id}", AlertKind.NEW, row["site_id"], review_id)
    closing = CloseReason(row["closing"]) if row["closing"] else None
    return MessageItem(alert, load_review(row), Product(row["name"], row["url"]), closing)
