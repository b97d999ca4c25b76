"""Upgrade a real live server under a write load, with Ansible, and show what it did to the clients.

    python -m demo --old redis-7.0 --new redis-8.0

Exits with 0 if the new server serves and nothing was lost; with 1 if something was lost or went
wrong; with 2 if the upgrade was refused and the old server is as it was.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from demo.shared import (
    DONE,
    REFUSED,
    WRONG,
    Played,
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
from tests.support.servers import NAMES, Instance

if TYPE_CHECKING:
    from tests.support.load import LoadReport

STEPS = (
    "preflight",
    "replicate",
    "wait_synced",
    "verify",
    "switchover",
    "wait_quiescent",
    "retire",
)


def main() -> int:
    """Run the demo."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="redis-baton-demo-") as folder:
        return demo(options, Path(folder))


def demo(options: argparse.Namespace, folder: Path) -> int:
    """Start both servers and the load, upgrade, and show how it went."""
    with (
        Instance(binary(options.old), folder / "old") as old,
        Instance(binary(options.new), folder / "new") as new,
    ):
        filled = dataset.fill(old.client(), keys=options.keys)
        notes.print(f"{options.old} serves {filled.total} keys of every type at {old.address}.")
        with Load(port=old.port, rate=options.rate) as load:
            notes.print(f"16 connections write to it, {options.rate or 'as many as it takes'}/s.")
            notes.print(f"{options.new} waits at {new.address}. The playbook starts:\n")
            time.sleep(1)
            played = play("upgrade.yml", _variables(old, new, folder, options.until), folder)
            time.sleep(1)
            report = load.stop(verify_port=old.port)
        if played.refusal is not None:
            return _refused(played.refusal, old, report)
        _show(played, report, options, old)
        served = old.client if old.alive and old.current_port == old.port else new.client
        kept = served().dbsize() > 0
        return DONE if report.lost == 0 and report.wrong == 0 and kept else WRONG


def _variables(old: Instance, new: Instance, folder: Path, until: str) -> dict[str, object]:
    return {
        "upgrade_source_port": old.port,
        "upgrade_login_port": new.port,
        "upgrade_until": until,
        "upgrade_journal_dir": str(folder / "journal"),
    }


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
    table = steps_table(f"{options.old} -> {options.new}")
    for step in STEPS:
        add_step(table, step, played.results[step])
    show_steps(table, played)
    show_clients(report)
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
