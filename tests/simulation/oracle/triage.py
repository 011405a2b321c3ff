"""DESIGN.md, "Triage (per review)", as an automaton that follows every way the design leaves open.

What alerter was shown of a review (`Read`, `Webhook`) is its input. What was shown for sure moves
every path
on; what may not have arrived, or may rightly be ignored, splits a path in two. A path is one
story that the design allows: the transitions that it holds decide what people are to receive.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal, NamedTuple

from tests.simulation.history import Reason, Review
from tests.simulation.oracle.sightings import Sighting, Sightings, is_import, is_settled, is_stale
from tests.simulation.oracle.world import World

MOST_PATHS = 400

Change = Literal["opened", "lowered", "edited", "closed", "reopened"]


class Transition(NamedTuple):
    """What alerter learned of a review at a time, and what it means."""

    time: datetime
    change: Change
    state: int  # version
    before: int | None = None  # rating
    after: int | None = None
    reasons: frozenset[Reason] = frozenset()
    older: bool | None = None  # opened: it has to say so; None: it may
    backfill: str | None = None  # the run that speaks of it
    or_lowered: bool = (
        False  # its rating was known when it was high: `lowered` would be right as well
    )


class Known(NamedTuple):
    """What alerter holds of a review."""

    status: Literal["unknown", "high", "open", "closed", "baseline"]
    version: int = -1
    rating: int = 0
    reply: str | None = None
    rejected: bool = False
    reason: Reason | None = None


class Path(NamedTuple):
    known: Known
    transitions: tuple[Transition, ...] = ()


class Key(NamedTuple):
    """What makes a sighting say the same as one before."""

    version: int | None
    sure: bool
    run: str | None
    time: datetime | None
    threshold: int | None


UNKNOWN = Known("unknown")


class Triage:
    """The paths of every review."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen = Sightings(world)

    @cached_property
    def paths(self) -> dict[str, list[Path]]:
        """Return for each review the paths that the design allows."""
        return {review_id: paths for review_id, (paths, _) in self._walks.items()}

    def known_at(self, review_id: str, when: datetime) -> set[str]:
        """Return the states that a review may have here at a time."""
        found, seen = {"unknown"}, None
        for time, statuses in self._walks[review_id][1] if review_id in self._walks else ():
            if time > when:
                break
            found, seen = statuses, time
        state = self.world.review_at(review_id, seen) if seen else None
        if (
            seen
            and state
            and "open" in found
            and self.fell_below(state.site_id, state.rating, seen, when)
        ):
            return found | {"closed"}
        return found

    def fell_below(
        self, site_id: str, rating: int, start: datetime, end: datetime
    ) -> datetime | None:
        """Return when a threshold came into force that is below a rating: what is open is closed
        without a read.
        """
        for when, config in self.world.in_force:
            site = config.site(site_id)
            if start < when <= end and site is not None and site.threshold < rating:
                return when
        return None

    # ------------------------------------------------------------ paths

    @cached_property
    def _walks(self) -> dict[str, tuple[list[Path], list[tuple[datetime, set[str]]]]]:
        return {review_id: self._walk(review_id) for review_id in self.world.events}

    def _walk(self, review_id: str) -> tuple[list[Path], list[tuple[datetime, set[str]]]]:
        """Follow one review; return its paths, and since when it may have been in which states."""
        paths = [Path(UNKNOWN)]
        statuses: list[tuple[datetime, set[str]]] = []
        done: set[Key] = set()
        latest = -1
        walked: list[tuple[datetime, list[Path]]] = [(datetime.min.replace(tzinfo=UTC), paths)]
        for sighting in self.seen.sightings.get(review_id, []):
            restored = self._restored(walked, sighting.time)
            if restored:
                paths, done = list(dict.fromkeys(paths + restored))[:MOST_PATHS], set()
            key = self._key(review_id, sighting)
            if key in done:
                continue
            if sighting.version is not None and sighting.version < latest:
                # Where it is taken for news, what is newer is news once more.
                done = {each for each in done if (each.version or 0) <= sighting.version}
            done = {key} if sighting.sure and sighting.version is not None else done | {key}
            following: dict[Path, None] = {}
            for path in paths:
                for outcome in self._step(path, review_id, sighting, latest):
                    following[outcome] = None
            paths = list(following)[:MOST_PATHS]
            walked.append((sighting.time, paths))
            closed = [self._closed_unread(review_id, path, sighting.time) for path in paths]
            known = {path.known.status for path in paths + [each for each in closed if each]}
            statuses.append((sighting.time, known))
            latest = max(latest, -1 if sighting.version is None else sighting.version)
        end = self.world.h.end
        return paths + [
            closed for path in paths if (closed := self._closed_unread(review_id, path, end))
        ], statuses

    def _restored(self, walked: list[tuple[datetime, list[Path]]], when: datetime) -> list[Path]:
        """Return what restores since the last sighting make of the paths.

        People received what came of all transitions; alerter knows what it knew at the backup.
        """
        last, paths = walked[-1]
        found: dict[Path, None] = {}
        for run in self.world.h.runs:
            if run.command != "restore" or run.move or not last < run.start <= when:
                continue
            backup = run.backup_taken or run.start
            then = next(there for time, there in reversed(walked) if time <= backup)
            for path in paths:
                for old in then:
                    seen = len(old.transitions)
                    if seen < len(path.transitions) and path.transitions[:seen] == old.transitions:
                        found[Path(old.known, path.transitions)] = None
        return list(found)

    def _closed_unread(self, review_id: str, path: Path, end: datetime) -> Path | None:
        """Return what a threshold that was lowered since its last transition makes of a path."""
        state = self.world.version(review_id, path.known.version)
        if state is None or path.known.status != "open":
            return None
        when = self.fell_below(state.site_id, path.known.rating, path.transitions[-1].time, end)
        return _close(path, state, when, {"threshold"}) if when else None

    def _key(self, review_id: str, sighting: Sighting) -> Key:
        """Return what makes a sighting say the same as one before."""
        config = self.world.config_at(sighting.time)
        site = config.site(self.world.site_of(review_id) or "") if config else None
        run = sighting.run.run_id if sighting.run else None
        when = sighting.time if sighting.version is None else None  # a second look counts
        threshold = site.threshold if site else None
        return Key(sighting.version, sighting.sure, run, when, threshold)

    def _step(self, path: Path, review_id: str, sighting: Sighting, latest: int) -> Iterator[Path]:
        known, sure = path.known, sighting.sure
        if sighting.version is None:
            yield from self._gone(path, review_id, sighting)
            return
        state = self.world.version(review_id, sighting.version)
        if state is None:
            yield path
            return
        if (
            sighting.version < known.version
        ):  # a stale page: ignored; by what Wix says of it, if it says so
            newest = self.world.version(review_id, known.version)
            if newest is None or state.revision < newest.revision or is_stale(state, newest):
                yield path
                return
            sure = False
        if sighting.version < latest:
            sure = False
        if not sure:
            yield path
        if self.seen.is_quiet_after_restore(state, sighting.time):
            yield from (_quietly(path, outcome) for outcome in self._moves(path, state, sighting))
        for outcome in self._moves(path, state, sighting):
            if outcome.known != known or outcome.transitions != path.transitions or sure:
                yield outcome

    def _gone(self, path: Path, review_id: str, sighting: Sighting) -> Iterator[Path]:
        """A review is gone only when a read that may see private reviews says so; a second look may
        be taken first.
        """
        last = self.world.events[review_id][-1]
        is_true = last.after.deleted and last.time <= sighting.time
        deleted_at = last.time
        looks = [
            one
            for one in self.seen.sightings[review_id]
            if one.version is None and one.sure and deleted_at <= one.time < sighting.time
        ]
        certain = (
            sighting.sure
            and is_true
            and bool(looks)
            and looks[0].time < sighting.time - timedelta(hours=1)
        )
        if not certain or path.known.status in {"unknown", "high", "baseline"}:
            yield path
        if path.known.status == "open" and is_true:
            reasons: frozenset[Reason] = frozenset({"gone"})
            transition = Transition(
                sighting.time, "closed", path.known.version, path.known.rating, None, reasons
            )
            yield Path(
                path.known._replace(status="closed", reason="gone"), (*path.transitions, transition)
            )
        elif path.known.status == "closed" and certain:
            yield path

    # ------------------------------------------------------------ the table

    def _moves(self, path: Path, state: Review, sighting: Sighting) -> Iterator[Path]:
        """Yield what the table makes of a state that was seen."""
        known = path.known
        thresholds = self._thresholds(state.site_id, sighting.time)
        for threshold in thresholds or {0}:
            if known.status in {"unknown", "high"}:
                yield from self._first(path, state, sighting, threshold)
            elif known.status == "open":
                yield from self._open(path, state, sighting, threshold)
                since = path.transitions[-1].time
                if when := self.fell_below(state.site_id, known.rating, since, sighting.time):
                    before = self.world.version(state.review_id, known.version) or state
                    yield from self._closed(
                        _close(path, before, when, {"threshold"}), state, sighting, threshold
                    )
            elif known.status == "closed":
                yield from self._closed(path, state, sighting, threshold)
            else:
                yield from self._baseline(path, state, sighting, threshold)

    def _thresholds(self, site_id: str, when: datetime) -> set[int]:
        sites = [config.site(site_id) for config in self.world.configs_near(when)]
        return {site.threshold for site in sites if site is not None}

    def _first(
        self, path: Path, state: Review, sighting: Sighting, threshold: int
    ) -> Iterator[Path]:
        """`nothing`: the first three rows, baseline, import and coverage."""
        silent = Path(_know("closed" if is_settled(state) else "baseline", state), path.transitions)
        if state.rating > threshold:
            baseline = sighting.run is None and self.seen.in_baseline(state, sighting.time) != "not"
            yield Path(_know("high", state), path.transitions)
            if baseline:  # recorded as part of the baseline, if alerter reads high ratings at all
                yield Path(_know("baseline", state), path.transitions)
            return
        # A backfill reads like any read: what is new and not past is alerted as such.
        verdict = self.seen.speaks(state, sighting.time)
        if verdict != "not" and not is_settled(state):
            high = path.known.status == "high"
            older = None if high else self.seen.is_older(state, sighting.time)
            change = Transition(
                sighting.time,
                "opened",
                state.version,
                None,
                state.rating,
                older=older,
                or_lowered=high,
            )
            yield Path(_know("open", state), (*path.transitions, change))
        if sighting.run is not None and sighting.run.deliver != "none":
            yield from self._backfilled(path, state, sighting, silent)
        elif is_settled(state):
            yield silent
            if self.seen.may_be_past(state, sighting.time):
                yield Path(_know("baseline", state), path.transitions)
        elif verdict != "must":
            yield Path(_know("baseline", state), path.transitions)

    def _backfilled(
        self, path: Path, state: Review, sighting: Sighting, silent: Path
    ) -> Iterator[Path]:
        run = sighting.run
        assert run is not None
        inside = (run.since is None or run.since <= state.created) and (
            run.until is None or state.created < run.until
        )
        if is_settled(state) or run.deliver == "none" or not inside:
            yield silent
            return
        change = Transition(
            sighting.time, "opened", state.version, None, state.rating, older=None, backfill=run.run_id
        )  # fmt: skip
        yield Path(_know("open", state), (*path.transitions, change))

    def _open(
        self, path: Path, state: Review, sighting: Sighting, threshold: int
    ) -> Iterator[Path]:
        known = path.known
        reasons: set[Reason] = set()
        if state.moderation == "REJECTED" and not known.rejected:
            reasons.add("rejected")
        if state.reply is not None and state.reply != known.reply:
            reasons.add("answered")
        if state.rating > threshold:
            reasons.add("raised" if state.rating > known.rating else "threshold")
        lowered = state.rating < known.rating and state.rating <= threshold
        if reasons:
            yield _close(path, state, sighting.time, reasons)
            if self.seen.is_resting(state, sighting.time):
                yield path
        if lowered and (
            not reasons or reasons == {"answered"}
        ):  # edited for the worse after the answer, or before
            yield _move(path, state, sighting.time, "lowered", known)
        if not reasons and not lowered:
            before = self.world.version(state.review_id, known.version)
            if before is not None and before.words != state.words:
                yield _move(path, state, sighting.time, "edited", known)
            else:
                yield Path(_know("open", state), path.transitions)

    def _closed(
        self, path: Path, state: Review, sighting: Sighting, threshold: int
    ) -> Iterator[Path]:
        known = path.known
        stays = Path(_know("closed", state, known.reason), path.transitions)
        low = state.rating <= threshold
        if not low or state.moderation == "REJECTED":
            yield stays
            return
        lowered = state.rating < known.rating
        removed = known.reply is not None and state.reply is None
        again = known.rejected and state.reply is None  # approved again
        if lowered:
            yield _move(path, state, sighting.time, "lowered", known)
            if state.reply is not None and state.reply != known.reply:
                yield stays  # answered once more
            return
        if removed or again:
            yield _move(path, state, sighting.time, "reopened", known)
        elif known.reason in {"threshold", "gone", "raised"} and state.reply is None:
            yield stays
            yield _move(path, state, sighting.time, "reopened", known)
        else:
            yield stays

    def _baseline(
        self, path: Path, state: Review, sighting: Sighting, threshold: int
    ) -> Iterator[Path]:
        known = path.known
        if sighting.run is not None and state.rating <= threshold:
            yield from self._backfilled(
                path, state, sighting, Path(_know("baseline", state), path.transitions)
            )
            if state.rating < known.rating:  # it reads like any read, too
                yield _move(path, state, sighting.time, "lowered", known)
            return
        stays = Path(_know("baseline", state), path.transitions)
        if not (state.rating < known.rating and state.rating <= threshold):
            yield stays
            return
        yield _move(path, state, sighting.time, "lowered", known)
        if is_settled(state) or is_import(state) or self.seen.is_resting(state, sighting.time):
            yield stays


def _know(
    status: Literal["high", "open", "closed", "baseline"],
    state: Review,
    reason: Reason | None = None,
) -> Known:
    return Known(
        status, state.version, state.rating, state.reply, state.moderation == "REJECTED", reason
    )


def _move(path: Path, state: Review, when: datetime, change: Change, known: Known) -> Path:
    transition = Transition(when, change, state.version, known.rating, state.rating)
    return Path(_know("open", state), (*path.transitions, transition))


def _quietly(path: Path, outcome: Path) -> Path:
    """Return what a site's first round after a restore makes of a move: nobody is notified of it."""
    later = outcome.transitions[len(path.transitions) :]
    silent: frozenset[Reason] = frozenset({"threshold"})
    closings = tuple(each._replace(reasons=silent) for each in later if each.change == "closed")
    known = outcome.known
    if known.status == "open" and path.known.status != "open":
        known = known._replace(status="closed" if path.known.status == "closed" else "baseline")
    return Path(known, (*path.transitions, *closings))


def _close(path: Path, state: Review, when: datetime, reasons: set[Reason]) -> Path:
    known = path.known
    transition = Transition(
        when, "closed", state.version, known.rating, state.rating, frozenset(reasons)
    )
    reason = "threshold" if reasons == {"threshold"} else next(iter(sorted(reasons)))
    return Path(_know("closed", state, reason), (*path.transitions, transition))
