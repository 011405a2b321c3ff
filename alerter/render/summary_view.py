"""The values that the templates of summaries get. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from statistics import median
from typing import Any

from alerter.links import https_url
from alerter.render.formatting import clean_line, clean_person, stars
from alerter.render.language import Language
from alerter.render.phrases import name_topic, name_unknown
from alerter.render.views import SiteView, view_site
from alerter.timezones import local_time

_BAR = 12
_MOST_PRODUCTS = 10
_MOST_OPEN = 20
_MOST_PEOPLE = 10
_MOST_TOPICS = 10


@dataclass(frozen=True, slots=True)
class BarView:
    """One bar of a chart."""

    label: str
    """What the bar stands for: stars, a product or a site."""
    url: str
    """The page of the product; may be empty."""
    number: int
    """How many reviews."""
    percent: int
    """The length of the bar, from 1 to 100; the longest of the summary has 100."""
    bar: str
    """The bar as text of up to 12 signs: ━━━━━━."""


@dataclass(frozen=True, slots=True)
class OpenView:
    """An open review in a summary, without any text of its author."""

    rating: int
    """Its stars, 1 to 5."""
    what: str
    """The name of what was reviewed, or "a product" and its id."""
    what_url: str
    """The page of what was reviewed; may be empty."""
    age: timedelta
    """How long before the end of the period it was written."""
    site: SiteView
    """Its site."""
    waiting: str
    """The same as `age | duration`."""
    claimed_by: str
    """Who is on it; empty if it is not claimed."""

    @property
    def stars(self) -> str:
        """The same as `rating | stars`."""
        return stars(self.rating)


@dataclass(frozen=True, slots=True)
class PersonView:
    """A person who answered reviews from an alert, the review page or the command line."""

    name: str
    """The name of the person."""
    number: int
    """How many reviews the person answered in the period."""
    time_to_answer: timedelta
    """The median time until these answers."""


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic of complaint in a summary."""

    name: str
    """Its name, such as "Delivery"."""
    number: int
    """How many low-rated reviews of the period have it."""
    before: int
    """How many of the period before had it."""


@dataclass(frozen=True, slots=True)
class PeriodView:
    """The period before the one of a summary."""

    began: datetime
    """Its beginning, in the owner's timezone."""
    number: int
    """The number of low-rated reviews in it."""
    total: int | None
    """The number of reviews of any rating; none if Wix does not say."""
    share: str
    """The share of the low-rated ones, such as 12%; empty if Wix does not say."""
    average: str
    """The average rating of the low-rated ones, such as 1.5; empty without any."""


@dataclass(frozen=True, slots=True)
class SummaryView:
    """A summary of one receiver's sites."""

    name: str
    """Its name in the config."""
    began: datetime
    """The beginning of its period, in the owner's timezone."""
    ended: datetime
    """The end of its period."""
    number: int
    """The number of low-rated reviews in the period."""
    total: int | None
    """The number of reviews of any rating; none if Wix does not say."""
    share: str
    """The share of the low-rated ones, such as 12%; empty if Wix does not say."""
    average: str
    """The average rating of the low-rated ones, such as 1.5; empty without any."""
    before: PeriodView | None
    """The period of the same length before; none in a summary from an earlier version."""
    stars: Sequence[BarView]
    """The low-rated reviews by rating, the worst first."""
    products: Sequence[BarView]
    """The low-rated reviews by product, those with the most first; ten at most."""
    more_products: int
    """The number of products beyond those."""
    topics: Sequence[TopicView]
    """What the low-rated reviews complain about, the most frequent first; ten at most."""
    sites: Sequence[BarView]
    """The low-rated reviews by site; empty for a receiver of one site."""
    answered: int
    """The number of low-rated reviews that are answered."""
    time_to_answer: timedelta | None
    """The median time until the answer; none if there is no answer."""
    people: Sequence[PersonView]
    """Who answered in the period, those with the most answers first; ten at most."""
    often: Sequence[BarView]
    """The products with three low-rated reviews or more in the last seven days, if not in
    `products` with the same number."""
    open: Sequence[OpenView]
    """The open reviews of any date, the newest first; twenty at most."""
    open_number: int
    """The number of open reviews."""
    site_names: str
    """The names of its sites."""
    unread: Sequence[str]
    """The names of sites that could not be read up to the end of the period."""
    since: str
    """The same as `began | date(weekday=false)`."""
    until: str
    """The same as `ended | date(weekday=false)`."""
    answered_after: str
    """The same as `time_to_answer | duration`."""


def view_summary(
    detail: Mapping[str, Any],
    receiver: str,
    timezone: tzinfo,
    sites: Mapping[str, str],
    language: Language,
) -> SummaryView:
    """Return the view of a summary of the receiver's sites; `sites` maps ids to names."""
    found = {site_id: detail["sites"][site_id] for site_id in detail["receivers"].get(receiver, ())}
    views = {site_id: view_site(site_id, sites, language) for site_id in found}
    by_stars, total = _counts(found.values())
    number = by_stars.total()
    waits = [wait for each in found.values() for wait in each["waits"]]
    began, ended = (
        local_time(datetime.fromisoformat(detail[name]), timezone) for name in ("since", "until")
    )
    time_to_answer = timedelta(seconds=median(waits)) if waits else None
    return SummaryView(
        name=detail["name"],
        began=began,
        ended=ended,
        number=number,
        total=total,
        share=_share(number, total, language),
        average=_average(by_stars, language),
        before=_view_before(found, began, ended, language),
        **_charts(found, views, by_stars, language),
        topics=_topics(found.values(), language),
        answered=sum(each["answered"] for each in found.values()),
        time_to_answer=time_to_answer,
        people=_people(found.values()),
        open=_open(found, views, ended, language)[:_MOST_OPEN],
        open_number=sum(each["open_number"] for each in found.values()),
        site_names=", ".join(view.name for view in views.values()),
        since=language.date(began, weekday=False),
        until=language.date(ended, weekday=False),
        answered_after=language.duration(time_to_answer),
        unread=[views[site_id].name for site_id, each in found.items() if each["unread"]],
    )


_Row = tuple[str, str, int]  # label, address, number


def _charts(
    found: Mapping[str, Any],
    views: Mapping[str, SiteView],
    by_stars: Counter[str],
    language: Language,
) -> dict[str, Any]:
    """Return the charts, all of one scale."""
    products = _products(found, views, "products", language)
    often = [row for row in _products(found, views, "often", language) if row not in products]
    by_site = _by_site(found, views)
    rated = [(stars(int(rating)), "", by_stars[rating]) for rating in sorted(by_stars)]
    longest = max((row[2] for row in (*rated, *products, *often, *by_site)), default=1)
    return {
        "stars": _bars(rated, longest),
        "products": _bars(products[:_MOST_PRODUCTS], longest),
        "more_products": max(len(products) - _MOST_PRODUCTS, 0),
        "sites": _bars(by_site, longest),
        "often": _bars(often[:_MOST_PRODUCTS], longest),
    }


def _counts(found: Iterable[Mapping[str, Any]]) -> tuple[Counter[str], int | None]:
    """Return the low-rated reviews of some sites by rating, and the number of all reviews."""
    by_stars: Counter[str] = Counter()
    totals = []
    for each in found:
        by_stars.update(each["stars"])
        totals.append(each["total"])
    return by_stars, None if None in totals else sum(totals)


def _view_before(
    found: Mapping[str, Any], began: datetime, ended: datetime, language: Language
) -> PeriodView | None:
    if not all("before" in each for each in found.values()):
        return None
    by_stars, total = _counts(each["before"] for each in found.values())
    number = by_stars.total()
    start = began - (ended - began)
    return PeriodView(
        start, number, total, _share(number, total, language), _average(by_stars, language)
    )


def _bars(rows: Sequence[_Row], longest: int) -> list[BarView]:
    return [
        BarView(
            label,
            url,
            number,
            percent=max(100 * number // longest, 1),
            bar="━" * max(_BAR * number // longest, 1),
        )
        for label, url, number in rows
    ]


def _products(
    found: Mapping[str, Any], views: Mapping[str, SiteView], name: str, language: Language
) -> list[_Row]:
    """Return the products of all sites, with the site's name if there are several sites."""
    rows = [
        (
            _name(each, language) + (f" · {views[site_id].name}" if len(views) > 1 else ""),
            https_url(each["url"]) or "",
            each["number"],
        )
        for site_id, figures in found.items()
        for each in figures[name]
    ]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def _name(each: Mapping[str, Any], language: Language) -> str:
    """Return the name of a product, or that it is one, with its id."""
    if name := clean_line(each["what"]):
        return name
    product_id = clean_line(each.get("id", ""))
    unknown = name_unknown("", product_id, language)
    return f"{unknown} · {product_id}" if product_id else unknown


def _by_site(found: Mapping[str, Any], views: Mapping[str, SiteView]) -> list[_Row]:
    if len(found) == 1:
        return []
    rows = [
        (views[site_id].name, "", sum(each["stars"].values())) for site_id, each in found.items()
    ]
    return sorted((row for row in rows if row[2]), key=lambda row: -row[2])


def _open(
    found: Mapping[str, Any], views: Mapping[str, SiteView], until: datetime, language: Language
) -> list[OpenView]:
    rows = [
        (datetime.fromisoformat(each["created"]), site_id, each)
        for site_id in found
        for each in found[site_id]["open"]
    ]
    return [
        OpenView(
            rating=each["rating"],
            what=_name(each, language),
            what_url=https_url(each["url"]) or "",
            age=until - created,
            site=views[site_id],
            waiting=language.duration(until - created),
            claimed_by=clean_person(each.get("claimed_by", "")),
        )
        for created, site_id, each in sorted(rows, key=lambda row: row[0], reverse=True)
    ]


def _people(found: Iterable[Mapping[str, Any]]) -> list[PersonView]:
    """Return who answered on any of the sites."""
    waits: dict[str, list[float]] = {}
    for each in found:
        for name, its in each.get("answers", {}).items():
            waits.setdefault(name, []).extend(its)
    people = [
        PersonView(clean_person(name), len(its), timedelta(seconds=median(its)))
        for name, its in waits.items()
    ]
    return sorted(people, key=lambda each: (-each.number, each.name))[:_MOST_PEOPLE]


def _topics(found: Iterable[Mapping[str, Any]], language: Language) -> list[TopicView]:
    """Return the topics of any of the sites, in the period or in the one before."""
    now, before = Counter[str](), Counter[str]()
    for each in found:
        now.update(each.get("topics", {}))
        before.update(each.get("before", {}).get("topics", {}))
    rows = [
        TopicView(name_topic(topic, language), now[topic], before[topic]) for topic in now | before
    ]
    return sorted(rows, key=lambda row: (-row.number, -row.before, row.name))[:_MOST_TOPICS]


def _average(by_stars: Counter[str], language: Language) -> str:
    number = by_stars.total()
    stars_given = sum(int(each) * by_stars[each] for each in by_stars)
    return language.number(stars_given / number, digits=1) if number else ""


def _share(number: int, total: int | None, language: Language) -> str:
    if not total or number > total:
        return ""
    if 0 < number / total < 0.01:
        return language.gettext("less than %(share)s") % {"share": language.percent(0.01)}
    return language.percent(number / total)
