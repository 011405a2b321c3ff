"""Scopes: what can be in trouble, blocked, or locked by a transaction. Built and parsed here only.

A scope is the text of a kind and a name, such as `site:<site id>`, as the database stores it.
"""

from enum import StrEnum


class Scope(StrEnum):
    """The kinds of scope, each with the meaning of its name; `STATE` and `START` have none."""

    SITE = "site"  # the id of a site
    ACCOUNT = "account"  # the id of a Wix account: the list of its sites
    PRIVATE = "private"  # the id of a site: its unpublished reviews
    PRODUCTS = "products"  # the id of a site: names of products, counts of past reviews
    UNROUTED = "unrouted"  # the id of a site: its alerts without a receiver
    DESTINATION = "destination"  # a destination
    MESSAGE = "message"  # a destination: messages that were refused for good
    ERASURE = "erasure"  # a destination: erased text that is still on Slack
    ADDRESSES = "addresses"  # a receiver: mail addresses that refuse our mail
    SERVICE = "service"  # a service, such as `smtp`
    SOCKET = "socket"  # `slack`: the connection that buttons need
    METHOD = "method"  # a service and one of its methods: see `method_scope`
    TEMPLATE = "template"  # a file
    JOB = "job"  # a job of the daemon
    CONFIG = "config"  # none, or of a cluster a worker: its changed config is not in force
    STATE = "state"  # none: the database could not be written
    START = "start"  # none: alerter could not start without its database
    TROUBLE = "trouble"  # `all`: the lock of all trouble
    REVIEW = "review"  # the id of a review
    EVERY = "every"  # `scope`: the lock of all scopes

    def of(self, name: str) -> str:
        """Return the scope of this kind with a name."""
        return f"{self}:{name}"


# One lock for all trouble: it is read as a whole, and rarely written.
ALL_TROUBLE = Scope.TROUBLE.of("all")
# All scopes at once: no other transaction that names one runs beside it.
EVERY_SCOPE = Scope.EVERY.of("scope")
_LOCKS = {
    Scope.ACCOUNT,
    Scope.DESTINATION,
    Scope.EVERY,
    Scope.REVIEW,
    Scope.SERVICE,
    Scope.SITE,
    Scope.TROUBLE,
}


def method_scope(service: str, method: str) -> str:
    """Return the scope of one method of a service: `look`, `update`, or `send` of a parked one."""
    return Scope.METHOD.of(f"{service}:{method}")


def split_scope(scope: str) -> tuple[str, str]:
    """Return the kind and the name of a scope."""
    kind, _, name = scope.partition(":")
    return kind, name


def split_method(name: str) -> tuple[str, str]:
    """Return the service and the method that the name of a `METHOD` scope holds."""
    service, _, method = name.rpartition(":")
    return service, method


def is_lock(scope: str) -> bool:
    """Whether a transaction may lock a scope."""
    kind, name = split_scope(scope)
    return bool(name) and kind in _LOCKS
