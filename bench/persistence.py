"""What switching the persistence of a live server costs its clients, beside the same load alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import redis_baton

from bench.scene import instance
from bench.tables import Table, number, spread
from tests.support import dataset
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.servers import Instance

SAVE = "3600 1"
RATE = 10_000
DAY_MS = 86_400_000
# In this order on one server: each follows from the one before. The load alone is measured in the
# mode that the switch begins with.
SWITCHES = (("rdb", "aof"), ("aof", "rdb"), ("rdb", "both"), ("both", "aof"), ("aof", "none"))


@dataclass(frozen=True)
class Phase:
    """One stretch of load."""

    switch: str
    alone: bool
    seconds: float
    """What the switch took."""
    latency_p50_us: int
    latency_p99_us: int
    latency_max_us: int
    gap_us: int
    lost: int


def measure(
    name: str, keys: int, runs: int, around: float, folder: Path
) -> tuple[list[dict[str, Any]], Table]:
    """Switch a server of that name under load; return the raw figures and a table."""
    phases: list[Phase] = []
    for run in range(runs):
        with instance(name, folder / f"persistence-{run}") as server:
            with server.client() as client:
                dataset.fill(client, keys=keys, now_ms=int(time.time() * 1000) + DAY_MS)
            redis_baton.persistence(server=server.url, mode="rdb", save=SAVE)
            for before, after in SWITCHES:
                title = f"{before} to {after}"
                phases.append(_phase(server, title, 2 * around, None))
                phases.append(_phase(server, title, 2 * around, partial(_switch, server, after)))
    setup = f"{name}, {keys:,} keys, 16 writers, {runs} runs"
    title = f"Switching the persistence, {RATE:,} writes/s: {setup}"
    return [asdict(phase) for phase in phases], Table(title, COLUMNS, _rows(phases), [ALONE])


def _switch(server: Instance, mode: Any) -> None:  # noqa: ANN401  (one of the modes)
    redis_baton.persistence(server=server.url, mode=mode)


def _phase(server: Instance, switch: str, least: float, act: Callable[[], None] | None) -> Phase:
    with Load(port=server.port, rate=RATE, prefix=f"load-{time.monotonic_ns()}") as load:
        began = time.monotonic()
        if act:
            act()
        seconds = time.monotonic() - began
        time.sleep(max(least - seconds, 0))
        report = load.stop()
    return Phase(
        switch=switch,
        alone=act is None,
        seconds=seconds,
        latency_p50_us=report.latency_p50_us,
        latency_p99_us=report.latency_p99_us,
        latency_max_us=report.latency_max_us,
        gap_us=report.longest_gap_us,
        lost=report.lost,
    )


COLUMNS = (
    "switch",
    "took, s",
    "p50, ms",
    "alone",
    "p99, ms",
    "alone",
    "longest gap, ms",
    "alone",
    "p99, times alone",
    "gap, times alone",
    "lost",
)
ALONE = (
    "*alone* is the same load on the same server just before; the load of a switch lasts as "
    "long, or as the switch does. The gap is the longest time without an acknowledged "
    "write on any connection."
)


def _rows(phases: Sequence[Phase]) -> list[list[str]]:
    rows = []
    for switch in dict.fromkeys(phase.switch for phase in phases):
        alone, switched = (
            [phase for phase in phases if phase.switch == switch and phase.alone is which]
            for which in (True, False)
        )
        row = [switch, spread([phase.seconds for phase in switched])]
        for name in ("latency_p50_us", "latency_p99_us", "gap_us"):
            row += [
                spread([getattr(phase, name) / 1000 for phase in part])
                for part in (switched, alone)
            ]
        for name in ("latency_p99_us", "gap_us"):
            ours, others = (
                statistics.median(getattr(phase, name) for phase in part)
                for part in (switched, alone)
            )
            row.append(number(ours / others))
        rows.append([*row, number(sum(phase.lost for phase in switched))])
    return rows
