"""Restart a live server in place under a write load, and show what it did to the clients.

It is to have another number of databases, which takes a restart.

    python -m demo.restart --server redis-7.0

Exits with 0 if the service serves with the new value and nothing was lost; with 1 otherwise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from demo.shared import (
    DONE,
    WRONG,
    add_step,
    binary,
    console,
    notes,
    play,
    show_clients,
    show_steps,
    steps_table,
)
from tests.support import dataset
from tests.support.load import Load
from tests.support.ports import reserve_block
from tests.support.servers import NAMES
from tests.support.service import Service, end_stand_in

DATABASES = 32


def main() -> int:
    """Run the demo."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="redis-baton-demo-") as folder:
        return demo(options, Path(folder))


def demo(options: argparse.Namespace, folder: Path) -> int:
    """Start the service and the load, restart it with another value, and show how it went."""
    with Service(binary(options.server), folder / "service", databases=16) as service:
        filled = dataset.fill(service.client(), keys=options.keys)
        notes.print(f"{options.server} serves {filled.total} keys at {service.address}.")
        before = service.pid
        tasks = [service.wants("databases", DATABASES), service.restarts]
        variables = service.in_place(folder, reserve_block(), tasks)
        try:
            with Load(port=service.port, rate=options.rate) as load:
                notes.print(f"16 connections write to it, {options.rate or 'what it takes'}/s.")
                notes.print(f"It has 16 databases and is to have {DATABASES}.\n")
                time.sleep(1)
                played = play("restart.yml", variables, folder)
                time.sleep(1)
                report = load.stop(verify_port=service.port)
        finally:
            end_stand_in(folder)
        if played.refusal is not None:
            console.print(f"\nFailed: {played.refusal}", soft_wrap=True)
            return WRONG
        table = steps_table(f"{options.server} restarted in place")
        for name, result in played.results.items():
            add_step(table, name.replace("_", " "), result)
        show_steps(table, played)
        show_clients(report)
        (databases,) = service.call("CONFIG", "GET", "databases").values()
        console.print(
            f"{options.server} serves at {service.address} with {databases} databases. "
            f"It was process {before} and is {service.pid}."
        )
        restarted = int(databases) == DATABASES and service.current_port == service.port
        return DONE if restarted and report.lost == 0 and report.wrong == 0 else WRONG


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.restart", description="Restart a live server in place under load, and see."
    )
    parser.add_argument("--server", choices=NAMES, default="redis-7.0")
    parser.add_argument("--keys", type=int, default=300_000, help="keys before the load")
    parser.add_argument(
        "--rate", type=int, default=10_000, help="writes a second; 0: as many as it takes"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
