"""Sample items of a cluster, made of those of its reviews. See `samples`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from alerter.models import Alert, AlertKind, MessageItem, Product

_DETAIL = {
    "entity": "00000000-0000-4000-8000-000000000001",
    "within": 604_800.0,
    "number": 3,
    "expected": 0.06,
}


def with_own_ids(entries: Iterable[MessageItem]) -> tuple[MessageItem, ...]:
    """Give each review an id of its own, because a digest shows a review only once."""
    return tuple(
        replace(entry, alert=replace(entry.alert, review_id=f"{entry.alert.review_id}-{number}"))
        if number
        else entry
        for number, entry in enumerate(entries)
    )


def cluster_item(
    site_id: str, items: Sequence[MessageItem], product: Product, erased: int = 0
) -> MessageItem:
    """Return the item of a cluster that has these reviews."""
    alert = Alert("test", AlertKind.CLUSTER, site_id, detail=_DETAIL)
    return MessageItem(alert, product=product, reviews=with_own_ids(items), erased=erased)


def awkward_clusters(
    site_id: str, items: Sequence[MessageItem], hostile: str
) -> Iterator[tuple[str, MessageItem]]:
    """Yield clusters that a template may not expect, of awkward reviews."""
    yield "every awkward review", cluster_item(site_id, items, Product(hostile))
    yield "more reviews than fit", cluster_item(site_id, list(items) * 20, Product("z" * 200))
    yield "erased reviews", cluster_item(site_id, items[:1], Product(), erased=2)
    nothing = cluster_item(site_id, [], Product(), erased=3)
    yield "every review erased", nothing
    yield "pruned", replace(nothing, alert=replace(nothing.alert, detail={}), erased=0)
