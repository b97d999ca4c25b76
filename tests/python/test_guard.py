"""A controller that is killed in a handover: its guard does the rest, with nobody near."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis_baton as rb

from tests.python.common import SECRET, Given, Pair, config_of, put, records_of
from tests.support.controller import Controller, guards_of, lives
from tests.support.gate import DEMOTION, PROMOTION, UNPAUSE, Gate
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from tests.conftest import ServerFactory

# Far longer than any of this takes: so it is not the pause running out that lets writes flow.
LONG_PAUSE = 20.0
# The guard looks again every 100 ms; the rest is this machine's load.
SOON = 3.0


def through(gate: Gate, server: Instance) -> str:
    """Return the address of the server on the other side of the gate."""
    login = f":{server.password}@" if server.password else ""
    return f"redis://{login}127.0.0.1:{gate.port}"


def writable_within(port: int, password: str | None = None) -> float:
    """Return how many seconds it takes until a write is taken at that port."""
    began = time.monotonic()

    def taken() -> bool:
        try:
            with redis.Redis(port=port, password=password, socket_timeout=1) as client:
                return bool(client.set("written", "1"))
        except redis.RedisError:
            return False

    eventually(taken, "a write is taken")
    return time.monotonic() - began


def guarded(pair: Pair) -> list[str]:
    return [record["outcome"] for record in records_of(pair) if record["record"] == "guarded"]


def killed_at(step: str, gate: Gate, given: Given, **wishes: object) -> int:
    """Kill a controller when it has come to the gate; return its guard's process."""
    with Controller(step, {**given, "pause_budget": LONG_PAUSE, **wishes}) as controller:
        assert gate.reached.wait(20)
        [guard] = controller.guards
        controller.kill()
    return guard


def test_killed_between_demotion_and_promotion(pair: Pair) -> None:
    pair.follow()
    public = pair.source.port
    before = config_of(pair.source)
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate, pair.target)})
        guard = killed_at("switchover", gate, given)
        seconds = writable_within(public)
        eventually(lambda: not lives(guard), "the guard has ended")
        print(f"writes flow again after {seconds:.3f} s")
        assert seconds < SOON
        assert pair.roles == ("slave", "master")
        assert guarded(pair) == ["the handover was finished: the target serves"]
        changed = {name for name, value in config_of(pair.source).items() if before[name] != value}
        assert changed <= {"port", "replicaof", "slaveof", "masteruser", "masterauth"}
        assert pair.target.info("stats")["sync_full"] == 0
        assert pair.target.client().dbsize() == 201
        again = rb.switchover(**given)
        assert (again.changed, rb.status(**given).warm) == (False, True)
    back = rb.rollback(**given)
    # The pause of the one that was killed has not stayed on the source.
    assert back.elapsed < 5
    assert (back.changed, config_of(pair.source)) == (True, before)


def test_killed_under_the_pause(pair: Pair) -> None:
    pair.follow()
    before = config_of(pair.source), config_of(pair.target)
    with Gate(pair.source.port, DEMOTION) as gate:
        given = Given(**{**pair.given, "source": through(gate, pair.source)})
        guard = killed_at("switchover", gate, given)
        # Not the pause has run out: it was ended.
        assert writable_within(pair.source.port) < SOON
        eventually(lambda: not lives(guard), "the guard has ended")
    assert pair.roles == ("master", "slave")
    assert (config_of(pair.source), config_of(pair.target)) == before
    assert guarded(pair) == ["the handover was called off: the source serves as before"]
    assert records_of(pair)[-1]["record"] == "guarded"
    assert rb.switchover(**pair.given).warm


def test_killed_after_the_promotion(pair: Pair) -> None:
    pair.follow()
    # An attempt that is called off ends with one, too.
    with Gate(pair.source.port, UNPAUSE, after=DEMOTION) as gate:
        given = Given(**{**pair.given, "source": through(gate, pair.source)})
        guard = killed_at("switchover", gate, given)
        assert writable_within(pair.source.port) < SOON
        eventually(lambda: not lives(guard), "the guard has ended")
        assert pair.roles == ("slave", "master")
        assert guarded(pair) == ["the handover was finished: the target serves"]
        assert pair.source.call("CONFIG", "GET", "repl-ping-replica-period") == {
            "repl-ping-replica-period": "10"
        }
        eventually(lambda: rb.status(**given).warm is True, "it is warm")
        assert records_of(pair)[-2]["record"] == "settled"
        assert rb.rollback(**given).elapsed < 5


def test_a_rollback_has_a_guard_too(pair: Pair) -> None:
    with Gate(pair.source.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "source": through(gate, pair.source)})
        pair.follow()
        rb.switchover(**given, redirect="none")
        pair.target.call("SET", "on", "the new one")
        # The switchover has sent the source no promotion: what comes now is the rollback's.
        guard = killed_at("rollback", gate, given)
        assert writable_within(pair.source.port) < SOON
        eventually(lambda: not lives(guard), "the guard has ended")
        assert guarded(pair) == ["the handover was finished: the source serves"]
    assert pair.roles == ("master", "slave")
    assert pair.source.call("GET", "on") == "the new one"


def test_a_rerun_at_the_same_time_and_the_guard_keep_out_of_each_others_way(pair: Pair) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate, pair.target)})
        guard = killed_at("switchover", gate, given)
        done = rb.switchover(**given)
        assert done.serving == f"127.0.0.1:{pair.source.port}"
        eventually(lambda: not lives(guard), "the guard has ended")
        assert (pair.roles, rb.status(**given).warm) == (("slave", "master"), True)
    assert pair.target.info("stats")["sync_full"] == 0
    assert pair.target.client().dbsize() == 200


def test_ctrl_c_in_the_terminal_does_not_reach_it(pair: Pair) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate, pair.target)})
        with Controller("switchover", given) as controller:
            assert gate.reached.wait(20)
            [guard] = controller.guards
            controller.interrupt()
            assert os.getpgid(guard) != os.getpgid(controller.process.pid)
            controller.kill()
        assert writable_within(pair.source.port) < SOON
        assert len(guarded(pair)) == 1 or lives(guard)
        eventually(lambda: not lives(guard), "the guard has ended")
    assert pair.roles == ("slave", "master")


def test_no_secret_is_in_its_command_line_or_environment(
    server: ServerFactory, journal_dir: Path
) -> None:
    source, target = (server(name, password=SECRET) for name in ("redis-7.0", "redis-8.0"))
    pair = Pair(source, target, journal_dir)
    pair.follow()
    with Gate(target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate, target)})
        with Controller("switchover", given) as controller:
            assert gate.reached.wait(20)
            [guard] = controller.guards
            for name in ("cmdline", "environ"):
                shown = Path(f"/proc/{guard}/{name}").read_bytes()
                assert shown
                assert SECRET.encode() not in shown
            controller.kill()
        assert writable_within(source.port, SECRET) < SOON
        eventually(lambda: not lives(guard), "the guard has ended")
    assert pair.roles == ("slave", "master")
    assert all(SECRET not in file.read_text() for file in journal_dir.iterdir())


def seen_guards(step: str, pair: Pair, **wishes: Any) -> set[int]:  # noqa: ANN401
    """Run a step here; return the guards that stood beside it, all of which have ended."""
    seen: set[int] = set()
    getattr(rb, step)(
        **pair.given, **wishes, on_event=lambda _: seen.update(guards_of(os.getpid()))
    )
    eventually(lambda: not any(map(lives, seen)), "the guard ends with the handover")
    return seen


def test_it_ends_with_the_handover_and_there_is_one_for_each(pair: Pair) -> None:
    pair.follow()
    assert len(seen_guards("switchover", pair)) == 1
    assert len(seen_guards("switchover", pair)) == 0  # nothing to do, nothing to guard
    assert len(seen_guards("rollback", pair)) == 1
    assert len(seen_guards("switchover", pair, guard=False)) == 0
    assert guarded(pair) == []


def test_it_ends_with_a_handover_that_fails_too(pair: Pair) -> None:
    pair.follow()
    with pytest.raises(rb.TimedOut):
        seen_guards("switchover", pair, max_latency=0, patience=0.1)
    eventually(lambda: not guards_of(os.getpid()), "the guard ends with the handover")
    assert guarded(pair) == []


@pytest.mark.parametrize("interpreter", ["/nowhere/python", "/bin/false"])
def test_one_that_can_not_come_is_a_warning(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, interpreter: str
) -> None:
    pair.follow()
    put(pair.source, 10)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", interpreter)
        done = rb.switchover(**pair.given)
    assert done.warm
    assert len([warning for warning in done.warnings if "guard" in warning]) == 1, done.warnings
