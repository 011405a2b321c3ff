"""What happens in a run, chosen by a seed.

Each seed enables its own kinds of event, so that rare combinations come up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.simulation.history import POSTED
from tests.simulation.kinds import FAULTS, LENGTHS, ONE_CALL, OTHERS, TRIED_OFTEN
from tests.simulation.setup import SITE_IDS

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
DAY = 86400.0
HOUR = 3600.0

Json = dict[str, Any]
# How long at most a query lags behind what webhooks say.
_LAG = 240.0


@dataclass(frozen=True)
class Event:
    """Something that happens `at` so many seconds after the start."""

    at: float
    kind: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        moment = START + timedelta(seconds=self.at)
        said = " ".join(
            f"{key}={value}" for key, value in self.args.items() if value not in (None, [], "")
        )
        return f"{moment:%a %d %b %H:%M:%S}  {self.kind:14} {said}"


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    length: float
    settle: float
    spec: Json
    latency: float
    events: tuple[Event, ...]

    def with_events(self, events: tuple[Event, ...]) -> "Plan":
        """The same with other events."""
        return replace(self, events=events)

    def lines(self) -> list[str]:
        """A timeline for people."""
        spec = {key: value for key, value in self.spec.items() if value not in (None, [], False)}
        return [
            f"seed {self.seed}, {self.length / DAY:.1f} days",
            f"config {spec}",
            *(str(event) for event in self.events),
        ]


def make(seed: int, *, short: bool = False) -> Plan:
    """The plan of a seed; a short one covers some days."""
    return _Generator(seed, short=short).plan()


class _Generator:
    def __init__(self, seed: int, *, short: bool) -> None:
        self.random = random = Random(f"{seed} {short}")
        self.seed = seed
        self.short = short
        self.days = (
            random.uniform(0.5, 1.5)
            if short
            else random.choice((3, 7, 7, 14, 14, 28, 28, 56, 90, 150))
        )
        share = random.choice((0.1, 0.2, 0.4))
        self.faults = [kind for kind in FAULTS if random.random() < share]
        self.others = {kind for kind in OTHERS if random.random() < random.choice((0.3, 0.6))}
        self.events: list[Event] = []
        self.sites = ["Bakery", "Tearoom"][: random.choice((1, 2, 2))]
        self.receivers: list[Json] = []
        self.spec = self._spec(short=short)
        self.reviews: list[tuple[str, str, float]] = []
        self.visible_at: dict[str, float] = {}
        self.channels = 5
        self.words = 0

    def plan(self) -> Plan:
        length = self.days * DAY
        # What has happened already is read again and again: more of it in a long run would only
        # take time.
        for _ in range(self._number(self.random.uniform(0.5, 5) * min(1.0, 14 / self.days))):
            self._review(self.random.uniform(0, length))
        for _ in range(self.random.choice((0, 2, 10))):
            self._past()
        # A burst now and then.
        for _ in range(self._number(0.03)):
            at = self.random.uniform(0, length)
            for _ in range(self.random.randint(5, 25)):
                self._review(at + self.random.uniform(0, 60))
        for kind in self.faults:
            for _ in range(self._number(self.random.choice((0.05, 0.2, 0.5)), least=1)):
                self._fault(kind, self.random.uniform(0, length))
        for kind, rate in (
            ("config", 0.3), ("config_faulty", 0.05), ("kill", 0.7), ("stop", 0.2), ("clock_step", 0.1),
            ("backfill", 0.1), ("retry", 0.1), ("reply", 0.3), ("backup", 0.1), ("restore", 0.05),
        ):  # fmt: skip
            if kind in self.others:
                for _ in range(self._number(rate, least=1)):
                    getattr(self, f"_{kind}")(self.random.uniform(0, length))
        self._holds()
        self._clusters()
        events = sorted(
            (event for event in self.events if event.at < length), key=lambda event: event.at
        )
        events = [replace(event, at=round(event.at, 3)) for event in events]
        latency = self.random.choice((0.01, 0.1, 0.4))
        # Long enough for quiet hours to end, and for what was throttled for a day.
        settle = 14 * HOUR if self.short else 30 * HOUR
        return Plan(self.seed, length, settle, self.spec, latency, tuple(events))

    def _number(self, rate: float, least: int = 0) -> int:
        """How often something happens that happens so many times a day."""
        mean = rate * self.days
        number = int(mean) + (self.random.random() < mean % 1)
        return max(number, least)

    def _spec(self, *, short: bool) -> Json:
        random = self.random
        # Rounds are what takes time: in months they are rare.
        every = random.choice(
            ("30m", "1h", "1h")
            if short
            else ("30m", "1h", "2h")
            if self.days < 20
            else ("2h", "4h")
        )
        receivers: list[Json] = [{"name": "owner", "email": ["owner@example.com"]}]
        if random.random() < 0.8:
            receivers.append({"name": "support", "slack": "C0000000001"})
        if random.random() < 0.4:
            receivers.append({"name": "bakers", "slack": "C0000000002", "sites": ["Bakery"]})
        if len(self.sites) > 1 and random.random() < 0.5:
            addresses = ["tea@example.com", "house@example.com"][: random.choice((1, 2))]
            receivers.append({"name": "tea", "email": addresses, "sites": ["Tearoom"]})
        if random.random() < 0.3:
            receivers.append(
                {"name": "ops", "email": ["ops@example.com", "ops2@example.com"], "trouble": True}
            )
        receivers += self._posted()
        if random.random() < 0.3:
            random.choice(receivers)["closings"] = True
        if "quiet" in self.others:
            random.choice(receivers)["quiet"] = self._quiet()
        if random.random() < 0.2:
            random.choice(receivers)["max_rating"] = random.choice((1, 2))
        if random.random() < 0.15:
            random.choice(receivers)["keywords"] = ["refund"]
        self.receivers = receivers
        reminders: list[str] = []
        if "reminders" in self.others:
            reminders = random.choice((["24h"], ["4h", "24h"], ["1h", "12h", "72h"]))
        prune = "prune" in self.others
        return {
            "sites": [{"name": name, "site_id": SITE_IDS[name]} for name in self.sites],
            "receivers": receivers,
            "every": every,
            "rescan_every": random.choice(("1h", "4h") if short else ("4h", "12h", "24h")),
            "rescan_window": random.choice(("5d", "10d")) if prune else "30d",
            "trouble_after": random.choice(("15m", "1h", "6h")),
            "keep": random.choice(("10d", "20d")) if prune else "400d",
            "threshold": random.choice((1, 2, 2, 3)),
            "burst": random.choice((2, 10)),
            "reminders": reminders,
            "escalate_to": random.choice([*receivers, {"name": None}])["name"],
            "summary": {
                "at": random.choice(("09:00", "Mon 09:00")),
                "receiver": receivers[0]["name"],
            }
            if "summary" in self.others
            else None,
            "web": "hooks" in self.others,
            "orders": "hooks" in self.others,
        }

    def _posted(self) -> list[Json]:
        """Receivers with an address, in half of the seeds."""
        random = self.random
        found: list[Json] = []
        for medium in random.sample(POSTED, random.choice((0, 0, 0, 1, 2, 4))):
            found.append({"name": f"by-{medium}", medium: f"{medium}-1"})
            if random.random() < 0.3:
                found[-1]["sites"] = [random.choice(self.sites)]
            if random.random() < 0.3:
                found.append({"name": f"too-{medium}", medium: f"{medium}-2"})
        return found

    def _quiet(self) -> Json:
        quiet: Json = self.random.choice(
            ({"from": "22:00", "to": "07:00"}, {"from": "09:00", "to": "21:00"})
        )
        return quiet | ({"days": ["sat", "sun"]} if self.random.random() < 0.3 else {})

    def _add(self, at: float, kind: str, **args: Any) -> None:
        self.events.append(
            Event(at, kind, {key: value for key, value in args.items() if value is not None})
        )

    def _hooks(self) -> list[float] | None:
        """After how many seconds the webhook of something is sent, each time; none at all now and
        then.
        """
        if "hooks" not in self.others:
            return None
        first = self.random.choice((0.3, 0.3, 0.3, 5.0, 120.0, HOUR, 2 * DAY))
        return self.random.choice(
            ([first], [first], [first, first + 1.0], [first, first + 3 * HOUR], [])
        )

    def _review(self, at: float) -> None:
        random = self.random
        name, site = f"r{len(self.reviews) + 1}", random.choice(self.sites)
        self.reviews.append((name, site, at))
        late = "late" in self.others and random.random() < 0.15
        imported = "imported" in self.others and random.random() < 0.1
        moderation = (
            random.choice(("SUBMITTED", "IN_MODERATION")) if random.random() < 0.1 else None
        )
        lag = random.choice((_LAG, 900.0, 3 * HOUR, 2 * DAY)) if late else None
        hooks = self._hooks()
        if lag and lag > _LAG:
            # Wix sends no webhook of what its own queries do not find for longer than they lag
            # behind.
            self.visible_at[name] = at + lag
            hooks = [lag + wait for wait in hooks] if hooks else hooks
        self._add(
            at,
            "review",
            review=name,
            site=site,
            rating=random.choice((1, 1, 2, 2, 3, 4, 5)),
            refund=random.random() < 0.3 or None,
            silent=random.random() < 0.05 or None,
            visible_after=lag,
            imported=random.choice((40, 400)) if imported else None,
            moderation=moderation,
            hooks=hooks,
        )
        if moderation:
            self._change(
                "moderated",
                name,
                site,
                at,
                status=random.choice(("APPROVED", "APPROVED", "REJECTED")),
            )
        for kind, chance in (
            ("edited", 0.15), ("rated", 0.25), ("replied", 0.35), ("moderated", 0.1), ("deleted", 0.1),
            ("anonymized", 0.05), ("voted", 0.1),
        ):  # fmt: skip
            if kind in self.others and random.random() < chance:
                self._change(kind, name, site, at)

    def _past(self) -> None:
        """A review that is there before alerter is."""
        random = self.random
        name, site = f"r{len(self.reviews) + 1}", random.choice(self.sites)
        self.reviews.append((name, site, 0.0))
        self._add(
            0.0,
            "review",
            review=name,
            site=site,
            rating=random.choice((1, 2, 3, 5)),
            age=random.uniform(0.01, 60),
        )
        for kind, chance in (("rated", 0.3), ("replied", 0.3), ("deleted", 0.1), ("edited", 0.1)):
            if kind in self.others and random.random() < chance:
                self._change(kind, name, site, 0.0)

    def _change(self, kind: str, name: str, site: str, at: float, **args: Any) -> None:
        random = self.random
        at += random.expovariate(1 / random.choice((60.0, HOUR, 12 * HOUR, 3 * DAY, 15 * DAY)))
        if kind == "rated":
            args["rating"] = random.choice((1, 1, 2, 3, 5))
            args["edited"] = random.random() < 0.5 or None
        if kind == "edited":
            args["refund"] = random.random() < 0.3 or None
        if kind == "moderated" and not args:
            args["status"] = "REJECTED"
            if random.random() < 0.5:
                self._change("moderated", name, site, at, status="APPROVED")
        hooks = self._hooks()
        if hooks and (hidden := self.visible_at.get(name, at) - at) > 0:
            hooks = [hidden + wait for wait in hooks]
        self._add(at, kind, review=name, site=site, hooks=hooks, **args)
        if kind == "replied" and "unreplied" in self.others and random.random() < 0.4:
            self._change("unreplied", name, site, at)
            if random.random() < 0.3:
                self._change("replied", name, site, at + 10)
        if kind == "rated" and random.random() < 0.4:
            self._change("rated", name, site, at)

    def _fault(self, kind: str, at: float) -> None:
        random = self.random
        length = random.choice(LENGTHS)
        if kind in TRIED_OFTEN:
            length = min(length, random.choice((1200.0, 1.5 * HOUR, 1.5 * HOUR, 5 * HOUR)))
        if kind in {"disk_full", "state_locked"}:
            length = random.choice((60.0, 600.0, 3 * HOUR))
        if self.short:
            length = min(length, 5 * HOUR)
        args: Json = {"fault": kind, "length": length, "code": random.choice(FAULTS[kind]) or None}
        if kind in ONE_CALL and random.random() < 0.6:
            args["calls"] = random.randint(1, 3)
        if random.random() < 0.2:
            args["share"] = 0.5
        if kind.endswith("throttled"):
            args["retry_after"] = random.choice((1.0, 30.0, HOUR, HOUR if self.short else DAY))
            args["length"] = min(length, 1200.0) if args["retry_after"] > 30 else length
            if kind == "slack_throttled" and args["retry_after"] == 1.0:
                # As many messages as seconds, and each is a refusal on record.
                args["length"] = min(length, HOUR)
        if kind == "wix_stale":
            args["retry_after"] = random.choice((600.0, 3 * HOUR, DAY))
        if kind.startswith("wix") and random.random() < 0.5 and kind != "wix_token":
            args["site_id"] = SITE_IDS[random.choice(self.sites)]
        slacks = [each["slack"] for each in self.receivers if "slack" in each]
        if kind == "slack_channel_refused" or (
            kind == "slack_update_refused" and random.random() < 0.5
        ):
            args["channel"] = random.choice(slacks or ["C0000000001"])
        if kind == "slack_throttled" and random.random() < 0.5:
            args["method"] = random.choice(
                ("chat.postMessage", "chat.update", "conversations.history")
            )
        if kind.startswith("posted"):
            addresses = [
                each[medium] for each in self.receivers for medium in POSTED if medium in each
            ]
            args["address"] = random.choice(addresses or ["none"])
            if args["address"].startswith("discord") and kind == "posted_throttled":
                args["code"] = random.choice(("429", "429 body"))
        mails = [address for each in self.receivers for address in each.get("email", ())]
        if kind in {"smtp_address_hard", "smtp_address_soft"}:
            args["address"] = random.choice(mails)
        if kind.endswith("message_refused"):
            args["review_id"] = random.choice(self.reviews)[0] if self.reviews else "r1"
        self._add(at, "fault", **args)

    def _config(self, at: float) -> None:
        random = self.random
        each = random.choice(self.receivers)
        name = each["name"]
        back = at + random.choice((600.0, HOUR, DAY, 4 * DAY))
        choice = random.choice(
            ("narrow", "rename", "remove", "move", "address", "threshold", "site_threshold", "quiet", "reminders",
             "summary", "max_rating", "remove_site", "add", "burst", "nothing")
        )  # fmt: skip
        ops: list[list[Any]] = []
        undo: list[list[Any]] = []
        if choice == "narrow":
            ops = [["receiver", name, {"sites": [random.choice(self.sites)]}]]
            undo = [["receiver", name, {"sites": each.get("sites")}]]
        elif choice == "rename":
            ops = [["receiver", name, {"name": f"{name}-renamed"}]]
            undo = [["receiver", f"{name}-renamed", {"name": name}]]
        elif choice == "remove":
            ops, undo = [["remove", name]], [["add", dict(each)]]
        elif choice == "move" and "slack" in each:
            self.channels += 1
            ops, undo = (
                [
                    [
                        "receiver",
                        name,
                        {"slack": f"C000000000{self.channels % 10}{name}".upper()[:14]},
                    ]
                ],
                [],
            )
        elif choice == "move" and (media := [medium for medium in POSTED if medium in each]):
            self.channels += 1
            to = random.choice((media[0], media[0], *POSTED))
            fields = {media[0]: None} | {to: f"{to}-{self.channels}"}
            ops = [["receiver", name, fields]]
            undo = [["receiver", name, dict.fromkeys(fields) | {media[0]: each[media[0]]}]]
        elif choice == "address" and "email" in each:
            ops = [["receiver", name, {"email": [f"{name}.new@example.com"]}]]
            undo = [["receiver", name, {"email": each["email"]}]]
        elif choice == "threshold":
            ops = [["set", "threshold", random.choice((1, 2, 3, 4))]]
            undo = [["set", "threshold", self.spec["threshold"]]]
        elif choice == "site_threshold":
            ops = [["site_threshold", random.choice(self.sites), random.choice((1, 2, 3, None))]]
        elif choice == "quiet":
            ops = [["receiver", name, {"quiet": self._quiet()}]]
            undo = [["receiver", name, {"quiet": None}]]
        elif choice == "reminders":
            ops = [["set", "reminders", random.choice(([], ["2h"], ["1h", "3h"], ["24h", "48h"]))]]
            undo = [["set", "reminders", self.spec["reminders"]]]
        elif choice == "summary":
            ops = [
                ["set", "summary", {"at": random.choice(("12:00", "Tue 10:00")), "receiver": name}]
            ]
        elif choice == "max_rating":
            ops = [["receiver", name, {"max_rating": random.choice((1, 2, 3))}]]
            undo = [["receiver", name, {"max_rating": None}]]
        elif choice == "remove_site" and len(self.sites) > 1:
            site = random.choice(self.spec["sites"])
            ops, undo = [["remove_site", site["name"]]], [["add_site", dict(site)]]
        elif choice == "add":
            medium = random.choice(("email", *POSTED))
            address: Any = ["late@example.com"] if medium == "email" else f"{medium}-late"
            ops = [["add", {"name": "late-comer", medium: address}]]
            undo = [["remove", "late-comer"]]
        elif choice == "burst":
            ops = [["set", "burst", random.choice((1, 5, 20))]]
        self._add(at, "config", ops=ops)
        if undo and random.random() < 0.6:
            self._add(back, "config", ops=undo)

    def _config_faulty(self, at: float) -> None:
        self._add(at, "config_faulty", length=self.random.choice((600.0, HOUR, 10 * HOUR)))

    def _kill(self, at: float) -> None:
        random = self.random
        commits = random.choice((None, random.randint(1, 30)))
        self._add(
            at,
            "kill",
            commits=commits,
            after=random.random() < 0.5 or None,
            down=random.choice((1.0, 5.0, 600.0, 5 * HOUR)),
        )

    def _stop(self, at: float) -> None:
        self._add(at, "stop", down=self.random.choice((1.0, 60.0, 3 * HOUR, 2 * DAY)))

    def _clock_step(self, at: float) -> None:
        seconds = self.random.choice((-DAY, -2 * HOUR, -90.0, 90.0, 2 * HOUR, DAY))
        self._add(at, "clock_step", seconds=seconds, length=self.random.choice((60.0, HOUR, DAY)))

    def _backfill(self, at: float) -> None:
        self._add(
            at,
            "backfill",
            days=self.random.choice((1, 5, 30)),
            deliver=self.random.choice(("digest", "each", "none")),
            site=self.random.choice([*self.sites, None]),
            kill=self.random.choice((None, None, None, self.random.randint(1, 20))),
        )

    def _retry(self, at: float) -> None:
        self._add(at, "retry")

    def _reply(self, at: float) -> None:
        if known := [each for each in self.reviews if each[2] < at]:
            self._add(at, "reply", review=(chosen := self.random.choice(known))[0], site=chosen[1])

    def _holds(self) -> None:
        """People claim and snooze reviews, in some seeds; others stay as they were without."""
        random = Random(f"holds {self.seed} {self.short}")
        if random.random() < 0.6:
            return
        low = {each.args["review"] for each in self.events if each.args.get("rating", 9) <= 2}
        for name, site, written in self.reviews:
            at = written
            while name in low and random.random() < 0.7:
                at += random.expovariate(1 / random.choice((600.0, HOUR, 12 * HOUR, 2 * DAY)))
                kind = random.choice(("claim", "snooze", "release"))
                if kind == "snooze":
                    hours = random.choice((2, 11, 30, 100))
                    self._add(at, "snooze", review=name, site=site, hours=hours)
                else:
                    release = kind == "release" or None
                    self._add(at, "claim", review=name, site=site, release=release)

    def _clusters(self) -> None:
        """Sites with a quiet record get bursts of reviews, in some seeds; others stay as they were."""
        random = Random(f"clusters {self.seed} {self.short}")
        if random.random() < 0.5 or self.spec["keep"] != "400d":
            return
        within = random.choice(("1d", "7d"))
        count = random.choice((2, 3, 5))
        self.spec["cluster"] = f'{{count = {count}, within = "{within}"}}'
        for site in self.sites:
            for age in (random.uniform(60, 300), random.uniform(20, 300)):
                self._low_rated(random, site, 0.0, age=age)
            for _ in range(random.choice((0, 1, 2))):
                at = random.uniform(0, self.days * DAY)
                span = random.choice((60.0, HOUR, 12 * HOUR, 3 * DAY))
                for _ in range(random.randint(2, 8)):
                    self._low_rated(random, site, at + random.uniform(0, span))

    def _low_rated(self, random: Random, site: str, at: float, age: float | None = None) -> None:
        name = f"r{len(self.reviews) + 1}"
        self.reviews.append((name, site, at))
        hooks = [0.3] if "hooks" in self.others and age is None and random.random() < 0.7 else None
        self._add(at, "review", review=name, site=site, rating=1, age=age, hooks=hooks)
        for kind, chance in (("replied", 0.2), ("deleted", 0.1), ("anonymized", 0.05)):
            if kind in self.others and age is None and random.random() < chance:
                self._add(at + random.expovariate(1 / HOUR), kind, review=name, site=site)

    def _backup(self, at: float) -> None:
        self._add(at, "backup")

    def _restore(self, at: float) -> None:
        self._add(at - self.random.choice((60.0, HOUR, DAY)), "backup")
        self._add(at, "restore", down=self.random.choice((5.0, 600.0)))
