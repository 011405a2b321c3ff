"""What is kept of each state of a review that triage judged, for `alerter replay`. Pure."""

import json
from collections.abc import Collection, Iterable, Iterator

from alerter.config import Config
from alerter.models import Review, Status, StoredReview
from alerter.store.judgements import Judgement, SilentRead, Source
from alerter.store.known_sites import Coverage, SiteState
from alerter.watch.alerts import Changes
from alerter.watch.keywords import keywords_in
from alerter.watch.routing import keywords_of
from alerter.watch.topics import topics_of
from alerter.watch.triage import is_other_reply

_HIGHEST = 5


def judged_states(
    changes: Changes,
    known: StoredReview | None,
    record: StoredReview,
    keywords: Collection[str],
    *,
    is_covered: bool,
) -> Iterator[Judgement]:
    """Yield the state of a review, after the one on record where that was pruned."""
    site_id, now = changes.site.site_id, changes.now
    if known and known.pruned:
        yield Judgement(site_id, now, Source.RECORD, known, edited=True, replied=True)
    review, before = record.review, known.review if known else None
    yield Judgement(
        site_id,
        now,
        changes.source,
        record,
        covered=is_covered,
        silence=_silence(changes, review),
        edited=before is None or (review.title, review.body) != (before.title, before.body),
        replied=before is None or is_other_reply(before.reply, review.reply),
        hits=tuple(keywords_in(keywords, review.title, review.body)),
    )


def judged_past(changes: Changes, past: Iterable[Review]) -> Iterator[Judgement]:
    """Yield the state of each review that a backfill alerts."""
    for review in past:
        record = StoredReview(review, Status.OPEN, alerted_at=changes.now)
        yield Judgement(changes.site.site_id, changes.now, changes.source, record)


def site_state_of(judged: Judgement) -> SiteState:
    """Return how far the site of a judged state had been read then, as far as it matters."""
    return SiteState(
        coverage=Coverage(_HIGHEST, _HIGHEST) if judged.covered else Coverage(),
        restored=judged.silence is SilentRead.RESTORED,
    )


def _silence(changes: Changes, review: Review) -> SilentRead | None:
    if changes.before.may_be_known(review.created):
        return SilentRead.RESTORED
    return SilentRead.PAST if changes.silent else None


def scope_of_config(config: Config) -> str:
    """Return what a config reads and looks for, as JSON.

    Its thresholds, spans of reminders, keywords, and the mark of its lists of words.
    """
    return json.dumps(
        {
            "threshold": config.alerts.threshold,
            "thresholds": {site.site_id: site.threshold for site in config.sites if site.threshold},
            "topics_up_to": config.alerts.topics_up_to or 0,
            "after": [span.total_seconds() for span in config.reminders.after],
            "keywords": keywords_of(config.receivers),
            "topics": topics_of(config).mark,
        },
        ensure_ascii=False,
    )
