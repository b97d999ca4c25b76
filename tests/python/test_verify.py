"""`verify` finds what differs, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis_baton as rb
from redis_baton import Refused

from tests.python.common import Pair, fails, put, state_of
from tests.support import dataset, differences
from tests.support.load import Load
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory


def spoil(pair: Pair, *commands: tuple[str, ...], db: int = 0) -> None:
    """Write to the replica behind the master's back."""
    pair.target.call("CONFIG", "SET", "replica-read-only", "no")
    for command in commands:
        pair.target.call(*command, db=db)
    pair.target.call("CONFIG", "SET", "replica-read-only", "yes")


def test_all_types_are_equal(pair: Pair) -> None:
    with pair.source.client() as client:
        filled = dataset.fill(client, keys=2000)
    pair.follow(0)
    result = rb.verify(**pair.given, sample_keys=600)
    assert (result.equal, result.exact, result.differences) == (True, True, [])
    assert {d.number: (d.source_keys, d.target_keys) for d in result.databases} == {
        db: (keys, keys) for db, keys in filled.keys.items()
    }
    assert {d.number: (d.source_expires, d.target_expires) for d in result.databases} == {
        db: (keys, keys) for db, keys in filled.expires.items()
    }
    # Of the large database 600, of the small ones all.
    assert result.compared == 600 + sum(n for db, n in filled.keys.items() if db)
    assert (result.unsettled, result.not_comparable, result.differing) == (0, {}, 0)
    assert result.detectable_share == pytest.approx(3 / 600)
    assert 0 < result.ping_ms < 50


@pytest.mark.parametrize("db", [0, 9])
def test_a_key_too_many(pair: Pair, db: int) -> None:
    pair.follow()
    spoil(pair, ("SET", "surplus", "1"), db=db)
    with fails(Refused, "counts_differ", pair.source, pair.target) as caught:
        rb.verify(**pair.given)
    assert f"database {db}" in caught.message
    result = rb.verify(**pair.given, fail=False)
    assert not result.equal
    (database,) = [d for d in result.databases if d.number == db]
    assert database.target_keys == database.source_keys + 1
    # The handover finds it too, under its pause, and leaves things as they were.
    before = state_of(pair.source), state_of(pair.target)
    with pytest.raises(Refused) as raised:
        rb.switchover(**pair.given, attempts=1)
    assert (raised.value.reason, raised.value.state) == ("counts_differ", "undone")
    assert (state_of(pair.source), state_of(pair.target)) == before
    with pytest.raises(Refused) as raised:
        rb.upgrade(**pair.given)
    assert raised.value.reason == "counts_differ"


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("a value", ("SET", "key:1", "another")),
        (
            "a type",
            ("EVAL", "redis.call('DEL','key:1') redis.call('RPUSH','key:1','value 1')", "0"),
        ),
        ("an expiry", ("EXPIRE", "key:0", "9999")),
    ],
)
def test_another_content(pair: Pair, what: str, command: tuple[str, ...]) -> None:
    pair.follow(5)
    spoil(pair, command)
    with fails(Refused, "values_differ", pair.source, pair.target) as caught:
        rb.verify(**pair.given, sample_keys=200)
    assert "key:" in caught.message, what
    assert not rb.verify(**pair.given, sample_keys=200, fail=False).equal


def test_an_expiry_lost(pair: Pair) -> None:
    pair.follow()
    spoil(pair, ("PERSIST", "key:0"))
    with fails(Refused, "counts_differ", pair.source, pair.target):
        rb.verify(**pair.given)


@pytest.mark.parametrize(
    ("kind", "write", "change"),
    [
        ("hash", ("HSET", "k", "a", "1", "b", "2"), ("HSET", "k", "b", "3")),
        ("list", ("RPUSH", "k", "a", "b"), ("LSET", "k", "1", "c")),
        (
            "set",
            ("SADD", "k", "a", "b"),
            ("EVAL", "redis.call('SREM','k','a') redis.call('SADD','k','c')", "0"),
        ),
        ("zset", ("ZADD", "k", "1", "a", "2", "b"), ("ZADD", "k", "1.5", "a")),
        (
            "stream",
            ("XADD", "k", "1-1", "f", "v"),
            ("EVAL", "redis.call('XDEL','k','1-1') redis.call('XADD','k','1-2','f','w')", "0"),
        ),
        ("bitmap", ("SETBIT", "k", "7", "1"), ("SETBIT", "k", "6", "1")),
    ],
)
def test_every_type(pair: Pair, kind: str, write: tuple[str, ...], change: tuple[str, ...]) -> None:
    pair.source.call(*write)
    pair.follow(0)
    assert rb.verify(**pair.given).equal
    spoil(pair, change)
    with fails(Refused, "values_differ", pair.source, pair.target):
        rb.verify(**pair.given)
    assert kind


def test_a_load_makes_no_differences(pair: Pair) -> None:
    put(pair.source, 500)
    with Load(port=pair.source.port, rate=5000):
        pair.follow(0)
        for _ in range(5):
            result = rb.verify(**pair.given, sample_keys=40)
            assert result.equal
            assert 0 < result.compared <= 40
            assert result.compared + result.unsettled <= 40


def test_a_difference_under_load_is_found(pair: Pair) -> None:
    put(pair.source, 10)
    # It rests now and then, so counts can be had at one offset.
    with Load(port=pair.source.port, rate=200):
        pair.follow(0)
        spoil(pair, *(("SET", f"surplus:{n}", "1") for n in range(100)), db=5)
        offset = pair.source.info("replication")["master_repl_offset"]
        eventually(
            lambda: pair.target.info("replication")["slave_repl_offset"] >= offset,
            "the stream has begun",
        )
        result = rb.verify(**pair.given, fail=False)
        assert not result.equal
        assert "database 5" in "".join(result.differences)


def test_after_the_switchover_it_looks_the_other_way(pair: Pair) -> None:
    pair.switch()
    pair.target.call("SET", "new", "1")
    result = rb.verify(**pair.given)
    assert result.equal
    assert (result.databases[0].source_keys, result.databases[0].target_keys) == (201, 201)


@pytest.mark.parametrize(
    ("source", "target"),
    [("redis-7.0", "redis-8.0"), ("redis-6.0", "redis-7.0"), ("valkey-9.1", "valkey-9.1")],
)
def test_every_difference_is_found_and_no_other(
    server: ServerFactory, tmp_path: Path, source: str, target: str
) -> None:
    pair = Pair(server(source), server(target), tmp_path)
    injected = differences.known(pair.source, pair.target)
    with pair.source.client() as client:
        filled = dataset.fill(client, keys=1000)
    differences.prepare(pair.source, injected)
    pair.follow(0)
    ways: list[dict[str, Any]] = [{"sample_keys": 10_000}, {"level": "full", "by": "reads"}]
    for way in ways:
        result = rb.verify(**pair.given, **way)
        assert result.equal
        assert result.compared == sum(d.source_keys for d in result.databases) > filled.total
        assert (result.detectable_share, result.unsettled) == (0, 0)
    differences.change(pair.target, injected)
    wanted = {one.key for one in injected}
    # A sample is of what the source holds.
    for way, missed in zip(ways, ({"d:surplus", "d:database"}, set[str]())):
        result = rb.verify(**pair.given, **way, max_differences=1000, fail=False)
        assert not result.equal
        named = [line for line in result.differences if line.startswith("key ")]
        assert {line.split('"')[1] for line in named} == wanted - missed
        assert len(named) == result.differing == len(wanted - missed)
