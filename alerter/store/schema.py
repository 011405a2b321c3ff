"""The tables of the first release; `migrations.py` changes them to what they are now.

Moments are whole milliseconds since 1970 in UTC. Nothing here may change: add a migration instead.
"""

TABLES = """
-- How far a site has been read.
-- name: from the config, last seen.
-- checkpoint: the newest createdDate read, by the clock of Wix, never by ours.
-- covered_rating: reviews up to it are on record from the beginning (0: never read to the end).
-- failing_since: the first of the present run of failed polls.
-- restored: when a backup was restored, until the site has been read (1: by an older version;
--   0: it has been read). Alerts may have been sent after the backup was made.
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

-- alerted_at: when the last `new` was raised, again if the review was closed and then lowered.
-- as_of: the moment at which the row was true; event_sequence: the number of the webhook that it
-- comes from (0: it was read). content: JSON, without what has a column; {} once it is pruned, and
-- without text if the review is gone from Wix or was anonymized there.
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

-- Until the migration `retention`: what was left of reviews that were closed long ago.
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

-- A message is made of due deliveries before the call that sends it. It is `sending` until the
-- answer, and `in_doubt` if the answer is lost; then its deliveries never change. If it is refused
-- for certain, the row is deleted and its deliveries are free again.
-- parent: the message that it replies to. subject: of a mail that later mails reply to.
-- stale: how often its content has changed since it was sent; if not 0, Slack's copy is replaced.
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
CREATE INDEX deliveries_waiting ON deliveries (receiver, due_at, alert)
  WHERE status = 'pending' AND message IS NULL;
CREATE INDEX deliveries_of_message ON deliveries (message) WHERE message IS NOT NULL;
CREATE INDEX deliveries_unsettled ON deliveries (status, receiver)
  WHERE status IN ('pending', 'failed');

-- The numbers of pruned deliveries, so that the counters of `status` never decrease.
CREATE TABLE pruned_deliveries (
  receiver TEXT NOT NULL,
  status TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (receiver, status)
) STRICT, WITHOUT ROWID;

-- Scopes that must not be called before `until`, or before a person acts (`parked`).
-- A scope is `receiver:<name>`, `service:<name>` or `site:<site id>`. since: the first of the
-- present run of failures.
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

-- Until when each summary has been sent; at first, when the config got it. at: its time of day or
-- week.
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
