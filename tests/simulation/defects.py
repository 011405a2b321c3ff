"""Known defects, put back one at a time: the simulator has to find each of them. `make simulate-
defects`.

A defect is a few replacements in the source of a copy of the package. What it replaces has to be
there: a defect that
no longer fits has to be written anew.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import alerter

_PACKAGE = Path(alerter.__file__).parent
_PROJECT = _PACKAGE.parent
_SEEDS = 600


@dataclass(frozen=True)
class Defect:
    """What is put back, the rules of which one has to be broken by it, and the kinds of event that
    it takes.
    """

    name: str
    replace: tuple[tuple[str, str, str], ...]
    found_as: tuple[str, ...]
    having: tuple[str, ...] = ()
    seeds: str = ""  # where what it takes is rare

    def fits(self) -> list[str]:
        """The replacements whose text is not in the package."""
        return [
            f"{file}: {old.strip().splitlines()[0]}"
            for file, old, _ in self.replace
            if old not in (_PACKAGE / file).read_text()
        ]


_ADVANCES_FIRST = """        seen: Counter[Reason] = Counter()
        known_sites.advance_checkpoint(self._state, site.site_id, checkpoint)
        with self._state.transaction(Scope.SITE.of(site.site_id)):
"""

DEFECTS = (
    Defect(
        "a lowered threshold closes as raised",
        (
            (
                "watch/triage.py",
                "        return Verdict(Reason.ABOVE, Status.CLOSED)\n",
                "        return _close(Reason.RAISED, CloseReason.RAISED)\n",
            ),
        ),
        ("closed_to_none", "wrong_details", "not_due", "not_updated"),
        ("threshold",),
        seeds="1-1500",
    ),
    Defect(
        "one answer without author erases a review",
        (
            (
                "watch/triage.py",
                "    return bool(known.authorless_since and as_of - known.authorless_since >= apart - _TOLERANCE)\n",
                "    return True\n",
            ),
        ),
        ("erased_falsely",),
        ("wix_no_author",),
    ),
    Defect(
        "a review is gone at the first look",
        (
            (
                "watch/intake.py",
                "fresh = {each.review.id for each in known if is_fresh(each, changes.now)}",
                "fresh = set()",
            ),
        ),
        ("not_due", "wrong_details", "erased_falsely", "closed_to_none"),
    ),
    Defect(
        "a read is as old as its answer",
        (("watch/intake.py", "min(asked_at or now, now))", "now)"),),
        ("not_due", "wrong_details", "lost"),
    ),
    Defect(
        "reminders do not count anew after a reopening",
        (
            (
                "watch/intake.py",
                "reminders.stop_reminders(self._state, site_id, changes.closed)",
                "pass",
            ),
        ),
        ("reminder_missing", "reminder_early", "reminder_too_many"),
        ("unreplied",),
    ),
    Defect(
        "a receiver gets alerts of every site",
        (
            (
                "watch/routing.py",
                "return receiver.sites is None or site in receiver.sites",
                "return True",
            ),
        ),
        ("foreign",),
    ),
    Defect(
        "quiet hours hold nothing",
        (("watch/routing.py", "if receiver.quiet and not urgent else None", "if False else None"),),
        ("quiet",),
    ),
    Defect(
        "what was under way at a kill is forgotten",
        (
            (
                "store/messages.py",
                "UPDATE messages SET status = 'in_doubt', lost = lost + 1, due_at = NULL,",
                "UPDATE messages SET status = 'failed', due_at = NULL,",
            ),
        ),
        ("lost", "pending", "failed_silently"),
        ("kill",),
    ),
    Defect(
        "nobody looks whether a message in doubt has arrived",
        (
            (
                "notify/slack.py",
                "found = await slack_look.look(self._api, self._receiver, self._channel, message)",
                "found = Look()",
            ),
        ),
        ("repeated", "repeat_unfounded"),
        ("slack_dropped_after",),
    ),
    Defect(
        "each try of a mail has a Message-ID of its own",
        (
            (
                "notify/email.py",
                'mail["Message-ID"] = f"<{message.uid}>"',
                'mail["Message-ID"] = f"<{message.attempts}.{message.uid}>"',
            ),
        ),
        ("other_message_id", "repeated"),
        ("smtp_dropped_after",),
    ),
    Defect(
        "what is unsent of a closed review still leaves",
        (
            (
                "watch/intake.py",
                "return raised_alerts.cancel_unsent(self._state, site.site_id, review.id)",
                "return True",
            ),
        ),
        ("after_closing", "reminder_after_closing", "words_sent"),
        ("replied",),
    ),
    Defect(
        "erased words stay in the write-ahead log",
        (("store/state.py", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA data_version"),),
        ("words_kept",),
        ("deleted",),
    ),
    Defect(
        "a clock that is set back stops the rounds",
        (("service/scheduler.py", "if abs(self._ahead() - ahead) > every / 2:", "if False:"),),
        ("silent", "not_read", "lost", "reminder_missing"),
        ("clock_step",),
    ),
    Defect(
        "an address that takes mail later is left out",
        (("notify/email.py", "to_left=later,", "to_left=(),"),),
        ("address_left_out",),
        ("smtp_address_soft",),
    ),
    Defect(
        "the checkpoint moves before what was read is recorded",
        (
            (
                "watch/intake.py",
                (
                    "        seen: Counter[Reason] = Counter()\n"
                    "        with self._state.transaction(Scope.SITE.of(site.site_id)):\n"
                ),
                _ADVANCES_FIRST,
            ),
        ),
        ("lost", "not_read", "not_due", "late"),
        ("kill",),
    ),
)


def broken_anyway(seeds: str, *, short: bool) -> str:
    """The seeds that break a rule without any defect, as `--but` takes them."""
    options = ["--seeds", seeds, "--shrink", "0", *(["--short"] if short else [])]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = re.findall(r"^\r?seed (\d+): \d+ violations: ([\w ]+)", ended.stdout, re.MULTILINE)
    return ",".join(f"{seed}:{rule}" for seed, rules in lines for rule in rules.split())


def search(defect: Defect, seeds: str, *, short: bool) -> tuple[bool, str]:
    """Whether the simulator finds a defect within these seeds, and what it said.

    A seed that breaks a rule without the defect too is none that finds it.
    """
    but: list[str] = []
    while True:
        found, said = _search(defect, seeds, ",".join(but), short=short)
        match = re.match(r"seed (\d+) after \d+ runs: (\w+)", said)
        if not found or match is None:
            return False, said
        anyway = broken_anyway(match[1], short=short).split(",")
        if f"{match[1]}:{match[2]}" not in anyway:
            return True, said
        but += anyway


def _search(defect: Defect, seeds: str, but: str, *, short: bool) -> tuple[bool, str]:
    with tempfile.TemporaryDirectory(prefix="alerter-defect-") as name:
        folder = Path(name)
        shutil.copytree(_PACKAGE, folder / "alerter", ignore=shutil.ignore_patterns("__pycache__"))
        for beside in ("tests", "templates"):
            (folder / beside).symlink_to(_PROJECT / beside)
        for file, old, new in defect.replace:
            source = folder / "alerter" / file
            source.write_text(source.read_text().replace(old, new))
        ended = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "tests.simulation",
                    "--seeds",
                    seeds,
                    "--find",
                    ",".join(defect.found_as),
                ),
                *("--but", but, "--having", ",".join(defect.having)),
                *(["--short"] if short else []),
            ],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    return ended.returncode == 1, (
        ended.stdout.strip().splitlines() or [ended.stderr.strip()[-500:]]
    )[0]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description="Put known defects back, and see that the simulator finds each."
    )
    parser.add_argument("--seeds", default=os.environ.get("SEEDS", ""))
    parser.add_argument("--long", action="store_true", help="runs of weeks and months")
    parser.add_argument("--only", default="", help="a part of a defect's name")
    asked = parser.parse_args()
    missed = 0
    for defect in (defect for defect in DEFECTS if asked.only in defect.name):
        if misfits := defect.fits():
            found, said = False, f"does not fit any more: {'; '.join(misfits)}"
        else:
            found, said = search(
                defect, asked.seeds or defect.seeds or f"1-{_SEEDS}", short=not asked.long
            )
        missed += not found
        print(f"{'found ' if found else 'MISSED'}  {defect.name}: {said}", flush=True)
    print(f"{len(DEFECTS)} defects, {missed} missed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
