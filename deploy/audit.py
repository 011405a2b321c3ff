"""`make audit`: look up the packages of the image among the known vulnerabilities.

Exits 1 where one has a vulnerability. Exits 0 and says so where nothing can be asked: being offline is no finding.
"""

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent / "requirements.lock"
COMMAND = [
    "pip-audit",
    "--disable-pip",
    "--require-hashes",
    "--requirement",
    str(LOCK),
    "--format",
    "json",
]


def main() -> int:
    """Ask, print what was found, and return the exit code."""
    done = subprocess.run(
        [*COMMAND, "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        print(
            f"NOT AUDITED: the vulnerabilities cannot be looked up, offline perhaps ({said[:200]})"
        )
        return 0
    looked_up = [package for package in packages if "vulns" in package]
    unknown = [package["name"] for package in packages if "vulns" not in package]
    bad = [package for package in looked_up if package["vulns"]]
    for package in bad:
        for found in package["vulns"]:
            fixed = ", ".join(found.get("fix_versions", [])) or "no version"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    if unknown:
        print(
            f"NOT AUDITED: {len(unknown)} of {len(packages)} packages are not known where pip-audit asks"
        )
    print(f"{len(looked_up)} packages looked up, {len(bad)} of them vulnerable")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
