"""`verify` with every key read: under load, with large keys, slowed down, interrupted."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import pytest
import redis_baton as rb
from redis_baton import Refused, TimedOut

from tests.python.common import Pair, fails, put
from tests.python.test_verify import spoil
from tests.support.load import Load
from tests.support.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ServerFactory
    from tests.support.certificates import Certificates

FULL: dict[str, Any] = {"level": "full", "by": "reads"}


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.long)])
def test_a_load_makes_no_differences(pair: Pair, times: int) -> None:
    put(pair.source, 5000)
    with Load(port=pair.source.port, rate=3000):
        pair.follow(0)
        for _ in range(times):
            # A key that is written to all the time need not rest within a second.
            result = rb.verify(**pair.given, **FULL, wait_timeout=1.0, fail=False)
            assert (result.differing, result.differences) == (0, [])
            assert result.compared >= 5000
            assert result.equal == (result.unsettled == 0)


def test_a_key_that_never_rests_is_not_equal(pair: Pair) -> None:
    pair.follow(10)
    # Nothing but INCR, of one key for each connection, as fast as can be.
    with Load(port=pair.source.port, connections=4, sets_per_incr=0):
        eventually(lambda: pair.source.info("keyspace")["db0"]["keys"] > 10, "it writes")
        result = rb.verify(**pair.given, **FULL, wait_timeout=0.5, fail=False)
        assert (result.differing, result.differences) == (0, [])
        assert result.equal == (result.unsettled == 0)
        with pytest.raises(TimedOut) as raised:
            _until_unsettled(pair)
        assert (raised.value.reason, raised.value.state) == ("unsettled", "unchanged")


def _until_unsettled(pair: Pair) -> None:
    """Compare until the key does not rest: by chance it may."""
    for _ in range(20):
        rb.verify(**pair.given, **FULL, wait_timeout=0.2)


@pytest.mark.parametrize("members", [50_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_one_member_of_a_large_key(pair: Pair, members: int) -> None:
    fill = {
        "set": "redis.call('SADD', KEYS[1], 'm' .. n)",
        "hash": "redis.call('HSET', KEYS[1], 'f' .. n, n)",
        "zset": "redis.call('ZADD', KEYS[1], n, 'm' .. n)",
        "list": "redis.call('RPUSH', KEYS[1], n)",
        "stream": "redis.call('XADD', KEYS[1], n .. '-1', 'f', n)",
    }
    for kind, command in fill.items():
        script = f"for n = ARGV[1], ARGV[2] do {command} end"
        for start in range(1, members, 10_000):
            pair.source.call("EVAL", script, 1, f"large:{kind}", start, start + 9_999)
    pair.source.call("SETRANGE", "large:string", members * 10, "end")
    pair.follow(0)
    pair.source.call("CONFIG", "RESETSTAT")
    result = rb.verify(**pair.given, **FULL)
    assert (result.equal, result.compared) == (True, 6)
    # Nobody waits for one of them to be read in one piece.
    assert not {"cmdstat_hgetall", "cmdstat_smembers"} & set(pair.source.info("commandstats"))
    spoil(
        pair,
        ("EVAL", "redis.call('SREM','large:set','m777') redis.call('SADD','large:set','x')", "0"),
        ("HSET", "large:hash", "f777", "x"),
        ("ZADD", "large:zset", "777.5", "m777"),
        ("LSET", "large:list", "777", "x"),
        ("XDEL", "large:stream", "777-1"),
        ("SETRANGE", "large:string", "777", "x"),
    )
    result = rb.verify(**pair.given, **FULL, fail=False)
    pieces = members * 10 // (256 << 10) + 1
    what = {
        "hash": f"1 of {members} fields differ",
        "list": f"1 of {members} items differ, the first at index 777",
        "set": f"2 of {members} members differ",
        "stream": f"1 of {members} entries differ ({members} and {members - 1})",
        "string": f"1 of {pieces} pieces of 256 KiB differ, the first at index 0",
        "zset": f"1 of {members} members differ",
    }
    assert sorted(result.differences) == [
        f'key "large:{kind}" of database 0: {kind}, {words}' for kind, words in what.items()
    ]
    assert result.differing == 6


def test_keys_on_one_side_only(pair: Pair) -> None:
    """As many on either, so the counts are equal."""
    pair.follow(100)
    spoil(pair, ("DEL", "key:7"), ("SET", "surplus", "1"), ("DEL", "key:5"))
    spoil(pair, ("SET", "expires", "1", "EX", "1000"))
    result = rb.verify(**pair.given, level="counts")
    assert (result.equal, result.exact, result.compared) == (True, True, 0)
    assert result.detectable_share is None
    result = rb.verify(**pair.given, **FULL, fail=False)
    assert sorted(result.differences) == [
        'key "expires" of database 0: string, which only the target has',
        'key "key:5" of database 0: string, which only the source has',
        'key "key:7" of database 0: string, which only the source has',
        'key "surplus" of database 0: string, which only the target has',
    ]
    assert (result.differing, result.compared) == (4, 102)
    result = rb.verify(**pair.given, **FULL, fail=False, max_differences=1)
    assert (result.differing, len(result.differences)) == (4, 1)
    with fails(Refused, "values_differ", pair.source, pair.target):
        rb.verify(**pair.given, **FULL)


@pytest.mark.parametrize("rate", [0, 3000])
def test_keys_that_expire_on_one_side_only(pair: Pair, rate: int) -> None:
    """The one that serves is asked when a key expires only if it does so on the other."""
    put(pair.source, 100)
    for key in ("key:1", "key:2", "key:3"):
        pair.source.call("EXPIRE", key, 1000)
    pair.follow(0)
    with Load(port=pair.source.port, rate=rate) if rate else nullcontext():
        spoil(pair, ("PERSIST", "key:1"))
        assert _differing(pair) == {"key:1": "string, expires in the source only"}
        # As many expire on either again.
        spoil(pair, ("EXPIRE", "key:9", "1000"))
        assert _differing(pair) == {
            "key:1": "string, expires in the source only",
            "key:9": "string, expires in the target only",
        }


def _differing(pair: Pair) -> dict[str, str]:
    """Compare, and return what differs by the names of the keys."""
    result = rb.verify(**pair.given, **FULL, wait_timeout=1.0, fail=False)
    words = [line.split('"', 2) for line in result.differences if line.startswith("key ")]
    assert result.differing == len(words)
    # No key counts twice, whether it was found once or in both rounds.
    all_keys = sum(d.source_keys for d in result.databases)
    all_keys += sum("only the target has" in line for line in result.differences)
    assert not result.exact or result.compared <= all_keys
    return {name: what.split(": ", 1)[1] for _, name, what in words}


def test_names_that_tell_nothing_of_types(pair: Pair) -> None:
    """Types are guessed by names that are alike."""
    kinds = {
        "string": ("SET", "{}", "value"),
        "hash": ("HSET", "{}", "field", "value"),
        "set": ("SADD", "{}", "member"),
        "zset": ("ZADD", "{}", "1.5", "member"),
        "list": ("RPUSH", "{}", "item"),
        "stream": ("XADD", "{}", "1-1", "field", "value"),
    }
    for db in (0, 1):
        with pair.source.client(db=db) as client, client.pipeline(transaction=False) as pipeline:
            for number in range(3000):
                # In the one all are of one type, in the other of all.
                command = list(kinds.values())[number % 6 if db else 0]
                pipeline.execute_command(*(word.format(f"any:{number}") for word in command))
            pipeline.execute()
    pair.follow(0)
    result = rb.verify(**pair.given, **FULL)
    assert (result.equal, result.compared) == (True, 6000)
    # Some were read as what others are.
    assert "errorstat_WRONGTYPE" in pair.target.info("errorstats")
    assert "errorstat_WRONGTYPE" not in pair.source.info("errorstats")
    names = [f"any:{number}" for number in range(1200, 1206)]
    for name, kind in zip(names, kinds):
        words = (word.format(name) for word in kinds[kind][:-1])
        spoil(pair, ("DEL", name), (*words, "x"), db=1)
    assert set(_differing(pair)) == set(names)
    # And one that has become another type.
    spoil(pair, ("DEL", "any:1300"), ("SET", "any:1300", "x"), db=1)
    assert _differing(pair)["any:1300"] == "list in the source, string in the target"


def unreplicated(pair: Pair, *command: str | int) -> None:
    """Let the source carry out what its replica is not told."""
    script = "redis.set_repl(redis.REPL_NONE) return redis.call(unpack(ARGV))"
    pair.source.call("EVAL", script, 0, *command)


def test_a_key_that_has_expired_hides_no_other(pair: Pair) -> None:
    """The replica counts it, and SCAN leaves it out."""
    pair.source.call("SET", "expired", "x", "PX", 1000)
    pair.source.call("SET", "lost", "x", "EX", 1000)
    pair.follow(100)
    unreplicated(pair, "DEL", "expired")
    spoil(pair, ("DEL", "lost"))
    eventually(lambda: pair.target.call("EXISTS", "expired") == 0, "it has expired")
    counts = rb.verify(**pair.given, level="counts")
    assert (counts.equal, counts.exact) == (True, True)
    assert _differing(pair) == {"lost": "string, which only the source has"}


def test_a_key_that_expires_meanwhile_hides_no_other(pair: Pair) -> None:
    pair.follow(5000)
    pair.source.call("SET", "lost", "x", "EX", 1000)
    pair.source.call("SET", "expires", "x", "PX", 2000)
    eventually(lambda: pair.target.call("EXISTS", "expires", "lost") == 2, "they are replicated")
    unreplicated(pair, "DEL", "expires")
    spoil(pair, ("DEL", "lost"))
    # In most runs it is read before it expires. Looked at again, at the end, it is gone on both.
    result = rb.verify(**pair.given, **FULL, rate=2000, fail=False)
    found = [line for line in result.differences if line.startswith("key ")]
    assert found == ['key "lost" of database 0: string, which only the source has']


def test_an_empty_string_is_not_none(pair: Pair) -> None:
    for key in ("empty", "gone"):
        pair.source.call("SET", key, "")
    pair.follow(10)
    assert _differing(pair) == {}
    # As many on either.
    spoil(pair, ("SET", "stray", ""), ("DEL", "gone"))
    assert _differing(pair) == {
        "gone": "string, which only the source has",
        "stray": "string, which only the target has",
    }


def test_what_came_to_a_database_that_was_not_read_is_told(pair: Pair) -> None:
    pair.follow(5000)
    pair.target.call("CONFIG", "SET", "replica-read-only", "no")

    def stray(event: dict[str, Any]) -> None:
        if event["event"] == "comparing":
            pair.target.call("SET", "stray", "x", db=5)

    result = rb.verify(**pair.given, **FULL, fail=False, rate=4000, on_event=stray)
    assert not result.equal
    assert [line for line in result.differences if line.startswith("database 5 holds 0 keys")]
    with fails(Refused, "counts_differ", pair.source):
        rb.verify(**pair.given, level="counts")


def test_a_stream_that_is_gone_on_one_side(pair: Pair) -> None:
    for number in range(40):
        pair.source.call("XADD", f"stream:{number}", "1-1", "field", "value")
    pair.follow(0)
    unreplicated(pair, "DEL", "stream:7")
    assert _differing(pair) == {"stream:7": "stream, which only the target has"}
    spoil(pair, ("DEL", "stream:9"))
    assert set(_differing(pair)) == {"stream:7", "stream:9"}


def test_the_one_that_serves_is_asked_for_nothing_large(pair: Pair) -> None:
    """Not even what is small on a replica that is wrong."""
    pair.source.call("HSET", "hash", "field", "x")
    pair.source.call("SET", "string", "x")
    pair.follow(10)
    for start in range(0, 100_000, 2000):
        fields = (word for n in range(start, start + 2000) for word in (f"f{n}", "x"))
        unreplicated(pair, "HSET", "hash", *fields)
    unreplicated(pair, "SETRANGE", "string", 50 << 20, "x")
    found = _differing(pair)
    assert found["hash"].startswith("hash, 100000 of 100001 fields differ")
    assert found["string"].startswith("string, ")
    # Pieces of 256 KiB, and no command that gives everything.
    commands = pair.source.info("commandstats")
    assert not {"cmdstat_hgetall", "cmdstat_mget", "cmdstat_get"} & set(commands)
    assert commands["cmdstat_getrange"]["calls"] >= 50 << 2


def test_sorted_sets_in_another_encoding_are_equal_at_once(pair: Pair) -> None:
    """Nothing is read again: scores that are printed in another way are the numbers they are."""
    scores = ["inf", "-inf", "-0", "73135.582999999999", "1e300", "5e-324", "9007199254740993", "3"]
    words = [word for score in scores for word in (score, f"m{score}")]
    pair.source.call("CONFIG", "SET", "zset-max-listpack-entries", 2)
    pair.source.call("ZADD", "z", *words)
    pair.source.call("CONFIG", "SET", "zset-max-listpack-entries", 128)
    pair.follow(0)
    encodings = [one.call("OBJECT", "ENCODING", "z") for one in (pair.source, pair.target)]
    assert encodings == ["skiplist", "listpack"]
    for one in (pair.source, pair.target):
        one.call("CONFIG", "RESETSTAT")
    result = rb.verify(**pair.given, **FULL)
    assert (result.equal, result.compared) == (True, 1)
    for one in (pair.source, pair.target):
        commands = one.info("commandstats")
        assert commands["cmdstat_zscan"]["calls"] == 1
        assert "cmdstat_zrange" not in commands


@pytest.mark.parametrize("by", ["streams", "reads"])
def test_a_dry_run_never_says_equal_of_what_it_did_not_read(
    pair: Pair, by: Literal["streams", "reads"]
) -> None:
    pair.follow(10)
    result = rb.verify(**pair.given, level="full", by=by, dry_run=True)
    assert (result.equal, result.compared, result.detectable_share) == (False, 0, None)
    assert (result.differences, result.actions) == ([], [])


def test_no_secret_is_shown(pair: Pair) -> None:
    secret = "a-secret-value"  # that is the point
    pair.source.call("SET", "s", secret)
    pair.source.call("HSET", "h", "f", secret, secret, "1")
    pair.source.call("SADD", "m", secret)
    pair.follow(0)
    spoil(
        pair, ("SET", "s", secret[1:]), ("HSET", "h", "f", "x", secret, "x"), ("SREM", "m", secret)
    )
    events: list[dict[str, Any]] = []
    result = rb.verify(**pair.given, **FULL, fail=False, on_event=events.append)
    assert result.differing == 3
    assert secret[1:] not in f"{result} {events}"


def test_the_rate_is_kept(pair: Pair) -> None:
    pair.follow(3000)
    result = rb.verify(**pair.given, **FULL, rate=3000)
    assert (result.equal, result.compared) == (True, 3000)
    # All but the last pages had their time. A busy machine can't break a lower bound.
    assert result.elapsed > 0.7


def test_it_goes_slower_when_the_source_answers_slowly(pair: Pair) -> None:
    pair.follow(4000)
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            pair.source.call("EVAL", "local x = 0 for n = 1, 3000000 do x = x + n end", 0)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        result = rb.verify(**pair.given, **FULL, rate=4000, max_latency=0.005)
    finally:
        stop.set()
        busy.join()
    assert (result.equal, result.compared) == (True, 4000)
    assert result.slowed > 0


def test_what_it_may_not_read(pair: Pair) -> None:
    pair.follow(10)
    for one in (pair.source, pair.target):
        one.call("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+@all", "-getrange")
    narrow: dict[str, Any] = {
        "journal_dir": pair.journal_dir,
        "source": rb.Endpoint(port=pair.source.port, user="narrow", password="pw"),
        "target": rb.Endpoint(port=pair.target.port, user="narrow", password="pw"),
    }
    with fails(Refused, "permission_denied") as caught:
        rb.verify(**narrow, **FULL)
    assert "narrow" in caught.message
    assert "+@read" in caught.message


def test_large_elements(pair: Pair) -> None:
    """A few of them are as much as many small keys."""
    with pair.source.client() as client:
        for n in range(40):
            client.hset(f"wide:{n}", mapping={f"f{field}": "x" * 8000 for field in range(100)})
            client.rpush(f"deep:{n}", *("y" * 8000 for _ in range(100)))
    pair.follow(300)
    assert rb.verify(**pair.given, **FULL).compared == 380
    spoil(pair, ("HSET", "wide:7", "f50", "x" * 7999 + "z"), ("LSET", "deep:9", "99", "y"))
    result = rb.verify(**pair.given, **FULL, fail=False)
    assert {line.partition('"')[2].partition('"')[0] for line in result.differences} == {
        "wide:7",
        "deep:9",
    }
    assert (result.differing, result.compared) == (2, 380)


def test_over_tls_and_with_a_login(
    server: ServerFactory, certificates: Certificates, tmp_path: Path
) -> None:
    one, other = (
        server(name, password="pw", tls=certificates) for name in ("redis-7.0", "redis-8.0")
    )
    put(one, 300)
    given: dict[str, Any] = {
        "source": rb.Endpoint(
            port=one.port, password="pw", tls=True, ca_certs=str(certificates.ca)
        ),
        "target": rb.Endpoint(
            port=other.port,
            password="pw",
            tls=True,
            ca_certs=str(certificates.ca),
        ),
        "journal_dir": tmp_path,
    }
    rb.replicate(**given)
    rb.wait_synced(**given)
    result = rb.verify(**given, **FULL)
    assert (result.equal, result.compared) == (True, 300)
