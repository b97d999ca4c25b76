"""The whole upgrade under load: nothing lost, whatever dies, and back, and again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb

from tests.python.common import config_of, data_of
from tests.support import dataset
from tests.support.load import REPOSITORY, Load, LoadReport
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.python.common import Pair
    from tests.python.conftest import PairFactory

PAIRS = [
    ("redis-7.0", "redis-8.0"),
    ("redis-8.0", "redis-8.6"),
    ("redis-7.0", "valkey-8.1"),
    ("valkey-8.1", "valkey-9.1"),
]
KEYS = 3000
STEPS = ["preflight", "replicate", "wait_synced", "verify", "switchover", "wait_quiescent"]


def assert_nothing_lost(report: LoadReport, *, handovers: int) -> None:
    assert report.acknowledged > 1000
    assert (report.lost, report.wrong, report.errors) == (0, 0, {}), report
    # Each handover cuts every connection once.
    assert report.disconnects_per_connection == {handovers: 16}, report
    assert report.longest_gap_ms < 1000, report


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_under_load_there_and_back_and_to_the_end(pair_of: PairFactory, old: str, new: str) -> None:
    pair = pair_of(old, new)
    public, private = pair.ports
    with pair.source.client() as client:
        dataset.fill(client, keys=KEYS)
    data = data_of(pair.source)
    wishes: dict[str, Any] = {**pair.given, "quiet_for": 0.2}

    with Load(port=public, rate=5000, prefix="load:there") as load:
        done = rb.upgrade(**wishes)
        time.sleep(0.3)
        report = load.stop(verify_port=public)
    assert_nothing_lost(report, handovers=1)
    assert (done.stage, done.serving, done.changed) == ("switched", f"127.0.0.1:{public}", True)
    assert [step.name for step in done.steps] == STEPS
    assert [step.name for step in done.steps if step.changed] == [
        "replicate",
        "wait_synced",
        "switchover",
    ]
    assert done.actions == [action for step in done.steps for action in step.result["actions"]]
    assert (pair.roles, pair.target.current_port) == (("slave", "master"), public)
    assert data_of(pair.target, without=b"load:") == data

    again = rb.upgrade(**wishes)
    assert (again.changed, again.actions, again.stage) == (False, [], "switched")
    assert (again.serving, again.parked) == (done.serving, done.parked)

    with Load(port=public, rate=5000, prefix="load:back") as load:
        back = rb.rollback(**pair.given)
        time.sleep(0.3)
        report = load.stop(verify_port=public)
    assert_nothing_lost(report, handovers=1)
    assert back.warm
    assert (pair.roles, pair.ports) == (("master", "slave"), (public, private))
    assert pair.source.info("stats")["sync_full"] == 1
    assert data_of(pair.source, without=b"load:") == data

    with Load(port=public, rate=5000, prefix="load:end") as load:
        ended = rb.upgrade(**wishes, until="retire")
        time.sleep(0.3)
        report = load.stop(verify_port=public)
    assert_nothing_lost(report, handovers=1)
    assert (ended.stage, ended.parked) == ("retired", None)
    eventually(lambda: not pair.source.alive, "the old one has ended")
    assert (pair.target.role, pair.target.current_port) == ("master", public)
    assert data_of(pair.target, without=b"load:") == data

    for until in ("wait_quiescent", "retire"):
        again = rb.upgrade(**wishes, until=until)
        assert (again.changed, again.actions, again.stage) == (False, [], "retired")
        assert rb.upgrade(**wishes, until="retire", dry_run=True).changed is False


def test_a_dry_run_says_all_and_does_nothing(pair: Pair) -> None:
    with Load(port=pair.source.port, rate=1000) as load:
        before = [config_of(one) for one in (pair.source, pair.target)]
        dry = rb.upgrade(**pair.given, until="retire", dry_run=True)
        assert [config_of(one) for one in (pair.source, pair.target)] == before
        assert pair.roles == ("master", "master")
        assert (dry.changed, dry.stage, dry.serving) == (True, "apart", pair.source.address)
        assert [step.name for step in dry.steps] == [*STEPS, "retire"]
        planned = "\n".join(dry.actions)
        for part in ("REPLICAOF", "CLIENT PAUSE", "MULTI", "CONFIG SET port", "SHUTDOWN"):
            assert part in planned
        report = load.stop()
    assert report.disconnects == 0
    assert not list(pair.journal_dir.iterdir())


@pytest.mark.parametrize("until", STEPS)
def test_it_stops_where_it_is_told_and_goes_on(pair: Pair, until: Any) -> None:  # noqa: ANN401
    first = rb.upgrade(**pair.given, until=until, quiet_for=0.1)
    assert first.steps[-1].name == until
    switched = until in ("switchover", "wait_quiescent")
    assert first.stage == {"preflight": "apart"}.get(until, "switched" if switched else "following")
    assert rb.upgrade(**pair.given, until=until, quiet_for=0.1).changed is False or (
        until == "replicate"
    )
    assert rb.upgrade(**pair.given, quiet_for=0.1).stage == "switched"


CONTROLLER = """
import sys
import redis_baton
print("ready", flush=True)
source, target, journal_dir = sys.argv[1:]
redis_baton.upgrade(source=source, target=target, journal_dir=journal_dir, quiet_for=0.2)
"""


@pytest.fixture(params=range(4), ids=lambda n: f"seed{n}")
def moments(request: pytest.FixtureRequest) -> random.Random:
    """Return a source of moments: another one each run, printed so that one can be had again."""
    seed = time.time_ns() + request.param
    print(f"seed {seed}")
    return random.Random(seed)


def test_a_rerun_goes_on_wherever_the_controller_died(pair: Pair, moments: random.Random) -> None:
    public = pair.source.port
    with pair.source.client() as client:
        dataset.fill(client, keys=KEYS)
    with Load(port=public, rate=5000) as load:
        for _ in range(4):
            command = [sys.executable, "-c", CONTROLLER, pair.source.url, pair.target.url]
            controller = subprocess.Popen(
                [*command, str(pair.journal_dir)], cwd=REPOSITORY, stdout=subprocess.PIPE
            )
            assert controller.stdout
            assert controller.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.15))
            controller.send_signal(signal.SIGKILL)
            controller.wait()
            controller.stdout.close()
        done = rb.upgrade(**pair.given, quiet_for=0.2)
        time.sleep(0.3)
        report = load.stop(verify_port=public)
    assert (done.stage, done.serving) == ("switched", f"127.0.0.1:{public}")
    assert pair.roles == ("slave", "master")
    assert (report.lost, report.wrong, report.errors) == (0, 0, {}), report
    assert report.disconnects_max <= 2, report
    assert rb.upgrade(**pair.given, quiet_for=0.2).changed is False
    assert config_of(pair.source)["repl-ping-replica-period"] == "10"


def test_every_key_is_compared_if_that_is_wished(pair_of: PairFactory) -> None:
    pair = pair_of("redis-7.0", "redis-8.0")
    pair.follow(500)
    pair.target.call("CONFIG", "SET", "replica-read-only", "no")
    pair.target.call("SET", "key:7", "otherwise")
    pair.target.call("CONFIG", "SET", "replica-read-only", "yes")
    with pytest.raises(rb.Refused) as caught:
        rb.upgrade(**pair.given, level="full", by="reads")
    assert caught.value.reason == "values_differ"
    assert pair.source.info("replication")["role"] == "master"
    pair.source.call("SET", "key:7", "otherwise")
    done = rb.upgrade(**pair.given, level="full", by="reads", quiet_for=0.1)
    compared = {step.name: step.result for step in done.steps}["verify"]
    assert (compared["level"], compared["compared"], compared["equal"]) == ("full", 500, True)
    assert done.stage == "switched"
    # Once is enough.
    again = rb.upgrade(**pair.given, level="full", by="reads", quiet_for=0.1)
    assert {step.name: step.result for step in again.steps}["verify"]["level"] == "sample"
