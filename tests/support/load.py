"""`baton-load` from Python: writes, remembers what was acknowledged, looks it up at the end."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

REPOSITORY = Path(__file__).parents[2]
# Longer than the client itself takes at most for connecting (10 s) and for the look-up (120 s).
START_TIME = 15.0
END_TIME = 150.0


class Gap(NamedTuple):
    """A time without an acknowledged write on any connection."""

    began: float
    """In seconds since 1970."""
    microseconds: int


@dataclass(frozen=True)
class LoadReport:
    """The figures of a load. Those of the look-up are None in a report made before the end."""

    seconds: float
    acknowledged_sets: int
    acknowledged_incrs: int
    maybe_incrs: int
    """INCRs cut before the reply, so executed or not: they are allowed for, and not repeated."""
    writes_per_second: float
    longest_gap_us: int
    """The longest time without an acknowledged write on any connection."""
    gaps: tuple[Gap, ...]
    """The longest of these times, longest first."""
    latency_p50_us: int
    latency_p99_us: int
    latency_max_us: int
    disconnects: int
    disconnects_min: int
    disconnects_max: int
    disconnects_per_connection: dict[int, int]
    """How many connections were cut how often: {1: 16} is each of 16 once."""
    refused_connects: int
    wrong_replies: int
    """Replies that can't be right, such as a counter that went backwards."""
    errors: dict[str, int] = field(default_factory=dict)
    """Error replies by their first word."""
    lost_sets: int | None = None
    lost_incrs: int | None = None
    surplus_incrs: int | None = None
    """What counters have beyond all that was sent: something was executed twice."""
    lost_examples: tuple[str, ...] = ()

    @property
    def acknowledged(self) -> int:
        """All acknowledged writes."""
        return self.acknowledged_sets + self.acknowledged_incrs

    @property
    def lost(self) -> int:
        """Acknowledged writes that are not on the server where they were looked up."""
        if self.lost_sets is None or self.lost_incrs is None:
            raise ValueError("nothing was looked up yet: this report was made before the end")
        return self.lost_sets + self.lost_incrs

    @property
    def wrong(self) -> int:
        """Anything a client must never see, beyond lost writes."""
        return self.wrong_replies + (self.surplus_incrs or 0)

    @property
    def longest_gap_ms(self) -> float:
        """The longest time without an acknowledged write, in milliseconds."""
        return self.longest_gap_us / 1000


class LoadError(Exception):
    """The load could not be started, or its end could not be looked up."""


class Load:
    """Writers that run from entering the context until `stop` (or leaving it).

    with Load(port=source.port, rate=10_000) as load:
        ...
        report = load.stop(verify_port=target.port)
    assert report.lost == 0
    """

    def __init__(
        self,
        *,
        port: int,
        host: str = "127.0.0.1",
        connections: int = 16,
        rate: float = 0,
        sets_per_incr: int = 4,
        value_size: int = 100,
        prefix: str | None = None,
        user: str | None = None,
        password: str | None = None,
        sentinel: str | None = None,
    ) -> None:
        """Prepare it.

        With `sentinel`, the name of a master, a sentinel listens at the port and is asked for it.
        `rate` is in writes per second of all connections together; 0 is as fast as can be.
        """
        self.host = host
        self.port = port
        options: dict[str, str | float | None] = {
            "host": host,
            "port": port,
            "connections": connections,
            "rate": rate,
            "sets-per-incr": sets_per_incr,
            "value-size": value_size,
            "prefix": prefix,
            "user": user,
            "password": password,
            "sentinel": sentinel,
        }
        self._options = [
            f"--{name}={value}" for name, value in options.items() if value is not None
        ]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start writing; returns when all connections are up."""
        self._process = subprocess.Popen(
            [_program(), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            self._answer(START_TIME)
        except BaseException:
            self.abandon()
            raise
        return self

    def mark(self) -> LoadReport:
        """Return the figures so far, without the look-up; the longest gap counts anew."""
        self._order("mark")
        return _report(self._answer(START_TIME))

    def stop(self, *, verify_port: int | None = None, verify_host: str | None = None) -> LoadReport:
        """Stop writing, look up all that was acknowledged, and return the figures.

        It is looked up where it was written, unless another place is given.
        """
        process = self._running()
        self._order(f"verify {verify_host or self.host} {verify_port or self.port}")
        assert process.stdin is not None
        process.stdin.close()
        try:
            return _report(self._answer(END_TIME))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End it without a look-up."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise LoadError("the load does not run")
        return self._process

    def _order(self, line: str) -> None:
        stdin = self._running().stdin
        assert stdin is not None
        stdin.write(f"{line}\n")
        stdin.flush()

    def _answer(self, within: float) -> dict[str, Any]:
        process = self._running()
        assert process.stdout is not None
        # Killing it ends the wait for a line.
        timer = threading.Timer(within, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise LoadError(
                f"baton-load ended (status {process.wait()}) without an answer within {within:g} s"
            )
        answer: dict[str, Any] = json.loads(line)
        problem = answer.get("error") or answer.get("verify_error")
        if problem:
            raise LoadError(str(problem))
        return answer

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()


def _report(answer: dict[str, Any]) -> LoadReport:
    known = {name.name: answer[name.name] for name in fields(LoadReport)}
    known["disconnects_per_connection"] = {
        int(times): connections
        for times, connections in known["disconnects_per_connection"].items()
    }
    known["gaps"] = tuple(Gap(*gap) for gap in known["gaps"])
    known["lost_examples"] = tuple(known["lost_examples"])
    return LoadReport(**known)


def _program() -> Path:
    target = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
    program = REPOSITORY / target / "release" / "baton-load"
    if not program.exists():
        raise LoadError(f"{program} is not built: make load")
    return program
