"""The units for systemd, and `alerterctl`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alerter.wix.http import LARGEST
from tests.support.waiting import HANG

DEPLOY = Path(__file__).parents[2] / "deploy"
MB = 1024 * 1024
PROGRAM = "/opt/alerter/bin/alerter"
SERVICES = ("alerter.service", "alerter-once.service")
NO_SYSTEMD = "systemd-analyze is not installed here"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason=NO_SYSTEMD)


def settings(name: str) -> list[str]:
    """The lines of a unit that say something."""
    return [
        line
        for line in (DEPLOY / name).read_text().splitlines()
        if "=" in line and not line.startswith("#")
    ]


def sandbox(name: str) -> list[str]:
    """What a service may do, and as whom: its settings from the environment on."""
    lines = settings(name)
    first = next(number for number, line in enumerate(lines) if line.startswith("Environment="))
    return [line for line in lines[first:] if not line.startswith("WantedBy=")]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they are, for a program that is there."""
    for name in (*SERVICES, "alerter-once.timer"):
        (tmp_path / name).write_text((DEPLOY / name).read_text().replace(PROGRAM, sys.executable))
    return tmp_path


@needs_systemd
def test_systemd_has_nothing_to_say_against_the_units(units: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", *sorted(units.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG)
    # It ends with 0 for most faults.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_is_exposed_to_is_1_2_at_most(units: Path, name: str) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=12",
            "--no-pager",
            str(units / name),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_the_daemon_is_started_again_whatever_happens() -> None:
    lines = settings("alerter.service")
    for line in (
        "Type=notify",
        "Restart=always",
        "RestartSec=5",
        "StartLimitIntervalSec=0",
        "DynamicUser=yes",
    ):
        assert line in lines
    assert f"ExecStart={PROGRAM} run" in lines
    assert "ExecReload=/bin/kill -HUP $MAINPID" in lines
    assert [
        line
        for line in lines
        if line.startswith(("WatchdogSec=", "StateDirectory=", "LoadCredential="))
    ] == [
        "WatchdogSec=3min",
        "StateDirectory=alerter",
        "LoadCredential=alerter:/etc/alerter/credentials",
    ]


def test_both_services_have_the_same_user_state_credentials_and_sandbox() -> None:
    assert sandbox(SERVICES[0]) == sandbox(SERVICES[1])
    assert f"ExecStart={PROGRAM} run --once" in settings("alerter-once.service")


def test_a_service_is_stopped_before_it_takes_the_machine_with_it() -> None:
    for name in SERVICES:
        limits = dict(
            line.split("=", 1)
            for line in sandbox(name)
            if line.startswith(("MemoryMax=", "TasksMax="))
        )
        # asyncio looks up names in 32 threads at most.
        assert int(limits["TasksMax"]) > 33
        assert int(limits["MemoryMax"].removesuffix("M")) * MB > 16 * LARGEST


def ctl(folder: Path, *arguments: str, shown: str) -> subprocess.CompletedProcess[str]:
    """Run alerterctl where systemctl shows this unit, if any, and systemd-run repeats what it is
    asked for.
    """
    (folder / "unit").write_text(shown)
    for name, does in (
        ("systemctl", f'test -s "{folder}/unit" && cat "{folder}/unit"'),
        ("systemd-run", _REPEAT),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    environ = {"PATH": f"{folder}:{os.environ['PATH']}"}
    command = [DEPLOY / "alerterctl", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=HANG, env=environ
    )


# The files that it is given are gone when it has ended.
_REPEAT = r"""printf "%s\n" "$@"
for each; do
  case $each in
    --property=EnvironmentFile=*/environment) sed "s/^/environment: /" "${each#*e=}" ;;
    --property=LoadCredential=*:*/credentials/*)
      printf "credential %s: %s\n" "${each##*/}" "$(cat "${each##*:}")" ;;
  esac
done
exit 7"""
UNIT = f"# /etc/systemd/system/alerter.service\n{(DEPLOY / 'alerter.service').read_text()}\n"


def test_alerterctl_runs_a_command_as_the_service_would(tmp_path: Path) -> None:
    done = ctl(tmp_path, "backfill", "--since", "2026-01-01", "--site", "Corner Bakery", shown=UNIT)
    told = done.stdout.splitlines()
    options, command = told[: told.index("--")], told[told.index("--") + 1 :]
    asked = [PROGRAM, "backfill", "--since", "2026-01-01", "--site", "Corner Bakery"]
    assert command == [*asked, 'environment: ALERTER_CONFIG="/etc/alerter/config.toml"']
    assert options[:4] == ["--quiet", "--collect", "--wait", "--pipe"]
    *properties, environment = options[4:]
    lines = [line for line in sandbox("alerter.service") if not line.startswith("Environment=")]
    assert properties == [f"--property={line}" for line in lines]
    assert environment.startswith("--property=EnvironmentFile=")
    assert not Path(environment.rpartition("=")[2]).exists()  # nothing is left
    assert (done.returncode, done.stderr) == (7, "")


OWN = r"""[Unit]
Wants=other.service
[Service]
ExecStart=
ExecStart=-/srv/alerter run
Environment="A=b $c `d` \"e\"" 'F=g  h' I=j\
  K=l
EnvironmentFile=-/etc/alerter/environment
SetCredential=token:top\x2dsecret
SystemCallFilter=@system-service \
# between two lines
  @chown
MemoryMax = 1G
"""


def test_alerterctl_keeps_to_what_the_owner_has_changed(tmp_path: Path) -> None:
    told = ctl(tmp_path, "status", shown=UNIT + OWN).stdout.splitlines()
    options, command = told[: told.index("--")], told[told.index("--") + 1 :]
    assert command[:2] == ["/srv/alerter", "status"]
    assert "--property=MemoryMax=1G" in options
    assert [" ".join(each.split()) for each in options if "@chown" in each] == [
        "--property=SystemCallFilter=@system-service @chown"
    ]
    assert options[-1] == "--property=EnvironmentFile=-/etc/alerter/environment"
    assert not [each for each in options if "Wants" in each or "ExecStart" in each]


def test_alerterctl_puts_no_secret_on_a_command_line(tmp_path: Path) -> None:
    told = ctl(tmp_path, "status", shown=UNIT + OWN).stdout.splitlines()
    options, files = told[: told.index("--")], told[told.index("--") + 3 :]
    assert not [
        each
        for each in options
        if "Environment=" in each or "SetCredential" in each or "secret" in each
    ]
    assert files == [
        "credential token: top-secret",
        'environment: ALERTER_CONFIG="/etc/alerter/config.toml"',
        r'environment: A="b \$c \`d\` \"e\""',
        'environment: F="g  h"',
        'environment: I="j"',
        'environment: K="l"',
    ]


def test_alerterctl_forgets_what_the_owner_has_emptied(tmp_path: Path) -> None:
    lines = [
        "SetCredential=a:b",
        "SetCredential=",
        "Environment=",
        "EnvironmentFile=/a",
        "EnvironmentFile=",
    ]
    own = "\n".join(["[Service]", *lines, "Environment=B=c", ""])
    told = ctl(tmp_path, "status", shown=UNIT + own).stdout.splitlines()
    assert told[told.index("--") + 3 :] == ['environment: B="c"']
    assert not [each for each in told if "credentials/a" in each or "EnvironmentFile=/a" in each]


def test_alerterctl_without_the_unit_runs_nothing(tmp_path: Path) -> None:
    done = ctl(tmp_path, "status", shown="")
    assert done.returncode == 1
    assert done.stdout == ""
