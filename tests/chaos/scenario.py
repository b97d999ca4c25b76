"""One scenario: real servers under load, one call with one fault in it, and what became of it.

Afterwards the same call is made again without a fault, and whatever docs/what-if.md says then.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chaos.proxy import HOST, SIDES, Fault, Proxy
from tests.chaos.verdict import judge
from tests.support.dataset import fill
from tests.support.load import REPOSITORY, Load, LoadError, LoadReport
from tests.support.servers import ConfigValue, Instance, eventually, find

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = 2000
PASSWORD = "chaos"
# A call that takes longer hangs.
CALL_TIME = 60.0
# How long both are left alone after a fault, for the guard to finish or take back the cut.
ALONE_TIME = 5.0
# How long a guard goes on trying at most, such as where a server stays dead.
GUARD_TIME = 45.0
MOST_STEPS = 8
# Reasons after which the same call may well succeed.
AGAIN = {"lag_too_high", "no_answer", "sync_loops", "connection_lost", "aside_port_taken"}
MARK = "REDIS_BATON_CHAOS"
OPPOSITE = {"switchover": "rollback", "rollback": "switchover"}
# With limits below the default ones, so that what ends by itself ends soon.
OPTIONS: dict[str, dict[str, Any]] = {
    "replicate": {"wait_timeout": 10.0},
    "wait_synced": {"wait_timeout": 20.0},
    "switchover": {"patience": 8.0},
    "rollback": {"patience": 8.0},
    "promote": {"force": True, "wait_timeout": 5.0},
}


@dataclass(frozen=True)
class Plan:
    """What is to be tried."""

    old: str
    new: str
    call: str
    fault: Fault | None = None
    revive: bool = True
    """A server that was killed is started again on its files; else it stays dead."""

    @property
    def command(self) -> str:
        """The command that tries this alone."""
        words = f"python -m tests.chaos --pair {self.old}:{self.new} --call {self.call}"
        if self.fault is None:
            return f"{words} --fault none"
        at = f"{words} --fault {self.fault.kind} --when {self.fault.when} --at '{self.fault.point}'"
        return at if self.revive else f"{at} --dead"

    @property
    def victim(self) -> str | None:
        """The side that the fault kills."""
        side = self.fault.kind.removeprefix("kill_") if self.fault else ""
        return side if side in SIDES else None


@dataclass(frozen=True)
class Outcome:
    """How one call ended."""

    call: str
    done: bool = False
    changed: bool = False
    killed: bool = False
    kind: str = ""
    reason: str = ""
    state: str = ""
    server: str | None = None
    remedy: str = ""
    text: str = ""
    trace: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        how = "done" if self.done else "killed" if self.killed else f"{self.reason}/{self.state}"
        return f"{self.call}={how}({self.seconds:.1f}s)"


@dataclass
class Result:
    """All there is to say about a scenario."""

    plan: Plan
    demoted: str = "source"
    points: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    fired: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    alone: str = ""
    """Who served after the fault, before anything was run again."""
    alone_seconds: float = 0.0
    after_first: dict[str, tuple[str, int] | None] = field(default_factory=dict)
    end: str = ""
    """Who serves in the end: `source`, `target` or `nobody`."""
    gap_ms: float = 0.0
    """The longest time without an acknowledged write, before anything was run again."""
    report: LoadReport | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The calls and how they ended, in one line."""
        return " ".join(map(str, self.outcomes))

    def as_dict(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {
            "command": self.plan.command,
            "fault": str(self.plan.fault),
            **{name: value for name, value in asdict(self).items() if name != "passed"},
        }

    @property
    def between(self) -> bool:
        """Whether the fault came when one was demoted and the other not yet promoted."""
        fault = self.plan.fault
        if fault is None or not self.fired:
            return False
        phase = fault.point.partition("/")[0]
        last = fault.point.endswith(":EXEC#1")
        after = fault.when == "after"
        return (phase == "demote" and last and after) or (
            phase == "promote" and not (last and after)
        )


class Controller:
    """A process that waits to make one call."""

    def __init__(self, folder: Path, mark: str) -> None:
        """Start it; it is ready when its modules are imported."""
        self._answer = folder / f"answer-{uuid.uuid4().hex}.json"
        with (folder / "controller.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.controller"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                env={**os.environ, MARK: mark},
                start_new_session=True,
                text=True,
            )

    def begin(self, job: dict[str, Any]) -> None:
        """Let it make its call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.process.stdin.write(json.dumps({**job, "answer": str(self._answer)}) + "\n")
        self.process.stdin.flush()

    def end(self, call: str) -> Outcome:
        """Wait for it to end, and say how."""
        began = time.monotonic()
        try:
            status = self.process.wait(CALL_TIME)
        except subprocess.TimeoutExpired:
            self.close()
            return Outcome(call, trace=f"it did not end within {CALL_TIME:g} s", seconds=CALL_TIME)
        seconds = time.monotonic() - began
        if not self._answer.exists():
            if status == -signal.SIGKILL:
                return Outcome(call, killed=True, seconds=seconds)
            return Outcome(call, trace=f"it ended with status {status}", seconds=seconds)
        answer = json.loads(self._answer.read_text())
        if "done" in answer:
            warnings = tuple(answer["done"]["warnings"])
            changed = answer["done"]["changed"]
            return Outcome(call, done=True, changed=changed, warnings=warnings, seconds=seconds)
        if "trace" in answer:
            return Outcome(call, trace=answer["trace"], seconds=seconds)
        error = answer["error"]
        del error["actions"]
        return Outcome(call, **error, seconds=seconds)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


class Scenario:
    """Runs one plan in a folder of its own."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Prepare it."""
        self.plan = plan
        self.folder = folder
        self.journal_dir = folder / "journal"
        self.demoted = "target" if plan.call == "rollback" else "source"
        self.result = Result(plan, demoted=self.demoted)
        self.source = _instance(plan.old, folder / "source")
        self.target = _instance(plan.new, folder / "target")
        self.servers = {"source": self.source, "target": self.target}
        self.proxy = Proxy(self.source, self.target)
        self.first_config: dict[str, dict[str, str]] = {}
        self._mark = uuid.uuid4().hex

    @property
    def public(self) -> int:
        """The port at which clients arrive."""
        return self.source.port

    def run(self) -> Result:
        """Run it, and judge it."""
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            stack.callback(self._no_helpers_left)
            for server in (self.source, self.target):
                stack.callback(server.close)
                server.start()
            stack.callback(self.proxy.stop)
            self.proxy.start()
            self._run(stack)
        self.result.seconds = time.monotonic() - began
        return self.result

    def _run(self, stack: contextlib.ExitStack) -> None:
        controller = Controller(self.folder, self._mark)
        stack.callback(controller.close)
        self.first_config = {side: config_of(one) for side, one in self.servers.items()}
        with self.source.client() as client:
            fill(client, keys=KEYS)
        self._prepare()
        load = Load(port=self.public, connections=4, rate=1500, password=PASSWORD)
        stack.callback(load.abandon)
        load.start()
        time.sleep(0.15)
        load.mark()
        self._first(controller, load)
        self._revive()
        self._again()
        time.sleep(0.15)
        self._finish(load)
        judge(self)
        self.result.problems += [f"the proxy broke: {error}" for error in self.proxy.broken]

    def _prepare(self) -> None:
        """Take it to where the call begins, without a fault."""
        steps = {
            "replicate": (),
            "switchover": ("replicate", "wait_synced"),
            "rollback": ("replicate", "wait_synced", "switchover"),
        }
        for step in steps[self.plan.call]:
            outcome = self._make(step)
            if not outcome.done:
                raise RuntimeError(f"{step} without a fault: {outcome.text or outcome.trace}")

    def _first(self, controller: Controller, load: Load) -> None:
        """Make the call, with the fault in it, and see what becomes of it by itself."""
        result = self.result
        self.proxy.arm(self.plan.fault, pid=controller.process.pid, demoted=self.demoted)
        controller.begin(self._job(self.plan.call))
        outcome = controller.end(self.plan.call)
        self.proxy.disarm()
        result.outcomes.append(outcome)
        result.points, result.passed = list(self.proxy.counted), set(self.proxy.passed)
        result.fired = self.proxy.fired_at is not None
        began = time.monotonic()
        alone_for = ALONE_TIME if self._may_settle(outcome) else 0.3
        serving = self.serving()
        while serving == "nobody" and time.monotonic() < began + alone_for:
            time.sleep(0.01)
            serving = self.serving()
        result.alone = serving
        result.alone_seconds = time.monotonic() - (self.proxy.fired_at or began)
        time.sleep(self.proxy.held_for)
        self._wait_for_helpers()
        time.sleep(0.1)
        result.after_first = self.roles()
        report = load.mark()
        stopped = time.time() - report.gaps[0].began if serving == "nobody" else 0.0
        result.gap_ms = max(report.longest_gap_ms, stopped * 1000)

    def _may_settle(self, outcome: Outcome) -> bool:
        """Whether both servers could still come to serve without help."""
        if outcome.killed or self.plan.victim is None:
            return True
        return self.plan.victim != self.demoted and outcome.state == "interrupted"

    def _revive(self) -> None:
        """Start a server again that was killed."""
        victim = self.plan.victim
        if victim is None or not self.result.fired or not self.plan.revive:
            return
        try:
            self.servers[victim].start()
        except RuntimeError:
            # The other one listens at its port.
            self.result.notes.append("could not be started again")
        self.proxy.mirror()

    def _again(self) -> None:
        """Make the same call again, and then what docs/what-if.md says, while it helps."""
        call = self.plan.call
        todo = [call]
        seen: set[str] = set()
        for _ in range(MOST_STEPS):
            if not todo:
                break
            step = todo.pop(0)
            outcome = self._make(step)
            self.result.outcomes.append(outcome)
            if not outcome.done:
                todo = self._advice(outcome, seen)
            elif step == OPPOSITE.get(call) and self._can_begin_anew():
                todo = ["replicate", "wait_synced", call]
        if call == "replicate" and self.result.outcomes[-1].done:
            self.result.outcomes.append(self._make("wait_synced"))
            if self.result.outcomes[-1].reason == "sync_loops":
                self.result.outcomes.append(self._make("wait_synced"))

    def _can_begin_anew(self) -> bool:
        """Whether the source serves, and the target was started again after it had been killed."""
        return self.plan.victim == "target" and self.target.alive and self.source.role == "master"

    def _advice(self, outcome: Outcome, seen: set[str]) -> list[str]:
        """Say what docs/what-if.md says to do; nothing where that was done already."""
        call, reason = self.plan.call, outcome.reason
        known = f"{outcome.call} {reason}"
        if known in seen:
            return []
        seen.add(known)
        advice: list[str] = []
        if reason in {"half_done", "history_lost"}:
            advice = self._advice_half_way(outcome)
        elif reason == "not_replicating":
            advice = ["replicate", "wait_synced", call]
        elif reason == "target_has_data":
            advice = ["replicate force", "wait_synced", call]
        elif reason in AGAIN:
            advice = [outcome.call]
        if call == "replicate":
            advice = [step for step in advice if step not in OPPOSITE]
        return advice

    def _advice_half_way(self, outcome: Outcome) -> list[str]:
        if "run rollback" in outcome.remedy:
            return ["rollback"]
        if "run switchover" in outcome.remedy:
            return ["switchover"]
        if "send it REPLICAOF NO ONE" in outcome.remedy:
            # By hand, as it says: the one that was promoted, and restarted with its data.
            promoted = self.target if self.demoted == "source" else self.source
            promoted.call("REPLICAOF", "NO", "ONE")
            return [outcome.call]
        if "run promote" in outcome.remedy or not self.source.alive:
            return ["promote", "switchover"]
        return []

    def _make(self, step: str) -> Outcome:
        """Make a call without a fault."""
        call, _, force = step.partition(" ")
        controller = Controller(self.folder, self._mark)
        try:
            job = self._job(call)
            if force:
                job["options"] = {**job["options"], "force": True}
            controller.begin(job)
            return controller.end(step)
        finally:
            controller.close()
            self.proxy.mirror()

    def _job(self, call: str) -> dict[str, Any]:
        ends = {
            side: {"host": HOST, "port": one.port, "password": PASSWORD}
            for side, one in self.servers.items()
        }
        options = OPTIONS.get(call, {})
        return {"call": call, "journal_dir": str(self.journal_dir), "options": options, **ends}

    def _finish(self, load: Load) -> None:
        """See who serves, and look up there what was acknowledged."""
        result = self.result
        result.end = self.serving()
        if result.end == "nobody":
            load.abandon()
            return
        try:
            result.report = load.stop()
        except LoadError as error:
            result.problems.append(f"what was acknowledged can't be looked up: {error}")

    def roles(self) -> dict[str, tuple[str, int] | None]:
        """Role and port of both; None for one that is dead."""
        found: dict[str, tuple[str, int] | None] = {}
        for side, one in self.servers.items():
            found[side] = None
            if one.alive:
                with contextlib.suppress(redis.RedisError):
                    found[side] = one.role, one.current_port
        return found

    def serving(self) -> str:
        """Which side takes a write at the public port."""
        try:
            with redis.Redis(
                "127.0.0.1",
                self.public,
                password=PASSWORD,
                socket_timeout=0.2,
                decode_responses=True,
                retry=Retry(NoBackoff(), 0),
            ) as client:
                client.delete("chaos:probe")
                run_id = client.info("server")["run_id"]
        except redis.RedisError:
            return "nobody"
        for side, one in self.servers.items():
            with contextlib.suppress(redis.RedisError):
                if one.alive and one.info("server")["run_id"] == run_id:
                    return side
        return "nobody"

    def _wait_for_helpers(self, within: float = ALONE_TIME) -> None:
        """Wait until a guard has ended."""
        with contextlib.suppress(TimeoutError):
            eventually(lambda: not any(self._helpers()), "the guard ends", within=within)

    def _no_helpers_left(self) -> None:
        self._wait_for_helpers(GUARD_TIME)
        for pid in self._helpers():
            self.result.problems.append("a process of the controller's was left behind")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _helpers(self) -> Iterator[int]:
        """Find processes that a controller of this scenario has left."""
        wanted = f"{MARK}={self._mark}".encode()
        for place in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if wanted in place.read_bytes().split(b"\0"):
                    yield int(place.parent.name)


def run(plan: Plan, folder: Path) -> Result:
    """Run one scenario."""
    return Scenario(plan, folder).run()


def config_of(server: Instance) -> dict[str, str]:
    """Return every parameter."""
    found: dict[str, str] = server.call("CONFIG", "GET", "*")
    return found


def _instance(name: str, folder: Path) -> Instance:
    binary = find(name)
    if binary is None:
        raise LookupError(f"{name} is not on this machine")
    # Each write is on disk before it is acknowledged, so that a server that was killed has it.
    # Logins for replication are left to the steps.
    config: dict[str, ConfigValue] = {
        "appendonly": True,
        "appendfsync": "always",
        "masterauth": "",
        "repl-diskless-sync-delay": 1,
    }
    return Instance(binary, folder, password=PASSWORD, config=config)
