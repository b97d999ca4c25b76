"""Runs what is to be measured about the switchover, and makes the tables of it."""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

from redis import RedisError
from redis_baton import BatonError
from rich.console import Console

from bench.playbook import PlaybookFailed
from bench.scene import LARGE_RATE, PLAIN, SYNC, Run, Shape, Stage, Way
from bench.tables import Table, number, reach, spread
from bench.ways import BATON, FAILOVER, WAYS, baton
from tests.support.load import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Options of `upgrade`, whichever it has.
Setting = dict[str, Any]

SHAPES = {
    shape.name: shape
    for shape in (
        PLAIN,
        Shape("large", f"1 MB values, {LARGE_RATE} more a second", large=True),
        Shape("idle", "1,000 idle connections", crowd={"idle": 1000}),
        Shape("subscribers", "200 subscribers", crowd={"subscribers": 200}),
        Shape("blocked", "50 blocked clients (BLPOP)", crowd={"blocked": 50}),
        Shape("databases", "100 databases with data", databases=100),
    )
}
# What shortens the drain, or keeps writers back until it is short: options of `upgrade`.
SETTINGS: tuple[Setting, ...] = (
    {},
    {"max_lag_bytes": 4096},
    {"max_lag_bytes": 16_384},
    {"max_lag_bytes": 1_048_576},
    {"attempts": 10, "pause_budget": 0.05},
    {"attempts": 10, "pause_budget": 0.2},
    {"attempts": 10, "pause_budget": 0.05, "max_lag_bytes": 1_048_576},
)
SHAPE_RATE = 10_000
SATURATING = 0
PROTOCOL = ("pause", "hold", "demote", "promote", "arrive", "confirm")
FAILURES = (BatonError, LoadError, PlaybookFailed, RedisError, OSError, RuntimeError)

notes = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Job:
    """Something to be run as often as all else."""

    part: str
    name: str
    way: Way
    rate: int
    shape: Shape = PLAIN


@dataclass
class Results:
    """All that was measured."""

    setup: str
    """The pair, the data and the machine, for titles."""
    runs: list[Run] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    def of(self, part: str, name: str, rate: int) -> list[Run]:
        """Return the runs of one thing."""
        return [r for r in self.runs if (r.part, r.name, r.rate) == (part, name, rate)]

    def done(self, part: str, name: str, rate: int) -> str:
        """Say how many of how many runs were done, and why the others were not."""
        runs = self.of(part, name, rate)
        wrong = [f for f in self.failed if (f["part"], f["name"], f["rate"]) == (part, name, rate)]
        counts = Counter(run.ended.how for run in runs) + Counter({"failed": len(wrong)})
        done = counts.pop("done", 0)
        reasons = "".join(f", {count} {how}" for how, count in counts.items())
        return f"{done} of {len(runs) + len(wrong)}{reasons}"

    def rates(self, part: str) -> list[int]:
        """Return the rates at which something of that part was run, in order."""
        return list(dict.fromkeys(run.rate for run in self.runs if run.part == part))

    def names(self, part: str, rate: int) -> list[str]:
        """Return what was run at that rate, in order."""
        return list(dict.fromkeys(r.name for r in self.runs if (r.part, r.rate) == (part, rate)))


def plan(
    ways: Iterable[str], rates: Sequence[int], shapes: Iterable[str], settings: Iterable[Setting]
) -> list[Job]:
    """Return what is to be run once; ways that are missing here are said and left out."""
    jobs = []
    for way in (WAYS[name] for name in ways):
        missing = way.missing()
        if missing:
            notes.print(f"{way.title} is left out: {missing}")
            continue
        jobs += [Job("ways", way.name, way, rate) for rate in rates]
    jobs += [Job("shapes", name, BATON, SHAPE_RATE, SHAPES[name]) for name in shapes]
    for setting in settings:
        run = functools.partial(baton, **setting)
        way = Way(BATON.name, BATON.title, run, BATON.front)
        jobs.append(Job("drain", _named(setting), way, SATURATING))
    return jobs


def measure(stage: Stage, jobs: Sequence[Job], runs: int, results: Results) -> None:
    """Run all jobs in turn, and again, so that a drift of the machine meets all of them alike."""
    jobs = sorted(jobs, key=lambda job: ("ways", "shapes", "drain").index(job.part))
    count = 0
    for _ in range(runs):
        for job in jobs:
            count += 1
            what = f"[{count}/{runs * len(jobs)}] {job.part}: {job.name}, {said(job.rate)}"
            try:
                run = stage.play(job.part, job.way, rate=job.rate, shape=job.shape, name=job.name)
            except FAILURES as error:
                notes.print(f"{what}: {type(error).__name__}: {error}")
                results.failed.append(
                    {"part": job.part, "name": job.name, "rate": job.rate, "why": str(error)}
                )
                continue
            results.runs.append(run)
            notes.print(
                f"{what}: {run.ended.how}, {run.seconds:.1f} s, "
                f"gap {number(run.gap_ms)} ms, {run.lost} lost"
            )


def said(rate: int) -> str:
    """Return a rate in words."""
    return f"{rate:,} writes/s" if rate else "saturating"


def tables(results: Results) -> dict[str, list[Table]]:
    """Return all tables that there are figures for, by section."""
    sections = {
        "ways": [_ways(results, rate) for rate in results.rates("ways")],
        "phases": _phases(results),
        "shapes": [_shapes(results, rate) for rate in results.rates("shapes")],
        "drain": [_drain(results, rate) for rate in results.rates("drain")],
    }
    return {name: made for name, made in sections.items() if made}


def _ways(results: Results, rate: int) -> Table:
    rows = []
    for name in results.names("ways", rate):
        runs = results.of("ways", name, rate)
        rows.append(
            [
                WAYS[name].title,
                spread([run.seconds for run in runs]),
                spread(_gaps(runs)),
                spread([run.lost for run in runs]),
                _disconnects(runs),
                spread([run.report.refused_connects for run in runs]),
                spread([run.errors for run in runs]),
                results.done("ways", name, rate),
            ]
        )
    columns = (
        *("way", "whole, s", "longest gap, ms", "lost writes", "disconnects each"),
        *("refused connects", "error replies", "done"),
    )
    remarks = []
    ours, theirs = (results.of("ways", way.name, rate) for way in (BATON, FAILOVER))
    if ours and theirs:
        gap = statistics.median(_gaps(theirs))
        ratio = gap / statistics.median(_gaps(ours))
        waited = gap / statistics.median(run.cut_gap_ms for run in ours)
        remarks.append(
            f"The longest gap of {FAILOVER.title} is {ratio:,.0f} times that of {BATON.title} "
            f"(medians), and {waited:,.0f} times that while writes waited."
        )
    return Table(
        f"Ways to replace a live server, {said(rate)}: {results.setup}", columns, rows, remarks
    )


def _phases(results: Results) -> list[Table]:
    rates = results.rates("ways")
    runs = {
        rate: [r for r in results.of("ways", BATON.name, rate) if r.ended.phases] for rate in rates
    }
    runs = {rate: found for rate, found in runs.items() if found}
    if not runs:
        return []
    Figure = Callable[[Run], float]  # noqa: N806
    figures: dict[str, Figure] = {}
    for phase in dict.fromkeys(p for found in runs.values() for r in found for p in r.ended.phases):
        figures[f"{phase}, us"] = functools.partial(_phase, names=(phase,))
    figures["all phases without the drain, us"] = functools.partial(_phase, names=PROTOCOL)
    figures["writes waited in all attempts, us"] = lambda run: run.ended.paused_us
    figures["attempts"] = lambda run: run.ended.attempts
    for step in dict.fromkeys(s for found in runs.values() for r in found for s in r.ended.steps):
        figures[f"step {step}, ms"] = functools.partial(_step, name=step)
    figures["longest gap while writes waited, ms"] = lambda run: run.cut_gap_ms
    figures["longest gap in the switchover, ms"] = lambda run: run.handover_gap_ms
    figures["longest gap in the sync, ms"] = lambda run: run.marks[SYNC].longest_gap_ms
    rows = [
        [name, *(spread([figure(run) for run in found]) for found in runs.values())]
        for name, figure in figures.items()
    ]
    title = f"{BATON.title} in detail: {results.setup}"
    return [Table(title, ["figure", *map(said, runs)], rows)]


def _phase(run: Run, names: Sequence[str]) -> float:
    return sum(run.ended.phases.get(name, 0) for name in names)


def _step(run: Run, name: str) -> float:
    return run.ended.steps.get(name, 0.0) * 1000


def _shapes(results: Results, rate: int) -> Table:
    rows = []
    for name in results.names("shapes", rate):
        runs = results.of("shapes", name, rate)
        rows.append(
            [
                SHAPES[name].title,
                spread([run.cut_gap_ms for run in runs]),
                spread(_gaps(runs)),
                spread([_phase(run, PROTOCOL) / 1000 for run in runs]),
                spread([_phase(run, ("drain",)) / 1000 for run in runs]),
                spread([run.lost for run in runs]),
                _disconnects(runs),
                _cuts(runs),
                spread([run.errors for run in runs]),
                results.done("shapes", name, rate),
            ]
        )
    columns = (
        *("shape", "gap while writes waited, ms", "longest gap, ms", "without the drain, ms"),
        *(
            "drain, ms",
            "lost writes",
            "disconnects each",
            "those who wait",
            "error replies",
            "done",
        ),
    )
    title = f"{BATON.title} and shapes of data and clients, {said(rate)}: {results.setup}"
    return Table(title, columns, rows)


def _drain(results: Results, rate: int) -> Table:
    rows = []
    for name in results.names("drain", rate):
        runs = results.of("drain", name, rate)
        gaps = _handover_gaps(runs)
        quarters = (
            statistics.quantiles(gaps, n=4, method="inclusive") if len(gaps) > 1 else gaps * 3
        )
        rows.append(
            [
                name,
                " / ".join(map(number, (min(gaps), *quarters, max(gaps)))),
                spread([run.ended.attempts for run in runs if run.ended.attempts]),
                spread([run.ended.paused_us / 1000 for run in runs]),
                spread([run.lost for run in runs]),
                results.done("drain", name, rate),
            ]
        )
    columns = (
        *("options", "gap in the switchover, ms: least / quartiles / most", "attempts"),
        *("writes waited in all, ms", "lost", "done"),
    )
    title = f"{BATON.title} and options against a long drain, {said(rate)}: {results.setup}"
    return Table(title, columns, rows)


def _gaps(runs: Iterable[Run]) -> list[float]:
    return [run.gap_ms for run in runs]


def _handover_gaps(runs: Iterable[Run]) -> list[float]:
    return [run.handover_gap_ms for run in runs]


def _disconnects(runs: Iterable[Run]) -> str:
    return reach([n for r in runs for n in (r.report.disconnects_min, r.report.disconnects_max)])


def _cuts(runs: Sequence[Run]) -> str:
    """Say how often each of those who wait was cut, and how many wait again in the end."""
    groups = [group for run in runs for group in run.crowd.values()]
    if not groups:
        return "-"
    cut = reach([times for group in groups for times in group.cuts])
    back = reach([group.waiting for group in groups])
    return f"cut {cut}, {back} back"


def _named(setting: Setting) -> str:
    return " ".join(f"{name}={value}" for name, value in setting.items()) or "defaults"
