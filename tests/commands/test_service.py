"""`alerter service`: the units as a checkout has them, put in place and taken away."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.commands.service import fault_of_program

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = ("alerter.service", "alerter-once.service", "alerter-once.timer")
PROGRAM = "/opt/alerter/bin/alerter"
HERE = str(Path(sys.executable).with_name("alerter"))

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Install below a folder, or uninstall."""
    umask = os.umask(0o022)

    def run(*args: str) -> Result:
        arguments = ["service", *args, "--root", str(tmp_path)]
        return CliRunner(catch_exceptions=False).invoke(main, arguments)

    yield run
    os.umask(umask)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    return tmp_path / "etc/systemd/system"


def words(result: Result) -> list[str]:
    """What was done with each file."""
    assert result.exit_code == 0, result.output
    return [line.split()[0] for line in result.stdout.splitlines()]


def test_the_units_are_installed_for_this_program(run: Run, tmp_path: Path, units: Path) -> None:
    result = run("install")
    assert words(result) == ["wrote"] * 4 + ["made"] + ["next:"] * 3
    for name in UNITS:
        assert (units / name).read_text() == (DEPLOY / name).read_text().replace(PROGRAM, HERE)
        assert stat.S_IMODE((units / name).stat().st_mode) == 0o644
    assert f"ExecStart={HERE} run" in (units / "alerter.service").read_text()
    control = tmp_path / "usr/local/bin/alerterctl"
    assert control.read_bytes() == (DEPLOY / "alerterctl").read_bytes()
    assert os.access(control, os.X_OK)
    assert stat.S_IMODE((tmp_path / "etc/alerter/credentials").stat().st_mode) == 0o700
    for folder in (tmp_path / "etc/alerter", units, control.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    for name in (*UNITS, "alerterctl", "credentials"):
        assert name in result.stdout
    assert f"next: alerter init --systemd --config {tmp_path}/etc/alerter/config" in result.stdout
    assert "systemctl enable --now alerter" in result.stdout.splitlines()[-1]


def test_once_more_is_the_same(run: Run, tmp_path: Path) -> None:
    run("install")
    (tmp_path / "etc/alerter/config.toml").write_text("")
    (tmp_path / "etc/alerter/config.toml").chmod(0o600)
    result = run("install")
    assert words(result) == ["same"] * 4 + ["opened"] + ["next:"] * 2
    assert f"opened    {tmp_path}/etc/alerter/config.toml" in result.stdout
    assert stat.S_IMODE((tmp_path / "etc/alerter/config.toml").stat().st_mode) == 0o644
    assert words(run("install")) == ["same"] * 4 + ["next:"] * 2


def test_a_changed_unit_is_kept_until_it_is_to_be_replaced(run: Run, units: Path) -> None:
    run("install")
    (units / "alerter.service").write_text("# mine")
    assert words(run("install"))[:2] == ["kept", "same"]
    assert (units / "alerter.service").read_text() == "# mine"
    result = run("install", "--replace")
    assert words(result)[:2] == ["replaced", "same"]
    assert f"is now {units / 'alerter.service.old'}" in result.stdout
    assert (units / "alerter.service.old").read_text() == "# mine"
    assert HERE in (units / "alerter.service").read_text()


def test_uninstalling_leaves_config_and_state(run: Run, tmp_path: Path, units: Path) -> None:
    run("install")
    (tmp_path / "var/lib/alerter").mkdir(parents=True)
    (units / "alerter-once.timer").write_text("# mine")
    result = run("uninstall")
    assert words(result) == ["removed"] * 4 + ["left"] * 2 + ["next:"]
    assert f"left     {tmp_path / 'etc/alerter'}" in result.stdout
    assert f"left     {tmp_path / 'var/lib/alerter'}" in result.stdout
    assert [path.name for path in units.iterdir()] == ["alerter-once.timer.old"]
    assert words(run("uninstall")) == ["left"] * 2 + ["next:"]


def test_a_service_that_is_enabled_is_disabled_first(run: Run, units: Path) -> None:
    run("install")
    (units / "multi-user.target.wants").mkdir()
    (units / "multi-user.target.wants/alerter.service").symlink_to(units / "alerter.service")
    result = run("uninstall")
    assert result.exit_code == 1
    assert "run `systemctl disable --now alerter.service` first" in result.stderr
    assert (units / "alerter.service").exists()


def test_a_folder_that_cannot_be_written_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    result = run("install")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"alerter: {tmp_path / 'etc'}")


@pytest.mark.parametrize(
    ("program", "python", "phrase"),
    [
        ("/opt/alerter/bin/alerter", "/usr/bin/python3.11", None),
        ("/home/robin/.venv/bin/alerter", "/usr/bin/python3.11", "cannot run /home/robin/.venv"),
        ("/opt/alerter/bin/alerter", "/root/.pyenv/bin/python", "cannot run /root/.pyenv"),
        ("/opt/my apps/alerter", "/usr/bin/python3.11", "would not understand the path"),
    ],
    ids=["good", "in a home", "a Python in a home", "a space"],
)
def test_a_program_that_the_service_cannot_run_is_refused(
    program: str, python: str, phrase: str | None
) -> None:
    fault = fault_of_program(Path(program), Path(python))
    assert fault is None if phrase is None else fault and phrase in fault
