"""What `alerter check` finds at a PostgreSQL server, and of the workers that share it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from alerter.clock import Clock
from alerter.commands.cluster_text import phrase_disagreements, phrase_newest
from alerter.config import Config
from alerter.config.state import PostgresUrl
from alerter.errors import StateError
from alerter.models import Finding
from alerter.service.membership import config_digest, refuse_put_back
from alerter.store import State
from alerter.store.cluster import get_cluster
from alerter.text import counted

if TYPE_CHECKING:
    from alerter.store.postgres_check import ServerReport

# Of clocks: alerts are due by that of the server.
_MOST_AHEAD = timedelta(seconds=2)


def check_server(url: PostgresUrl, clock: Clock) -> list[Finding]:
    """Check that `alerter run` can keep its state on a PostgreSQL server."""
    from alerter.store.postgres_check import ask_server  # noqa: PLC0415 - needs the extra

    try:
        found = ask_server(url, clock)
    except StateError as error:
        return [Finding(ok=False, subject="state", text=error.advice)]
    fault = _rights_fault(found)
    if fault is None:
        tables = "the first start creates its tables" if found.is_new else "can be written"
        if found.missing and not found.is_new:
            tables = f"{counted(found.missing, 'migration is', 'migrations are')} made at the start"
        ahead = f"its clock is {found.ahead.total_seconds():+.1f} s from ours"
        text = f"{url}: PostgreSQL {found.version}, {tables}, {ahead}"
        is_off = abs(found.ahead) > _MOST_AHEAD
        findings = [Finding(ok=True, subject="state", text=text, warning=is_off)]
    else:
        findings = [Finding(ok=False, subject="state", text=f"{url}: {fault}")]
    texts = []
    if fault is None and not found.rights.is_owner:
        texts.append(
            f"the role {found.rights.role} does not own the tables: it can neither bring them up"
            " to a new version nor vacuum erased text away; name the owner"
        )
    if not found.is_encrypted:
        texts.append("the connection is not encrypted; add sslmode=verify-full to the address")
    return findings + [
        Finding(ok=True, subject="state", text=f"{url}: {text}", warning=True) for text in texts
    ]


def _rights_fault(found: "ServerReport") -> str | None:
    """Return which rights the role lacks, and what to do; None if it has what it needs."""
    rights = found.rights
    if not rights.may_write or (found.missing and not (found.is_new or rights.is_owner)):
        return (
            f"the role {rights.role} may not use all tables there: name the one that owns them,"
            " or another database"
        )
    if found.missing and not rights.may_create:
        return (
            "the role may not create tables and functions: GRANT CREATE ON SCHEMA"
            f" {rights.schema} TO {rights.role}, or name the role that owns the database"
        )
    return None


def check_cluster(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Report how many workers are alive, and what they and this config do not agree on.

    Also a database that was put back to an earlier state, which no worker uses.
    """
    try:
        with State.read(config.database) as state:
            cluster = get_cluster(state)
            try:
                refuse_put_back(state, config, environ)
            except StateError as error:
                return [Finding(ok=False, subject="cluster", text=str(error))]
    except StateError:  # `check_server` says why
        return []
    if cluster is None or not cluster.workers:
        return []
    in_force = phrase_newest(cluster, config.timezone)
    alive = counted(len(cluster.workers), "worker is alive", "workers are alive")
    findings = [Finding(ok=True, subject="cluster", text=f"{alive}; {in_force}")]
    texts = [*phrase_disagreements(cluster, config.timezone)]
    if cluster.newest and cluster.newest.digest != config_digest(config):
        texts.insert(
            0,
            f"this config is another than the one that workers have ({in_force}):"
            " give all the same file, then `alerter reload`",
        )
    findings += [Finding(ok=True, subject="cluster", text=text, warning=True) for text in texts]
    return findings
