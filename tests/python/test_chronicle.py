"""The chronicle: what every call on a pair leaves behind for whoever wants to know afterwards."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb

from tests.python.common import SECRET, Given, Pair, fails, put
from tests.python.test_guard import LONG_PAUSE, SOON, through, writable_within
from tests.support.controller import Controller, lives
from tests.support.gate import PROMOTION, Gate
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory

Line = dict[str, Any]


def chronicle_of(pair: Pair) -> Path:
    [file] = pair.journal_dir.glob("*.chronicle.jsonl")
    return file


def calls_of(pair: Pair) -> list[list[Line]]:
    """Return the lines of each call, in the order in which they began."""
    calls: dict[str, list[Line]] = {}
    for text in chronicle_of(pair).read_text().splitlines():
        line = json.loads(text)
        calls.setdefault(line["call"], []).append(line)
    return list(calls.values())


def events_in(call: list[Line]) -> list[Line]:
    return [line["event"] for line in call if line["line"] == "event"]


def test_a_call_is_written_down_as_its_callback_sees_it(pair: Pair) -> None:
    put(pair.source, 200)
    seen: list[Line] = []
    began = time.time()
    done = rb.upgrade(**pair.given, quiet_for=0.1, on_event=seen.append)
    [call] = calls_of(pair)
    begin, end = call[0], call[-1]
    assert begin == {
        "time": begin["time"],
        "call": begin["call"],
        "line": "begin",
        "step": "upgrade",
        "version": rb.__version__,
        "source": f"127.0.0.1:{pair.source.port}",
        "target": f"127.0.0.1:{pair.target.port}",
        "controller": socket.gethostname(),
        "pid": os.getpid(),
    }
    assert events_in(call) == seen
    steps = [event["step"] for event in seen if event["event"] == "step"]
    assert steps == ["upgrade", *(step.name for step in done.steps)]
    assert (end["line"], end["outcome"]) == ("end", "done")
    assert end["result"] == json.loads(json.dumps(done.as_dict()))
    times = [line["time"] for line in call]
    whole = [began, *times, time.time()]
    assert whole == sorted(whole)
    assert chronicle_of(pair).stat().st_mode & 0o777 == 0o600


def test_every_call_is_there_but_one_that_only_looks(pair: Pair) -> None:
    pair.follow()
    rb.preflight(**pair.given, dry_run=True)
    rb.status(**pair.given)
    with pytest.raises(rb.InvalidInput):
        rb.switchover(**pair.given, attempts=0)
    assert [call[0]["step"] for call in calls_of(pair)] == ["replicate", "wait_synced"]


def test_an_error_is_written_down_as_it_is_raised(pair: Pair) -> None:
    put(pair.source, 10)
    with fails(rb.Refused, "not_replicating") as caught:
        rb.switchover(**pair.given)
    [call] = calls_of(pair)
    end, error = call[-1], caught.error
    assert end["outcome"] == "failed"
    assert end["error"] == {
        "code": error.reason,
        "server": error.server,
        "found": "does not replicate from the source",
        "remedy": error.remedy,
        "state": error.state,
        "message": str(error),
    }


def test_a_controller_that_dies_has_no_end_and_its_guard_has_one(pair: Pair) -> None:
    pair.follow()
    public = pair.source.port
    with Gate(pair.target.port, PROMOTION) as gate:
        given = Given(**{**pair.given, "target": through(gate, pair.target)})
        with Controller("switchover", {**given, "pause_budget": LONG_PAUSE}) as controller:
            assert gate.reached.wait(20)
            [guard] = controller.guards
            controller.kill()
        assert writable_within(public) < SOON
        eventually(lambda: not lives(guard), "the guard has ended")
        [file] = pair.journal_dir.glob(f"*_{gate.port}.chronicle.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    begun = [(line["step"], line["pid"]) for line in lines if line["line"] == "begin"]
    assert begun == [("switchover", controller.process.pid), ("guard", guard)]
    [end] = [line for line in lines if line["line"] == "end"]
    assert end["call"] == lines[-1]["call"] != lines[0]["call"]
    assert end["result"] == {"outcome": "the handover was finished: the target serves"}
    promoted = [
        line for line in lines if "REPLICAOF NO ONE" in line.get("event", {}).get("action", "")
    ]
    assert {line["call"] for line in promoted} == {end["call"]}


def test_where_it_can_t_be_written_the_step_goes_on_and_says_so_once(pair: Pair) -> None:
    pair.follow()
    file = chronicle_of(pair)
    file.unlink()
    file.symlink_to("/dev/full")  # as a disk that is full
    done = rb.upgrade(**pair.given, quiet_for=0.1)
    assert done.stage == "switched"
    [warning] = [said for said in done.warnings if "chronicle" in said]
    assert re.search(r"chronicle \S+ can't be written, .*: No space left", warning)


def test_no_secret_is_in_it(server: ServerFactory, journal_dir: Path) -> None:
    pair = Pair(server("redis-7.0", password=SECRET), server("redis-8.0"), journal_dir)
    put(pair.source, 10)
    pair.source.call("ACL", "SETUSER", "app", "on", f">{SECRET}", "~*", "+@all")
    rb.upgrade(**pair.given, quiet_for=0.1, on_event=lambda _: None)
    rb.rollback(**pair.given)
    text = chronicle_of(pair).read_text()
    assert len(text) > 1000
    assert SECRET not in text


def test_samples_tell_how_both_servers_are_doing(pair: Pair) -> None:
    put(pair.source, 200)
    threads = set()
    seen: list[Line] = []

    def note(event: Line) -> None:
        threads.add(threading.get_ident())
        seen.append(event)

    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(pair.source.client()).ping()
        rb.replicate(**pair.given)
        rb.switchover(**pair.given, hooks={"before": ["sleep", "1.3"]}, on_event=note)
    [cut] = [n for n, event in enumerate(seen) if event.get("name") == "promote"]
    before = {event["side"]: event for event in seen[:cut] if event["event"] == "sample"}
    memory = before["source"]["memory_bytes"]
    assert memory > 500_000
    assert before["source"] == {
        "event": "sample",
        "server": f"127.0.0.1:{pair.source.port}",
        "side": "source",
        "role": "master",
        "ops_per_second": before["source"]["ops_per_second"],
        "clients": 3,
        "memory_bytes": memory,
        "keys": 200,
        "offset": before["source"]["offset"],
        "lag_bytes": None,
    }
    follows = before["target"]
    assert (follows["role"], follows["clients"], follows["keys"]) == ("replica", 0, 200)
    assert follows["server"] == f"127.0.0.1:{pair.target.port}"
    assert 0 <= follows["lag_bytes"] < 1000
    assert threads == {threading.get_ident()}, "callbacks come from the caller's thread"


def test_samples_follow_the_servers_to_where_they_listen(pair: Pair) -> None:
    pair.follow()
    seen: list[Line] = []
    rb.switchover(**pair.given, hooks={"after": ["sleep", "1.3"]}, on_event=seen.append)
    [cut] = [n for n, event in enumerate(seen) if event.get("name") == "promote"]
    samples = {event["side"]: event for event in seen[cut:] if event["event"] == "sample"}
    roles = {side: (event["server"], event["role"]) for side, event in samples.items()}
    source, target = pair.ports
    assert roles == {
        "source": (f"127.0.0.1:{source}", "replica"),
        "target": (f"127.0.0.1:{target}", "master"),
    }
