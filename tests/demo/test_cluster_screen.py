"""The terminal of a cluster's demo."""

import io

import pytest

from alerter.demo.cluster_screen import Screen, aligned, styled


class OnTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_shown_above_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    out = OnTerminal()
    screen = Screen(out)
    screen.show(["worker 1", styled("a line that is longer than the terminal", "32")])
    screen.say("It is killed.", "step")
    assert out.getvalue() == (
        "worker 1\na line that is long\n"
        "\x1b[2F\x1b[J\x1b[1mIt is killed.\x1b[0m\n"
        "worker 1\na line that is long\n"
    )


def test_what_is_piped_is_lines_without_colours() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.show(["worker 1"])
    for line in aligned([("worker", "for"), ("alive", "1:02")], {"alive": "32"}):
        screen.say(line, "result")
    assert out.getvalue() == "worker  for\nalive   1:02\n"
