"""What Python sees: events, results, exceptions, Ctrl-C, the cost of the import."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis_baton as rb
from redis_baton import errors

from tests.python.common import Given, connected_to, fails
from tests.support.gate import PROMOTION, Gate
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.python.common import Pair

KINDS = [rb.InvalidInput, rb.ConnectionFailed, rb.Refused, rb.TimedOut, rb.Failed]
# It may take this much longer than the promise on a busy machine.
PROMISE, SLACK = 0.1, 0.15


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code that says `ready` when it is about to wait."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# In the background of a shell SIGINT is ignored, and Python leaves it so.
INTERRUPTED = """
    import signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import redis_baton as rb
    step, source, target, journal_dir, event, *wishes = sys.argv[1:]
    wishes = {name: float(value) for name, _, value in (wish.partition("=") for wish in wishes)}
    caught = []
    def on_event(event_, wanted=event):
        if event_["event"] == wanted and not caught:
            caught.append(event_)
            print("ready", flush=True)
    try:
        getattr(rb, step)(
            source=source, target=target, journal_dir=journal_dir, on_event=on_event, **wishes
        )
    except KeyboardInterrupt as error:
        print(time.clock_gettime(time.CLOCK_MONOTONIC))
        print(error)
"""


def interrupt(step: str, pair: Pair, event: str, *wishes: str) -> tuple[float, str]:
    """Send SIGINT when the event is seen; return seconds until the exception, and its message."""
    given = pair.source.url, pair.target.url, pair.journal_dir
    process = child(INTERRUPTED, step, *given, event, *wishes)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.12)
    sent = time.clock_gettime(time.CLOCK_MONOTONIC)
    process.send_signal(signal.SIGINT)
    try:
        said, complained = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, complained) == (0, "")
    seen, message = said.splitlines()
    return float(seen) - sent, message


def test_ctrl_c_while_the_sync_is_waited_for(pair: Pair) -> None:
    pair.source.call("CONFIG", "SET", "repl-diskless-sync-delay", "60")
    pair.target.call("REPLICAOF", "127.0.0.1", pair.source.port)
    eventually(lambda: pair.source.info()["connected_slaves"] == 1, "the target has come")
    took, message = interrupt("wait_synced", pair, "sync")
    assert took < PROMISE + SLACK
    assert message.endswith("(unchanged)")
    assert pair.roles == ("master", "slave")


def test_ctrl_c_while_quiet_is_waited_for(pair: Pair, writer: Callable[[Any], None]) -> None:
    pair.follow()
    writer(pair.source)
    took, message = interrupt("wait_quiescent", pair, "waiting")
    assert took < PROMISE + SLACK
    assert message.endswith("(unchanged)")


def test_ctrl_c_while_monitor_runs_leaves_nothing(pair: Pair) -> None:
    took, message = interrupt("wait_quiescent", pair, "monitor", "monitor=30")
    assert took < PROMISE + SLACK
    assert message.endswith("(unchanged)")
    eventually(
        lambda: all("O" not in one["flags"] for one in connected_to(pair.source)),
        "MONITOR has ended",
    )


def test_ctrl_c_in_an_upgrade_says_that_something_was_changed(
    pair: Pair, writer: Callable[[Any], None]
) -> None:
    pair.follow()
    rb.switchover(**pair.given, redirect="none")
    rb.rollback(**pair.given)
    writer(pair.source)
    # The writer comes back to the source by its socket, so the source never gets quiet.
    took, message = interrupt("upgrade", pair, "phase")
    assert took < PROMISE + SLACK
    assert message.endswith("(interrupted: run the same thing again)")
    assert rb.upgrade(**pair.given, until="switchover").stage == "switched"


def test_ctrl_c_while_a_server_hangs(pair: Pair) -> None:
    pair.target.freeze()
    try:
        took, message = interrupt("preflight", pair, "step")
    finally:
        pair.target.thaw()
    assert took < PROMISE + SLACK
    assert message.endswith("(unchanged)")


def test_events_are_dicts_in_order(pair: Pair) -> None:
    events: list[dict[str, Any]] = []
    done = rb.upgrade(**pair.given, until="retire", quiet_for=0.1, on_event=events.append)
    assert all(type(event) is dict for event in events)
    assert json.loads(json.dumps(events)) == events
    steps = [event["step"] for event in events if event["event"] == "step"]
    assert steps == ["upgrade", *(step.name for step in done.steps)]
    assert [event["action"] for event in events if event["event"] == "action"] == done.actions
    phases = [event["name"] for event in events if event["event"] == "phase"]
    assert phases[:4] == ["pause", "drain", "demote", "promote"]
    assert {event["event"] for event in events} <= {
        "step",
        "action",
        "sample",
        "sync",
        "waiting",
        "phase",
        "warning",
    }


class OwnError(Exception):
    """The caller's."""


@pytest.mark.parametrize("error", [OwnError("mine"), TypeError("mine"), SystemExit(3)])
def test_what_the_callback_raises_stops_the_step(pair: Pair, error: BaseException) -> None:
    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            raise error

    with pytest.raises(type(error)) as raised:
        rb.upgrade(**pair.given, on_event=on_event)
    assert raised.value is error
    assert pair.roles == ("master", "master")
    # And nothing of it stays: the next call works.
    assert rb.upgrade(**pair.given, quiet_for=0.1).stage == "switched"


def test_a_callback_that_raises_in_the_handover_does_not_stop_it_half_way(pair: Pair) -> None:
    pair.follow()

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "phase":
            raise OwnError

    with pytest.raises(OwnError):
        rb.switchover(**pair.given, on_event=on_event)
    assert pair.roles == ("slave", "master")
    assert not rb.switchover(**pair.given).changed or pair.roles == ("slave", "master")
    assert pair.source.call("CONFIG", "GET", "repl-ping-replica-period") == {
        "repl-ping-replica-period": "10"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_exceptions_pickle(kind: type[rb.BatonError]) -> None:
    error = kind("what (undone)", "reason", "source db:1", "undone", "do this", ["an action"])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 # our own
    assert type(again) is kind
    assert (str(again), vars(again)) == ("what (undone)", vars(error))
    assert isinstance(again, rb.BatonError)
    assert getattr(errors, kind.__name__) is kind


def cut_off() -> None:
    raise ConnectionResetError


def test_a_line_that_breaks_while_it_is_only_read_over_has_changed_nothing(pair: Pair) -> None:
    with Gate(pair.target.port, b"$4\r\nLIST", cut_off) as gate:
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        with fails(rb.Failed, "connection_lost", pair.source, pair.target):
            rb.clients(**given)


def test_a_line_that_breaks_with_a_change_may_have_carried_it(pair: Pair) -> None:
    pair.follow()
    with Gate(pair.target.port, PROMOTION, cut_off) as gate:
        given = Given(**{**pair.given, "target": f"redis://127.0.0.1:{gate.port}"})
        with pytest.raises(rb.Failed) as raised:
            rb.promote(**given, force=True)
    assert (raised.value.reason, raised.value.state) == ("connection_lost", "interrupted")


def test_every_reason_is_explained() -> None:
    assert len(rb.REASONS) > 30
    for code, meaning in rb.REASONS.items():
        assert code == code.lower().replace(" ", "_")
        assert meaning.endswith(".")


def test_results_are_frozen_and_plain(pair: Pair) -> None:
    pair.source.call("SET", "x", "1")
    results: list[Any] = [
        rb.preflight(**pair.given),
        rb.replicate(**pair.given),
        rb.wait_synced(**pair.given),
        rb.verify(**pair.given),
        rb.clients(**pair.given),
        rb.switchover(**pair.given),
        rb.wait_quiescent(**pair.given, quiet_for=0.1),
        rb.promote(**pair.given),
        rb.upgrade(**pair.given, quiet_for=0.1),
        rb.retire(**pair.given),
    ]
    verified, clients, switched, upgraded = (results[n] for n in (3, 4, 5, 8))
    parts = [verified.databases[0], clients.source[0], switched.phases[0], upgraded.steps[0]]
    parts.append(results[0].estimates)
    for result in results + parts:
        name = type(result).__name__
        assert getattr(rb, name) is type(result)
        plain = result.as_dict()
        assert json.loads(json.dumps(plain)) == plain
        fields = {field for field in dir(result) if not field.startswith("_")} - {"as_dict"}
        assert set(plain) == fields
        assert repr(result).startswith(f"{name}(")
        for field in fields:
            with pytest.raises(AttributeError):
                setattr(result, field, None)
        with pytest.raises(AttributeError):
            result.another = 1
        with pytest.raises(TypeError):
            hash(result)
        with pytest.raises(TypeError):
            type(result)()
        assert result == result  # noqa: PLR0124 # that is what is tested
        assert result != plain
        assert plain == result.as_dict()
    assert rb.preflight(**pair.given).estimates == rb.preflight(**pair.given).estimates
    assert results[1] != results[2]


def test_the_import_brings_nothing_heavy() -> None:
    code = """
        import sys
        before = set(sys.modules)
        import redis_baton
        print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
    """
    done, complained = child(code).communicate(timeout=20)
    assert complained == ""
    brought = set(done.split())
    assert "redis_baton" in brought
    heavy = {"typing", "logging", "asyncio", "redis", "json", "re", "dataclasses", "inspect"}
    assert not brought & (heavy | {"subprocess", "socket", "ssl", "pathlib", "importlib"})


def test_it_works_after_a_fork(pair: Pair) -> None:
    assert rb.preflight(**pair.given).ok
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if rb.preflight(**pair.given).ok else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + 10
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert ended == (pid, 0)
    assert rb.preflight(**pair.given).ok


def test_other_threads_run_meanwhile(pair: Pair, writer: Callable[[Any], None]) -> None:
    pair.follow()
    before = int(pair.source.call("INCR", "counter"))
    writer(pair.source)  # a thread of this process
    with pytest.raises(rb.TimedOut):
        rb.wait_quiescent(**pair.given, quiet_for=1, wait_timeout=1)
    assert int(pair.source.call("GET", "counter")) > before + 10


def test_a_step_within_a_callback_is_refused(pair: Pair) -> None:
    def on_event(_: Any) -> None:  # noqa: ANN401  (what a callback is given)
        rb.status(**pair.given)

    with fails(rb.InvalidInput, "invalid_input", pair.source, pair.target) as caught:
        rb.wait_ready(server=pair.source.url, on_event=on_event)
    assert "within a callback or hook" in str(caught.errors[0])


def test_a_callback_may_run_a_step_in_a_thread_of_its_own(pair: Pair) -> None:
    stages = []

    def look() -> None:
        stages.append(rb.status(**pair.given).stage)

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

    rb.preflight(**pair.given, on_event=on_event)
    assert stages
