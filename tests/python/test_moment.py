"""A switchover waits for a good moment, or says that none came and leaves all as it was."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis
import redis_baton as rb

from tests.python.common import Given, Pair, config_of, put
from tests.support.gate import PAUSE, REHEARSAL, Gate
from tests.support.load import Load
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ServerFactory

KEYS = 1000
FOR_EVER = "while true do end"


def slow_fork(server: Instance, *command: str, seconds: float) -> None:
    """Let a fork write a file for about so long."""
    server.call("CONFIG", "SET", "rdb-key-save-delay", int(seconds * 1e6 / KEYS))
    server.call(*command)


def bgsave(server: Instance, seconds: float) -> None:
    slow_fork(server, "BGSAVE", seconds=seconds)
    assert server.info("persistence")["rdb_bgsave_in_progress"] == 1


def aof_rewrite(server: Instance, seconds: float) -> None:
    server.call("CONFIG", "SET", "appendonly", "yes")
    eventually(lambda: server.info("persistence")["aof_rewrite_in_progress"] == 0, "the first one")
    slow_fork(server, "BGREWRITEAOF", seconds=seconds)
    assert server.info("persistence")["aof_rewrite_in_progress"] == 1


@pytest.fixture
def other_sync(server: ServerFactory) -> Callable[[Instance, float], None]:
    """Let another replica sync for about so long."""

    def start(source: Instance, seconds: float) -> None:
        source.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        other = server("redis-8.0")
        slow_fork(source, "PING", seconds=seconds)
        other.call("REPLICAOF", source.host, source.port)
        eventually(
            lambda: source.info("replication")["connected_slaves"] == 2, "the other one is there"
        )

    return start


def moment_ms(done: rb.Switchover) -> float:
    assert done.phases[0].name == "moment"
    return done.phases[0].microseconds / 1000


@contextmanager
def unchanged(pair: Pair) -> Iterator[None]:
    """See that writes flow at the source at the end, and all parameters are as before."""
    before = [config_of(one) for one in (pair.source, pair.target)]
    yield
    pair.source.call("SET", "still", "writable")
    assert pair.roles == ("master", "slave")
    assert [config_of(one) for one in (pair.source, pair.target)] == before


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [(bgsave, "RDB or AOF"), (aof_rewrite, "RDB or AOF"), (None, "another replica")],
    ids=["bgsave", "aof", "sync"],
)
def test_a_fork_is_waited_for_as_long_as_patience_lasts(
    pair: Pair,
    other_sync: Callable[[Instance, float], None],
    obstacle: Callable[[Instance, float], None] | None,
    said: str,
) -> None:
    pair.follow(KEYS)
    (obstacle or other_sync)(pair.source, 1.5)
    with unchanged(pair), pytest.raises(rb.TimedOut) as failure:
        rb.switchover(**pair.given, patience=0.2)
    assert (failure.value.reason, failure.value.state) == ("no_good_moment", "undone")
    assert said in str(failure.value)
    assert "0.2 seconds" in str(failure.value)
    # The operator waits until it has finished: the switchover does so by itself.
    heard: list[dict[str, Any]] = []
    periods: set[str] = set()

    def hear(event: dict[str, Any]) -> None:
        heard.append(event)
        if event["event"] == "waiting":
            # Replicas that hear nothing for repl-timeout take their master for dead.
            got = pair.source.call("CONFIG", "GET", "repl-ping-replica-period")
            periods.add(got["repl-ping-replica-period"])

    done = rb.switchover(**pair.given, on_event=hear)
    assert periods == {"10"}
    assert moment_ms(done) > 100
    assert any(said in event["found"] for event in heard if event["event"] == "waiting")
    assert (done.warm, done.attempts) == (True, 1)
    assert done.warnings == []
    # Writes did not wait for it.
    assert done.write_gap_ms < 500


def test_a_server_that_answers_slowly(pair: Pair) -> None:
    pair.follow()
    with unchanged(pair), pytest.raises(rb.TimedOut) as failure:
        rb.switchover(**pair.given, max_latency=0, patience=0.2)
    assert (failure.value.reason, failure.value.state) == ("no_good_moment", "undone")
    assert "ms to answer" in str(failure.value)
    assert "max_latency" in failure.value.remedy


def test_a_server_that_hangs_for_a_moment_is_waited_for(pair: Pair) -> None:
    pair.follow()
    looks: list[float] = []

    def hang() -> None:
        looks.append(time.monotonic())
        if len(looks) == 1:
            pair.source.freeze()
            threading.Timer(0.1, pair.source.thaw).start()

    heard: list[dict[str, Any]] = []
    with Gate(pair.source.port, b"persistence", hang) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        done = rb.switchover(**given, on_event=heard.append)
    assert (done.warm, done.attempts) == (True, 1)
    assert len(looks) > 1
    assert any("ms to answer" in event["found"] for event in heard if event["event"] == "waiting")


def test_a_replica_without_a_link(pair: Pair) -> None:
    pair.follow()
    pair.target.call("CONFIG", "SET", "masterauth", "is not known there")
    pair.source.call("CLIENT", "KILL", "TYPE", "replica")
    with unchanged(pair), pytest.raises(rb.TimedOut) as failure:
        rb.switchover(**pair.given, patience=0.2)
    assert (failure.value.reason, failure.value.state) == ("lag_too_high", "undone")
    assert "link is down" in str(failure.value)


@contextmanager
def busy(server: Instance) -> Iterator[None]:
    """Keep a server busy with a script, so that it answers everybody with BUSY."""

    def run() -> None:
        with suppress(redis.RedisError):
            server.call("EVAL", FOR_EVER, 0)

    def is_busy() -> bool:
        try:
            server.call("PING")
        except redis.BusyLoadingError:
            return False
        except redis.ResponseError as error:
            return "BUSY" in str(error)
        return False

    script = threading.Thread(target=run)
    script.start()
    try:
        eventually(is_busy, "it is busy")
        yield
    finally:
        with suppress(redis.ResponseError):
            server.call("SCRIPT", "KILL")
        script.join()


def test_a_busy_script_before_it_all(pair: Pair) -> None:
    pair.follow()
    for server in (pair.source, pair.target):
        server.call("CONFIG", "SET", "lua-time-limit", 20)
        with unchanged(pair), busy(server), pytest.raises(rb.BatonError) as failure:
            rb.switchover(**pair.given)
        assert failure.value.state == "unchanged"
        assert "SCRIPT KILL" in str(failure.value)
    assert rb.switchover(**pair.given).warm


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_busy_script_at_the_moment_is_waited_for(pair: Pair, side: str) -> None:
    pair.follow(KEYS)
    server: Instance = getattr(pair, side)
    server.call("CONFIG", "SET", "lua-time-limit", 20)
    bgsave(pair.source, 1)  # so that there is a wait in which it can begin
    ended = threading.Event()
    heard: list[str] = []

    def run() -> None:
        with busy(server):
            eventually(lambda: any("script" in found for found in heard), "it was seen")
        ended.set()

    script = threading.Thread(target=run)

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "waiting":
            heard.append(event["found"])
            if len(heard) == 1:
                script.start()

    done = rb.switchover(**pair.given, on_event=listen)
    script.join()
    assert ended.is_set()
    assert (done.warm, pair.roles) == (True, ("slave", "master"))
    assert pair.source.info("stats")["sync_full"] == 1


def test_a_target_that_hangs_under_the_pause_costs_attempts_and_no_write(pair: Pair) -> None:
    pair.follow()
    pauses: list[float] = []

    def hang() -> None:
        """Let the target hang for longer than the first attempts wait."""
        pauses.append(time.monotonic())
        if len(pauses) <= 3:
            pair.target.freeze()
            threading.Timer(0.05, pair.target.thaw).start()

    with Gate(pair.source.port, PAUSE, hang) as gate, Load(port=pair.source.port) as load:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        done = rb.switchover(**given, max_latency=1)
        time.sleep(0.2)
        report = load.stop(verify_port=pair.source.port)
    assert done.attempts == len(pauses) >= 4
    assert [phase.name for phase in done.phases][:2] == ["moment", "pause"]
    # What is reported is the longest wait, not the last one.
    assert done.write_gap_ms > 40
    assert (report.lost, report.wrong, report.errors) == (0, 0, {}), report
    assert report.disconnects_per_connection == {1: 16}, report


def test_attempts_that_are_all_in_vain_leave_all_as_it_was(pair: Pair) -> None:
    pair.follow()

    def hang() -> None:
        pair.target.freeze()
        threading.Timer(0.05, pair.target.thaw).start()

    with Gate(pair.source.port, PAUSE, hang) as gate, Load(port=pair.source.port) as load:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        with unchanged(pair), pytest.raises(rb.TimedOut) as failure:
            rb.switchover(**given, max_latency=1, attempts=3)
        report = load.stop()
    assert (failure.value.reason, failure.value.state) == ("lag_too_high", "undone")
    assert (report.lost, report.disconnects, report.errors) == (0, 0, {}), report
    put(pair.source, 10)
    assert rb.switchover(**pair.given).warm


def test_a_target_that_is_silent_is_found_out_before_writes_wait(pair: Pair) -> None:
    pair.follow()
    before = config_of(pair.source)
    with Gate(pair.target.port, REHEARSAL) as gate:
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        with pytest.raises(rb.BatonError) as raised:
            rb.switchover(**given)
        assert gate.reached.is_set()
    assert (raised.value.reason, raised.value.state) == ("connection_lost", "undone")
    assert not any("CLIENT PAUSE" in action for action in raised.value.actions)
    assert pair.roles == ("master", "slave")
    assert config_of(pair.source) == before
    assert pair.source.call("SET", "still", "writable")
    assert rb.switchover(**pair.given).warm
