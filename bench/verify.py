"""What it costs to compare a live server with its replica: ours beside what is used today."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import redis_baton

from bench.scene import instance
from bench.tables import Table, number, spread
from tests.support import dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.servers import Instance

DAY_MS = 86_400_000
TICKS = 100
PROBE_EVERY = 0.001
IDLE_TIME = 2.0
COMPARE_TIME = 3600.0
# By default a server waits for five seconds in case that more replicas come.
AT_ONCE = ("CONFIG", "SET", "repl-diskless-sync-delay", "0")
IDLE = "nothing: the machine itself"
STREAMS = "redis-baton, streams"
PLAIN_SOURCE = "redis-baton, streams, no rdbcompression on the source either"
VALUES = "redis-py (hiredis), SCAN, reads by type, PTTL"
WAYS = {
    STREAMS: ("ours", "streams"),
    PLAIN_SOURCE: ("ours", "streams"),
    "redis-baton, reads": ("ours", "reads"),
    "redis-py (hiredis), SCAN, DUMP, PTTL": ("redis-py", "dumps"),
    VALUES: ("redis-py", "values"),
}
FLOOR = "the floor: redis-cli --rdb of the source alone"
FULL_CHECK = "RedisFullCheck, full values, one round"


@dataclass(frozen=True)
class Comparison:
    """One comparison by one way."""

    way: str
    seconds: float
    main_seconds: float
    """CPU of the source's own process, without its children."""
    probes_us: tuple[float, float, float]
    """A PING of the source while it went on: p50, p99, most."""
    bytes_per_key: float
    """Memory of whoever compares, beyond what it has before."""


def measure(
    pair: tuple[str, str], keys: int, runs: int, folder: Path, full_check: Path | None
) -> tuple[list[dict[str, Any]], Table]:
    """Compare a source of that many keys with its target; return figures and a table."""
    ways: dict[str, tuple[str, ...]] = dict(WAYS)
    if full_check:
        ways[FULL_CHECK] = ("full-check", str(full_check))
    found: list[Comparison] = []
    old, new = (instance(name, folder / f"verify-{name}") for name in pair)
    ways[FLOOR] = ("rdb", str(old.binary.cli))
    with old, new:
        _fill(old, keys)
        _follow(old, new, folder)
        idle = [_idle(old) for _ in range(runs)]
        # In turns: what a shared machine can do changes by the minute.
        for _ in range(runs):
            for way, command in ways.items():
                old.call("CONFIG", "SET", "rdbcompression", "no" if way == PLAIN_SOURCE else "yes")
                found.append(_compare(way, command, old, new, keys, folder))
    title = f"Comparing {keys:,} keys: {pair[0]} and its replica {pair[1]}, {runs} runs"
    return [asdict(one) for one in found], Table(title, COLUMNS, _rows(idle, found, keys))


COLUMNS = (
    "way",
    "s",
    "keys/s",
    "CPU s of the source's process",
    "ping p50, us",
    "p99",
    "most",
    "bytes a key",
)


def grow(pair: tuple[str, str], keys: int, folder: Path) -> tuple[list[dict[str, Any]], Table]:
    """Compare by streams while the data grows to that many keys."""
    found: list[Comparison] = []
    rows = []
    old, new = (instance(name, folder / f"grow-{name}") for name in pair)
    with old, new:
        total = 0
        for size in (keys // 10, keys // 3, keys):
            _fill(old, size - total, prefix=f"{size}:")
            total = size
            _follow(old, new, folder)
            found.append(_compare(STREAMS, WAYS[STREAMS], old, new, size, folder))
            seconds = found[-1].seconds
            rows.append(
                [
                    f"{size:,}",
                    number(seconds),
                    number(round(size / seconds)),
                    number(found[-1].bytes_per_key * size / 1e6),
                    number(found[-1].bytes_per_key),
                ]
            )
    title = f"Comparing more and more keys by streams: {pair[0]} and its replica {pair[1]}"
    columns = ("keys", "s", "keys/s", "memory, MB", "bytes a key")
    return [asdict(one) for one in found], Table(title, columns, rows)


def _fill(server: Instance, keys: int, prefix: str = "") -> None:
    with server.client() as client:
        # Nothing must expire while the bench runs.
        later = int(time.time() * 1000) + DAY_MS
        dataset.fill(client, keys=keys, now_ms=later, prefix=prefix)


def _follow(old: Instance, new: Instance, folder: Path) -> None:
    old.call(*AT_ONCE)
    redis_baton.replicate(source=old.url, target=new.url, journal_dir=folder)
    redis_baton.wait_synced(
        source=old.url, target=new.url, journal_dir=folder, wait_timeout=COMPARE_TIME
    )


def _rows(
    idle: list[tuple[float, float, float]], found: list[Comparison], keys: int
) -> list[list[str]]:
    rows = [[IDLE, "-", "-", "-", *_probed(idle), "-"]]
    for way in dict.fromkeys(one.way for one in found):
        mine = [one for one in found if one.way == way]
        rows.append(
            [
                way,
                spread([one.seconds for one in mine]),
                number(round(keys / statistics.median(one.seconds for one in mine))),
                spread([one.main_seconds for one in mine]),
                *_probed([one.probes_us for one in mine]),
                number(statistics.median(one.bytes_per_key for one in mine)),
            ]
        )
    return rows


def _probed(probes: list[tuple[float, float, float]]) -> list[str]:
    return [number(round(statistics.median(column))) for column in zip(*probes)]


def _idle(source: Instance) -> tuple[float, float, float]:
    pings = []
    end = time.monotonic() + IDLE_TIME
    for took in _pings(source):
        pings.append(took)
        if time.monotonic() > end:
            break
    return _summary(pings)


def _compare(
    way: str, command: tuple[str, ...], old: Instance, new: Instance, keys: int, folder: Path
) -> Comparison:
    """Let another process compare, so that pings are not held up by it."""
    job = {"old": old.url, "new": new.url, "journal_dir": str(folder), "command": command}
    with subprocess.Popen(
        [sys.executable, "-m", "bench.compare", json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is None or process.stdout is None or not process.stdout.readline():
            raise RuntimeError(f"{way} did not begin")
        before = _main_seconds(old)
        process.stdin.write("go\n")
        process.stdin.flush()
        pings = []
        for took in _pings(old):
            pings.append(took)
            if process.poll() is not None:
                break
        said = json.loads(process.stdout.readline())
    if not said["equal"]:
        raise RuntimeError(f"{way} found differences where there are none")
    return Comparison(
        way=way,
        seconds=said["seconds"],
        main_seconds=_main_seconds(old) - before,
        probes_us=_summary(pings),
        bytes_per_key=said["bytes"] / keys,
    )


def _main_seconds(server: Instance) -> float:
    """Return the CPU time of a server's main thread."""
    with open(f"/proc/{server.pid}/task/{server.pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _pings(server: Instance) -> Iterator[float]:
    """Yield how long pings took, in microseconds, one a millisecond and without an end."""
    with socket.create_connection((server.host, server.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            began = time.perf_counter()
            connection.sendall(b"PING\r\n")
            connection.recv(64)
            yield (time.perf_counter() - began) * 1e6
            time.sleep(PROBE_EVERY)


def _summary(pings: list[float]) -> tuple[float, float, float]:
    ordered = sorted(pings)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1]
