"""The status for people: it fits the terminal, and has colour where that has it."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import TypeVar

from alerter.actions import Response
from alerter.commands.cluster_text import (
    WORKERS_HEAD,
    phrase_disagreements,
    phrase_waiting,
    worker_rows,
)
from alerter.commands.status_report import SiteStatus, StatusReport, shown_scope
from alerter.commands.terminal import NARROWEST, plain, table, title, wide, words_for
from alerter.render.formatting import stars
from alerter.scopes import Scope, split_scope
from alerter.text import counted
from alerter.timezones import local_time

_LONGEST_NAME = 30
# Characters of a site and of receivers beside a review; its title takes the rest of a line.
_SITE, _RECEIVERS = 16, 12
_MOST = 30  # sites, and receivers
_COUNTED = ("pending", "sent", "failed")


Style = Callable[..., str]
_Item = TypeVar("_Item")


def _plain_style(text: str, **_: object) -> str:
    return text


def as_text(
    status: StatusReport,
    now: datetime,
    width: int = NARROWEST,
    *,
    style: Style = _plain_style,
) -> str:
    """Return the status as tables and paragraphs whose lines are at most `width` columns wide.

    `style` may be `click.style`.
    """
    sites = {
        site.site_id: [
            plain(site.name, _LONGEST_NAME),
            _ago(site.last_success, now),
            str(site.open_reviews),
            _site_state(site, style),
        ]
        for site in _most(status.sites, lambda site: bool(site.trouble))
    }
    receivers = [
        [plain(name, _LONGEST_NAME), *(_count(counts, each, style) for each in _COUNTED)]
        for name, counts in _most([*status.receivers.items()], lambda each: each[1]["failed"] > 0)
    ]
    paragraphs = [
        textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
        for line in _attention_lines(status, now)
    ]
    parts = [
        _titled(["site", "last read", "open", "state"], [*sites.values()], style)
        + _more(len(status.sites) - len(sites), "site"),
        _titled(["receiver", *_COUNTED], receivers, style)
        + _more(len(status.receivers) - len(receivers), "receiver"),
        _open_lines(status, now, width, style),
        _worker_lines(status, style),
        *(_emphasized(lines, style) for lines in paragraphs),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _most(found: Sequence[_Item], is_bad: Callable[[_Item], bool]) -> Sequence[_Item]:
    """Return as many as a person would look through, the bad ones first where some are left out."""
    if len(found) <= _MOST:
        return found
    return sorted(found, key=lambda each: not is_bad(each))[:_MOST]


def _more(number: int, noun: str) -> list[str]:
    return [f"and {number:,} more {noun}{'' if number == 1 else 's'}"] if number else []


def _count(counts: dict[str, int], name: str, style: Style) -> str:
    number = counts[name]
    return style(str(number), fg="red") if name == "failed" and number else str(number)


def _site_state(site: SiteStatus, style: Style) -> str:
    if site.trouble:
        return style("never read" if site.last_success is None else "trouble", fg="red")
    return "published reviews only" if site.published_only else style("ok", fg="green")


def _titled(head: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> list[str]:
    first, *others = table(head, rows)
    return [style(first, bold=True), *others]


def _open_lines(status: StatusReport, now: datetime, width: int, style: Style) -> list[str]:
    if not status.open_reviews:
        return []
    rows = [
        [
            plain(each.short_id, len(each.short_id)),
            words_for(now - each.review.created),
            stars(each.review.rating),
            plain(each.site, _SITE),
            plain(", ".join(each.receivers), _RECEIVERS) or "nobody",
        ]
        for each in status.open_reviews
    ]
    head = ["review", "open for", "stars", "site", "sent to"]
    room = width - max(map(wide, table(head, rows))) - 2
    for row, each in zip(rows, status.open_reviews, strict=True):
        row.append(title(each.review.title, max(room, 1)))
    first, *others = _titled([*head, "title"], rows, style)
    lines = [first]
    for line, each in zip(others, status.open_reviews, strict=True):
        lines.append(line)
        if response := _phrase_response(each.response, status.timezone):
            lines.append(f"  {plain(response, width - 2)}")
    if status.more_open_reviews:
        lines.append(f"and {status.more_open_reviews} older")
    return lines


def _worker_lines(status: StatusReport, style: Style) -> list[str]:
    """Return the workers of a cluster; nothing for a state file."""
    if status.cluster is None:
        return []
    rows = worker_rows(status.cluster)
    lines = _titled(WORKERS_HEAD, rows[:_MOST], style) if rows else ["no worker is alive"]
    return [*lines, *_more(len(rows[_MOST:]), "worker"), phrase_waiting(status.cluster)]


def _phrase_response(response: Response, timezone: tzinfo) -> str:
    """Return what people do about a review; empty for nothing."""
    found = []
    if response.replying:
        found.append(f"{_person(response.replying)} is replying")
    if response.claimed_by:
        found.append(f"claimed by {_person(response.claimed_by)}")
    if response.snoozed_until:
        until = local_time(response.snoozed_until, timezone)
        found.append(f"snoozed until {until:%Y-%m-%d %H:%M} by {_person(response.snoozed_by)}")
    return ", ".join(found)


def _person(name: str) -> str:
    return plain(name, _LONGEST_NAME)


def _attention_lines(status: StatusReport, now: datetime) -> Iterator[str]:
    names = {site.site_id: site.name for site in status.sites}
    since = {each.scope: each.since for each in status.troubles}
    troubled = [site for site in status.sites if site.trouble]
    for site in troubled[:_MOST]:
        began = since.get(Scope.SITE.of(site.site_id))
        span = f" for {words_for(now - began)}" if began else ""
        yield f"trouble{span}: site {site.name}: {site.trouble}"
    yield from _more(len(troubled) - _MOST if len(troubled) > _MOST else 0, "site")
    for trouble in sorted(status.troubles, key=lambda each: each.since, reverse=True):
        kind, site_id = split_scope(trouble.scope)
        if kind != Scope.SITE:
            scope, span = shown_scope(trouble.scope)["scope"], words_for(now - trouble.since)
            named = f" ({names[site_id]})" if site_id in names else ""
            works = f"; works again since {_ago(trouble.over_at, now)}" if trouble.over_at else ""
            yield f"trouble for {span}: {scope}{named}: {trouble.reason}{works}"
    for block in sorted(status.parked, key=lambda each: each.since, reverse=True):
        scope = shown_scope(block.scope)["scope"]
        span = words_for(now - block.since)
        yield f"parked for {span}: {scope}: {block.reason}; fix it, then `alerter retry`"
    if failed := status.deliveries["failed"]:
        text = counted(failed, "delivery has", "deliveries have")
        again = "it" if failed == 1 else "them"
        yield f"failed: {text} failed; `alerter retry` queues {again} again"
    if status.cluster:
        yield from phrase_disagreements(status.cluster, status.timezone)
    if status.oldest_pending:
        yield f"the oldest pending delivery waits for {words_for(now - status.oldest_pending)}"


def _emphasized(lines: Sequence[str], style: Style) -> list[str]:
    """Return a paragraph whose first word stands out where it is about something bad."""
    word = lines[0].partition(" ")[0].rstrip(":")
    if word not in ("trouble", "parked", "failed"):
        return [*lines]
    marked = style(word, fg="red", bold=True)
    return [marked + lines[0].removeprefix(word), *lines[1:]]


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{words_for(now - moment)} ago" if moment else "never"
