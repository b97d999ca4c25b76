"""What it costs clients to come through the relay, beside HAProxy in TCP mode."""

from __future__ import annotations

import csv
import statistics
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.scene import instance
from bench.tables import Table, number, spread
from tests.support.haproxy import HAProxy, find_haproxy
from tests.support.ports import release_block, reserve_block
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Sequence

DIRECT, RELAY, HAPROXY = "no hop", "redis-baton, relay", "HAProxy, TCP mode"
CONNECTIONS = 16
# Requests under way at once on each connection, and how many in all for each key of the data set.
PIPELINES = {1: 0.4, 16: 2.0}
ROUNDS = 3
TIME = 120


@dataclass(frozen=True)
class Stretch:
    """One run of redis-benchmark by one way."""

    way: str
    pipeline: int
    rate: float
    """Requests a second."""
    p99_ms: float


def measure(old: str, keys: int, runs: int, folder: Path) -> tuple[list[dict[str, Any]], Table]:
    """Send as much as can be by each way, in turns; return the raw figures and a table."""
    stretches: list[Stretch] = []
    haproxy, block = find_haproxy(), reserve_block()
    if haproxy is None:
        raise SystemExit("HAProxy is not here: tests/support/fetch-servers haproxy-3.0")
    folder.mkdir()
    with (
        instance(old, folder / "server") as server,
        # A unix socket's path may have 107 characters.
        tempfile.TemporaryDirectory(prefix="rb-") as short,
        Relay(Path(short) / "s") as relay,
        HAProxy(haproxy, folder / "haproxy", {"one": server.address}, check=False) as proxy,
    ):
        relay.forward(block, server.port)
        program = server.binary.cli.with_name("redis-benchmark")
        ports = {DIRECT: server.port, RELAY: block, HAPROXY: proxy.port}
        for turn in range(runs * ROUNDS):
            for pipeline in PIPELINES:
                # Each of them comes first as often as the others.
                names = list(ports)
                names = names[turn % len(names) :] + names[: turn % len(names)]
                for way in names:
                    stretch = _stretch(program, way, ports[way], pipeline, keys)
                    stretches += [stretch]
    release_block(block)
    rounds = runs * ROUNDS
    title = f"Through a hop: {old}, {CONNECTIONS} connections that SET, {rounds} rounds"
    return [asdict(stretch) for stretch in stretches], Table(title, COLUMNS, _rows(stretches))


def _stretch(program: Path, way: str, port: int, pipeline: int, keys: int) -> Stretch:
    requests = int(keys * PIPELINES[pipeline])
    words = [program, "-p", port, "-c", CONNECTIONS, "-n", requests, "-P", pipeline, "-d", 100]
    command = [*map(str, words), "-r", "100000", "-t", "set", "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIME)
    [row] = csv.DictReader(done.stdout.splitlines())
    return Stretch(way, pipeline, float(row["rps"]), float(row["p99_latency_ms"]))


COLUMNS = ("way", "pipelined", "requests/s", "p99, ms")


def _rows(stretches: Sequence[Stretch]) -> list[list[str]]:
    rows = []
    for pipeline in PIPELINES:
        for way in (DIRECT, RELAY, HAPROXY):
            mine = [one for one in stretches if (one.way, one.pipeline) == (way, pipeline)]
            p99 = number(statistics.median(one.p99_ms for one in mine))
            rows.append([way, str(pipeline), spread([one.rate for one in mine]), p99])
    return rows
