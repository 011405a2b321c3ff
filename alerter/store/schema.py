"""The tables of the state file, as the migrations that make them.

Moments are whole milliseconds since 1970 in UTC. Whatever has been released is never changed here: a new need is a new
migration.
"""

from collections.abc import Iterator
from sqlite3 import complete_statement

from sqlite_utils import Database, Migrations

migrations = Migrations("alerter")

_TABLES = """
-- What has been read of a site. covered_rating is the highest rating whose past is on record (0: never read to the
-- end); checkpoint is the newest createdDate read, by the clock of Wix, never by ours; failing_since is when the
-- present run of failed rounds began; name is what the config called it last. restored is when a backup was put
-- in place, until the site has been read (1: by an older version; 0: it has): what has happened
-- since the backup may have been told already.
CREATE TABLE sites (
  site_id TEXT PRIMARY KEY,
  name TEXT,
  checkpoint INTEGER,
  covered_rating INTEGER NOT NULL DEFAULT 0,
  covered_since INTEGER,
  rescanned_at INTEGER,
  last_success INTEGER,
  failing_since INTEGER,
  sees_private INTEGER,
  restored INTEGER NOT NULL DEFAULT 0
) STRICT;

-- alerted_at is when people were to hear of a review, anew where it was closed and then lowered; told_at is when the
-- first of them did (never of the past), and reminded the number of its last reminder. One that is gone from Wix, or
-- anonymized there, has lost its words. as_of is the moment for which the record holds, and event_sequence the number
-- of the webhook that it comes from (0: it was read). What has been at rest for long has lost its content, which is
-- then {}.
CREATE TABLE reviews (
  site_id TEXT NOT NULL,
  review_id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  rating INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('baseline', 'open', 'closed')),
  created_at INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  alerted_at INTEGER,
  told_at INTEGER,
  reminded INTEGER NOT NULL DEFAULT 0,
  closing TEXT CHECK (closing IN ('answered', 'raised', 'rejected', 'gone')),
  anonymized INTEGER NOT NULL DEFAULT 0,
  entity_id TEXT,
  contact_id TEXT,
  as_of INTEGER NOT NULL,
  event_sequence INTEGER NOT NULL DEFAULT 0,
  content TEXT NOT NULL,
  PRIMARY KEY (site_id, review_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX reviews_by_date ON reviews (site_id, created_at);
CREATE INDEX reviews_by_product ON reviews (site_id, entity_id, created_at, rating, closing);
CREATE INDEX reviews_by_author ON reviews (site_id, contact_id, created_at, rating, closing)
  WHERE contact_id IS NOT NULL;
CREATE INDEX reviews_open ON reviews (site_id, alerted_at) WHERE status = 'open';
CREATE INDEX reviews_at_rest ON reviews (as_of)
  WHERE status <> 'open' AND (status = 'closed' OR content <> '{}');

-- What is left of reviews that were closed long ago: enough to know them again, and to give none of their alerts' keys
-- out a second time (raised is how many there were). One that is heard of again stands among the reviews as well.
CREATE TABLE pruned_reviews (
  site_id TEXT NOT NULL,
  review_id TEXT NOT NULL,
  revision INTEGER NOT NULL,
  rating INTEGER NOT NULL,
  answered INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  alerted_at INTEGER,
  reminded INTEGER NOT NULL,
  closing TEXT,
  raised INTEGER NOT NULL,
  PRIMARY KEY (site_id, review_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  site_id TEXT,
  review_id TEXT,
  raised_at INTEGER NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_of_review ON alerts (site_id, review_id);
CREATE INDEX alerts_of_no_review ON alerts (raised_at) WHERE review_id IS NULL AND detail <> '{}';

-- A message is made from due deliveries before the call that sends it. It is `sending` until the answer, `in_doubt`
-- when the service may have it without our knowing (or only a part of its addresses has it): then it is settled, and
-- its members never change. A certain refusal deletes the row and sets its deliveries free. parent is the message in
-- whose thread it is said; subject is kept where a mail may be answered in its thread. stale means that what it says
-- has changed since: it is rendered again, and Slack shows it in the place of the old one.
CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  receiver TEXT NOT NULL,
  form TEXT NOT NULL CHECK (form IN ('alert', 'digest')),
  status TEXT NOT NULL CHECK (status IN ('sending', 'in_doubt', 'sent', 'failed')),
  message_id TEXT NOT NULL UNIQUE,
  parent INTEGER REFERENCES messages (id),
  plain INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL,
  attempted_at INTEGER NOT NULL,
  due_at INTEGER,
  to_left TEXT,
  slack_channel TEXT,
  slack_ts TEXT,
  subject TEXT,
  stale INTEGER NOT NULL DEFAULT 0,
  error TEXT
) STRICT;
CREATE INDEX messages_under_way ON messages (receiver, id) WHERE status IN ('sending', 'in_doubt');

CREATE INDEX messages_stale ON messages (receiver, id) WHERE stale;
CREATE INDEX messages_beneath ON messages (parent) WHERE parent IS NOT NULL;

CREATE TABLE deliveries (
  alert INTEGER NOT NULL REFERENCES alerts (id),
  receiver TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'sent', 'failed', 'cancelled')),
  grouping TEXT NOT NULL CHECK (grouping IN ('burst', 'digest', 'each')),
  due_at INTEGER NOT NULL,
  message INTEGER REFERENCES messages (id),
  PRIMARY KEY (alert, receiver)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_waiting ON deliveries (receiver, due_at, alert) WHERE status = 'pending' AND message IS NULL;
CREATE INDEX deliveries_of_message ON deliveries (message) WHERE message IS NOT NULL;
CREATE INDEX deliveries_unsettled ON deliveries (status, receiver) WHERE status IN ('pending', 'failed');

-- How many deliveries were pruned, so that what `status` counts never falls.
CREATE TABLE pruned_deliveries (
  receiver TEXT NOT NULL,
  status TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (receiver, status)
) STRICT, WITHOUT ROWID;

-- Who must not be called before `until`, or not at all (`parked`) before a person has mended something. A scope is
-- `receiver:<name>`, `service:<name>` or `site:<site id>`; `since` is when the present run of failures began.
CREATE TABLE blocks (
  scope TEXT PRIMARY KEY,
  since INTEGER NOT NULL,
  set_at INTEGER NOT NULL,
  until INTEGER,
  parked INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL
) STRICT;

-- What alerter cannot do at present.
CREATE TABLE troubles (
  scope TEXT PRIMARY KEY,
  since INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- How far each summary of the config has been told: at first up to the moment when it was seen there, with its time of
-- day or week.
CREATE TABLE summaries (
  name TEXT PRIMARY KEY,
  at TEXT NOT NULL,
  told_until INTEGER NOT NULL
) STRICT;

CREATE TABLE products (
  site_id TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  name TEXT,
  url TEXT,
  asked_at INTEGER NOT NULL,
  PRIMARY KEY (site_id, entity_id)
) STRICT, WITHOUT ROWID;
"""


@migrations()
def the_state_file(db: Database) -> None:
    """Make every table of the first release."""
    for statement in _statements(_TABLES):
        db.execute(statement)


@migrations()
def deliveries_are_for_destinations(db: Database) -> None:
    """Have deliveries, messages, blocks and troubles name a destination, such as `slack:support`.

    So far each receiver had either email or Slack. Which one it was shows in its messages; where
    there are none yet, the destination is `:support` until the config says which it is.
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
        f"UPDATE pruned_deliveries SET destination = {_NEWEST.format('pruned_deliveries.destination')}"
    )
    # The key of an alert of trouble holds its scope.
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
    """Let a message wait by itself: for a look, another attempt or a change.

    A mail that some addresses have taken counts as sent. `priority` puts what a backfill sends one
    by one behind everything else.
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
        "CREATE INDEX messages_partly_taken ON messages (destination, due_at) WHERE to_left IS NOT NULL"
    )


# The destination of the newest message to the receiver whose name is filled in, else `:name`.
_NEWEST = (
    "coalesce((SELECT destination FROM messages"
    " WHERE substr(destination, instr(destination, ':') + 1) = {0} ORDER BY id DESC LIMIT 1),"
    " ':' || {0})"
)


@migrations()
def what_was_notified_of_trouble(db: Database) -> None:
    """Remember what people were notified of, so that a fault that comes and goes is one pair of messages an hour.

    Also since when a site shows published reviews only that showed all of them before.
    """
    for column in ("notified_at", "over_at", "recovered_at"):
        db.execute(f"ALTER TABLE troubles ADD COLUMN {column} INTEGER")
    db.execute("UPDATE troubles SET notified_at = since")
    db.execute("ALTER TABLE sites ADD COLUMN private_lost_at INTEGER")


def _statements(script: str) -> Iterator[str]:
    """Split a script at the ends of its lines; `db.executescript` asks SQLite after each character."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if complete_statement(statement):
            yield statement
            statement = ""


@migrations()
def the_order_of_webhooks(db: Database) -> None:
    """Remember what webhooks said of reviews that are not on record, such as those of five stars.

    An older webhook may arrive up to days later, and must not be taken for news.
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
    """Remember since when Wix's answers lack a review's author: one such answer erases nothing."""
    db.execute("ALTER TABLE reviews ADD COLUMN authorless_since INTEGER")


@migrations()
def the_span_of_rescans(db: Database) -> None:
    """Remember from which creation date on a site was rescanned last: beyond that it is not covered."""
    db.execute("ALTER TABLE sites ADD COLUMN rescanned_since INTEGER")


@migrations()
def reminders_for_each_destination(db: Database) -> None:
    """Count reminders for each destination, in spans: from when it was sent the first alert, or that of a reopening.

    `reminded` is the longest span, in milliseconds, that a destination was reminded of since then.
    """
    db.execute(
        "CREATE TABLE reminders (site_id TEXT NOT NULL, review_id TEXT NOT NULL, destination TEXT NOT NULL,"
        " since INTEGER NOT NULL, reminded INTEGER NOT NULL DEFAULT 0,"
        " PRIMARY KEY (site_id, review_id, destination)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX reminders_by_date ON reminders (site_id, since, reminded)")
    # The last reminder was of the longest span that had passed by then.
    db.execute(
        "INSERT INTO reminders (site_id, review_id, destination, since, reminded)"
        " SELECT reviews.site_id, reviews.review_id, deliveries.destination, min(reviews.told_at),"
        " coalesce(max(CASE WHEN alerts.kind = 'reminder' AND alerts.raised_at > reviews.told_at"
        "  THEN alerts.raised_at - reviews.told_at END), 0)"
        " FROM reviews JOIN alerts ON alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id"
        "  AND alerts.kind <> 'closed'"
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
    """Keep what the last config had: only against that it shows which destinations are new.

    addresses are hashes of where a destination leads, rules what may be sent there, both as JSON.
    present is 0 once the config does not have it any more.
    """
    db.execute(
        "CREATE TABLE destinations (destination TEXT PRIMARY KEY, addresses TEXT NOT NULL, rules TEXT NOT NULL,"
        " present INTEGER NOT NULL) STRICT, WITHOUT ROWID"
    )


_RETENTION = """
-- How often words were erased that the write-ahead log may still hold. An older version did not remember that.
CREATE TABLE scrubs (owed INTEGER NOT NULL) STRICT;
INSERT INTO scrubs (owed) VALUES (1);

-- left_at: since when the config does not have the site. unverified is 1 from when a backup was put in place until each
-- review whose words it holds has been asked for. revisited_at: when old reviews were asked for last; revisited_to: the
-- id of the last of them.
ALTER TABLE sites ADD COLUMN left_at INTEGER;
ALTER TABLE sites ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN revisited_at INTEGER;
ALTER TABLE sites ADD COLUMN revisited_to TEXT;

-- pruned_at: when its words and its alerts were erased, because it had been at rest for `keep`; the row stays for ever.
-- pruned_alerts: how many alerts these were, so that none of their keys is given out a second time.
ALTER TABLE reviews ADD COLUMN pruned_at INTEGER;
ALTER TABLE reviews ADD COLUMN pruned_alerts INTEGER NOT NULL DEFAULT 0;
UPDATE reviews SET pruned_at = as_of WHERE status = 'baseline' AND content = '{}';
UPDATE reviews SET pruned_alerts = (SELECT raised FROM pruned_reviews
    WHERE pruned_reviews.site_id = reviews.site_id AND pruned_reviews.review_id = reviews.review_id)
  WHERE (site_id, review_id) IN (SELECT site_id, review_id FROM pruned_reviews);
-- Neither when they were created nor since when they rest is known any more.
INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered, rejected, alerted_at,
    closing, as_of, content, pruned_at, pruned_alerts)
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

-- A retry left failed messages behind that carry nothing, and that name their parent for ever.
DELETE FROM messages WHERE id NOT IN (SELECT message FROM deliveries WHERE message IS NOT NULL);
"""


@migrations()
def retention(db: Database) -> None:
    """Keep what is left of a pruned review in its own row, and what erasing needs to remember."""
    for statement in _statements(_RETENTION):
        db.execute(statement)
