"""What a config may say, and what is said of one that may not."""

import re
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from alerter.config import load_config
from alerter.config.state import PostgresUrl
from alerter.errors import ConfigError, StateError
from alerter.store import State
from tests.support.config import FULL, LEAST, SECRETS, Faults, Load, changed


def test_a_config_with_every_key_is_read_as_it_is_meant(load: Load, tmp_path: Path) -> None:
    config = load(FULL)
    assert config.database == tmp_path / "state.db"
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
    assert (config.database, config.state_file.keep) == (tmp_path / "old.db", timedelta(days=90))
    config = load(LEAST.replace('state = "state.db"', "") + '\n[state]\nkeep = "90d"\n')
    assert (config.database, config.state_file.keep) == (
        tmp_path / "state.db",
        timedelta(days=90),
    )
    assert load(LEAST).state_file.keep == timedelta(days=400)


AT_POSTGRES = LEAST.replace('state = "state.db"', 'state = { url = "env:DATABASE_URL" }')
DATABASE = "postgresql://alerter:pa55w0rd@db-1.example:5433,db-2.example/reviews?sslmode=require"


def test_the_state_may_be_in_postgres_and_shows_host_and_database_only(load: Load) -> None:
    config = load(AT_POSTGRES, SECRETS | {"DATABASE_URL": DATABASE})
    assert isinstance(config.database, PostgresUrl)
    assert config.database.url == DATABASE
    assert str(config.database) == "postgresql://db-1.example:5433,db-2.example/reviews"
    assert "pa55w0rd" not in repr(config)
    beside = load(AT_POSTGRES, {"DATABASE_URL": "postgres:///reviews?host=/run/pg"}, secrets=False)
    assert str(beside.database) == "postgresql:///run/pg/reviews"


@pytest.mark.parametrize(
    "url", ["mysql://db/x", "postgresql+psycopg://db/x", "host=db", "postgresql://[x/y"]
)
def test_an_address_that_is_no_postgres_is_a_fault_and_not_shown(faults: Faults, url: str) -> None:
    [fault] = faults(AT_POSTGRES, SECRETS | {"DATABASE_URL": url})
    assert fault.startswith("state.url: the secret must be the address of a PostgreSQL database")
    assert url not in fault


@pytest.mark.parametrize("password", ["a@pa55w0rd", "pa55/w0rd", "pa55?w0rd", "pa55#w0rd"])
def test_a_part_of_a_password_is_never_taken_for_the_host(faults: Faults, password: str) -> None:
    for url in (f"postgresql://alerter:{password}@db/x", f"postgresql:///x?password={password}@"):
        [fault] = faults(AT_POSTGRES, SECRETS | {"DATABASE_URL": url})
        assert "write %40, %2F, %3F or %23 instead" in fault
        assert "pa55" not in fault


def test_a_state_is_in_one_place(faults: Faults) -> None:
    both = LEAST.replace('"state.db"', '{ url = "env:DATABASE_URL", file = "state.db" }')
    [fault] = faults(both, SECRETS | {"DATABASE_URL": DATABASE})
    assert fault.startswith("state.url: stands instead of file: remove one of them")


def test_an_address_itself_does_not_belong_in_the_config(faults: Faults) -> None:
    [fault] = faults(AT_POSTGRES.replace("env:DATABASE_URL", DATABASE))
    assert "must say where the secret is" in fault
    assert "pa55w0rd" not in fault


def test_a_command_without_secrets_may_have_no_address_until_it_opens_it(
    load: Load,
) -> None:
    config = load(AT_POSTGRES, {}, secrets=False)
    with pytest.raises(StateError, match="the environment variable DATABASE_URL is not set"):
        State.open(config.database, migrate=False)


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
    assert config.database == tmp_path / "etc" / "state.db"
    assert config.templates == tmp_path / "etc" / "mine"


def test_an_absolute_path_stays_as_it_is(load: Load) -> None:
    assert load(LEAST.replace("state.db", "/var/lib/alerter/state.db")).database == Path(
        "/var/lib/alerter/state.db"
    )


def test_a_templates_folder_that_cannot_be_looked_at_is_a_fault(faults: Faults) -> None:
    [problem] = faults(f'templates = "{"x" * 300}"\n{LEAST}')
    assert problem.startswith("templates: ")


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (None, "there is no such config file; `alerter init` makes one"),
        (b"state = \xff", "is not UTF-8 text"),
        (
            b'state = "x"\n\n[poll\n',
            "is not TOML: Expected ']' at the end of a table declaration (at line 3, column 6)",
        ),
        (b'state = "x"\nstate = "y"\n', "is not TOML: "),
    ],
    ids=["not there", "not UTF-8", "not TOML", "a key twice"],
)
def test_a_file_that_cannot_be_read_is_named_by_its_path(
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
def test_a_summary_is_sent_each_week_or_each_day(
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
def test_a_fault_of_a_summary_is_reported_with_its_key(
    faults: Faults, old: str, new: str, key: str, phrase: str
) -> None:
    [problem] = faults(changed(old, new, SUMMARY))
    assert problem.startswith(f"summaries.1.{key}: ")
    assert phrase in problem


def test_two_summaries_of_one_name_and_single_brackets_are_reported(faults: Faults) -> None:
    twice = SUMMARY + SUMMARY.removeprefix(FULL)
    assert [problem.split(": ")[0] for problem in faults(twice)] == [
        "summaries.1.name",
        "summaries.2.name",
    ]
    [problem] = faults(SUMMARY.replace("[[summaries]]", "[summaries]"))
    assert "[[summaries]]" in problem


def test_a_file_that_is_nested_too_deeply_is_no_config(faults: Faults) -> None:
    assert "is nested too deeply" in faults("a = " + "[" * 100_000)[0]


def test_a_fault_is_one_line_of_what_can_be_seen(faults: Faults) -> None:
    [problem] = faults(changed("threshold = 3", '"\\u001b[2J\\nforged \\u202e" = 1'))
    assert problem.isprintable()
    assert "forged" in problem
    [problem] = faults(changed("threshold = 3", f'"{"x" * 100_000}" = 1'))
    assert len(problem) <= 1000


def test_a_text_is_checked_before_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    config = load_config(path, SECRETS, secrets=True, text=LEAST)
    assert config.database == tmp_path / "state.db"
    with pytest.raises(ConfigError, match=r"receivers.1.slack: .* \(in config.toml\)"):
        load_config(path, SECRETS, secrets=True, text=LEAST.replace("C0123456789", "x"))
    assert not path.exists()
