"""An owner's templates take a bounded time and memory, and read nothing outside their folder."""

import gc
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerter.errors import RenderError
from alerter.render.renderer import Renderer
from tests.support.rendered import STALE, new
from tests.support.values import SITE

SITES = {SITE: "Corner Bakery"}
BERLIN = ZoneInfo("Europe/Berlin")

CALLS_ITSELF = "{% macro m(n) %}{{ m(n - 1) ~ m(n - 1) if n }}{% endmacro %}{{ m(60) }}"
ENDLESS = {
    "loops that write": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ 'x' * b "
        "}}{% endfor %}{% endfor %}"
    ),
    "a number of many digits": "{{ 9 ** (9 ** (review.rating + 8)) }}",
    "a number when it is compiled": "{{ 9 ** (9 ** 9) }}",
    "a text times a number": "{{ 'x' * 10 ** 9 }}",
    "a list times a number": "{{ [0] * 10 ** 9 }}",
    "a width": "{{ '%1000000000d' % 1 }}",
    "a width in braces": "{{ '{:>1000000000}'.format(1) }}",
    "a filter that formats": "{{ '%1000000000s' | format('x') }}",
    "a filter that centers": "{{ 'x' | center(10 ** 9) }}",
    "a method that pads": "{{ 'x'.ljust(10 ** 9) }}",
    "a filter that indents": "{{ 'x\n' | indent(10 ** 9, true) }}",
    "a filter that replaces": (
        "{% set x = 'x' * 30000 %}{{ x | replace('x', x) | replace('x', x) }}"
    ),
    "a filter that joins": "{{ range(99999) | join('x' * 99999) }}",
    "a list that grows": "{% set l = [] %}{% for a in range(99999) %}{% for b in range(99999) %}"
    "{% set _ = l.append('x' * b) %}{% endfor %}{% endfor %}",
    "a namespace that doubles": "{% set n = namespace(x='x') %}{% for a in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "a template that includes itself": "{% include 'new.txt' %}{% include 'new.txt' %}",
    "parts of parts": "{{ '(' * 3000 ~ ')' * 3000 }}{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "a text of many MB": "{{ 'x' * 9000000 }}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "templates"
    made.mkdir()
    return made


def own(folder: Path, templates: Mapping[str, str], *, fall_back: bool = False) -> Renderer:
    for name, source in templates.items():
        (folder / name).write_text(source, "utf-8")
    return Renderer(folder, BERLIN, SITES, fall_back=fall_back)


def processes() -> Iterator[int]:
    """The processes that this one has started and that render templates."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent, command = (
                status.read_text().rpartition(")")[2].split()[1],
                (status.parent / "cmdline").read_bytes(),
            )
        except (OSError, IndexError):
            continue
        if int(parent) == os.getpid() and b"alerter.render.template_process" in command:
            yield int(status.parent.name)


@pytest.fixture(autouse=True)
def _none_is_left() -> Iterator[None]:
    yield
    # A caught error keeps a renderer alive. What is young is found first, for a search of
    # everything takes most of a second at the end of a long run.
    for generation in range(3):
        if not list(processes()):
            break
        gc.collect(generation)
    assert list(processes()) == []


# After which another process is started: the memory was used up, or an answer was too long.
RECOVERED = {"a text times a number", "a text of many MB"}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_takes_too_much_is_ended(folder: Path, name: str) -> None:
    renderer = own(folder, {"new.txt": ENDLESS[name]})

    with pytest.raises(RenderError, match=r"^template new\.txt") as caught:
        renderer.mail(new())

    assert len(str(caught.value)) < 1200
    if name in RECOVERED:
        (folder / "new.txt").write_text("{{ review.title }}")
        assert renderer.mail(new()).text == "> Stale"


def test_the_built_in_template_is_used_and_the_excess_not_tried_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = own(
        folder,
        {"new.txt": ENDLESS["a text times a number"], "new.subject.txt": "Mine"},
        fall_back=True,
    )

    found = [renderer.mail(new()) for _ in range(3)]

    assert {content.text for content in found} == {Renderer(None, BERLIN, SITES).mail(new()).text}
    assert {content.subject for content in found} == {"Mine"}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "new.txt" in caplog.text
    assert renderer.faults()["new.subject.txt"] is None
    assert "new.txt" in (renderer.faults()["new.txt"] or "")


def test_time_is_up_after_two_seconds_of_computing_and_is_not_spent_again(folder: Path) -> None:
    renderer = own(folder, {"new.txt": CALLS_ITSELF})

    with pytest.raises(RenderError, match=r"new\.txt: takes longer than 2 s"):
        renderer.mail(new())
    with pytest.raises(RenderError, match=r"new\.txt: takes longer than 2 s"):
        renderer.mail(new())

    [running] = processes()  # the subject was rendered, by a new process; the text was not tried
    ticks = sum(
        int(each)
        for each in Path(f"/proc/{running}/stat").read_text().rpartition(")")[2].split()[11:13]
    )
    assert ticks / os.sysconf("SC_CLK_TCK") < 2
    (folder / "new.txt").write_text("{{ review.title }}")
    assert renderer.mail(new()).text == "> Stale"


def test_memory_is_bounded_by_the_kernel(folder: Path) -> None:
    renderer = own(folder, {"new.txt": "fine"})
    renderer.mail(new())

    [running] = processes()
    limits = Path(f"/proc/{running}/limits").read_text()

    for name, limit in (
        ("address space", "200000000"),
        ("file size", "0"),
        ("core file size", "0"),
    ):
        [line] = [line for line in limits.splitlines() if line.lower().startswith(f"max {name}")]
        assert line.split()[-3:-1] == [limit, limit]


def test_the_process_has_no_secret_and_nothing_open(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIX_API_KEY", "wix-key-7f3a")
    with (tmp_path / "state.db").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        renderer = own(folder, {"new.txt": "fine"})
        renderer.mail(new())
        [running] = processes()

        assert b"wix-key" not in Path(f"/proc/{running}/environ").read_bytes()
        opened = {str(each.readlink()) for each in Path(f"/proc/{running}/fd").iterdir()}
        assert all(each == "/dev/null" or each.startswith("socket:") for each in opened)


def test_a_process_that_was_ended_from_outside_is_started_again(folder: Path) -> None:
    renderer = own(folder, {"new.txt": "{{ review.title }}"})
    assert renderer.mail(new()).text == "> Stale"

    for ending in (signal.SIGTERM, signal.SIGKILL):
        [running] = processes()
        os.kill(running, ending)
        os.waitid(os.P_PID, running, os.WEXITED | os.WNOWAIT)
        assert renderer.mail(new()).text == "> Stale"


def test_built_in_templates_need_no_process() -> None:
    renderer = Renderer(None, BERLIN, SITES)

    renderer.mail(new())
    renderer.slack(new())

    assert list(processes()) == []


# --- what may be read


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    (folder / "_stolen.txt").symlink_to(secret)
    (folder / "out").symlink_to(tmp_path)
    (folder / "zero.txt").symlink_to("/dev/zero")
    for source in (
        '{% include "_stolen.txt" %}',
        '{% import "_stolen.txt" as x %}{{ x }}',
        '{% extends "_stolen.txt" %}',
        '{% include "out/secret.txt" %}',
        '{% include "zero.txt" %}',
    ):
        with pytest.raises(
            RenderError, match=r"new\.txt, line 1: \S+ lies outside the folder of templates"
        ):
            own(folder, {"new.txt": source}).mail(new())
    for source in ('{% include "../secret.txt" %}', f'{{% include "{secret}" %}}'):
        with pytest.raises(RenderError, match=r"new\.txt, line 1"):
            own(folder, {"new.txt": source}).mail(new())


def test_a_template_that_is_a_link_out_of_the_folder_falls_back(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("the secret")
    (folder / "new.txt").symlink_to(tmp_path / "secret.txt")
    renderer = Renderer(folder, BERLIN, SITES)

    assert "the secret" not in renderer.mail(new()).text
    assert renderer.faults()["new.txt"] == "new.txt: new.txt lies outside the folder of templates"


def test_a_link_within_the_folder_is_followed_as_it_changes(folder: Path) -> None:
    """Kubernetes mounts a ConfigMap so."""
    for number in (1, 2):
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "new.txt").write_text(f"number {number}")
    (folder / "..data").symlink_to("..1")
    (folder / "new.txt").symlink_to("..data/new.txt")
    renderer = own(folder, {})
    assert renderer.mail(new()).text == "number 1"

    (folder / "..data").unlink()
    (folder / "..data").symlink_to("..2")
    assert renderer.mail(new()).text == "number 2"


def test_what_is_no_file_or_too_large_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "fifo.txt")
    (folder / "folder.txt").mkdir()
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "large.txt").write_text("x" * 256_001)
    (folder / "largest.txt").write_text("x" * 256_000)
    for name, fault in (
        ("fifo.txt", "is no file"),
        ("folder.txt", "is no file"),
        ("loop.txt", "cannot be read"),
        ("large.txt", "has more than 256 kB"),
    ):
        with pytest.raises(RenderError, match=rf"new\.txt, line 1: {name} {fault}"):
            own(folder, {"new.txt": f'{{% include "{name}" %}}'}).mail(new())
    assert len(own(folder, {"new.txt": '{% include "largest.txt" %}'}).mail(new()).text) == 256_000


def test_half_a_character_and_endless_lists_are_faults(folder: Path) -> None:
    with pytest.raises(RenderError, match=r"new\.txt: makes half a character"):
        own(folder, {"new.txt": "{{ '\\ud800' }}"}).mail(new())
    with pytest.raises(RenderError, match=r"new\.slack\.json: does not make JSON"):
        own(folder, {"new.txt": "x", "new.slack.json": "{{ '[' * 100000 }}"}).slack(new())
    with pytest.raises(
        RenderError, match=r"new\.slack\.json: nests its blocks deeper than Slack does"
    ):
        own(folder, {"new.txt": "x", "new.slack.json": "{{ '[' * 300 }}{{ ']' * 300 }}"}).slack(
            new()
        )


def test_a_log_of_an_excess_holds_nothing_of_a_review(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own(folder, {"new.txt": "{{ review.body * 10 ** 9 }}"}, fall_back=True).mail(new())

    assert STALE.body[:9] not in caplog.text
