"""What can go wrong, as a tree.

AlerterError
    ConfigError                the config cannot be used: every fault at once
    StateError                 the state file cannot be used
        StateBusy              another process is writing to it: try again
    WixError
        WixAuthError           Wix does not let us in: a person has to mend it
        WixUnavailable         try again later: 429, 5xx, timeouts, lost connections
        WixResponseError       Wix answered something that cannot be understood, or refused the request itself
            WixPrecondition    the site does not have what this needs
            WixNotFound        Wix has no such thing
    RenderError                a template is broken
    DeliveryError              a message did not go out; its kind says what is at fault
"""

from enum import StrEnum

_LONGEST = 1000


class AlerterError(Exception):
    """Anything that alerter tells a person about, in words that say what to do."""


class ConfigError(AlerterError):
    """The config cannot be used; `problems` has one line for each fault, with nothing but what can be seen."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [_line(problem) for problem in problems]
        super().__init__("\n".join(self.problems))


class StateError(AlerterError):
    """The state file cannot be used."""


class StateBusy(StateError):
    """Another process is writing to the state file; the same call may go through later."""


class WixError(AlerterError):
    """A call to Wix did not give what was asked for.

    `text` says why; the message adds what Wix calls the request, which is another one each time.
    """

    def __init__(self, text: str, request: str = "") -> None:
        super().__init__(f"{text} (request {request})" if request else text)
        self.text = text


class WixAuthError(WixError):
    """Wix does not let us in (`status` 401 or 403): the key, the app or its permission has to be mended."""

    def __init__(self, text: str, status: int, request: str = "") -> None:
        super().__init__(text, request)
        self.status = status


class WixUnavailable(WixError):
    """Wix cannot answer now; `retry_after` is in seconds where Wix named a time."""

    def __init__(self, text: str, retry_after: float | None = None, request: str = "") -> None:
        super().__init__(text, request)
        self.retry_after = retry_after


class WixResponseError(WixError):
    """Wix answered something that cannot be understood, or holds the request itself to be wrong."""


class WixPrecondition(WixResponseError):
    """What is asked for needs something of the site that it does not have (428): the other catalog, say."""


class WixNotFound(WixResponseError):
    """Wix has no such thing (404), or none that we may see."""


class RenderError(AlerterError):
    """A template cannot be rendered; the text names file and line.

    `fault` does so too, without anything that the message holds.
    """

    def __init__(self, text: str, fault: str = "") -> None:
        super().__init__(text)
        self.fault = fault or text


class ErrorKind(StrEnum):
    """What a failed delivery is the fault of."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    MESSAGE = "message"
    RECEIVER = "receiver"
    SERVICE = "service"


class DeliveryError(AlerterError):
    """A message did not go out, or may not have.

    `kind` says what is at fault, `retry_after` (seconds) when the service wants to hear from us again.
    `in_doubt` is True where the service may have taken the message all the same.
    """

    def __init__(
        self,
        text: str,
        kind: ErrorKind,
        *,
        retry_after: float | None = None,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after = retry_after
        self.in_doubt = in_doubt


def _line(text: str) -> str:
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_LONGEST]
    )
