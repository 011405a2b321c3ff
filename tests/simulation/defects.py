"""Known defects, put back one at a time: the simulator has to find each. `make simulate-defects`.

A defect is a few replacements in the source of a copy of the package. What it replaces has to be
there: a defect that no longer fits has to be written anew. Each has a small plan written by hand
(`fixed_plans`) that breaks a rule with the defect and none without it. `--seeds` searches in the
plans of these seeds instead, as `make simulate` makes them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import alerter

_PACKAGE = Path(alerter.__file__).parent
_PROJECT = _PACKAGE.parent


@dataclass(frozen=True)
class Defect:
    """What is put back, and the rules of which one has to be broken by it.

    `having` names the kinds of event without which a random plan cannot show it.
    """

    name: str
    replace: tuple[tuple[str, str, str], ...]
    found_as: tuple[str, ...]
    having: tuple[str, ...] = ()

    def misfits(self) -> list[str]:
        """Return the replacements whose text is not in the package."""
        return [
            f"{file}: {old.strip().splitlines()[0]}"
            for file, old, _ in self.replace
            if old not in (_PACKAGE / file).read_text()
        ]


_ADVANCES_FIRST = """            return seen
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
        (("watch/intake.py", "min(asked_at or now, now)", "now"),),
        ("not_due", "wrong_details", "lost", "closed_to_none", "reminder_after_closing"),
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
        "a claim holds nothing",
        (
            (
                "store/holds.py",
                "(kind = 'snooze' OR until > :now)",
                "(kind = 'snooze' AND until > :now)",
            ),
        ),
        ("reminder_held",),
        ("claim", "reminders"),
    ),
    Defect(
        "no reminder follows a snooze",
        (("watch/triage.py", "if not each.is_claim and each.until <= now]", "if False]"),),
        ("snooze_forgotten",),
        ("snooze",),
    ),
    Defect(
        "a receiver gets alerts of every site",
        (
            (
                "config/receivers.py",
                "return site in self._of_accounts or any(matches(each, site) for each in self.sites or ())",
                "return True",
            ),
        ),
        ("foreign",),
    ),
    Defect(
        "quiet hours hold nothing",
        (("watch/routing.py", "None if urgent else quiet_until(", "None and quiet_until("),),
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
                "found = await slack_look.look(self._api, self._receiver, channel, message)",
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
                'f"Message-ID: <{message.uid}>',
                'f"Message-ID: <{message.lost}.{message.uid}>',
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
        ("after_closing", "closed_to_none", "reminder_after_closing", "words_sent"),
        ("replied",),
    ),
    Defect(
        "erased words stay in the write-ahead log",
        (("store/sqlite.py", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA data_version"),),
        ("words_kept",),
        ("deleted",),
    ),
    Defect(
        "a clock that is set back stops the rounds",
        (("service/embedded.py", "for job in too_late:", "for job in ():"),),
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
                    "            return seen\n"
                    "        with self._state.transaction(Scope.SITE.of(site.site_id)):\n"
                ),
                _ADVANCES_FIRST,
            ),
        ),
        ("lost", "not_read", "not_due", "late", "older_unsaid"),
        ("kill",),
    ),
    Defect(
        "a webhook has an id of its own in each try",
        (
            (
                "notify/webhook.py",
                "    return webhook_id(item.alert.key)\n",
                '    return webhook_id(f"{item.alert.key} {message.lost}")\n',
            ),
        ),
        ("repeated",),
        ("posted_dropped_after",),
    ),
    Defect(
        "an address that is gone is not parked",
        (
            (
                "notify/http_address.py",
                "ErrorKind.TRANSIENT if status in _COME_BACK else ErrorKind.RECEIVER",
                "ErrorKind.TRANSIENT",
            ),
        ),
        ("parked_tried", "status_parked"),
        ("posted_gone",),
    ),
    Defect(
        "an address that throttles holds up all of its medium",
        (
            (
                "service/destinations.py",
                (
                    "        name,\n        config.service(receiver, medium),\n"
                    "        NtfyNotifier(receiver.name, address),\n"
                ),
                '        name,\n        "ntfy:phone",\n        NtfyNotifier(receiver.name, address),\n',
            ),
        ),
        ("late", "lost"),
        ("posted_throttled",),
    ),
    Defect(
        "a redirect counts as sent",
        (
            (
                "notify/http_address.py",
                '        if 300 <= answer.status_code < 400:\n            raise self._refusal(answer, b"")\n',
                "",
            ),
            ("notify/http_address.py", "if answer.is_success:", "if answer.status_code < 400:"),
        ),
        ("lost",),
        ("posted_redirected",),
    ),
    Defect(
        "erased words stay on Discord",
        (
            (
                "notify/discord.py",
                'await self._change("PATCH", message, content)',
                "pass",
            ),
        ),
        ("words_stand",),
        ("deleted",),
    ),
    Defect(
        "a repeat on Teams does not say so",
        (
            (
                "render/renderer.py",
                "        if message.repeat:\n            note = Part",
                "        if False:\n            note = Part",
            ),
        ),
        ("repeated",),
        ("posted_dropped_after",),
    ),
)


@contextmanager
def put_back(defect: Defect) -> Iterator[Path]:
    """Yield a folder with a copy of the package that has the defect."""
    with tempfile.TemporaryDirectory(prefix="alerter-defect-") as name:
        folder = Path(name)
        shutil.copytree(_PACKAGE, folder / "alerter")
        for beside in ("tests", "templates"):
            (folder / beside).symlink_to(_PROJECT / beside)
        for file, old, new in defect.replace:
            source = folder / "alerter" / file
            source.write_text(source.read_text().replace(old, new))
        yield folder


def simulate(folder: Path, *options: str) -> str:
    """Run the simulation with the package of a folder, and return its output.

    Raise RuntimeError where it breaks off.
    """
    ended = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Traceback" in ended.stderr:
        raise RuntimeError(ended.stderr[-2000:])
    return ended.stdout


def broken_rules(folder: Path, part: str) -> dict[str, set[str]]:
    """Return which rules each fixed plan breaks whose name contains a text."""
    said = simulate(folder, "--fixed", part)
    lines = re.findall(r"^(.+): \d+ violations: ?(.*)$", said, re.MULTILINE)
    return {name: set(rules.split()) for name, rules in lines}


def find_by_plan(defect: Defect, without: set[str]) -> tuple[bool, str]:
    """Return whether the plan of a defect finds it, and what to print of it.

    `without` are the rules that the plan breaks without the defect.
    """
    if without:
        return False, f"its plan breaks {' '.join(sorted(without))} without it"
    with put_back(defect) as folder:
        broken = broken_rules(folder, defect.name)[defect.name]
    if found := broken & set(defect.found_as):
        return True, " ".join(sorted(found))
    return False, f"its plan breaks {' '.join(sorted(broken)) or 'no rule'}"


def find_by_seeds(defect: Defect, seeds: str, *, short: bool) -> tuple[bool, str]:
    """Return whether one of these seeds finds a defect, and what to print of it.

    A seed that breaks the same rule without the defect does not.
    """
    length = ["--short"] if short else []
    but: list[str] = []
    with put_back(defect) as folder:
        while True:
            wanted = ["--find", ",".join(defect.found_as), "--having", ",".join(defect.having)]
            said = simulate(folder, "--seeds", seeds, *wanted, "--but", ",".join(but), *length)
            match = re.search(r"^seed (\d+) after \d+ runs: (\w+)$", said, re.MULTILINE)
            if match is None:
                return False, said.strip().splitlines()[0]
            anyway = simulate(_PROJECT, "--seeds", match[1], "--shrink", "0", *length)
            rules = re.findall(r"^\r?seed \d+: \d+ violations: ([\w ]+)", anyway, re.MULTILINE)
            if match[2] not in " ".join(rules).split():
                return True, match[0]
            but += [f"{match[1]}:{rule}" for line in rules for rule in line.split()]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description="Put known defects back, and see that the simulator finds each."
    )
    parser.add_argument(
        "--seeds", default=os.environ.get("SEEDS", ""), help="random plans instead of fixed ones"
    )
    parser.add_argument("--long", action="store_true", help="random plans of weeks and months")
    parser.add_argument("--only", default="", help="a part of a defect's name")
    asked = parser.parse_args()
    chosen = [defect for defect in DEFECTS if asked.only in defect.name]
    without = {} if asked.seeds else broken_rules(_PROJECT, asked.only)
    missed = 0
    for defect in chosen:
        if misfits := defect.misfits():
            found, said = False, f"does not fit any more: {'; '.join(misfits)}"
        elif asked.seeds:
            found, said = find_by_seeds(defect, asked.seeds, short=not asked.long)
        else:
            found, said = find_by_plan(defect, without[defect.name])
        missed += not found
        print(f"{'found ' if found else 'MISSED'}  {defect.name}: {said}", flush=True)
    cpu = os.times().children_user + os.times().children_system
    print(f"{len(chosen)} defects, {missed} missed, in {cpu:.0f} s of CPU")
    sys.exit(1 if missed or not chosen else 0)


if __name__ == "__main__":
    main()
