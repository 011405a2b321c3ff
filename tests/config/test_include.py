"""A config in several files: one for each customer, added and removed one at a time."""

import os
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import get_args, get_type_hints

import pytest

from alerter.commands.check import check_exposure, check_routing
from alerter.config import Config, Receiver, Site, load_config
from alerter.config.files import SECRETS as SECRET_KEYS
from alerter.config.secrets import HeaderSecret, HookSecret, Secret, SecretUrl, SlackToken
from alerter.errors import ConfigError
from alerter.models import receiver_of
from alerter.trouble.recipients import recipients_for
from tests.support.config import guid

SECRETS = {"WIX": "wix-key-7f3a", "SLACK": "xoxb-token-91c2"}
MAIN = """
state = "state.db"
include = "sites.d/*.toml"
[slack]
token = "env:SLACK"
"""
OPS = """
[[receivers]]
name = "ops"
slack = "C0000000000"
"""
SHOP = f'[[sites]]\nname = "Shop"\nsite_id = "{guid("Shop")}"\napi_key = "env:WIX"\n'


def customer(name: str, *, more: str = "") -> str:
    """A customer's file: a site, and a receiver for it."""
    return f"""
[[sites]]
name = "{name}"
site_id = "{guid(name)}"
api_key = "env:WIX"
[[receivers]]
name = "{name}'s"
slack = "C0123456789"
{more}
"""


Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    (tmp_path / "sites.d").mkdir()

    def load(main: str = MAIN, *, secrets: bool = True, **files: str) -> Config:
        (tmp_path / "config.toml").write_text(main)
        for name, text in files.items():
            (tmp_path / "sites.d" / f"{name}.toml").write_text(text)
        return load_config(tmp_path / "config.toml", SECRETS, secrets=secrets)

    return load


@pytest.fixture
def faults(load: Load) -> Callable[..., list[str]]:
    def faults(main: str = MAIN, **files: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(main, **files)
        return caught.value.problems

    return faults


Faults = Callable[..., list[str]]


def test_all_sites_and_receivers_may_come_from_included_files(load: Load) -> None:
    config = load(bakery=customer("Bakery"), cafe=customer("Cafe"))
    assert [site.name for site in config.sites] == ["Bakery", "Cafe"]
    assert [receiver.name for receiver in config.receivers] == ["Bakery's", "Cafe's"]


def test_a_receiver_of_an_included_file_gets_the_sites_of_that_file_only(load: Load) -> None:
    two = customer("Bakery") + SHOP
    config = load(MAIN + OPS, bakery=two, cafe=customer("Cafe"))
    covers = {receiver.name: config.sites_of(receiver) for receiver in config.receivers}
    assert covers == {
        "ops": {"Bakery", "Shop", "Cafe"},
        "Bakery's": {"Bakery", "Shop"},
        "Cafe's": {"Cafe"},
    }


def test_trouble_of_a_customer_goes_to_that_customer_and_who_gets_all(
    load: Load,
) -> None:
    config = load(MAIN + OPS, bakery=customer("Bakery"), cafe=customer("Cafe"))

    def told(scope: str) -> list[str]:
        return [receiver_of(each) for each in recipients_for(scope, config)]

    assert told(f"site:{guid('Bakery')}") == ["ops", "Bakery's"]
    assert told("destination:slack:Cafe's") == ["ops"]
    assert told("destination:slack:ops") == ["Bakery's", "Cafe's"]


def test_a_receiver_may_get_alerts_of_some_of_the_sites_of_its_file(load: Load) -> None:
    two = customer("Bakery", more='sites = ["Shop"]')
    two += SHOP
    assert load(bakery=two).receivers[0].sites == ("Shop",)


def test_a_receiver_never_gets_alerts_of_a_site_of_another_file(faults: Faults) -> None:
    curious = customer("Cafe", more='sites = ["Cafe", "Bakery"]')
    assert faults(bakery=customer("Bakery"), cafe=curious) == [
        (
            'receivers.1.sites.2: there is no site "Bakery" in this file, and it is notified of '
            "no other (in sites.d/cafe.toml)"
        )
    ]


def test_a_receiver_without_a_site_beside_it_is_a_fault(
    faults: Faults,
) -> None:
    alone = '[[receivers]]\nname = "alone"\nslack = "C0123456789"\n'
    assert faults(bakery=customer("Bakery"), cafe=alone) == [
        (
            "receivers.1: is notified of the sites of its own file only, and there are none in "
            "it (in sites.d/cafe.toml)"
        )
    ]


def test_a_receiver_of_the_main_file_may_name_included_sites(load: Load) -> None:
    assert load(MAIN + OPS + 'sites = ["Cafe"]', cafe=customer("Cafe")).receivers[0].sites == (
        "Cafe",
    )


def test_a_file_of_sites_alone_is_fine_where_a_receiver_gets_their_alerts(load: Load) -> None:
    site = customer("Bakery").partition("[[receivers]]")[0]
    config = load(MAIN + OPS, bakery=site)
    assert config.sites_of(config.receivers[0]) == {"Bakery"}


def test_a_fault_names_its_file_and_the_key_there(faults: Faults) -> None:
    bad = customer("Cafe", more='max_rating = 9\nsits = ["Cafe"]').replace(
        "[[sites]]", "[[sites]]\nthreshold = 0"
    )
    told = faults(MAIN + "[poll]\nevery = 1", bakery=customer("Bakery"), cafe=bad)
    assert [problem.split(": ")[0] + problem[problem.rindex(" (in ") :] for problem in told] == [
        "poll.every (in config.toml)",
        "sites.1.threshold (in sites.d/cafe.toml)",
        "receivers.1.max_rating (in sites.d/cafe.toml)",
        "receivers.1.sits (in sites.d/cafe.toml)",
    ]


@pytest.mark.parametrize(
    ("again", "key"),
    [
        (SHOP.replace("Shop", "Bakery"), "sites.1.name"),
        (SHOP.replace(guid("Shop"), guid("Bakery")), "sites.1.site_id"),
        (SHOP.replace(guid("Shop"), guid("Bakery").upper()), "sites.1.site_id"),
        (f'{SHOP}instance_id = "i-1"', "sites.1.instance_id"),
        (f'{SHOP}instance_id = "I-1"', "sites.1.instance_id"),
    ],
    ids=[
        "a name",
        "a site id",
        "a site id in capitals",
        "an instance of an app",
        "an instance in capitals",
    ],
)
def test_no_two_files_have_the_same(faults: Faults, again: str, key: str) -> None:
    bakery = customer("Bakery").replace('"env:WIX"', '"env:WIX"\ninstance_id = "i-1"')
    told = faults(bakery=bakery, other=again)
    assert [problem.split(": ")[0] + problem[problem.rindex(" (in ") :] for problem in told] == [
        f"{key} (in sites.d/bakery.toml)",
        f"{key} (in sites.d/other.toml)",
    ]


def test_no_two_files_have_a_receiver_of_the_same_name(faults: Faults) -> None:
    told = faults(MAIN + OPS, bakery=customer("Bakery").replace("Bakery's", "ops"))
    assert [problem.split(": ")[0] for problem in told] == ["receivers.1.name", "receivers.1.name"]
    assert told[1].endswith("(in sites.d/bakery.toml)")


def test_what_is_not_a_customers_does_not_belong_into_an_included_file(faults: Faults) -> None:
    assert faults(bakery='state = "other.db"\n' + customer("Bakery")) == [
        (
            "state: does not belong here: an included file holds [[sites]] and [[receivers]] (in "
            "sites.d/bakery.toml)"
        )
    ]


def test_every_unreadable_file_is_reported_and_nothing_it_causes(
    faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "sites.d" / "folder.toml").mkdir()
    told = faults(
        MAIN + OPS + 'sites = ["Cafe"]',
        cafe="[[sites",
        bakery="x = \udcff".encode(errors="replace").decode(),
    )
    assert [problem.split(": ")[0] for problem in told] == [
        str(tmp_path / "sites.d" / f"{name}.toml") for name in ("bakery", "cafe", "folder")
    ]


def test_a_secret_in_a_file_is_beside_the_file_that_names_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "wix").write_text("of the main file")
    (tmp_path / "sites.d" / "wix").write_text("of the customer")
    own = SHOP.replace("env:WIX", "file:wix")
    config = load(MAIN + own, bakery=customer("Bakery").replace("env:WIX", "file:wix"))
    assert [site.api_key.get_secret_value() for site in config.sites if site.api_key] == [
        "of the main file",
        "of the customer",
    ]


def test_a_token_of_a_customers_own_workspace_is_beside_the_customers_file(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "sites.d" / "token").write_text("xoxb-of-the-customer")
    config = load(bakery=customer("Bakery", more='token = "file:token"'))
    (receiver,) = [each for each in config.receivers if each.token]
    assert (workspace := config.workspace(receiver))
    assert workspace.token.get_secret_value() == "xoxb-of-the-customer"


@pytest.mark.parametrize(
    "name", ["../wix", "{tmp}/wix", "link", "{tmp}/sites.d/../wix", "folder/up/wix"]
)
def test_an_included_file_names_no_file_outside_of_its_own_folder(
    faults: Faults, tmp_path: Path, name: str
) -> None:
    (tmp_path / "wix").write_text("of-the-main-file")
    (tmp_path / "sites.d" / "link").symlink_to(tmp_path / "wix")
    (tmp_path / "sites.d" / "folder").mkdir()
    (tmp_path / "sites.d" / "folder" / "up").symlink_to(tmp_path)
    [problem] = faults(
        bakery=customer("Bakery").replace("env:WIX", f"file:{name.format(tmp=tmp_path)}")
    )
    assert problem == (
        f"sites.1.api_key: must be a file in {tmp_path}/sites.d: "
        "an included file names no file outside of its own folder (in sites.d/bakery.toml)"
    )


def test_an_included_file_names_files_in_and_below_its_own_folder(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "sites.d" / "bakery").mkdir()
    (tmp_path / "sites.d" / "bakery" / "key").write_text("below")
    (tmp_path / "sites.d" / "key").symlink_to("bakery/key")
    for name in ("bakery/key", "key", f"{tmp_path}/sites.d/key"):
        [site] = load(bakery=customer("Bakery").replace("env:WIX", f"file:{name}")).sites
        assert site.api_key
        assert site.api_key.get_secret_value() == "below"


def test_the_main_file_may_name_any_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("xoxb-elsewhere")
    (tmp_path / "sites.d" / "slack").symlink_to(tmp_path / "elsewhere")
    for name in ("sites.d/../elsewhere", f"{tmp_path}/elsewhere", "sites.d/slack"):
        config = load(MAIN.replace("env:SLACK", f"file:{name}"), bakery=customer("Bakery"))
        assert config.slack
        assert config.slack.token.get_secret_value() == "xoxb-elsewhere"


def test_include_env_lists_what_included_files_may_use(
    load: Load, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECRETS, "CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "mine").write_text("mine")
    listed = 'include_env = ["WIX", "mine"]\n' + MAIN
    credential = customer("Cafe").replace("env:WIX", "credential:mine")
    assert len(load(listed, bakery=customer("Bakery"), cafe=credential).sites) == 2
    told = faults(
        listed,
        bakery=customer("Bakery").replace("env:WIX", "env:SLACK"),
        cafe=customer("Cafe", more='token = "credential:slack"'),
    )
    assert told == [
        f"{key}: {name} is not for included files: "
        f"the main file does not list it in include_env (in sites.d/{file}.toml)"
        for key, name, file in (
            ("sites.1.api_key", "env:SLACK", "bakery"),
            ("receivers.1.token", "credential:slack", "cafe"),
        )
    ]
    assert len(faults("include_env = []\n" + MAIN, bakery=customer("Bakery"))) == 3


def test_check_warns_where_included_files_may_use_every_variable(load: Load) -> None:
    [finding] = check_exposure(load(bakery=customer("Bakery"), cafe=customer("Cafe")))
    assert (finding.ok, finding.warning, finding.subject) == (True, True, "include")
    assert check_exposure(load('include_env = ["WIX"]\n' + MAIN)) == []
    assert check_exposure(load(MAIN.replace("include =", "#") + customer("Shop"))) == []


def test_every_secret_of_a_site_and_a_receiver_is_confined() -> None:
    kinds = {
        get_args(kind)[1] for kind in (HeaderSecret, HookSecret, Secret, SecretUrl, SlackToken)
    }
    found = {
        name
        for table in (Site, Receiver)
        for name, annotation in get_type_hints(table, include_extras=True).items()
        if any(kind in str(annotation) for kind in map(str, kinds))
    }
    assert found == set(SECRET_KEYS)


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "no end"]
)
def test_an_included_file_that_is_none_is_not_waited_for(
    faults: Faults, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "sites.d" / "pipe.toml")
    assert faults(bakery=customer("Bakery")) == [
        f"{tmp_path}/sites.d/pipe.toml: is no regular file"
    ]


def test_a_secret_that_is_not_there_is_reported_with_its_file(faults: Faults) -> None:
    [problem] = faults(bakery=customer("Bakery").replace("env:WIX", "file:none"))
    assert problem.startswith("sites.1.api_key: the secret in /")
    assert problem.endswith(
        "sites.d/none cannot be read: No such file or directory (in sites.d/bakery.toml)"
    )


@pytest.mark.parametrize(
    ("include", "phrase"),
    [
        ('"sits.d/*.toml"', "its folder cannot be read: No such file or directory"),
        ('"sites.d/"', "must name files, such as"),
        ('""', "must be a text"),
        ("7", "must be a text"),
        ('["sites.d/*.toml"]', "must be a text"),
        ('"sites.d/*\\u0000"', "must be a text"),
    ],
)
def test_an_include_that_names_nothing_is_a_fault(
    faults: Faults, include: str, phrase: str
) -> None:
    main = MAIN.replace('"sites.d/*.toml"', include) + OPS + customer("Bakery")
    told = faults(main)
    assert any(problem.startswith("include: ") and phrase in problem for problem in told)


def test_a_folder_without_customers_is_fine_where_the_main_file_has_sites(load: Load) -> None:
    assert len(load(MAIN + customer("Bakery")).sites) == 1


def test_a_config_without_any_site_is_a_fault(faults: Faults) -> None:
    told = faults()
    assert [problem.split(": ")[0] for problem in told] == ["receivers", "sites", "include"]
    assert told[-1] == 'include: no file matches "sites.d/*.toml" (in config.toml)'


def test_files_that_an_editor_hides_are_left_alone(load: Load, tmp_path: Path) -> None:
    (tmp_path / "sites.d" / ".#bakery.toml").symlink_to("nobody@nowhere")
    (tmp_path / "sites.d" / "bakery.toml~").write_text("[[")
    assert len(load(bakery=customer("Bakery")).sites) == 1


@pytest.mark.parametrize("value", ['"text"', "7", "{a = 1}", "[1]", "[]"])
@pytest.mark.parametrize("table", ["sites", "receivers"])
def test_a_table_of_a_wrong_type_is_a_fault_and_nothing_worse(
    faults: Faults, table: str, value: str
) -> None:
    other = customer("Bakery").partition("[[receivers]]")
    rest = other[0] if table == "receivers" else other[1] + other[2]
    assert faults(bakery=f"{table} = {value}\n{rest}")
    assert faults(f"{table} = {value}\n{MAIN}", bakery=rest)


def test_no_fault_of_an_included_file_shows_a_secret(faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "sites.d" / "key").write_text("hush-7\nhush-7")
    told = faults(
        bakery=customer("Bakery").replace('"env:WIX"', '"hush-7"'),
        cafe=customer("Cafe").replace("env:WIX", "file:key"),
    )
    assert len(told) == 2
    assert "hush-7" not in str(told)


@pytest.mark.slow
def test_ten_times_as_many_customers_take_about_ten_times_as_long(load: Load) -> None:
    """A reload of them must not keep the daemon from its other work; were each held beside all
    others, it would.
    """

    def seconds(number: int) -> float:
        files = {f"customer-{each}": customer(f"Site-{each}") for each in range(number)}
        began = process_time()
        config = load(**files)
        assert check_routing(config) == []
        assert recipients_for("service:slack", config) == []
        assert len(recipients_for(f"site:{guid('Site-7')}", config)) == 1
        return process_time() - began

    assert seconds(3000) < 30 * seconds(300)
