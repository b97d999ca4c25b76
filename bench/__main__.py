"""Ours against today's ways, on real servers under load: `python -m bench`.

Tables go to standard output, progress to standard error. Ratios count: the absolute times of a
shared machine drift.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from rich.console import Console

from bench import persistence, quiescent, relay, restart, switchover, verify
from bench.playbook import missing_ansible
from bench.scene import Stage, instance
from bench.tables import Table, number, write_markdown
from bench.tasks import OURS, PING, task_costs
from bench.ways import WAYS
from tests.support.servers import NAMES, find

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTS = (
    "switchover",
    "persistence",
    "verify",
    "growth",
    "quiescent",
    "relay",
    "tasks",
    "restart",
)
WIDTH = 160

console = Console(highlight=False, width=WIDTH)


def main() -> None:
    """Run what is asked for."""
    # End on SIGTERM as on Ctrl-C: otherwise servers would be left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options()
    parts = options.parts or PARTS
    results = switchover.Results(_setup(options))
    sections: dict[str, list[Table]] = {}
    raw: dict[str, Any] = {"options": {k: v for k, v in vars(options).items() if k in RECORDED}}
    with tempfile.TemporaryDirectory(prefix="redis-baton-bench-") as scratch:
        try:
            if "switchover" in parts:
                jobs = switchover.plan(options.ways, options.rates, options.shapes, options.drain)
                pair = (options.old, options.new)
                stage = Stage(pair, options.keys, Path(scratch), options.around)
                switchover.measure(stage, jobs, options.runs, results)
            for part in (part for part in MEASURES if part in parts):
                raw[part], sections[part] = MEASURES[part](options, Path(scratch))
        finally:  # what was measured until Ctrl-C is not thrown away
            sections = {**switchover.tables(results), **sections}
            for table in (table for tables in sections.values() for table in tables):
                table.show(console)
            if options.json:
                raw["setup"], raw["failed"] = results.setup, results.failed
                raw["runs"] = [{**asdict(run), "gap_ms": run.gap_ms} for run in results.runs]
                options.json.write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
            if options.markdown:
                write_markdown(options.markdown, sections)


Measured = tuple[Any, list[Table]]


def _persistence(options: argparse.Namespace, folder: Path) -> Measured:
    raw, table = persistence.measure(
        options.new, options.keys, options.runs, options.around, folder
    )
    return raw, [table]


def _quiescent(options: argparse.Namespace, folder: Path) -> Measured:
    raw, table = quiescent.measure(options.old, options.new, options.runs, options.around, folder)
    return raw, [table]


def _relay(options: argparse.Namespace, folder: Path) -> Measured:
    raw, table = relay.measure(options.old, options.keys, options.runs, folder / "relay")
    return raw, [table]


def _verify(options: argparse.Namespace, folder: Path) -> Measured:
    pair = (options.old, options.new)
    raw, table = verify.measure(pair, options.keys, options.runs, folder, options.full_check)
    return raw, [table]


def _growth(options: argparse.Namespace, folder: Path) -> Measured:
    raw, table = verify.grow((options.old, options.new), options.keys, folder)
    return raw, [table]


def _tasks(options: argparse.Namespace, folder: Path) -> Measured:
    missing = missing_ansible()
    if missing:
        switchover.notes.print(f"The cost of a task is left out: {missing}")
        return {}, []
    old, new = instance(options.old, folder / "a"), instance(options.new, folder / "b")
    with old, new:
        costs = task_costs(old, new, folder, rounds=options.rounds)
    rows = [[action, number(costs[action] * 1000)] for action in (PING, OURS)]
    title = f"What an Ansible task costs, median of {options.rounds - 1}"
    return costs, [Table(title, ("task", "ms"), rows)]


def _restarts(options: argparse.Namespace, folder: Path) -> Measured:
    missing, binary, rate = missing_ansible(), find(options.old), options.rates[0]
    if missing or binary is None:
        switchover.notes.print(f"Restarts are left out: {missing or f'{options.old} is not here'}")
        return [], []
    runs = restart.restarts(binary, folder, keys=options.keys, rate=rate, around=options.around)
    setup = f"{_version(options.old)}, {options.keys:,} keys, 16 writers, {rate:,} writes/s"
    return restart.raw(runs), [restart.table(f"{setup}, {os.cpu_count()} cores", runs)]


# Everything but the switchover, in this order.
MEASURES: dict[str, Callable[[argparse.Namespace, Path], Measured]] = {
    "persistence": _persistence,
    "quiescent": _quiescent,
    "relay": _relay,
    "verify": _verify,
    "growth": _growth,
    "tasks": _tasks,
    "restart": _restarts,
}


def _setup(options: argparse.Namespace) -> str:
    old, new = (_version(name) for name in (options.old, options.new))
    return (
        f"{old} -> {new}, {options.keys:,} keys, 16 writers, {options.runs} runs, "
        f"{os.cpu_count()} cores"
    )


def _version(name: str) -> str:
    """Return `redis 7.0.15` for redis-7.0, as it says itself."""
    binary = find(name)
    if binary is None:
        return name
    command = [str(binary.server), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"\bv=([\d.]+)", said)
    return f"{name.partition('-')[0]} {found[1]}" if found else name


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Make a reader of `a,b`, `all` or `none`."""

    def read(text: str) -> list[str]:
        chosen = list(known) if text == "all" else _listed(text)
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(unknown)}; there are {', '.join(known)}"
            )
        return chosen

    return read


def _listed(text: str) -> list[str]:
    return [] if text == "none" else [word for word in text.split(",") if word]


def _rates(text: str) -> list[int]:
    return [int(rate) for rate in _listed(text)]


def _settings(text: str) -> list[switchover.Setting]:
    """Read `defaults;attempts=10 pause_budget=0.05`, `all` or `none`."""
    if text == "all":
        return list(switchover.SETTINGS)
    settings = []
    for one in text.split(";"):
        if one.strip() == "none":
            continue
        pairs = [pair.partition("=") for pair in one.split() if pair != "defaults"]
        settings.append(
            {name: float(value) if "." in value else int(value) for name, _, value in pairs}
        )
    return settings


RECORDED = ("old", "new", "keys", "rates", "runs", "ways", "shapes", "drain")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Ours against today's ways.")
    parser.add_argument(
        "parts",
        nargs="*",
        choices=[*PARTS, []],
        metavar="PART",
        help=f"{', '.join(PARTS)}; by default all",
    )
    parser.add_argument("--old", choices=NAMES, default="redis-7.0")
    parser.add_argument("--new", choices=NAMES, default="redis-8.0")
    parser.add_argument("--keys", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument(
        "--around", type=float, default=1.0, help="seconds of load before and after an upgrade"
    )
    parser.add_argument(
        *("--rates", "--rate"),
        type=_rates,
        default=[10_000, switchover.SATURATING],
        help="writes a second for the ways, e.g. 10000,0; 0 is saturating",
    )
    for name, known in (("ways", WAYS), ("shapes", switchover.SHAPES)):
        parser.add_argument(
            f"--{name}",
            type=_names(known),
            default=list(known),
            metavar="NAMES",
            help=f"all, none, or some of {','.join(known)}",
        )
    parser.add_argument(
        "--drain",
        type=_settings,
        default=list(switchover.SETTINGS),
        metavar="SETTINGS",
        help="options of `upgrade` to try at a saturating rate, such as "
        "'defaults;attempts=10 pause_budget=0.05'; all or none",
    )
    parser.add_argument("--rounds", type=int, default=15, help="of the tasks")
    parser.add_argument(
        "--full-check", type=Path, metavar="FILE", help="RedisFullCheck, to compare with, too"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="put the tables between the page's markers"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
