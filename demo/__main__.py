"""Upgrade a real live server under a write load, with Ansible, and show what it did to the clients.

    python -m demo --old redis-7.0 --new redis-8.0

Exits with 0 if the new server serves and nothing was lost; with 1 if something was lost or went
wrong; with 2 if the upgrade was refused and the old server is as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.support import dataset
from tests.support.load import Load, LoadReport
from tests.support.servers import NAMES, OWN_BINARIES, Instance, find

REPOSITORY = Path(__file__).parents[1]
STEPS = (
    "preflight",
    "replicate",
    "wait_synced",
    "verify",
    "switchover",
    "wait_quiescent",
    "retire",
)
PLAYBOOK_TIME = 300.0
DONE, WRONG, REFUSED = 0, 1, 2

console = Console(highlight=False)
# Explanations go where logs go; the table is the data.
notes = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Played:
    """What the playbook came to."""

    results: dict[str, dict[str, Any]]
    refusal: str | None
    seconds: float


def main() -> int:
    """Run the demo."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="redis-baton-demo-") as folder:
        return demo(options, Path(folder))


def demo(options: argparse.Namespace, folder: Path) -> int:
    """Start both servers and the load, upgrade, and show how it went."""
    with (
        _instance(options.old, folder / "old") as old,
        _instance(options.new, folder / "new") as new,
    ):
        filled = dataset.fill(old.client(), keys=options.keys)
        notes.print(f"{options.old} serves {filled.total} keys of every type at {old.address}.")
        with Load(port=old.port, rate=options.rate) as load:
            notes.print(f"16 connections write to it, {options.rate or 'as many as it takes'}/s.")
            notes.print(f"{options.new} waits at {new.address}. The playbook starts:\n")
            time.sleep(1)
            played = play(old, new, folder, options.until)
            time.sleep(1)
            report = load.stop(verify_port=old.port)
        if played.refusal is not None:
            return _refused(played.refusal, old, report)
        _show(played, report, options, old)
        served = old.client if old.alive and old.current_port == old.port else new.client
        kept = served().dbsize() > 0
        return DONE if report.lost == 0 and report.wrong == 0 and kept else WRONG


def play(old: Instance, new: Instance, folder: Path, until: str) -> Played:
    """Run the playbook; its output is the operator's, so it goes to the terminal."""
    results = folder / "results.json"
    variables = {
        "upgrade_source_port": old.port,
        "upgrade_login_port": new.port,
        "upgrade_until": until,
        "upgrade_journal_dir": str(folder / "journal"),
        "demo_results": str(results),
        "ansible_python_interpreter": sys.executable,
    }
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOWS": "true",
    }
    began = time.monotonic()
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            Path(__file__).with_name("upgrade.yml"),
            "--extra-vars",
            json.dumps(variables),
        ],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    output = _echoed(process)
    seconds = time.monotonic() - began
    if process.returncode == 0:
        return Played(json.loads(results.read_text()), None, seconds)
    return Played({}, _refusal(output), seconds)


def _echoed(process: subprocess.Popen[str]) -> str:
    """Show a process's output as it comes, and return it when the process has ended."""
    too_long = threading.Timer(PLAYBOOK_TIME, process.kill)
    too_long.start()
    lines = []
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            sys.stderr.write(line)
            lines.append(line)
    process.wait()
    too_long.cancel()
    return "".join(lines)


def _refusal(output: str) -> str:
    """Find the failed task's own sentence in Ansible's output."""
    for line in output.splitlines():
        text = line.partition("Task failed: Module failed: ")[2] or line.partition('"msg": "')[2]
        if text:
            return text.split('",')[0].strip().rstrip('"')
    return output.strip().splitlines()[-1]


def _refused(refusal: str, old: Instance, report: LoadReport) -> int:
    untouched = old.alive and old.role == "master" and old.current_port == old.port
    console.print(f"\nRefused: {refusal}")
    console.print(
        f"{old.binary.name} {'serves as before' if untouched else 'is NOT as before'}: "
        f"{report.acknowledged} writes acknowledged meanwhile, {report.lost} lost, "
        f"{report.disconnects} connections cut."
    )
    return REFUSED if untouched and report.lost == 0 and report.disconnects == 0 else WRONG


def _show(played: Played, report: LoadReport, options: argparse.Namespace, old: Instance) -> None:
    switchover = played.results["switchover"]
    table = Table(title=f"{options.old} -> {options.new}", title_justify="left")
    table.add_column("step or phase")
    table.add_column("took", justify="right")
    for step in STEPS:
        result = played.results[step]
        if result.get("skipped"):
            table.add_row(step, "not asked for")
            continue
        table.add_row(step, f"{result['elapsed'] * 1000:.0f} ms")
        if step == "switchover":
            for phase in result["phases"]:
                table.add_row(f"  {phase['name']}", f"{phase['microseconds'] / 1000:.2f} ms")
    table.add_row("whole playbook", f"{played.seconds:.1f} s", end_section=True)
    console.print()
    console.print(table)
    figures = Table(title="What the 16 clients saw", title_justify="left", show_header=False)
    figures.add_column()
    figures.add_column(justify="right")
    cuts = ", ".join(
        f"{n} x {times}" for times, n in sorted(report.disconnects_per_connection.items())
    )
    for name, value in (
        ("writes acknowledged", f"{report.acknowledged}"),
        ("writes lost", f"{report.lost}"),
        ("longest time without an acknowledged write", f"{report.longest_gap_ms:.1f} ms"),
        ("disconnects per connection", cuts),
        ("error replies", f"{sum(report.errors.values())}"),
    ):
        figures.add_row(name, value)
    console.print(figures)
    stands = f"{options.new} serves at {switchover['serving']}. "
    if not old.alive:
        stands += f"{options.old} is retired."
    elif switchover["warm"]:
        stands += (
            f"{options.old} follows it at {switchover['parked']}, warm: a rollback is one call."
        )
    else:
        stands += f"{options.old} is at {switchover['parked']} and does not follow: no way back."
    console.print(stands, soft_wrap=True)


def _instance(name: str, folder: Path) -> Instance:
    binary = find(name)
    if binary is None:
        notes.print(f"{name} is not here: {OWN_BINARIES}", soft_wrap=True)
        raise SystemExit(WRONG)
    return Instance(binary, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo", description="Upgrade a live server under load, and see."
    )
    parser.add_argument("--old", choices=NAMES, default="redis-7.0", help="the server to replace")
    parser.add_argument(
        "--new", choices=NAMES, default="redis-8.0", help="the server to replace it by"
    )
    parser.add_argument("--keys", type=int, default=300_000, help="keys before the load")
    parser.add_argument(
        "--rate", type=int, default=10_000, help="writes a second; 0: as many as it takes"
    )
    parser.add_argument(
        "--until", choices=STEPS[4:], default="wait_quiescent", help="the last step"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
