"""What the demos share: a playbook that is shown as it runs, and what the clients saw of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.support.servers import OWN_BINARIES, ServerBinary, find

if TYPE_CHECKING:
    from tests.support.load import LoadReport

REPOSITORY = Path(__file__).parents[1]
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


def play(name: str, variables: dict[str, Any], folder: Path) -> Played:
    """Run a playbook of this folder; its output is the operator's, so it goes to the terminal."""
    results = folder / "results.json"
    variables = {
        **variables,
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
            Path(__file__).with_name(name),
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


def binary(name: str) -> ServerBinary:
    """Return the server of that name, or end with what to do."""
    found = find(name)
    if found is None:
        notes.print(f"{name} is not here: {OWN_BINARIES}", soft_wrap=True)
        raise SystemExit(WRONG)
    return found


def add_step(table: Table, name: str, result: dict[str, Any]) -> None:
    """Add what a step took, and the phases of a handover."""
    if result.get("skipped"):
        table.add_row(name, "not asked for")
        return
    table.add_row(name, f"{result['elapsed'] * 1000:.0f} ms")
    for phase in result.get("phases", []):
        table.add_row(f"  {phase['name']}", f"{phase['microseconds'] / 1000:.2f} ms")


def show_steps(table: Table, played: Played) -> None:
    """Show the table of the steps."""
    table.add_row("whole playbook", f"{played.seconds:.1f} s", end_section=True)
    console.print()
    console.print(table)


def show_clients(report: LoadReport) -> None:
    """Show what the clients saw."""
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


def steps_table(title: str) -> Table:
    """Return an empty table of steps."""
    table = Table(title=title, title_justify="left")
    table.add_column("step or phase")
    table.add_column("took", justify="right")
    return table
