"""`alerter reply` against the embedded Wix: what it sends, refuses and records."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unicodedata import normalize

import pytest

from alerter.clock import Clock
from alerter.commands import reply
from alerter.config import Config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import App, EmbeddedWix
from alerter.errors import AlerterError, WixNotFound, WixResponseError
from alerter.models import Status
from alerter.store import Holder, lock_of
from alerter.wix.client import WixClient
from tests.support.answering import (
    MAIL_ONLY,
    OTHER,
    REPLY,
    TWO,
    QuickClock,
    Run,
    alerter,
    load,
    path,
    put,
    reply_of,
    sent,
    standing,
    watch,
)
from tests.support.terminal import on_a_terminal
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG

__all__ = ["alerter", "path"]


@pytest.fixture
def run(alerter: Run) -> Run:
    """Run `alerter reply`."""
    return partial(alerter, "reply")


async def test_a_reply_is_sent_and_closes_its_review_beside_a_running_daemon(
    run: Run, path: Path, wix: EmbeddedWix
) -> None:
    await watch(path)
    put(wix, "r1")
    await watch(path)
    assert standing(path, "r1") is Status.OPEN

    with lock_of(load(path).database) as lock:
        assert lock.acquire(Holder.RUN) is None
        result = await run("r1", "--message", "Dear Robin,\nwe are sorry.", "--yes")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "★☆☆☆☆  “Title of r1” on Corner Bakery",
        "  > Hard as stone.",
        "  > Never again.",
        "the reply, 25 characters:",
        "  | Dear Robin,",
        "  | we are sorry.",
        "Wix has taken the reply",
    ]
    assert sent(wix) == [{"message": "Dear Robin,\nwe are sorry."}]
    assert standing(path, "r1") is Status.CLOSED


async def test_a_message_comes_from_standard_input_in_one_form(
    run: Run, path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    result = await run(
        "r1", "--message", "-", "--yes", stdin="\ufeffCafe\u0301 👍🏽\r\nsorry\t!\n\n".encode()
    )
    assert result.exit_code == 0, result.output
    assert reply_of(wix, "r1") == "Café 👍🏽\nsorry\t!"


async def test_without_a_state_file_a_reply_is_sent_all_the_same(
    run: Run, path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    result = await run("r1", "--message", "Sorry!", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert reply_of(wix, "r1") == "Sorry!"
    assert not load(path).database.exists()


async def test_an_app_asks_for_one_token_for_the_whole_command(
    run: Run,
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    tmp_path: Path,
) -> None:
    app = App("app-1", "app-secret-1", "instance-1")
    wix.add_site(OTHER, app=app)
    (tmp_path / "app-secret").write_text(app.app_secret)
    credentials = (
        f'app_id = "{app.app_id}"\napp_secret = "file:app-secret"\n'
        f'instance_id = "{app.instance_id}"\n'
    )
    site = TWO.replace('api_key = "env:WIX_API_KEY"\n', credentials)
    path = write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra=site)
    await watch(path)
    put(wix, "r1", OTHER)
    wix.requests.clear()
    result = await run("r1", "--message", "Sorry!", "--yes", "--site", "Café")
    assert result.exit_code == 0, result.output
    assert reply_of(wix, "r1", OTHER) == "Sorry!"
    assert [request.path for request in wix.requests].count("/oauth2/token") == 1


async def test_an_existing_reply_is_shown_and_overwritten_only_with_replace(
    run: Run, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    wix.reply(SITE, "r1", "The first")
    refused = await run("r1", "--message", "The second", "--yes")
    assert refused.exit_code == 1
    assert "its reply now:\n  | The first\n" in refused.stdout
    assert "--replace overwrites it" in refused.stderr
    assert sent(wix) == []

    replaced = await run("r1", "--message", "The second", "--yes", "--replace")
    assert replaced.exit_code == 0
    assert reply_of(wix, "r1") == "The second"


async def send(path: Path, clock: Clock, review_id: str = "r1") -> None:
    """Send a reply without waiting for anything."""
    config = load(path)
    wanted = reply.Wanted("Sorry!", yes=True)
    await reply.run(config, clock, config.sites[0], review_id, wanted)


async def test_a_reply_whose_answer_is_lost_is_read_back_and_is_not_sent_twice(
    run: Run, path: Path, wix: EmbeddedWix, capsys: pytest.CaptureFixture[str]
) -> None:
    await watch(path)
    put(wix, "r1")
    await watch(path)
    wix.faults.add(REPLY, Fault(drop="after"))
    await send(path, QuickClock())
    assert capsys.readouterr().out.endswith("\nWix has taken the reply\n")

    again = await run("r1", "--message", "Sorry!", "--yes")
    assert again.exit_code == 0
    assert "it has this reply already" in again.stdout
    assert len(sent(wix)) == 1
    assert standing(path, "r1") is Status.CLOSED


BAD_MESSAGES = {
    "empty": (b"", "the reply is empty"),
    "blank": (b" \n ", "the reply is empty"),
    "too long": (b"x" * 10_001, "has 10,001 characters, and Wix takes 10,000"),
    "an escape": (b"a\x1b[31mb", "has control characters"),
    "a NUL": (b"a\x00b", "has control characters"),
    "no text": (b"\xff\xfe", "is not UTF-8 text"),
}


@pytest.mark.parametrize(("message", "says"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
async def test_a_message_that_cannot_be_sent_is_a_usage_error(
    run: Run, wix: EmbeddedWix, message: bytes, says: str
) -> None:
    put(wix, "r1")
    result = await run("r1", "--message", "-", "--yes", stdin=message)
    assert result.exit_code == 2
    assert says in result.stderr
    assert wix.requests == []


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless file")
def test_an_endless_message_is_refused_after_its_longest_valid_length(path: Path) -> None:
    command = [sys.executable, "-m", "alerter", "reply", "r1", "--message", "-", "--yes"]
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [*command, "--config", str(path)],
            stdin=endless,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
            env=os.environ | SECRETS,
            preexec_fn=_with_little_memory,
        )
    assert done.returncode == 2
    assert "the reply is too long: Wix takes 10,000 characters" in done.stderr


def _with_little_memory() -> None:
    """In the child: fail before an endless message fills the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))


async def test_the_longest_message_is_read_whole_in_its_longest_form(
    run: Run, wix: EmbeddedWix
) -> None:
    """A Korean syllable may come as three characters of three bytes each."""
    put(wix, "r1")
    text = "각" * 10_000
    result = await run("r1", "--message", "-", "--yes", stdin=normalize("NFD", text).encode())
    assert result.exit_code == 0, result.output
    assert f"  | {text}\n" in result.output
    assert reply_of(wix, "r1") == text


@pytest.mark.parametrize(("length", "warned"), [(1_000, False), (1_001, True), (10_000, True)])
async def test_a_long_reply_gets_a_warning(
    run: Run, wix: EmbeddedWix, length: int, warned: bool
) -> None:
    put(wix, "r1")
    result = await run("r1", "--message", "x" * length, "--yes")
    assert result.exit_code == 0
    assert ("warning: Wix may show no more than 1,000 characters" in result.stderr) is warned
    assert reply_of(wix, "r1") == "x" * length


async def test_without_a_terminal_nothing_is_sent_unless_asked_to(
    run: Run, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    result = await run("r1", "--message", "Sorry!", stdin=b"y\n")
    assert result.exit_code == 2
    assert "--yes sends it without asking" in result.stderr
    assert wix.requests == []


@pytest.mark.parametrize(
    ("answer", "code", "reply"), [(b"y\n", 0, "Sorry!"), (b"\n", 1, None), (b"\x03", 1, None)]
)
async def test_on_a_terminal_it_asks_first(
    path: Path, wix: EmbeddedWix, answer: bytes, code: int, reply: str | None
) -> None:
    put(wix, "r1")
    command = ["reply", "r1", "--message", "Sorry!", "--config", str(path)]
    async with on_a_terminal(*command, **SECRETS) as terminal:
        await terminal.read_until("Send it?")
        assert sent(wix) == []
        assert await terminal.end(answer) == code
        assert "| Sorry!" in terminal.shown
    assert reply_of(wix, "r1") == reply


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", ["r1", REPLY], ids=["reading", "replying"])
async def test_where_wix_refuses_it_prints_the_dashboard_link(
    run: Run, wix: EmbeddedWix, status: int, where: str
) -> None:
    put(wix, "r1")
    wix.faults.always(where, Fault(status=status, body='{"message": "not yours"}'))
    result = await run("r1", "--message", "Sorry!", "--yes")
    assert result.exit_code == 1
    assert f"https://manage.wix.com/dashboard/{SITE}/reviews/pending" in result.stderr
    assert SECRETS["WIX_API_KEY"] not in result.output
    assert reply_of(wix, "r1") is None


async def test_a_review_that_wix_does_not_have_is_reported(run: Run, wix: EmbeddedWix) -> None:
    result = await run("../r1", "--message", "Sorry!", "--yes")
    assert result.exit_code == 1
    assert "Corner Bakery has no review ../r1, or none that we may see" in result.stderr
    put(wix, "r2")
    wix.faults.add(REPLY, Fault(status=404, body="{}"))
    gone = await run("r2", "--message", "Sorry!", "--yes")
    assert gone.exit_code == 1
    assert "the review is not at Wix any more, or is hidden. (Wix does not have it" in gone.stderr


async def test_a_published_review_can_be_answered_without_the_right_to_see_all(
    run: Run, wix: EmbeddedWix
) -> None:
    wix.sites[SITE].private = False
    put(wix, "r1", moderation={"moderationStatus": "APPROVED"})
    wix.faults.add("r1", Fault(status=403, body="{}"))
    assert (await run("r1", "--message", "Sorry!", "--yes")).exit_code == 0
    assert reply_of(wix, "r1") == "Sorry!"


async def test_an_answer_without_the_reply_is_not_taken_for_a_yes(
    path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    wix.faults.add(REPLY, Fault(body='{"review": {"id": "r1", "content": {"rating": 1}}}'))
    clock = QuickClock()
    await send(path, clock)
    assert clock.slept == [2.0, 5.0, 15.0]
    assert reply_of(wix, "r1") == "Sorry!"


@pytest.mark.parametrize(
    ("fault", "says", "calls"),
    [
        (Fault(drop="before"), "Wix did not say whether it has this", 2),
        (Fault(status=429), "Nothing was sent: Wix could not be reached.", 1),
        (Fault(status=400, body='{"message": "No replies here"}'), "No replies here", 1),
    ],
    ids=["lost", "throttled", "refused"],
)
async def test_a_reply_that_cannot_be_sent_is_reported_with_the_way_out(
    path: Path, wix: EmbeddedWix, fault: Fault, says: str, calls: int
) -> None:
    put(wix, "r1")
    wix.faults.always(REPLY, fault)
    with pytest.raises(AlerterError) as failed:
        await send(path, QuickClock())
    assert says in str(failed.value)
    assert f"https://manage.wix.com/dashboard/{SITE}/reviews/pending" in str(failed.value)
    assert len(sent(wix)) == calls


MEANWHILE: dict[str, tuple[Callable[[EmbeddedWix], object], list[str]]] = {
    "another reply": (
        lambda wix: wix.reply(SITE, "r1", "From the dashboard"),
        ["  | From the dashboard", "the review has another reply now. --replace overwrites it."],
    ),
    "another text": (
        lambda wix: wix.change(SITE, "r1", content={"body": "It was fine"}),
        ["  > It was fine", "the customer has changed the review."],
    ),
}


@pytest.mark.parametrize(("change", "says"), MEANWHILE.values(), ids=MEANWHILE)
async def test_what_changes_before_the_answer_is_shown_and_nothing_is_sent(
    path: Path, wix: EmbeddedWix, change: Callable[[EmbeddedWix], object], says: list[str]
) -> None:
    put(wix, "r1")
    command = ["reply", "r1", "--message", "Sorry!", "--config", str(path)]
    async with on_a_terminal(*command, **SECRETS) as terminal:
        await terminal.read_until("Send it?")
        change(wix)
        assert await terminal.end(b"y\n") == 1
        for text in says:
            assert text in terminal.shown.split("Send it?")[1]
    assert sent(wix) == []


async def test_a_bad_state_file_is_reported_before_anything_is_sent(
    run: Run, path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r1")
    load(path).database.write_text("This is no state file." * 100)
    result = await run("r1", "--message", "Sorry!", "--yes")
    assert result.exit_code == 1
    assert wix.requests == []


async def test_an_id_in_two_sites_needs_the_site(
    run: Run,
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    path: Path,
) -> None:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    assert write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra=TWO) == path
    for site_id in (SITE, OTHER):
        put(wix, "both", site_id)
    put(wix, "one", OTHER)
    unknown = await run("one", "--message", "Sorry!", "--yes")
    assert unknown.exit_code == 2
    assert "not on record of any site: name its site with --site" in unknown.stderr

    await watch(path)
    two = await run("both", "--message", "Sorry!", "--yes")
    assert two.exit_code == 2
    assert "more than one site has that review" in two.stderr
    assert (await run("one", "--message", "Sorry!", "--yes")).exit_code == 0
    assert (await run("both", "--message", "Sorry!", "--yes", "--site", "Café")).exit_code == 0
    assert [reply_of(wix, "both"), reply_of(wix, "both", OTHER), reply_of(wix, "one", OTHER)] == [
        None,
        "Sorry!",
        "Sorry!",
    ]


async def test_a_unique_beginning_of_an_id_is_enough(
    run: Run, path: Path, wix: EmbeddedWix
) -> None:
    await watch(path)
    for review_id in ("ab12", "ab34", "ab3"):
        put(wix, review_id)
    await watch(path)

    refused = await run("ab", "--message", "Sorry!", "--yes")
    assert refused.exit_code == 2
    assert '"ab" is the beginning of several ids: ab3, ab12, ab34' in refused.stderr
    assert sent(wix) == []

    result = await run("ab1", "--message", "Sorry!", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "review ab12"
    assert (await run("ab3", "--message", "Sorry!", "--yes")).exit_code == 0
    assert [reply_of(wix, each) for each in ("ab12", "ab34", "ab3")] == ["Sorry!", None, "Sorry!"]


async def test_a_beginning_means_the_reviews_of_the_named_site(
    run: Run,
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> None:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    path = write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra=TWO)
    await watch(path)
    put(wix, "ab12")
    put(wix, "ab34", OTHER)
    await watch(path)
    assert (await run("ab", "--message", "Sorry!", "--yes")).exit_code == 2
    assert (await run("ab", "--message", "Sorry!", "--yes", "--site", "Café")).exit_code == 0
    assert [reply_of(wix, "ab12"), reply_of(wix, "ab34", OTHER)] == [None, "Sorry!"]


async def test_the_client_reads_one_review_and_says_when_there_is_none(
    wix: EmbeddedWix, config: Config
) -> None:
    put(wix, "r1")
    client = WixClient(wix.base_url, Clock())
    try:
        assert (await client.review(config.sites[0], "r1")).title == "Title of r1"
        with pytest.raises(WixNotFound):
            await client.review(config.sites[0], "r2")
        wix.faults.add("r1", Fault(body='{"review": {}}'))
        with pytest.raises(WixResponseError, match="no review that can be read"):
            await client.review(config.sites[0], "r1")
    finally:
        await client.close()
