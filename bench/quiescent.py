"""What it costs a busy server to be watched by `wait_quiescent`, and by MONITOR."""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import redis_baton

from bench.scene import instance
from bench.tables import Table, number, spread
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NOTHING, WATCHED, MONITORED = "nothing", "wait_quiescent", "wait_quiescent with monitor"
# A round has each of them this often, so that what drifts meets all alike.
ROUNDS = 3
LINES = 1_000_000


@dataclass(frozen=True)
class Phase:
    """One stretch of load under one way to be watched."""

    round: int
    way: str
    seconds: float
    commands: int
    """Acknowledged ones."""

    @property
    def rate(self) -> float:
        """Commands a second."""
        return self.commands / self.seconds


def measure(
    old: str, new: str, runs: int, around: float, folder: Path
) -> tuple[list[dict[str, Any]], Table]:
    """Watch a saturated server in turns; return the raw figures and a table."""
    phases: list[Phase] = []
    with instance(old, folder / "busy") as busy, instance(new, folder / "idle") as idle:
        given = {"source": busy.url, "target": idle.url, "journal_dir": folder / "journal"}

        def watch(seconds: float, **monitor: Any) -> None:  # noqa: ANN401 # as the step takes it
            # It never gets quiet.
            with suppress(redis_baton.TimedOut):
                redis_baton.wait_quiescent(
                    **given, quiet_for=seconds, wait_timeout=seconds, **monitor
                )

        ways: dict[str, Callable[[float], None]] = {
            NOTHING: time.sleep,
            WATCHED: watch,
            # Then it looks once.
            MONITORED: lambda seconds: watch(0.1, monitor=seconds, monitor_lines=LINES),
        }
        with Load(port=busy.port) as load:
            time.sleep(around)
            for turn in range(runs * ROUNDS):
                # Each of them comes first as often as the others.
                names = list(ways)
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    before = load.mark()
                    ways[name](2 * around)
                    after = load.mark()
                    seconds = after.seconds - before.seconds
                    commands = after.acknowledged - before.acknowledged
                    phases.append(Phase(turn, name, seconds, commands))
    title = f"Watching a busy server: {old}, 16 writers, saturating, {runs * ROUNDS} rounds"
    return [asdict(phase) for phase in phases], Table(title, COLUMNS, _rows(phases), [OF_NOTHING])


COLUMNS = ("watched by", "commands/s", "of nothing, %")
OF_NOTHING = (
    "*of nothing* is the median over the rounds of the throughput beside that of the same round "
    "without anybody who watches."
)


def _rows(phases: Sequence[Phase]) -> list[list[str]]:
    alone = {phase.round: phase.rate for phase in phases if phase.way == NOTHING}
    rows = []
    for way in (NOTHING, WATCHED, MONITORED):
        mine = [phase for phase in phases if phase.way == way]
        part = statistics.median(100 * phase.rate / alone[phase.round] for phase in mine)
        rows.append([way, spread([phase.rate for phase in mine]), number(part)])
    return rows
