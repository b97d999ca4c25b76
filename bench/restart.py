"""Restarts in place under load: what the clients see of two handovers in a row."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.playbook import OUR_COLLECTIONS, REPOSITORY, play
from bench.tables import Table, reach, spread
from tests.support import dataset
from tests.support.load import Load
from tests.support.ports import release_block, reserve_block
from tests.support.service import Service, end_stand_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.load import LoadReport
    from tests.support.servers import ServerBinary

RESTARTS = 10
PLAYBOOK = REPOSITORY / "demo" / "restart.yml"


@dataclass(frozen=True)
class Restarted:
    """One restart."""

    seconds: float
    away_ms: float
    back_ms: float
    """For how long writes waited in each handover."""
    report: LoadReport


def restarts(
    binary: ServerBinary, folder: Path, *, keys: int, rate: int, around: float
) -> list[Restarted]:
    """Restart a service again and again, each time for another value of `databases`."""
    block = reserve_block()
    with Service(binary, folder / "service", databases=16) as service:
        dataset.fill(service.client(), keys=keys)
        try:
            return [
                _restart(service, folder, block, rate=rate, around=around, databases=17 + n)
                for n in range(RESTARTS)
            ]
        finally:
            end_stand_in(folder)
            release_block(block)


def _restart(
    service: Service, folder: Path, block: int, *, rate: int, around: float, databases: int
) -> Restarted:
    tasks = [service.wants("databases", databases), service.restarts]
    results = folder / "results.json"
    variables = service.in_place(folder, block, tasks) | {"demo_results": str(results)}
    with Load(port=service.port, rate=rate) as load:
        time.sleep(around)
        began = time.monotonic()
        for _ in play(
            PLAYBOOK, folder / "ansible", collections=OUR_COLLECTIONS, variables=variables
        ):
            pass
        seconds = time.monotonic() - began
        time.sleep(around)
        report = load.stop(verify_port=service.port)
    away, back = json.loads(results.read_text()).values()
    return Restarted(seconds, away["write_gap_ms"], back["write_gap_ms"], report)


def table(setup: str, runs: list[Restarted]) -> Table:
    """Return what the clients saw."""
    reports = [run.report for run in runs]
    cuts: Counter[int] = Counter()
    for report in reports:
        cuts.update(report.disconnects_per_connection)
    rows = [
        ["writes acknowledged", f"{sum(report.acknowledged for report in reports):,}"],
        ["writes lost", f"{sum(report.lost for report in reports)}"],
        ["wrong replies", f"{sum(report.wrong for report in reports)}"],
        ["error replies", f"{sum(sum(report.errors.values()) for report in reports)}"],
        ["disconnects of a connection in one restart", reach(sorted(cuts))],
        ["writes waited, to the stand-in, ms", spread([run.away_ms for run in runs])],
        ["writes waited, back to the service, ms", spread([run.back_ms for run in runs])],
        ["longest gap of a restart, ms", spread([report.longest_gap_ms for report in reports])],
        ["whole playbook, s", spread([run.seconds for run in runs])],
    ]
    return Table(f"{len(runs)} restarts in place: {setup}", ("figure", "value"), rows)


def raw(runs: list[Restarted]) -> list[dict[str, Any]]:
    """Return all figures."""
    return [asdict(run) for run in runs]
