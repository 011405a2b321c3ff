"""Builds small histories by hand: what the tests of the oracle are made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.simulation import oracle
from tests.simulation.history import (
    AlertKind,
    Command,
    Config,
    ConfigVersion,
    DaemonSpan,
    Fault,
    FaultKind,
    History,
    Item,
    Mail,
    Read,
    Receiver,
    ReceiverStatus,
    Review,
    ReviewChange,
    ReviewEvent,
    Run,
    Site,
    SiteStatus,
    SlackCall,
    Status,
)

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
OWNER = Receiver("owner", emails=("owner@bakery.test",), sites=("bakery",), trouble=True)
TEAM = Receiver("team", channel="C1", sites=("bakery",), closings=True, trouble=True)
FLORA = Receiver("flora", emails=("flora@florist.test",), sites=("florist",), trouble=True)
BOSS = replace(OWNER, name="boss", emails=("boss@bakery.test",))
CONFIG = Config(
    sites=(Site("bakery", "Bakery", 2), Site("florist", "Florist", 2)),
    receivers=(OWNER, TEAM, FLORA),
)


def at(day: float, hour: float = 0, minute: float = 0, second: float = 0) -> datetime:
    return START + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


class Scene:
    """Builds a history. The site's first read is an hour after the start; what comes later is new."""

    def __init__(self, days: float = 4, config: Config = CONFIG) -> None:
        self.end = at(days)
        self.configs = [ConfigVersion(START, config, START, how="start")]
        self.daemon = [DaemonSpan(START, None)]
        self.reviews: dict[str, list[ReviewEvent]] = {}
        self.reads = [
            Read(at(0, 1), "bakery", "daemon", private=True),
            Read(at(0, 1), "florist", "daemon", private=True),
        ]
        self.parts: dict[str, list[Any]] = {name: [] for name in History.__dataclass_fields__}

    def history(self) -> History:
        parts = {
            name: tuple(sorted(values, key=_when)) for name, values in self.parts.items() if values
        }
        events = sorted((event for own in self.reviews.values() for event in own), key=_when)
        reads = tuple(sorted(self.reads, key=_when))
        history = History(
            START, self.end, tuple(self.configs), tuple(self.daemon), tuple(events), reads
        )
        return history.with_(**parts)

    def rules(self) -> set[str]:
        return {violation.rule for violation in oracle.judge(self.history())}

    # ---- what happens at Wix

    def review(
        self, review_id: str, when: datetime, rating: int = 1, site: str = "bakery", **more: Any
    ) -> Scene:
        words = (f"word-{review_id}-0",)
        created = more.pop("created", when)
        state = Review(review_id, site, rating, created, 0, words=words, text=words[0], **more)
        self.reviews[review_id] = [ReviewEvent(when, "created", state)]
        return self

    def change(self, review_id: str, when: datetime, change: ReviewChange, **fields: Any) -> Scene:
        last = self.reviews[review_id][-1].after
        number = last.version + 1
        if change == "edited":
            fields |= {
                "words": (f"word-{review_id}-{number}",),
                "text": f"word-{review_id}-{number}",
            }
        after = replace(last, version=number, revision=last.revision + 1, **fields)
        self.reviews[review_id].append(ReviewEvent(when, change, after))
        return self

    def read(
        self, when: datetime, *shown: str, site: str = "bakery", by: str = "daemon", **more: Any
    ) -> Scene:
        versions = []
        for review_id in shown:
            states = [
                event.after.version for event in self.reviews[review_id] if event.time <= when
            ]
            versions.append((review_id, states[-1]))
        self.reads.append(Read(when, site, by, private=True, shown=tuple(versions), **more))
        return self

    def fault(self, kind: FaultKind, start: datetime, end: datetime, **scope: Any) -> Scene:
        return self.add("faults", Fault(kind, start, end, **scope))

    def add(self, part: str, *values: Any) -> Scene:
        self.parts[part] += values
        return self

    def reload(self, when: datetime, config: Config) -> Scene:
        self.configs.append(ConfigVersion(when, config, when))
        return self

    def with_config(self, config: Config) -> Scene:
        self.configs = [ConfigVersion(START, config, START, how="start")]
        return self

    def run(self, command: Command, when: datetime, **more: Any) -> Scene:
        run = Run(command, command, when, more.pop("end", when + timedelta(minutes=5)), 0, **more)
        return self.add("runs", run)

    # ---- what people receive

    def post(
        self, when: datetime, kind: AlertKind, *ids: str, channel: str = "C1", **more: Any
    ) -> Scene:
        items = self._items(kind, ids, more)
        text = more.pop("text", " ".join(self._words(when, one) for one in ids))
        ts = more.pop("ts", f"{when.timestamp():.6f}")
        return self.add(
            "slack", SlackCall(when, "post", channel, ts, items=items, text=text, **more)
        )

    def update(
        self, when: datetime, post_time: datetime, text: str = "updated", **more: Any
    ) -> Scene:
        verb = more.pop("verb", "update")
        return self.add(
            "slack", SlackCall(when, verb, "C1", f"{post_time.timestamp():.6f}", text=text, **more)
        )

    def mail(
        self, when: datetime, kind: AlertKind, *ids: str, to: str = "owner@bakery.test", **more: Any
    ) -> Scene:
        items = self._items(kind, ids, more)
        message_id = more.pop("message_id", f"<{when.timestamp()}@test>")
        text = more.pop("text", " ".join(self._words(when, one) for one in ids))
        return self.add("mails", Mail(when, message_id, (to,), items, text=text, **more))

    def notify(self, when: datetime, kind: AlertKind, *ids: str, **more: Any) -> Scene:
        """Send a mail to the owner and a post to the team."""
        return self.mail(when, kind, *ids, **dict(more)).post(when, kind, *ids, **dict(more))

    def _items(
        self, kind: AlertKind, ids: tuple[str, ...], more: dict[str, Any]
    ) -> tuple[Item, ...]:
        fields = {
            name: more.pop(name)
            for name in ("about", "before", "after", "reason", "says_older", "reviews")
            if name in more
        }
        return tuple(Item(kind, one, **fields) for one in ids) or (Item(kind, **fields),)

    def _words(self, when: datetime, review_id: str) -> str:
        return [event.after.text for event in self.reviews[review_id] if event.time <= when][-1]


def _when(value: Any) -> Any:
    return value.start if isinstance(value, (Fault, Run)) else value.time


def a_status(when: datetime, code: int = 0, **more: Any) -> Status:
    last = when - timedelta(minutes=3)
    opened = more.pop("open_reviews", 0)
    sites = (
        SiteStatus("bakery", last, trouble=False, open_reviews=opened),
        SiteStatus("florist", last, False, 0),
    )
    receivers = tuple(ReceiverStatus(one.name, 0, 0, 0) for one in CONFIG.receivers)
    return Status(when, code, more.pop("sites", sites), more.pop("receivers", receivers), **more)
