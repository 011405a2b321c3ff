"""Look up known vulnerabilities of the image's packages: `make audit`.

Exits with 1 if a package has one. If pip-audit cannot look them up, for example offline, exits with
0 and prints NOT AUDITED.
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
    """Run pip-audit, print its findings, and return the exit code."""
    done = subprocess.run(
        [*COMMAND, "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        reason = (done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
        print(f"NOT AUDITED: pip-audit cannot look them up, perhaps offline ({reason[:200]})")
        return 0
    looked_up = [package for package in packages if "vulns" in package]
    unknown = [package["name"] for package in packages if "vulns" not in package]
    bad = [package for package in looked_up if package["vulns"]]
    for package in bad:
        for found in package["vulns"]:
            fixed = ", ".join(found.get("fix_versions", [])) or "no version"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    if unknown:
        print(f"NOT AUDITED: pip-audit does not know {len(unknown)} of {len(packages)} packages")
    print(f"{len(looked_up)} packages looked up, {len(bad)} of them vulnerable")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
