"""The keys with which people respond: buttons, links to the review page, canned replies."""

from datetime import timedelta

import pytest

from tests.support.config import FULL, SECRETS, Faults, Load, changed

WEB = '[web]\nlisten = "127.0.0.1:8080"\n'
LINKS = 'public_url = "https://reviews.example"\nlink_secret = "env:LINKS"\n'
SECRET = "x" * 32
ENVIRON = SECRETS | {"APP_TOKEN": "xapp-1-A1-1-s", "LINKS": SECRET}


def test_the_keys_of_responding_are_read(load: Load) -> None:
    text = changed('token = "env:SLACK"', 'token = "env:SLACK"\napp_token = "env:APP_TOKEN"')
    text = changed("max_rating = 1", 'responders = ["U0123456789", "W0123456789"]', text)
    text += f'{WEB}{LINKS}[[replies]]\nname = "Sorry"\ntext = """\nHello,\n\tBonjour\u202f!"""\n'
    config = load(text, ENVIRON)
    assert config.slack
    assert config.slack.app_token
    assert config.slack.app_token.get_secret_value() == "xapp-1-A1-1-s"
    assert config.receivers[1].responders == ("U0123456789", "W0123456789")
    assert config.web
    assert config.web.public_url == "https://reviews.example"
    assert config.replies[0].text == "Hello,\n\tBonjour\u202f!"
    assert config.reminders.claimed_for == timedelta(hours=48)


CASES = {
    "no app-level token": (
        changed('token = "env:SLACK"', 'token = "env:SLACK"\napp_token = "env:SLACK"'),
        "slack.app_token",
        "must be an app-level token, which begins with xapp-",
    ),
    "a person by name": (
        changed("max_rating = 1", 'responders = ["@ada"]'),
        "receivers.2.responders.1",
        "must be the id of a person",
    ),
    "nobody": (changed("max_rating = 1", "responders = []"), "receivers.2.responders", "at least"),
    "responders in a mail": (
        changed('email = ["owner@example.com"]', 'email = ["o@example.com"]\nresponders = ["U01"]'),
        "receivers.1.responders",
        "is for receivers on Slack",
    ),
    "links without a secret": (
        f'{FULL}{WEB}public_url = "https://reviews.example"\n',
        "web.link_secret",
        "goes with public_url",
    ),
    "a secret without links": (
        f'{FULL}{WEB}link_secret = "env:LINKS"\n',
        "web.public_url",
        "goes with link_secret",
    ),
    "links that are not encrypted": (
        f"{FULL}{WEB}{LINKS.replace('https', 'http')}",
        "web.public_url",
        "must be https://",
    ),
    "a short secret": (
        f"{FULL}{WEB}{LINKS.replace('env:LINKS', 'env:SLACK')}",
        "web.link_secret",
        "at least 32 characters",
    ),
    "a reply without a text": (
        f'{FULL}[[replies]]\nname = "Sorry"\n',
        "replies.1.text",
        "is missing",
    ),
    "an empty reply": (
        f'{FULL}[[replies]]\nname = "Sorry"\ntext = " \\n"\n',
        "replies.1.text",
        "must be a text",
    ),
    "two replies of one name": (
        FULL + '[[replies]]\nname = "Sorry"\ntext = "a"\n' * 2,
        "replies.2.name",
        "each needs its own",
    ),
    "a claim that lasts for nothing": (
        f'{FULL}[reminders]\nclaimed_for = "soon"\n',
        "reminders.claimed_for",
        '"90s"',
    ),
}


@pytest.mark.parametrize(("text", "key", "said"), CASES.values(), ids=list(CASES))
def test_a_fault_of_responding_names_its_key_and_what_is_allowed(
    faults: Faults, text: str, key: str, said: str
) -> None:
    found = [each for each in faults(text, ENVIRON) if each.startswith(f"{key}:")]
    assert found
    assert any(said in each for each in found)
    assert SECRET not in str(found)
