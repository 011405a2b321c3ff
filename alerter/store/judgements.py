"""The states of reviews that triage judged, without words, and when sites were not read."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from alerter.models import CloseReason, Reply, Review, Status, StoredReview, from_ms, to_ms
from alerter.store.sql import json_or_none, json_values, moment_or_none, ms_or_none
from alerter.store.state import State


class Source(StrEnum):
    """What made triage judge a state of a review.

    `past`: a backfill alerted it. `action`: it was read for what a person does about it. `record`:
    it was on record before its states were kept.
    """

    POLL = "poll"
    RESCAN = "rescan"
    WEBHOOK = "webhook"
    BACKFILL = "backfill"
    PAST = "past"
    ACTION = "action"
    RECORD = "record"


class SilentRead(StrEnum):
    """Why a read raised no alerts: of the `past` only open reviews do, `restored` ones never."""

    PAST = "past"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A state of a review that triage judged, with what was recorded of it.

    `covered`: whether reviews of its rating were read before. `edited`, `replied`: whether its
    text or its reply is another than in the state before. `hits`: the keywords of the config in
    its text. `config`: the number of the newest config then; it is only read. Read, the `record`
    has no words, and its reply is just some text. `has_words`: its words were found elsewhere.
    """

    site_id: str
    judged_at: datetime
    source: Source
    record: StoredReview
    covered: bool = True
    silence: SilentRead | None = None
    edited: bool = False
    replied: bool = False
    hits: tuple[str, ...] = ()
    config: int | None = None
    has_words: bool = False


def put_judgements(state: State, judged: Sequence[Judgement]) -> None:
    """Write judged states, each after the earlier ones of its review; within a transaction."""
    state.execute_many(_PUT, [_row(each) for each in judged])


def judgements_of(state: State, site_ids: Collection[str]) -> Iterator[Judgement]:
    """Yield all judged states of these sites, those of a review in their order."""
    for site_id in site_ids:
        for row in state.rows(
            "SELECT * FROM judgements WHERE site_id = ? ORDER BY review_id, number", [site_id]
        ):
            yield _judgement(row)


def put_unread_span(state: State, site_id: str, since: datetime, until: datetime) -> None:
    """Record that a site was not read in a span; not within a transaction."""
    state.write_relaxed(
        "INSERT INTO unread_spans (site_id, since, until) VALUES (?, ?, ?)"
        " ON CONFLICT (site_id, since) DO NOTHING",
        [site_id, to_ms(since), to_ms(until)],
    )


def unread_spans(
    state: State, site_ids: Collection[str]
) -> dict[str, list[tuple[datetime, datetime]]]:
    """Return when each of these sites was not read, oldest first."""
    found: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in state.rows(
        f"SELECT * FROM unread_spans WHERE site_id IN {json_values()} ORDER BY since",
        [json.dumps(list(site_ids))],
    ):
        span = from_ms(row["since"]), from_ms(row["until"])
        found.setdefault(row["site_id"], []).append(span)
    return found


def _row(judged: Judgement) -> dict[str, Any]:
    record, review = judged.record, judged.record.review
    return {
        "site": judged.site_id,
        "review": review.id,
        "at": to_ms(judged.judged_at),
        "source": judged.source,
        "status": record.status,
        "closing": record.closing,
        "alerted": ms_or_none(record.alerted_at),
        "anonymized": record.anonymized,
        "rating": review.rating,
        "revision": review.revision,
        "created": ms_or_none(review.created),
        "written": ms_or_none(review.written),
        "answered": review.answered,
        "moderation": review.moderation,
        "entity": review.entity_id,
        "covered": judged.covered,
        "silence": judged.silence,
        "edited": judged.edited,
        "replied": judged.replied,
        "hits": json_or_none(judged.hits),
        "topics": json_or_none(review.topics),
    }


def _judgement(row: dict[str, Any]) -> Judgement:
    review = Review(
        id=row["review_id"],
        rating=row["rating"],
        created=moment_or_none(row["created_at"]),
        written=moment_or_none(row["written_at"]),
        entity_id=row["entity_id"],
        reply=Reply("") if row["answered"] else None,
        moderation=row["moderation"],
        revision=row["revision"],
        topics=tuple(json.loads(row["topics"] or "[]")),
    )
    record = StoredReview(
        review,
        Status(row["status"]),
        moment_or_none(row["alerted_at"]),
        CloseReason(row["closing"]) if row["closing"] else None,
        anonymized=bool(row["anonymized"]),
    )
    return Judgement(
        row["site_id"],
        from_ms(row["judged_at"]),
        Source(row["source"]),
        record,
        covered=bool(row["covered"]),
        silence=SilentRead(row["silence"]) if row["silence"] else None,
        edited=bool(row["edited"]),
        replied=bool(row["replied"]),
        hits=tuple(json.loads(row["hits"] or "[]")),
        config=row["config"],
    )


_PUT = """
INSERT INTO judgements (site_id, review_id, number, judged_at, source, config, status, closing,
  alerted_at, anonymized, rating, revision, created_at, written_at, answered, moderation,
  entity_id, covered, silence, edited, replied, hits, topics)
VALUES (:site, :review, (SELECT coalesce(max(number), 0) + 1 FROM judgements
    WHERE site_id = :site AND review_id = :review),
  :at, :source, (SELECT max(id) FROM configs), :status, :closing, :alerted, :anonymized, :rating,
  :revision, :created, :written, :answered, :moderation, :entity, :covered, :silence, :edited,
  :replied, :hits, :topics)
"""
