"""A delivery is for a destination: a receiver's email, or its Slack."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import destination_of, medium_of, phrase_destination, receiver_of
from alerter.service.daemon import serve
from alerter.service.reconcile import reconcile
from alerter.store import State, blocks, report, troubles
from alerter.store.migrations import migrations
from alerter.trouble.recipients import recipients_for
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

TEAM = f"""
[[receivers]]
name = "team"
email = ["{OWNER}"]
slack = "{CHANNEL}"
"""
FIRST_RELEASE = f"""
INSERT INTO alerts VALUES (1, 'new:{SITE}:r1', 'new', '{SITE}', 'r1', 0, '{{}}');
INSERT INTO alerts VALUES
  (2, 'trouble:receiver:support:2026-11-24T12:00:00.000+00:00', 'trouble', NULL, NULL, 0, '{{}}');
INSERT INTO messages (id, receiver, form, status, message_id, attempts, attempted_at, slack_ts)
  VALUES (1, 'support', 'alert', 'sent', 'a@alerter', 1, 0, '1.1'),
  (2, 'owner', 'alert', 'sent', 'b@example.com', 1, 0, NULL);
INSERT INTO deliveries VALUES
  (1, 'support', 'sent', 'burst', 0, 1), (1, 'owner', 'sent', 'burst', 0, 2),
  (1, 'late', 'pending', 'burst', 0, NULL),
  (2, 'owner', 'pending', 'each', 0, NULL);
INSERT INTO pruned_deliveries VALUES ('support', 'sent', 7), ('late', 'sent', 2);
INSERT INTO blocks VALUES ('receiver:support', 0, 0, NULL, 1, 'is_archived'),
  ('receiver:late', 0, 0, NULL, 1, 'gone');
INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered, rejected,
  alerted_at, told_at, reminded, as_of, content) VALUES
  ('{SITE}', 'r1', 1, 1, 'open', 0, 0, 0, 1000, 2000, 1, 0, '{{}}'),
  ('{SITE}', 'r2', 1, 1, 'open', 0, 0, 0, 1000, 90000000, 1, 0, '{{}}'),
  ('{SITE}', 'r3', 1, 1, 'closed', 0, 1, 0, 1000, 2000, 0, 0, '{{}}');
INSERT INTO alerts VALUES (3, 'reminder:{SITE}:r1:1', 'reminder', '{SITE}', 'r1', 86500000, '{{}}'),
  (4, 'lowered:{SITE}:r2:1', 'lowered', '{SITE}', 'r2', 1000, '{{}}'),
  (5, 'reminder:{SITE}:r2:1', 'reminder', '{SITE}', 'r2', 86500000, '{{}}'),
  (6, 'new:{SITE}:r3', 'new', '{SITE}', 'r3', 0, '{{}}');
INSERT INTO deliveries VALUES
  (3, 'owner', 'sent', 'burst', 0, 2), (3, 'support', 'sent', 'burst', 0, 1),
  (4, 'owner', 'sent', 'burst', 0, 2), (5, 'owner', 'sent', 'burst', 0, 2),
  (6, 'owner', 'sent', 'burst', 0, 2);
INSERT INTO troubles VALUES ('receiver:support', 1795521600000, 'is_archived'),
  ('site:{SITE}', 0, 'refused');
"""


def test_a_destination_is_named_by_its_medium_and_receiver() -> None:
    destination = destination_of("the team: all", "slack")

    assert destination == "slack:the team: all"
    assert (medium_of(destination), receiver_of(destination)) == ("slack", "the team: all")
    assert phrase_destination(destination) == "the team: all (Slack)"


async def test_a_receiver_with_email_and_slack_gets_each_alert_by_both(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    config = load_config(write_config(wix, slack, mailbox, receivers=TEAM), SECRETS, secrets=True)
    await serve(config, Clock(), {}, once=True)
    wix.add(SITE, {"content": {"rating": 1, "title": "Stale"}})
    slack.channels[CHANNEL].archived = True

    await serve(config, Clock(), {}, once=True)

    assert any("Stale" in mail.subject for mail in mailbox.mails)
    with State.open(config.database, migrate=False) as state:
        assert report.delivery_counts(state)["team"] == {"sent": 2, "pending": 1}
        assert [block.scope for block in blocks.get_parked(state)] == ["destination:slack:team"]
        assert [trouble.scope for trouble in troubles.get_open_troubles(state)] == [
            "destination:slack:team"
        ]


def test_trouble_with_slack_reaches_the_same_receiver_by_mail(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    config = load_config(write_config(wix, slack, mailbox, receivers=TEAM), SECRETS, secrets=True)

    assert recipients_for("destination:slack:team", config) == ["email:team"]
    assert recipients_for("addresses:team", config) == ["slack:team"]
    assert recipients_for("service:slack", config) == ["email:team"]


@pytest.mark.sqlite  # the first release had no other engine
def test_a_state_file_of_the_first_release_is_brought_up_to_date(
    config: Config, tmp_path: Path, clock: SetClock
) -> None:
    with closing(sqlite3.connect(config.database)) as conn:
        first = migrations._migrations[0]
        migrations.ensure_migrations_table(db := Database(conn, execute_plugins=False))
        first.fn(db)
        db[migrations.migrations_table].insert(
            {"migration_set": "alerter", "name": first.name, "applied_at": "2026-11-24"}
        )
        conn.executescript(FIRST_RELEASE)
    late = config.receivers[1].model_copy(update={"name": "late"})
    config = config.model_copy(update={"receivers": (*config.receivers, late)})

    with State.open(config.database, migrate=True) as state:
        reconcile(state, config, clock)

        rows = state.rows(
            "SELECT alert, destination FROM deliveries WHERE alert < 3 ORDER BY alert, destination"
        )
        assert [tuple(row.values()) for row in rows] == [
            (1, "email:owner"), (1, "slack:late"), (1, "slack:support"), (2, "email:owner")
        ]  # fmt: skip
        assert report.delivery_counts(state)["support"] == {"sent": 9}
        assert report.delivery_counts(state)["late"] == {"pending": 1, "sent": 2}
        assert {block.scope for block in blocks.get_parked(state)} == {
            "destination:slack:support", "destination:slack:late"
        }  # fmt: skip
        assert "destination:slack:support" in [
            each.scope for each in troubles.get_open_troubles(state)
        ]
        key = state.value("SELECT key FROM alerts WHERE id = 2")
        assert key == "trouble:destination:slack:support:2026-11-24T12:00:00.000+00:00"

        # r2 was open again after its reminder, so reminders count from then on.
        rows = state.rows(
            "SELECT review_id, destination, since, reminded FROM reminders"
            " ORDER BY review_id, destination"
        )
        assert [tuple(row.values()) for row in rows] == [
            ("r1", "email:owner", 2000, 86498000), ("r1", "slack:support", 2000, 86498000),
            ("r2", "email:owner", 90000000, 0),
        ]  # fmt: skip
