"""What the config of a run is at a moment, the TOML that says so, and how a plan changes it."""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import Any

from tests.simulation import history as h

SECRETS = {
    "WIX_API_KEY": "wix-key-7f3a",
    "WIX_APP_SECRET": "wix-secret-11aa",
    "SLACK_BOT_TOKEN": "xoxb-token-91c2",
    "SMTP_PASSWORD": "smtp-pass-55d0",
}
SITE_IDS = {
    "Bakery": "11111111-1111-4111-8111-111111111111",
    "Tearoom": "22222222-2222-4222-8222-222222222222",
}
APP = {
    "app_id": "33333333-3333-4333-8333-333333333333",
    "instance_id": "44444444-4444-4444-8444-444444444444",
}
ZONE = "Europe/Berlin"
WEB_PORT = 8080
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Json = dict[str, Any]


def seconds(text: str) -> float:
    """The seconds of a duration as the config has it."""
    return float(text[:-1]) * _UNITS[text[-1]]


def span(text: str) -> timedelta:
    """The same as a timedelta."""
    return timedelta(seconds=seconds(text))


def env_of(address: str) -> str:
    """Return the name of the secret that an address is."""
    return f"URL_{re.sub(r'[^A-Z0-9]', '_', address.upper())}"


@dataclass(frozen=True)
class Addresses:
    """Where the embedded services are."""

    wix: str
    slack: str
    smtp: tuple[str, int]
    public_key: str


def changed(spec: Mapping[str, Any], op: str, *args: Any) -> Json:
    """A copy of a config with one change of the plan; what it is about may not be there any more."""
    new = copy.deepcopy(dict(spec))
    receivers: list[Json] = new["receivers"]
    if op == "set":
        new[args[0]] = args[1]
    elif op == "site_threshold":
        new["sites"] = [
            site | {"threshold": args[1]} if site["name"] == args[0] else site
            for site in new["sites"]
        ]
    elif op == "add":
        receivers.append(dict(args[0]))
    elif op == "remove":
        if len(receivers) > 1:
            new["receivers"] = [each for each in receivers if each["name"] != args[0]]
    elif op == "remove_site":
        _remove_site(new, args[0])
    elif op == "add_site":
        if args[0]["name"] not in [site["name"] for site in new["sites"]]:
            new["sites"].append(dict(args[0]))
    else:  # receiver, with these keys (None: without)
        assert op == "receiver", op
        for each in receivers:
            if each["name"] == args[0]:
                each.update(args[1])
                for key in [key for key, value in each.items() if value is None]:
                    del each[key]
    new = _valid(new)
    return new if _apart(new["receivers"]) else dict(spec)


def _apart(receivers: list[Json]) -> bool:
    """Whether no two receivers share a name, an address or a channel: each message has one
    receiver, for the oracle.
    """
    named = [
        name
        for each in receivers
        for name in (
            each["name"],
            each.get("slack"),
            *each.get("email", ()),
            *map(each.get, h.POSTED),
        )
        if name
    ]
    return len(named) == len(set(named))


def _remove_site(spec: Json, name: str) -> None:
    if len(spec["sites"]) > 1:
        spec["sites"] = [site for site in spec["sites"] if site["name"] != name]


def _valid(spec: Json) -> Json:
    """Mend what a change leaves without an object: a config that nobody would take."""
    sites = [site["name"] for site in spec["sites"]]
    for each in spec["receivers"]:
        if "sites" in each:
            each["sites"] = [name for name in each["sites"] if name in sites]
    spec["receivers"] = [each for each in spec["receivers"] if each.get("sites") != []] or [
        {"name": "owner", "email": ["owner@example.com"]}
    ]
    names = [each["name"] for each in spec["receivers"]]
    if spec.get("escalate_to") not in names:
        spec["escalate_to"] = None
    if spec.get("summary") and spec["summary"]["receiver"] not in names:
        spec["summary"] = None
    return spec


def toml(spec: Mapping[str, Any], where: Addresses, templates: Path) -> str:
    """The config file."""
    lines = [
        'state = {file = "state.db", keep = "' + spec["keep"] + '"}',
        f'timezone = "{ZONE}"',
        f'templates = "{templates}"',
        f'[poll]\nevery = "{spec["every"]}"\nrescan_every = "{spec["rescan_every"]}"',
        f'rescan_window = "{spec["rescan_window"]}"\ntrouble_after = "{spec["trouble_after"]}"',
        f"[alerts]\nthreshold = {spec['threshold']}\nburst = {spec['burst']}",
        f"orders = {json.dumps(bool(spec.get('orders')))}",
        *([f"cluster = {spec['cluster']}"] if spec.get("cluster") else []),
        f"[reminders]\nafter = {json.dumps(spec['reminders'])}",
        *(
            [f'escalate_to = "{spec["escalate_to"]}"']
            if spec.get("escalate_to") and spec["reminders"]
            else []
        ),
        f'[wix]\nbase_url = "{where.wix}"',
    ]
    for site in spec["sites"]:
        lines.append(f'[[sites]]\nname = "{site["name"]}"\nsite_id = "{site["site_id"]}"')
        if site["name"] == "Bakery":
            lines.append('api_key = "env:WIX_API_KEY"')
        else:
            lines.append(f'app_id = "{APP["app_id"]}"\napp_secret = "env:WIX_APP_SECRET"')
            lines.append(f'instance_id = "{APP["instance_id"]}"')
        if site.get("threshold"):
            lines.append(f"threshold = {site['threshold']}")
    lines.append(
        f'[smtp]\nhost = "{where.smtp[0]}"\nport = {where.smtp[1]}\nsecurity = "none"\nusername = "alerts"'
        '\npassword = "env:SMTP_PASSWORD"\nfrom = "Review alerts <alerts@example.com>"'
    )
    lines.append(f'[slack]\ntoken = "env:SLACK_BOT_TOKEN"\nbase_url = "{where.slack}"')
    lines += [_receiver(each) for each in spec["receivers"]]
    if spec["web"]:
        lines.append(f'[web]\nlisten = "127.0.0.1:{WEB_PORT}"')
        lines.append(f'[[apps]]\napp_id = "{APP["app_id"]}"\npublic_key = """{where.public_key}"""')
    if summary := spec.get("summary"):
        lines.append(
            f'[[summaries]]\nname = "Summary"\nat = "{summary["at"]}"\nreceivers = ["{summary["receiver"]}"]'
        )
    if spec.get("fault"):
        lines.append(spec["fault"])
    return "\n".join(lines) + "\n"


def _receiver(each: Mapping[str, Any]) -> str:
    lines = ["[[receivers]]"]
    for key, value in each.items():
        if key == "quiet":
            days = ", ".join(f'"{day}"' for day in value.get("days", _DAYS))
            lines.append(
                f'quiet = {{from = "{value["from"]}", to = "{value["to"]}", days = [{days}]}}'
            )
        elif key in h.POSTED:
            lines.append(f'{key} = "env:{env_of(value)}"')
            if key == "webhook":
                lines.append(f'webhook_secret = "env:{env_of(value)}_KEY"')
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines)


def as_history(spec: Mapping[str, Any]) -> h.Config:
    """The same as the oracle reads it."""
    ids = {site["name"]: site["site_id"] for site in spec["sites"]}
    marked = any(each.get("trouble") for each in spec["receivers"])
    summary = spec.get("summary")
    return h.Config(
        sites=tuple(
            h.Site(site["site_id"], site["name"], site.get("threshold") or spec["threshold"])
            for site in spec["sites"]
        ),
        receivers=tuple(
            h.Receiver(
                name=each["name"],
                emails=tuple(each.get("email", ())),
                channel=each.get("slack"),
                posted=(posted := next((m for m in h.POSTED if m in each), None)),
                address=each[posted] if posted else None,
                sites=tuple(ids[name] for name in each.get("sites", ())),
                min_rating=each.get("min_rating", 1),
                max_rating=each.get("max_rating", 5),
                keywords=tuple(each.get("keywords", ())),
                quiet=(_quiet(each["quiet"]),) if "quiet" in each else (),
                urgent_max_rating=each.get("urgent_max_rating"),
                closings=each.get("closings", False),
                trouble=each.get("trouble", False) or not marked,
                summary=bool(summary and summary["receiver"] == each["name"]),
            )
            for each in spec["receivers"]
        ),
        poll_every=span(spec["every"]),
        rescan_every=span(spec["rescan_every"]),
        rescan_window=span(spec["rescan_window"]),
        trouble_after=span(spec["trouble_after"]),
        keep=span(spec["keep"]),
        burst=spec["burst"],
        reminders_after=tuple(span(text) for text in spec["reminders"]),
        escalate_to=spec.get("escalate_to") if spec["reminders"] else None,
        summary_at=(summary["at"],) if summary else (),
    )


def _quiet(quiet: Mapping[str, Any]) -> h.QuietHours:
    days = tuple(_DAYS.index(day) for day in quiet.get("days", ()))
    return h.QuietHours(
        time.fromisoformat(quiet["from"]), time.fromisoformat(quiet["to"]), ZONE, days
    )
