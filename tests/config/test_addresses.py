"""The addresses of receivers: which keys go together, and which addresses and secrets are good."""

import base64

import pytest

from tests.support.config import LEAST, SECRETS, Faults, Load, changed

GOOD = {
    "URL": "https://hooks.example.com/T0pS3cret?token=a%20b&x=1",
    "SECRET": f"whsec_{base64.b64encode(b's' * 32).decode()}",
}
WEBHOOK = 'webhook = "env:URL"\nwebhook_secret = "env:SECRET"'
FAULT = "receivers.2."


def with_receiver(keys: str) -> str:
    return f'{LEAST}\n[[receivers]]\nname = "posted"\n{keys}\n'


@pytest.mark.parametrize(
    "keys", [WEBHOOK, 'ntfy = "env:URL"', 'discord = "env:URL"', 'teams = "env:URL"']
)
def test_a_receiver_has_one_address(load: Load, keys: str) -> None:
    config = load(with_receiver(keys), SECRETS | GOOD)
    receiver = config.receivers[1]
    medium = keys.split(maxsplit=1)[0]
    assert list(receiver.media) == [medium]
    assert receiver.addresses(medium) == (GOOD["URL"],)
    assert list(receiver.destinations) == [f"{medium}:posted"]
    assert "T0pS3cret" not in repr(config)


@pytest.mark.parametrize(
    ("keys", "key", "says"),
    [
        ("", "email", "one of webhook, ntfy, discord and teams"),
        ('webhook = "env:URL"', "webhook_secret", "goes with webhook"),
        ('ntfy = "env:URL"\nwebhook_secret = "env:SECRET"', "webhook", "goes with webhook_secret"),
        (f'{WEBHOOK}\nntfy = "env:URL"', "webhook", "stands alone"),
        ('ntfy = "env:URL"\nslack = "C0123456789"', "ntfy", "stands alone"),
        ('teams = "env:URL"\nemail = ["a@example.com"]', "teams", "stands alone"),
        ('ntfy = "https://ntfy.sh/topic"', "ntfy", "must say where the secret is"),
        ('ntfy = "env:NOT_SET"', "ntfy", "NOT_SET is not set"),
        ('ntfy = "env:URL"\nmention = "U0123456789"', "mention", "is for receivers on Slack"),
        ('nfty = "env:URL"', "nfty", "ntfy"),
    ],
)
def test_keys_that_do_not_go_together_are_faults(
    faults: Faults, keys: str, key: str, says: str
) -> None:
    found = faults(with_receiver(keys), SECRETS | GOOD)
    assert [fault for fault in found if fault.startswith(f"{FAULT}{key}: ") and says in fault]


@pytest.mark.parametrize(
    "secret",
    [
        "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0",
        "whsec_",
        "whsec_!!!!",
        f"whsec_{base64.b64encode(b's' * 23).decode()}",
        f"whsec_{base64.b64encode(b's' * 65).decode()}",
        f"whsk_{base64.b64encode(b's' * 32).decode()}",
    ],
)
def test_a_secret_of_another_form_is_a_fault_that_hides_it(faults: Faults, secret: str) -> None:
    (found,) = faults(with_receiver(WEBHOOK), SECRETS | GOOD | {"SECRET": secret})
    assert found.startswith(f"{FAULT}webhook_secret: the secret must be whsec_ and 24 to 64 bytes")
    assert secret not in found.replace("whsec_ and", "").replace("whsec_$", "") or len(secret) < 7


@pytest.mark.parametrize("size", [24, 64])
def test_a_secret_has_24_to_64_bytes(load: Load, size: int) -> None:
    secret = f"whsec_{base64.b64encode(b's' * size).decode()}"
    load(with_receiver(WEBHOOK), SECRETS | GOOD | {"SECRET": secret})


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hooks.example.com/T0pS3cret", "begin with https://"),
        ("https://user:T0pS3cret@example.com/", "must be an address such as"),
        ("https://example.com/T0pS3cret#part", "must be an address such as"),
        ("https://example.com/T0p S3cret", "must be an address such as"),
        ("example.com/T0pS3cret", "must be an address such as"),
        ("ftp://example.com/T0pS3cret", "must be an address such as"),
    ],
)
def test_an_address_of_another_form_is_a_fault_that_hides_it(
    faults: Faults, url: str, says: str
) -> None:
    (found,) = faults(with_receiver(WEBHOOK), SECRETS | GOOD | {"URL": url})
    assert found.startswith(f"{FAULT}webhook: ")
    assert says in found
    assert "S3cret" not in found


@pytest.mark.parametrize("url", ["http://127.0.0.1:5678/hook", "http://[::1]/hook?a=b"])
def test_plain_http_leads_to_this_machine(load: Load, url: str) -> None:
    config = load(with_receiver(WEBHOOK), SECRETS | GOOD | {"URL": url})
    assert config.receivers[1].addresses("webhook") == (url,)


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
