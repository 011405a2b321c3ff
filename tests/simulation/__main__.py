"""`make simulate`: many runs on every core, each by a seed; what goes wrong is shrunk and printed.

SEEDS=17 or SEEDS=1-500 chooses seeds, MINUTES=60 goes on for so long, SHORT=1 makes the runs of
`make test`.
"""

import argparse
import gc
import multiprocessing
import os
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

from tests.simulation import plan as plans
from tests.simulation import world
from tests.simulation.fixed_plans import FIXED
from tests.simulation.history import History
from tests.simulation.oracle import Violation, judge
from tests.simulation.shrink import shrink, until
from tests.simulation.timeline import timeline

_MOST_SHRUNK = 10


@dataclass(frozen=True)
class Result:
    """What came of a seed."""

    seed: int
    weeks: float
    cpu: float
    violations: tuple[Violation, ...]
    notes: tuple[str, ...]


def simulate(seed: int, *, short: bool) -> Result:
    """Run a seed, and judge it."""
    begun = time.process_time()
    plan = plans.make(seed, short=short)
    history, found = judged(plan)
    gc.collect()
    weeks = (history.end - history.start).total_seconds() / 604800
    return Result(seed, weeks, time.process_time() - begun, found, history.notes)


def judged(plan: plans.Plan) -> tuple[History, tuple[Violation, ...]]:
    """Run a plan, and judge it; a run that breaks off is a finding too."""
    try:
        history = world.run(plan)
        return history, tuple(judge(history))
    except Exception as error:  # noqa: BLE001 - whatever it is, it has a seed
        where = "".join(traceback.format_exception(error)[-2:])
        broken = Violation("broken_off", "1", plans.START, f"{error!r}: {where}")
        return History(plans.START, plans.START), (broken,)


def shrunk(
    seed: int, rule: str, *, short: bool, seconds: float
) -> tuple[plans.Plan, list[Violation]]:
    """The smallest plan of a seed that still breaks a rule, and how it does."""

    def broken(plan: plans.Plan) -> list[Violation]:
        return [violation for violation in judged(plan)[1] if violation.rule == rule]

    plan = plans.make(seed, short=short)
    found = broken(plan)
    # What comes after the violation only takes time.
    for later in (plans.HOUR, plans.DAY) if found else ():
        sooner = until(plan, (found[0].time - plans.START).total_seconds() + later)
        if sooner.length < plan.length and (there := broken(sooner)):
            plan, found = sooner, there
            break
    plan = shrink(plan, lambda plan: bool(broken(plan)), seconds) if found else plan
    return plan, broken(plan)


def _seeds(text: str) -> Iterable[int]:
    if not text:
        first = random.SystemRandom().randrange(1_000_000)
        return count(first)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def _has(plan: plans.Plan, kinds: str) -> bool:
    there = {event.args.get("fault", event.kind) for event in plan.events}
    ops = [op for event in plan.events for op in event.args.get("ops", ())]
    there |= {op for op, *_ in ops} | {op[1] for op in ops if op[0] == "set"}
    return not kinds or set(kinds.split(",")) <= there


def _job(job: tuple[int, bool]) -> Result:
    return simulate(job[0], short=job[1])


def _until(seeds: Iterable[int], minutes: float, *, short: bool) -> Iterator[tuple[int, bool]]:
    end = time.monotonic() + 60 * minutes
    for seed in seeds:
        if time.monotonic() > end:
            return
        yield seed, short


def _results(jobs: Iterator[tuple[int, bool]], processes: int) -> Iterator[Result]:
    """Each result as it comes; no job is taken before a core is free."""
    if processes == 1:
        yield from map(_job, jobs)
        return
    simulate(1, short=True)  # what is compiled once is there before the processes part
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=20) as pool:
        waiting = [pool.apply_async(_job, (job,)) for job in _some(jobs, processes)]
        while waiting:
            for done in [result for result in waiting if result.ready()]:
                waiting.remove(done)
                waiting += [pool.apply_async(_job, (job,)) for job in _some(jobs, 1)]
                yield done.get()
            time.sleep(0.02)


def _some(jobs: Iterator[tuple[int, bool]], number: int) -> list[tuple[int, bool]]:
    return list(islice(jobs, number))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description="Run the service in a simulated world, and judge what it did."
    )
    parser.add_argument("--seeds", default=os.environ.get("SEEDS", ""), help="17, or 1-500")
    parser.add_argument(
        "--minutes", type=float, default=float(os.environ.get("MINUTES") or 0), help="how long"
    )
    parser.add_argument(
        "--short",
        action="store_true",
        default=bool(os.environ.get("SHORT")),
        help="runs of some days",
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--shrink", type=float, default=120.0, help="seconds for each finding; 0: do not"
    )
    parser.add_argument("--plan", action="store_true", help="only print the plan")
    parser.add_argument(
        "--find", default="", help="stop at the first seed that breaks one of these rules"
    )
    parser.add_argument("--but", default="", help="but not these: 17:lost,18:late")
    parser.add_argument(
        "--having",
        default="",
        help="only seeds whose plans have all of these kinds of event or fault",
    )
    parser.add_argument("--timeline", action="store_true", help="only print what happens")
    parser.add_argument("--fixed", help="the plans of `fixed_plans` whose names contain this")
    asked = parser.parse_args()
    if asked.fixed is not None:
        sys.exit(0 if _run_fixed(asked.fixed, timelines=asked.timeline) else 1)
    minutes = asked.minutes or (5.0 if not asked.seeds else 1e6)
    if asked.plan:
        for seed in _seeds(asked.seeds):
            print(*plans.make(seed, short=asked.short).lines(), sep="\n")
        return
    if asked.timeline:
        for seed in _seeds(asked.seeds):
            history = world.run(plans.make(seed, short=asked.short))
            print(*timeline(history), *judge(history), sep="\n")
        return
    sys.exit(0 if _run(asked, minutes) else 1)


def _run_fixed(part: str, *, timelines: bool) -> bool:
    bad = 0
    for name, plan in FIXED.items():
        if part in name:
            history, found = judged(plan)
            if timelines:
                print(*timeline(history), *found, sep="\n")
            rules = " ".join(dict.fromkeys(violation.rule for violation in found))
            print(f"{name}: {len(found)} violations: {rules}")
            bad += bool(found)
    return not bad


def _run(asked: argparse.Namespace, minutes: float) -> bool:
    runs, weeks, cpu, begun = 0, 0.0, 0.0, time.monotonic()
    rules: Counter[str] = Counter()
    bad: list[Result] = []
    seeds = (
        seed
        for seed in _seeds(asked.seeds)
        if _has(plans.make(seed, short=asked.short), asked.having)
    )
    jobs = iter(_until(seeds, minutes, short=asked.short))
    for result in _results(jobs, asked.processes):
        runs, weeks, cpu = runs + 1, weeks + result.weeks, cpu + result.cpu
        if result.violations and not asked.find:
            bad.append(result)
            rules.update({violation.rule for violation in result.violations})
            said = " ".join(dict.fromkeys(violation.rule for violation in result.violations))
            print(f"\rseed {result.seed}: {len(result.violations)} violations: {said}\033[K")
        found = {each.rule for each in result.violations} & set(asked.find.split(","))
        found -= {rule for rule in found if f"{result.seed}:{rule}" in asked.but.split(",")}
        if found:
            rule = min(found)
            print(f"seed {result.seed} after {runs} runs: {rule}")
            return False
        if result.notes and not asked.find:
            print(f"\rseed {result.seed}: {result.notes[0]}\033[K")
        if sys.stderr.isatty():
            print(
                f"\r{runs} runs, {weeks:.0f} weeks, {len(bad)} with findings\033[K",
                end="",
                file=sys.stderr,
            )
    print(
        f"\r{runs} runs, {weeks:.1f} simulated weeks in {time.monotonic() - begun:.0f} s"
        f" ({weeks / max(cpu, 0.001):.2f} weeks a second of CPU), {len(bad)} with findings"
    )
    for rule, number in rules.most_common():
        print(f"  {number:4}  {rule}")
    if asked.shrink:
        _explain(bad, asked)
    return not bad


def _explain(bad: list[Result], asked: argparse.Namespace) -> None:
    """Print one shrunk timeline for each rule that was broken."""
    told: set[str] = set()
    for result in sorted(bad, key=lambda each: len(each.violations)):
        for violation in result.violations:
            if violation.rule in told or len(told) >= _MOST_SHRUNK:
                continue
            told.add(violation.rule)
            plan, broken = shrunk(
                result.seed, violation.rule, short=asked.short, seconds=asked.shrink
            )
            short = "SHORT=1 " if asked.short else ""
            print(
                f"\n{short}SEEDS={result.seed} make simulate: {violation.rule}; the least that breaks it:"
            )
            print(*(f"  {line}" for line in plan.lines()), sep="\n")
            print(*(f"  → {each}" for each in broken[:5]), sep="\n")


if __name__ == "__main__":
    # The order of sets is a part of what a seed decides.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606 - itself once more
    main()
