"""Print the tables of the bench. Ratios count: a shared machine's absolute times drift."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.tasks import OURS, PING, task_costs
from bench.ways import Measured, baton, by_hand, instance, measure
from tests.support.servers import NAMES

WAYS = {"redis-baton": baton, "by hand (redis-py)": by_hand}
console = Console(highlight=False, width=100)


def main() -> None:
    """Run all of it."""
    options = _options()
    pair = (options.old, options.new)
    runs: dict[str, list[Measured]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="redis-baton-bench-") as scratch:
        folder = Path(scratch)
        for number in range(options.runs):
            for name, way in WAYS.items():
                place = folder / f"{number}-{way.__name__}"
                runs[name].append(
                    measure(way, pair, keys=options.keys, rate=options.rate, folder=place)
                )
        with instance(pair[0], folder / "a") as old, instance(pair[1], folder / "b") as new:
            costs = task_costs(old, new, folder, rounds=15)
    _upgrades(runs, options)
    _ours(runs["redis-baton"])
    extra = (costs[OURS] - costs[PING]) * 1000
    console.print(
        f"An Ansible task: {PING} {costs[PING] * 1000:.0f} ms, {OURS} {costs[OURS] * 1000:.0f} ms "
        f"({extra:+.0f} ms)."
    )


def _upgrades(runs: dict[str, list[Measured]], options: argparse.Namespace) -> None:
    rate = f"{options.rate}/s" if options.rate else "saturating"
    title = f"{options.old} -> {options.new}, {options.keys} keys, 16 writers, {rate}"
    table = Table(title=f"{title}, {options.runs} runs", title_justify="left")
    columns = (
        "way",
        "whole, s",
        "longest gap, ms",
        "lost writes",
        "disconnects each",
        "error replies",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, measured in runs.items():
        table.add_row(
            name,
            _spread([run.seconds for run in measured]),
            _spread([run.report.longest_gap_ms for run in measured]),
            _spread([run.report.lost for run in measured], "{:.0f}"),
            _spread([run.report.disconnects_max for run in measured], "{:.0f}"),
            _spread([sum(run.report.errors.values()) for run in measured], "{:.0f}"),
        )
    console.print(table)


def _ours(measured: list[Measured]) -> None:
    table = Table(title="redis-baton in detail", title_justify="left")
    table.add_column("figure")
    table.add_column("median (min to max)", justify="right")
    names = {
        "protocol_ms": "steps 1 to 5 without the drain, ms",
        "drain_ms": "drain, ms",
        "write_gap_ms": "pause to promotion, ms",
    }
    for figure in measured[0].figures:
        name = names.get(figure, f"{figure}, s")
        table.add_row(name, _spread([run.figures[figure] for run in measured]))
    console.print(table)


def _spread(values: list[float], form: str = "{:.2f}") -> str:
    middle, least, most = (form.format(f(values)) for f in (statistics.median, min, max))
    return f"{middle} ({least} to {most})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Ours against today's ways.")
    parser.add_argument("--old", choices=NAMES, default="redis-7.0")
    parser.add_argument("--new", choices=NAMES, default="redis-8.0")
    parser.add_argument("--keys", type=int, default=500_000)
    parser.add_argument("--rate", type=int, default=10_000, help="writes a second; 0: saturating")
    parser.add_argument("--runs", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
