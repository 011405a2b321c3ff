"""The values that the templates of clusters get. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerter.models import Medium, MessageItem
from alerter.render.digest_view import length_in_digest
from alerter.render.formatting import cut
from alerter.render.language import Language
from alerter.render.views import ReviewView, SiteView, view_reviewed, view_site

# Characters of all reviews, on ntfy bytes: Slack refuses longer messages, Gmail folds longer mails,
# and ntfy makes files of them.
_LONGEST = 9000
_LONGEST_OF = {Medium.EMAIL: 40_000, Medium.NTFY: 3000}
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Several low-rated reviews of one product, more than it usually gets."""

    number: int
    """How many reviews it has, those that are not there any more included."""
    what: str
    """The name of what was reviewed, or "a product"; "the site" without a product."""
    what_id: str
    """Its id, if its name is unknown; else empty."""
    what_url: str
    """The page of what was reviewed; may be empty."""
    what_dashboard_url: str
    """The page in Wix's dashboard where a product is edited; may be empty."""
    site: SiteView
    """Its site."""
    began: datetime | None
    """When the first of its reviews was written, in the owner's timezone; none if unknown."""
    every: timedelta | None
    """The usual time from one low-rated review to the next before that; none if unknown."""
    more: int
    """How many of its reviews `reviews` leaves out, as the message would be too long."""
    erased: int
    """How many of its reviews are not there any more, or have no text any more."""


def view_cluster(
    item: MessageItem,
    shown: Sequence[ReviewView],
    sites: Mapping[str, str],
    language: Language,
) -> ClusterView:
    """Return the view of a cluster; `shown` are the views of the reviews that its message shows."""
    detail, site_id = item.alert.detail, item.alert.site_id or ""
    first = item.reviews[0].review if item.reviews else None
    namespace = first.namespace if first else ""
    return ClusterView(
        number=len(item.reviews) + item.erased,
        **view_reviewed(namespace, detail.get("entity"), item.product, site_id, language),
        site=view_site(site_id, sites, language),
        began=min((view.written for view in shown if view.written), default=None),
        every=_every(detail.get("within", 0.0), detail.get("expected", 0.0)),
        more=len(item.reviews) - len(shown),
        erased=item.erased,
    )


def fitting_reviews(views: Sequence[ReviewView], medium: Medium) -> list[ReviewView]:
    """Return the first of the reviews of a cluster, as many as fit into one message.

    On ntfy they lose their words before one is left out: the message has to name them.
    """
    room = _LONGEST_OF.get(medium, _LONGEST)
    length = _length_on_ntfy if medium is Medium.NTFY else length_in_digest
    if medium is Medium.NTFY and sum(map(length, views)) > room:
        views = [
            replace(view, title=cut(view.title, 30), excerpt="", author=cut(view.author, 15))
            for view in views
        ]
    shown: list[ReviewView] = []
    for view in views:
        room -= length(view)
        if shown and room < 0:
            break
        shown.append(view)
    return shown


def _length_on_ntfy(view: ReviewView) -> int:
    """Return the bytes of a review in a message on ntfy, or a little more."""
    texts = (view.title, view.excerpt, view.author, view.what, view.when, *view.topics)
    return length_in_digest(view) + sum(len(text.encode()) - len(text) for text in texts)


def _every(within: float, expected: float) -> timedelta | None:
    """Return the usual time between two reviews, in whole days from two days on."""
    if not expected:
        return None
    every = timedelta(seconds=within / expected)
    return _DAY * round(every / _DAY) if every >= 2 * _DAY else every
