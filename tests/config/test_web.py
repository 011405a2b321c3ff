"""What a config may say of [web], [[apps]] and [heartbeat], and what is said of one that
may not.
"""

import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from alerter.commands.check import check_exposure
from alerter.config import Config, load_config
from alerter.errors import ConfigError
from tests.support.config import guid

LEAST = """
state = "state.db"
[[sites]]
name = "Corner Bakery"
site_id = "11111111-1111-4111-8111-111111111111"
api_key = "env:WIX"
instance_id = "an-instance"
[slack]
token = "env:SLACK"
[[receivers]]
name = "support"
slack = "C0123456789"
"""
SECRETS = {
    "WIX": "wix-key-7f3a",
    "SLACK": "xoxb-token-91c2",
    "BEAT": "https://hc.example/ping/secret-3c9d?rid=1",
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


PEM = public(KEY)
DER = b64decode("".join(PEM.split("\n")[1:-2]))
BROKEN = (
    "-----BEGIN PUBLIC KEY-----\n"
    f"{b64encode(DER[:24] + bytes(len(DER) - 24)).decode()}\n"
    "-----END PUBLIC KEY-----"
)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(extra: str, *, secrets: bool = True, **environ: str) -> Config:
        path = tmp_path / "config.toml"
        path.write_text(LEAST + extra)
        return load_config(path, SECRETS | environ, secrets=secrets)

    return load


def fault(load: Load, extra: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(extra, **environ)
    [problem] = caught.value.problems
    return problem


def web(listen: str = "127.0.0.1:8080") -> str:
    return f'[web]\nlisten = "{listen}"\n'


def app(key: str, app_id: str = "an-app") -> str:
    return f"[[apps]]\napp_id = \"{app_id}\"\npublic_key = '''{key}'''\n"


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
    ],
)
def test_it_listens_on_a_host_and_a_port(load: Load, listen: str, place: tuple[str, int]) -> None:
    config = load(web(listen))
    assert config.web
    assert config.web.listen == place


@pytest.mark.parametrize(
    "listen", ["", "8080", ":8080", "127.0.0.1", "a:0", "a:65536", "::1:80", "http://a:80", "a b:1"]
)
def test_what_is_no_place_to_listen_on_is_a_fault(load: Load, listen: str) -> None:
    assert "web.listen: must be a host and a port" in fault(load, web(listen))


@pytest.mark.parametrize(
    "key",
    [
        PEM,
        b64encode(PEM.encode()).decode(),
        b64encode(PEM.strip().encode()).decode(),
        PEM.replace("\n", "\r\n"),
    ],
    ids=["PEM", "base64", "base64 without its last line break", "PEM of another system"],
)
def test_a_public_key_is_pem_or_base64_of_it(load: Load, key: str) -> None:
    [found] = load(web() + app(key)).apps
    assert found.public_key.split() == PEM.split()


NO_KEYS = {
    "nothing": "",
    "words": "my key",
    "base64 of words": b64encode(b"my key").decode(),
    "a private key": PRIVATE,
    "base64 of a private key": b64encode(PRIVATE.encode()).decode(),
    "half a key": PEM[: len(PEM) // 2],
    "a key that lost a line": "\n".join(
        line for number, line in enumerate(PEM.split("\n")) if number != 2
    ),
    "a key that only looks like one": BROKEN,
    "a key of another kind": public(ec.generate_private_key(ec.SECP256R1())),
    "a key that is too short to trust": public(
        rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_what_is_no_public_key_is_a_fault_that_never_shows_it(load: Load, key: str) -> None:
    told = fault(load, web() + app(key))
    assert told.startswith("apps.1.public_key: must be the app's public key")
    assert not key or key[:10] not in told


def test_apps_need_a_place_where_their_webhooks_come_in(load: Load) -> None:
    assert "apps: webhooks come in where [web] listens" in fault(load, app(PEM))


def test_an_app_stands_there_once(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(web() + app(PEM) + app(PEM))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "apps.1.app_id",
        "apps.2.app_id",
    ]


def test_a_site_by_api_key_may_name_the_app_of_its_webhooks(load: Load) -> None:
    named = 'api_key = "env:WIX"\napp_id = "an-app"\n'
    more = f'[[sites]]\nname = "Café"\nsite_id = "{guid("Café")}"\n{named}instance_id = "i"\n'
    assert load(web() + app(PEM) + more).sites[1].app_id == "an-app"
    told = fault(load, web() + app(PEM) + more.replace("an-app", "an-ap"))
    assert told == (
        'sites.2.app_id: there is no app "an-ap" in [[apps]]; did you mean "an-app"? (in '
        "config.toml)"
    )
    assert "goes without api_key" in fault(load, f'{more}app_secret = "env:WIX"\n')


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "alerts.example:8080"]
)
def test_listening_beyond_this_machine_is_warned_of(load: Load, listen: str) -> None:
    [finding] = check_exposure(load(web(listen)))
    assert (finding.ok, finding.warning, finding.subject) == (True, True, "web.listen")
    for here in ("127.0.0.1:8080", "[::1]:8080", "localhost:8080"):
        assert check_exposure(load(web(here))) == []


def test_an_instance_belongs_to_one_site(load: Load) -> None:
    more = (
        f'[[sites]]\nname = "Café"\nsite_id = "{guid("Café")}"\napi_key = "env:WIX"\ninstance_id = '
        '"an-instance"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load(more)
    told = [problem.partition(":")[0] for problem in caught.value.problems]
    assert told == ["sites.1.instance_id", "sites.2.instance_id"]


@pytest.mark.parametrize("package", ["jwt", "cryptography", "prometheus_client"])
def test_without_the_extra_web_is_a_fault_that_names_it(
    load: Load, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    found = fault(load, web())
    assert "web: needs packages that are not installed: pip install prometheus-client" in found
    assert load("").web is None


def test_a_key_that_cannot_be_checked_without_the_extra_is_no_second_fault(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cryptography", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    assert fault(load, web() + app("my key")).startswith("web: needs packages")


def test_a_heartbeat_is_a_secret_address(load: Load) -> None:
    config = load('[heartbeat]\nurl = "env:BEAT"\n')
    assert config.heartbeat
    assert config.heartbeat.url.get_secret_value() == SECRETS["BEAT"]
    assert "secret-3c9d" not in repr(config)
    assert load('[heartbeat]\nurl = "env:UNSET"\n', secrets=False).heartbeat


@pytest.mark.parametrize(
    "url",
    [
        "secret-3c9d",
        "http://example.com/secret-3c9d",
        "ftp://a/secret-3c9d",
        "https://a/#secret-3c9d",
    ],
)
def test_what_is_no_address_is_a_fault_that_never_shows_it(load: Load, url: str) -> None:
    told = fault(load, '[heartbeat]\nurl = "env:BEAT"\n', BEAT=url)
    assert told.startswith("heartbeat.url: the secret must be")
    assert "secret-3c9d" not in told


def test_an_address_in_the_config_itself_is_a_fault(load: Load) -> None:
    assert "heartbeat.url: must say where the secret is" in fault(
        load, '[heartbeat]\nurl = "https://hc.example/1"\n'
    )
