"""Differences between a source and its target, one of every kind, for tests that compare them.

`prepare` all of them on the source, let the target sync, then make the `change` on the target.
Each difference has keys of its own, so that all of them can be made at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.servers import Instance

Command = tuple[str, ...]

# More than fit into one packed encoding of any version, and than are read in one go.
LARGE = 2000
# When keys and fields expire. Before 7.0 reads tell it to a second at best.
DUE_MS = "4102444800000"
A_MS_LATER = "4102444800001"
AN_HOUR_LATER = "4102448400000"


@dataclass(frozen=True)
class Difference:
    """One key that differs between source and target."""

    name: str
    """What differs, in words."""
    key: str
    """The key that must be found."""
    prepare: tuple[Command, ...]
    """What the source is told before the sync."""
    change: tuple[Command, ...]
    """What the target is told behind the source's back."""
    db: int = 0
    counted: bool = False
    """Whether the numbers of keys, or of keys that expire, show it already."""
    field_ttl: bool = False
    """Whether both need fields that expire (Redis 7.4, Valkey 9)."""
    lawful_before_7: bool = False
    """Whether a replica of an older master may have it otherwise."""


def known(*servers: Instance) -> list[Difference]:
    """Return those that all of these servers can have."""
    expiring = all(fields_expire(server) for server in servers)
    old = any(server.binary.name == "redis-6.0" for server in servers)
    return [
        one
        for one in DIFFERENCES
        if (expiring or not one.field_ttl) and not (old and one.lawful_before_7)
    ]


def prepare(source: Instance, differences: Iterable[Difference]) -> None:
    """Write what the source holds."""
    _tell(source, [(one.db, command) for one in differences for command in one.prepare])


def change(target: Instance, differences: Iterable[Difference]) -> None:
    """Make the differences on the target, a replica."""
    target.call("CONFIG", "SET", "replica-read-only", "no")
    _tell(target, [(one.db, command) for one in differences for command in one.change])
    target.call("CONFIG", "SET", "replica-read-only", "yes")


def _tell(server: Instance, commands: Iterable[tuple[int, Command]]) -> None:
    for db, command in commands:
        server.call(*command, db=db)


def fields_expire(server: Instance) -> bool:
    """Return whether fields of its hashes can expire."""
    flavour, _, version = server.binary.name.partition("-")
    return float(version) >= (9 if flavour == "valkey" else 7.4)


def _numbered(prefix: str, count: int = LARGE) -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in range(count))


def _scored(count: int = LARGE) -> tuple[str, ...]:
    return tuple(word for n in range(count) for word in (f"{n}.25", f"m{n}"))


def _fields(count: int) -> tuple[str, ...]:
    return tuple(word for n in range(count) for word in (f"f{n}", f"v{n}"))


def _stream(key: str) -> tuple[Command, ...]:
    """Three entries, two of them pending with one consumer."""
    return (
        *(("XADD", key, f"{n}-1", "field", f"value {n}", "other", "17") for n in (1, 2, 3)),
        ("XGROUP", "CREATE", key, "group", "0"),
        ("XREADGROUP", "GROUP", "group", "one", "COUNT", "2", "STREAMS", key, ">"),
    )


def _fields_ttl(key: str, due: str) -> Command:
    return ("HPEXPIREAT", key, due, "FIELDS", "1", "f1")


DIFFERENCES = (
    Difference(
        "one byte of a string",
        "d:string",
        (("SET", "d:string", "x" * 300),),
        (("SETRANGE", "d:string", "150", "y"),),
    ),
    Difference(
        "one byte of a large string",
        "d:string:large",
        (("SET", "d:string:large", "0123456789" * 50_000),),
        (("SETRANGE", "d:string:large", "499999", "y"),),
    ),
    Difference("a number", "d:number", (("SET", "d:number", "41"),), (("INCR", "d:number"),)),
    Difference(
        "an empty string missing",
        "d:empty",
        (("SET", "d:empty", ""),),
        (("DEL", "d:empty"),),
        counted=True,
    ),
    Difference(
        "a key only on the target",
        "d:surplus",
        (),
        (("SET", "d:surplus", "1"),),
        counted=True,
    ),
    Difference(
        "a database only on the target",
        "d:database",
        (),
        (("SET", "d:database", "1"),),
        db=5,
        counted=True,
    ),
    Difference(
        "a type",
        "d:type",
        (("RPUSH", "d:type", "a"),),
        (("DEL", "d:type"), ("SADD", "d:type", "a")),
    ),
    Difference(
        "a type of an equal text",
        "d:text",
        (("HSET", "d:text", "a", "b"),),
        (("DEL", "d:text"), ("RPUSH", "d:text", "a", "b")),
    ),
    Difference(
        "when a key expires",
        "d:expiry",
        (("SET", "d:expiry", "1"), ("PEXPIREAT", "d:expiry", DUE_MS)),
        (("PEXPIREAT", "d:expiry", AN_HOUR_LATER),),
    ),
    Difference(
        "that a key expires",
        "d:persist",
        (("SET", "d:persist", "1"), ("PEXPIREAT", "d:persist", DUE_MS)),
        (("PERSIST", "d:persist"),),
        counted=True,
    ),
    Difference(
        "a value of a hash",
        "d:hash",
        (("HSET", "d:hash", *_fields(10)),),
        (("HSET", "d:hash", "f5", "v6"),),
    ),
    Difference(
        "two values of a hash exchanged",
        "d:hash:exchanged",
        (("HSET", "d:hash:exchanged", *_fields(10)),),
        (("HSET", "d:hash:exchanged", "f5", "v6", "f6", "v5"),),
    ),
    Difference(
        "a value of a large hash",
        "d:hash:large",
        (("HSET", "d:hash:large", *_fields(LARGE)),),
        (("HSET", "d:hash:large", "f1500", "v1501"),),
    ),
    Difference(
        "when a field of a hash expires",
        "d:hash:ttl",
        (("HSET", "d:hash:ttl", *_fields(10)), _fields_ttl("d:hash:ttl", DUE_MS)),
        (_fields_ttl("d:hash:ttl", A_MS_LATER),),
        field_ttl=True,
    ),
    Difference(
        "that a field of a large hash expires",
        "d:hash:ttl:large",
        (
            ("HSET", "d:hash:ttl:large", *_fields(LARGE)),
            _fields_ttl("d:hash:ttl:large", DUE_MS),
        ),
        (("HPERSIST", "d:hash:ttl:large", "FIELDS", "1", "f1"),),
        field_ttl=True,
    ),
    Difference(
        "an element of a list",
        "d:list",
        (("RPUSH", "d:list", "a", "b", "c"),),
        (("LSET", "d:list", "1", "d"),),
    ),
    Difference(
        "the order of a list",
        "d:list:order",
        (("RPUSH", "d:list:order", "a", "b", "c"),),
        (("LSET", "d:list:order", "0", "b"), ("LSET", "d:list:order", "1", "a")),
    ),
    Difference(
        "a list that is longer",
        "d:list:longer",
        (("RPUSH", "d:list:longer", *_numbered("e")),),
        (("RPUSH", "d:list:longer", "e"),),
    ),
    Difference(
        "a list that is shorter",
        "d:list:shorter",
        (("RPUSH", "d:list:shorter", *_numbered("e")),),
        (("RPOP", "d:list:shorter"),),
    ),
    Difference(
        "a member of a set",
        "d:set",
        (("SADD", "d:set", "a", "b", "c"),),
        (("SREM", "d:set", "b"), ("SADD", "d:set", "d")),
    ),
    Difference(
        "a member of a set of numbers",
        "d:set:numbers",
        (("SADD", "d:set:numbers", *map(str, range(100))),),
        (("SREM", "d:set:numbers", "50"), ("SADD", "d:set:numbers", "100")),
    ),
    Difference(
        "a member of a large set",
        "d:set:large",
        (("SADD", "d:set:large", *_numbered("m")),),
        (("SREM", "d:set:large", "m1500"), ("SADD", "d:set:large", "m1500 ")),
    ),
    Difference(
        "a score of a sorted set",
        "d:zset",
        (("ZADD", "d:zset", "1", "a", "2.5", "b"),),
        (("ZADD", "d:zset", "2.5000000000000004", "b"),),
    ),
    Difference(
        "a score of a large sorted set",
        "d:zset:large",
        (("ZADD", "d:zset:large", *_scored()),),
        (("ZADD", "d:zset:large", "1500.5", "m1500"),),
    ),
    Difference(
        "a member of a sorted set",
        "d:zset:member",
        (("ZADD", "d:zset:member", *_scored(10)),),
        (("ZREM", "d:zset:member", "m5"), ("ZADD", "d:zset:member", "5.25", "m11")),
    ),
    Difference(
        "an entry of a stream",
        "d:stream",
        _stream("d:stream"),
        (("XDEL", "d:stream", "3-1"),),
    ),
    Difference(
        "the last id of a stream",
        "d:stream:last",
        _stream("d:stream:last"),
        (("XSETID", "d:stream:last", "9-9"),),
    ),
    Difference(
        "a group of a stream",
        "d:stream:group",
        _stream("d:stream:group"),
        (("XGROUP", "CREATE", "d:stream:group", "another", "0"),),
    ),
    Difference(
        "the last id of a group",
        "d:stream:group:last",
        _stream("d:stream:group:last"),
        (("XGROUP", "SETID", "d:stream:group:last", "group", "3-1"),),
    ),
    Difference(
        "a consumer of a group",
        "d:stream:consumer",
        _stream("d:stream:consumer"),
        (("XGROUP", "CREATECONSUMER", "d:stream:consumer", "group", "two"),),
        lawful_before_7=True,
    ),
    Difference(
        "whose a pending entry is",
        "d:stream:owner",
        _stream("d:stream:owner"),
        (("XCLAIM", "d:stream:owner", "group", "two", "0", "1-1"),),
    ),
    Difference(
        "a pending entry",
        "d:stream:pending",
        _stream("d:stream:pending"),
        (("XACK", "d:stream:pending", "group", "2-1"),),
    ),
)
