"""One run of one way: a fresh pair of servers with data, and clients that use the old one."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Union

from bench.crowd import Crowd, Group
from tests.support import dataset
from tests.support.haproxy import HAProxy
from tests.support.load import Load, LoadReport
from tests.support.sentinel import Sentinels
from tests.support.servers import OWN_BINARIES, Instance, find

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# What `Scene.mark` ends.
SYNC, CHECKS, HANDOVER = "sync", "checks", "handover"
DAY_MS = 86_400_000
# Of a shape with large values: how large, and how many a second.
LARGE_BYTES = 1 << 20
LARGE_RATE = 8

Front = Union[Instance, HAProxy, Sentinels]


@dataclass(frozen=True)
class Shape:
    """What is special about the data or the clients."""

    name: str
    title: str
    databases: int = 0
    """How many databases have data; 0 for the three of the data set."""
    crowd: dict[str, int] = field(default_factory=dict)
    """How many connections of which kind wait."""
    large: bool = False
    """Whether there are large values, and writes of them all the time."""


PLAIN = Shape("plain", "plain")


@dataclass
class Scene:
    """What a way finds."""

    old: Instance
    new: Instance
    front: Front
    """Where the clients are: the old server itself, or what is in front of it."""
    folder: Path
    load: Load
    stack: ExitStack
    """Closed at the end of the run."""
    marks: dict[str, LoadReport] = field(default_factory=dict)
    """What the load had seen, by what ended then."""

    def mark(self, what: str = SYNC) -> None:
        """Count the longest gaps anew, and keep those so far as those of what is done now."""
        self.marks[what] = self.load.mark()


@dataclass(frozen=True)
class Ended:
    """How a way went, as far as it can tell itself."""

    how: str = "done"
    """Or the reason for which it was given up, with the old server serving."""
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds."""
    phases: dict[str, int] = field(default_factory=dict)
    """Of the handover, in microseconds."""
    paused_us: int = 0
    """For how long writes waited in all attempts together."""
    attempts: int = 0
    cuts: tuple[tuple[float, float], ...] = ()
    """When each attempt began and ended, in seconds since 1970."""


@dataclass(frozen=True)
class Way:
    """A way to replace a live server."""

    name: str
    title: str
    run: Callable[[Scene], Ended]
    """It returns when clients are on the new server and nothing is left to do."""
    front: Callable[[Instance, Instance, Path], AbstractContextManager[Front]]
    """Starts what has to run beforehand: the new server, and what is in front of the old one."""
    missing: Callable[[], str | None] = lambda: None
    """Says why it can't be run on this machine."""
    master: str | None = None
    """Its name, where what is in front is a sentinel that clients ask for it."""


@dataclass(frozen=True)
class Run:
    """One run in plain figures."""

    part: str
    name: str
    rate: int
    seconds: float
    ended: Ended
    report: LoadReport
    """Its gaps are those since the last mark."""
    marks: dict[str, LoadReport]
    """Those before, by what ended then."""
    large: LoadReport | None
    """What the writers of large values have seen."""
    crowd: dict[str, Group]

    @property
    def gap_ms(self) -> float:
        """The longest time without an acknowledged write, from after the sync to the end."""
        return max(report.longest_gap_ms for report in self._after_sync())

    @property
    def handover_gap_ms(self) -> float:
        """The same, while the handover went on; where a way can't tell, all of it."""
        ended = self.marks.get(HANDOVER)
        return ended.longest_gap_ms if ended else self.gap_ms

    @property
    def cut_gap_ms(self) -> float:
        """The same, while writes waited for the handover: those of the machine itself are apart.

        Only the longest gaps are known: one that is not among them was no longer than these.
        """
        lengths = [
            gap.microseconds / 1000
            for report in self._after_sync()
            for gap in report.gaps
            for began, ended in self.ended.cuts
            if gap.began < ended and gap.began + gap.microseconds / 1e6 > began
        ]
        known = [gap.microseconds / 1000 for report in self._after_sync() for gap in report.gaps]
        return max(lengths, default=min(known))

    def _after_sync(self) -> list[LoadReport]:
        return [self.report, *(report for what, report in self.marks.items() if what != SYNC)]

    @property
    def lost(self) -> int:
        """Acknowledged writes that are gone."""
        return self.report.lost + (self.large.lost if self.large else 0)

    @property
    def errors(self) -> int:
        """Error replies to anybody."""
        replies = sum(self.report.errors.values())
        if self.large:
            replies += sum(self.large.errors.values())
        return replies + sum(group.errors for group in self.crowd.values())


class Stage:
    """Makes scenes. The data is made once; each old server loads a copy of it."""

    def __init__(self, pair: tuple[str, str], keys: int, scratch: Path, around: float) -> None:
        """Prepare it; the load runs for `around` seconds before and after each upgrade."""
        self.pair, self.keys, self.scratch, self.around = pair, keys, scratch, around
        self._seeds: dict[int, Path] = {}
        self._runs = 0

    def play(self, part: str, way: Way, *, rate: int, shape: Shape = PLAIN, name: str = "") -> Run:
        """Run one way on a fresh pair of servers under a load of 16 connections."""
        self._runs += 1
        folder = self.scratch / f"run-{self._runs}"
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            scene = self._scene(stack, folder, way, rate, shape)
            large = stack.enter_context(_large(scene.front.port)) if shape.large else None
            crowd = None
            if shape.crowd:
                crowd = stack.enter_context(Crowd(scene.front.port, shape.crowd))
            time.sleep(self.around)
            began = time.monotonic()
            ended = way.run(scene)
            seconds = time.monotonic() - began
            time.sleep(self.around)
            return Run(
                part=part,
                name=name or way.name,
                rate=rate,
                seconds=seconds,
                ended=ended,
                # First, as to look up large values takes the server's time.
                report=scene.load.stop(),
                marks=scene.marks,
                large=large.stop() if large else None,
                crowd=crowd.stop() if crowd else {},
            )

    def _scene(self, stack: ExitStack, folder: Path, way: Way, rate: int, shape: Shape) -> Scene:
        old = instance(self.pair[0], folder / "old", shape)
        new = instance(self.pair[1], folder / "new", shape)
        os.link(self._seed(shape), old.folder / "dump.rdb")
        stack.enter_context(old)
        front = stack.enter_context(way.front(old, new, folder))
        load = stack.enter_context(Load(port=front.port, rate=rate, sentinel=way.master))
        return Scene(old, new, front, folder, load, stack)

    def _seed(self, shape: Shape) -> Path:
        """Return the dump that such an old server starts from."""
        folder = self.scratch / f"seed-{shape.databases}"
        dump = folder / "dump.rdb"
        if not dump.exists():
            with instance(self.pair[0], folder, shape) as server, server.client() as client:
                # Nothing must expire while the bench runs.
                later = int(time.time() * 1000) + DAY_MS
                dataset.fill(client, keys=self.keys, now_ms=later)
                for db in range(shape.databases):
                    with server.client(db=db) as other:
                        names = range(max(self.keys // 500, 10))
                        other.mset({f"db{db}:{n}": "x" * 100 for n in names})
                client.execute_command("SAVE")
        return dump


def instance(name: str, folder: Path, shape: Shape = PLAIN) -> Instance:
    """Return that server, or end the bench where it is not here."""
    binary = find(name)
    if binary is None:
        raise SystemExit(f"{name} is not here: {OWN_BINARIES}")
    return Instance(binary, folder, config={"databases": max(shape.databases, 16)})


def _large(port: int) -> Load:
    return Load(port=port, connections=2, rate=LARGE_RATE, value_size=LARGE_BYTES, prefix="large")
