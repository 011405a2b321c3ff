"""What a config may say, and what is said of one that may not."""

import os
import re
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from alerter.config import Config, load_config
from alerter.errors import ConfigError

SECRETS = {
    "WIX": "wix-key-7f3a",
    "APP": "app-secret-66b0",
    "SMTP": "smtp-pass-55d0",
    "SLACK": "xoxb-token-91c2",
}
FULL = """
state = "state.db"
timezone = "Europe/Berlin"
[poll]
every = "60s"
rescan_every = "1h"
rescan_window = "30d"
trouble_after = "15m"
[alerts]
threshold = 2
burst = 10
[wix]
base_url = "https://www.wixapis.com"
[[sites]]
name = "Corner Bakery"
site_id = "11111111-1111-4111-8111-111111111111"
api_key = "env:WIX"
threshold = 3
[[sites]]
name = "Corner Café"
site_id = "22222222-2222-4222-8222-222222222222"
app_id = "an-app"
app_secret = "env:APP"
instance_id = "an-instance"
[smtp]
host = "smtp.example.com"
port = 587
security = "starttls"
username = "alerts"
password = "env:SMTP"
from = "Review alerts <alerts@example.com>"
[slack]
token = "env:SLACK"
base_url = "https://slack.com/api/"
[[receivers]]
name = "owner"
email = ["owner@example.com"]
[[receivers]]
name = "support"
slack = "C0123456789"
sites = ["Corner Bakery"]
max_rating = 1
quiet = {from = "22:00", to = "07:00"}
"""
LEAST = """
state = "state.db"
[[sites]]
name = "Corner Bakery"
site_id = "11111111-1111-4111-8111-111111111111"
api_key = "env:WIX"
[slack]
token = "env:SLACK"
[[receivers]]
name = "support"
slack = "C0123456789"
"""

Load = Callable[..., Config]
Faults = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str, environ: Mapping[str, str] = SECRETS, *, secrets: bool = True) -> Config:
        path = tmp_path / "config.toml"
        path.write_text(text, "utf-8")
        return load_config(path, environ, secrets=secrets)

    return load


@pytest.fixture
def faults(load: Load) -> Faults:
    def faults(
        text: str, environ: Mapping[str, str] = SECRETS, *, secrets: bool = True
    ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ, secrets=secrets)
        return caught.value.problems

    return faults


def changed(old: str, new: str, text: str = FULL) -> str:
    """The config with one of its lines replaced."""
    assert text.count(f"\n{old}\n") == 1, f"{old} must be one line of the config"
    return text.replace(f"\n{old}\n", f"\n{new}\n")


def test_a_config_with_every_key_is_read_as_it_is_meant(load: Load, tmp_path: Path) -> None:
    config = load(FULL)
    assert config.state_path == tmp_path / "state.db"
    assert config.timezone == ZoneInfo("Europe/Berlin")
    assert config.poll.rescan_window == timedelta(days=30)
    bakery, cafe = config.sites
    assert (bakery.name, bakery.api_key and bakery.api_key.get_secret_value()) == (
        "Corner Bakery",
        SECRETS["WIX"],
    )
    assert (cafe.app_id, cafe.app_secret and cafe.app_secret.get_secret_value()) == (
        "an-app",
        SECRETS["APP"],
    )
    assert (config.threshold(bakery), config.threshold(cafe)) == (3, 2)
    assert config.smtp
    assert (config.smtp.sender, config.smtp.port) == ("Review alerts <alerts@example.com>", 587)
    owner, support = config.receivers
    assert (owner.email, owner.sites, config.service(owner, "email")) == (
        ("owner@example.com",),
        None,
        "smtp",
    )
    assert (support.slack, support.sites, support.max_rating) == (
        "C0123456789",
        ("Corner Bakery",),
        1,
    )
    assert support.quiet
    assert (support.quiet.begin, support.quiet.end) == (22 * 60, 7 * 60)
    assert support.quiet.days == ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    assert config.service(support, "slack") == "slack"


@pytest.mark.parametrize(
    "whom", ["U0123456789", "W0123456789", "S0123456789"], ids=["person", "person too", "group"]
)
def test_a_mention_is_a_person_or_a_group(load: Load, whom: str) -> None:
    [receiver] = load(LEAST + f'mention = "{whom}"\nmention_max_rating = 1').receivers
    assert (receiver.mention, receiver.mention_max_rating) == (whom, 1)


@pytest.mark.parametrize(
    "whom", ["C0123456789", "G0123456789", "D0123456789", "U0123456789", "W0123456789"]
)
def test_a_receiver_on_slack_is_a_channel_or_a_person(load: Load, whom: str) -> None:
    [receiver] = load(LEAST.replace("C0123456789", whom)).receivers
    assert receiver.slack == whom


def test_what_is_left_out_has_the_documented_default(load: Load) -> None:
    config = load(LEAST)
    assert config.timezone == ZoneInfo("UTC")
    assert config.templates is None
    assert config.poll.every == timedelta(seconds=60)
    assert config.poll.rescan_every == timedelta(hours=1)
    assert config.poll.rescan_window == timedelta(days=30)
    assert config.poll.trouble_after == timedelta(minutes=15)
    assert (config.alerts.threshold, config.alerts.burst) == (2, 10)
    assert config.wix.base_url == "https://www.wixapis.com"
    assert config.slack
    assert config.slack.base_url == "https://slack.com/api"


def test_a_config_cannot_be_changed_once_it_is_checked(load: Load) -> None:
    config = load(LEAST)
    with pytest.raises(ValidationError):
        config.alerts.threshold = 5


def test_the_state_may_be_a_table(load: Load, tmp_path: Path) -> None:
    config = load(LEAST.replace('state = "state.db"', 'state = { file = "old.db", keep = "90d" }'))
    assert (config.state_path, config.state_file.keep) == (tmp_path / "old.db", timedelta(days=90))
    config = load(LEAST.replace('state = "state.db"', "") + '\n[state]\nkeep = "90d"\n')
    assert (config.state_path, config.state_file.keep) == (
        tmp_path / "state.db",
        timedelta(days=90),
    )
    assert load(LEAST).state_file.keep == timedelta(days=400)


# Every row: a line of FULL, what stands there instead, the key that is at fault, and what is said of it.
QUIET = 'quiet = {from = "22:00", to = "07:00"}'
ONE_FAULT = {
    "an unknown key": (
        'timezone = "Europe/Berlin"',
        "colour = 1",
        "colour",
        "is not a known key; known: state, ",
    ),
    "a misspelt key": (
        'every = "60s"',
        'evry = "60s"',
        "poll.evry",
        "is not a known key; did you mean every?",
    ),
    "a misspelt table": ("[wix]", "[wx]", "wx", "is not a known key; did you mean wix?"),
    "a misspelt alias": (
        "port = 587",
        'port = 587\nfro = "x"',
        "smtp.fro",
        "is not a known key; did you mean from?",
    ),
    "a misspelt key of a site": (
        "threshold = 3",
        "treshold = 3",
        "sites.1.treshold",
        "did you mean threshold?",
    ),
    "no state": ('state = "state.db"', "", "state", "is missing"),
    "an empty state": (
        'state = "state.db"',
        'state = " "',
        "state",
        "must be a text, and not an empty one",
    ),
    "a state that is a number": (
        'state = "state.db"',
        "state = 1",
        "state",
        "must be a text, and not an empty one",
    ),
    "a state that is read again after it was erased": (
        'state = "state.db"',
        'state = { keep = "29d" }',
        "state.keep",
        "must not be less than poll.rescan_window",
    ),
    "a state kept for nothing": (
        'state = "state.db"',
        'state = { keep = "0d" }',
        "state.keep",
        "must be a duration",
    ),
    "a misspelt key of the state": (
        'state = "state.db"',
        'state.kep = "9d"',
        "state.kep",
        "did you mean keep?",
    ),
    "a state in no file": ('state = "state.db"', 'state.file = ""', "state.file", "must be a text"),
    "a misspelt timezone": (
        'timezone = "Europe/Berlin"',
        'timezone = "Europe/Berln"',
        "timezone",
        'must be a timezone such as "Europe/Berlin"; did you mean "Europe/Berlin"?',
    ),
    "a timezone like no other": (
        'timezone = "Europe/Berlin"',
        'timezone = "zzz"',
        "timezone",
        "must be a timezone",
    ),
    "templates that are not there": (
        'timezone = "Europe/Berlin"',
        'templates = "mine"',
        "templates",
        "must be a folder; there is none at",
    ),
    "templates that are a file": (
        'timezone = "Europe/Berlin"',
        'templates = "config.toml"',
        "templates",
        "must be a folder; there is none at",
    ),
    "no stars": (
        "threshold = 2",
        "threshold = 0",
        "alerts.threshold",
        "must be a number of stars: 1, 2, 3, 4 or 5",
    ),
    "six stars": (
        "threshold = 3",
        "threshold = 6",
        "sites.1.threshold",
        "must be a number of stars",
    ),
    "stars as text": (
        "max_rating = 1",
        'max_rating = "1"',
        "receivers.2.max_rating",
        "must be a number of stars",
    ),
    "stars as yes": (
        "threshold = 2",
        "threshold = true",
        "alerts.threshold",
        "must be a number of stars",
    ),
    "half a star": (
        "threshold = 2",
        "threshold = 2.0",
        "alerts.threshold",
        "must be a number of stars",
    ),
    "no burst": (
        "burst = 10",
        "burst = 0",
        "alerts.burst",
        "must be a whole number from 1 to 1000",
    ),
    "burst as yes": ("burst = 10", "burst = true", "alerts.burst", "must be a whole number"),
    "port as text": (
        "port = 587",
        'port = "587"',
        "smtp.port",
        "must be a whole number from 1 to 65535",
    ),
    "port too high": (
        "port = 587",
        "port = 65536",
        "smtp.port",
        "must be a whole number from 1 to 65535",
    ),
    "no port": ("port = 587", "", "smtp.port", "is missing"),
    "no security": ('security = "starttls"', "", "smtp.security", "is missing"),
    "unknown security": (
        'security = "starttls"',
        'security = "ssl"',
        "smtp.security",
        "must be 'starttls', 'tls' or 'none'",
    ),
    "a user without a password": (
        'password = "env:SMTP"',
        "",
        "smtp.password",
        "username and password go together",
    ),
    "a password without a user": (
        'username = "alerts"',
        "",
        "smtp.username",
        "username and password go together",
    ),
    "a sender that is no address": (
        'from = "Review alerts <alerts@example.com>"',
        'from = "Review alerts"',
        "smtp.from",
        "must be a mail address",
    ),
    "a sender with a second line": (
        'from = "Review alerts <alerts@example.com>"',
        'from = "a@example.com\\nBcc: b@example.com"',
        "smtp.from",
        "must be a mail address",
    ),
    "a site without a name": (
        'name = "Corner Café"',
        'name = ""',
        "sites.2.name",
        "must be a text",
    ),
    "a site id that is an address": (
        'site_id = "11111111-1111-4111-8111-111111111111"',
        'site_id = "https://bakery.example.com"',
        "sites.1.site_id",
        "must be the site's id",
    ),
    "a password in plain text": (
        'security = "starttls"',
        'security = "none"',
        "smtp.security",
        "must be starttls or tls: a password goes unencrypted to this machine only",
    ),
    "a site without a way in": (
        'api_key = "env:WIX"',
        "",
        "sites.1.api_key",
        "is missing (or, for an app: app_id,",
    ),
    "a site with two ways in": (
        "threshold = 3",
        'app_secret = "env:APP"',
        "sites.1.app_secret",
        "goes without api_key",
    ),
    "half an app": (
        'app_secret = "env:APP"',
        "",
        "sites.2.app_secret",
        "app_id, app_secret and instance_id go together",
    ),
    "no instance": ('instance_id = "an-instance"', "", "sites.2.instance_id", "go together"),
    "a receiver of nothing": (
        'slack = "C0123456789"',
        "",
        "receivers.2.email",
        "set email, slack or both",
    ),
    "a mention in a mail": (
        'email = ["owner@example.com"]',
        'email = ["owner@example.com"]\nmention = "U0123456789"',
        "receivers.1.mention",
        "is for receivers on Slack",
    ),
    "a mention by name": (
        "max_rating = 1",
        'mention = "@ada"',
        "receivers.2.mention",
        "must be an id like U0123456789",
    ),
    "a mention of a channel": (
        "max_rating = 1",
        'mention = "C0123456789"',
        "receivers.2.mention",
        "a user group: S…",
    ),
    "a mention's rating alone": (
        "max_rating = 1",
        "mention_max_rating = 1",
        "receivers.2.mention_max_rating",
        "goes with mention, which is missing",
    ),
    "a mention's rating of no star": (
        "max_rating = 1",
        'mention = "U0123456789"\nmention_max_rating = 0',
        "receivers.2.mention_max_rating",
        "must be a number of stars",
    ),
    "a channel by its name": (
        'slack = "C0123456789"',
        'slack = "#reviews"',
        "receivers.2.slack",
        "must be an id like C0",
    ),
    "an id in small letters": (
        'slack = "C0123456789"',
        'slack = "c0123456789"',
        "receivers.2.slack",
        "must be an id",
    ),
    "an address with a name": (
        'email = ["owner@example.com"]',
        'email = ["owner@example.com", "Owner <o@example.com>"]',
        "receivers.1.email.2",
        "must be a bare mail address",
    ),
    "no address": (
        'email = ["owner@example.com"]',
        "email = []",
        "receivers.1.email",
        "must name at least one",
    ),
    "a receiver of no site": (
        'sites = ["Corner Bakery"]',
        "sites = []",
        "receivers.2.sites",
        "must name at least one",
    ),
    "a receiver of an unknown site": (
        'sites = ["Corner Bakery"]',
        'sites = ["Corner Bakry"]',
        "receivers.2.sites.1",
        'there is no site "Corner Bakry"; did you mean "Corner Bakery"?',
    ),
    "more than the most": (
        "max_rating = 1",
        "max_rating = 1\nmin_rating = 2",
        "receivers.2.min_rating",
        "must not be more than max_rating",
    ),
    "a token by mail": (
        'email = ["owner@example.com"]',
        'email = ["owner@example.com"]\ntoken = "env:SLACK"',
        "receivers.1.token",
        "goes with slack",
    ),
    "a literal token": (
        'slack = "C0123456789"',
        'slack = "C0123456789"\ntoken = "xoxb-token-91c2"',
        "receivers.2.token",
        "must say where the secret is",
    ),
    "no keywords": (
        "max_rating = 1",
        "keywords = []",
        "receivers.2.keywords",
        "must name at least one",
    ),
    "a product that is no list": (
        "max_rating = 1",
        'products = "b1"',
        "receivers.2.products",
        "must be a list",
    ),
    "no time of day": (
        QUIET,
        'quiet = {from = "22:00", to = "7"}',
        "receivers.2.quiet.to",
        'must be a time of day such as "22:00"',
    ),
    "a minute too many": (
        QUIET,
        'quiet = {from = "22:00", to = "07:60"}',
        "receivers.2.quiet.to",
        "must be a time of day",
    ),
    "a time that no clock shows": (
        QUIET,
        'quiet = {from = "22:00", to = "24:01"}',
        "receivers.2.quiet.to",
        "must be a time of day",
    ),
    "hours without a beginning": (
        QUIET,
        'quiet = {to = "07:00"}',
        "receivers.2.quiet.from",
        "is missing",
    ),
    "hours that are none": (
        QUIET,
        'quiet = {from = "22:00", to = "22:00"}',
        "receivers.2.quiet.to",
        "must not be the same as `from`",
    ),
    "hours that begin at the end": (
        QUIET,
        'quiet = {from = "24:00", to = "07:00"}',
        "receivers.2.quiet.from",
        "must be earlier",
    ),
    "hours without an end": (
        QUIET,
        'quiet = {from = "00:00", to = "24:00"}',
        "receivers.2.quiet.days",
        "must leave a day on which the receiver gets something",
    ),
    "a day of another language": (
        QUIET,
        'quiet = {from = "22:00", to = "07:00", days = ["mon", "die"]}',
        "receivers.2.quiet.days.2",
        "must be a day: mon, tue, wed, thu, fri, sat or sun",
    ),
    "days that are no list": (
        QUIET,
        'quiet = {from = "22:00", to = "07:00", days = 5}',
        "receivers.2.quiet.days",
        "must be a list",
    ),
    "an unknown key of quiet hours": (
        QUIET,
        'quiet = {from = "22:00", to = "07:00", day = ["mon"]}',
        "receivers.2.quiet.day",
        "did you mean days?",
    ),
    "a site like no other": (
        'sites = ["Corner Bakery"]',
        'sites = ["Zoo"]',
        "receivers.2.sites.1",
        'is no site "Zoo"',
    ),
}


@pytest.mark.parametrize(("old", "new", "key", "phrase"), ONE_FAULT.values(), ids=ONE_FAULT.keys())
def test_a_fault_is_told_with_its_key(
    faults: Faults, old: str, new: str, key: str, phrase: str
) -> None:
    [problem] = faults(changed(old, new))
    assert problem.startswith(f"{key}: ")
    assert phrase in problem
    assert problem.endswith(" (in config.toml)")


TWO_OF_A_KIND = {
    "sites by name": ('name = "Corner Café"', 'name = "Corner Bakery"', "sites.{}.name"),
    "sites by id": (
        'site_id = "22222222-2222-4222-8222-222222222222"',
        'site_id = "11111111-1111-4111-8111-111111111111"',
        "sites.{}.site_id",
    ),
    "receivers by name": ('name = "support"', 'name = "owner"', "receivers.{}.name"),
}


@pytest.mark.parametrize(("old", "new", "key"), TWO_OF_A_KIND.values(), ids=TWO_OF_A_KIND.keys())
def test_two_of_the_same_name_or_id_are_both_told(
    faults: Faults, old: str, new: str, key: str
) -> None:
    told = faults(changed(old, new))
    assert [problem.split(": ")[0] for problem in told] == [key.format(1), key.format(2)]
    assert all("each needs its own" in problem for problem in told)


@pytest.mark.parametrize(
    ("name", "key"),
    [("smtp", "receivers.1.email"), ("slack", "receivers.2.slack")],
    ids=["smtp", "slack"],
)
def test_a_receiver_needs_the_table_of_its_service(faults: Faults, name: str, key: str) -> None:
    without = re.sub(rf"\[{name}\]\n([^\[].*\n)+", "", FULL)
    assert faults(without) == [f"{key}: needs the table [{name}] (in config.toml)"]


def test_a_receiver_with_a_token_of_its_own_needs_no_table(load: Load) -> None:
    config = load(LEAST.replace('[slack]\ntoken = "env:SLACK"\n', "") + 'token = "env:SLACK"\n')
    [receiver] = config.receivers
    workspace = config.workspace(receiver)
    assert workspace
    assert workspace.token.get_secret_value() == SECRETS["SLACK"]
    assert workspace.base_url == "https://slack.com/api"
    assert SECRETS["SLACK"] not in repr(config)


@pytest.mark.parametrize("secrets", [True, False], ids=["with secrets", "without secrets"])
def test_receivers_share_a_workspace_where_they_name_the_same_token(
    load: Load, *, secrets: bool
) -> None:
    more = [("b", "env:SLACK"), ("c", "env:SMTP"), ("d", "env:SMTP")]
    text = LEAST + "".join(
        f'[[receivers]]\nname = "{name}"\nslack = "C22"\ntoken = "{token}"\n'
        for name, token in more
    )
    config = load(text, secrets=secrets)
    assert [config.service(receiver, "slack") for receiver in config.receivers] == [
        "slack",
        "slack:env:SLACK",
        "slack:env:SMTP",
        "slack:env:SMTP",
    ]


@pytest.mark.parametrize("name", ["sites", "receivers"])
@pytest.mark.parametrize("empty", [True, False], ids=["an empty list", "nothing"])
def test_at_least_one_site_and_one_receiver_are_needed(
    faults: Faults, name: str, *, empty: bool
) -> None:
    without = re.sub(rf"\[\[{name}\]\]\n([^\[].*\n)+", "", LEAST)
    [problem] = faults(f"{name} = []\n{without}" if empty else without)
    assert problem.startswith(f"{name}: ")
    assert ("at least one" if empty else "is missing") in problem


def test_every_fault_is_told_at_once(faults: Faults) -> None:
    text = changed('every = "60s"', 'every = "now"')
    text = changed("burst = 10", "brust = 10", text)
    text = changed("port = 587", "port = 0", text)
    text = changed('api_key = "env:WIX"', 'api_key = "env:NOT_SET"', text)
    text = changed('instance_id = "an-instance"', "", text)
    text = changed('slack = "C0123456789"', 'slack = "#x"\nemail = ["x"]', text)
    text = changed('sites = ["Corner Bakery"]', 'sites = ["Zoo"]\nmin_rating = 3', text)
    text = changed(QUIET, 'quiet = {from = "24:00", to = "7"}', text)
    assert {problem.split(": ")[0] for problem in faults(text)} == {
        "poll.every",
        "alerts.brust",
        "smtp.port",
        "sites.1.api_key",
        "sites.2.instance_id",
        "receivers.2.slack",
        "receivers.2.email.1",
        "receivers.2.sites.1",
        "receivers.2.min_rating",
        "receivers.2.quiet.from",
        "receivers.2.quiet.to",
    }


def test_every_unknown_site_of_a_receiver_is_told(faults: Faults) -> None:
    told = faults(changed('sites = ["Corner Bakery"]', 'sites = ["Corner Bakry", "Corner Caf"]'))
    assert ["Corner Bakry" in problem for problem in told] == [True, False]
    assert ["Corner Caf" in problem for problem in told] == [False, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            'email = ["owner@example.com"]',
            'email = "owner@example.com"',
            id="an address that is no list",
        ),
        pytest.param('email = ["owner@example.com"]', "email = []", id="an empty list"),
        pytest.param(
            'sites = ["Corner Bakery"]', 'sites = "Corner Bakery"', id="a site that is no list"
        ),
    ],
)
def test_a_fault_of_a_list_is_told_in_words_for_people(faults: Faults, old: str, new: str) -> None:
    [problem] = faults(changed(old, new))
    assert not re.search("tuple|validation|instance|dictionary", problem)


@pytest.mark.parametrize(
    ("address", "sent_to"),
    [
        ("info@bücher.example", "info@xn--bcher-kva.example"),
        ("info@straße.example", "info@xn--strae-oqa.example"),
        ("info@BÜCHER.example", "info@xn--bcher-kva.example"),
    ],
    ids=["an umlaut", "a sharp s", "capitals"],
)
def test_a_domain_outside_ascii_is_encoded(load: Load, address: str, sent_to: str) -> None:
    config = load(changed('email = ["owner@example.com"]', f'email = ["{address}"]'))
    assert config.receivers[0].email == (sent_to,)


def test_a_local_part_outside_ascii_is_refused_with_the_reason(faults: Faults) -> None:
    [problem] = faults(changed('email = ["owner@example.com"]', 'email = ["jürgen@example.com"]'))
    assert "ASCII characters only before the @" in problem


def test_an_address_without_a_host_is_one_fault(faults: Faults) -> None:
    [problem] = faults(changed('email = ["owner@example.com"]', 'email = ["owner"]'))
    assert problem.startswith("receivers.1.email.1: must be a mail address such as")


def test_single_brackets_around_sites_are_told_what_is_missing(faults: Faults) -> None:
    [problem] = faults(LEAST.replace("[[sites]]", "[sites]"))
    assert "[[sites]]" in problem


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1s", timedelta(seconds=1)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("30d", timedelta(days=30)),
        ("36500d", timedelta(days=36500)),
    ],
    ids=str,
)
def test_a_duration_is_a_number_and_a_unit(load: Load, text: str, span: timedelta) -> None:
    assert load(changed('every = "60s"', f'every = "{text}"')).poll.every == span


@pytest.mark.parametrize(
    "value",
    [
        '""',
        '"0s"',
        '"5"',
        '"s"',
        '"-5m"',
        '"1.5h"',
        '"5 m"',
        '"5M"',
        '"5min"',
        '"PT5M"',
        '"1h30m"',
        '"36501d"',
        '"5m\\n"',
        "300",
    ],
)
def test_anything_else_is_no_duration(faults: Faults, value: str) -> None:
    [problem] = faults(changed('rescan_every = "1h"', f"rescan_every = {value}"))
    assert problem.startswith(
        'poll.rescan_every: must be a duration such as "90s", "5m", "2h" or "30d"'
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://127.8.9.1",
        "http://[::1]:8080",
        "http://localhost:1",
        "https://proxy.example.com/x",
    ],
)
def test_plain_http_goes_to_this_machine(load: Load, url: str) -> None:
    config = load(changed('base_url = "https://www.wixapis.com"', f'base_url = "{url}/"'))
    assert config.wix.base_url == url


@pytest.mark.parametrize(
    ("url", "phrase"),
    [
        ("http://www.wixapis.com", "must be https://"),
        ("http://10.0.0.1", "must be https://"),
        ("http://0.0.0.0", "must be https://"),
        ("http://localhost.example.com", "must be https://"),
        ("http://127.0.0.1.example.com", "must be https://"),
        ("http://127.0.0.1@example.com", "must be an address"),
        ("ftp://127.0.0.1", "must be an address"),
        ("www.wixapis.com", "must be an address"),
        ("https://", "must be an address"),
        ("https://[::1", "must be an address"),
        ("https://example.com:99999", "must be an address"),
        ("https://example.com/?key=1", "must be an address"),
    ],
)
def test_a_base_url_is_https_or_of_this_machine(faults: Faults, url: str, phrase: str) -> None:
    [problem] = faults(changed('base_url = "https://slack.com/api/"', f'base_url = "{url}"'))
    assert problem.startswith(f"slack.base_url: {phrase}")


@pytest.mark.parametrize(
    "url", ["https://:password@example.com", "https://exam ple.com", "https://example.com/#x"]
)
def test_a_base_url_has_a_host_and_a_path_and_nothing_else(faults: Faults, url: str) -> None:
    [problem] = faults(changed('base_url = "https://slack.com/api/"', f'base_url = "{url}"'))
    assert problem.startswith("slack.base_url: must be an address")


@pytest.mark.parametrize(
    "sender", ["Alerts <a@example.com>, b@example.com", "a@example.com, b@example.com"]
)
def test_a_sender_is_one_address(faults: Faults, sender: str) -> None:
    [problem] = faults(changed('from = "Review alerts <alerts@example.com>"', f'from = "{sender}"'))
    assert problem.startswith("smtp.from: ")


def test_paths_are_relative_to_the_config_and_not_to_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc" / "mine").mkdir(parents=True)
    (tmp_path / "etc" / "config.toml").write_text('templates = "mine"\n' + LEAST)
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("etc/config.toml"), SECRETS, secrets=True)
    assert config.state_path == tmp_path / "etc" / "state.db"
    assert config.templates == tmp_path / "etc" / "mine"


def test_an_absolute_path_stays_as_it_is(load: Load) -> None:
    assert load(LEAST.replace("state.db", "/var/lib/alerter/state.db")).state_path == Path(
        "/var/lib/alerter/state.db"
    )


def test_a_templates_folder_that_cannot_be_looked_at_is_a_fault(faults: Faults) -> None:
    [problem] = faults(f'templates = "{"x" * 300}"\n{LEAST}')
    assert problem.startswith("templates: ")


def secret_of(config: Config) -> str:
    key = config.sites[0].api_key
    return key.get_secret_value() if key else ""


def with_key(value: str) -> str:
    return changed('api_key = "env:WIX"', f'api_key = "{value}"', LEAST)


def test_a_secret_comes_from_the_environment(load: Load) -> None:
    assert secret_of(load(LEAST, SECRETS | {"WIX": " a-key\n"})) == "a-key"


def test_a_secret_comes_from_a_file_beside_the_config(load: Load, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "wix").write_text("a-key\n")
    assert secret_of(load(with_key("file:secrets/wix"))) == "a-key"
    assert secret_of(load(with_key(f"file:{tmp_path}/secrets/wix"))) == "a-key"


def test_a_secret_comes_from_a_credential_of_systemd(load: Load, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "wix").write_text("a-key")
    environ = SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert secret_of(load(with_key("credential:wix"), environ)) == "a-key"


NO_SECRET = {
    "a variable that is not set": ("env:NOT_SET", "the environment variable NOT_SET is not set"),
    "an empty variable": ("env:EMPTY", "the environment variable EMPTY is not set"),
    "a blank variable": ("env:BLANK", "env:BLANK is empty"),
    "a variable of two lines": (
        "env:TWO",
        "env:TWO is empty or has a character that no secret has",
    ),
    "no file": ("file:none", "file:none cannot be read: No such file or directory"),
    "a folder": ("file:.", "file:. cannot be read: Is a directory"),
    "an empty file": ("file:empty", "file:empty is empty"),
    "a file that is no text": ("file:binary", "file:binary cannot be read: not text"),
    "no folder of credentials": (
        "credential:wix",
        "LoadCredential has not set CREDENTIALS_DIRECTORY",
    ),
    "a secret itself": (
        "wix-key-itself",
        'must say where the secret is: "env:NAME", "file:PATH" or "credential:NAME"',
    ),
    "a source without a name": ("env:", "must say where the secret is"),
    "an unknown source": ("vault:wix", "must say where the secret is"),
}


@pytest.mark.parametrize(("value", "phrase"), NO_SECRET.values(), ids=NO_SECRET.keys())
def test_a_secret_that_is_not_there_is_a_fault(
    faults: Faults, tmp_path: Path, value: str, phrase: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    [problem] = faults(with_key(value), SECRETS | {"EMPTY": "", "BLANK": " ", "TWO": "one\ntwo"})
    assert problem.startswith("sites.1.api_key: ")
    assert phrase in problem


def test_a_credential_that_systemd_did_not_load_is_a_fault(faults: Faults, tmp_path: Path) -> None:
    [problem] = faults(
        with_key("credential:wix"), SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    )
    assert "the secret in credential:wix cannot be read: No such file or directory" in problem


def test_commands_that_speak_to_no_service_need_no_secret(load: Load, faults: Faults) -> None:
    assert secret_of(load(LEAST, {}, secrets=False)) == ""
    assert load(with_key("file:none"), {}, secrets=False)
    [problem] = faults(with_key("wix-key-itself"), {}, secrets=False)
    assert "must say where the secret is" in problem


# Where pydantic's own messages would quote what was written: https://docs.pydantic.dev/latest/errors/errors/
HUSH = "hush-7"
LEAKS = {
    "stands in the config": f'api_key = "{HUSH}"',
    "stands in a list": f'api_key = ["{HUSH}"]',
    "stands in a table": f'api_key = {{key = "{HUSH}"}}',
    "stands at a misspelt key": f'api_kye = "{HUSH}"\napi_key = "env:WIX"',
    "stands where another key is missing": f'app_secret = "{HUSH}"',
    "stands for a number": f'api_key = "env:WIX"\nthreshold = "{HUSH}"',
    "is in the environment, and another is missing": 'api_key = "env:HUSH"\nbogus = 1',
    "is in a file of two lines": 'api_key = "file:hush"',
}


@pytest.mark.parametrize("line", LEAKS.values(), ids=LEAKS.keys())
def test_no_fault_tells_a_secret_that(load: Load, tmp_path: Path, line: str) -> None:
    (tmp_path / "hush").write_text(f"{HUSH}\n{HUSH}")
    with pytest.raises(ConfigError) as caught:
        load(changed('api_key = "env:WIX"', line, LEAST), SECRETS | {"HUSH": HUSH})
    error = caught.value
    told = [str(error), repr(error), *error.problems, *traceback.format_exception(error)]
    assert not [
        text for text in told if HUSH in text or any(secret in text for secret in SECRETS.values())
    ]


def test_a_config_never_shows_its_secrets(load: Load) -> None:
    config = load(FULL)
    told = f"{config!r} {config} {config.sites} {config.model_dump_json()}"
    assert not [secret for secret in SECRETS.values() if secret in told]


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (None, "there is no such config file; config.example.toml shows what one holds"),
        (b"state = \xff", "is not UTF-8 text"),
        (
            b'state = "x"\n\n[poll\n',
            "is not TOML: Expected ']' at the end of a table declaration (at line 3, column 6)",
        ),
        (b'state = "x"\nstate = "y"\n', "is not TOML: "),
    ],
    ids=["not there", "not UTF-8", "not TOML", "a key twice"],
)
def test_a_file_that_cannot_be_read_is_told_by_its_path(
    tmp_path: Path, content: bytes | None, phrase: str
) -> None:
    path = tmp_path / "config.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, secrets=True)
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}: ")
    assert phrase in problem


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {}, secrets=True)


NOT_EXPECTED = ['"text"', "-7", "true", "[]", "[1, 2]", "{a = 1}"]
TABLES = ("poll", "alerts", "wix", "sites", "smtp", "slack", "receivers")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_a_wrong_type_is_a_fault_and_nothing_worse(load: Load, name: str) -> None:
    text = re.sub(rf"\[\[?{name}\]\]?\n([^\[].*\n)+", "", FULL)
    for value in NOT_EXPECTED:
        with pytest.raises(ConfigError):
            load(f"{name} = {value}\n{text}")


LINES = [line for line in FULL.splitlines() if " = " in line]


@pytest.mark.parametrize("line", [pytest.param(line) for line in LINES])
def test_a_value_of_a_wrong_type_is_a_fault_and_nothing_worse(load: Load, line: str) -> None:
    key, _, right = line.partition(" = ")
    for value in NOT_EXPECTED:
        if value[0] == right[0] == '"':  # another text may be just as good
            continue
        with pytest.raises(ConfigError) as caught:
            load(changed(line, f"{key} = {value}"))
        assert any(f".{key}" in f".{problem.split(': ')[0]}" for problem in caught.value.problems)


# Summaries

SUMMARY = f'{FULL}[[summaries]]\nname = "Weekly"\nat = "Mon 09:00"\nreceivers = ["owner"]\n'


@pytest.mark.parametrize(
    ("at", "weekday", "hour"),
    [("Mon 09:00", 0, 9), ("Sun 23:59", 6, 23), ("00:00", None, 0)],
    ids=str,
)
def test_a_summary_is_told_each_week_or_each_day(
    load: Load, at: str, weekday: int | None, hour: int
) -> None:
    (summary,) = load(changed('at = "Mon 09:00"', f'at = "{at}"', SUMMARY)).summaries
    assert (summary.at.weekday, summary.at.time.hour, str(summary.at)) == (weekday, hour, at)
    assert summary.receivers == ("owner",)


@pytest.mark.parametrize(
    ("old", "new", "key", "phrase"),
    [
        *(
            ('at = "Mon 09:00"', f'at = "{at}"', "at", "must be a day and a time such as")
            for at in (
                "mon 09:00",
                "Monday 09:00",
                "Xyz 09:00",
                "9:00",
                "24:00",
                "09:60",
                "Mon  09:00",
                "",
                "Mon",
            )
        ),
        ('at = "Mon 09:00"', "at = 09:00:00", "at", "must be a day and a time"),
        ('at = "Mon 09:00"', "", "at", "is missing"),
        ('receivers = ["owner"]', "receivers = []", "receivers", "must name at least one"),
        ('receivers = ["owner"]', 'receivers = "owner"', "receivers", "must be a list"),
        ('receivers = ["owner"]', "", "receivers", "is missing"),
        (
            'receivers = ["owner"]',
            'receivers = ["ownr"]',
            "receivers.1",
            'no receiver "ownr"; did you mean "owner"?',
        ),
        ('name = "Weekly"', "", "name", "is missing"),
        ('name = "Weekly"', 'name = "Weekly"\non = "Mon"', "on", "is not a known key"),
    ],
)
def test_a_fault_of_a_summary_is_told_with_its_key(
    faults: Faults, old: str, new: str, key: str, phrase: str
) -> None:
    [problem] = faults(changed(old, new, SUMMARY))
    assert problem.startswith(f"summaries.1.{key}: ")
    assert phrase in problem


def test_two_summaries_of_the_same_name_and_single_brackets_are_told(faults: Faults) -> None:
    twice = SUMMARY + SUMMARY.removeprefix(FULL)
    assert [problem.split(": ")[0] for problem in faults(twice)] == [
        "summaries.1.name",
        "summaries.2.name",
    ]
    [problem] = faults(SUMMARY.replace("[[summaries]]", "[summaries]"))
    assert "[[summaries]]" in problem


@pytest.mark.parametrize("source", ["env", "file", "credential"])
@pytest.mark.parametrize(
    "pasted",
    [
        "xoxb-1111111111-222222-AbCdEfGhIjKl",
        "IST.eyJraWQiOiJQb3pIX2FDMiIsImFsZyI6IlJTMjU2In0.eyJkYXRhIjoie1wi",
        "d1f0e2a4-5b6c-4d7e-8f90-a1b2c3d4e5f6",
        "hunter2",
        "JBSWY3DPEHPK3PXP",
        "pA55word",
        "a b\u0000c9",
    ],
)
def test_a_secret_that_is_pasted_in_place_of_a_name_is_not_shown(
    faults: Faults, tmp_path: Path, source: str, pasted: str
) -> None:
    escaped = pasted.replace("\0", "\\u0000")
    environ = SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    [problem] = faults(changed('api_key = "env:WIX"', f'api_key = "{source}:{escaped}"'), environ)
    assert problem.startswith("sites.1.api_key: ")
    assert pasted not in problem
    assert "not shown" in problem


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("env:WIX_API_KEY_2", "WIX_API_KEY_2 is not set"),
        ("file:secrets/wix-key", "file:secrets/wix-key cannot be read"),
        ("file:/etc/alerter-7f3a/wix-key.txt", "file:/etc/alerter-7f3a/wix-key.txt cannot be read"),
        ("credential:alerter_wix-key", "credential alerter_wix-key: systemd"),
    ],
)
def test_a_name_is_shown(faults: Faults, reference: str, shown: str) -> None:
    [problem] = faults(changed('api_key = "env:WIX"', f'api_key = "{reference}"'))
    assert shown in problem


@pytest.mark.parametrize("name", ["../key", "/etc/passwd", "a/b", "..", "."])
def test_a_credential_has_the_name_of_a_file(faults: Faults, tmp_path: Path, name: str) -> None:
    environ = SECRETS | {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert (
        "must name a credential"
        in faults(changed('api_key = "env:WIX"', f'api_key = "credential:{name}"'), environ)[0]
    )


def test_a_secret_is_read_from_a_small_regular_file_only(
    faults: Faults, load: Load, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("x" * (64 * 1024 + 1))
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in (
        ("pipe", "it is no regular file of at most 64 kB"),
        ("/dev/zero", "it is no regular file of at most 64 kB"),
        ("large", "it is no regular file of at most 64 kB"),
        (".", "Is a directory"),
        ("loop", ""),
    ):
        [problem] = faults(changed('api_key = "env:WIX"', f'api_key = "file:{name}"'))
        assert f"the secret in file:{name} cannot be read: {reason}" in problem
    (tmp_path / "largest").write_text("x" * 64 * 1024)
    assert load(changed('api_key = "env:WIX"', 'api_key = "file:largest"'))


def test_a_file_that_is_nested_too_deeply_is_no_config(faults: Faults) -> None:
    assert "is nested too deeply" in faults("a = " + "[" * 100_000)[0]


def test_a_fault_is_one_line_of_what_can_be_seen(faults: Faults) -> None:
    [problem] = faults(changed("threshold = 3", '"\\u001b[2J\\nforged \\u202e" = 1'))
    assert problem.isprintable()
    assert "forged" in problem
    [problem] = faults(changed("threshold = 3", f'"{"x" * 100_000}" = 1'))
    assert len(problem) <= 1000
