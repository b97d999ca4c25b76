"""The sweep: every fault at every command, and a table of how it ended. Progress is on stderr."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tests.chaos.proxy import KINDS, WHENS, Fault
from tests.chaos.scenario import Plan, Result, run

if TYPE_CHECKING:
    from collections.abc import Iterator

PAIRS = ("redis-7.0:redis-8.0", "valkey-8.1:valkey-9.1", "redis-7.0:valkey-9.1")
CALLS = ("switchover", "rollback", "replicate")
CUT = ("pause", "demote", "promote", "confirm", "finish", "rewrite")
# What is read again and again until something is so: three times stand for all.
MOST_REPEATS = 3
console = Console(highlight=False, width=140)


def main() -> int:
    """Run what the options ask for; the exit status is 1 if anything was wrong."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    results = list(_run_all(_plans(options), options))
    _show(results)
    wrong = [result for result in results if result.problems]
    for result in wrong:
        console.print(f"\n{result.plan.command}", soft_wrap=True, markup=False)
        console.print(f"  {result.path}", soft_wrap=True, markup=False)
        for problem in result.problems:
            console.print(f"  {problem}", soft_wrap=True, markup=False)
    seconds = time.monotonic() - began
    console.print(f"\n{len(results)} scenarios, {len(wrong)} with problems, {seconds:.0f} s")
    return 1 if wrong or not results else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--pair", action="append", help="OLD:NEW, may be repeated; all pairs without it")
    add("--call", action="append", choices=CALLS, help="may be repeated; all calls without it")
    add("--fault", action="append", choices=[*KINDS, "none"], help="may be repeated")
    add("--when", action="append", choices=WHENS)
    add("--at", action="append", metavar="PHASE/SIDE:COMMAND#N", help="one point; may be repeated")
    add("--dead", action="store_true", help="only where a server that was killed stays dead")
    add("--alive", action="store_true", help="only where it is started again")
    add("--cut", action="store_true", help="only from the pause on")
    add("--every", type=int, default=1, metavar="K", help="one point in K")
    add("--jobs", type=int, default=3, help="how many at a time")
    add("--out", type=Path, help="a file for everything that was seen, as lines of JSON")
    add("--keep", type=Path, help="a folder for the files of scenarios with problems")
    return parser.parse_args()


def points_of(recorded: list[str]) -> list[str]:
    """Return the points worth a fault among those of a run without one."""
    return [one for one in recorded if int(one.rpartition("#")[2]) <= MOST_REPEATS]


def _plans(options: argparse.Namespace) -> Iterator[Plan]:
    for pair, call in itertools.product(options.pair or PAIRS, options.call or CALLS):
        old, _, new = pair.partition(":")
        plain = Plan(old, new, call)
        if options.fault == ["none"]:
            yield plain
            continue
        points = options.at
        if not points:
            recorded = _run(plain, options)
            if recorded.problems:
                raise SystemExit(f"{plain.command}: {'; '.join(recorded.problems)}")
            points = points_of(recorded.points)[:: options.every]
            if options.cut:
                points = [point for point in points if point.partition("/")[0] in CUT]
            _progress(f"{pair} {call}: {len(recorded.points)} commands, {len(points)} points")
        kinds = [kind for kind in options.fault or KINDS if kind != "none"]
        for point, kind, when in itertools.product(points, kinds, options.when or WHENS):
            fault = Fault(kind, when, point)
            if not options.dead:
                yield Plan(old, new, call, fault)
            if kind in {"kill_source", "kill_target"} and not options.alive:
                yield Plan(old, new, call, fault, revive=False)


def _run_all(plans: Iterator[Plan], options: argparse.Namespace) -> Iterator[Result]:
    listed = list(plans)
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            waiting = [pool.submit(_run, plan, options) for plan in listed]
            for number, done in enumerate(as_completed(waiting), 1):
                result = done.result()
                left = (time.monotonic() - began) / number * (len(listed) - number)
                how = "; ".join(result.problems) or "ok"
                _progress(f"{number}/{len(listed)} ({left:.0f} s) {_brief(result)}: {how}")
                if options.out:
                    with options.out.open("a") as out:
                        out.write(json.dumps(result.as_dict()) + "\n")
                yield result
        except BaseException:
            _progress("stopping ...")
            pool.shutdown(cancel_futures=True)
            raise


def _run(plan: Plan, options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(prefix="redis-baton-chaos-") as scratch:
        try:
            result = run(plan, Path(scratch))
        except Exception:  # noqa: BLE001 # the others go on
            result = Result(plan, problems=[f"the scenario broke: {traceback.format_exc()}"])
        if result.problems and options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            dead = "" if plan.revive else "-dead"
            name = f"{plan.old}-{plan.new}-{plan.call}-{plan.fault}{dead}".replace("/", "_")
            shutil.copytree(scratch, options.keep / f"{name}-{time.time_ns()}")
        return result


def _brief(result: Result) -> str:
    dead = "" if result.plan.revive else " dead"
    plan = result.plan
    return f"{plan.old}:{plan.new} {plan.call} {plan.fault}{dead} [{result.path}] {result.end}"


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _show(results: list[Result]) -> None:
    groups: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in results:
        plan = result.plan
        kind = plan.fault.kind if plan.fault else "none"
        rows = groups.setdefault((f"{plan.old} -> {plan.new}", plan.call), {})
        rows.setdefault(kind if plan.revive else f"{kind}, dead", []).append(result)
        if kind == "kill_controller" and result.between:
            rows.setdefault(f"{kind} between", []).append(result)
    columns = ("fault", "runs", "missed", "first call", "then served", "end", "warned loss")
    for (pair, call), rows in sorted(groups.items()):
        table = Table(title=f"{pair}, {call}", title_justify="left")
        for column in (*columns, "writes stood, ms", "s each", "wrong"):
            table.add_column(column)
        for kind, group in sorted(rows.items()):
            table.add_row(kind, *_row(group))
        console.print(table)
    console.print(
        "missed: it never came to that point. then served: before anything was run again, within "
        "5 s. writes stood: median and most, up to there; between: after the demotion, before the "
        "promotion."
    )


def _row(group: list[Result]) -> list[str]:
    def counted(words: list[str]) -> str:
        return ", ".join(f"{word} {times}" for word, times in Counter(words).most_common())

    fired = [one for one in group if one.fired]
    gaps = sorted(one.gap_ms for one in fired)
    first = [one.outcomes[0] for one in fired if one.outcomes]
    return [
        str(len(group)),
        str(len(group) - len(fired)),
        counted(["done" if one.done else one.reason or "killed" for one in first]),
        counted([one.alone for one in fired]),
        counted([one.end for one in group]),
        str(sum(any("lost" in note for note in one.notes) for one in group)),
        f"{statistics.median(gaps):.0f} to {gaps[-1]:.0f}" if gaps else "",
        f"{statistics.median(one.seconds for one in group):.1f}",
        str(sum(bool(one.problems) for one in group)),
    ]


if __name__ == "__main__":
    sys.exit(main())
