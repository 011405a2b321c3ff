"""Which text a trouble has, and the name in it. Pure."""

from collections.abc import Mapping

from alerter.config import Config
from alerter.models import POSTED, Medium, medium_of
from alerter.scopes import Scope, split_method, split_scope


def identify(scope: str, sites: Mapping[str, str], config: Config) -> tuple[str, str]:
    """Return the key of the texts of a scope's trouble, and the name in them.

    The name may be that of a destination. `sites`: names by site id.
    """
    kind, name = split_scope(scope)
    if kind in (Scope.SITE, Scope.PRIVATE, Scope.UNROUTED):
        return kind, sites.get(name, name)
    if kind == Scope.ACCOUNT:
        names = {account.account_id: account.name for account in config.accounts}
        return kind, names.get(name, name)
    if kind == Scope.METHOD:
        service, method = split_method(name)
        is_address = medium_of(service) in POSTED
        return (f"{Scope.SERVICE}:address", service) if is_address else (f"{kind}:{method}", "")
    if kind != Scope.SERVICE:
        return kind, name
    if name in ("slack", "smtp"):
        return f"{kind}:{name}", ""
    if medium_of(name) != Medium.SLACK:  # an address of one receiver: also its destination
        return f"{kind}:address", name
    receivers = [
        receiver.name
        for receiver in config.receivers
        if config.service(receiver, Medium.SLACK) == name
    ]
    return f"{kind}:workspace", ", ".join(receivers) or name
