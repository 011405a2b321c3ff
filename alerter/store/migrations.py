"""The migrations that bring the tables of a state file up to date.

A released migration never changes: add one at the end. It is written for SQLite; PostgreSQL runs it
with other types, see `postgres_schema.to_postgres_ddl`.
"""

from collections.abc import Iterator
from sqlite3 import complete_statement

from sqlite_utils import Database, Migrations

from alerter.store.schema import ACTIONS, CLUSTER, CLUSTERS_OF_REVIEWS, JUDGEMENTS, TABLES

migrations = Migrations("alerter")
# Columns that hold 0 or 1, in any table: booleans on PostgreSQL, and never compared with numbers.
BOOLEANS = {
    "anonymized",
    "answered",
    "builtin",
    "covered",
    "edited",
    "erase",
    "parked",
    "plain",
    "present",
    "rejected",
    "replaces",
    "replied",
    "sees_private",
    "unverified",
}


def names_of_migrations() -> set[str]:
    """Return the names of all migrations of this version."""
    return {each.name for each in migrations._migrations}  # noqa: SLF001 - it has no public list


def _statements(script: str) -> Iterator[str]:
    """Split a script at line ends; `executescript` is slow, as it checks after each character."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if complete_statement(statement):
            yield statement
            statement = ""


def _run(db: Database, script: str) -> None:
    for statement in _statements(script):
        db.execute(statement)


@migrations()
def the_state_file(db: Database) -> None:
    """Create the tables of the first release."""
    _run(db, TABLES)


@migrations()
def deliveries_are_for_destinations(db: Database) -> None:
    """Name a destination such as `slack:support` in deliveries, messages, blocks and troubles.

    Before, each receiver had either email or Slack; its messages show which. A receiver without
    messages becomes `:support` until `outbox.name_media` completes it from the config.
    """
    for table in ("deliveries", "messages", "pruned_deliveries"):
        db.execute(f"ALTER TABLE {table} RENAME COLUMN receiver TO destination")
    db.execute(
        "UPDATE messages SET destination = CASE WHEN slack_ts IS NOT NULL"
        " OR message_id LIKE '%@alerter' THEN 'slack:' ELSE 'email:' END || destination"
    )
    db.execute(
        "UPDATE deliveries SET destination = coalesce((SELECT messages.destination FROM messages"
        f" WHERE messages.id = deliveries.message), {_NEWEST.format('deliveries.destination')})"
    )
    db.execute(
        "UPDATE pruned_deliveries"
        f" SET destination = {_NEWEST.format('pruned_deliveries.destination')}"
    )
    # The key of a trouble alert contains its scope.
    db.execute(
        "UPDATE alerts SET key = 'trouble:destination:'"
        f" || {_NEWEST.format('substr(scope, 10)')} || substr(key, length('trouble:' || scope) + 1)"
        " FROM troubles WHERE scope LIKE 'receiver:%'"
        " AND substr(key, 1, length('trouble:' || scope || ':')) = 'trouble:' || scope || ':'"
    )
    for table in ("blocks", "troubles"):
        db.execute(
            f"UPDATE {table} SET scope = 'destination:' || {_NEWEST.format('substr(scope, 10)')}"
            " WHERE scope LIKE 'receiver:%'"
        )


@migrations()
def messages_are_settled_one_by_one(db: Database) -> None:
    """Let each message wait for its own next look, attempt or change.

    A mail that some addresses accepted counts as sent. `priority` 1: sent by a backfill one by
    one, after all other deliveries.
    """
    for column in (
        "lost INTEGER NOT NULL DEFAULT 0",
        "looked_since INTEGER",
        "look TEXT NOT NULL DEFAULT ''",
        "service_time INTEGER",
        "builtin INTEGER NOT NULL DEFAULT 0",
        "erase INTEGER NOT NULL DEFAULT 0",
        "failing_since INTEGER",
    ):
        db.execute(f"ALTER TABLE messages ADD COLUMN {column}")
    partly = "status IN ('sending', 'in_doubt') AND to_left IS NOT NULL"
    db.execute(
        "UPDATE deliveries SET status = 'sent' WHERE status = 'pending'"
        f" AND message IN (SELECT id FROM messages WHERE {partly})"
    )
    db.execute(f"UPDATE messages SET status = 'sent' WHERE {partly}")
    db.execute("UPDATE messages SET lost = 1 WHERE status = 'in_doubt'")
    db.execute("ALTER TABLE deliveries ADD COLUMN priority INTEGER NOT NULL DEFAULT 0")
    db.execute("DROP INDEX deliveries_waiting")
    db.execute(
        "CREATE INDEX deliveries_waiting ON deliveries (destination, priority, due_at, alert)"
        " WHERE status = 'pending' AND message IS NULL"
    )
    db.execute(
        "CREATE INDEX messages_partly_taken ON messages (destination, due_at)"
        " WHERE to_left IS NOT NULL"
    )


# The destination of the newest message to a receiver, else `:name`.
_NEWEST = (
    "coalesce((SELECT destination FROM messages"
    " WHERE substr(destination, instr(destination, ':') + 1) = {0} ORDER BY id DESC LIMIT 1),"
    " ':' || {0})"
)


@migrations()
def what_was_notified_of_trouble(db: Database) -> None:
    """Record which troubles were notified, so that a recurring one sends one pair an hour.

    private_lost_at: since when a site returns published reviews only, after it returned all.
    """
    for column in ("notified_at", "over_at", "recovered_at"):
        db.execute(f"ALTER TABLE troubles ADD COLUMN {column} INTEGER")
    db.execute("UPDATE troubles SET notified_at = since")
    db.execute("ALTER TABLE sites ADD COLUMN private_lost_at INTEGER")


@migrations()
def the_order_of_webhooks(db: Database) -> None:
    """Record the last webhook about reviews that are not stored, such as those with five stars.

    An older webhook may arrive days later, and must not count as new.
    """
    db.execute(
        "CREATE TABLE unrecorded_events (site_id TEXT NOT NULL, review_id TEXT NOT NULL,"
        " revision INTEGER NOT NULL, rating INTEGER NOT NULL, as_of INTEGER NOT NULL,"
        " event_sequence INTEGER NOT NULL, received_at INTEGER NOT NULL,"
        " PRIMARY KEY (site_id, review_id)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX unrecorded_events_by_age ON unrecorded_events (received_at)")


@migrations()
def missing_authors(db: Database) -> None:
    """Record since when Wix returns a review without its author; one such answer is no proof."""
    db.execute("ALTER TABLE reviews ADD COLUMN authorless_since INTEGER")


@migrations()
def the_span_of_rescans(db: Database) -> None:
    """Record how far back the last rescan of a site went: before that it is not covered."""
    db.execute("ALTER TABLE sites ADD COLUMN rescanned_since INTEGER")


@migrations()
def reminders_for_each_destination(db: Database) -> None:
    """Count reminders for each destination, from its first alert or that of a reopening.

    `reminded`: the longest span since then, in milliseconds, that a reminder was sent for.
    """
    db.execute(
        "CREATE TABLE reminders (site_id TEXT NOT NULL, review_id TEXT NOT NULL,"
        " destination TEXT NOT NULL, since INTEGER NOT NULL, reminded INTEGER NOT NULL DEFAULT 0,"
        " PRIMARY KEY (site_id, review_id, destination)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX reminders_by_date ON reminders (site_id, since, reminded)")
    # The last reminder was for the longest span that had passed by then.
    db.execute(
        "INSERT INTO reminders (site_id, review_id, destination, since, reminded)"
        " SELECT reviews.site_id, reviews.review_id, deliveries.destination,"
        " min(reviews.told_at),"
        " coalesce(max(CASE WHEN alerts.kind = 'reminder' AND alerts.raised_at > reviews.told_at"
        "  THEN alerts.raised_at - reviews.told_at END), 0)"
        " FROM reviews JOIN alerts ON alerts.site_id = reviews.site_id"
        "  AND alerts.review_id = reviews.review_id AND alerts.kind <> 'closed'"
        " JOIN deliveries ON deliveries.alert = alerts.id AND deliveries.status = 'sent'"
        " WHERE reviews.status = 'open' AND reviews.told_at IS NOT NULL"
        " GROUP BY reviews.site_id, reviews.review_id, deliveries.destination"
    )
    for table, column in (
        ("reviews", "told_at"),
        ("reviews", "reminded"),
        ("pruned_reviews", "reminded"),
    ):
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


@migrations()
def destinations_are_on_record(db: Database) -> None:
    """Record the destinations of each config, to know which are new in the next.

    addresses: hashes of the addresses, as JSON. rules: what may be sent to it, as JSON.
    present: whether the last config has it.
    """
    db.execute(
        "CREATE TABLE destinations (destination TEXT PRIMARY KEY, addresses TEXT NOT NULL,"
        " rules TEXT NOT NULL, present INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )


_RETENTION = """
-- How often text was erased that the write-ahead log may still contain. Older versions did not
-- record that.
CREATE TABLE scrubs (owed INTEGER NOT NULL) STRICT;
INSERT INTO scrubs (owed) VALUES (1);

-- left_at: since when the config does not have the site. unverified: a backup was restored, and
-- Wix was not yet asked for each review with text. revisited_at: when Wix was last asked for old
-- reviews; revisited_to: the id of the last of them.
ALTER TABLE sites ADD COLUMN left_at INTEGER;
ALTER TABLE sites ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN revisited_at INTEGER;
ALTER TABLE sites ADD COLUMN revisited_to TEXT;

-- pruned_at: when its text and its alerts were erased after `keep`; the row stays for ever.
-- pruned_alerts: the number of these alerts, so that none of their keys is used again.
ALTER TABLE reviews ADD COLUMN pruned_at INTEGER;
ALTER TABLE reviews ADD COLUMN pruned_alerts INTEGER NOT NULL DEFAULT 0;
UPDATE reviews SET pruned_at = as_of WHERE status = 'baseline' AND content = '{}';
UPDATE reviews SET pruned_alerts = (SELECT raised FROM pruned_reviews
    WHERE pruned_reviews.site_id = reviews.site_id AND pruned_reviews.review_id = reviews.review_id)
  WHERE (site_id, review_id) IN (SELECT site_id, review_id FROM pruned_reviews);
-- Their dates are not known any more.
INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered, rejected,
    alerted_at, closing, as_of, content, pruned_at, pruned_alerts)
  SELECT site_id, review_id, revision, rating, 'closed', 0, answered, rejected, alerted_at,
    closing, 0, '{}', 0, raised FROM pruned_reviews WHERE true
  ON CONFLICT (site_id, review_id) DO NOTHING;
DROP TABLE pruned_reviews;

DROP INDEX reviews_at_rest;
CREATE INDEX reviews_at_rest ON reviews (as_of) WHERE pruned_at IS NULL;
DROP INDEX reviews_by_date;
CREATE INDEX reviews_by_date ON reviews (site_id, created_at) WHERE pruned_at IS NULL;
DROP INDEX reviews_by_product;
CREATE INDEX reviews_by_product ON reviews (site_id, entity_id, created_at, rating, closing)
  WHERE entity_id IS NOT NULL;

-- A retry left failed messages without deliveries, which kept their parents for ever.
DELETE FROM messages WHERE id NOT IN (SELECT message FROM deliveries WHERE message IS NOT NULL);
"""


@migrations()
def retention(db: Database) -> None:
    """Prune a review in its own row, and record what is still to be erased."""
    _run(db, _RETENTION)


@migrations()
def one_sql(db: Database) -> None:
    """Compare the counter `stale` with a number, and name the end of a summary's last period."""
    db.execute("DROP INDEX messages_stale")
    db.execute("CREATE INDEX messages_stale ON messages (destination, id) WHERE stale > 0")
    db.execute("ALTER TABLE summaries RENAME COLUMN told_until TO sent_until")


@migrations()
def names_of_channels(db: Database) -> None:
    """Record the id that the name of a Slack channel was found with, as a channel may be renamed.

    workspace: the service, such as `slack`, whose token found it.
    """
    db.execute(
        "CREATE TABLE channels (workspace TEXT NOT NULL, name TEXT NOT NULL,"
        " channel_id TEXT NOT NULL, PRIMARY KEY (workspace, name)) STRICT, WITHOUT ROWID"
    )


@migrations()
def sites_of_accounts(db: Database) -> None:
    """Record the sites of Wix accounts, so that a start while Wix is down knows them.

    accounts: when its sites were last listed, and since when that fails. missing_since: the first
    list that did not have the site any more.
    """
    db.execute(
        "CREATE TABLE accounts (account_id TEXT PRIMARY KEY, listed_at INTEGER,"
        " failing_since INTEGER) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE account_sites (account_id TEXT NOT NULL, site_id TEXT NOT NULL,"
        " name TEXT NOT NULL, missing_since INTEGER, PRIMARY KEY (account_id, site_id))"
        " STRICT, WITHOUT ROWID"
    )


@migrations()
def rebuilds(db: Database) -> None:
    """Count how often text was erased since the file was last rewritten: see `erasure.rebuild`."""
    db.execute("ALTER TABLE scrubs ADD COLUMN rebuilds_owed INTEGER NOT NULL DEFAULT 1")


@migrations()
def actions_of_people(db: Database) -> None:
    """Record what people do about reviews."""
    _run(db, ACTIONS)


@migrations()
def withdrawn_deliveries(db: Database) -> None:
    """Mark what a changed config cancelled, for the case that its alert has no receiver left.

    A corrected config sends what is `unsent`: see `rerouting.unrouted_deliveries`. Of what an
    earlier version cancelled, it is not known.
    """
    db.execute(
        "ALTER TABLE deliveries ADD COLUMN withdrawn TEXT"
        " CHECK (withdrawn IN ('unsent', 'in_doubt'))"
    )
    db.execute(
        "CREATE INDEX deliveries_withdrawn ON deliveries (alert) WHERE withdrawn IS NOT NULL"
    )
    db.execute(
        "UPDATE deliveries SET withdrawn = 'in_doubt' WHERE status = 'cancelled' AND alert IN"
        " (SELECT alerts.id FROM alerts JOIN troubles ON scope = 'unrouted:' || site_id)"
    )


@migrations()
def cluster(db: Database) -> None:
    """Record what the processes of a cluster share; a state file does not use it."""
    _run(db, CLUSTER)


@migrations()
def waits(db: Database) -> None:
    """Record since when the same alert is the oldest that waits, in a cluster."""
    db.execute(
        "CREATE TABLE waits (scope TEXT PRIMARY KEY, alert INTEGER NOT NULL,"
        " since INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )


@migrations()
def judgements(db: Database) -> None:
    """Keep each state of a review that triage judged, for `alerter replay`."""
    _run(db, JUDGEMENTS)


@migrations()
def orders_of_reviews(db: Database) -> None:
    """Record the order behind a review, and what is known of the orders of its site.

    content: JSON of what the sentences need. orders_after, requests_after: until then the site is
    not asked for orders or review requests, as it refused. measured_at: when its usual delay was
    measured; usual_ms and usual_orders are empty where it has too few orders.
    """
    db.execute(
        "CREATE TABLE orders (site_id TEXT NOT NULL, review_id TEXT NOT NULL,"
        " content TEXT NOT NULL, PRIMARY KEY (site_id, review_id)) STRICT, WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE order_access (site_id TEXT PRIMARY KEY, orders_after INTEGER,"
        " requests_after INTEGER, measured_at INTEGER, usual_ms INTEGER, usual_orders INTEGER)"
        " STRICT, WITHOUT ROWID"
    )


@migrations()
def topics(db: Database) -> None:
    """Record what reviews complain about, and by which words sites were read for it.

    `reviews.topics`: a JSON list of names, NULL for none. Of a site's ratings above `covered_plain`
    (NULL: none) up to `covered_rating`, only reviews with a topic are on record, by the lists of
    words with the mark `covered_lists`. `judgements.topics`: those of a state that was judged.
    """
    db.execute("ALTER TABLE reviews ADD COLUMN topics TEXT")
    db.execute("ALTER TABLE sites ADD COLUMN covered_plain INTEGER")
    db.execute("ALTER TABLE sites ADD COLUMN covered_lists TEXT")
    db.execute("ALTER TABLE judgements ADD COLUMN topics TEXT")


@migrations()
def clusters_of_reviews(db: Database) -> None:
    """Record the reviews of each cluster, and new reviews that wait for the end of a read."""
    _run(db, CLUSTERS_OF_REVIEWS)
