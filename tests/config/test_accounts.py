"""Accounts in a config, and the sites that they bring."""

from pathlib import Path

import pytest

from alerter.config import Config, load_config, with_account_sites
from alerter.errors import ConfigError
from alerter.trouble.recipients import recipients_for
from tests.support.config import LEAST, SECRETS, Faults, Load

ONE, TWO, THREE = (f"{digit * 8}-0000-4000-8000-00000000000{digit}" for digit in "234")
OWN = "11111111-1111-4111-8111-111111111111"
ACCOUNTS = (
    LEAST
    + """
sites = ["Corner Bakery", "Tea *"]
[[receivers]]
name = "agency"
slack = "C0000000002"
accounts = ["Agency"]
[[receivers]]
name = "all"
slack = "C0000000003"
[[accounts]]
name = "Agency"
api_key = "env:SMTP"
account_id = "account-1"
[[accounts]]
name = "Chain"
api_key = "env:APP"
account_id = "account-2"
"""
)


def sites_of(config: Config, receiver: str) -> set[str]:
    return next(config.sites_of(each) for each in config.receivers if each.name == receiver)


def test_sites_of_accounts_come_with_the_key_of_their_account(load: Load) -> None:
    config = load(ACCOUNTS)
    listed = {"account-1": {ONE: "Tea House"}, "account-2": {TWO: "Tea Room", THREE: "Florist"}}
    found = with_account_sites(config, listed)
    assert [(site.site_id, site.name, site.account) for site in found.sites] == [
        (OWN, "Corner Bakery", None),
        (ONE, "Tea House", "Agency"),
        (TWO, "Tea Room", "Chain"),
        (THREE, "Florist", "Chain"),
    ]
    keys = [site.api_key.get_secret_value() for site in found.sites if site.api_key]
    assert keys == [SECRETS[name] for name in ("WIX", "SMTP", "APP", "APP")]


def test_a_receiver_chooses_by_name_pattern_or_account(load: Load) -> None:
    listed = {"account-1": {ONE: "Tea House"}, "account-2": {TWO: "Tea Room", THREE: "Florist"}}
    config = with_account_sites(load(ACCOUNTS), listed)
    assert sites_of(config, "support") == {"Corner Bakery", "Tea House", "Tea Room"}
    assert sites_of(config, "agency") == {"Tea House"}
    assert sites_of(config, "all") == {"Corner Bakery", "Tea House", "Tea Room", "Florist"}


def test_accounts_add_to_the_sites_of_a_receiver(load: Load) -> None:
    text = ACCOUNTS.replace('sites = ["Cor', 'accounts = ["Chain"]\nsites = ["Cor')
    listed = {"account-1": {ONE: "Tea House"}, "account-2": {THREE: "Florist"}}
    config = with_account_sites(load(text), listed)
    assert sites_of(config, "support") == {"Corner Bakery", "Tea House", "Florist"}


def test_a_site_with_an_entry_of_its_own_keeps_it(load: Load) -> None:
    listed = {"account-1": {OWN.upper(): "As Wix calls it"}}
    config = with_account_sites(load(ACCOUNTS), listed)
    assert [(site.name, site.account) for site in config.sites] == [("Corner Bakery", None)]
    assert sites_of(config, "agency") == {"Corner Bakery"}


def test_a_site_of_two_accounts_belongs_to_the_first(load: Load) -> None:
    listed = {"account-2": {ONE: "Tea House"}, "account-1": {ONE: "Tea House"}}
    config = with_account_sites(load(ACCOUNTS), listed)
    assert [site.account for site in config.sites] == [None, "Agency"]


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        pytest.param({ONE: "Tea", TWO: "Tea"}, ["Tea (22222222)", "Tea (33333333)"], id="equal"),
        pytest.param({ONE: "Corner Bakery"}, ["Corner Bakery (22222222)"], id="as configured"),
        pytest.param({ONE: "Tea", f"{ONE}0": "Tea"}, [f"Tea ({ONE})", f"Tea ({ONE}0)"], id="alike"),
        pytest.param(
            {ONE: "Tea", TWO: "Tea", THREE: "Tea (22222222)"},
            [f"Tea ({ONE})", "Tea (33333333)", "Tea (22222222)"],
            id="a name like another's with a piece of its id",
        ),
    ],
)
def test_equal_names_get_a_piece_of_the_id(
    load: Load, listed: dict[str, str], names: list[str]
) -> None:
    config = with_account_sites(load(ACCOUNTS), {"account-1": listed})
    assert [site.name for site in config.sites[1:]] == names


def test_another_list_replaces_the_sites_of_the_one_before(load: Load) -> None:
    config = load(ACCOUNTS)
    before = with_account_sites(config, {"account-1": {ONE: "Tea House"}})
    after = with_account_sites(before, {"account-1": {TWO: "Tea Room"}})
    assert after == with_account_sites(config, {"account-1": {TWO: "Tea Room"}})
    assert after != before
    assert sites_of(after, "agency") == {"Tea Room"}


def test_a_site_that_stays_as_it_was_is_not_made_again(load: Load) -> None:
    listed = {"account-1": {ONE: "Tea House", TWO: "Tea Room"}}
    before = with_account_sites(load(ACCOUNTS), listed)
    renamed = {"account-1": {ONE: "Tea House", TWO: "Tea Shop"}}
    after = with_account_sites(load(ACCOUNTS), renamed, before)
    assert after == with_account_sites(load(ACCOUNTS), renamed)
    assert [site in before.sites for site in after.sites] == [True, True, False]
    assert after.sites[1] is before.sites[1]


def test_a_config_may_have_accounts_and_no_sites(load: Load) -> None:
    begin, end = ACCOUNTS.index("[[sites]]"), ACCOUNTS.index("[slack]")
    assert load(ACCOUNTS[:begin] + ACCOUNTS[end:]).sites == ()


def in_accounts(key: str, value: str) -> str:
    """The config with another value of a key in its second account."""
    head, _, tail = ACCOUNTS.rpartition(f"{key} = ")
    return f"{head}{key} = {value}\n{tail.partition(chr(10))[2]}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (in_accounts("name", '"Agency"'), "accounts.2.name: stands at more than one of the"),
        (in_accounts("account_id", '"account-1"'), "accounts.2.account_id: stands at more than"),
        (in_accounts("account_id", '"a b"'), "accounts.2.account_id: must be the account's id"),
        (in_accounts("api_key", '"key"'), "accounts.2.api_key: must say where the secret is"),
        (
            ACCOUNTS.replace('["Agency"]', '["Agencia"]'),
            'receivers.2.accounts.1: there is no account "Agencia"; did you mean "Agency"?',
        ),
        (ACCOUNTS.replace('["Agency"]', "[]"), "receivers.2.accounts: must name at least one"),
    ],
    ids=str,
)
def test_a_fault_of_an_account_says_what_is_allowed(
    faults: Faults, text: str, problem: str
) -> None:
    found = faults(text)
    assert any(each.startswith(problem) for each in found), found


def test_an_unknown_name_is_a_fault_where_no_account_could_bring_it(
    load: Load, faults: Faults
) -> None:
    text = f'{LEAST}sites = ["Corner Bakry"]\n'
    [problem] = faults(text)
    assert 'there is no site "Corner Bakry"; did you mean "Corner Bakery"?' in problem
    load(text + ACCOUNTS[ACCOUNTS.index("[[accounts]]") :])


def test_a_pattern_without_any_match_is_no_fault(load: Load) -> None:
    config = load(f'{LEAST}sites = ["Tea *"]\n')
    assert sites_of(config, "support") == set()


@pytest.mark.parametrize(
    ("wanted", "name", "is_covered"),
    [
        ("Bakery *", "Bakery North", True),
        ("Bakery *", "bakery North", False),
        ("*", "Anything", True),
        ("* (North)*", "Tea (North) [2]", True),
        ("Tea [12]", "Tea [12]", True),
        ("Tea [12]*", "Tea 1", False),
        ("What?*", "Whats", False),
        ("What?", "What?", True),
    ],
)
def test_only_a_star_stands_for_other_text(
    load: Load, wanted: str, name: str, *, is_covered: bool
) -> None:
    text = ACCOUNTS.replace('["Corner Bakery", "Tea *"]', f'["{wanted}"]')
    config = with_account_sites(load(text), {"account-1": {ONE: name}})
    assert (name in sites_of(config, "support")) is is_covered


INCLUDED = """
[[sites]]
name = "Tea House"
site_id = "22222222-0000-4000-8000-000000000002"
api_key = "env:APP"
[[receivers]]
name = "tea"
slack = "C0000000009"
"""


@pytest.fixture
def customer(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(f'include = "tea.toml"\n{ACCOUNTS}')
    return tmp_path / "tea.toml"


def test_a_pattern_of_an_included_file_matches_sites_of_this_file_only(customer: Path) -> None:
    customer.write_text(f'{INCLUDED}sites = ["*"]\n')
    config = load_config(customer.with_name("config.toml"), SECRETS, secrets=True)
    config = with_account_sites(config, {"account-1": {THREE: "Tea Room"}})
    assert sites_of(config, "tea") == {"Tea House"}


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ('accounts = ["Agency"]', "receivers.1.accounts: is for receivers of the main file only"),
        ('sites = ["Corner *"]', 'receivers.1.sites.1: there is no site "Corner *" in this file'),
    ],
)
def test_an_included_receiver_gets_no_sites_of_others(
    customer: Path, key: str, problem: str
) -> None:
    customer.write_text(f"{INCLUDED}{key}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(customer.with_name("config.toml"), SECRETS, secrets=True)
    assert any(each.startswith(problem) for each in caught.value.problems), caught.value.problems


@pytest.mark.parametrize(
    ("receiver", "is_whole"),
    [
        ('accounts = ["Agency"]', True),
        ("", True),
        ('sites = ["*"]', True),
        ('sites = ["Tea *"]', False),
        ('accounts = ["Chain"]', False),
    ],
)
def test_trouble_of_an_account_is_for_those_who_get_all_of_it(
    load: Load, receiver: str, *, is_whole: bool
) -> None:
    text = ACCOUNTS.replace('sites = ["Corner Bakery", "Tea *"]\n', f"{receiver}\n")
    concerned = recipients_for("account:account-1", load(text))
    assert ("slack:support" in concerned) is is_whole
    assert "slack:agency" in concerned


def test_trouble_of_an_account_that_nobody_gets_whole_is_for_the_marked(load: Load) -> None:
    text = ACCOUNTS.replace('slack = "C0000000003"', 'slack = "C0000000003"\nsites = ["x"]')
    text = text.replace('["Agency"]', '["Chain"]')
    assert recipients_for("account:account-1", load(text)) == []
    marked = text.replace('sites = ["x"]', 'sites = ["x"]\ntrouble = true')
    assert recipients_for("account:account-1", load(marked)) == ["slack:all"]
