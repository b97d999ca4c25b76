"""Connections that wait, in a process of their own: idle ones, subscribers and blocked clients.

    python -m bench.crowd --port PORT [--idle N] [--subscribers N] [--blocked N]

Subscribers and blocked clients come back at once when they are cut, as their libraries do; an idle
connection would only be missed at its next use. It prints `{"ready": true}` when all are there,
and a line with what they have seen when its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

KINDS = ("idle", "subscribers", "blocked")
SHORTEST_BACKOFF, LONGEST_BACKOFF = 0.001, 0.02
READY_TIME = 30.0
# How many connect at the same time in the beginning: a listener's queue is short.
AT_ONCE = 64


@dataclass(frozen=True)
class Group:
    """What the connections of one kind have seen."""

    connections: int
    cuts: dict[int, int]
    """How many were cut how often."""
    waiting: int
    """How many wait again in the end; idle ones do not come back."""
    errors: int
    """Error replies."""


class Crowd:
    """The process, from entering the context until `stop` (or leaving it)."""

    def __init__(self, port: int, sizes: dict[str, int]) -> None:
        """Prepare it."""
        self._arguments = [f"--port={port}", *(f"--{kind}={n}" for kind, n in sizes.items())]
        self._process: subprocess.Popen[str] | None = None

    def stop(self) -> dict[str, Group]:
        """End it; return what each kind has seen."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        found = self._line(process)
        return {
            kind: Group(**{**seen, "cuts": {int(n): many for n, many in seen["cuts"].items()}})
            for kind, seen in found.items()
        }

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        timer = threading.Timer(READY_TIME, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise RuntimeError(f"bench.crowd ended (status {process.wait()}) without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.crowd", *self._arguments],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self._line(self._process)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class _Waiter:
    """One connection that waits."""

    def __init__(self, port: int, kind: str, number: int, gate: asyncio.Semaphore) -> None:
        self.port, self.kind, self.gate = port, kind, gate
        self.cuts = self.errors = 0
        self.waiting = asyncio.Event()
        self.words = {
            "idle": ["PING"],
            "subscribers": ["SUBSCRIBE", "bench:channel"],
            "blocked": ["BLPOP", f"bench:list:{number}", "0"],
        }[kind]

    async def run(self) -> None:
        """Wait, and come back after each cut."""
        backoff = SHORTEST_BACKOFF
        while True:
            with contextlib.suppress(OSError):
                await self._once()
            if self.waiting.is_set():
                self.waiting.clear()
                self.cuts += 1
                backoff = SHORTEST_BACKOFF
                if self.kind == "idle":
                    return
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF)

    async def _once(self) -> None:
        async with self.gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            text = "".join(f"${len(word)}\r\n{word}\r\n" for word in self.words)
            writer.write(f"*{len(self.words)}\r\n{text}".encode())
            if self.kind != "blocked":  # which gets no answer until it is cut
                answer = await reader.readline()
                if not answer or answer.startswith(b"-"):
                    self.errors += bool(answer)
                    writer.close()
                    return
        self.waiting.set()
        while True:
            line = await reader.readline()
            if not line:
                break
            self.errors += line.startswith(b"-")
        writer.close()


async def _crowd(options: argparse.Namespace) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    waiters = [
        _Waiter(options.port, kind, number, gate)
        for kind in KINDS
        for number in range(getattr(options, kind))
    ]
    tasks = [asyncio.ensure_future(waiter.run()) for waiter in waiters]
    for waiter in waiters:
        await waiter.waiting.wait()
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    seen = {}
    for kind in KINDS:
        group = [waiter for waiter in waiters if waiter.kind == kind]
        if group:
            seen[kind] = {
                "connections": len(group),
                "cuts": Counter(waiter.cuts for waiter in group),
                "waiting": sum(waiter.waiting.is_set() for waiter in group),
                "errors": sum(waiter.errors for waiter in group),
            }
    for task in tasks:
        task.cancel()
    sys.stdout.write(json.dumps(seen) + "\n")
    sys.stdout.flush()


def _main() -> None:
    parser = argparse.ArgumentParser(prog="bench.crowd")
    parser.add_argument("--port", type=int, required=True)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0)
    asyncio.run(_crowd(parser.parse_args()))


if __name__ == "__main__":
    _main()
