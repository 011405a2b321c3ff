"""The addresses of one receiver: what some of them took reaches the others (promise 1, errors)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tests.simulation.history import Mail
from tests.simulation.oracle.values import (
    ADDRESS,
    INFLIGHT,
    MINUTE,
    SMTP,
    Destination,
    Violation,
    fault_end,
    is_lossy,
)
from tests.simulation.oracle.world import World


def judge_addresses(world: World) -> Iterator[Violation]:
    """A mail that some addresses took reaches the others too.

    Refused for good: not tried again for this mail; for now: tried again (errors in delivery).
    Of a database that cannot be written nothing is kept: people are told directly, in one try.
    """
    took: dict[tuple[str, str], set[str]] = {}
    first: dict[tuple[str, str], Mail] = {}
    for mail in world.h.mails:
        destination = None if mail.test else world.destination_of(mail)
        direct = any((item.kind, item.about) == ("trouble", "database") for item in mail.items)
        if destination is not None and not direct:
            key = (mail.message_id, destination.receiver)
            took.setdefault(key, set()).update(mail.taken_for)
            first.setdefault(key, mail)
    for (message_id, name), taken in took.items():
        mail = first[message_id, name]
        at_once = world.configs_between(mail.time - INFLIGHT, mail.time + INFLIGHT)
        wanted = {
            address
            for config in at_once
            if (receiver := config.receiver(name))
            for address in receiver.emails
        }
        for address in sorted(wanted - taken):
            if (when := _reachable_at(world, name, address, mail)) is not None:
                what = f"an address did not get the mail, and nothing was in its way from {when:%m-%d %H:%M} on"
                yield Violation("address_left_out", "1", when, what, (address, message_id))


def _reachable_at(world: World, name: str, address: str, mail: Mail) -> datetime | None:
    """Return when a mail that others of a receiver took could reach this address too, if ever."""
    destination, review_ids = Destination(name, "email"), {item.review_id for item in mail.items}
    faults = [
        fault
        for fault in world.faults(ADDRESS, mail.time - MINUTE, world.h.end)
        if fault.address in {None, address}
    ]
    starts = [mail.time, *(fault_end(fault) for fault in faults)]
    for start in sorted(starts):
        opening = next(world.openings(destination, start, world.h.end), None)
        if opening is None:
            continue
        end = opening + world.late
        changed = any(
            mail.time < event.time <= end and event.after.review_id in review_ids
            for event in world.h.reviews
        )
        configs = world.configs_between(mail.time - INFLIGHT, end)
        named = all(
            (receiver := config.receiver(name)) and address in receiver.emails for config in configs
        )
        if changed or not named or world.is_forgotten(mail.time, end):
            return None  # what became of its review or its receiver may have ended it
        refused = [fault for fault in faults if fault.start <= end and fault_end(fault) > opening]
        for_good = any(f.kind == "smtp_address_hard" and f.start <= end for f in faults)
        lost = any(is_lossy(fault) for fault in world.faults(SMTP, mail.time, end))
        if not refused and not for_good and not lost:
            return opening
    return None
