"""The recorded past of a config's sites, as `alerter replay` repeats it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from alerter.config import Config
from alerter.models import Reply, Review
from alerter.store import State, known_sites, reviews
from alerter.store.configs import all_configs
from alerter.store.judgements import Judgement, judgements_of, unread_spans
from alerter.store.recorded import (
    RecordedAlert,
    RecordedHold,
    recorded_alerts,
    recorded_holds,
)
from alerter.watch.routing import keywords_of
from alerter.watch.topics import topics_of

# A review, by the id of its site and its own.
ReviewKey = tuple[str, str]
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class RecordedPast:
    """What is on record of the sites of a config, and of those that left it.

    `names`: those of the sites, by their ids. `states`: those of each review in their order, with
    what is known of their words. `unknown`: the reviews with a state whose words are not on record,
    though the config looks for keywords or topics that were not looked for then. `unread`: when
    each site was not read, by its id. `reminded_after`: from when on which spans of reminders were
    in force.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    states: dict[ReviewKey, list[Judgement]] = field(default_factory=dict)
    alerts: list[RecordedAlert] = field(default_factory=list)
    holds: list[RecordedHold] = field(default_factory=list)
    unread: Mapping[str, Sequence[tuple[datetime, datetime]]] = field(default_factory=dict)
    reminded_after: Sequence[tuple[datetime, frozenset[timedelta]]] = ()
    unknown: set[ReviewKey] = field(default_factory=set)


def read_past(state: State, config: Config) -> RecordedPast:
    """Read what is on record of the sites of a config, and of those that left it."""
    names = known_sites.site_names(state) | config.site_names
    ids = list(names)
    past = RecordedPast(
        names,
        alerts=recorded_alerts(state, ids),
        holds=recorded_holds(state, ids),
        unread=unread_spans(state, ids),
        reminded_after=list(_reminded_after(state)),
    )
    for judged in judgements_of(state, ids):
        past.states.setdefault((judged.site_id, judged.record.review.id), []).append(judged)
    needed = _words_needed(config)
    looked_for = _words_looked_for(state) if needed else {}
    words = _words(state, past.states) if needed else {}
    for key, states in past.states.items():
        past.states[key] = _with_words(states, words.get(key))
        if any(needed - looked_for.get(each.config, set()) for each in _wordless(states, words)):
            past.unknown.add(key)
    return past


def _reminded_after(state: State) -> Iterator[tuple[datetime, frozenset[timedelta]]]:
    for each in all_configs(state):
        if each.scope and "after" in (scope := json.loads(each.scope)):
            yield each.added_at, frozenset(timedelta(seconds=span) for span in scope["after"])


def _words_needed(config: Config) -> set[str]:
    """Return what a config looks for in words: keywords, and the mark of its lists for topics."""
    needed = {f"keyword {each}" for each in keywords_of(config.receivers)}
    if config.alerts.topics_up_to or any(each.topics for each in config.receivers):
        needed.add(f"topics {topics_of(config).mark}")
    return needed


def _words_looked_for(state: State) -> dict[int | None, set[str]]:
    """Return what each config looked for in words, by its number."""
    found: dict[int | None, set[str]] = {}
    for each in all_configs(state):
        scope = json.loads(each.scope) if each.scope else {"keywords": []}
        found[each.number] = {f"keyword {word}" for word in scope["keywords"]}
        found[each.number].add(f"topics {scope.get('topics')}")
    return found


def _words(state: State, keys: Iterable[ReviewKey]) -> dict[ReviewKey, Review]:
    """Return these reviews with the words that they have now, where they are on record."""
    by_site: dict[str, list[str]] = {}
    for site_id, review_id in keys:
        by_site.setdefault(site_id, []).append(review_id)
    found: dict[ReviewKey, Review] = {}
    for site_id, ids in by_site.items():
        for start in range(0, len(ids), _AT_ONCE):
            known = reviews.get_reviews(state, site_id, ids[start : start + _AT_ONCE])
            found |= {
                (site_id, each.review.id): each.review
                for each in known.values()
                if not (each.pruned or each.redacted)
            }
    return found


def _last_edit(states: Sequence[Judgement]) -> int:
    """Return the first of the states that have the words of the last one."""
    return max((number for number, each in enumerate(states) if each.edited), default=0)


def _wordless(
    states: Sequence[Judgement], words: Mapping[ReviewKey, Review]
) -> Sequence[Judgement]:
    """Return the states whose words are not on record any more, though they had words."""
    key = states[0].site_id, states[0].record.review.id
    found = states[: _last_edit(states)] if key in words else states
    return [each for each in found if not each.record.redacted]


def _with_words(states: Sequence[Judgement], now: Review | None) -> list[Judgement]:
    """Return states with the words that they had; else with the keywords that were found in them.

    A reply has a number for its text: only whether it is another matters.
    """
    last, replies = _last_edit(states), 0
    found = []
    for number, each in enumerate(states):
        replies += each.replied
        review = each.record.review
        reply = Reply(str(replies)) if review.answered else None
        words = now if number >= last else None
        again = replace(
            review,
            reply=reply,
            title=words.title if words else "",
            body=words.body if words else "\n".join(each.hits),
        )
        record = replace(each.record, review=again)
        found.append(replace(each, record=record, has_words=words is not None))
    return found
