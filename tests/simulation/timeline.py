"""What happened in a simulated run, a line each, for people."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from tests.simulation.history import History, Item

Line = tuple[datetime, str]


def timeline(history: History) -> list[str]:
    """What happened, by time."""
    lines = [*_of_messages(history), *_of_wix(history), *_of_daemon(history), *_of_samples(history)]
    return [
        f"{at:%a %d %b %H:%M:%S}  {said}" for at, said in sorted(lines, key=lambda line: line[0])
    ]


def _items(found: Iterable[Item]) -> str:
    return ", ".join(
        " ".join(
            str(each) for each in (item.kind, item.review_id or item.about, item.reason) if each
        )
        + (f" {item.before or ''}→{item.after}" if item.after else "")
        for item in found
    )


def _of_messages(history: History) -> Iterator[Line]:
    for mail in history.mails:
        lost = "" if mail.answered else " (no answer)"
        yield (
            mail.time,
            f"mail {', '.join(mail.taken_for)}: {_items(mail.items)}{lost} {mail.message_id[:6]}",
        )
    for call in history.slack:
        lost = "" if call.answered else " (no answer)"
        yield call.time, f"slack {call.verb} {call.channel} {call.ts}: {_items(call.items)}{lost}"
    for post in history.posted:
        lost = "" if post.answered else " (no answer)"
        again = " (may be a repeat)" if post.says_repeat else ""
        said = _items(post.items)
        yield post.time, f"{post.medium} {post.verb} {post.address} {post.ts}: {said}{lost}{again}"
    for attempt in history.attempts:
        what = f"{attempt.service} {attempt.target} {attempt.method or ''}"
        yield attempt.time, f"refused {what} {attempt.outcome}: {_items(attempt.items)}"


def _of_wix(history: History) -> Iterator[Line]:
    for event in history.reviews:
        after = event.after
        yield (
            event.time,
            f"review {event.change} {after.review_id}: {after.rating} stars, version {after.version}",
        )
    for hook in history.webhooks:
        taken = "taken" if hook.taken else "not taken"
        yield hook.time, f"webhook {hook.event} {hook.review_id}, version {hook.version}, {taken}"
    for read in history.reads:
        if read.shown or read.absent or not read.arrived:
            absent = f" absent {read.absent}" if read.absent else ""
            how = f"{'' if read.arrived else ' (did not arrive)'}{' (wrong)' if read.wrong else ''}"
            yield read.time, f"read by {read.by} of {read.site_id[:4]}: {read.shown}{absent}{how}"


def _of_daemon(history: History) -> Iterator[Line]:
    for version in history.configs:
        yield (
            version.time,
            f"config by {version.how}, in force {version.in_force}: {version.config}",
        )
    for span in history.daemon:
        yield span.start, "daemon starts"
        if span.end:
            yield span.end, f"daemon {span.ended_by}"
    for run in history.runs:
        yield run.start, f"run {run}"
    for fault in history.faults:
        yield fault.start, f"fault {fault}"


def _of_samples(history: History) -> Iterator[Line]:
    for status in history.statuses:
        unread = [site.site_id[:4] for site in status.sites if site.trouble]
        waiting = f"pending {status.pending}, failed {status.failed}"
        yield (
            status.time,
            f"status {status.exit_code}: {waiting}, {status.troubles} {status.parked} {unread}",
        )
    for storage in history.storage:
        if storage.found:
            yield (
                storage.time,
                f"storage has words of {sorted({review for review, _, _ in storage.found})}",
            )
