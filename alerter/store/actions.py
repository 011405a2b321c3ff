"""Actions of people in the database: an outbox of calls to Wix, and what holds reminders."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from alerter.actions import (
    Action,
    ActionKind,
    ActionStatus,
    NewAction,
    Outcome,
    Person,
    Response,
    Through,
    normalize_reply,
)
from alerter.models import from_ms, to_ms
from alerter.store.sql import json_field, json_values, moment_or_none, ms_or_none
from alerter.store.state import State


def put_action(state: State, new: NewAction, now: datetime) -> tuple[Action, bool]:
    """Record an action as pending; return it, and whether its key is new. Within a transaction."""
    action_id = state.value(
        "INSERT INTO actions (key, kind, site_id, review_id, person, person_id, through, at,"
        " revision, seen, seen_reply, reply, replaces, until, status, due_at, place)"
        " VALUES (:key, :kind, :site, :review, :person, :person_id, :through, :at, :revision,"
        " :seen, :seen_reply, :reply, :replaces, :until, 'pending', :at, :place)"
        " ON CONFLICT (key) DO NOTHING RETURNING id",
        {
            "key": new.key,
            "kind": new.kind,
            "site": new.site_id,
            "review": new.review_id,
            "person": new.person.name,
            "person_id": new.person.slack_id,
            "through": new.through,
            "at": to_ms(now),
            "revision": new.revision,
            "seen": new.seen,
            "seen_reply": new.seen_reply,
            "reply": new.reply,
            "replaces": new.replace,
            "until": ms_or_none(new.until),
            "place": json.dumps(dict(new.place)) if new.place else None,
        },
    )
    row = state.row("SELECT * FROM actions WHERE key = ?", [new.key])
    return _action(row or {}), action_id is not None


def get_action(state: State, action_id: int) -> Action | None:
    """Return an action; None where it is not on record any more."""
    row = state.row("SELECT * FROM actions WHERE id = ?", [action_id])
    return _action(row) if row else None


def get_action_by_key(state: State, key: str) -> Action | None:
    """Return the action of a press, a submission or a form; None where there is none."""
    row = state.row("SELECT * FROM actions WHERE key = ?", [key])
    return _action(row) if row else None


def get_actions(state: State, site_id: str, review_id: str) -> list[Action]:
    """Return the actions on a review, the oldest first."""
    rows = state.rows(
        "SELECT * FROM actions WHERE site_id = ? AND review_id = ? ORDER BY id",
        [site_id, review_id],
    )
    return [_action(row) for row in rows]


def due_actions(
    state: State, now: datetime, lease: timedelta, longest: timedelta, number: int
) -> list[Action]:
    """Return the unsettled actions that are due and whose lease, if they had one, is over.

    `longest`: one that is due later than this was recorded before our clock was set back.
    """
    rows = state.rows(
        f"SELECT * FROM actions WHERE {_TAKEABLE}"
        " AND (due_at <= :now OR due_at > :latest) ORDER BY id LIMIT :number",
        {
            "now": to_ms(now),
            "until": to_ms(now + lease),
            "latest": to_ms(now + longest),
            "number": number,
        },
    )
    return [_action(row) for row in rows]


def take_action(
    state: State, action_id: int, owner: str, now: datetime, lease: timedelta
) -> Action | None:
    """Take an action until the end of a lease; `owner` is the only one of its name.

    None where it is settled or being carried out, or another action on the same review is. Within
    a transaction.
    """
    row = state.row(
        "UPDATE actions SET status = 'sending', owner = :owner, lease_until = :until"
        f" WHERE id = :id AND {_TAKEABLE}"
        " AND NOT EXISTS (SELECT 1 FROM actions AS others WHERE others.id <> actions.id"
        "  AND others.site_id = actions.site_id AND others.review_id = actions.review_id"
        "  AND others.status = 'sending' AND others.lease_until > :now"
        "  AND others.lease_until <= :until) RETURNING *",
        {"id": action_id, "owner": owner, "now": to_ms(now), "until": to_ms(now + lease)},
    )
    return _action(row) if row else None


def renew_lease(state: State, action: Action, now: datetime, lease: timedelta) -> bool:
    """Renew the lease of an action, and record which calls have begun.

    Return False where another process has taken it since. Within a transaction.
    """
    return bool(
        state.execute(
            "UPDATE actions SET lease_until = :until, calls = :calls, looked = :looked"
            " WHERE id = :id AND owner = :owner AND status = 'sending'",
            {
                "id": action.id,
                "owner": action.owner,
                "calls": action.calls,
                "looked": action.looked,
                "until": to_ms(now + lease),
            },
        )
    )


def postpone_action(state: State, action: Action, due_at: datetime) -> None:
    """Give an action back, to be carried out later. Within a transaction."""
    state.execute(
        "UPDATE actions SET status = CASE WHEN calls > 0 THEN 'sending' ELSE 'pending' END,"
        " owner = '', lease_until = NULL, due_at = :due WHERE id = :id AND owner = :owner"
        " AND status = 'sending'",
        {"id": action.id, "owner": action.owner, "due": to_ms(due_at)},
    )


def settle_action(
    state: State, action: Action, outcome: Outcome, answer: str, now: datetime, *, good: bool
) -> Action:
    """Record the fate of an action, once, and return it. Within a transaction."""
    state.execute(
        "UPDATE actions SET status = :status, outcome = :outcome, answer = :answer,"
        " finished_at = :now, lease_until = NULL WHERE id = :id AND owner = :owner"
        " AND status IN ('pending', 'sending')",
        {
            "id": action.id,
            "owner": action.owner,
            "status": ActionStatus.DONE if good else ActionStatus.FAILED,
            "outcome": outcome,
            "answer": answer,
            "now": to_ms(now),
        },
    )
    return get_action(state, action.id) or action


def end_leases(state: State, owner: str) -> None:
    """Give back the actions of an owner whose process is gone."""
    state.execute(
        "UPDATE actions SET lease_until = NULL, owner = ''"
        " WHERE status = 'sending' AND owner LIKE ?",
        [f"{owner}:%"],
    )


def unreported_actions(state: State, number: int) -> list[Action]:
    """Return settled actions of people on Slack who have not been shown the result yet."""
    rows = state.rows(
        "SELECT * FROM actions WHERE place IS NOT NULL AND finished_at IS NOT NULL"
        " ORDER BY finished_at LIMIT ?",
        [number],
    )
    return [_action(row) for row in rows]


def mark_reported(state: State, action_id: int) -> None:
    """Record that the person has been shown the result, or cannot be."""
    state.execute("UPDATE actions SET place = NULL WHERE id = ?", [action_id])


def erase_replies(state: State, site_id: str, ids: Collection[str], now: datetime) -> None:
    """Erase the words of replies to deleted or anonymized reviews, within a transaction.

    What was not sent yet is not sent; what may have been sent is in doubt.
    """
    if state.execute(
        "UPDATE actions SET reply = '', answer = '', outcome = CASE"
        " WHEN finished_at IS NOT NULL THEN outcome WHEN calls > 0 THEN 'lost' ELSE 'gone' END,"
        " status = CASE WHEN finished_at IS NULL THEN 'failed' ELSE status END,"
        " finished_at = coalesce(finished_at, ?)"
        f" WHERE site_id = ? AND review_id IN {json_values()}"
        " AND (reply <> '' OR answer <> '')",
        [to_ms(now), site_id, json.dumps(list(ids))],
    ):
        state.owe_scrub()


def erase_words_without_review(state: State) -> None:
    """Erase the words of settled replies to reviews whose text is not kept; in a transaction.

    Such a review was never on record, is gone, or was pruned or anonymized before the reply. What
    a person is still to be shown stays.
    """
    if state.execute(
        "UPDATE actions SET reply = '', answer = '' WHERE (reply <> '' OR answer <> '')"
        f" AND finished_at IS NOT NULL AND place IS NULL AND NOT {WITH_TEXT}"
    ):
        state.owe_scrub()


def settle_restored(state: State, now: datetime) -> set[tuple[str, str]]:
    """Count the actions of a restored backup as carried out since then; in a transaction.

    Nothing of them is sent: a person may have answered since. No one is shown a result again.
    Holds of a review that is not open any more end. Return the site and id of each review of which
    this has changed something.
    """
    settled = state.rows(
        "UPDATE actions SET status = 'failed', outcome = :outcome, finished_at = :now,"
        " lease_until = NULL WHERE status IN ('pending', 'sending') RETURNING site_id, review_id",
        {"outcome": Outcome.RESTORED, "now": to_ms(now)},
    )
    state.execute("UPDATE actions SET place = NULL WHERE place IS NOT NULL")
    ended = state.rows(
        "UPDATE actions SET ended_at = until WHERE until IS NOT NULL AND ended_at IS NULL"
        " AND (until <= ? OR NOT EXISTS (SELECT 1 FROM reviews WHERE status = 'open'"
        "  AND reviews.site_id = actions.site_id AND reviews.review_id = actions.review_id))"
        " RETURNING site_id, review_id",
        [to_ms(now)],
    )
    return {(row["site_id"], row["review_id"]) for row in (*settled, *ended)}


def end_holds(
    state: State, site_id: str, ids: Collection[str], now: datetime, *kinds: ActionKind
) -> list[str]:
    """End the claims and snoozes of these reviews; return the names of those whose they were.

    `kinds`: these only. The name of one whose time is over already is left out. Within a
    transaction.
    """
    rows = state.rows(
        "UPDATE actions SET ended_at = :now WHERE site_id = :site"
        f" AND review_id IN {json_values(':ids')} AND kind IN {json_values(':kinds')}"
        " AND status = 'done' AND ended_at IS NULL AND until IS NOT NULL RETURNING person, until",
        {
            "site": site_id,
            "ids": json.dumps(list(ids)),
            "kinds": json.dumps(kinds or (ActionKind.CLAIM, ActionKind.SNOOZE)),
            "now": to_ms(now),
        },
    )
    return [row["person"] for row in rows if row["until"] > to_ms(now)]


def get_claimant(state: State, site_id: str, review_id: str, now: datetime) -> Person | None:
    """Return who is on a review at present; None if it is not claimed."""
    claims = [
        each
        for each in get_actions(state, site_id, review_id)
        if each.new.kind is ActionKind.CLAIM and _holds(each, now)
    ]
    return claims[-1].new.person if claims else None


def get_responses(
    state: State, reviews: Sequence[tuple[str, str]], now: datetime
) -> dict[tuple[str, str], Response]:
    """Return what people do about these reviews, by site id and review id."""
    rows = state.rows(
        "SELECT * FROM actions WHERE (site_id, review_id) IN"
        f" (SELECT {json_field('value', '$[0]')}, {json_field('value', '$[1]')}"
        f" FROM {json_values()} AS pairs) ORDER BY id",
        [json.dumps([list(pair) for pair in reviews])],
    )
    found: dict[tuple[str, str], list[Action]] = {}
    for row in rows:
        found.setdefault((row["site_id"], row["review_id"]), []).append(_action(row))
    return {pair: _response(actions, now) for pair, actions in found.items()}


def _response(actions: Sequence[Action], now: datetime) -> Response:
    holding = {each.new.kind: each for each in actions if _holds(each, now)}
    done = {each.new.kind: each for each in actions if _is_own(each)}
    claim, snooze = holding.get(ActionKind.CLAIM), holding.get(ActionKind.SNOOZE)
    reply = done.get(ActionKind.REPLY)
    moderations = [
        each
        for each in actions
        if _is_own(each) and each.new.kind in (ActionKind.PUBLISH, ActionKind.REJECT)
    ]
    moderated = moderations[-1] if moderations else None
    replying = [
        each for each in actions if each.new.kind is ActionKind.REPLY and not each.is_settled
    ]
    return Response(
        claimed_by=claim.new.person.name if claim else "",
        claimed_until=claim.new.until if claim else None,
        snoozed_by=snooze.new.person.name if snooze else "",
        snoozed_until=snooze.new.until if snooze else None,
        replying=replying[-1].new.person.name if replying else "",
        replied_by=reply.new.person.name if reply else "",
        replied_at=reply.finished_at if reply else None,
        reply=normalize_reply(reply.new.reply) if reply else "",
        moderated_by=moderated.new.person.name if moderated else "",
        moderation=moderated.new.kind if moderated else None,
    )


def _is_own(action: Action) -> bool:
    """Return whether an action changed something: Wix did not have it so already."""
    return action.status is ActionStatus.DONE and action.outcome is not Outcome.ALREADY


def _holds(action: Action, now: datetime) -> bool:
    until = action.new.until
    return (
        action.status is ActionStatus.DONE and not action.ended_at and bool(until and until > now)
    )


# Whether the review of an action is on record with its text.
WITH_TEXT = (
    "EXISTS (SELECT 1 FROM reviews WHERE reviews.site_id = actions.site_id"
    " AND reviews.review_id = actions.review_id AND pruned_at IS NULL AND NOT anonymized"
    " AND closing IS DISTINCT FROM 'gone')"
)
# A lease that ends later than a whole one was given before our clock was set back.
_TAKEABLE = (
    "status IN ('pending', 'sending')"
    " AND (lease_until IS NULL OR lease_until <= :now OR lease_until > :until)"
)


def _action(row: dict[str, Any]) -> Action:
    new = NewAction(
        key=row["key"],
        kind=ActionKind(row["kind"]),
        site_id=row["site_id"],
        review_id=row["review_id"],
        person=Person(row["person"], row["person_id"]),
        through=Through(row["through"]),
        revision=row["revision"],
        seen=row["seen"],
        seen_reply=row["seen_reply"],
        reply=row["reply"],
        replace=bool(row["replaces"]),
        until=moment_or_none(row["until"]),
        place=json.loads(row["place"]) if row["place"] else {},
    )
    return Action(
        id=row["id"],
        new=new,
        at=from_ms(row["at"]),
        status=ActionStatus(row["status"]),
        calls=row["calls"],
        looked=row["looked"],
        owner=row["owner"],
        lease_until=moment_or_none(row["lease_until"]),
        due_at=from_ms(row["due_at"]),
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        answer=row["answer"],
        finished_at=moment_or_none(row["finished_at"]),
        ended_at=moment_or_none(row["ended_at"]),
    )
