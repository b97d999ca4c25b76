"""Each step: for real, again, as a dry run, and out of order."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis
import redis_baton as rb
from redis_baton import Refused

from tests.python.common import Pair, config_of, data_of, fails, put, state_of
from tests.support.servers import eventually

if TYPE_CHECKING:
    from tests.conftest import ServerFactory

ORDER: list[Callable[..., Any]] = [
    rb.preflight,
    rb.replicate,
    rb.wait_synced,
    rb.verify,
    rb.switchover,
    rb.wait_quiescent,
    rb.retire,
]
# What a switchover is meant to leave different for good, or for as long as there is a way back.
MOVED = {"port", "replicaof", "slaveof"}
# With these a warm source can't link again by itself: it might make a full resync.
FUSE = {"masteruser", "masterauth"}


def differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def quickly(step: Callable[..., Any]) -> dict[str, Any]:
    return {"quiet_for": 0.1} if step is rb.wait_quiescent else {}


def test_every_step_in_order_each_dry_then_real_then_again(pair: Pair) -> None:
    put(pair.source, 300)
    data = data_of(pair.source)
    public = pair.source.port
    changing = {"replicate", "wait_synced", "switchover", "retire"}
    for step in ORDER:
        name, wishes = step.__name__, quickly(step)
        before = state_of(pair.source), state_of(pair.target)
        dry = step(**pair.given, **wishes, dry_run=True)
        assert (state_of(pair.source), state_of(pair.target)) == before, name
        done = step(**pair.given, **wishes)
        assert (name, dry.changed) == (name, done.changed) == (name, name in changing)
        assert bool(dry.actions) == dry.changed
        assert bool(done.actions) == done.changed
        again = step(**pair.given, **wishes)
        assert (again.changed, again.actions) == (False, []), name
        for result in (dry, done, again):
            assert result.warnings == [], name
            assert 0 < result.elapsed < 20
            assert result.before["target"]["role"] in ("master", "replica")
        if step is not rb.replicate:  # the initial sync goes on meanwhile
            assert again.before == again.after, name
    assert not pair.source.alive
    assert pair.target.current_port == public
    assert data_of(pair.target) == data


def test_what_preflight_says(pair: Pair) -> None:
    put(pair.source, 300)
    found = rb.preflight(**pair.given)
    assert (found.ok, found.stage, found.findings) == (True, "apart", [])
    assert found.strategy == "reversible"
    assert [line.split(":")[0] for line in found.plan[:3]] == ["replicate", "wait_synced", "verify"]
    assert pair.source.address in "".join(found.plan)
    assert found.estimates.memory_bytes > 500_000
    assert found.before == {
        "source": {
            "address": pair.source.address,
            "version": found.before["source"]["version"],
            "role": "master",
            "follows": None,
            "keys": 300,
        },
        "target": found.before["target"],
    }
    assert found.before["source"]["version"].startswith("Redis 7.0.")
    assert found.before["target"]["version"].startswith("Redis 8.0.")
    pair.follow()
    assert rb.preflight(**pair.given).stage == "following"
    rb.switchover(**pair.given)
    assert rb.preflight(**pair.given).stage == "switched"
    rb.retire(**pair.given)
    assert rb.preflight(**pair.given).stage == "retired"


def test_replicate_and_the_sync_leave_no_trace_on_the_source(pair: Pair) -> None:
    put(pair.source, 50)
    before = config_of(pair.source)
    assert before["repl-diskless-sync-delay"] == "5"
    done = rb.replicate(**pair.given)
    assert done.replicating
    assert config_of(pair.source)["repl-diskless-sync-delay"] == "5"
    assert pair.target.info()["master_port"] == pair.source.port
    synced = rb.wait_synced(**pair.given)
    assert (synced.synced, synced.attempts > 0) == (True, True)
    assert config_of(pair.source) == before
    assert differing(config_of(pair.target), before) >= {"replicaof"}
    assert data_of(pair.target) == data_of(pair.source)


def test_the_sync_does_not_wait_for_other_replicas(pair: Pair) -> None:
    put(pair.source, 1000)
    began = time.monotonic()
    pair.follow(0)
    assert time.monotonic() - began < 2  # repl-diskless-sync-delay alone is 5


def test_switchover(pair: Pair) -> None:
    pair.follow()
    public, private = pair.ports
    at_source, at_target = config_of(pair.source), config_of(pair.target)
    done = rb.switchover(**pair.given)
    assert pair.roles == ("slave", "master")
    assert pair.ports == (int(str(done.parked).rpartition(":")[2]), public)
    assert done.serving == f"127.0.0.1:{public}"
    assert done.parked == f"127.0.0.1:{private + 1}"
    assert (done.warm, done.attempts) == (True, 1)
    assert [phase.name for phase in done.phases] == [
        "moment",
        "pause",
        "drain",
        "demote",
        "promote",
        "confirm",
    ]
    # In the first one nobody waits.
    assert sum(phase.microseconds for phase in done.phases[1:]) / 1000 == pytest.approx(
        done.protocol_ms + done.drain_ms
    )
    assert 0 < done.write_gap_ms <= done.protocol_ms + done.drain_ms < 1000
    assert differing(at_source, config_of(pair.source)) <= MOVED | FUSE
    # The backlog keeps the way back open until retire.
    assert differing(at_target, config_of(pair.target)) - MOVED == {"repl-backlog-size"}
    assert pair.source.info()["master_link_status"] == "up"
    stats = pair.target.info("stats")
    assert (stats["sync_full"], stats["sync_partial_ok"]) == (0, 1)
    with pytest.raises(redis.ReadOnlyError):
        pair.source.call("SET", "x", "1")
    pair.target.call("SET", "x", "1")
    # A restart comes back as what it is now.
    assert pair.target.config_file
    assert f"port {public}" in pair.target.config_file.read_text()
    assert "replicaof" not in pair.target.config_file.read_text()


def test_switchover_to_a_wished_port(pair: Pair) -> None:
    pair.follow()
    aside = pair.target.port + 7
    assert rb.switchover(**pair.given, aside_port=aside).parked == f"127.0.0.1:{aside}"
    assert pair.source.current_port == aside


def test_a_taken_aside_port_is_passed_over_or_refused(pair: Pair, server: ServerFactory) -> None:
    server("redis-7.0", port=pair.target.port + 1)
    pair.follow()
    with fails(Refused, "aside_port_taken", pair.source, pair.target):
        rb.switchover(**pair.given, aside_port=pair.target.port + 1)
    assert rb.switchover(**pair.given).parked == f"127.0.0.1:{pair.target.port + 2}"


def test_switchover_without_takeover(pair: Pair) -> None:
    pair.follow()
    ports = pair.ports
    before = config_of(pair.source)
    done = rb.switchover(**pair.given, redirect="none")
    assert (pair.roles, pair.ports) == (("slave", "master"), ports)
    assert (done.serving, done.parked) == (pair.target.address, pair.source.address)
    assert done.warm
    assert differing(before, config_of(pair.source)) <= MOVED | FUSE
    assert not rb.switchover(**pair.given, redirect="none").changed
    assert not rb.upgrade(**pair.given, redirect="none", quiet_for=0.1).changed
    back = rb.rollback(**pair.given)
    assert (pair.roles, pair.ports) == (("master", "slave"), ports)
    assert (back.serving, back.warm) == (pair.source.address, True)


def test_rollback_and_again_and_forward_again(pair: Pair) -> None:
    pair.follow()
    ports = pair.ports
    at_source, at_target = config_of(pair.source), config_of(pair.target)
    for round_ in range(2):
        rb.switchover(**pair.given)
        pair.target.call("SET", f"written:{round_}", "on the new one")
        dry = rb.rollback(**pair.given, dry_run=True)
        assert dry.changed
        assert pair.roles == ("slave", "master")
        back = rb.rollback(**pair.given)
        assert (back.changed, back.warm) == (True, True)
        assert back.serving == pair.source.address
        assert back.parked == pair.target.address
        assert (pair.roles, pair.ports) == (("master", "slave"), ports)
        assert pair.source.call("GET", f"written:{round_}") == "on the new one"
        again = rb.rollback(**pair.given)
        assert (again.changed, again.actions) == (False, [])
        # Nothing of the upgrade stays on either.
        assert differing(at_source, config_of(pair.source)) == set()
        assert differing(at_target, config_of(pair.target)) == set()
    stats = pair.source.info("stats")
    assert stats["sync_full"] == 1  # the very first one
    assert rb.verify(**pair.given).equal


def test_retire_restores_what_was_raised(pair: Pair, server: ServerFactory) -> None:
    source = server("redis-7.0", password="secret")
    pair = Pair(source, pair.target, pair.journal_dir)
    before = config_of(pair.target)
    pair.follow()
    pair.target.password = "secret"  # the source's, carried over with its default user
    rb.switchover(**pair.given)
    raised = differing(before, config_of(pair.target))
    assert {"repl-backlog-size", "masterauth"} <= raised
    done = rb.retire(**pair.given)
    assert (done.retired, done.saved) == (True, True)
    eventually(lambda: not source.alive, "the source has ended")
    after = config_of(pair.target)
    assert differing(before, after) <= {"port", "requirepass"}
    assert pair.target.config_file
    assert "268435456" not in pair.target.config_file.read_text()


def test_a_durable_target_spares_the_source_its_last_save(
    server: ServerFactory,
    journal_dir: Any,  # noqa: ANN401
) -> None:
    pair = Pair(server("redis-7.0"), server("redis-8.0", appendonly=True), journal_dir)
    pair.switch()
    assert not rb.retire(**pair.given).saved


def test_steps_out_of_order(pair: Pair) -> None:
    for step, reason in [
        (rb.wait_synced, "not_replicating"),
        (rb.verify, "not_replicating"),
        (rb.switchover, "not_replicating"),
        (rb.promote, "not_replicating"),
        (rb.retire, "only_copy"),
    ]:
        early: Callable[..., Any] = step  # type: ignore[assignment] # mypy joins them to a type
        with fails(Refused, reason, pair.source, pair.target):
            early(**pair.given)
    # Nothing to go back from.
    assert not rb.rollback(**pair.given).changed
    pair.follow()
    with fails(Refused, "only_copy", pair.source, pair.target):
        rb.retire(**pair.given)
    rb.switchover(**pair.given)
    for step in (*ORDER[1:5], rb.promote):
        again: Any = step(**pair.given)
        assert not again.changed
    rb.retire(**pair.given)
    with fails(Refused, "not_warm", pair.target):
        rb.rollback(**pair.given)
    for step in ORDER:
        result: Any = step(**pair.given, **quickly(step))
        assert not result.changed
