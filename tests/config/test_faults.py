"""Every fault of a config: the key that is at fault, and what is said of it."""

import re

import pytest

from tests.support.config import FULL, LEAST, SECRETS, Faults, Load, changed

# Every row: a line of FULL, what stands there instead, the key that is at fault, and what is said
# of it.
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
    "a cluster of one": (
        "burst = 10",
        'burst = 10\ncluster = {count = 1, within = "7d"}',
        "alerts.cluster.count",
        "must be a whole number from 2 to 1000",
    ),
    "a cluster within no time": (
        "burst = 10",
        'burst = 10\ncluster = {count = 3, within = "a week"}',
        "alerts.cluster.within",
        'must be a duration such as "90s"',
    ),
    "a cluster within a season": (
        "burst = 10",
        'burst = 10\ncluster = {count = 3, within = "91d"}',
        "alerts.cluster.within",
        'must be a duration of at most "90d"',
    ),
    "a cluster without a span": (
        "burst = 10",
        "burst = 10\ncluster = {count = 3}",
        "alerts.cluster.within",
        "is missing",
    ),
    "a cluster with a misspelt key": (
        "burst = 10",
        'burst = 10\ncluster = {count = 3, within = "7d", withn = "7d"}',
        "alerts.cluster.withn",
        "did you mean within?",
    ),
    "a cluster that is only a number": (
        "burst = 10",
        "burst = 10\ncluster = 3",
        "alerts.cluster",
        "must be a table of keys",
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
    "a timezone by its city": (
        'timezone = "Europe/Berlin"',
        'timezone = "new york"',
        "timezone",
        'did you mean "America/New_York"?',
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
        "must be the site's id, a GUID such as",
    ),
    "the site's name in the place of its id": (
        'site_id = "11111111-1111-4111-8111-111111111111"',
        'site_id = "corner-bakery"',
        "sites.1.site_id",
        "must be the site's id, a GUID such as",
    ),
    "a site id that is cut": (
        'site_id = "11111111-1111-4111-8111-111111111111"',
        'site_id = "11111111-1111-4111-8111-11111111111"',
        "sites.1.site_id",
        "must be the site's id, a GUID such as",
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
    "a channel by its name without #": (
        'slack = "C0123456789"',
        'slack = "reviews"',
        "receivers.2.slack",
        'or the name of a channel like "#reviews"',
    ),
    "a channel by half a name": (
        'slack = "C0123456789"',
        'slack = "#our reviews"',
        "receivers.2.slack",
        'or the name of a channel like "#reviews"',
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
def test_a_fault_is_reported_with_its_key(
    faults: Faults, old: str, new: str, key: str, phrase: str
) -> None:
    [problem] = faults(changed(old, new))
    assert problem.startswith(f"{key}: ")
    assert phrase in problem
    assert problem.endswith(" (in config.toml)")


def test_a_cluster_needs_a_month_of_record_that_is_kept(faults: Faults) -> None:
    kept = changed('state = "state.db"', 'state = { keep = "36d" }')
    text = kept.replace("burst = 10\n", 'burst = 10\ncluster = {count = 3, within = "7d"}\n')

    [problem] = faults(text)
    assert problem.startswith("alerts.cluster.within: must leave 30 days of [state] keep")


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
def test_two_of_the_same_name_or_id_are_both_reported(
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
    assert ("at least one" if empty or name == "sites" else "is missing") in problem


def test_every_fault_is_reported_at_once(faults: Faults) -> None:
    text = changed('every = "60s"', 'every = "now"')
    text = changed("burst = 10", "brust = 10", text)
    text = changed("port = 587", "port = 0", text)
    text = changed('api_key = "env:WIX"', 'api_key = "env:NOT_SET"', text)
    text = changed('instance_id = "an-instance"', "", text)
    text = changed('slack = "C0123456789"', 'slack = "x"\nemail = ["x"]', text)
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


def test_every_unknown_site_of_a_receiver_is_reported(faults: Faults) -> None:
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
def test_a_fault_of_a_list_is_reported_in_words_for_people(
    faults: Faults, old: str, new: str
) -> None:
    [problem] = faults(changed(old, new))
    assert not re.search("tuple|validation|instance|dictionary", problem)


def test_single_brackets_around_sites_are_reported_with_what_is_missing(faults: Faults) -> None:
    [problem] = faults(LEAST.replace("[[sites]]", "[sites]"))
    assert "[[sites]]" in problem
