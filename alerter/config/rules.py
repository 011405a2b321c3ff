"""Faults of a config that no key has alone."""

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from alerter.config.fields import DAYS, LONGEST_NAME, MIDNIGHT, duration, is_loopback, time_of_day

RESCAN_WINDOW = timedelta(days=30)
KEEP = timedelta(days=400)
_Value = TypeVar("_Value")


def _tables(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = raw.get(name)
    return (
        [table if isinstance(table, dict) else {} for table in found]
        if isinstance(found, list)
        else []
    )


def between_keys(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults that no key has alone. Looks at what was written, so that they are told together with the others."""
    sites, receivers = _tables(raw, "sites"), _tables(raw, "receivers")
    for name, tables in (("sites", sites), ("receivers", receivers)):
        if not tables and name in raw:
            yield name, f"at least one [[{name}]] is needed"
    yield from _repeated("sites", "name", sites)
    yield from _repeated("sites", "site_id", sites, any_case=True)
    yield from _repeated("receivers", "name", receivers)
    for number, site in enumerate(sites, 1):
        yield from _way_in(f"sites.{number}", site)
    names = {str(site.get("name")) for site in sites}
    for number, receiver in enumerate(receivers, 1):
        yield from _way_out(f"receivers.{number}", receiver, raw, names)
        yield from _hours(f"receivers.{number}.quiet", receiver)
    yield from _repeated("sites", "instance_id", sites, any_case=True)
    yield from _web(raw)
    yield from _keep(raw)
    yield from _summaries(
        _tables(raw, "summaries"), [str(receiver.get("name")) for receiver in receivers]
    )
    smtp = raw.get("smtp")
    yield from _reminders(raw, [str(receiver.get("name")) for receiver in receivers])
    if isinstance(smtp, dict):
        yield from _login(smtp)


def _login(smtp: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if ("username" in smtp) != ("password" in smtp):
        yield (
            "smtp.password" if "username" in smtp else "smtp.username",
            "username and password go together",
        )
    host = smtp.get("host")
    if (
        smtp.get("security") == "none"
        and "password" in smtp
        and isinstance(host, str)
        and not is_loopback(host)
    ):
        yield (
            "smtp.security",
            "must be starttls or tls: a password goes unencrypted to this machine only",
        )


def _web(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    apps = _tables(raw, "apps")
    yield from _repeated("apps", "app_id", apps)
    if apps and "web" not in raw:
        yield "apps", "webhooks come in where [web] listens: needs the table [web]"
    known = [str(app.get("app_id")) for app in apps]
    for number, site in enumerate(_tables(raw, "sites"), 1):
        name = site.get("app_id")
        if known and "api_key" in site and isinstance(name, str) and name not in known:
            yield (
                f"sites.{number}.app_id",
                f'there is no app "{name}" in [[apps]]{_did_you_mean(name, known)}',
            )
    if "web" in raw and not all(
        find_spec(name) for name in ("jwt", "cryptography", "prometheus_client")
    ):
        yield "web", "needs packages that are not installed: pip install 'alerter[web]'"


def _reminders(raw: Mapping[str, Any], receivers: Sequence[str]) -> Iterator[tuple[str, str]]:
    reminders, poll = (
        table if isinstance(table := raw.get(name), dict) else {} for name in ("reminders", "poll")
    )
    after = reminders.get("after")
    spans = [_read(duration, text) for text in after] if isinstance(after, list) else []
    window = _read(duration, poll.get("rescan_window")) or RESCAN_WINDOW
    for number, span in enumerate(spans, 1):
        if span and span > window:
            yield (
                f"reminders.after.{number}",
                "must not exceed poll.rescan_window: after that a review rests",
            )
    if None not in spans and any(later <= earlier for earlier, later in pairwise(spans)):  # type: ignore[operator]
        yield "reminders.after", "must rise from one to the next"
    name = reminders.get("escalate_to")
    if isinstance(name, str) and name not in receivers:
        yield (
            "reminders.escalate_to",
            f'there is no receiver "{name}"{_did_you_mean(name, receivers)}',
        )


def _keep(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state, poll = (
        table if isinstance(table := raw.get(name), dict) else {} for name in ("state", "poll")
    )
    keep, window = (
        _read(duration, state.get("keep")) or KEEP,
        _read(duration, poll.get("rescan_window")) or RESCAN_WINDOW,
    )
    if keep < window:
        yield (
            "state.keep",
            "must not be less than poll.rescan_window: what was erased would be read again",
        )


def _summaries(
    summaries: list[Mapping[str, Any]], receivers: Sequence[str]
) -> Iterator[tuple[str, str]]:
    yield from _repeated("summaries", "name", summaries)
    for number, summary in enumerate(summaries, 1):
        wanted = summary.get("receivers")
        for place, name in enumerate(wanted if isinstance(wanted, list) else (), 1):
            if isinstance(name, str) and name not in receivers:
                fault = f'there is no receiver "{name}"{_did_you_mean(name, receivers)}'
                yield f"summaries.{number}.receivers.{place}", fault


def _read(field: Callable[[object], _Value], value: object) -> _Value | None:
    """A value of the config, or None where it is at fault by itself."""
    try:
        return field(value)
    except PydanticCustomError:
        return None


def _did_you_mean(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name[:LONGEST_NAME], known, 1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _repeated(
    name: str, key: str, tables: list[Mapping[str, Any]], *, any_case: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield each value that stands in more than one table; with `any_case` as Wix's ids are compared."""
    values = [str(table[key]) if key in table else None for table in tables]
    if any_case:
        values = [value and value.lower() for value in values]
    times = Counter(values)
    for number, value in enumerate(values, 1):
        if value is not None and times[value] > 1:
            yield (
                f"{name}.{number}.{key}",
                f"stands at more than one of the [[{name}]]; each needs its own",
            )


def _way_in(key: str, site: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    app = ("app_id", "app_secret", "instance_id")
    if "api_key" in site:
        if "app_secret" in site:
            yield f"{key}.app_secret", "goes without api_key: use one way in or the other"
    elif not any(name in site for name in app):
        yield f"{key}.api_key", "is missing (or, for an app: app_id, app_secret and instance_id)"
    else:
        for name in app:
            if name not in site:
                yield f"{key}.{name}", "is missing: app_id, app_secret and instance_id go together"


def _way_out(
    key: str, receiver: Mapping[str, Any], raw: Mapping[str, Any], sites: Collection[str]
) -> Iterator[tuple[str, str]]:
    if "email" not in receiver and "slack" not in receiver:
        yield f"{key}.email", "set email, slack or both: a receiver needs one of them"
    if "token" in receiver and "slack" not in receiver:
        yield f"{key}.token", "goes with slack: it is the token of another Slack workspace"
    for way, table in (("email", "smtp"), ("slack", "slack")):
        if way in receiver and table not in raw and not (way == "slack" and "token" in receiver):
            yield f"{key}.{way}", f"needs the table [{table}]"
    least, most = receiver.get("min_rating"), receiver.get("max_rating")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield f"{key}.min_rating", "must not be more than max_rating: no review would be both"
    if "mention" in receiver and "slack" not in receiver:
        yield f"{key}.mention", "is for receivers on Slack"
    if "mention_max_rating" in receiver and "mention" not in receiver:
        yield f"{key}.mention_max_rating", "goes with mention, which is missing"
    wanted = receiver.get("sites")
    for number, name in enumerate(wanted if isinstance(wanted, list) else (), 1):
        if isinstance(name, str) and name not in sites:
            yield f"{key}.sites.{number}", f'there is no site "{name}"{_did_you_mean(name, sites)}'


def _hours(key: str, receiver: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    quiet = receiver.get("quiet")
    if not isinstance(quiet, dict):
        return
    begin, end = (_read(time_of_day, quiet.get(name)) for name in ("from", "to"))
    days = quiet.get("days")
    if begin is not None and begin == end:
        yield f"{key}.to", 'must not be the same as `from`; a whole day is from "00:00" to "24:00"'
    elif begin == MIDNIGHT:
        yield (
            f"{key}.from",
            'must be earlier than the end of the day; the beginning of the next is "00:00"',
        )
    elif (begin, end) == (0, MIDNIGHT) and (
        not isinstance(days, list) or all(day in days for day in DAYS)
    ):
        yield f"{key}.days", "must leave a day on which it hears something"
