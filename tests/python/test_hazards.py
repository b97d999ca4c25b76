"""Hazards of an upgrade by replication, each on real servers.

Elsewhere: the backlog and the delay of the first sync (test_steps), a pause that blocks the
controller (test_fenced), busy scripts and forks (test_moment), other replicas (test_replicas), a
new master that comes back empty (test_warm). Not staged: clocks that differ, since both servers
share one here (`clock_skew` is decided in `src/decide/findings.rs`), and a supervisor that restarts
an empty source while the target follows: that empties the target too, as it would any replica.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Callable

import pytest
import redis
import redis_baton as rb
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.python.common import Given, Pair, config_of, data_of, fails, put
from tests.support.gate import DEMOTION, Gate
from tests.support.load import Load
from tests.support.servers import Instance, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.python.conftest import PairFactory


def codes(found: rb.Preflight) -> set[str]:
    return {finding.code for finding in found.findings}


def config(server: Instance, name: str) -> str:
    reply: dict[str, str] = server.call("CONFIG", "GET", name)
    return reply[name]


@contextmanager
def paused(pair: Pair, **wishes: Any) -> Iterator[Callable[[], rb.Switchover]]:  # noqa: ANN401
    """Stop a switchover between its pause and its demotion; what is yielded lets it go on."""
    outcome: list[rb.Switchover] = []

    def switch(given: Given) -> None:
        outcome.append(rb.switchover(**given, **wishes))

    with Gate(pair.source.port, DEMOTION) as gate:
        given = Given(**{**pair.given, "source": f"redis://127.0.0.1:{gate.port}"})
        thread = threading.Thread(target=switch, args=[given])
        thread.start()
        assert gate.reached.wait(20)

        def go_on() -> rb.Switchover:
            gate.open()
            thread.join(20)
            return outcome[0]

        try:
            yield go_on
        finally:
            go_on()


def at_public(pair: Pair, **options: Any) -> redis.Redis:  # noqa: ANN401
    return redis.Redis(
        port=pair.source.port, decode_responses=True, retry=Retry(NoBackoff(), 0), **options
    )


def test_a_larger_backlog_of_the_operators_own_is_left_alone(pair: Pair) -> None:
    mine = 300 << 20
    pair.target.call("CONFIG", "SET", "repl-backlog-size", mine)
    pair.switch()
    assert int(config(pair.target, "repl-backlog-size")) == mine
    assert not [line for line in rb.status(**pair.given).raised if "backlog" in line]


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_the_backlog_takes_no_room_from_the_data(pair: Pair, policy: str) -> None:
    """It counts as memory used: a cache that is full would be evicted for it."""
    limit = 60 << 20
    for one in (pair.source, pair.target):
        one.call("CONFIG", "SET", "maxmemory", limit)
        one.call("CONFIG", "SET", "maxmemory-policy", policy)
    with pair.source.client() as client:
        for n in range(40):
            client.set(f"large:{n}", "x" * (1 << 20))
    pair.follow(0)
    assert rb.switchover(**pair.given).warm
    with pair.target.client() as client:
        for _ in range(120):
            client.set("again", "y" * (1 << 20))
    assert pair.target.client().dbsize() == 41
    assert pair.target.info("stats")["evicted_keys"] == 0
    assert rb.rollback(**pair.given).warm
    assert int(config(pair.source, "maxmemory")) == limit
    assert rb.switchover(**pair.given).warm
    assert int(config(pair.target, "maxmemory")) > limit + (200 << 20)
    rb.retire(**pair.given)
    assert int(config(pair.target, "maxmemory")) == limit
    assert pair.target.client().dbsize() == 41
    assert pair.target.info("stats")["evicted_keys"] == 0


def test_what_is_set_while_it_is_raised_stays(pair: Pair) -> None:
    for one in (pair.source, pair.target):
        one.call("CONFIG", "SET", "maxmemory", 100 << 20)
    pair.switch()
    assert int(config(pair.target, "maxmemory")) > 300 << 20
    new = 1 << 30
    rb.config(server=pair.source.url, parameters={"maxmemory": new})  # where it serves now
    assert int(config(pair.target, "maxmemory")) == new
    # It is what the next handover starts from, and goes back to.
    assert rb.rollback(**pair.given).warm
    assert int(config(pair.target, "maxmemory")) == new
    assert rb.switchover(**pair.given).warm
    assert int(config(pair.target, "maxmemory")) > new + (200 << 20)
    pair.target.call("CONFIG", "SET", "maxmemory", 2 * new)
    retired = rb.retire(**pair.given)
    assert int(config(pair.target, "maxmemory")) == 2 * new
    assert int(config(pair.target, "repl-backlog-size")) == 1 << 20
    assert f"maxmemory stays {2 * new}" in " ".join(retired.warnings)


def test_fewer_clients_than_are_connected(pair: Pair) -> None:
    pair.target.call("CONFIG", "SET", "maxclients", 20)
    assert "maxclients_differs" in codes(rb.preflight(**pair.given))
    clients = [at_public(pair) for _ in range(20)]
    assert all(client.ping() for client in clients)
    with fails(rb.Refused, "maxclients_too_small", pair.target):
        rb.replicate(**pair.given)
    for client in clients:
        client.close()


def test_a_target_without_room_is_refused_before_it_could_evict(pair: Pair) -> None:
    """A replica over its limit keeps everything, and evicts the moment it is promoted."""
    put(pair.source, 200)
    pair.target.call("CONFIG", "SET", "maxmemory", 200_000, "maxmemory-policy", "allkeys-lru")
    with fails(rb.Refused, "maxmemory_too_small", pair.source, pair.target):
        rb.replicate(**pair.given)
    pair.target.call("CONFIG", "SET", "maxmemory", 0)
    assert "policy_differs" in codes(rb.preflight(**pair.given))
    pair.follow()
    pair.target.call("CONFIG", "SET", "maxmemory", 200_000)
    with fails(rb.Refused, "maxmemory_too_small", pair.source):
        rb.switchover(**pair.given)
    assert pair.target.client().dbsize() == 200


def test_keys_that_expire_all_the_time_are_counted_alike(pair: Pair) -> None:
    pair.follow(0)
    with pair.source.client() as client, client.pipeline(transaction=False) as pipeline:
        for n in range(20_000):
            pipeline.set(f"short:{n}", "x", px=1 + n // 10)
        pipeline.execute()
    done = rb.switchover(**pair.given)
    assert (done.warm, done.attempts) == (True, 1)
    eventually(lambda: pair.target.client().dbsize() == 0, "all expire on the new one")
    eventually(lambda: pair.source.client().dbsize() == 0, "and on the old one")


def test_a_target_that_was_made_writable_meanwhile_is_refused(pair: Pair) -> None:
    pair.follow()
    pair.target.call("CONFIG", "SET", "replica-read-only", "no")
    pair.target.call("SET", "stray", "1")
    with fails(rb.Refused, "target_writable", pair.source, pair.target):
        rb.switchover(**pair.given)
    # The stray key is seen even when it is read-only again.
    pair.target.call("CONFIG", "SET", "replica-read-only", "yes")
    with pytest.raises(rb.BatonError) as failure:
        rb.switchover(**pair.given, attempts=2)
    assert (failure.value.reason, failure.value.state) == ("counts_differ", "undone")
    assert pair.roles == ("master", "slave")
    pair.source.call("SET", "still", "writable")


def test_what_a_pause_holds_is_carried_out_nowhere_and_works_on_the_new_one(pair: Pair) -> None:
    pair.follow()
    held: dict[str, Callable[[redis.Redis], Any]] = {
        "SET": lambda client: client.set("plain", "1"),
        "EVAL": lambda client: client.eval("return redis.call('INCR', 'counter')", 0),
        "PUBLISH": lambda client: client.publish("news", "hello"),
        "PFCOUNT": lambda client: client.pfcount("visitors"),
    }
    outcomes: dict[str, object] = {}
    pair.source.call("PFADD", "visitors", "a", "b")

    def run(name: str) -> None:
        with at_public(pair) as client:
            try:
                outcomes[name] = held[name](client)
            except redis.RedisError as error:
                outcomes[name] = type(error)

    with paused(pair, pause_budget=20) as go_on:
        threads = [threading.Thread(target=run, args=[name]) for name in held]
        for thread in threads:
            thread.start()
        eventually(
            lambda: pair.source.info("clients")["connected_clients"] > len(held), "they are there"
        )
        with at_public(pair) as reader:
            assert reader.get("key:1") == "value 1"  # reads go on
        assert outcomes == {}
        assert go_on().warm
        for thread in threads:
            thread.join(10)
    assert outcomes == dict.fromkeys(held, redis.ConnectionError)
    assert pair.target.call("EXISTS", "plain", "counter") == 0
    for name in held:
        run(name)
    assert outcomes == {"SET": True, "EVAL": 1, "PUBLISH": 0, "PFCOUNT": 2}


def test_a_pause_that_ran_out_early_hides_no_write(pair: Pair) -> None:
    """The demotion comes late, when the source serves again: it takes all there is with it."""
    pair.follow()
    # After a diskless sync the stream begins with the target's first acknowledgement.
    pair.source.call("SET", "first", "1")
    eventually(lambda: pair.target.call("EXISTS", "first") == 1, "the stream has begun")
    with paused(pair, pause_budget=0.3) as go_on:
        with at_public(pair) as client:
            for n in range(50):  # the first one waits until the pause is over
                assert client.set(f"late:{n}", "acknowledged")
        done = go_on()
    assert done.warm
    assert pair.roles == ("slave", "master")
    assert len(pair.target.client().keys("late:*")) == 50


def test_pings_in_the_stream_do_no_harm(pair: Pair) -> None:
    pair.source.call("CONFIG", "SET", "repl-ping-replica-period", 1)
    pair.target.call("CONFIG", "SET", "repl-ping-replica-period", 1)
    pair.switch()
    assert config(pair.source, "repl-ping-replica-period") == "1"
    offset = pair.target.info("replication")["master_repl_offset"]
    eventually(
        lambda: pair.target.info("replication")["master_repl_offset"] > offset, "a PING", within=3
    )
    assert rb.rollback(**pair.given).warm
    assert [one.info("stats")["sync_full"] for one in (pair.source, pair.target)] == [1, 0]


def test_min_replicas_to_write_never_makes_the_new_master_refuse(
    pair: Pair, server: ServerFactory
) -> None:
    pair.source.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    other = server("redis-8.0")
    other.call("REPLICAOF", pair.source.host, pair.source.port)
    eventually(lambda: other.info("replication")["master_link_status"] == "up", "it follows")
    pair.follow()
    for one in (pair.source, pair.target):
        one.call("CONFIG", "SET", "min-replicas-to-write", 1)
    for step in (rb.switchover, rb.rollback):
        with Load(port=pair.source.port, rate=2000) as load:
            eventually(lambda: load.mark().acknowledged > 100, "writes flow")
            assert step(**pair.given).warm
            eventually(lambda: load.mark().acknowledged > 1000, "and flow")
            report = load.stop(verify_port=pair.source.port)
        assert (report.lost, report.errors) == (0, {}), report
        for one in (pair.source, pair.target):
            assert config(one, "min-replicas-to-write") == "1"


def test_a_client_that_does_not_wait_for_the_pause_has_no_half_write(pair: Pair) -> None:
    pair.follow()
    with paused(pair, pause_budget=20) as go_on:
        with at_public(pair, socket_timeout=0.1) as client, pytest.raises(redis.TimeoutError):
            client.incr("counter")
        assert go_on().warm
    assert pair.target.call("GET", "counter") is None


def come_back(client: redis.Redis) -> None:
    while True:
        with suppress(redis.ConnectionError):
            client.ping()
            return
        time.sleep(0.001)


def pop(pair: Pair, cuts: list[str], got: dict[str, object]) -> None:
    """Wait for a job, and again where the connection is cut."""
    with at_public(pair) as client:
        while "job" not in got:
            try:
                got["job"] = list(client.blpop(["queue"], timeout=20))
            except redis.ConnectionError:
                cuts.append("blpop")
                come_back(client)


def listen(pair: Pair, cuts: list[str], got: dict[str, object]) -> None:
    """Wait for news on a plain connection, and again where it is cut."""
    while "news" not in got:
        with at_public(pair) as client:
            come_back(client)
            with client.client() as subscriber, suppress(redis.ConnectionError):
                subscriber.connection.send_command("SUBSCRIBE", "news")
                while "news" not in got:
                    message = subscriber.connection.read_response(push_request=True)
                    if message[0] == "message":
                        got["news"] = message[2]
        if "news" not in got:
            cuts.append("subscriber")


def assert_both_wait(server: Instance) -> None:
    eventually(lambda: server.info("clients")["blocked_clients"] == 1, "one waits for a job")
    eventually(lambda: int(server.call("PUBSUB", "NUMSUB", "news")[1]) == 1, "one listens")


def test_waiting_watching_and_subscribed_clients_are_cut_once(pair: Pair) -> None:
    pair.follow()
    cuts: list[str] = []
    got: dict[str, object] = {}
    threads = [threading.Thread(target=one, args=[pair, cuts, got]) for one in (pop, listen)]
    for thread in threads:
        thread.start()
    assert_both_wait(pair.source)
    with at_public(pair) as client, client.pipeline() as transaction:
        transaction.watch("key:1")
        transaction.multi()
        transaction.set("half", "1")
        transaction.set("whole", "1")
        assert rb.switchover(**pair.given).warm
        with pytest.raises((redis.ConnectionError, redis.WatchError)):
            transaction.execute()
    assert pair.target.call("EXISTS", "half", "whole") == 0
    assert_both_wait(pair.target)
    pair.target.call("RPUSH", "queue", "job")
    pair.target.call("PUBLISH", "news", "hello")
    for thread in threads:
        thread.join(10)
    assert sorted(cuts) == ["blpop", "subscriber"]
    assert got == {"news": "hello", "job": ["queue", "job"]}


def test_cached_scripts_do_not_travel_and_functions_do(pair: Pair) -> None:
    library = "#!lua name=lib\nredis.register_function('twice', function(k, a) return a[1] * 2 end)"
    pair.source.call("FUNCTION", "LOAD", library)
    assert "scripts_cached" not in codes(rb.preflight(**pair.given))
    digest = pair.source.call("SCRIPT", "LOAD", "return 42")
    [finding] = rb.preflight(**pair.given).findings
    assert (finding.code, finding.level) == ("scripts_cached", "warning")
    assert "EVALSHA" in finding.remedy
    assert "NOSCRIPT" in finding.found
    pair.switch()
    with pytest.raises(redis.ResponseError, match=r"(?i)no ?script|no matching script"):
        pair.target.call("EVALSHA", digest, 0)
    assert pair.target.call("EVAL", "return 42", 0) == 42
    assert pair.target.call("FCALL", "twice", 0, 21) == 42


def test_expiry_times_are_the_same_to_the_millisecond(pair: Pair) -> None:
    put(pair.source, 500)
    data = data_of(pair.source)
    assert sum(1 for _, due in data.values() if due > 0) == 100
    pair.switch(0)
    assert data_of(pair.target) == data
    rb.rollback(**pair.given)
    assert data_of(pair.source) == data


def test_a_hundred_databases(server: ServerFactory, journal_dir: Path) -> None:
    source = server("redis-7.0", databases=100)
    for db in range(100):
        source.call("SET", f"of:{db}", db, db=db)
    narrow = Pair(source, server("redis-8.0"), journal_dir)
    with fails(rb.Refused, "databases_too_few", narrow.source, narrow.target):
        rb.replicate(**narrow.given)
    # Nor while they are empty: what comes meanwhile would go to another one.
    source.call("FLUSHALL")
    with fails(rb.Refused, "databases_too_few", narrow.source, narrow.target):
        rb.replicate(**narrow.given)
    for db in range(100):
        source.call("SET", f"of:{db}", db, db=db)
    pair = Pair(source, server("redis-8.0", databases=100), journal_dir)
    pair.switch(0)
    assert [pair.target.call("GET", f"of:{db}", db=db) for db in (0, 50, 99)] == ["0", "50", "99"]
    assert len(pair.target.info("keyspace")) == 100
    assert rb.verify(**pair.given).equal
    assert rb.rollback(**pair.given).warm
    assert config_of(pair.source)["databases"] == "100"


@pytest.mark.parametrize("old", ["redis-6.0", "redis-7.0"])
def test_a_source_that_is_full_is_handed_over(pair_of: PairFactory, old: str) -> None:
    """It refuses writes, and whatever is queued in a MULTI (Valkey 8.1 does not)."""
    pair = pair_of(old, "valkey-9.1")
    pair.follow()
    # What its connections need may become less in a moment.
    limit = pair.source.info("memory")["used_memory"] - (64 << 10)
    pair.source.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    pair.source.call("CONFIG", "SET", "maxmemory", limit)
    with pytest.raises(redis.RedisError):
        pair.source.call("SET", "one", "more")
    assert rb.switchover(**pair.given).changed
    assert pair.target.role == "master"
    if pair.source.alive:
        assert pair.source.call("CONFIG", "GET", "maxmemory") == {"maxmemory": str(limit)}
