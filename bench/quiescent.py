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

    from tests.support.servers import Instance

NOTHING, WATCHED, MONITORED = "nothing", "wait_quiescent", "wait_quiescent with monitor"
# Rounds a run. A round has each of them once, so that what drifts meets all alike.
ROUNDS = 8
# What a look sends.
LOOK = ("cmdstat_info", "cmdstat_client|list")
LINES = 1_000_000


@dataclass(frozen=True)
class Phase:
    """One stretch of load under one way to be watched."""

    round: int
    way: str
    seconds: float
    commands: int
    """Acknowledged ones."""
    look_us: int
    """What the server itself says that looks have taken of its time."""
    watcher_seconds: float
    """What this process has taken of the processor's."""

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
        given: Any = {"source": busy.url, "target": idle.url, "journal_dir": folder / "journal"}

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
                    before, looks, own = load.mark(), _looks(busy), time.process_time()
                    ways[name](2 * around)
                    own = time.process_time() - own
                    after, looks = load.mark(), _looks(busy) - looks
                    seconds = after.seconds - before.seconds
                    commands = after.acknowledged - before.acknowledged
                    phases.append(Phase(turn, name, seconds, commands, looks, own))
    title = f"Watching a busy server: {old}, 16 writers, saturating, {runs * ROUNDS} rounds"
    return [asdict(phase) for phase in phases], Table(
        title, COLUMNS, _rows(phases), [OF_NOTHING, LOOKS]
    )


def _looks(server: Instance) -> int:
    """Return the microseconds that it has spent on commands such as those of a look."""
    stats = server.info("commandstats")
    return sum(stats[name]["usec"] for name in LOOK if name in stats)


COLUMNS = (
    "watched by",
    "commands/s",
    "of nothing, %",
    "looks, % of the server's time",
    "the watcher, % of a core",
)
OF_NOTHING = (
    "*of nothing* is the median over the rounds of the throughput beside that of the same round "
    "without anybody who watches. From one stretch to the next the machine itself drifts by more."
)
LOOKS = (
    "*looks* is what the server says in `INFO commandstats` that it spent on `INFO` and `CLIENT "
    "LIST`; that of *nothing* are the bench's own two. *The watcher* ran on the same cores."
)


def _rows(phases: Sequence[Phase]) -> list[list[str]]:
    alone = {phase.round: phase.rate for phase in phases if phase.way == NOTHING}
    rows = []
    for way in (NOTHING, WATCHED, MONITORED):
        mine = [phase for phase in phases if phase.way == way]
        part = statistics.median(100 * phase.rate / alone[phase.round] for phase in mine)
        looks = statistics.median(phase.look_us / phase.seconds / 10_000 for phase in mine)
        own = statistics.median(100 * phase.watcher_seconds / phase.seconds for phase in mine)
        rates = spread([phase.rate for phase in mine])
        rows.append([way, rates, number(part), f"{looks:.2f}", f"{own:.1f}"])
    return rows
