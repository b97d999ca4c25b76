"""Clients that ask Sentinel: the sentinels are told, and nobody notices more than one cut."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb
from redis_baton import ConnectionFailed, Endpoint, InvalidInput, Refused

from tests.python.common import (
    SECRET,
    Pair,
    assert_probe_saw_no_harm,
    differing,
    fails,
    put,
    records_of,
    state_of,
)
from tests.support.controller import Controller, lives
from tests.support.gate import PROMOTION, Gate
from tests.support.sentinel import NAME, Asking, Sentinels
from tests.support.servers import NAMES, Instance, eventually, find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.conftest import PairFactory
    from tests.support.certificates import Certificates


class StopError(Exception):
    """What a callback raises to interrupt a step."""


@dataclass(frozen=True)
class Watched:
    """A pair whose source is watched."""

    pair: Pair
    sentinels: Sentinels

    @property
    def given(self) -> dict[str, Any]:
        """What a step is given; one sentinel is enough."""
        one = self.sentinels.all[0]
        login = {"password": one.password} if one.password else {}
        return {
            **self.pair.given,
            "redirect": {"sentinel": {"sentinels": [one.address], "name": NAME, **login}},
        }

    def follow(self) -> None:
        """Take it to where the target is in sync."""
        put(self.pair.source, 200)
        rb.replicate(**self.given)
        rb.wait_synced(**self.pair.given)

    def priorities(self) -> list[str]:
        """Whom Sentinel would choose."""
        servers = (self.pair.source, self.pair.target)
        return [
            one.call("CONFIG", "GET", "replica-priority")["replica-priority"] for one in servers
        ]

    def assert_serves(self, one: Instance, other: Instance | None) -> None:
        """See that all agree on it, and that each is at its own port."""
        assert self.sentinels.agree(one.address)
        assert (one.role, one.current_port) == ("master", one.port)
        if other is not None:
            assert (other.role, other.current_port) == ("slave", other.port)
            seen = {other.address: {"slave"}}
            eventually(
                lambda: all(sentinel.replica_flags == seen for sentinel in self.sentinels.all),
                "each sees the other one as its replica, and nothing else",
                within=15,
            )


@contextmanager
def watched(
    pair: Pair,
    folder: Path,
    *versions: str,
    password: str | None = None,
    tls: Certificates | None = None,
) -> Iterator[Watched]:
    """Have sentinels of these versions watch the source."""
    binaries = [find(version) for version in versions]
    if None in binaries:
        pytest.skip("a version is not on this machine")
    present = [binary for binary in binaries if binary is not None]
    with Sentinels(present, folder, pair.source, password=password, tls=tls) as sentinels:
        yield Watched(pair, sentinels)


@pytest.fixture
def redis_pair(pair: Pair, tmp_path: Path) -> Iterator[Watched]:
    """Have three sentinels of Redis 7.0 watch the source."""
    with watched(pair, tmp_path, *["redis-7.0"] * 3) as found:
        yield found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("redis-7.0", "redis-8.0"),
        pytest.param("valkey-8.1", "valkey-9.1", marks=pytest.mark.long),
    ],
)
def test_there_and_back_under_load(
    pair_of: PairFactory, tmp_path: Path, old: str, new: str
) -> None:
    with watched(pair_of(old, new), tmp_path, old, old, new) as found:
        pair, given = found.pair, found.given
        with Asking(found.sentinels) as clients:
            assert rb.preflight(**given).ok
            found.follow()
            assert found.priorities() == ["100", "0"]
            before = [one.call("CONFIG", "GET", "*") for one in (pair.source, pair.target)]
            planned = rb.switchover(**given, dry_run=True)
            assert planned.changed
            assert sum("__sentinel__:hello" in action for action in planned.actions) == 3
            assert [one.call("CONFIG", "GET", "*") for one in (pair.source, pair.target)] == before
            assert found.sentinels.agree(pair.source.address)

            done = rb.switchover(**given, probe=True)
            assert (done.changed, done.warm, done.warnings) == (True, True, [])
            assert_probe_saw_no_harm(done.probe, "refused")
            assert (done.serving, done.parked) == (pair.target.address, pair.source.address)
            clients.wait_for(100)
            found.assert_serves(pair.target, pair.source)
            assert found.priorities() == ["100", "100"]
            again = rb.switchover(**given)
            assert (again.changed, again.actions) == (False, [])

            back = rb.rollback(**given)
            assert (back.changed, back.warm, back.warnings) == (True, True, [])
            clients.wait_for(100)
            found.assert_serves(pair.source, pair.target)
            assert rb.rollback(**given).changed is False
            assert found.priorities() == ["100", "100"]

            rb.switchover(**given)
            clients.wait_for(100)
            print(f"longest gap {clients.longest_gap_ms:.1f} ms, cut {clients.cut}")
            assert clients.stop(pair.target) == 0
        assert clients.errors == []
        # Once in each of the three handovers.
        assert clients.cut == [3] * 4
        # It was told, and had no failover of its own, which takes its time.
        assert not found.sentinels.began_failover
        found.assert_serves(pair.target, pair.source)

        planned_end = rb.retire(**given, dry_run=True)
        assert sum("SENTINEL RESET" in action for action in planned_end.actions) == 3
        gone = rb.retire(**given)
        assert sum("SENTINEL RESET" in action for action in gone.actions) == 3
        assert gone.warnings == []
        assert found.sentinels.know_each_other()
        assert [one.replicas for one in found.sentinels.all] == [set()] * 3
        assert rb.retire(**given).changed is False


def test_a_source_given_by_a_sentinel_and_a_name(redis_pair: Watched) -> None:
    """The name stands for the same server in all steps, whoever is the master."""
    pair, one = redis_pair.pair, redis_pair.sentinels.all[0]
    put(pair.source, 50)
    named = f"redis+sentinel://{one.address}/{NAME}"
    given = {**redis_pair.given, "source": named}
    steps = {k: v for k, v in given.items() if k != "redirect"}
    with fails(Refused, "redirect_failed") as caught:
        rb.preflight(**{**given, "source": f"redis+sentinel://{one.address}/nobody"})
    assert f"sentinel {one.address}" in caught.message
    with fails(InvalidInput, "invalid_input"):
        rb.status(source=named, target=named, journal_dir=pair.journal_dir)
    rb.replicate(**given)
    rb.wait_synced(**steps)
    done = rb.switchover(**given)
    assert (done.serving, done.parked) == (pair.target.address, pair.source.address)
    assert one.master == pair.target.address
    assert rb.switchover(**given).changed is False
    assert rb.status(**steps).stage == "switched"
    assert rb.rollback(**given).serving == pair.source.address
    assert one.master == pair.source.address
    rb.switchover(**given)
    assert rb.retire(**given).retired
    assert not pair.source.alive


def test_a_sentinel_that_is_down_learns_it_from_the_others(redis_pair: Watched) -> None:
    pair, given = redis_pair.pair, redis_pair.given
    redis_pair.follow()
    *up, down = redis_pair.sentinels.all
    for one in up:
        one.ask("SET", NAME, "down-after-milliseconds", "3000")
    down.kill()
    with fails(Refused, "redirect_failed") as caught:
        rb.switchover(**given)
    assert f"sentinel {down.address}" in caught.message
    eventually(lambda: all("s_down" in str(one.ask("SENTINELS", NAME)) for one in up), "it is down")
    done = rb.switchover(**given)
    assert (done.changed, done.warm) == (True, True)
    assert [one.master for one in up] == [pair.target.address] * 2
    down.start()
    eventually(lambda: down.master == pair.target.address, "it has learned it", within=15)


def test_what_stands_against_it(redis_pair: Watched) -> None:
    pair, given = redis_pair.pair, redis_pair.given
    redis_pair.follow()
    servers = (pair.source, pair.target)

    def refused(words: str, **wishes: object) -> None:
        with fails(Refused, "redirect_failed", *servers) as caught:
            rb.switchover(**{**given, **wishes})
        assert words in caught.message, caught.message
        assert not rb.preflight(**{**given, **wishes}).ok

    with fails(Refused, "sentinel_mode", *servers):
        rb.switchover(**pair.given, redirect="none")
    localhost = pair.source.url.replace(pair.source.host, "localhost")
    with fails(Refused, "redirect_failed", *servers) as caught:
        rb.switchover(**{**given, "source": localhost})
    assert f"not at localhost:{pair.source.port}" in caught.message

    for one in redis_pair.sentinels.all:
        one.ask("SET", NAME, "down-after-milliseconds", "1500")
    refused("for down after 1500 ms")
    for one in redis_pair.sentinels.all:
        one.ask("SET", NAME, "down-after-milliseconds", "5000")
        one.ask("SET", NAME, "quorum", "4")
    refused("NOQUORUM")
    for one in redis_pair.sentinels.all:
        one.ask("SET", NAME, "quorum", "2")
    assert rb.preflight(**given).ok

    given["redirect"]["sentinel"]["name"] = "another"
    with fails(Refused, "redirect_failed", *servers) as caught:
        rb.preflight(**given)
    assert "knows no master another" in caught.message
    given["redirect"]["sentinel"] |= {"name": NAME, "sentinels": ["127.0.0.1:1"]}
    with fails(ConnectionFailed, "unreachable", *servers):
        rb.preflight(**given)


def test_interrupted_while_a_good_moment_is_waited_for(redis_pair: Watched) -> None:
    """All is as before, and Sentinel would not choose the target."""
    redis_pair.follow()
    before = [state_of(one) for one in (redis_pair.pair.source, redis_pair.pair.target)]

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "waiting":
            raise StopError

    with pytest.raises(StopError):
        rb.switchover(**redis_pair.given, max_latency=1e-6, patience=20.0, on_event=stop)
    assert redis_pair.priorities() == ["100", "0"]
    after = [state_of(one) for one in (redis_pair.pair.source, redis_pair.pair.target)]
    assert [differing(*states) for states in zip(before, after)] == [{}, {}]
    assert rb.switchover(**redis_pair.given).warm


def test_a_failover_that_runs(redis_pair: Watched, server: ServerFactory) -> None:
    pair, given = redis_pair.pair, redis_pair.given
    redis_pair.follow()
    other = server("redis-7.0", replica_priority=1)
    other.call("REPLICAOF", pair.source.host, pair.source.port)
    first = redis_pair.sentinels.all[0]
    eventually(lambda: first.replica_flags.get(other.address) == {"slave"}, "seen", within=20)
    other.freeze()  # so that it never ends
    try:
        first.ask("FAILOVER", NAME)
        assert "failover_in_progress" in first.flags
        with fails(Refused, "redirect_failed", pair.source) as caught:
            rb.switchover(**given)
        assert "is doing a failover" in caught.message
    finally:
        other.thaw()


def test_sentinels_that_change_their_mind_before_the_demotion(redis_pair: Watched) -> None:
    pair, given = redis_pair.pair, redis_pair.given
    redis_pair.follow()
    before = [state_of(one) for one in (pair.source, pair.target)]

    def lose_one(event: dict[str, Any]) -> None:
        if "repl-ping-replica-period 86400" in str(event.get("action")):
            redis_pair.sentinels.all[1].kill()

    with pytest.raises(Refused) as raised:
        rb.switchover(**given, on_event=lose_one)
    assert (raised.value.reason, raised.value.state) == ("redirect_failed", "undone")
    assert pair.roles == ("master", "slave")
    for one, was in zip((pair.source, pair.target), before):
        assert differing(was, state_of(one)) == {}
    assert pair.source.call("SET", "still", "writable")


def test_killed_between_demotion_and_promotion(redis_pair: Watched) -> None:
    pair = redis_pair.pair
    redis_pair.follow()
    with Gate(pair.target.port, PROMOTION) as gate:
        through = f"redis://127.0.0.1:{gate.port}"
        wishes = {**redis_pair.given, "target": through, "pause_budget": 20.0}
        with Controller("switchover", wishes) as controller:
            assert gate.reached.wait(20)
            [guard] = controller.guards
            controller.kill()
        eventually(lambda: not lives(guard), "the guard has ended", within=30)
        redis_pair.assert_serves(pair.target, pair.source)
        outcomes = [one["outcome"] for one in records_of(pair) if one["record"] == "guarded"]
        assert outcomes == ["the handover was finished: the target serves"]
        again = rb.switchover(**{**redis_pair.given, "target": through})
        assert (again.changed, again.warm) == (False, True)


def test_sentinels_that_are_gone_when_they_are_to_be_told(redis_pair: Watched) -> None:
    pair, given = redis_pair.pair, redis_pair.given
    redis_pair.follow()

    def lose_all() -> None:
        for one in redis_pair.sentinels.all:
            one.kill()

    with Gate(pair.target.port, PROMOTION, lose_all) as gate:
        wishes = {**given, "target": f"redis://127.0.0.1:{gate.port}", "guard": False}
        with pytest.raises(Refused) as raised:
            rb.switchover(**wishes)
        assert (raised.value.reason, raised.value.state) == ("redirect_failed", "interrupted")
        assert pair.roles == ("slave", "master")
        # Nobody lands on a replica meanwhile.
        assert pair.source.current_port != pair.source.port
        for one in redis_pair.sentinels.all:
            one.start()
        done = rb.switchover(**wishes)
        assert (done.changed, done.warm) == (True, True)
    redis_pair.assert_serves(pair.target, pair.source)


@pytest.mark.long
def test_sentinel_does_a_failover_when_both_controller_and_guard_have_died(
    redis_pair: Watched, server: ServerFactory
) -> None:
    pair = redis_pair.pair
    redis_pair.follow()
    other = server("redis-7.0")
    other.call("REPLICAOF", pair.source.host, pair.source.port)
    eventually(
        lambda: all(len(one.replicas) == 2 for one in redis_pair.sentinels.all),
        "they know both",
        within=20,
    )
    for one in redis_pair.sentinels.all:
        one.ask("SET", NAME, "down-after-milliseconds", "3000")
    with Gate(pair.target.port, PROMOTION) as gate:
        through = f"redis://127.0.0.1:{gate.port}"
        wishes = {**redis_pair.given, "target": through, "guard": False}
        with Controller("switchover", wishes) as controller:
            assert gate.reached.wait(20)
            controller.kill()
        eventually(
            lambda: redis_pair.sentinels.agree(pair.target.address),
            "Sentinel has promoted the one that has everything",
            within=30,
        )
        assert redis_pair.sentinels.began_failover
        done = rb.switchover(**{**redis_pair.given, "target": through})
        assert done.warm
    assert pair.ports == (pair.source.port, pair.target.port)
    assert pair.roles == ("slave", "master")
    assert pair.target.info("stats")["sync_full"] == 0


@pytest.mark.parametrize(
    "version", ["redis-7.0", pytest.param("valkey-9.1", marks=pytest.mark.long)]
)
def test_a_single_sentinel(pair: Pair, tmp_path: Path, version: str) -> None:
    with watched(pair, tmp_path, version) as found:
        found.follow()
        done = rb.switchover(**found.given)
        assert (done.warm, done.warnings) == (True, [])
        [alone] = found.sentinels.all
        sent = [action for action in done.actions if action.startswith("sentinel ")]
        assert ["PUBLISH" in sent[0], "SENTINEL RESET" in sent[1], len(sent)] == [True, True, 2]
        assert alone.peers == set()
        found.assert_serves(pair.target, None)
        rb.rollback(**found.given)
        assert alone.peers == set()
        found.assert_serves(pair.source, None)
        assert (pair.target.role, pair.target.current_port) == ("slave", pair.target.port)


@pytest.mark.long
@pytest.mark.parametrize("version", NAMES)
def test_sentinels_of_each_version(pair: Pair, tmp_path: Path, version: str) -> None:
    with watched(pair, tmp_path, *[version] * 3) as found:
        found.follow()
        done = rb.switchover(**found.given)
        assert (done.warm, done.warnings) == (True, [])
        found.assert_serves(pair.target, pair.source)


@pytest.mark.long
def test_a_source_before_6_2(pair_of: PairFactory, tmp_path: Path) -> None:
    pair = pair_of("redis-6.0", "redis-8.0")
    with watched(pair, tmp_path, "redis-6.0", "redis-6.0", "redis-7.0") as found:
        found.follow()
        with Asking(found.sentinels) as clients:
            done = rb.switchover(**found.given)
            clients.wait_for(100)
            assert clients.stop(pair.target) == 0
        assert (clients.errors, clients.cut) == ([], [1] * 4)
        assert done.parked is None
        found.assert_serves(pair.target, None)
        rb.retire(**found.given)
        assert [one.replicas for one in found.sentinels.all] == [set()] * 3


def test_sentinels_with_a_password(server: ServerFactory, tmp_path: Path) -> None:
    pair = Pair(
        server("redis-7.0", password=SECRET), server("redis-8.0", password=SECRET), tmp_path / "j"
    )
    with watched(pair, tmp_path, *["redis-7.0"] * 3, password=SECRET) as found:
        found.follow()
        given = found.given
        bare = {"sentinels": [found.sentinels.all[0].address], "name": NAME}
        with fails(ConnectionFailed, "auth_failed", pair.source):
            rb.switchover(**{**given, "redirect": {"sentinel": bare}})
        done = rb.switchover(**given)
        assert done.warm
        found.assert_serves(pair.target, pair.source)
        assert SECRET not in str(done)
        assert SECRET not in str(records_of(pair))
        with pytest.raises(Refused) as raised:
            rb.rollback(**pair.given)
        assert (raised.value.reason, raised.value.state) == ("redirect_failed", "unchanged")


def test_over_tls(server: ServerFactory, certificates: Certificates, tmp_path: Path) -> None:
    tls = certificates
    pair = Pair(server("redis-7.0", tls=tls), server("redis-8.0", tls=tls), tmp_path / "j")
    given: dict[str, Any] = {
        "source": Endpoint(pair.source.host, pair.source.port, tls=True, ca_certs=str(tls.ca)),
        "target": Endpoint(pair.target.host, pair.target.port, tls=True, ca_certs=str(tls.ca)),
        "journal_dir": pair.journal_dir,
    }
    with watched(pair, tmp_path, *["redis-7.0"] * 3, tls=tls) as found:
        wish = {"sentinels": [found.sentinels.all[0].address], "name": NAME}
        over_tls = {"sentinel": {**wish, "tls": {"ca_certs": str(tls.ca)}}}
        rb.replicate(**given, redirect=over_tls)
        rb.wait_synced(**given)
        with fails(ConnectionFailed, "tls_failed"):
            rb.switchover(**given, redirect={"sentinel": {**wish, "tls": {}}})
        assert rb.switchover(**given, redirect=over_tls).warm
        found.assert_serves(pair.target, pair.source)


@pytest.mark.parametrize(
    "wish",
    [
        {"name": NAME, "sentinels": []},
        {"name": NAME, "sentinels": ["host"]},
        {"name": "a b", "sentinels": ["host:1"]},
        {"sentinels": ["host:1"]},
        {"name": NAME, "sentinels": ["host:1"], "more": 1},
        {"name": "all*", "sentinels": ["host:1"]},
        {"name": NAME, "sentinels": ["host:1"], "password": 8_675_309},
    ],
)
def test_a_bad_wish(wish: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as raised:
        rb.preflight(source="redis://a", target="redis://b", redirect={"sentinel": wish})
    assert "8675309" not in str(raised.value)
