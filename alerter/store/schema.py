"""Tables as migrations create them: those of the first release, and what came later.

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

ACTIONS = """
-- What people do about reviews. key: one press, submission or form, however often it arrives.
-- seen, seen_reply: digests of the text and of the reply that the person had seen. reply: what to
-- send, erased with the text of the review. until: the end of a claim or a snooze; ended_at: when
-- it ended early. calls: the calls to Wix that have begun. looked: the revision that was read
-- right before the last of them. owner: the process that carries it out,
-- until lease_until. place: JSON, where on Slack the person gets the result, until they have it.
-- person, person_id: erased with the review.
CREATE TABLE actions (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL
    CHECK (kind IN ('reply', 'publish', 'reject', 'claim', 'release', 'snooze')),
  site_id TEXT NOT NULL,
  review_id TEXT NOT NULL,
  person TEXT NOT NULL,
  person_id TEXT NOT NULL,
  through TEXT NOT NULL CHECK (through IN ('slack', 'page', 'command')),
  at INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  seen TEXT NOT NULL,
  seen_reply TEXT NOT NULL,
  reply TEXT NOT NULL,
  replaces INTEGER NOT NULL,
  until INTEGER,
  ended_at INTEGER,
  status TEXT NOT NULL CHECK (status IN ('pending', 'sending', 'done', 'failed')),
  due_at INTEGER NOT NULL,
  owner TEXT NOT NULL DEFAULT '',
  lease_until INTEGER,
  calls INTEGER NOT NULL DEFAULT 0,
  looked INTEGER NOT NULL DEFAULT 0,
  outcome TEXT,
  answer TEXT NOT NULL DEFAULT '',
  finished_at INTEGER,
  place TEXT
) STRICT;
CREATE INDEX actions_of_review ON actions (site_id, review_id);
CREATE INDEX actions_unsettled ON actions (due_at) WHERE status IN ('pending', 'sending');
CREATE INDEX actions_unreported ON actions (finished_at)
  WHERE place IS NOT NULL AND finished_at IS NOT NULL;
CREATE INDEX actions_holding ON actions (site_id, until)
  WHERE until IS NOT NULL AND ended_at IS NULL;
"""

CLUSTER = """
-- When a site is read next, in a cluster, and the share of the sites whose rounds one job makes.
ALTER TABLE sites ADD COLUMN next_round INTEGER;
ALTER TABLE sites ADD COLUMN shard INTEGER;
CREATE INDEX sites_due ON sites (shard, next_round) WHERE left_at IS NULL;
-- The next moment at which a call with a rate key is allowed.
CREATE TABLE rate_limits (
  rate_key TEXT PRIMARY KEY,
  next_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Each config that came into force, without what belongs to one machine; see `service.membership`.
CREATE TABLE configs (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL,
  added_at INTEGER NOT NULL
) STRICT;
-- The processes of a cluster. A worker is alive while `seen_at` is recent.
CREATE TABLE workers (
  name TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  version TEXT NOT NULL,
  config INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

JUDGEMENTS = """
-- Each state of a review that triage judged, without words, in the order of `number`.
-- config: the number of the newest config then. status, closing, alerted_at, anonymized: what was
-- recorded. covered: whether ratings such as this were read before. silence: why only some reviews
-- raised alerts, or none. edited, replied: whether its text or its reply is another than in the
-- state before. hits: the keywords of the config in its text, as JSON.
CREATE TABLE judgements (
  site_id TEXT NOT NULL,
  review_id TEXT NOT NULL,
  number INTEGER NOT NULL,
  judged_at INTEGER NOT NULL,
  source TEXT NOT NULL,
  config INTEGER,
  status TEXT NOT NULL,
  closing TEXT,
  alerted_at INTEGER,
  anonymized INTEGER NOT NULL,
  rating INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  created_at INTEGER,
  written_at INTEGER,
  answered INTEGER NOT NULL,
  moderation TEXT NOT NULL,
  entity_id TEXT,
  covered INTEGER NOT NULL,
  silence TEXT,
  edited INTEGER NOT NULL,
  replied INTEGER NOT NULL,
  hits TEXT,
  PRIMARY KEY (site_id, review_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO judgements (site_id, review_id, number, judged_at, source, status, closing, alerted_at,
    anonymized, rating, revision, created_at, answered, moderation, entity_id, covered, edited,
    replied)
  SELECT site_id, review_id, 1, as_of, 'record', status, closing, alerted_at, anonymized, rating,
    revision, created_at, answered, CASE WHEN rejected THEN 'REJECTED' ELSE '' END, entity_id,
    1 = 1, 1 = 1, 1 = 1
  FROM reviews WHERE pruned_at IS NULL;
-- The times in which a site was not read for longer than two periods and an hour.
CREATE TABLE unread_spans (
  site_id TEXT NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (site_id, since)
) STRICT, WITHOUT ROWID;
-- What each config had read and looked for, as JSON; NULL before states were kept.
ALTER TABLE configs ADD COLUMN scope TEXT;
"""

CLUSTERS_OF_REVIEWS = """
CREATE TABLE cluster_reviews (
  alert INTEGER NOT NULL REFERENCES alerts (id),
  site_id TEXT NOT NULL,
  review_id TEXT NOT NULL,
  PRIMARY KEY (alert, site_id, review_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX clusters_of_review ON cluster_reviews (site_id, review_id);
CREATE TABLE cluster_candidates (
  site_id TEXT NOT NULL,
  review_id TEXT NOT NULL,
  PRIMARY KEY (site_id, review_id)
) STRICT, WITHOUT ROWID;
"""
