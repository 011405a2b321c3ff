"""The exceptions of alerter.

AlerterError
    ConfigError                the config is not valid; lists every fault
    StateError                 the database cannot be used
        StateBusy              another process is writing to it; retry later
        StatePutBack           it was put back to an earlier state, and is not used
    WixError
        WixAuthError           Wix refuses access (401, 403); a person has to fix it
        WixUnavailable         retry later: 5xx, timeout, lost connection
            WixThrottled       429: Wix did not do what was asked; retry later
        WixResponseError       unreadable answer, or Wix rejected the request
            WixPrecondition    the site lacks what the request needs (428)
            WixNotFound        not found, or not visible to us (404)
            WixRefused         any other 4xx: Wix did not do what was asked
    RenderError                a template is broken
    DeliveryError              a message was not delivered; `kind` says what is at fault
"""

from enum import StrEnum

_LONGEST_PROBLEM = 1000


class AlerterError(Exception):
    """The root: its message is shown to people and says what to do."""


class ConfigError(AlerterError):
    """The config is not valid; `problems` has one printable line for each fault."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [
            "".join(
                char if char.isprintable() else "\N{REPLACEMENT CHARACTER}"
                for char in problem[:_LONGEST_PROBLEM]
            )
            for problem in problems
        ]
        super().__init__("\n".join(self.problems))


class StateError(AlerterError):
    """The database cannot be used. `remedy`: what to do; empty where that is not known."""

    remedy = ""

    @property
    def advice(self) -> str:
        """Return what happened, and what to do."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class StateBusy(StateError):
    """Another process is writing to the database; the same call may succeed later."""


class StatePutBack(StateError):
    """The database is in an earlier state, and would send again what was sent since."""


class WixError(AlerterError):
    """A call to Wix failed.

    `text` says why and is equal for equal failures; the message adds Wix's id of the request.
    """

    def __init__(self, text: str, request: str = "") -> None:
        super().__init__(f"{text} (request {request})" if request else text)
        self.text = text


class WixAuthError(WixError):
    """Wix refuses access (`status` 401 or 403).

    The key, the app or its permission has to be fixed.
    """

    def __init__(self, text: str, status: int, request: str = "") -> None:
        super().__init__(text, request)
        self.status = status


class WixUnavailable(WixError):
    """Wix cannot answer now; `retry_after` (seconds) is set if Wix named a time."""

    def __init__(self, text: str, retry_after: float | None = None, request: str = "") -> None:
        super().__init__(text, request)
        self.retry_after = retry_after


class WixThrottled(WixUnavailable):
    """Wix asks us to slow down, and did nothing (429)."""


class WixResponseError(WixError):
    """Wix sent an answer that cannot be read, or rejected the request itself."""


class WixPrecondition(WixResponseError):
    """The site lacks what the request needs (428), such as the other catalog version."""


class WixNotFound(WixResponseError):
    """The object does not exist, or is not visible to us (404)."""


class WixRefused(WixResponseError):
    """Wix rejected the request, and did nothing (any other 4xx)."""


class RenderError(AlerterError):
    """A template cannot be rendered; the text names file and line.

    `fault` says the same without any content of the message, so that it may be logged.
    """

    def __init__(self, text: str, fault: str = "") -> None:
        super().__init__(text)
        self.fault = fault or text


def phrase_defect(error: Exception) -> str:
    """Return the reason of a trouble that an unexpected exception causes."""
    return f"a defect of alerter ({type(error).__name__}); its log has the details"


class ErrorKind(StrEnum):
    """What is at fault for a failed delivery."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    MESSAGE = "message"
    RECEIVER = "receiver"
    SERVICE = "service"


class DeliveryError(AlerterError):
    """A message was not delivered, or may not have been.

    `kind`: what is at fault. `retry_after`: seconds until the service accepts the next call.
    `in_doubt`: the service may have accepted the message although no answer arrived.
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
