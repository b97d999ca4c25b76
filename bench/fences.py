"""Fences for a source before Redis 6.2: it has no CLIENT PAUSE WRITE and no CONFIG SET port.

The source is fenced, the target waits until it has all of it, the source is shut down, the target
is promoted and takes the port. What differs is how writers are held off meanwhile. A connection in
MONITOR counts as a replica there, and replicas are not paused: it can go on giving commands.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import socket
import statistics
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rich.console import Console
from rich.table import Table

from bench.scene import instance
from bench.ways import SYNC_TIME
from tests.support import dataset
from tests.support.load import Load, LoadReport
from tests.support.servers import NAMES, Instance, eventually

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

    from typing_extensions import Self

Reply = Union[bytes, int, None, "list[Reply]", "ReplyError"]
Command = tuple[str, ...]

BUDGET = 1000
# Seconds of load before and after.
AROUND = 1.0
DRAIN_TIME = 0.4
PORT_TIME = 10.0
DEADLINE_KEY = "redis-baton:deadline"
MONITOR_LINE = re.compile(rb"\d+\.\d{6} \[")

KILL: tuple[Command, ...] = (
    ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    ("CLIENT", "KILL", "TYPE", "pubsub"),
)
OFFSET: Command = ("INFO", "replication")
# It drops the replicas at once: what they lack they can't get any more, until it is undone.
DEMOTE: Command = ("REPLICAOF", "{host}", "{port}")
# It does not hold back scripts, and nothing at all with min-replicas-max-lag 0.
NO_REPLICAS: Command = ("CONFIG", "SET", "min-replicas-to-write", "1000000")
# Nothing that MONITOR shows may follow it in its transaction, or a line lands in EXEC's array.
MONITOR: Command = ("MONITOR",)
PAUSE: Command = ("CLIENT", "PAUSE", str(BUDGET))
SHUTDOWN: Command = ("SHUTDOWN", "NOSAVE")


class ReplyError(str):
    """An error reply."""

    __slots__ = ()


class NotHandedOver(Exception):
    """The source serves on, or can be made to."""


class Wire:
    """A connection that passes over the lines of MONITOR."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input = self.socket.makefile("rb")

    def send(self, *commands: Command) -> None:
        """Send them in one piece."""
        self.socket.sendall(b"".join(map(_packed, commands)))

    def call(self, command: Command) -> Reply:
        """Send one command and return its reply."""
        self.send(command)
        return self.reply()

    def transaction(self, *commands: Command) -> list[Reply]:
        """Run them in one EXEC; raise unless each of them was done."""
        self.send(("MULTI",), *commands, ("EXEC",))
        *queued, done = (self.reply() for _ in range(len(commands) + 2))
        found = [*queued, *(done if isinstance(done, list) else [done])]
        problems = [reply for reply in found if isinstance(reply, ReplyError)]
        if problems or not isinstance(done, list):
            raise NotHandedOver(str(problems[0]) if problems else "EXEC: nil")
        return done

    def reply(self) -> Reply:
        """Return the next reply."""
        while MONITOR_LINE.match((line := self._line())[1:]):
            pass
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            return ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self._input.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))] if rest != b"-1" else None
        return rest

    def _line(self) -> bytes:
        line = self._input.readline()
        if not line:
            raise ConnectionError("closed")
        return line.rstrip()

    def close(self) -> None:
        """Close it."""
        self._input.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _packed(command: Command) -> bytes:
    words = [word.encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


@dataclass(frozen=True)
class Fence:
    """One candidate: transactions on the source, each drained after, and what ends it."""

    name: str
    transactions: tuple[tuple[Command, ...], ...]
    last: tuple[Command, ...] = (SHUTDOWN,)
    """The commands that end the source."""
    deadline: bool = False
    """Whether EXEC refuses the end of the source unless the pause surely still holds."""


PAUSED = (("INFO", "keyspace"), OFFSET, MONITOR, PAUSE)
FENCES = (
    Fence(
        "a maxclients 1, kill",
        ((("CONFIG", "SET", "maxclients", "1"), *KILL, OFFSET),),
    ),
    Fence("b min-replicas, kill", ((NO_REPLICAS, *KILL, OFFSET),)),
    Fence("c REPLICAOF, kill", ((DEMOTE, *KILL, OFFSET),)),
    Fence("d REPLICAOF, MONITOR, pause", ((DEMOTE, OFFSET, MONITOR, PAUSE),)),
    Fence("e MONITOR, pause; REPLICAOF", (PAUSED, (DEMOTE, OFFSET))),
    Fence("f MONITOR, pause; min-replicas", (PAUSED, (NO_REPLICAS, PAUSE, OFFSET))),
    Fence(
        "g MONITOR, pause; deadline",
        ((("SET", DEADLINE_KEY, "1", "PX", str(BUDGET - 100)), *PAUSED),),
        (("MULTI",), SHUTDOWN, ("EXEC",)),
        deadline=True,
    ),
    Fence(
        "h as g, kill with SHUTDOWN",
        ((("SET", DEADLINE_KEY, "1", "PX", str(BUDGET - 100)), *PAUSED),),
        (("MULTI",), *KILL, SHUTDOWN, ("EXEC",)),
        deadline=True,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """One run."""

    problem: str | None
    drain_ms: float
    port_ms: float
    """From sending SHUTDOWN until the target had the port."""
    report: LoadReport
    reader: dict[str, Any]


@dataclass
class _Cut:
    drain: float = 0.0
    port: float = 0.0
    problem: str | None = None


def cut(fence: Fence, source: Instance, target: Instance) -> _Cut:
    """Hand over from a source that the target follows."""
    result = _Cut()
    with Wire(source.host, source.port) as wire, Wire(target.host, target.port) as new:
        try:
            _fence(fence, wire, new, target, result)
        except NotHandedOver as problem:
            result.problem = str(problem)
            undo(wire)
            return result
        began = time.monotonic()
        wire.send(*fence.last)
        _gone(source)
        _take_over(new, source.port)
        result.port = time.monotonic() - began
    return result


def _fence(fence: Fence, wire: Wire, new: Wire, target: Instance, result: _Cut) -> None:
    for commands in fence.transactions:
        filled = [
            tuple(word.format(host=target.host, port=target.port) for word in command)
            for command in commands
        ]
        done = wire.transaction(*filled)
        _drain(new, _number(done[filled.index(OFFSET)], "master_repl_offset"), result)
    if fence.deadline:
        _watch(wire, new, result)


def _watch(wire: Wire, new: Wire, result: _Cut) -> None:
    """Make EXEC refuse when the deadline is over (from 6.0.15); it must not be over before.

    With io-threads-do-reads a write that was read along with the pause can follow it: the offset
    that counts is the one of a later round.
    """
    wire.send(("WATCH", DEADLINE_KEY), ("PTTL", DEADLINE_KEY), OFFSET)
    watched, left, info = (wire.reply() for _ in range(3))
    if watched != b"OK" or not isinstance(left, int) or left <= 0:
        raise NotHandedOver("too late")
    _drain(new, _number(info, "master_repl_offset"), result)


def _drain(new: Wire, offset: int, result: _Cut) -> None:
    began = time.monotonic()
    while _number(new.call(OFFSET), "slave_repl_offset") < offset:
        if time.monotonic() - began > DRAIN_TIME:
            raise NotHandedOver("the target did not get all of it")
    result.drain += time.monotonic() - began


def _gone(source: Instance) -> None:
    """Wait until the port is closed: a SHUTDOWN that was refused must not be followed by more."""
    deadline = time.monotonic() + PORT_TIME
    while time.monotonic() < deadline:
        try:
            socket.create_connection((source.host, source.port), timeout=1).close()
        except ConnectionRefusedError:
            return
        except ConnectionError:
            pass
    raise TimeoutError(f"{source} did not shut down")


def _take_over(new: Wire, port: int) -> None:
    deadline = time.monotonic() + PORT_TIME
    while True:
        try:
            new.transaction(("REPLICAOF", "NO", "ONE"), ("CONFIG", "SET", "port", str(port)))
        except NotHandedOver:
            if time.monotonic() > deadline:
                raise
        else:
            return


def undo(wire: Wire) -> None:
    """Make the source serve again: a pause runs out by itself."""
    wire.send(
        ("REPLICAOF", "NO", "ONE"),
        ("CONFIG", "SET", "min-replicas-to-write", "0"),
        ("CONFIG", "SET", "maxclients", "10000"),
    )
    for _ in range(3):
        wire.reply()


def _number(info: Reply, name: str) -> int:
    assert isinstance(info, bytes)
    found = re.search(rb"%s:(\d+)" % name.encode(), info)
    return int(found[1]) if found else -1


def measure(fence: Fence, pair: tuple[str, str], *, keys: int, rate: int, folder: Path) -> Outcome:
    """Run one candidate on a fresh pair of servers under writers and a reader."""
    with instance(pair[0], folder / "old") as old, instance(pair[1], folder / "new") as new:
        dataset.fill(old.client(), keys=keys)
        with Load(port=old.port, rate=rate) as load:
            follow(old, new)
            with closing(Reader(old.port)) as reader:
                time.sleep(AROUND)
                load.mark()
                little_lag(old, new)
                done = cut(fence, old, new)
                time.sleep(AROUND + BUDGET / 1000)
                seen = reader.stop()
            report = load.stop(verify_port=old.port)
    return Outcome(done.problem, done.drain * 1000, done.port * 1000, report, seen)


def follow(old: Instance, new: Instance) -> None:
    """Make the new one a replica in sync."""
    old.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    new.call("REPLICAOF", old.host, old.port)
    eventually(
        lambda: new.info("replication").get("master_link_status") == "up",
        "the replica is in sync",
        within=SYNC_TIME,
    )


def little_lag(old: Instance, new: Instance) -> None:
    """Wait for a good moment, but not forever."""
    with old.client() as source, new.client() as target:
        for _ in range(500):
            has = target.info("replication")["slave_repl_offset"]
            if source.info("replication")["master_repl_offset"] - has < 1 << 14:
                return


class Reader:
    """A plain redis-py client in a process of its own, that reads in a loop."""

    def __init__(self, port: int) -> None:
        self._end = multiprocessing.Event()
        self._result, theirs = multiprocessing.Pipe(duplex=False)
        self._process = multiprocessing.Process(target=_read, args=(port, self._end, theirs))
        self._process.start()

    def stop(self) -> dict[str, Any]:
        """End it; return what it saw by kind, and its longest gap."""
        self._end.set()
        found: dict[str, Any] = self._result.recv()
        return found

    def close(self) -> None:
        """End it without asking."""
        self._process.kill()
        self._process.join()


def _read(port: int, end: Event, result: Connection) -> None:
    seen: Counter[str] = Counter()
    client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0), socket_timeout=5)
    last, gap = time.monotonic(), 0.0
    while not end.is_set():
        try:
            client.get("key")
        except redis.RedisError as error:
            seen[_kind(error)] += 1
        else:
            now = time.monotonic()
            last, gap = now, max(gap, now - last)
        time.sleep(0.0005)
    result.send({"gap_ms": gap * 1000, "seen": dict(seen)})


def _kind(error: redis.RedisError) -> str:
    text = str(error)
    for sign, kind in (("refused", "refused"), ("reading", "closed"), ("closed", "closed")):
        if sign in text:
            return kind
    return text[:30]


def main() -> None:
    """Measure all candidates and print the table."""
    options = _options()
    console = Console(highlight=False, width=170)
    pair = (options.old, options.new)
    table = Table(
        title=f"{pair[0]} -> {pair[1]}, {options.keys} keys, 16 writers, {options.runs} runs: "
        "median (max)",
        title_justify="left",
    )
    columns = (
        "fence",
        "writes/s",
        "done",
        "lost",
        "gap, ms",
        "drain, ms",
        "port, ms",
        "error replies",
        "cuts each",
        "refused",
        "reader, ms",
        "reader saw",
    )
    for column in columns:
        table.add_column(column)
    chosen = [fence for fence in FENCES if fence.name[0] in options.only]
    with tempfile.TemporaryDirectory(prefix="redis-baton-bench-") as scratch:
        for fence in chosen:
            for rate in options.rates:
                runs = [
                    measure(
                        fence,
                        pair,
                        keys=options.keys,
                        rate=rate,
                        folder=Path(scratch) / f"{fence.name[0]}-{rate}-{number}",
                    )
                    for number in range(options.runs)
                ]
                table.add_row(*_row(fence, rate, runs))
    console.print(table)


def _row(fence: Fence, rate: int, runs: list[Outcome]) -> list[str]:
    handed = [run for run in runs if run.problem is None]
    problems = Counter(run.problem for run in runs if run.problem)
    each: Counter[int] = Counter()
    errors: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for run in runs:
        each.update(run.report.disconnects_per_connection)
        errors.update(run.report.errors)
        seen.update(run.reader["seen"])
    return [
        fence.name,
        str(rate or "saturating"),
        f"{len(handed)}/{len(runs)}" + "".join(f"\n{text}" for text in problems),
        str(sum(run.report.lost for run in runs)),
        _middle([run.report.longest_gap_ms for run in runs]),
        _middle([run.drain_ms for run in handed]),
        _middle([run.port_ms for run in handed]),
        _counts(errors),
        _counts(each),
        str(sum(run.report.refused_connects for run in runs)),
        _middle([run.reader["gap_ms"] for run in runs]),
        _counts(seen),
    ]


def _middle(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({max(values):.1f})" if values else "-"


def _counts(counted: Counter[Any]) -> str:
    return "\n".join(f"{kind}: {count}" for kind, count in sorted(counted.items())) or "-"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.fences", description="Fences before Redis 6.2.")
    parser.add_argument("--old", choices=NAMES, default="redis-6.0")
    parser.add_argument("--new", choices=NAMES, default="redis-8.0")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rates", type=int, nargs="+", default=[10_000, 0], help="0: saturating")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="abcdefgh", help="the letters of the fences")
    return parser.parse_args()


if __name__ == "__main__":
    main()
