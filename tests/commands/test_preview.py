"""Messages as files, templates to edit, and samples that every template has to bear."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import freezegun
import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.demo.slack_blocks import faults_of
from alerter.models import CloseReason, Product, Reply, Status, StoredReview
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, OF_REVIEWS, awkward, sample
from alerter.render.templates import builtin_names, builtin_templates
from alerter.store import State, products, reviews
from tests.support.reviews import review
from tests.support.values import SITE

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CONFIG = f"""
state = "state.db"
timezone = "Europe/Berlin"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[[sites]]
name = "Bistro"
site_id = "22222222-2222-4222-8222-222222222222"
api_key = "env:WIX_API_KEY"
[smtp]
host = "127.0.0.1"
port = 25
security = "none"
from = "alerts@example.com"
[slack]
token = "env:SLACK_BOT_TOKEN"
[[receivers]]
name = "owner"
email = ["owner@example.com"]
[[receivers]]
name = "support"
slack = "C0123456789"
sites = ["Bistro"]
"""
ENDINGS = ("html", "txt", "slack.json", "slack.html")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder that holds a config, without any secret."""
    (tmp_path / "config.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return lambda *args, **environ: CliRunner(catch_exceptions=False).invoke(
        main, args, env=environ
    )


def written(result: Result) -> dict[str, str]:
    """The files that a preview names, by their names."""
    return {Path(line).name: Path(line).read_text("utf-8") for line in result.stdout.splitlines()}


# Preview


def test_a_preview_of_everything_writes_every_kind_for_each_medium(
    run: Run, tmp_path: Path
) -> None:
    first, second = run("preview"), run("preview")
    assert (first.exit_code, first.stderr) == (0, "")
    assert set(written(first)) == {"index.html"} | {
        f"{kind}.{ending}" for kind in KINDS for ending in ENDINGS
    }
    assert not set(first.stdout.splitlines()) & set(second.stdout.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


def test_a_preview_of_one_kind_goes_to_the_given_folder(run: Run, tmp_path: Path) -> None:
    result = run("preview", "new", "--to", "look/here")
    assert result.stdout.splitlines() == [f"look/here/new.{ending}" for ending in ENDINGS]
    files = written(result)
    assert files["new.txt"].startswith(
        "Subject: ★☆☆☆☆ Croissant box: ‘Stale on arrival’ (Corner Bakery)\n\n"
    )
    assert "Stale on arrival" in files["new.html"]
    assert faults_of(json.loads(files["new.slack.json"])["blocks"]) == []
    assert "Stale on arrival" in files["new.slack.html"]


def test_the_index_links_every_file_and_shows_those_that_are_html(run: Run) -> None:
    files = written(run("preview"))
    index = files.pop("index.html")
    assert set(re.findall('href="([^"]+)"', index)) == set(files)
    assert set(re.findall('src="([^"]+)"', index)) == {
        name for name in files if name.endswith(".html")
    }
    assert index.count("<iframe sandbox ") == 2 * len(KINDS)
    assert '<html lang="en">' in index


@pytest.mark.skipif(Path("/etc/alerter").exists(), reason="alerter is installed here")
def test_without_a_config_a_sample_is_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").unlink()
    result = run("preview", "--to", "look")
    assert result.exit_code == 0
    assert result.stderr == "no config.toml here: a sample site, and the built-in templates\n"
    assert "Corner Bakery" in (tmp_path / "look" / "new.html").read_text()
    for wrong in (["--receiver", "owner"], ["--review", "r1"], ["--config", "none.toml"]):
        assert run("preview", *wrong).exit_code == 2
    assert run("preview", ALERTER_CONFIG="none.toml").exit_code == 2


def test_a_preview_shows_the_buttons_that_messages_will_have(run: Run, tmp_path: Path) -> None:
    token = 'token = "env:SLACK_BOT_TOKEN"\n'
    both = f'{token}app_token = "env:SLACK_APP_TOKEN"\n'
    (tmp_path / "config.toml").write_text(CONFIG.replace(token, both))
    files = written(run("preview", "new"))
    body = json.loads(files["new.slack.json"])
    assert faults_of(body["blocks"]) == []
    assert "respond:claim" in files["new.slack.json"]
    assert "I’m on it" in files["new.slack.html"]
    assert "respond:claim" not in written(run("preview", "closed"))["closed.slack.json"]


def test_a_preview_of_a_digest_has_several_reviews(run: Run) -> None:
    files = written(run("preview", "digest"))
    assert files["digest.txt"].startswith("Subject: 3 low-rated reviews (Corner Bakery")
    assert "Not what I ordered" in files["digest.html"]


@pytest.mark.parametrize(
    ("name", "endings", "site"),
    [("owner", ENDINGS[:2], "Corner Bakery"), ("support", ENDINGS[2:], "Bistro")],
    ids=["by email", "on Slack"],
)
def test_a_preview_for_a_receiver_is_of_its_service_and_its_sites(
    run: Run, name: str, endings: tuple[str, ...], site: str
) -> None:
    for kind in ("new", "summary"):
        files = written(run("preview", kind, "--receiver", name))
        assert set(files) == {f"{kind}.{ending}" for ending in endings}
        assert site in "".join(files.values())


def test_a_preview_of_a_webhook_and_of_ntfy_shows_what_is_sent(run: Run, tmp_path: Path) -> None:
    posted = """
[[receivers]]
name = "desk"
webhook = "env:URL"
webhook_secret = "env:SECRET"
[[receivers]]
name = "phone"
ntfy = "env:URL"
"""
    (tmp_path / "config.toml").write_text(CONFIG + posted)
    found = written(run("preview", "--receiver", "desk"))
    assert found.keys() == {"index.html", *(f"{kind}.webhook.json" for kind in KINDS)} - {
        "digest.webhook.json"
    }
    assert json.loads(found["lowered.webhook.json"])["type"] == "review.lowered"
    phone = written(run("preview", "digest", "--receiver", "phone", "--language", "de"))
    assert phone.keys() == {"digest.ntfy.txt"}
    assert phone["digest.ntfy.txt"].startswith("Title: 3 schlechte Bewertungen (Corner Bakery)\n")
    assert "/reviews/pending" in phone["digest.ntfy.txt"]


def test_a_preview_of_discord_and_of_teams_shows_what_is_sent(run: Run, tmp_path: Path) -> None:
    posted = """
[[receivers]]
name = "guild"
discord = "env:URL"
[[receivers]]
name = "office"
teams = "env:URL"
language = "he"
"""
    (tmp_path / "config.toml").write_text(CONFIG + posted)
    found = written(run("preview", "--receiver", "guild"))
    assert found.keys() == {"index.html", *(f"{kind}.discord.json" for kind in KINDS)}
    assert "Croissant box" in json.loads(found["new.discord.json"])["content"]
    (card,) = written(run("preview", "trouble", "--receiver", "office")).values()
    assert (json.loads(card)["type"], json.loads(card)["rtl"]) == ("AdaptiveCard", True)


@pytest.fixture
def on_record(tmp_path: Path) -> None:
    at = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
    burnt = review(
        "r-7", title="Burnt", body="Black as coal.", created=at, entity_id="p1", namespace="stores"
    )
    with State.open(tmp_path / "state.db", migrate=True) as state, state.transaction():
        reviews.put_reviews(state, SITE, [StoredReview(burnt, Status.OPEN)], at)
        products.put_products(state, SITE, {"p1": Product("Rye bread")}, at)


@pytest.mark.usefixtures("on_record")
def test_a_preview_of_a_review_on_record_changes_nothing(run: Run, tmp_path: Path) -> None:
    before = (tmp_path / "state.db").read_bytes()
    result = run("preview", "--review", "r-7")
    assert (result.exit_code, result.stderr) == (0, "")
    files = written(result)
    assert set(files) == {"index.html"} | {
        f"{kind}.{ending}" for kind in OF_REVIEWS for ending in ENDINGS
    }
    for kind in OF_REVIEWS:
        assert "Burnt" in files[f"{kind}.html"]
        assert "Black as coal." in files[f"{kind}.slack.html"]
        assert "Rye bread" in files[f"{kind}.txt"]
    assert "Answered" in files["closed.txt"]
    assert (tmp_path / "state.db").read_bytes() == before


@pytest.mark.usefixtures("on_record")
def test_a_preview_needs_no_lock_and_a_closed_review_can_be_shown_as_new(
    run: Run, tmp_path: Path
) -> None:
    with State.open(tmp_path / "state.db", migrate=True) as state, state.transaction():
        answered = review("r-8", title="Dry", reply=Reply("Sorry!"), created=NOW)
        reviews.put_reviews(
            state, SITE, [StoredReview(answered, Status.CLOSED, closing=CloseReason.ANSWERED)], NOW
        )
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        files = written(run("preview", "new", "--review", "r-8"))
    assert files["new.txt"].startswith("Subject: ★☆☆☆☆")


@pytest.mark.parametrize(
    ("args", "code", "phrase"),
    [
        (["sumary"], 2, 'there is no kind of message "sumary"; did you mean "summary"?'),
        (
            ["everything"],
            2,
            "new, lowered, reminder, closed, digest, cluster, summary, trouble, recovered",
        ),
        (
            ["new", "--receiver", "nobody"],
            2,
            'there is no receiver "nobody"; there are: owner, support',
        ),
        (["trouble", "--review", "r-7"], 2, "a trouble message is not about one review"),
        (["new", "--review", "r-7"], 1, 'there is no review "r-7" on record in'),
        (["new", "--to", "config.toml"], 2, "is a file"),
        (["new", "--to", "/proc/none"], 1, "/proc/none: cannot be written"),
    ],
    ids=[
        "misspelt",
        "unknown",
        "no receiver",
        "not of a review",
        "no review",
        "a file",
        "not to be made",
    ],
)
def test_a_preview_with_bad_options_is_refused(
    run: Run, args: list[str], code: int, phrase: str
) -> None:
    result = run("preview", *args)
    assert result.exit_code == code
    assert phrase in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_preview_shows_an_owners_template_and_says_what_breaks(run: Run, tmp_path: Path) -> None:
    own = own_templates(tmp_path)
    (own / "new.txt").write_text("Oh dear: {{ review.title }}")
    (own / "new.slack.json").write_text("[\n{{ reviwe }}]")
    result = run("preview", "new")
    assert result.exit_code == 1
    assert result.stderr == "template new.slack.json, line 2: 'reviwe' is undefined\n"
    assert written(result)["new.txt"].endswith("Oh dear: Stale on arrival")


# Templates to edit


def own_templates(tmp_path: Path) -> Path:
    own = tmp_path / "mine"
    own.mkdir()
    config = tmp_path / "config.toml"
    config.write_text(f'templates = "mine"\n{config.read_text()}')
    return own


def test_an_export_copies_every_template_and_overwrites_none(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "review.html").write_text("mine\n")
    result = run("templates", "export", str(own))
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if "copied" not in line] == [
        f"kept    {own / 'review.html'}: differs from the built-in one"
    ]
    assert sorted(path.name for path in own.iterdir()) == builtin_names()
    assert (own / "review.html").read_text() == "mine\n"
    assert (own / "digest.txt").read_bytes() == (builtin_templates() / "digest.txt").read_bytes()
    again = run("templates", "export", str(own)).stdout.splitlines()
    assert sum(line.startswith("same ") for line in again) == len(builtin_names()) - 1


def test_exported_templates_render_what_the_built_in_ones_do(run: Run, tmp_path: Path) -> None:
    with freezegun.freeze_time(NOW):
        before = written(run("preview", "digest"))
        own = own_templates(tmp_path)
        run("templates", "export", str(own))
        assert written(run("preview", "digest")) == before


def test_an_export_to_where_nothing_can_be_written_says_so(run: Run) -> None:
    result = run("templates", "export", "config.toml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "config.toml: cannot be written" in result.stderr


# Samples, and what `check` does with them


def every_sample() -> Iterator[tuple[str, str]]:
    for kind in KINDS:
        yield kind, "usual"
        yield from ((kind, name) for name, _ in awkward(kind, SITE, NOW))


@pytest.mark.parametrize(("kind", "name"), [*every_sample()], ids=lambda part: part)
def test_every_sample_renders_and_slack_takes_it(kind: str, name: str) -> None:
    messages = {"usual": sample(kind, SITE, NOW)} | dict(awkward(kind, SITE, NOW))
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), {SITE: "Corner Bakery"}, fall_back=False)
    mail, slack = renderer.mail(messages[name]), renderer.slack(messages[name])
    assert mail.subject
    assert mail.text.strip()
    assert "<script>" not in mail.html
    assert faults_of(list(slack.blocks)) == []


def check(run: Run) -> Result:
    return run("check", "--offline", WIX_API_KEY="key", SLACK_BOT_TOKEN="token")


def test_a_check_finds_no_fault_in_copies_of_the_built_in_templates(
    run: Run, tmp_path: Path
) -> None:
    own_templates(tmp_path)
    assert check(run).exit_code == 0


# Careless templates of an owner: the template, its text, the line of the fault, and the sample
# that shows it.
CARELESS = {
    "no date": ("new.html", "\n{{ 1 // review.timestamp }}", 2, "new: no date"),
    "no before": ("lowered.txt", "{{ review.before.title[0] }}", 1, "lowered: late, and erased"),
    "no total": ("summary.txt", "\n\n{{ summary.total + 1 }}", 3, "summary: nothing happened"),
    "text as JSON": (
        "new.slack.json",
        '[{"type": "header", "text": "{{ review.title }}"}]',
        None,
        "new: hostile text",
    ),
    "trouble": ("recovered.txt", "{{ trouble.wath }}", 1, "recovered: a usual one"),
    "a part": ("_layout.html", "{% block content %}", 1, "new: a usual one"),
}


@pytest.mark.parametrize(
    "names", [CARELESS.keys() - {"a part"}, {"a part"}], ids=["several at once", "a part"]
)
def test_a_check_finds_what_breaks_on_some_reviews_only_with_file_and_line(
    run: Run, tmp_path: Path, names: set[str]
) -> None:
    own = own_templates(tmp_path)
    for file, source, _, _ in (CARELESS[name] for name in names):
        (own / file).write_text(source)
    result = check(run)
    assert result.exit_code == 1
    faults = [text for text in result.stdout.splitlines() if text.startswith("FAIL")]
    assert len(faults) == len(names)
    for file, _, line, found_with in (CARELESS[name] for name in names):
        place = f"template {file}{f', line {line}' if line else ''}: "
        (fault,) = [text for text in faults if place in text]
        assert f"(found with {found_with})" in fault
        assert len(fault) < 500


def test_a_preview_has_the_buttons_of_the_review_page(run: Run, tmp_path: Path) -> None:
    web = '[web]\nlisten = "127.0.0.1:1"\npublic_url = "https://a.example"\nlink_secret = "env:S"\n'
    config = tmp_path / "config.toml"
    config.write_text(config.read_text() + web)
    assert run("preview", "--to", str(tmp_path)).exit_code == 0

    assert "https://a.example/review/sample" in (tmp_path / "new.html").read_text()
    assert "https://a.example/reviews/sample" in (tmp_path / "summary.txt").read_text()
