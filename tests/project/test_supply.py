"""What the image is made of: pinned, hashed, and looked up among the known vulnerabilities."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.waiting import HANG

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "deploy" / name for name in ("requirements.lock", "build.lock")]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
BASES = re.findall(r"(?m)^FROM ([^\s@]+)", DOCKERFILE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
# What an extra of a package that we ask for brings.
BROUGHT = {"crypto": "cryptography", "binary": "psycopg-binary"}


def pinned(lock: Path) -> dict[str, list[str]]:
    """Each line of a lock file that names a package, and the hashes below it."""
    found: dict[str, list[str]] = {}
    for line in lock.read_text("utf-8").splitlines():
        if line.startswith("    --hash="):
            found[next(reversed(found))].append(line.split()[0])
        elif line and not line.lstrip().startswith("#"):
            found[line.removesuffix(" \\")] = []
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.name for lock in LOCKS])
def test_every_package_is_pinned_with_its_hashes_and_no_source(lock: Path) -> None:
    for line, hashes in pinned(lock).items():
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!]+( ; .+)?", line), line
        assert hashes, line
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), line
    assert "://" not in lock.read_text("utf-8")


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        (LOCKS[0], [*PROJECT["project"]["dependencies"], *EXTRAS["web"], *EXTRAS["postgres"]]),
        (LOCKS[1], PROJECT["build-system"]["requires"]),
    ],
    ids=[lock.name for lock in LOCKS],
)
def test_the_lock_holds_what_the_project_asks_for(lock: Path, wanted: list[str]) -> None:
    """Where this fails, `make lock` writes it anew."""
    versions = dict(line.partition(" ;")[0].split("==") for line in pinned(lock))
    for requirement in map(Requirement, wanted):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is not {version}"
        assert {BROUGHT[extra] for extra in requirement.extras} <= set(versions)


def test_every_dependency_has_an_upper_bound_or_says_why_not() -> None:
    extras = [*EXTRAS["web"], *EXTRAS["postgres"], *EXTRAS["demo"]]
    wanted = [*PROJECT["project"]["dependencies"], *extras]
    unbound = [each for each in wanted if "<" not in str(Requirement(each).specifier)]
    text = (ROOT / "pyproject.toml").read_text("utf-8")

    assert [each for each in unbound if f'"{each}", # ' not in text] == []


def test_the_image_installs_by_hash_or_from_what_it_has() -> None:
    commands = re.findall(
        r"pip (?:install|download|wheel) [^&\n]*", DOCKERFILE.replace("\\\n", " ")
    )
    assert len(commands) == 4
    assert [
        each for each in commands if "--require-hashes" not in each and "--no-index" not in each
    ] == []


def run(
    folder: Path, stub: str, does: str, *command: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run a command that finds a program of the given name doing what we say."""
    (folder / stub).write_text(f"#!/bin/sh\n{does}\n")
    (folder / stub).chmod(0o755)
    environ = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=HANG, env=environ
    )


def test_the_command_in_the_dockerfile_pins_both_bases_by_digest(tmp_path: Path) -> None:
    assert BASES[0] == BASES[1]
    [command] = re.findall(r"(?m)^# +(sed .*)$", DOCKERFILE)
    shutil.copy(ROOT / "Dockerfile", tmp_path)
    for digit in "ab":  # it also takes the place of an older digest
        done = run(tmp_path, "docker", f"echo sha256:{digit * 64}", "sh", "-c", command)
        assert done.returncode == 0, done.stderr
        pinned_bases = re.findall(r"(?m)^FROM (.*)$", (tmp_path / "Dockerfile").read_text())
        assert pinned_bases == [
            f"{base}@sha256:{digit * 64}{rest}"
            for base, rest in zip(BASES, (" AS build", ""), strict=True)
        ]


def test_the_health_check_prints_nothing_and_keeps_the_exit_code(tmp_path: Path) -> None:
    [command] = re.findall(r"(?m)^HEALTHCHECK .* CMD (.*)$", DOCKERFILE)
    done = run(tmp_path, "alerter", "echo A customer’s words; exit 1", "sh", "-c", command)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def package(name: str, *found: dict[str, Any], **fields: str) -> dict[str, Any]:
    return {"name": name, "version": "1.0"} | (fields or {"vulns": list(found)})


FOUND = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"], "aliases": [], "description": "x"}
AUDITS = {
    "clean": ([package("a"), package("b")], 0, "2 packages looked up, 0 of them vulnerable\n"),
    "vulnerable": (
        [package("a"), package("b", FOUND)],
        1,
        "b 1.0: PYSEC-2026-1, fixed in 1.1\n2 packages looked up, 1 of them vulnerable\n",
    ),
    "unknown": (
        [package("a", skip_reason="not found")],
        0,
        (
            "NOT AUDITED: pip-audit does not know 1 of 1 packages\n"
            "0 packages looked up, 0 of them vulnerable\n"
        ),
    ),
}


@pytest.mark.parametrize(("packages", "code", "said"), AUDITS.values(), ids=AUDITS)
def test_an_audit_fails_for_a_vulnerability_and_says_what_it_did(
    tmp_path: Path, packages: list[dict[str, Any]], code: int, said: str
) -> None:
    (tmp_path / "answer").write_text(json.dumps({"dependencies": packages, "fixes": []}))
    # pip-audit exits 1 for a finding.
    does = f'echo "$@" > asked; cat "{tmp_path}/answer"; exit {code}'
    done = run(tmp_path, "pip-audit", does, sys.executable, ROOT / "deploy" / "audit.py")
    assert (done.returncode, done.stdout, done.stderr) == (code, said, "")
    assert str(LOCKS[0]) in (tmp_path / "asked").read_text()


def test_an_audit_that_cannot_ask_says_so_and_fails_nothing(tmp_path: Path) -> None:
    does = "echo 'ERROR: Max retries exceeded' >&2; exit 1"
    done = run(tmp_path, "pip-audit", does, sys.executable, ROOT / "deploy" / "audit.py")
    assert done.returncode == 0
    assert done.stdout.startswith("NOT AUDITED: pip-audit cannot look them up, perhaps offline")
    assert "Max retries" in done.stdout
