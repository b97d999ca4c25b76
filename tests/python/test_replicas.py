"""Other replicas of the source: they follow to the new one, and back, by partial resync alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
import redis_baton as rb

from tests.python.common import SECRET, Given, Pair, data_of, put
from tests.support.controller import Controller
from tests.support.gate import DEMOTION, UNPAUSE, Gate
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates

REDIRECTS: tuple[Literal["takeover", "none"], ...] = ("takeover", "none")


def follows(replica: Instance, master: Instance) -> bool:
    """Whether its link is up, and what it follows continues that master's history."""
    seen, other = replica.info("replication"), master.info("replication")
    return bool(
        seen["role"] == "slave"
        and seen["master_link_status"] == "up"
        and seen["master_port"] == master.current_port
        and seen["master_replid"] == other["master_replid"]
    )


def attach(replica: Instance, master: Instance) -> Instance:
    master.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    replica.call("REPLICAOF", master.host, master.port)
    eventually(lambda: follows(replica, master), f"{replica} follows", within=20)
    return replica


def assert_following(replicas: list[Instance], master: Instance, key: str) -> None:
    """See that they follow now, and get what is written there."""
    for replica in replicas:
        assert follows(replica, master), replica.info("replication")
    master.call("SET", key, "new")
    for replica in replicas:
        eventually(lambda: replica.call("GET", key) == "new", f"{replica} gets it")  # noqa: B023


def full_syncs(server: Instance) -> int:
    return int(server.info("stats")["sync_full"])


def there_and_back(
    pair: Pair, given: Given, replicas: list[Instance], redirect: Literal["takeover", "none"]
) -> rb.Switchover:
    """Hand over and back; the replicas come along both times."""
    before = full_syncs(pair.source)
    done = rb.switchover(**given, redirect=redirect)
    assert done.warm
    assert done.elapsed < 8, done.phases
    assert pair.roles == ("slave", "master")
    assert_following(replicas, pair.target, "there")
    assert full_syncs(pair.target) == 0
    assert rb.switchover(**given, redirect=redirect).changed is False

    back = rb.rollback(**given)
    assert back.warm
    assert_following(replicas, pair.source, "back")
    assert (full_syncs(pair.source), full_syncs(pair.target)) == (before, 0)
    data = data_of(pair.source)
    assert len(data) > 200
    for one in (pair.target, *replicas):
        if one.binary.name != "redis-6.0":  # it can't tell PEXPIRETIME
            assert data_of(one) == data
    return done


@pytest.mark.parametrize("redirect", REDIRECTS)
@pytest.mark.parametrize("names", [["redis-8.0"], ["redis-8.0", "redis-8.6"]], ids=["one", "two"])
def test_they_come_along_and_back(
    pair: Pair, server: ServerFactory, names: list[str], redirect: Literal["takeover", "none"]
) -> None:
    put(pair.source, 200)
    replicas = [attach(server(name), pair.source) for name in names]
    pair.follow()
    done = there_and_back(pair, pair.given, replicas, redirect)
    assert done.warnings == []


def test_one_of_the_old_version_comes_along_with_a_warning(
    pair: Pair, server: ServerFactory
) -> None:
    """It can follow as long as it needs no full resync, whose format it can't read."""
    put(pair.source, 200)
    replica = attach(server("redis-7.0"), pair.source)
    pair.follow()
    done = there_and_back(pair, pair.given, [replica], "takeover")
    assert [w for w in done.warnings if "replace it too" in w and str(replica.port) in w]


def test_with_a_password(server: ServerFactory, journal_dir: Path) -> None:
    source, target, replica = (
        server(name, password=SECRET) for name in ("valkey-8.1", "valkey-9.1", "valkey-9.1")
    )
    pair = Pair(source, target, journal_dir)
    put(source, 200)
    attach(replica, source)
    pair.follow()
    assert there_and_back(pair, pair.given, [replica], "none").warnings == []


def test_over_tls(server: ServerFactory, certificates: Certificates, journal_dir: Path) -> None:
    source, target, replica = (
        server(name, password=SECRET, tls=certificates)
        for name in ("redis-7.0", "redis-8.0", "redis-8.0")
    )
    pair = Pair(source, target, journal_dir)
    put(source, 200)
    attach(replica, source)
    given = Given(
        source=rb.Endpoint(
            "127.0.0.1", source.port, tls=True, ca_certs=str(certificates.ca), password=SECRET
        ),
        target=rb.Endpoint(
            "127.0.0.1", target.port, tls=True, ca_certs=str(certificates.ca), password=SECRET
        ),
        journal_dir=journal_dir,
    )
    rb.replicate(**given)
    rb.wait_synced(**given)
    assert there_and_back(pair, given, [replica], "takeover").warnings == []


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_one_that_lets_nobody_in_is_a_warning(
    pair: Pair, server: ServerFactory, redirect: Literal["takeover", "none"]
) -> None:
    put(pair.source, 200)
    replica = attach(server("redis-8.0", password="known-to-nobody", masterauth=""), pair.source)
    pair.follow()
    done = rb.switchover(**pair.given, redirect=redirect)
    [warning] = [warning for warning in done.warnings if str(replica.port) in warning]
    assert "before retire" in warning
    if redirect == "takeover":
        eventually(lambda: follows(replica, pair.target), "it finds the new one by itself")
        assert full_syncs(pair.target) == 0


def test_the_same_port_on_another_host(server: ServerFactory, journal_dir: Path) -> None:
    """They are pointed to the new one: where they are, the old one still listens."""
    source = server("redis-7.0")
    there = "127.0.0.2"
    target = server("redis-8.0", port=source.port, bind=there, replica_announce_ip=there)
    target.host = there
    put(source, 200)
    replica = attach(server("redis-8.0"), source)
    pair = Pair(source, target, journal_dir)
    rb.replicate(**pair.given, redirect="none")
    rb.wait_synced(**pair.given)
    done = rb.switchover(**pair.given, redirect="none")
    assert (done.warm, done.warnings) == (True, [])
    assert_following([replica], target, "there")
    assert replica.info("replication")["master_host"] == there

    back = rb.rollback(**pair.given)
    assert (back.warm, back.warnings) == (True, [])
    assert_following([replica], source, "back")
    assert replica.info("replication")["master_host"] == source.host


def test_a_rerun_after_a_crash_brings_them_along(pair: Pair, server: ServerFactory) -> None:
    """The controller, without a guard, dies when the new one serves and they know nothing of it."""
    put(pair.source, 200)
    replica = attach(server("redis-8.0"), pair.source)
    pair.follow()
    with Gate(pair.source.port, UNPAUSE, after=DEMOTION) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        with Controller("switchover", {**given, "guard": False, "redirect": "none"}) as controller:
            assert gate.reached.wait(20)
            controller.kill()
        done = rb.switchover(**given, redirect="none")
        assert (done.changed, done.warm) == (True, True)
        assert_following([replica], pair.target, "there")
    assert full_syncs(pair.target) == 0


def test_the_preflight_tells_of_them(pair: Pair, server: ServerFactory) -> None:
    attach(server("redis-8.0"), pair.source)
    eventually(
        lambda: not pair.source.info("persistence")["rdb_bgsave_in_progress"],
        "the fork of its sync is over",
    )
    [found] = rb.preflight(**pair.given).findings
    assert (found.code, found.level) == ("other_replicas", "warning")
    assert "1 other replica" in found.found
