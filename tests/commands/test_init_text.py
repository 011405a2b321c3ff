"""The text of a config that `alerter init` writes, and what it knows of mail providers."""

from pathlib import Path

import pytest

from alerter.commands.access import GivenSecret
from alerter.commands.init_answers import (
    Answers,
    MailAnswers,
    SlackAnswers,
    WixAnswers,
    config_text,
)
from alerter.commands.init_flags import Flags
from alerter.commands.mail_servers import server_of, usual_port, usual_security
from alerter.config import load_config
from alerter.wix.sites import ListedSite
from tests.support.values import SITE

KEY = GivenSecret("key-1", "env:KEY")
WIX = WixAnswers(KEY, "account-1", (ListedSite(SITE, "Corner Bakery"),))
SLACK = SlackAnswers(GivenSecret("xoxb-1"), "C0123456789", "#reviews")
MAIL = MailAnswers(
    "smtp.example.com", 587, "starttls", "me@example.com", ("a@example.com", "b@example.com")
)
REFERENCES = {"wix-api-key": "env:KEY", "slack-token": "env:TOKEN", "smtp-password": "env:PASSWORD"}
EXPECTED = """\
# Written by `alerter init`; `alerter init --example` prints every key, with what it means.
# After a change, `alerter check` tries it.

state = "state.db"                      # the state file: what was read and sent
timezone = "Europe/Berlin"              # of the dates in messages

[alerts]
threshold = 2                           # reviews with up to this many stars are alerted

[wix]
account_id = "account-1"                # for `alerter sites`

[[sites]]
name = "Corner Bakery"                  # as messages show it
site_id = "11111111-1111-4111-8111-111111111111"
api_key = "env:KEY"

[smtp]
host = "smtp.example.com"
port = 587
security = "starttls"
from = "me@example.com"

[slack]
token = "env:TOKEN"

[[receivers]]
name = "owner"
email = ["a@example.com", "b@example.com"]
slack = "C0123456789"                   # #reviews
"""


def test_a_config_is_short_and_says_what_its_keys_are() -> None:
    answers = Answers(WIX, MAIL, SLACK, timezone="Europe/Berlin")
    assert config_text(answers, REFERENCES) == EXPECTED


def test_all_sites_are_an_account_in_place_of_sites() -> None:
    wix = WixAnswers(KEY, "account-1", WIX.sites, all_sites=True)
    text = config_text(Answers(wix, slack=SLACK), REFERENCES)
    begin, end = text.index("[[accounts]]"), text.index("[slack]")
    assert text[begin:end] == (
        "[[accounts]]\n"
        'name = "Wix"                            # every site of it, also those added later\n'
        'api_key = "env:KEY"\n'
        'account_id = "account-1"\n'
        "\n"
    )
    assert "[[sites]]" not in text
    assert "[wix]" not in text


@pytest.mark.parametrize("name", ['A "quoted" \\ name', "Café 🥐", "tab\tand\x7f", "]\n[x]\na = 1"])
def test_a_name_stays_one_value_whatever_it_holds(name: str, tmp_path: Path) -> None:
    sites = (ListedSite(SITE, name),)
    text = config_text(Answers(WixAnswers(KEY, "account-1", sites), slack=SLACK), REFERENCES)
    shown = name.replace("\n", " ").replace("\t", " ").replace("\x7f", " ")
    text = text.replace("\\n", " ").replace("\\t", " ").replace("\\u007f", " ")
    config = load_config(
        tmp_path / "config.toml", {"KEY": "x", "TOKEN": "x"}, secrets=True, text=text
    )
    assert [site.name for site in config.sites] == [shown]


def test_a_secret_is_in_no_repr_and_in_no_config() -> None:
    answers = Answers(WIX, MAIL, SLACK)
    assert "xoxb-1" not in repr(answers)
    assert "key-1" not in config_text(answers, REFERENCES)


@pytest.mark.parametrize(
    ("address", "host", "port", "security"),
    [
        ("me@gmail.com", "smtp.gmail.com", 587, "starttls"),
        ("me@Outlook.com", "smtp-mail.outlook.com", 587, "starttls"),
        ("me@shop.onmicrosoft.com", "smtp.office365.com", 587, "starttls"),
        ("me@icloud.com", "smtp.mail.me.com", 587, "starttls"),
        ("me@yahoo.co.uk", "smtp.mail.yahoo.com", 465, "tls"),
        ("me@gmx.de", "mail.gmx.net", 587, "starttls"),
        ("me@fastmail.com", "smtp.fastmail.com", 465, "tls"),
    ],
)
def test_common_providers_are_known(address: str, host: str, port: int, security: str) -> None:
    server = server_of(address)
    assert server
    assert (server.host, server.port) == (host, port)
    assert usual_security(server.host, server.port) == security


@pytest.mark.parametrize("address", ["me@example.com", "me@notgmail.com", "me", ""])
def test_other_providers_are_unknown(address: str) -> None:
    assert server_of(address) is None


def test_a_port_and_a_security_follow_from_each_other() -> None:
    assert usual_security("mail.example.com", 465) == "tls"
    assert usual_security("mail.example.com", 587) == "starttls"
    assert usual_security("127.0.0.1", 465) == "none"
    assert usual_port("mail.example.com", None) == 587
    assert usual_port("mail.example.com", "tls") == 465
    assert usual_port("localhost", "none") == 25


def test_flags_about_the_server_count_for_a_known_provider_too() -> None:
    me = ("me@gmail.com",)
    assert Flags(email=me).port_of("smtp.gmail.com") == 587
    assert Flags(email=me, smtp_port=465).port_of("smtp.gmail.com") == 465
    assert Flags(email=me, smtp_security="tls").port_of("smtp.gmail.com") == 465


def test_the_sender_is_given_or_the_login_or_the_first_receiver() -> None:
    receiver = ("a@example.com", "b@example.com")
    assert Flags(email=receiver).mail_from == "a@example.com"
    assert Flags(email=receiver, smtp_username="me").mail_from == "a@example.com"
    assert Flags(email=receiver, smtp_username="me@example.com").mail_from == "me@example.com"
    assert Flags(email=receiver, smtp_username="x@y.z", sender="s@y.z").mail_from == "s@y.z"


def test_a_sender_with_a_name_has_its_provider_too() -> None:
    flags = Flags(email=("a@example.com",), sender="Alerts <alerts@gmail.com>")
    assert flags.provider
    assert flags.missing_for_mail() == ["--smtp-password"]
