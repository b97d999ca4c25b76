"""A proxy between the controller and the two servers that lets one thing go wrong at one command.

The servers bind 127.0.0.1. The controller is given 127.0.0.2 with the same ports, where the proxy
listens; replication comes through it too, and load clients don't. Where a server does not listen
the proxy does not either, so that "refused" means what it should.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tests.chaos.connection import Connection, Gone
from tests.chaos.wire import title

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.support.servers import Instance

HOST = "127.0.0.2"
SIDES = ("source", "target")
KINDS = {
    "kill_controller": 0.0,
    "kill_source": 0.0,
    "kill_target": 0.0,
    "hold_short": 0.5,  # shorter than the limits of the cut
    "hold_long": 3.0,
    "cut": 0.0,
}
WHENS = ("before", "after")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and where.

    `point` is PHASE/SIDE:COMMAND#N: the N-th such command to that server in that phase. `before`:
    it is not forwarded yet; `after`: its reply has come back, and is not passed on yet.
    """

    kind: str
    when: str
    point: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.when}-{self.point}"


class Proxy:
    """Runs in a thread of its own; everything but `call` and what is public happens there."""

    def __init__(self, source: Instance, target: Instance) -> None:
        """Prepare it for two servers that run."""
        self.servers = {"source": source, "target": target}
        self.counted: list[str] = []
        self.passed: set[str] = set()
        """Commands whose reply the controller got."""
        self.fired_at: float | None = None
        self.broken: list[str] = []
        """What went wrong in the proxy itself."""
        self._fault: Fault | None = None
        self._counting = False
        self._pid = 0
        self._demoted = "source"
        self._phase = "begin"
        self._times: Counter[str] = Counter()
        self._listeners: dict[str, tuple[int, asyncio.Server]] = {}
        self._held_until = dict.fromkeys(SIDES, 0.0)
        self._connections: set[Connection] = set()
        self._mirroring = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos proxy")

    def start(self) -> None:
        """Listen where the servers do."""
        self._thread.start()
        self.mirror()

    def stop(self) -> None:
        """Close everything."""
        if not self._thread.is_alive():
            return
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def mirror(self) -> None:
        """Listen where the servers listen now, as when one was started."""
        self._call(self._mirror())

    def arm(self, fault: Fault | None, *, pid: int, demoted: str) -> None:
        """Count from now on, and let the fault happen once to the controller of that pid."""
        self._fault, self._pid, self._demoted = fault, pid, demoted
        self._phase, self.fired_at = "begin", None
        self._times.clear()
        self.counted.clear()
        self.passed.clear()
        self._counting = True

    def disarm(self) -> None:
        """Only forward from now on."""
        self._counting = False

    @property
    def held_for(self) -> float:
        """Seconds for which a line is still held."""
        return max(0.0, max(self._held_until.values()) - time.monotonic())

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _close(self) -> None:
        for _, listener in self._listeners.values():
            listener.close()
        for connection in list(self._connections):
            connection.reset()
        await asyncio.sleep(0.05)
        pending = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        for one in pending:
            one.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _mirror(self) -> None:
        async with self._mirroring:
            wanted = {side: await self._port_of(one) for side, one in self.servers.items()}
            for side in SIDES:
                if side in self._listeners and self._listeners[side][0] != wanted[side]:
                    self._listeners.pop(side)[1].close()
            for side, port in wanted.items():
                if port is not None and side not in self._listeners:
                    await self._listen(side, port)

    async def _listen(self, side: str, port: int) -> None:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:  # noqa: ANN401
            return Connection(self, side, reader, writer).run(port)

        listener = await asyncio.start_server(accepted, HOST, port)
        self._listeners[side] = port, listener

    async def _port_of(self, server: Instance) -> int | None:
        """Ask the process itself, by its unix socket: at a port the other one might answer."""
        if not server.alive:
            return None
        for _ in range(3):
            with suppress(OSError, asyncio.TimeoutError, ValueError):
                return await asyncio.wait_for(_ask_port(server), 2)
        return None

    def count(self, side: str, words: list[bytes]) -> str | None:
        """Count a command, and say which point it is; None when nothing is counted."""
        if not self._counting:
            return None
        name = title(words)
        self._phase = self._phase_with(name, side, words)
        place = f"{self._phase}/{side}:{name}"
        self._times[place] += 1
        point = f"{place}#{self._times[place]}"
        self.counted.append(point)
        return point

    def _phase_with(self, name: str, side: str, words: list[bytes]) -> str:
        """Say in what phase a command is: the preflight's probes look like those of the cut."""
        phase = self._phase
        if name == "CONFIG-REWRITE":
            return "rewrite"
        if name == "CLIENT-UNPAUSE":
            return "confirm" if phase in {"demote", "promote", "confirm"} else "release"
        if name == "CLIENT-PAUSE" and words[2].isdigit():
            return "pause"
        if name == "REPLICAOF" and phase == "begin" and words[2].isdigit():
            return "sync"
        if name == "MULTI" and phase in {"pause", "demote"}:
            return "demote" if side == self._demoted else "promote"
        ends = phase == "confirm" and name.startswith(("CONFIG-", "INFO"))
        return "finish" if ends else phase

    def triggers(self, point: str | None, when: str) -> bool:
        """Whether the fault is to happen here."""
        fault = self._fault
        return self._counting and fault is not None and (fault.point, fault.when) == (point, when)

    async def fire(self, at: Connection) -> None:
        """Let it happen."""
        assert self._fault is not None
        kind = self._fault.kind
        self._counting = False
        self.fired_at = time.monotonic()
        if kind == "kill_controller":
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            raise Gone
        if kind == "cut":
            at.reset()
            raise Gone
        if kind.startswith("kill_"):
            await self._kill(kind.removeprefix("kill_"))
            if at not in self._connections:
                raise Gone
        else:
            self._held_until[at.side] = self.fired_at + KINDS[kind]
            await self.held(at.side)

    async def _kill(self, side: str) -> None:
        if side in self._listeners:
            self._listeners.pop(side)[1].close()
        self.servers[side].kill()
        for connection in list(self._connections):
            if connection.side == side:
                connection.reset()

    async def held(self, side: str) -> None:
        """Wait while the line to that server is held."""
        while (left := self._held_until[side] - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def opened(self, connection: Connection) -> None:
        """Remember a connection."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection; what it sent last may have moved a port."""
        self._connections.discard(connection)
        if connection.may_have_moved and self._loop.is_running():
            self._later = self._loop.create_task(self._mirror_soon())

    async def _mirror_soon(self) -> None:
        await asyncio.sleep(0.02)
        await self._mirror()

    async def port_moved(self) -> None:
        """Listen anew before the reply that says so is passed on."""
        await self._mirror()


async def _ask_port(server: Instance) -> int:
    reader, writer = await asyncio.open_unix_connection(str(server.unix_socket))
    try:
        login = f"AUTH {server.password}\r\n" if server.password else ""
        writer.write(f"{login}CONFIG GET port\r\n".encode())
        lines = [await reader.readline() for _ in range(6 if login else 5)]
        return int(lines[-1])
    finally:
        writer.close()
