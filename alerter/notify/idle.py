"""Why a worker has nothing to do now, and for how long."""

from dataclasses import dataclass
from enum import StrEnum


class IdleReason(StrEnum):
    """Why a worker has nothing to do now."""

    NOTHING_DUE = "nothing is due"
    PACE = "the channel has just had a message"
    SETTLING = "a message in doubt is settled in a moment"
    IN_DOUBT = "a message in doubt is settled later"
    BACKING_OFF = "the destination or its service is left alone for a while"
    PARKED = "the destination or its service waits for a person"
    NO_STATE = "the state file cannot be used now"


@dataclass(frozen=True, slots=True)
class Idle:
    """Why a worker has nothing to do, and for how many seconds (None: until it is woken)."""

    why: IdleReason
    seconds: float | None = None
