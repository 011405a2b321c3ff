"""What alerter was shown of each review, for sure or not, and what was past when it was shown."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

from tests.simulation.history import Review, Run
from tests.simulation.oracle.restored import is_kept, whole_rounds
from tests.simulation.oracle.values import DAY, INFLIGHT, MINUTE
from tests.simulation.oracle.world import World

IMPORT = timedelta(days=30)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
HOOK_TIMEOUT = timedelta(seconds=10)  # Wix waits no longer for the answer to a webhook


@dataclass(frozen=True, slots=True)
class Sighting:
    time: datetime
    version: int | None  # None: an answer that it is not there
    sure: bool
    run: Run | None = None  # a backfill that read it
    by_id: bool = False  # a read that moves no checkpoint: what was written before is not read yet


class Sightings:
    """Every sighting of every review, and the first read of every site."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._raised: dict[str, list[tuple[datetime, datetime, int]]] = {}

    # ------------------------------------------------------------ what was shown

    @cached_property
    def sightings(self) -> dict[str, list[Sighting]]:
        """Return everything that alerter was shown of each review, by time."""
        found: dict[str, list[Sighting]] = {}
        for review_id, sighting in (*self._of_reads(), *self._of_webhooks(), *self._of_actions()):
            found.setdefault(review_id, []).append(sighting)
        return {
            review_id: sorted(seen, key=lambda one: one.time) for review_id, seen in found.items()
        }

    def _of_reads(self) -> Iterator[tuple[str, Sighting]]:
        runs = {run.run_id: run for run in self.world.h.runs}
        for read in self.world.h.reads:
            run = runs.get(read.by)
            if run is not None and (run.dry_run or run.command == "check"):
                continue
            sure = read.arrived and not read.wrong and is_kept(self.world, read.time, read.site_id)
            backfill = run if run is not None and run.command == "backfill" else None
            if backfill is not None:
                sure = sure and backfill.end is not None and backfill.exit_code == 0
            elif run is not None and run.command != "run_once":
                sure = False
            for review_id, version in read.shown:
                yield review_id, Sighting(read.time, version, sure, backfill, read.by_id)
            # A lie closes nothing, nor does a read that may not see what is not published.
            for review_id in read.absent if read.private and not read.wrong else ():
                yield review_id, Sighting(read.time, None, sure)

    def _of_webhooks(self) -> Iterator[tuple[str, Sighting]]:
        """What a webhook says is true for sure once a read says so.

        A daemon that dies before it answers may have taken it too.
        """
        for webhook in self.world.h.webhooks:
            when = webhook.time
            if webhook.taken or self.world.kills_between(when - HOOK_TIMEOUT, when):
                version = None if webhook.event == "deleted" else webhook.version
                yield webhook.review_id, Sighting(webhook.time, version, sure=False)

    def _of_actions(self) -> Iterator[tuple[str, Sighting]]:
        """What a person did through alerter, alerter may know at once."""
        for run in self.world.h.runs:
            if run.command not in {"reply", "moderate"}:
                continue
            for event in self.world.h.reviews:
                named = event.after.review_id.startswith(run.review_id or "")
                if named and run.start <= event.time <= (run.end or run.start) + INFLIGHT:
                    yield (
                        event.after.review_id,
                        Sighting(event.time, event.after.version, sure=False),
                    )

    @cached_property
    def first_reads(self) -> dict[str, tuple[datetime, datetime, bool]]:
        """Return for each site when its first read began and ended, and whether all of it was for
        sure.
        """
        found: dict[str, tuple[datetime, datetime, bool]] = {}
        begun: dict[str, datetime] = {}
        doubt: set[str] = set()
        for read in self.world.h.reads:
            if read.by != "daemon" or read.site_id in found:
                continue
            begun.setdefault(read.site_id, read.time)
            sure = read.arrived and not read.wrong and is_kept(self.world, read.time, read.site_id)
            if not sure:
                doubt.add(read.site_id)
            elif read.last_page:
                found[read.site_id] = (begun[read.site_id], read.time, read.site_id not in doubt)
        return found

    # ------------------------------------------------------------ the past

    def in_baseline(self, state: Review, when: datetime) -> Literal["must", "may", "not"]:
        """Return whether a review that is seen at a time is seen by the first read of its site.

        After a restore what came since the backup may have been alerted: the next round takes it
        for the past.
        """
        first = self.first_reads.get(state.site_id)
        if first is None:
            return "may"
        begun, ended, sure = first
        if when > ended:
            return "may" if self.is_quiet_after_restore(state, when) else "not"
        return "must" if sure and state.created < begun else "may"

    def may_be_past(self, state: Review, when: datetime) -> bool:
        """Return whether an unknown review may be recorded as past, whatever becomes of it later:
        as the baseline, as an import, or as the difference of a raised threshold.
        """
        return (
            self.in_baseline(state, when) != "not"
            or is_import(state)
            or self._threshold_raised(state, when) is not None
        )

    def is_quiet_after_restore(self, state: Review, when: datetime) -> bool:
        """Return whether a restore came before a time, and no whole round of the site between.

        Nobody is notified of what that round shows, as people may know it; of a review written
        after it nobody can.
        """
        for run in self.world.h.runs:
            if (
                run.command != "restore"
                or run.move
                or run.start > when
                or state.created > (run.end or run.start)
            ):
                continue
            first = next(whole_rounds(self.world, state.site_id, run.start), None)
            if first is None or first > when - INFLIGHT:
                return True
        return False

    def speaks(self, state: Review, when: datetime) -> Literal["must", "may", "not"]:
        """Return whether an unknown low-rated open review is alerted (promises 3 and 4, coverage,
        imports).
        """
        if is_import(state):
            return "not"
        baseline = self.in_baseline(state, when)
        if baseline == "must":
            return "not"
        first = self.first_reads.get(state.site_id)
        if baseline == "may" or first is None:
            return "may"
        begun, _, sure = first
        if not all(
            config.site(state.site_id) for config in self.world.configs_between(state.created, when)
        ):
            return "may"  # nobody watched the site when it was written
        new_alerts = self._threshold_raised(state, when)
        if new_alerts is not None:
            return new_alerts
        if self.is_resting(state, when):
            return "may"
        if state.created >= begun:
            return "must"
        if not sure or self.world.is_forgotten(begun):
            return "may"
        then = self.world.review_at(state.review_id, begun)
        hidden = then is not None and (
            (then.visible_from is not None and then.visible_from > begun)
            or then.is_private
            or is_settled(then)
        )
        changed = then is None or then.rating != state.rating or hidden
        window = min(config.rescan_window for config in self.world.configs_between(begun, when))
        return "must" if changed and state.created >= begun - window + DAY else "may"

    def _threshold_raised(self, state: Review, when: datetime) -> Literal["may", "not"] | None:
        """Return what a raised threshold makes of a review that was above it, or None where it does
        not matter.
        """
        previous: int | None = None
        found: Literal["may", "not"] | None = None
        for time, config in self.world.in_force:
            site = config.site(state.site_id)
            if site is None or time > when:
                continue
            if (
                previous is not None
                and previous < state.rating <= site.threshold
                and state.created < self._covered_at(state.site_id, time) + INFLIGHT
            ):
                then = self.world.review_at(state.review_id, time)
                same = (
                    then is not None and then.rating == state.rating and state.created < time - DAY
                )
                found = "not" if same and not _is_hidden(then, time) else "may"
            previous = site.threshold
        return found

    def _covered_at(self, site_id: str, start: datetime) -> datetime:
        """Return when a site was read first with a threshold: the difference is silent until then."""
        times = (
            read.time
            for read in self.world.h.reads
            if read.by == "daemon" and read.site_id == site_id and read.time >= start
            if read.arrived and not read.wrong and is_kept(self.world, read.time, site_id)
        )
        return next(times, self.world.h.end)

    def is_resting(self, state: Review, when: datetime) -> bool:
        configs = self.world.configs_between(state.created, when)
        return any(when > state.created + config.rescan_window - DAY for config in configs)

    def is_older(self, state: Review, when: datetime) -> bool | None:
        """Return whether an alert has to say that its review is older; None where it is a matter of
        taste.
        """
        times, newest, covered = self._checkpoints.get(state.site_id, ([], [], []))
        index = bisect_left(times, when)
        if index and state.created < covered[index - 1] - DAY:
            return True
        return False if not index or state.created >= newest[index - 1] - 5 * MINUTE else None

    @cached_property
    def _checkpoints(self) -> dict[str, tuple[list[datetime], list[datetime], list[datetime]]]:
        """Return for each site the times of sightings, and the newest createdDate that was seen by
        then: of all reviews, and of those that surely move the checkpoint.
        """
        found: dict[str, tuple[list[datetime], list[datetime], list[datetime]]] = {}
        everything = [
            (one, review_id)
            for review_id, seen in self.sightings.items()
            for one in seen
            if one.sure
        ]
        for one, review_id in sorted(everything, key=lambda pair: pair[0].time):
            event = (
                None if one.version is None else self.world.versions.get((review_id, one.version))
            )
            if event is None:
                continue
            times, newest, covered = found.setdefault(event.after.site_id, ([], [], []))
            created = event.after.created
            times.append(one.time)
            newest.append(max([created, *newest[-1:]]))
            if one.by_id or self._is_difference(event.after, one.time):
                created = _LONG_AGO
            covered.append(max([created, *covered[-1:]]))
        return found

    def _is_difference(self, state: Review, when: datetime) -> bool:
        """Return whether a review is read as the difference of a raised threshold: that is no read
        of all ratings, and moves no checkpoint.
        """
        return any(
            start <= when <= end and state.rating > before
            for start, end, before in self._differences(state.site_id)
        )

    def _differences(self, site_id: str) -> list[tuple[datetime, datetime, int]]:
        """Return from when until when the difference of each raised threshold of a site is read,
        and the threshold before.
        """
        if site_id not in self._raised:
            found, previous = [], None
            for time, config in self.world.in_force:
                if (site := config.site(site_id)) is None:
                    continue
                if previous is not None and previous < site.threshold:
                    found.append((time, self._covered_at(site_id, time) + INFLIGHT, previous))
                previous = site.threshold
            self._raised[site_id] = found
        return self._raised[site_id]


def _is_hidden(state: Review | None, when: datetime) -> bool:
    return (
        state is None
        or state.is_private
        or (state.visible_from is not None and state.visible_from > when)
    )


def is_stale(state: Review, newest: Review) -> bool:
    return (
        state.updated is not None and newest.updated is not None and state.updated < newest.updated
    )


def is_settled(state: Review) -> bool:
    return state.reply is not None or state.moderation == "REJECTED"


def is_import(state: Review) -> bool:
    return state.review_date is not None and state.review_date < state.created - IMPORT
