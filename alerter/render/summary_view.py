"""What a summary looks like to templates. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from statistics import median
from typing import Any

from alerter.links import https_url
from alerter.render.views import SiteView, dashboard, span
from alerter.render.words import one_line, stars

_BAR = 12
_MOST_PRODUCTS = 10
_MOST_OPEN = 20


@dataclass(frozen=True, slots=True)
class BarView:
    """One bar of a chart, as templates see it."""

    label: str
    """What the bar stands for: stars, a product or a site."""
    url: str
    """The page of that; may be empty."""
    number: int
    """How many reviews."""
    percent: int
    """How long the bar is, from 1 to 100: the longest of its chart is 100."""
    bar: str
    """The same as text, up to 12 signs: ██████."""


@dataclass(frozen=True, slots=True)
class OpenView:
    """A review that is still open, as a summary shows it to templates: nothing of what its customer wrote."""

    stars: str
    """Its stars as five signs, such as ★★☆☆☆."""
    rating: int
    """The same as a number, 1 to 5."""
    what: str
    """What was reviewed: its name, or "product" and its id."""
    what_url: str
    """The page of that; may be empty."""
    waiting: str
    """How long before the summary it was written, such as 2 d 3 h."""
    site: SiteView
    """The site that it is on."""


@dataclass(frozen=True, slots=True)
class SummaryView:
    """A summary of one receiver's sites, as templates see it."""

    name: str
    """What the config calls the summary."""
    since: str
    """When its period began, in the owner's timezone."""
    until: str
    """When it ended."""
    number: int
    """How many low-rated reviews there were."""
    total: int | None
    """How many reviews of any rating there were; none where Wix does not say."""
    share: str
    """The share of the low-rated ones of all, such as 12%; empty where Wix does not say."""
    stars: Sequence[BarView]
    """The low-rated reviews by their stars, the worst first."""
    products: Sequence[BarView]
    """The same by product, those with the most first; ten at most."""
    more_products: int
    """How many products there are beside those."""
    sites: Sequence[BarView]
    """The same by site; empty for a receiver of one site."""
    answered: int
    """How many of them are answered."""
    answered_after: str
    """The median of the times that the answers took, such as 3 h 12 min; empty where there are none."""
    often: Sequence[BarView]
    """The products with three low-rated reviews or more in the last seven days."""
    open: Sequence[OpenView]
    """The reviews that are still open, whenever they were written, the newest first; twenty at most."""
    open_number: int
    """How many of those there are in all."""
    site_names: str
    """The names of the sites that it tells of."""
    unread: Sequence[str]
    """The names of sites that could not be read to the end of the period."""


def view_summary(
    detail: Mapping[str, Any], receiver: str, timezone: tzinfo, sites: Mapping[str, str]
) -> SummaryView:
    """A summary, from the detail of its alert: of the receiver's own sites, and no others."""
    found = {site_id: detail["sites"][site_id] for site_id in detail["receivers"].get(receiver, ())}
    views = {site_id: _site(site_id, sites) for site_id in found}
    by_stars: Counter[str] = Counter()
    for each in found.values():
        by_stars.update(each["stars"])
    number = by_stars.total()
    totals = [each["total"] for each in found.values()]
    total = None if None in totals else sum(totals)
    waits = [wait for each in found.values() for wait in each["waits"]]
    products = _products(found, views, "products")
    still_open = _open(found, views, datetime.fromisoformat(detail["until"]))
    return SummaryView(
        name=detail["name"],
        since=_date(detail["since"], timezone),
        until=_date(detail["until"], timezone),
        number=number,
        total=total,
        share=_share(number, total),
        stars=_bars([(stars(int(rating)), "", by_stars[rating]) for rating in sorted(by_stars)]),
        products=_bars(products[:_MOST_PRODUCTS]),
        more_products=max(len(products) - _MOST_PRODUCTS, 0),
        sites=_by_site(found, views),
        answered=sum(each["answered"] for each in found.values()),
        answered_after=span(timedelta(seconds=median(waits))) if waits else "",
        often=_bars(_products(found, views, "often")[:_MOST_PRODUCTS]),
        open=still_open[:_MOST_OPEN],
        open_number=sum(each["open_number"] for each in found.values()),
        site_names=", ".join(view.name for view in views.values()),
        unread=[views[site_id].name for site_id, each in found.items() if each["unread"]],
    )


_Named = tuple[str, str, int]


def _bars(rows: Sequence[_Named]) -> list[BarView]:
    longest = max((number for _, _, number in rows), default=1)
    return [
        BarView(
            label,
            url,
            number,
            max(100 * number // longest, 1),
            "█" * max(_BAR * number // longest, 1),
        )
        for label, url, number in rows
    ]


def _products(found: Mapping[str, Any], views: Mapping[str, SiteView], name: str) -> list[_Named]:
    """The products of all sites, with the site's name where there are several."""
    rows = [
        (_on(one_line(each["what"]), views, site_id), https_url(each["url"]) or "", each["number"])
        for site_id, figures in found.items()
        for each in figures[name]
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def _on(what: str, views: Mapping[str, SiteView], site_id: str) -> str:
    return f"{what} ({views[site_id].name})" if len(views) > 1 else what


def _by_site(found: Mapping[str, Any], views: Mapping[str, SiteView]) -> list[BarView]:
    rows = [
        (views[site_id].name, "", sum(each["stars"].values())) for site_id, each in found.items()
    ]
    return (
        _bars(sorted((row for row in rows if row[2]), key=lambda row: -row[2]))
        if len(rows) > 1
        else []
    )


def _open(
    found: Mapping[str, Any], views: Mapping[str, SiteView], until: datetime
) -> list[OpenView]:
    rows = [
        (datetime.fromisoformat(each["created"]), site_id, each)
        for site_id in found
        for each in found[site_id]["open"]
    ]
    return [
        OpenView(
            stars=stars(each["rating"]),
            rating=each["rating"],
            what=one_line(each["what"]),
            what_url=https_url(each["url"]) or "",
            waiting=span(until - created),
            site=views[site_id],
        )
        for created, site_id, each in sorted(rows, key=lambda row: row[0], reverse=True)
    ]


def _share(number: int, total: int | None) -> str:
    if not total or number > total:
        return ""
    return "less than 1%" if 0 < number / total < 0.01 else f"{number / total:.0%}"


def _site(site_id: str, sites: Mapping[str, str]) -> SiteView:
    return SiteView(one_line(sites.get(site_id, "a site of the past")), site_id, dashboard(site_id))


def _date(moment: str, timezone: tzinfo) -> str:
    local = datetime.fromisoformat(moment).astimezone(timezone)
    return f"{local.day} {local:%B %Y, %H:%M}"
