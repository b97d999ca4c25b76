"""Data of every type, always the same for a number of keys, written as fast as a server takes it.

Of each hundred keys 60 are strings, 14 hashes, 10 lists, 6 sets (half of them of integers),
5 sorted sets, 2 streams with a group and pending entries, 1 a HyperLogLog, 1 a bitmap and 1 a
number. A fifth expires, in one to 24 hours. One in fifty lies in database 1, and as many in
database 9.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

DATABASES = (0, 1, 9)
CHUNK = 1 << 18
HOUR_MS = 3_600_000
# Contents are drawn from this many prepared ones per type: a prime, so that they don't repeat in
# step with the types.
VARIANTS = 499


@dataclass(frozen=True)
class Filled:
    """What was written."""

    keys: dict[int, int]
    """Keys per database."""
    expires: dict[int, int]
    """Keys per database that expire."""

    @property
    def total(self) -> int:
        """All keys."""
        return sum(self.keys.values())


def fill(client: redis.Redis, *, keys: int, now_ms: int | None = None, prefix: str = "") -> Filled:
    """Write the data, and see that the server holds all of it.

    `now_ms` is what expiry times count from, by default now.
    """
    before = {db: _counts(client, db) for db in DATABASES}
    connection = client.connection_pool.get_connection()
    try:
        connection.send_packed_command([_command("CLIENT", "REPLY", "OFF")])
        for chunk in protocol(keys=keys, now_ms=now_ms, prefix=prefix):
            connection.send_packed_command([chunk], check_health=False)
        connection.send_packed_command([_command("CLIENT", "REPLY", "ON")], check_health=False)
        connection.read_response()
    finally:
        connection.disconnect()
        client.connection_pool.release(connection)
    planned = plan(keys)
    for db in DATABASES:
        found = tuple(now - then for now, then in zip(_counts(client, db), before[db]))
        if found != (planned.keys[db], planned.expires[db]):
            raise RuntimeError(
                f"database {db} took {found} keys and expires, not "
                f"{(planned.keys[db], planned.expires[db])}"
            )
    return planned


def plan(keys: int) -> Filled:
    """Say what that many keys come to."""
    counts = dict.fromkeys(DATABASES, 0)
    expires = dict.fromkeys(DATABASES, 0)
    for db, indices in _placement(keys):
        counts[db] = len(indices)
        expires[db] = sum(map(_expires, indices))
    return Filled(counts, expires)


def protocol(*, keys: int, now_ms: int | None = None, prefix: str = "") -> Iterator[bytes]:
    """Yield the commands as the protocol's text, for a socket or for `redis-cli --pipe`."""
    base = now_ms or int(time.time() * 1000)
    makers = _makers(random.Random(42))
    pending: list[bytes] = []
    size = 0
    for db, indices in _placement(keys):
        pending.append(_command("SELECT", str(db)))
        for index in indices:
            kind, make = makers[index % 100]
            key = f"{prefix}{kind}:{index:08d}"
            text = make(_bulk(key), index)
            if _expires(index):
                # A multiplier that is prime to the span spreads them evenly over it.
                due = base + HOUR_MS + index * 7919 % (23 * HOUR_MS)
                text += _command("PEXPIREAT", key, str(due))
            pending.append(text)
            size += len(text)
            if size > CHUNK:
                yield b"".join(pending)
                pending, size = [], 0
    pending.append(_command("SELECT", "0"))
    yield b"".join(pending)


def _placement(keys: int) -> list[tuple[int, range]]:
    aside = keys // 50
    ends = (keys - 2 * aside, keys - aside, keys)
    starts = (0, *ends)
    return [(db, range(start, end)) for db, start, end in zip(DATABASES, starts, ends)]


def _expires(index: int) -> bool:
    # Neither 5 nor a divisor of 100: every type has some that expire and some that don't.
    return index * 31 % 101 < 20


Maker = Callable[[bytes, int], bytes]


def _makers(source: random.Random) -> list[tuple[str, Maker]]:
    """Return a type and a function from key and index to commands, for each place in a hundred."""

    def text(length: int) -> str:
        return f"{source.getrandbits(length * 4):0{length}x}"

    def prepared(name: str, words: Callable[[], list[str]]) -> Maker:
        """Commands of which only the key differs need not be put together again for every key."""
        variants = []
        for _ in range(VARIANTS):
            rest = words()
            head = b"*%d\r\n" % (2 + len(rest)) + _bulk(name)
            variants.append((head, b"".join(map(_bulk, rest))))

        def make(key: bytes, index: int) -> bytes:
            head, tail = variants[index % VARIANTS]
            return head + key + tail

        return make

    def stream(key: bytes, index: int) -> bytes:
        name = b"".join(key.split(b"\r\n")[1:2]).decode()
        created = 1_700_000_000_000 + index
        entries = [
            _command(
                "XADD",
                name,
                f"{created}-{n}",
                "sensor",
                str(index % 97),
                "value",
                str(n * index % 1009),
            )
            for n in range(1, 6)
        ]
        return b"".join(
            [
                *entries,
                _command("XGROUP", "CREATE", name, "readers", "0"),
                _command(
                    "XREADGROUP", "GROUP", "readers", "one", "COUNT", "3", "STREAMS", name, ">"
                ),
                _command("XACK", name, "readers", f"{created}-1"),
            ]
        )

    def number(key: bytes, index: int) -> bytes:
        return b"*3\r\n" + _bulk("INCRBY") + key + _bulk(str(index))

    members = range(10)
    string = prepared("SET", lambda: [text(100)])
    hash_ = prepared("HSET", lambda: [word for n in members for word in (f"field{n}", text(12))])
    list_ = prepared("RPUSH", lambda: [text(16) for _ in range(12)])
    strings = prepared("SADD", lambda: [text(12) for _ in members])
    integers = prepared("SADD", lambda: [str(source.randrange(1 << 40)) for _ in members])
    scores = prepared(
        "ZADD", lambda: [w for _ in members for w in (f"{source.uniform(-1e6, 1e6):.3f}", text(10))]
    )
    registers = prepared("PFADD", lambda: [text(8) for _ in range(30)])
    bits = prepared("SETBIT", lambda: [str(source.randrange(4096)), "1"])
    shares: list[tuple[int, str, Maker]] = [
        (60, "string", string),
        (14, "hash", hash_),
        (10, "list", list_),
        (3, "set", strings),
        (3, "intset", integers),
        (5, "zset", scores),
        (2, "stream", stream),
        (1, "hll", registers),
        (1, "bitmap", bits),
        (1, "number", number),
    ]
    places = [(kind, make) for share, kind, make in shares for _ in range(share)]
    # Mixed, so that small data sets have every type too.
    return [places[place * 37 % 100] for place in range(100)]


def _bulk(word: str) -> bytes:
    raw = word.encode()
    return b"$%d\r\n%s\r\n" % (len(raw), raw)


def _command(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(map(_bulk, words))


def _counts(client: redis.Redis, db: int) -> tuple[int, int]:
    found = client.info("keyspace").get(f"db{db}", {})
    return int(found.get("keys", 0)), int(found.get("expires", 0))
