"""A config that sets every key."""

from collections.abc import Callable
from uuid import NAMESPACE_DNS, uuid5

from alerter.config import Config

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


def guid(name: str) -> str:
    """The site id of the site with this name."""
    return str(uuid5(NAMESPACE_DNS, name))


def changed(old: str, new: str, text: str = FULL) -> str:
    """The config with one of its lines replaced."""
    assert text.count(f"\n{old}\n") == 1, f"{old} must be one line of the config"
    return text.replace(f"\n{old}\n", f"\n{new}\n")
